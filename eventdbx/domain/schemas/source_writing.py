"""Schemas as a text of the language ``schema.dbx``: how JSON becomes source that people keep.

``source`` reads it back as the same set, times apart, unless the set holds what the language cannot
say: an aggregate without events, names in lists with white space around them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import (
    REFERENCE,
    AggregateSchema,
    Column,
    EventRule,
    ReferenceRule,
    SchemaSet,
)
from eventdbx.domain.schemas.writing import rules_value, upcast_value

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_WIDTH = 100


def source_text(schemas: SchemaSet) -> str:
    """Return the source of a set of schemas, by name, a blank line between aggregates."""
    return "\n".join(
        "".join(f"{line}\n" for line in _aggregate(schema)) for _, schema in sorted(schemas.items())
    )


def _name(text: str) -> str:
    """Return a name as a word if nothing in it means something else, else quoted."""
    return text if _PLAIN_NAME.fullmatch(text) else _json(text)


def _json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)


def _property(name: str, value: JSON, indent: int) -> Iterator[str]:
    """Yield the lines of one property; a long value is spread over several."""
    line = f"{' ' * indent}{name} = {_json(value)}"
    if len(line) > _WIDTH:
        spread = json.dumps(value, ensure_ascii=False, indent=2)
        line = f"{' ' * indent}{name} = " + spread.replace("\n", "\n" + " " * indent)
    yield line


def _aggregate(schema: AggregateSchema) -> Iterator[str]:
    yield f"aggregate {_name(schema.aggregate)} {{"
    if schema.snapshot_threshold is not None:
        yield from _property("snapshot_threshold", schema.snapshot_threshold, 2)
    for name, flag in (("locked", schema.locked), ("hidden", schema.hidden)):
        if flag:
            yield from _property(name, True, 2)
    # Fields with a column say it themselves.
    for name, fields in (
        ("hidden_fields", schema.hidden_fields),
        ("field_locks", schema.field_locks),
    ):
        others: list[JSON] = [one for one in fields if one not in schema.column_types]
        if others:
            yield from _property(name, others, 2)
    for name, column in sorted(schema.column_types.items()):
        flags = [
            flag
            for flag, names in (("hidden", schema.hidden_fields), ("locked", schema.field_locks))
            if name in names
        ]
        yield from _block("field", name, _field(column, flags))
    for name, rule in sorted(schema.events.items()):
        yield from _block("event", name, _event(rule))
    yield "}"


def _block(keyword: str, name: str, properties: dict[str, JSON]) -> Iterator[str]:
    head = f"  {keyword} {_name(name)} {{"
    line = " ".join([head, *(f"{key} = {_json(value)}" for key, value in properties.items()), "}"])
    if not properties:
        yield head + "}"
    elif len(properties) == 1 and len(line) <= _WIDTH:
        yield line
    else:
        yield head
        for key, value in properties.items():
            yield from _property(key, value, 4)
        yield "  }"


def _field(column: Column, flags: list[str]) -> dict[str, JSON]:
    rules = rules_value(column)
    kind = str(column.type)
    if kind == "text" and column.format == REFERENCE and column.reference is not None:
        # The type says both; the rule only where it differs from what the type stands for.
        kind = REFERENCE
        del rules["format"]
        if column.reference == ReferenceRule():
            del rules["reference"]
    properties: dict[str, JSON] = {"type": kind}
    if rules:
        properties["rules"] = rules
    return properties | dict.fromkeys(flags, True)


def _event(rule: EventRule) -> dict[str, JSON]:
    properties: dict[str, JSON] = {}
    if rule.fields:
        properties["fields"] = list(rule.fields)
    if rule.notes is not None:
        properties["note"] = rule.notes
    if rule.upcast:
        properties["upcast"] = upcast_value(rule.upcast)
    return properties
