"""Aggregates: the head that stands for a whole timeline, and how an event changes it.

``decide`` makes the next event from a head, ``evolve`` folds a stored one again; both are pure.
What a client may send is checked before, in :mod:`eventdbx.application.writer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

from eventdbx.domain import merkle
from eventdbx.domain.canonical import JSON, dump, text_of
from eventdbx.domain.events import Actor, Event, commitment, leaf_data
from eventdbx.domain.identifiers import ERASED_TYPE, normalise_extension_key
from eventdbx.domain.timestamps import format_ns


class Head(NamedTuple):
    """An aggregate after its newest event.

    ``state`` holds JSON values, not texts; ``frontier`` is the compact range of its Merkle tree
    (:mod:`eventdbx.domain.merkle`); times are nanoseconds since the Unix epoch. ``fold_mark`` is
    that of the :class:`Fold` which made the state. ``key_slot`` is that of the data key of its
    events, 0 without one; ``state_slot`` that of a second one for its state, 0 while the first is
    enough.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    state: dict[str, JSON]
    extensions: dict[str, JSON]
    frontier: merkle.Range
    merkle_root: bytes
    created_at: int | None
    updated_at: int | None
    archived: bool
    archived_at: int | None
    archive_comment: str | None
    fold_mark: bytes = b""
    key_slot: int = 0
    state_slot: int = 0

    @property
    def content_slots(self) -> tuple[int, ...]:
        """The slots of the data keys that its state is sealed with, all of them together."""
        if self.state_slot:
            return (self.key_slot, self.state_slot)
        return (self.key_slot,) if self.key_slot else ()


class Fold(NamedTuple):
    """How the events of an aggregate type make a state.

    ``lift`` returns the payload of an event as it reads now, null for one that is not to be folded
    (:func:`folds`); ``mark`` tells one lift from another
    and is empty for payloads as they are stored (docs/schema-upcasting.md).
    """

    mark: bytes
    lift: Callable[[Event], JSON]


class Draft(NamedTuple):
    """A checked event on its way to become a fact: everything but place, time and hash.

    ``subject`` is whom it is about, as the extensions say it.
    """

    event_type: str
    event_type_raw: str | None
    payload: JSON
    payload_json: bytes
    extensions: Mapping[str, JSON] | None
    extensions_json: bytes | None
    issued_by: Actor | None
    note: str | None
    schema: bytes | None = None
    subject: str | None = None


def stored_payload(event: Event) -> JSON:
    """Return what an event as it was written has for the state: null where it has nothing."""
    if not folds(event):
        return None
    payload: JSON = orjson.loads(event.payload)
    return payload


def folds(event: Event) -> bool:
    """Say whether an event is folded into the state: what is erased, and what says so, is not."""
    return not event.erased and event.event_type != ERASED_TYPE


PLAIN = Fold(b"", stored_payload)
"""The fold of a type without upcasters."""


def new_head(
    aggregate_type: str, aggregate_id: str, fold_mark: bytes = b"", key_slot: int = 0
) -> Head:
    """Return the head of an aggregate that has no events yet (version 0)."""
    return Head(
        aggregate_type, aggregate_id, 0, {}, {}, (), merkle.EMPTY_ROOT, None, None, False, None,
        None, fold_mark, key_slot,
    )  # fmt: skip


def decide(
    head: Head,
    draft: Draft,
    *,
    event_id: int,
    now_ns: int,
    salt: bytes,
    subject_slot: int = 0,
) -> tuple[Event, Head]:
    """Return the event that a draft becomes on top of a head, and the head after it.

    The draft's payload is of the current revision, and the head's state is folded up to it.
    ``subject_slot`` is that of the data key of whom the event is about, 0 for none.

    ``created_at`` never lies before the aggregate's newest event, so that a state "at a time" is
    well defined when a clock steps back.
    """
    created_at = now_ns if head.updated_at is None else max(now_ns, head.updated_at)
    version = head.version + 1
    key_slot = head.key_slot
    slots = (key_slot, subject_slot) if subject_slot else (key_slot,) if key_slot else ()
    leaf = leaf_data(
        head.aggregate_type,
        head.aggregate_id,
        draft.event_type,
        draft.event_type_raw,
        event_id,
        created_at,
        draft.issued_by,
        version,
        commitment(salt, draft.payload_json, draft.extensions_json, draft.note),
        draft.schema,
    )
    digest = merkle.leaf_hash(leaf)
    frontier, nodes = merkle.grown(head.frontier, head.version, digest)
    root = merkle.root(frontier)
    event = Event(
        head.aggregate_type,
        head.aggregate_id,
        draft.event_type,
        draft.event_type_raw,
        draft.payload_json,
        draft.extensions_json,
        event_id,
        created_at,
        draft.issued_by,
        draft.note,
        version,
        salt,
        digest,
        root,
        leaf,
        draft.schema,
        nodes,
        slots,
    )
    after = Head(
        head.aggregate_type,
        head.aggregate_id,
        version,
        head.state if draft.event_type == ERASED_TYPE else fold_state(head.state, draft.payload),
        fold_extensions(head.extensions, draft.extensions),
        frontier,
        root,
        created_at if head.created_at is None else head.created_at,
        created_at,
        head.archived,
        head.archived_at,
        head.archive_comment,
        head.fold_mark,
        key_slot,
        head.state_slot,
    )
    return event, after


def evolve(head: Head, event: Event, fold: Fold = PLAIN) -> Head:
    """Return the head after a stored event, which must be the next one of its aggregate."""
    extensions = None if event.extensions is None else orjson.loads(event.extensions)
    frontier = merkle.push(head.frontier, head.version, event.hash)
    return head._replace(
        version=event.version,
        state=fold_state(head.state, fold.lift(event)),
        extensions=fold_extensions(head.extensions, extensions),
        frontier=frontier,
        merkle_root=event.merkle_root,
        created_at=event.created_at if head.created_at is None else head.created_at,
        updated_at=event.created_at,
        fold_mark=fold.mark,
    )


def fold_state(state: dict[str, JSON], payload: JSON) -> dict[str, JSON]:
    """Return the state after a payload: objects set their keys, other values set ``_value``."""
    if type(payload) is dict:
        return {**state, **payload} if payload else state
    if payload is None:
        return state
    return {**state, "_value": payload}


def fold_extensions(known: dict[str, JSON], new: Mapping[str, JSON] | None) -> dict[str, JSON]:
    """Return an aggregate's extensions after those of one event, keys normalised."""
    if not new:
        return known
    return {**known, **{normalise_extension_key(key): value for key, value in new.items()}}


def state_texts(state: Mapping[str, JSON]) -> dict[str, str]:
    """Return the state as the map of texts that clients expect, keys sorted."""
    return {key: text_of(state[key]) for key in sorted(state)}


def state_document(state: Mapping[str, JSON]) -> bytes:
    """Return the state's JSON document with all values as texts."""
    return dump(
        {key: value if type(value) is str else text_of(value) for key, value in state.items()}
    )


def aggregate_document(head: Head) -> bytes:
    """Return the JSON document of an aggregate, keys in the order of the control protocol."""
    parts = [
        f'{{"aggregate_type":"{head.aggregate_type}","aggregate_id":"{head.aggregate_id}",'
        f'"version":{head.version},"state":'.encode(),
        state_document(head.state),
    ]
    for key in sorted(head.extensions):
        parts += (b",", orjson.dumps(key), b":", dump(head.extensions[key]))
    parts.append(f',"merkle_root":"{head.merkle_root.hex()}"'.encode())
    if head.created_at is not None:
        parts.append(f',"created_at":"{format_ns(head.created_at)}"'.encode())
    if head.updated_at is not None:
        parts.append(f',"updated_at":"{format_ns(head.updated_at)}"'.encode())
    parts.append(b',"archived":true}' if head.archived else b"}")
    return b"".join(parts)
