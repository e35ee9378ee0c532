"""What the names in a filter stand for: the fields of aggregates and of events.

How they are compared is in :mod:`eventdbx.domain.filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias

import orjson

from eventdbx.domain.canonical import JSON
from eventdbx.domain.selecting import lookup

_NS_PER_MS = 1_000_000


class Found(NamedTuple):
    """What a name stands for.

    ``lenient`` marks a value of the state itself: clients know it as a text, so it may be compared
    as the text or as what the text reads as. Everything else is compared as what it is.
    """

    exists: bool
    value: JSON = None
    lenient: bool = False


Lookup: TypeAlias = Callable[[str], Found]

_MISSING = Found(False)


class FilterableAggregate(Protocol):
    """What of an aggregate a filter can see; times are nanoseconds since the Unix epoch."""

    @property
    def aggregate_type(self) -> str: ...
    @property
    def aggregate_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def state(self) -> dict[str, JSON]: ...
    @property
    def extensions(self) -> dict[str, JSON]: ...
    @property
    def merkle_root(self) -> bytes: ...
    @property
    def created_at(self) -> int | None: ...
    @property
    def updated_at(self) -> int | None: ...
    @property
    def archived(self) -> bool: ...


class FilterableActor(Protocol):
    """Who issued an event."""

    @property
    def group(self) -> str: ...
    @property
    def user(self) -> str: ...


class FilterableEvent(Protocol):
    """What of an event a filter can see; payload and extensions are JSON texts."""

    @property
    def aggregate_type(self) -> str: ...
    @property
    def aggregate_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def extensions(self) -> bytes | None: ...
    @property
    def event_id(self) -> int: ...
    @property
    def created_at(self) -> int: ...
    @property
    def issued_by(self) -> FilterableActor | None: ...
    @property
    def note(self) -> str | None: ...
    @property
    def version(self) -> int: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def merkle_root(self) -> bytes: ...


def _millis(time: int | None) -> int | None:
    return None if time is None else time // _NS_PER_MS


_AGGREGATE: Mapping[str, Callable[[FilterableAggregate], JSON]] = {
    "aggregate_type": lambda head: head.aggregate_type,
    "aggregateType": lambda head: head.aggregate_type,
    "aggregate_id": lambda head: head.aggregate_id,
    "aggregateId": lambda head: head.aggregate_id,
    "merkle_root": lambda head: head.merkle_root.hex(),
    "merkleRoot": lambda head: head.merkle_root.hex(),
    "version": lambda head: head.version,
    "created_at": lambda head: _millis(head.created_at),
    "createdAt": lambda head: _millis(head.created_at),
    "updated_at": lambda head: _millis(head.updated_at),
    "updatedAt": lambda head: _millis(head.updated_at),
    "archived": lambda head: head.archived,
}

_EVENT: Mapping[str, Callable[[FilterableEvent], JSON]] = {
    "aggregate_type": lambda event: event.aggregate_type,
    "aggregateType": lambda event: event.aggregate_type,
    "aggregate_id": lambda event: event.aggregate_id,
    "aggregateId": lambda event: event.aggregate_id,
    "event_type": lambda event: event.event_type,
    "eventType": lambda event: event.event_type,
    "merkle_root": lambda event: event.merkle_root.hex(),
    "merkleRoot": lambda event: event.merkle_root.hex(),
    "hash": lambda event: event.hash.hex(),
    "version": lambda event: event.version,
}
_METADATA: Mapping[str, Callable[[FilterableEvent], JSON]] = {
    "event_id": lambda event: str(event.event_id),
    "eventId": lambda event: str(event.event_id),
    "created_at": lambda event: event.created_at // _NS_PER_MS,
    "createdAt": lambda event: event.created_at // _NS_PER_MS,
}
# Absent when None: whoever asks for them sees a missing field.
_OPTIONAL: Mapping[str, Callable[[FilterableEvent], str | None]] = {
    "note": lambda event: event.note,
    "issued_by.user": lambda event: None if event.issued_by is None else event.issued_by.user,
    "issuedBy.user": lambda event: None if event.issued_by is None else event.issued_by.user,
    "issued_by.group": lambda event: None if event.issued_by is None else event.issued_by.group,
    "issuedBy.group": lambda event: None if event.issued_by is None else event.issued_by.group,
}


def aggregate_lookup(head: FilterableAggregate) -> Lookup:
    """Return what tells the fields of an aggregate.

    Names of the record come first, then ``extensions.<path>``, then paths of the state, then
    extensions by their bare names.
    """

    def find(name: str) -> Found:
        built_in = _AGGREGATE.get(name)
        if built_in is not None:
            return Found(True, built_in(head))
        if name.startswith("extensions."):
            return Found(*lookup(head.extensions, name[len("extensions.") :]))
        state = head.state
        if "." not in name:
            if name in state:
                return Found(True, state[name], True)
        else:
            exists, value = lookup(state, name)
            if exists:
                return Found(True, value)
        return Found(*lookup(head.extensions, name)) if head.extensions else _MISSING

    return find


def event_lookup(event: FilterableEvent) -> Lookup:
    """Return what tells the fields of an event; its JSON texts are read when first asked for.

    Names of the record come first, then what the prefixes ``metadata.``, ``extensions.`` and
    ``payload.`` say, then extensions and the payload by bare paths.
    """
    parsed: dict[str, JSON] = {}

    def document(name: str, text: bytes | None) -> JSON:
        if name not in parsed:
            parsed[name] = orjson.loads(text) if text else None
        return parsed[name]

    def find(name: str) -> Found:
        built_in = _EVENT.get(name)
        if built_in is not None:
            return Found(True, built_in(event))
        metadata_name = name.removeprefix("metadata.")
        server_side = _METADATA.get(metadata_name)
        if server_side is not None:
            return Found(True, server_side(event))
        optional = _OPTIONAL.get(metadata_name)
        if optional is not None:
            text = optional(event)
            return _MISSING if text is None else Found(True, text)
        if metadata_name != name:
            return _MISSING
        if name.startswith("payload."):
            return Found(*lookup(document("payload", event.payload), name[len("payload.") :]))
        if name.startswith("extensions."):
            path = name[len("extensions.") :]
            return Found(*lookup(document("extensions", event.extensions), path))
        exists, value = lookup(document("extensions", event.extensions), name)
        if exists:
            return Found(True, value)
        return Found(*lookup(document("payload", event.payload), name))

    return find
