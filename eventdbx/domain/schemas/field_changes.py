"""How a column changes: a new type, new rules, single rules, or nothing of it left.

Every function takes the column as it is and returns the one that is to be; whether such a column
can be declared at all is asked afterwards (:mod:`eventdbx.domain.schemas.declaring`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.change_documents import ChangeDocument
from eventdbx.domain.schemas.columns import REFERENCE_ALIASES, parse_type
from eventdbx.domain.schemas.model import (
    REFERENCE,
    Bounds,
    Column,
    ColumnType,
    Length,
    ReferenceRule,
)
from eventdbx.domain.schemas.reading import read_rules
from eventdbx.errors import InvalidSchema, SerializationError


def changed_column(
    name: str, column: Column | None, change: ChangeDocument, warnings: list[str]
) -> Column | None:
    """Return what a ``field`` change makes of a column; None: there is no column.

    Raises InvalidSchema, SerializationError.
    """
    rules = "rules" in change or "set" in change
    if "type" in change and change.value("type") is None:
        if rules:
            raise InvalidSchema(
                "--clear-type cannot be combined with rule changes; "
                "a field without a column type has no rules"
            )
        return None
    as_reference = False
    if "type" in change:
        text = change.text("type")
        as_reference = text.strip(WHITE_SPACE).lower() in REFERENCE_ALIASES
        kind = ColumnType("text") if as_reference else parse_type(text)
        column = _retyped(column, kind, keep_rules=rules or as_reference)
    if column is None and rules:
        raise InvalidSchema(_without_column(name, change))
    if column is None:
        return None
    if "rules" in change:
        column = _with_rules(name, column, change.value("rules"), warnings)
    if as_reference:
        column = _as_reference(column)
    if "set" in change:
        column = _with_single_rules(name, column, change.mapping("set"), warnings)
    return column


def _without_column(name: str, change: ChangeDocument) -> str:
    if "rules" in change and change.value("rules") is None:
        return f"field {name} does not have rules to clear"
    return f"field {name} has no column type; set --type before editing rules"


def _retyped(column: Column | None, kind: ColumnType, *, keep_rules: bool) -> Column:
    if column is None or not keep_rules:
        return Column(type=kind)
    return replace(column, type=kind)


def _as_reference(column: Column) -> Column:
    return replace(column, format=REFERENCE, reference=column.reference or ReferenceRule())


def _with_rules(name: str, column: Column, rules: JSON, warnings: list[str]) -> Column:
    """Return the column with nothing but these rules; nested columns outlive them."""
    if rules is None:
        return Column(type=column.type)
    if not isinstance(rules, dict):
        raise SerializationError(f"the rules of field {name} must be a JSON object")
    members = {key: value for key, value in rules.items() if key != "type"}
    ruled = read_rules(members, column.type, (name,), warnings)
    if not ruled.properties and column.type.name in ("object", "json"):
        ruled = replace(ruled, properties=column.properties)
    return ruled


def _with_single_rules(
    name: str, column: Column, wanted: Mapping[str, JSON], warnings: list[str]
) -> Column:
    unknown = sorted(wanted.keys() - _SET.keys())
    if unknown:
        raise SerializationError(f"field {name} has no rule '{unknown[0]}'")
    # The reader of the JSON model also knows what may stand in a rule and how it is spelled.
    given: dict[str, JSON] = {key: value for key, value in wanted.items() if value is not None}
    if "reference" in given:
        given["reference"] = _trimmed_block(name, given["reference"])
        given.setdefault("format", REFERENCE)
    ruled = read_rules(given, column.type, (name,), warnings)
    for key, apply in _SET.items():
        if key in wanted:
            column = apply(column, ruled, wanted[key])
    return column


def _trimmed_block(name: str, block: JSON) -> dict[str, JSON]:
    """Return the members of a reference block that say something."""
    if not isinstance(block, dict):
        raise SerializationError(f"the reference rules of field {name} must be a JSON object")
    trimmed_block = {
        key: value.strip(WHITE_SPACE) if isinstance(value, str) else value
        for key, value in block.items()
    }
    return {key: value for key, value in trimmed_block.items() if value not in ("", None)}


def _set_required(column: Column, ruled: Column, value: JSON) -> Column:
    return replace(column, required=ruled.required)


def _set_properties(column: Column, ruled: Column, value: JSON) -> Column:
    return replace(column, properties=ruled.properties)


def _set_length(column: Column, ruled: Column, value: JSON) -> Column:
    if not isinstance(value, dict):
        return replace(column, length=None)
    old, new = column.length or Length(), ruled.length or Length()
    length = Length(
        new.min if "min" in value else old.min,
        new.max if "max" in value else old.max,
    )
    return replace(column, length=None if length == Length() else length)


def _set_range(column: Column, ruled: Column, value: JSON) -> Column:
    if not isinstance(value, dict):
        return replace(column, range=None)
    old, new = column.range or Bounds(), ruled.range or Bounds()
    bounds = Bounds(
        new.min if "min" in value else old.min,
        new.max if "max" in value else old.max,
    )
    return replace(column, range=None if bounds == Bounds() else bounds)


def _set_format(column: Column, ruled: Column, value: JSON) -> Column:
    # A block of reference rules without the format would refuse every append.
    reference = column.reference if ruled.format == REFERENCE else None
    return replace(column, format=ruled.format, reference=reference)


def _set_reference(column: Column, ruled: Column, value: JSON) -> Column:
    if not isinstance(value, dict):
        return replace(column, reference=ReferenceRule() if column.format == REFERENCE else None)
    if column.format != REFERENCE and column.reference is None:
        raise InvalidSchema(
            "reference flags require a reference field; set --type reference or --format reference"
        )
    old, new = column.reference or ReferenceRule(), ruled.reference or ReferenceRule()
    reference = ReferenceRule(
        new.integrity if "integrity" in value else old.integrity,
        new.tenant if "tenant" in value else old.tenant,
        new.aggregate_type if "aggregate_type" in value else old.aggregate_type,
        new.cascade if "cascade" in value else old.cascade,
    )
    return replace(column, format=REFERENCE, reference=reference)


def _set_contains(column: Column, ruled: Column, value: JSON) -> Column:
    return replace(column, contains=_needles("contains", ruled.contains))


def _set_does_not_contain(column: Column, ruled: Column, value: JSON) -> Column:
    needles = _needles("does-not-contain", ruled.does_not_contain)
    return replace(column, does_not_contain=needles)


def _set_regex(column: Column, ruled: Column, value: JSON) -> Column:
    return replace(column, regex=_needles("regex", ruled.regex))


def _needles(rule: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(texts):
        raise InvalidSchema(f"{rule} entries cannot be empty")
    return texts


_SET: dict[str, Callable[[Column, Column, JSON], Column]] = {
    # In the order in which they are applied: reference rules need the format first.
    "required": _set_required,
    "contains": _set_contains,
    "does_not_contain": _set_does_not_contain,
    "regex": _set_regex,
    "length": _set_length,
    "range": _set_range,
    "format": _set_format,
    "reference": _set_reference,
    "properties": _set_properties,
}
