"""Changes of a domain's schemas that people ask for, each a JSON document with ``do``.

The command line, the control protocol and the Admin API all send these. ``aggregate`` names the
type in each of them; null and a member that is left out are told apart only where it says so.

=================== ==================================================================
``do``              other members
=================== ==================================================================
``create``          ``events`` (names; commas separate names, too), ``snapshot_threshold`` (null or
                    left out: the configured one)
``put_schema``      ``schema``: the JSON model, whatever was there before
``delete_schema``
``add_events``      ``events``; those that exist stay as they are
``remove_event``    ``event``; events that are stored already stay
``annotate``        ``event``, ``note`` (null clears it)
``set_threshold``   ``snapshot_threshold`` (null: none)
``lock_aggregate``  ``locked`` (left out: true)
``hide_aggregate``  ``hidden`` (left out: true)
``lock_field``      ``field``, ``locked`` (left out: true); needs no column
``hide_field``      ``field``, ``hidden`` (left out: true); needs no column
``field``           ``field``; ``type`` (null: no column any more), ``rules`` (all of them, null:
                    none), ``set`` (single rules, null clears one; ``length``, ``range`` and
                    ``reference`` keep what their objects leave out), ``locked``
``alter_event``     ``event``, ``add``, ``remove``, ``set``: fields of its list; ``set`` replaces it
``set_upcast``      ``event``, ``upcast``: the lists of steps, one for each revision (null: none)
``add_upcast``      ``event``, ``steps``: one list more, so the event's next revision
``update``          everything that the Admin API changes in one go (:mod:`.update_changes`)
=================== ==================================================================

Lists are sorted and without duplicates afterwards; ``updated_at`` is the time of the change, also
when nothing else changed. What could never accept an event is refused, unless it was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.change_documents import ChangeDocument, trimmed
from eventdbx.domain.schemas.declaring import complaints
from eventdbx.domain.schemas.edits import (
    LastEvent,
    UndeclaredEvent,
    declared,
    field_name,
    opened_event,
    sorted_names,
    with_column,
    with_event,
    with_hidden,
    with_lock,
    with_note,
)
from eventdbx.domain.schemas.field_changes import changed_column
from eventdbx.domain.schemas.model import AggregateSchema, EventRule, SchemaSet
from eventdbx.domain.schemas.names import name_warnings
from eventdbx.domain.schemas.reading import read_schema, read_upcast
from eventdbx.domain.schemas.update_changes import MEMBERS, update
from eventdbx.errors import InvalidSchema, SchemaExists, SchemaNotFound, SerializationError

_Edit = Callable[[AggregateSchema, ChangeDocument, list[str]], AggregateSchema]


def apply_change(
    schemas: SchemaSet, change: object, *, now_ns: int, default_threshold: int | None
) -> tuple[SchemaSet, list[str]]:
    """Return the set after one change, and what a person should know about it.

    Raises SchemaExists, SchemaNotFound, InvalidSchema, SchemaViolation, and SerializationError for
    a document that is none.
    """
    document = ChangeDocument(change)
    warnings: list[str] = []
    name = document.text("aggregate")
    if document.do == "delete_schema":
        document.only("aggregate")
        found = _found(schemas, name)
        return {key: kept for key, kept in schemas.items() if key != found.aggregate}, []
    if document.do == "create":
        old, new = None, _create(schemas, name, document, now_ns, default_threshold)
    elif document.do == "put_schema":
        old, new = schemas.get(name), _put(schemas, name, document, now_ns, warnings)
    elif document.do in _EDITS:
        edit, members = _EDITS[document.do]
        document.only("aggregate", *members)
        old = _found(schemas, name)
        new = replace(edit(old, document, warnings), updated_at=now_ns)
    else:
        raise SerializationError(f"there is no schema change '{document.do}'")
    _check(old, new)
    warnings += name_warnings(old, new)
    changed = {**schemas, new.aggregate: new}
    return {key: changed[key] for key in sorted(changed)}, warnings


def _found(schemas: SchemaSet, name: str) -> AggregateSchema:
    found = schemas.get(name) or schemas.get(name.strip(WHITE_SPACE))
    if found is None:
        raise SchemaNotFound
    return found


def _check(old: AggregateSchema | None, new: AggregateSchema) -> None:
    """Raise InvalidSchema for the first impossible declaration that was not there before."""
    # What a machine once stored must not keep people from changing something else.
    known = frozenset(() if old is None else complaints(old))
    for complaint in complaints(new):
        if complaint not in known:
            raise InvalidSchema(complaint)


def _create(
    schemas: SchemaSet,
    name: str,
    change: ChangeDocument,
    now_ns: int,
    default_threshold: int | None,
) -> AggregateSchema:
    change.only("aggregate", "events", "snapshot_threshold")
    if not name.strip(WHITE_SPACE):
        raise InvalidSchema("aggregate name must be provided")
    events = _event_names(change.texts("events"))
    if not events:
        raise InvalidSchema("at least one event must be provided")
    if name in schemas:
        raise SchemaExists
    threshold = change.count("snapshot_threshold")
    return AggregateSchema(
        aggregate=name,
        snapshot_threshold=default_threshold if threshold is None else threshold,
        events={event: EventRule() for event in sorted_names(events)},
        created_at=now_ns,
        updated_at=now_ns,
    )


def _put(
    schemas: SchemaSet, name: str, change: ChangeDocument, now_ns: int, warnings: list[str]
) -> AggregateSchema:
    change.only("aggregate", "schema")
    if not name.strip(WHITE_SPACE):
        raise InvalidSchema("aggregate name must be provided")
    new = read_schema(change.value("schema"), name, now_ns=now_ns, warnings=warnings)
    old = schemas.get(name)
    created_at = new.created_at if old is None else old.created_at
    return replace(new, created_at=created_at, updated_at=now_ns)


def _event_names(texts: Iterable[str]) -> list[str]:
    """Return names of events; commas separate names."""
    parts = [part for text in texts for part in text.split(",")]
    return trimmed(parts, "event names cannot be empty")


def _add_events(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    names = _event_names(change.texts("events"))
    if not names:
        raise InvalidSchema("at least one event must be provided")
    for name in names:
        schema = with_event(schema, name, schema.events.get(name, EventRule()))
    return schema


def _remove_event(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    name = change.text("event")
    if name not in schema.events:
        raise UndeclaredEvent(schema.aggregate, name)
    if len(schema.events) == 1:
        raise LastEvent(schema.aggregate)
    return replace(schema, events={key: one for key, one in schema.events.items() if key != name})


def _annotate(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return with_note(schema, change.text("event"), change.optional_text("note"))


def _set_threshold(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return replace(schema, snapshot_threshold=change.count("snapshot_threshold"))


def _lock_aggregate(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return replace(schema, locked=change.flag("locked", True))


def _hide_aggregate(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return replace(schema, hidden=change.flag("hidden", True))


def _lock_field(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return with_lock(schema, change.text("field"), change.flag("locked", True))


def _hide_field(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    return with_hidden(schema, change.text("field"), change.flag("hidden", True))


def _field(schema: AggregateSchema, change: ChangeDocument, warnings: list[str]) -> AggregateSchema:
    name = field_name(change.text("field"))
    if not any(key in change for key in ("type", "rules", "set", "locked")):
        raise InvalidSchema("no changes requested; pass --type, --rules, or at least one rule flag")
    if "locked" in change:
        schema = with_lock(schema, name, change.flag("locked", True))
    column = changed_column(name, schema.column_types.get(name), change, warnings)
    return with_column(schema, name, column)


def _alter_event(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    name, rule = declared(schema, change.text("event"))
    fields = list(rule.fields)
    if "set" in change:
        fields = trimmed(change.texts("set"), "--set entries cannot be empty")
    add = trimmed(change.texts("add"), "--add entries cannot be empty")
    remove = trimmed(change.texts("remove"), "--remove entries cannot be empty")
    if not ("set" in change or add or remove):
        raise InvalidSchema("no changes requested; supply --add, --remove, --set, or --clear")
    left = [one for one in (*fields, *add) if one not in remove]
    if not left and remove and rule.fields:
        warnings.append(opened_event(schema, name))
    return with_event(schema, name, replace(rule, fields=sorted_names(left)))


def _set_upcast(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    name, rule = declared(schema, change.text("event"))
    value = change.value("upcast")
    lists = () if value is None else read_upcast(value, (name, "upcast"), warnings)
    if len(lists) < len(rule.upcast):
        warnings.append(
            f"event {name} of aggregate {schema.aggregate} goes back from revision {rule.revision} "
            f"to {len(lists) + 1}; events of later revisions are read as they are"
        )
    return with_event(schema, name, replace(rule, upcast=lists))


def _add_upcast(
    schema: AggregateSchema, change: ChangeDocument, warnings: list[str]
) -> AggregateSchema:
    name, rule = declared(schema, change.text("event"))
    lists = read_upcast([change.value("steps")], (name,), warnings)
    return with_event(schema, name, replace(rule, upcast=(*rule.upcast, *lists)))


_EDITS: dict[str, tuple[_Edit, tuple[str, ...]]] = {
    "add_events": (_add_events, ("events",)),
    "remove_event": (_remove_event, ("event",)),
    "annotate": (_annotate, ("event", "note")),
    "set_threshold": (_set_threshold, ("snapshot_threshold",)),
    "lock_aggregate": (_lock_aggregate, ("locked",)),
    "hide_aggregate": (_hide_aggregate, ("hidden",)),
    "lock_field": (_lock_field, ("field", "locked")),
    "hide_field": (_hide_field, ("field", "hidden")),
    "field": (_field, ("field", "type", "rules", "set", "locked")),
    "alter_event": (_alter_event, ("event", "add", "remove", "set")),
    "set_upcast": (_set_upcast, ("event", "upcast")),
    "add_upcast": (_add_upcast, ("event", "steps")),
    "update": (update, MEMBERS),
}
