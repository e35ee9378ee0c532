"""Schemas as JSON Schema 2020-12: what other tools can read of a contract.

A document has two layers. Its standard keywords accept every payload that the server accepts, and
some that it does not (docs/json-schema.md says which). Beside them, unless the document is to be
portable, stand keywords of our own, ``x-dbx-…``, that say everything exactly: they are what
``json_schema_check`` checks and what ``json_schema_import`` reads back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.columns import INTEGER_MAX, INTEGER_MIN, parse_bound
from eventdbx.domain.schemas.contract import schema_digest
from eventdbx.domain.schemas.formats import CASES
from eventdbx.domain.schemas.model import (
    REFERENCE,
    AggregateSchema,
    Column,
    EventRule,
    ReferenceRule,
)
from eventdbx.domain.schemas.patterns import compile_pattern
from eventdbx.domain.schemas.portable_patterns import literal, portable_pattern
from eventdbx.domain.schemas.writing import event_value, rules_value, upcast_value

DIALECT = "https://json-schema.org/draft/2020-12/schema"
APPROXIMATION = "approximation: x-dbx-column says it exactly"

Document: TypeAlias = dict[str, Any]
"""A JSON object."""

# Every character that is trimmed; "\s" alone lacks the next line in some dialects.
_SPACE = "[\\s\\u0085]*"
_FLOAT = "[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?"
_BOOLEAN = "([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[01])"
_FORMATS = {"email": "email", "url": "uri", "iso8601": "date-time"}


def document(
    schema: AggregateSchema, event_type: str, *, domain: str, portable: bool = False
) -> Document:
    """Return what the payloads of one event must be.

    A payload that is no object is checked as ``{"_value": payload}``, null as ``{}``. An event
    that is not declared takes nothing.
    """
    rule = schema.event(event_type)
    found: Document = {
        "$schema": DIALECT,
        "$id": _urn(schema, domain, event_type),
        "title": event_type,
        **_note(rule),
        "type": "object",
        "properties": _columns(schema, portable),
        "required": _required(schema, rule),
        **_names(rule),
    }
    if rule is None:
        found["not"] = {}
    if not portable:
        found["x-dbx-event"] = _event_keyword(schema, event_type, rule)
    return found


def export(schema: AggregateSchema, *, domain: str, portable: bool = False) -> Document:
    """Return what the payloads of an aggregate type must be, whatever the event.

    What each event demands besides is in ``$defs``, by the event's name.
    """
    found: Document = {
        "$schema": DIALECT,
        "$id": _urn(schema, domain),
        "title": schema.aggregate,
        "type": "object",
        "properties": _columns(schema, portable),
        "$defs": {
            name: {**_note(rule), "required": _required(schema, rule), **_names(rule)}
            for name, rule in sorted(schema.events.items())
        },
    }
    if not portable:
        found["x-dbx-aggregate"] = {
            **_aggregate_members(schema),
            "events": {name: event_value(rule) for name, rule in sorted(schema.events.items())},
        }
    return found


def _urn(schema: AggregateSchema, domain: str, *more: str) -> str:
    names = (domain, schema.aggregate, *more, schema_digest(schema).hex())
    return ":".join(("urn:eventdbx", *(quote(name, safe="") for name in names)))


def _note(rule: EventRule | None) -> Document:
    return {} if rule is None or rule.notes is None else {"description": rule.notes}


def _required(schema: AggregateSchema, rule: EventRule | None) -> list[str]:
    """Return which keys must be there; an event with a list has no others to demand."""
    if rule is None:
        return []
    if rule.fields:
        return sorted(rule.fields)
    return _required_columns(schema.column_types)


def _required_columns(columns: Mapping[str, Column]) -> list[str]:
    return sorted(name for name, column in columns.items() if column.required)


def _names(rule: EventRule | None) -> Document:
    # No additionalProperties: columns that the event does not list are properties too.
    return {"propertyNames": {"enum": sorted(rule.fields)}} if rule and rule.fields else {}


def _aggregate_members(schema: AggregateSchema) -> Document:
    return {
        "aggregate": schema.aggregate,
        "snapshot_threshold": schema.snapshot_threshold,
        "locked": schema.locked,
        "field_locks": list(schema.field_locks),
        "hidden": schema.hidden,
        "hidden_fields": list(schema.hidden_fields),
    }


def _event_keyword(schema: AggregateSchema, event_type: str, rule: EventRule | None) -> Document:
    members = _aggregate_members(schema)
    found = {"aggregate": members.pop("aggregate"), "event": event_type, **members}
    if rule is None:
        found["declared"] = False
    elif rule.upcast:
        found["upcast"] = upcast_value(rule.upcast)
    return found


def column_keyword(column: Column) -> JSON:
    """Return a column as ``x-dbx-column`` says it: the JSON model, nothing left out."""
    return (
        {"type": str(column.type), **rules_value(column)} if column.has_rules else str(column.type)
    )


def _columns(schema: AggregateSchema, portable: bool) -> Document:
    found: Document = {}
    for name, column in sorted(schema.column_types.items()):
        fragment = _fragment(column, portable)
        if name in schema.hidden_fields:
            fragment["writeOnly"] = True
        if name in schema.field_locks:
            fragment["readOnly"] = True
        if not portable:
            fragment["x-dbx-column"] = column_keyword(column)
        found[name] = fragment or True
    return found


def _fragment(column: Column, portable: bool) -> Document:
    """Return the keywords of one column; nested columns too."""
    found = _type_keywords(column)
    _add_rule_keywords(found, column)
    if column.type.name == "object" and column.properties:
        nested = sorted(column.properties.items())
        found["properties"] = {name: _fragment(one, portable) or True for name, one in nested}
        required = _required_columns(column.properties)
        if required:
            found["required"] = required
    if not portable:
        exact = _exact_keywords(column)
        # Keywords that only say once more what the standard ones say leave nothing to be desired.
        if column.type.name not in ("text", "json", "object") or {*exact} - _ALSO_STANDARD:
            found["$comment"] = APPROXIMATION
        found |= exact
    return found


# --- standard keywords


def _anchored(pattern: str) -> Document:
    return {"type": "string", "pattern": f"^{_SPACE}{pattern}{_SPACE}$"}


def _decimal_text(scale: int) -> str:
    plain = f"[0-9_]*(\\.(_*[0-9]){{0,{scale}}}_*)?"
    return f"[+-]?(?=[0-9.])({plain}|[0-9_]*(\\.[0-9_]*)?[eE][+-]?[0-9]+)"


def _type_keywords(column: Column) -> Document:
    name = column.type.name
    if name == "integer":
        whole = {"type": "integer", "minimum": INTEGER_MIN, "maximum": INTEGER_MAX}
        return {"anyOf": [whole, _anchored("[+-]?[0-9]+")]}
    if name == "float":
        return {"anyOf": [{"type": "number"}, _anchored(_FLOAT)]}
    if name == "decimal":
        return {"anyOf": [{"type": "number"}, _anchored(_decimal_text(column.type.scale))]}
    if name == "boolean":
        return {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}, _anchored(_BOOLEAN)]}
    if name == "json":
        return {}
    if name == "object":
        return {"type": "object"}
    if column.reference_rule is not None and not column.required:
        # Null takes a reference back.
        return {"type": ["string", "null"]}
    text: Document = {"type": "string"}
    if name in ("timestamp", "date"):
        text["format"] = "date-time" if name == "timestamp" else "date"
    elif name == "binary":
        text["contentEncoding"] = "base64"
    return text


def _add_rule_keywords(found: Document, column: Column) -> None:
    if column.type.name == "text":
        _add_text_keywords(found, column)
    elif column.type.name in ("integer", "float") and column.range is not None:
        for keyword, text in (("minimum", column.range.min), ("maximum", column.range.max)):
            bound = None if text is None else parse_bound(column.type, text)
            if bound is not None:
                found[keyword] = bound


def _add_text_keywords(found: Document, column: Column) -> None:
    if column.length is not None:
        for keyword, bound in (("minLength", column.length.min), ("maxLength", column.length.max)):
            if bound is not None:
                found[keyword] = bound
    if column.format in _FORMATS:
        found["format"] = _FORMATS[column.format]
    patterns = [literal(needle) for needle in column.contains]
    patterns += [one for one in map(_shared, column.regex) if one is not None]
    if column.format == "country_code":
        patterns.append("^[A-Z]{2}$")
    elif column.format in CASES:
        patterns.append(f"^{CASES[column.format]}$")
    elif column.format == REFERENCE:
        patterns.append(f"^{_SPACE}([^#]*#)?[^#]*#[^#]+{_SPACE}$")
    if len(patterns) == 1:
        found["pattern"] = patterns[0]
    elif patterns:
        found["allOf"] = [{"pattern": pattern} for pattern in patterns]
    if column.does_not_contain:
        needles = [{"pattern": literal(needle)} for needle in column.does_not_contain]
        found["not"] = {"anyOf": needles}


def _shared(pattern: str) -> str | None:
    try:
        compile_pattern(pattern)
    except ValueError:
        # A schema of a file or a peer may hold it; then nothing fits, which is said exactly only.
        return None
    return portable_pattern(pattern)


# --- keywords of our own

_ALSO_STANDARD = frozenset({"x-dbx-contains", "x-dbx-does-not-contain"})


def _exact_keywords(column: Column) -> Document:
    """Return the rules of a column one by one, for validators that know only some of them."""
    found: Document = {}
    if column.type.name == "decimal":
        found["x-dbx-decimal"] = {"precision": column.type.precision, "scale": column.type.scale}
    if column.reference_rule is not None:
        found["x-dbx-reference"] = _reference_keyword(column.reference_rule)
    rules = rules_value(column)
    for rule, keyword in (
        ("contains", "x-dbx-contains"),
        ("does_not_contain", "x-dbx-does-not-contain"),
        ("regex", "x-dbx-regex"),
        ("format", "x-dbx-format"),
        ("range", "x-dbx-range"),
    ):
        if rule in rules and not (rule == "format" and column.format == REFERENCE):
            found[keyword] = rules[rule]
    if column.type.name == "binary" and "length" in rules:
        found["x-dbx-bytes"] = rules["length"]
    return found


def _reference_keyword(rule: ReferenceRule) -> Document:
    return {
        "integrity": rule.integrity,
        "tenant": rule.tenant,
        "aggregate_type": rule.aggregate_type,
        "cascade": rule.cascade,
    }
