"""What a caller sees of aggregates, events and snapshots under the schemas in force.

The one place that knows of hidden types, hidden fields and upcasters; every way out goes through
it (docs/schema-hiding.md, docs/schema-upcasting.md). A type whose schema has none of them costs
one look-up, and what is stored goes out untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import orjson

from eventdbx.domain.aggregate import PLAIN, Fold, Head, folds
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.events import Event
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.schemas.model import AggregateSchema, SchemaSet
from eventdbx.domain.schemas.upcasting import Upcasting, fold_mark, revision_of
from eventdbx.domain.snapshots import Snapshot

VALUE = "_value"
"""The key of a state that payloads set which are no objects."""


class TypeView:
    """What the schema of one aggregate type says about reading it."""

    __slots__ = ("_fields", "_needles", "_origins", "_upcasts", "fold", "hidden")

    def __init__(self, schema: AggregateSchema) -> None:
        self.hidden = schema.hidden
        self._fields = frozenset(schema.hidden_fields)
        # Canonical texts hold a key exactly so; without it there is nothing to take away.
        self._needles = tuple(dump(field) + b":" for field in sorted(self._fields))
        self._upcasts = {
            name.replace(".", "_"): Upcasting(rule)
            for name, rule in schema.events.items()
            if rule.upcast
        }
        # What earlier revisions called that which is hidden now.
        self._origins = self._fields.union(
            *(one.origins(self._fields) for one in self._upcasts.values())
        )
        mark = fold_mark(schema)
        self.fold = Fold(mark, self._lifted) if mark else PLAIN

    @property
    def is_plain(self) -> bool:
        """True when the type is read as it is stored."""
        return not (self.hidden or self._fields or self._upcasts)

    def shows_field(self, field: str) -> bool:
        """Say whether a top-level key of the state is shown."""
        return field not in self._fields

    def _lifted(self, event: Event) -> JSON:
        if not folds(event):
            return None
        payload: JSON = orjson.loads(event.payload)
        upcasting = self._upcasts.get(event.event_type)
        if upcasting is None:
            return payload
        return upcasting.apply(revision_of(event.schema), payload)

    def head(self, head: Head) -> Head:
        """Return a head, already folded as the type demands, without hidden fields."""
        if not self._fields or self._fields.isdisjoint(head.state):
            return head
        return head._replace(state=_without(head.state, self._fields))

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot without hidden fields, under whatever name it keeps them.

        Its state stays that of the day it was taken.
        """
        if self._origins.isdisjoint(snapshot.state):
            return snapshot
        return snapshot._replace(state=_without(snapshot.state, self._origins))

    def event(self, event: Event, *, raw: bool, all_fields: bool) -> Event:
        """Return an event as of the current revision, or ``raw`` as it was written.

        ``all_fields`` leaves hidden fields in.
        """
        if event.erased:
            return event
        upcasting = self._upcasts.get(event.event_type)
        if upcasting is not None and revision_of(event.schema) < upcasting.revision:
            return self._earlier(event, upcasting, raw, all_fields)
        if all_fields or not self._fields or not self._may_hold_hidden(event.payload):
            return event
        return self._hiding(event, orjson.loads(event.payload), self._fields)

    def _earlier(self, event: Event, upcasting: Upcasting, raw: bool, all_fields: bool) -> Event:
        written: JSON = orjson.loads(event.payload)
        read = written if raw else upcasting.apply(revision_of(event.schema), written)
        shown = event if read is written else event._replace(payload=dump(read))
        if all_fields or not self._fields:
            return shown
        return self._hiding(shown, read, self._fields | self._left(written, read, upcasting))

    def _left(self, written: JSON, read: JSON, upcasting: Upcasting) -> frozenset[str]:
        """Return the earlier names of hidden fields under which a payload still has their
        content: it is shown as it was written, or could not be lifted."""
        if type(written) is not dict or type(read) is not dict:
            return frozenset()
        return frozenset(
            key
            for key in upcasting.origins(self._fields)
            if key in written and key in read and read[key] is written[key]
        )

    def _may_hold_hidden(self, payload: bytes) -> bool:
        if not payload.startswith(b"{"):
            return VALUE in self._fields
        return any(needle in payload for needle in self._needles)

    def _hiding(self, event: Event, payload: JSON, names: frozenset[str]) -> Event:
        if type(payload) is dict:
            if names.isdisjoint(payload):
                return event
            return event._replace(payload=dump(_without(payload, names)))
        if VALUE in names and payload is not None:
            return event._replace(payload=b"null")
        return event


def _without(members: Mapping[str, JSON], names: frozenset[str]) -> dict[str, JSON]:
    return {key: value for key, value in members.items() if key not in names}


class Views:
    """The views of all types of a domain under one set of schemas."""

    __slots__ = ("_all", "_public", "_types", "marks")

    def __init__(self, schemas: SchemaSet) -> None:
        views = {name: TypeView(schema) for name, schema in schemas.items()}
        views[AUDIT_TYPE] = TypeView(AggregateSchema(aggregate=AUDIT_TYPE, hidden=True))
        self._types = {name: view for name, view in views.items() if not view.is_plain}
        self._public, self._all = Seen(self._types, False), Seen(self._types, True)
        self.marks = {name: view.fold.mark for name, view in views.items() if view.fold.mark}
        """The fold marks of the types that have upcasters."""

    def fold(self, aggregate_type: str) -> Fold:
        """Return how the events of a type make its state."""
        view = self._types.get(aggregate_type)
        return PLAIN if view is None else view.fold

    def seen(self, *, include_hidden: bool = False) -> Seen:
        """Return what a caller sees; with ``include_hidden`` nothing is hidden from it."""
        return self._all if include_hidden else self._public


class Seen:
    """What one caller sees."""

    __slots__ = ("_all", "_types")

    def __init__(self, types: Mapping[str, TypeView], include_hidden: bool) -> None:
        self._types = types
        self._all = include_hidden

    def shows(self, aggregate_type: str) -> bool:
        """Say whether aggregates of a type are there at all; the audit trail never is."""
        view = self._types.get(aggregate_type)
        return view is None or not view.hidden or (self._all and aggregate_type != AUDIT_TYPE)

    @property
    def shows_all(self) -> bool:
        """Say whether no type is hidden; of the audit trail, which always is, nothing is said."""
        return all(self.shows(name) for name in self._types if name != AUDIT_TYPE)

    def shows_field(self, aggregate_type: str, field: str) -> bool:
        """Say whether a top-level key of the states of a type is there."""
        view = self._types.get(aggregate_type)
        return view is None or self._all or (not view.hidden and view.shows_field(field))

    def shows_path(self, aggregate_type: str, path: str) -> bool:
        """Say whether a dotted path into the states of a type may be named.

        Keys may have dots in them, so any beginning of the path may be a hidden field.
        """
        fields = accumulate(path.split("."), "{}.{}".format)
        return all(self.shows_field(aggregate_type, field) for field in fields)

    def head(self, head: Head) -> Head:
        """Return what is seen of a head of a type that is shown, its state folded already."""
        view = self._types.get(head.aggregate_type)
        return head if view is None or self._all else view.head(head)

    def event(self, event: Event, *, raw: bool = False) -> Event:
        """Return what is seen of an event of a type that is shown.

        ``raw`` leaves the payload at the revision at which it was written.
        """
        view = self._types.get(event.aggregate_type)
        return event if view is None else view.event(event, raw=raw, all_fields=self._all)

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Return what is seen of a snapshot of a type that is shown."""
        view = self._types.get(snapshot.aggregate_type)
        return snapshot if view is None or self._all else view.snapshot(snapshot)

    # Answers to writes. Who may append to a hidden type learns that the write was done, and
    # nothing of what the type holds: a patch's payload and a state have more in them than was sent.
    # Those of the first event have not: it is no patch, and all that there is was sent with it.

    def written_event(self, event: Event) -> Event:
        """Return what the writer of an event sees of it: of a hidden type an empty payload, but
        for the first event of an aggregate."""
        view = self._types.get(event.aggregate_type)
        if view is None or self._all:
            return event
        if view.hidden and event.version > 1 and not event.erased:
            return event._replace(payload=b"{}", extensions=None, note=None)
        return view.event(event, raw=False, all_fields=False)

    def written_head(self, head: Head) -> Head:
        """Return what the writer of an aggregate sees of it: of a hidden type an empty state, but
        for a new aggregate."""
        view = self._types.get(head.aggregate_type)
        if view is None or self._all:
            return head
        if view.hidden and head.version > 1:
            return head._replace(state={}, extensions={})
        return view.head(head)
