"""References: texts that name another aggregate, where a schema says they are, and their forms.

Pure: whether a target exists and may be seen is asked in ``application.referring``, what it looks
like in ``application.resolving``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.identifiers import (
    WHITE_SPACE,
    check_aggregate_id,
    check_aggregate_type,
    check_domain_name,
)
from eventdbx.domain.schemas.model import AggregateSchema, Column, ReferenceRule
from eventdbx.errors import ConfigError, InvalidSchema, SchemaViolation

MARK = "#"

_FORMS = "domain#aggregate#id, aggregate#id, or #id"


class Reference(NamedTuple):
    """One aggregate of one domain; two spellings of the same aggregate are equal."""

    domain: str
    aggregate_type: str
    aggregate_id: str

    def __str__(self) -> str:
        """Return the canonical text, as it is stored: ``domain#type#id``."""
        return f"{self.domain}#{self.aggregate_type}#{self.aggregate_id}"


class ReferencePath(NamedTuple):
    """Where a schema puts a reference, and what it demands of it."""

    segments: tuple[str, ...]
    rule: ReferenceRule

    @property
    def text(self) -> str:
        """Return the dotted path, as messages and the index spell it."""
        return ".".join(self.segments)


def notation_fault(text: str) -> str | None:
    """Return what is wrong with the notation of a reference, or None.

    The words belong after ``field P ``. What the segments may hold is not looked at.
    """
    trimmed = text.strip(WHITE_SPACE)
    if not 1 <= trimmed.count(MARK) <= 2:
        return f"must use reference notation {_FORMS}"
    if trimmed.endswith(MARK):
        return "must specify an aggregate id after '#'"
    return None


def parse_reference(text: str, *, domain: str, aggregate_type: str) -> Reference:
    """Return what a text names, seen from an aggregate of a domain and a type.

    Raises SchemaViolation for texts that name nothing.
    """
    trimmed = text.strip(WHITE_SPACE)
    if not trimmed:
        raise SchemaViolation("reference value cannot be empty")
    segments = trimmed.split(MARK)
    if not 2 <= len(segments) <= 3:
        raise SchemaViolation(f"reference must be {_FORMS}")
    if len(segments) == 2:
        segments = [domain, segments[0] or aggregate_type, segments[1]]
    if not all(segments):
        raise SchemaViolation("reference segments cannot be empty")
    try:
        reference = Reference(
            check_domain_name(segments[0], noun="reference domain"), *segments[1:]
        )
        check_aggregate_type(reference.aggregate_type)
        check_aggregate_id(reference.aggregate_id)
    except (ConfigError, InvalidSchema) as error:
        raise SchemaViolation(error.detail) from None
    return reference


def parsed_or_none(text: str, *, domain: str, aggregate_type: str) -> Reference | None:
    """Return what a text names, or None where it names nothing."""
    try:
        return parse_reference(text, domain=domain, aggregate_type=aggregate_type)
    except SchemaViolation:
        return None


def rule_fault(path: ReferencePath, reference: Reference) -> str | None:
    """Return why a reference may not stand at a path whatever its target is, or None."""
    tenant, aggregate_type = path.rule.tenant, path.rule.aggregate_type
    if tenant is not None and tenant.lower() != reference.domain:
        return f"reference {path.text} must target tenant/domain {tenant}"
    if aggregate_type is not None and aggregate_type != reference.aggregate_type:
        return f"reference {path.text} must target aggregate type {aggregate_type}"
    return None


def reference_paths(schema: AggregateSchema) -> tuple[ReferencePath, ...]:
    """Return where a schema puts references, in the order in which columns are checked.

    That is by name, nested ones with their column; objects are entered at any depth, ``json``
    columns and arrays are not.
    """
    return tuple(_below(schema.column_types, ()))


def _below(columns: Mapping[str, Column], parents: tuple[str, ...]) -> Iterator[ReferencePath]:
    for name in sorted(columns, key=str.encode):
        column = columns[name]
        rule = column.reference_rule
        if rule is not None:
            yield ReferencePath((*parents, name), rule)
        if column.type.name == "object":
            yield from _below(column.properties, (*parents, name))


def texts_at(
    values: Mapping[str, JSON], paths: Iterable[ReferencePath], *, payload: bool = False
) -> Iterator[tuple[ReferencePath, str]]:
    """Yield the texts that a state, or a payload, holds at the paths; all else is passed over.

    States may hold an object as its text; what a client writes as a text stays a text.
    """
    for path in paths:
        value = _value_at(values, path.segments, _plain_object if payload else _object)
        if type(value) is str:
            yield path, value


def references_in(
    state: Mapping[str, JSON],
    paths: Iterable[ReferencePath],
    *,
    domain: str,
    aggregate_type: str,
) -> Iterator[tuple[ReferencePath, Reference]]:
    """Yield the well-formed references of a state, in the order of the paths."""
    for path, text in texts_at(state, paths):
        reference = parsed_or_none(text, domain=domain, aggregate_type=aggregate_type)
        if reference is not None:
            yield path, reference


def with_values(
    values: Mapping[str, JSON], changes: Iterable[tuple[ReferencePath, JSON]]
) -> dict[str, JSON]:
    """Return a payload or state with other values at paths that it holds; it stays as it is."""
    changed = dict(values)
    for path, value in changes:
        within = changed
        for segment in path.segments[:-1]:
            # Each object on the way is copied, however often: the caller's are never touched.
            inner = dict(_object(within[segment]) or {})
            within[segment] = inner
            within = inner
        within[path.segments[-1]] = value
    return changed


def nulled(state: Mapping[str, JSON], paths: Iterable[ReferencePath]) -> dict[str, JSON]:
    """Return the payload that clears references: each top-level field whole, null at the paths."""
    wanted = list(paths)
    cleared = with_values(state, [(path, None) for path in wanted])
    return {path.segments[0]: cleared[path.segments[0]] for path in wanted}


def _value_at(
    values: Mapping[str, JSON],
    segments: tuple[str, ...],
    object_of: Callable[[JSON], Mapping[str, JSON] | None],
) -> JSON:
    within = values
    for segment in segments[:-1]:
        inner = object_of(within.get(segment))
        if inner is None:
            return None
        within = inner
    return within.get(segments[-1])


def _plain_object(value: JSON) -> Mapping[str, JSON] | None:
    return value if type(value) is dict else None


def _object(value: JSON) -> Mapping[str, JSON] | None:
    """Return an object, also one that is held as its text (imported states), else None."""
    if type(value) is dict:
        return value
    if type(value) is str and value.startswith("{"):
        try:
            inner = parse(value)
        except ValueError:
            return None
        return inner if type(inner) is dict else None
    return None
