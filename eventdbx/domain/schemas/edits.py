"""Single edits of a schema, from which its changes are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from eventdbx import limits
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.model import AggregateSchema, Column, EventRule
from eventdbx.errors import InvalidSchema, SchemaViolation


class UndeclaredEvent(SchemaViolation):
    """A change of an event that the schema does not declare."""

    def __init__(self, aggregate: str, event: str) -> None:
        super().__init__(f"event {event} is not defined for aggregate {aggregate}")


class LastEvent(SchemaViolation):
    """The only event of a schema cannot be removed."""

    def __init__(self, aggregate: str) -> None:
        super().__init__(f"aggregate {aggregate} must define at least one event")


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return names once each, in the order of their bytes."""
    return tuple(sorted(set(names)))


def with_event(schema: AggregateSchema, name: str, rule: EventRule) -> AggregateSchema:
    """Return the schema with another rule for an event, declared or not."""
    events = {**schema.events, name: rule}
    return replace(schema, events={key: events[key] for key in sorted_names(events)})


def declared(schema: AggregateSchema, name: str) -> tuple[str, EventRule]:
    """Return name and rule of an event. Raises InvalidSchema, UndeclaredEvent."""
    name = name.strip(WHITE_SPACE)
    if not name:
        raise InvalidSchema("event name cannot be empty")
    if name not in schema.events:
        raise UndeclaredEvent(schema.aggregate, name)
    return name, schema.events[name]


def with_note(schema: AggregateSchema, event: str, note: str | None) -> AggregateSchema:
    """Return the schema with another note for a declared event; None: without one."""
    name, rule = declared(schema, event)
    if note is not None and len(note) > limits.NOTE_CHARACTERS_MAX:
        raise InvalidSchema(
            f"default note for event {name} cannot exceed {limits.NOTE_CHARACTERS_MAX} characters"
        )
    return with_event(schema, name, replace(rule, notes=note))


def with_lock(schema: AggregateSchema, field: str, locked: bool) -> AggregateSchema:
    """Return the schema with a field locked or not; it needs no column."""
    return replace(schema, field_locks=_marked(schema.field_locks, field, locked))


def with_hidden(schema: AggregateSchema, field: str, hidden: bool) -> AggregateSchema:
    """Return the schema with a field hidden or not; it needs no column."""
    return replace(schema, hidden_fields=_marked(schema.hidden_fields, field, hidden))


def _marked(names: tuple[str, ...], field: str, wanted: bool) -> tuple[str, ...]:
    name = field_name(field)
    return sorted_names((*names, name) if wanted else (one for one in names if one != name))


def field_name(text: str) -> str:
    """Return a name of a field, trimmed. Raises InvalidSchema for a blank one."""
    name = text.strip(WHITE_SPACE)
    if not name:
        raise InvalidSchema("field name cannot be empty")
    return name


def opened_event(schema: AggregateSchema, event: str) -> str:
    """Return what to say when the last field of an event's list was taken away."""
    return (
        f"event {event} of aggregate {schema.aggregate} lists no fields any more, "
        "so it accepts any payload now"
    )


def with_column(schema: AggregateSchema, name: str, column: Column | None) -> AggregateSchema:
    """Return the schema with another column of that name; None: without it."""
    columns = {key: one for key, one in schema.column_types.items() if key != name}
    if column is not None:
        columns[name] = column
    return replace(schema, column_types={key: columns[key] for key in sorted_names(columns)})
