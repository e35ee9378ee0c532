"""The change that the Admin API's PATCH makes: several edits of one schema in one go."""

from __future__ import annotations

from dataclasses import replace

from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.change_documents import ChangeDocument, trimmed
from eventdbx.domain.schemas.edits import (
    field_name,
    opened_event,
    sorted_names,
    with_column,
    with_event,
    with_hidden,
    with_lock,
    with_note,
)
from eventdbx.domain.schemas.model import AggregateSchema, EventRule
from eventdbx.domain.schemas.reading import read_column
from eventdbx.errors import InvalidSchema, SerializationError

MEMBERS = (
    "snapshot_threshold", "locked", "field_lock", "hidden", "hidden_field", "column_types",
    "set_fields", "add_fields", "remove_fields", "event_notes",
)  # fmt: skip
"""What an ``update`` may hold besides the aggregate."""


def update(schema: AggregateSchema, change: ChangeDocument, warnings: list[str]) -> AggregateSchema:
    """Carry out the body of the Admin API's PATCH, whose members are applied in this order.

    ``snapshot_threshold`` (null: none), ``locked``, ``field_lock`` {"field", "lock"}, ``hidden``,
    ``hidden_field`` {"field", "hide"}, ``column_types`` (column by name, null removes one),
    ``set_fields``, ``add_fields`` and ``remove_fields`` (lists of fields by event: the first two
    declare events that are missing, the last passes over what is not there), ``event_notes``
    (text or null by event). A null says nothing, but for the threshold.
    """
    if "snapshot_threshold" in change:
        schema = replace(schema, snapshot_threshold=change.count("snapshot_threshold"))
    if change.value("locked") is not None:
        schema = replace(schema, locked=change.flag("locked", True))
    if change.value("field_lock") is not None:
        schema = with_lock(schema, *_field_flag(change, "field_lock", "lock"))
    if change.value("hidden") is not None:
        schema = replace(schema, hidden=change.flag("hidden", True))
    if change.value("hidden_field") is not None:
        schema = with_hidden(schema, *_field_flag(change, "hidden_field", "hide"))
    for field, column in change.mapping("column_types").items():
        schema = _with_column(schema, field, column, warnings)
    schema = _with_lists(schema, change, warnings)
    for event, note in change.mapping("event_notes").items():
        if note is not None and not isinstance(note, str):
            raise SerializationError("event_notes must be texts or null")
        schema = with_note(schema, event, note)
    return schema


def _field_flag(change: ChangeDocument, key: str, flag: str) -> tuple[str, bool]:
    members = change.mapping(key)
    field, wanted = members.get("field"), members.get(flag)
    if not isinstance(field, str) or not isinstance(wanted, bool):
        raise SerializationError(f"{key} needs a text 'field' and a boolean '{flag}'")
    return field, wanted


def _with_column(
    schema: AggregateSchema, field: str, value: JSON, warnings: list[str]
) -> AggregateSchema:
    """Return the schema with the column that a JSON model says; null: without that column."""
    name = field_name(field)
    path = ("column_types", name)
    column = None if value is None else read_column(value, path, warnings)
    return with_column(schema, name, column)


def _with_lists(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    empty = "field names cannot be empty"
    for event, fields in change.text_lists("set_fields").items():
        name, rule = _new_or_declared(schema, event)
        fields_now = sorted_names(trimmed(fields, empty))
        schema = with_event(schema, name, replace(rule, fields=fields_now))
    for event, fields in change.text_lists("add_fields").items():
        name, rule = _new_or_declared(schema, event)
        fields_now = sorted_names((*rule.fields, *trimmed(fields, empty)))
        schema = with_event(schema, name, replace(rule, fields=fields_now))
    for event, fields in change.text_lists("remove_fields").items():
        removed = trimmed(fields, empty)
        rule_or_none = schema.events.get(event)
        if rule_or_none is None:
            continue
        left = tuple(one for one in rule_or_none.fields if one not in removed)
        if rule_or_none.fields and not left:
            warnings.append(opened_event(schema, event))
        schema = with_event(schema, event, replace(rule_or_none, fields=left))
    return schema


def _new_or_declared(schema: AggregateSchema, event: str) -> tuple[str, EventRule]:
    name = event.strip(WHITE_SPACE)
    if not name:
        raise InvalidSchema("event names cannot be empty")
    return name, schema.events.get(name, EventRule())
