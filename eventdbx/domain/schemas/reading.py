"""Reading the JSON model of schemas: what a document says, as values of ``model``.

Whether what it says can be meant is asked in ``declaring``; the way back is ``writing``. The
functions append to ``warnings`` what was corrected or ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from eventdbx import limits
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.columns import REFERENCE_ALIASES, parse_type
from eventdbx.domain.schemas.members import (
    Members,
    Path,
    boolean_of,
    count_of,
    document_of,
    expected,
    fault,
    members_of,
    number_text,
    place,
    string_of,
    strings_of,
)
from eventdbx.domain.schemas.model import (
    FORMATS,
    REFERENCE,
    AggregateSchema,
    Bounds,
    Cascade,
    Column,
    ColumnType,
    EventRule,
    Integrity,
    Length,
    ReferenceRule,
    SchemaSet,
)
from eventdbx.domain.schemas.reading_upcasters import read_upcast
from eventdbx.domain.schemas.writing import without_times
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import InvalidSchema

__all__ = [
    "as_reference",
    "document_of",
    "read_column",
    "read_event",
    "read_rules",
    "read_schema",
    "read_schemas",
    "read_type",
    "read_upcast",
    "timed",
]

_TEXT = ColumnType("text")
_INTEGRITIES: Mapping[str, Integrity] = {"strong": "strong", "weak": "weak"}
_CASCADES: Mapping[str, Cascade] = {"none": "none", "restrict": "restrict", "nullify": "nullify"}
_NO_SCHEMAS: SchemaSet = MappingProxyType({})
_NO_COLUMNS: Mapping[str, Column] = MappingProxyType({})
_DIGITS: Final = re.compile(r"[0-9]{1,20}")
_Word = TypeVar("_Word", bound=str)


def read_schemas(
    text: str | bytes,
    *,
    now_ns: int,
    stored: SchemaSet = _NO_SCHEMAS,
    bytes_max: int = limits.SCHEMA_TEXT_BYTES_MAX,
) -> tuple[SchemaSet, list[str]]:
    """Return the schemas of a document and what was corrected or ignored in it.

    A blank text is a set without schemas. Missing times are those of the ``stored`` schema of
    that name as far as it says the same, else now. Raises SerializationError with the place and
    the reason; InvalidSchema when the text is longer than ``bytes_max``.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > bytes_max:
        raise InvalidSchema(f"a text of schemas cannot exceed {bytes_max} bytes")
    warnings: list[str] = []
    if not raw.strip():
        return {}, warnings
    return {
        name: read_schema(
            value, name, now_ns=now_ns, stored=stored.get(name), path=path, warnings=warnings
        )
        for name, value, path in members_of(document_of(raw), ())
    }, warnings


def read_schema(
    value: JSON,
    key: str,
    *,
    now_ns: int,
    stored: AggregateSchema | None = None,
    path: Path = (),
    warnings: list[str] | None = None,
) -> AggregateSchema:
    """Return the schema that an object says; ``key`` is the name under which it is found.

    Any key may be missing, but not all of them: an empty object would put a schema in force that
    says nothing, in place of whatever there was.
    """
    warnings = [] if warnings is None else warnings
    members = Members(value, path, warnings)
    if value == {}:
        raise fault("missing field `aggregate`", path)
    named = members.take("aggregate")
    if named is not None and string_of(*named) != key:
        warnings.append(f"`aggregate` is corrected to '{key}'{place(named[1])}")
    threshold = members.take_some("snapshot_threshold")
    schema = AggregateSchema(
        aggregate=key,
        snapshot_threshold=None if threshold is None else count_of(*threshold),
        locked=_flag(members, "locked"),
        field_locks=_names(members, "field_locks"),
        hidden=_flag(members, "hidden"),
        hidden_fields=_names(members, "hidden_fields"),
        column_types=_columns(members, "column_types", warnings),
        events=_events(members, warnings),
    )
    created_at, updated_at = _time(members, "created_at"), _time(members, "updated_at")
    members.close()
    return timed(schema, created_at, updated_at, now_ns, stored)


def timed(
    schema: AggregateSchema,
    created_at: int | None,
    updated_at: int | None,
    now_ns: int,
    stored: AggregateSchema | None,
) -> AggregateSchema:
    """Return a schema with its times; those not given are the stored one's as far as they fit.

    A stored schema that says something else was updated now.
    """
    if created_at is None:
        created_at = now_ns if stored is None else stored.created_at
    if updated_at is None:
        same = stored is not None and dump(without_times(stored)) == dump(without_times(schema))
        updated_at = stored.updated_at if stored is not None and same else now_ns
    return replace(schema, created_at=created_at, updated_at=updated_at)


def _time(members: Members, name: str) -> int | None:
    found = members.take_some(name)
    if found is None:
        return None
    try:
        return parse_ns(string_of(*found))
    except ValueError as error:
        raise fault(str(error), found[1]) from None


def _flag(members: Members, name: str) -> bool:
    found = members.take(name)
    return False if found is None else boolean_of(*found)


def _names(members: Members, name: str) -> tuple[str, ...]:
    found = members.take(name)
    return () if found is None else tuple(sorted(set(strings_of(*found))))


def _events(members: Members, warnings: list[str]) -> dict[str, EventRule]:
    found = members.take("events")
    if found is None:
        return {}
    return {name: read_event(value, path, warnings) for name, value, path in members_of(*found)}


def read_event(value: JSON, path: Path = (), warnings: list[str] | None = None) -> EventRule:
    """Return the event that an object says."""
    members = Members(value, path, [] if warnings is None else warnings)
    notes = members.take_some("notes")
    upcast = members.take_some("upcast")
    event = EventRule(
        fields=_names(members, "fields"),
        notes=None if notes is None else string_of(*notes),
        upcast=() if upcast is None else read_upcast(*upcast, warnings),
    )
    members.close()
    return event


def _columns(members: Members, name: str, warnings: list[str]) -> dict[str, Column]:
    found = members.take(name)
    if found is None:
        return {}
    return {key: read_column(value, path, warnings) for key, value, path in members_of(*found)}


def read_column(value: JSON, path: Path = (), warnings: list[str] | None = None) -> Column:
    """Return the column that a type's text or an object says."""
    if isinstance(value, str):
        kind, is_reference = read_type(value, path)
        return as_reference(Column(type=kind), path, []) if is_reference else Column(type=kind)
    if not isinstance(value, dict):
        raise expected("a type or an object", value, path)
    warnings = [] if warnings is None else warnings
    kind, is_reference = read_type(*_string(Members(value, path, []).need("type")))
    rules = {name: inner for name, inner in value.items() if name != "type"}
    column = read_rules(rules, kind, path, warnings)
    return as_reference(column, path, warnings) if is_reference else column


def _string(found: tuple[JSON, Path]) -> tuple[str, Path]:
    return string_of(*found), found[1]


def read_type(text: str, path: Path) -> tuple[ColumnType, bool]:
    """Return a type, and whether its text says that the column holds references.

    Raises SerializationError for texts that name no type.
    """
    if text.strip(WHITE_SPACE).lower() in REFERENCE_ALIASES:
        return _TEXT, True
    try:
        return parse_type(text), False
    except InvalidSchema as error:
        raise fault(error.detail, path) from None


def as_reference(column: Column, path: Path, warnings: list[str]) -> Column:
    """Return a column as one that holds references: the format is set, rules are kept."""
    if column.format not in (None, REFERENCE):
        warnings.append(f"format '{column.format}' gives way to '{REFERENCE}'{place(path)}")
    return replace(column, format=REFERENCE, reference=column.reference or ReferenceRule())


def read_rules(
    value: JSON, kind: ColumnType, path: Path = (), warnings: list[str] | None = None
) -> Column:
    """Return a column of a type with the rules of an object.

    The rules stand flat in the object, or in a member ``rules`` of it; the former win.
    """
    warnings = [] if warnings is None else warnings
    flat = Members(value, path, warnings)
    nested = flat.take_some("rules")
    rules = [flat] if nested is None else [flat, Members(*nested, warnings)]
    _take(rules, "must_match")  # Older files have it; it never did anything.
    required = _take(rules, "required")
    column = Column(
        type=kind,
        required=False if required is None else boolean_of(*required),
        contains=_texts(_take(rules, "contains")),
        does_not_contain=_texts(_take(rules, "does_not_contain")),
        regex=_texts(_take(rules, "regex")),
        length=_length(_take_some(rules, "length"), warnings),
        range=_bounds(_take_some(rules, "range"), warnings),
        format=_format(_take_some(rules, "format")),
        reference=_reference(_take_some(rules, "reference"), warnings),
        properties=_properties(_take(rules, "properties"), warnings),
    )
    for members in rules:
        members.close()
    return column


_Found: TypeAlias = "tuple[JSON, Path] | None"


def _take(rules: list[Members], name: str) -> _Found:
    """Return a member of the first object that has it."""
    found = [members.take(name) for members in rules]
    return next((one for one in found if one is not None), None)


def _take_some(rules: list[Members], name: str) -> _Found:
    found = _take(rules, name)
    return None if found is None or found[0] is None else found


def _texts(found: _Found) -> tuple[str, ...]:
    if found is None:
        return ()
    value, path = found
    return (value,) if isinstance(value, str) else tuple(strings_of(value, path))


def _length(found: _Found, warnings: list[str]) -> Length | None:
    if found is None:
        return None
    members = Members(*found, warnings)
    low, high = members.take_some("min"), members.take_some("max")
    members.close()
    return Length(
        None if low is None else _size(*low),
        None if high is None else _size(*high),
    )


def _size(value: JSON, path: Path) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value) is not None:
        return count_of(int(value), path)
    return count_of(value, path)


def _bounds(found: _Found, warnings: list[str]) -> Bounds | None:
    if found is None:
        return None
    members = Members(*found, warnings)
    low, high = members.take_some("min"), members.take_some("max")
    members.close()
    return Bounds(
        None if low is None else _bound(*low),
        None if high is None else _bound(*high),
    )


def _bound(value: JSON, path: Path) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str):
        raise expected("a string or a number", value, path)
    return value


def _format(found: _Found) -> str | None:
    if found is None:
        return None
    name = string_of(*found)
    if name == "iso_8601":
        return "iso8601"
    if name not in FORMATS:
        raise fault(f"unknown format '{name}', expected one of {', '.join(FORMATS)}", found[1])
    return name


def _reference(found: _Found, warnings: list[str]) -> ReferenceRule | None:
    if found is None:
        return None
    members = Members(*found, warnings)
    integrity, cascade = members.take("integrity"), members.take("cascade")
    tenant = _trimmed(members.take_some("tenant"))
    aggregate_type = _trimmed(members.take_some("aggregate_type"))
    members.close()
    return ReferenceRule(
        "strong" if integrity is None else _one_of(_INTEGRITIES, *integrity),
        tenant.lower() if tenant is not None and tenant.isascii() else tenant,
        aggregate_type,
        "none" if cascade is None else _one_of(_CASCADES, *cascade),
    )


def _trimmed(found: _Found) -> str | None:
    """Return a text without white space around it; blank ones are none."""
    return None if found is None else string_of(*found).strip(WHITE_SPACE) or None


def _one_of(words: Mapping[str, _Word], value: JSON, path: Path) -> _Word:
    word = words.get(string_of(value, path))
    if word is None:
        raise fault(f"expected one of {', '.join(words)}", path)
    return word


def _properties(found: _Found, warnings: list[str]) -> Mapping[str, Column]:
    if found is None:
        return _NO_COLUMNS
    columns = {name: read_column(value, path, warnings) for name, value, path in members_of(*found)}
    return columns or _NO_COLUMNS
