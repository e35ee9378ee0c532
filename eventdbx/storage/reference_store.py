"""Reading the store of the existing program (3.9.13, 3.19.4), read only: its keys and its values.

A key is a family, 1F, type, 1F, id, and for events 1F and the version as u64; 1F comes before
every byte that names have. Values are JSON; the payload of an event may be sealed inside of it, a
state as a whole. What becomes of it all is in :mod:`eventdbx.services.foreign_archives`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.events import Actor
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import EventDBXError, StorageError
from eventdbx.storage.keys import after
from eventdbx.storage.rocks import RocksStore

SEPARATOR = b"\x1f"
EVENTS, EVENTS_ARCHIVED = b"evt", b"evt-arch"
METAS, METAS_ARCHIVED = b"meta", b"meta-arch"
STATES, STATES_ARCHIVED = b"state", b"state-arch"
SNAPSHOTS = b"snapshot"

SEALED_MEMBER = "__eventdbx_encrypted"
SEALED_PREFIX = "ENCv1:"

_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,4096}")

_DEPTH_MAX = 256
"""Of records: an event adds levels to its payload, which may be as deep as inputs ever were."""

Unseal = Callable[[str], str]
"""Opens an ``ENCv1:`` text. Raises EventDBXError."""


class Place(NamedTuple):
    """Whose a row is."""

    aggregate_type: str
    aggregate_id: str

    def __str__(self) -> str:
        return f"{self.aggregate_type}::{self.aggregate_id}"


class ReferenceEvent(NamedTuple):
    """An event as the existing program keeps it; hash and root as hexadecimal text."""

    place: Place
    version: int
    event_type: str
    event_type_raw: str | None
    payload: JSON
    extensions: JSON
    event_id: int
    created_at: int
    issued_by: Actor | None
    note: str | None
    hash: str
    merkle_root: str


class ReferenceMeta(NamedTuple):
    """What it keeps about an aggregate."""

    version: int
    merkle_root: str
    archived: bool
    archived_at: int | None
    archive_comment: str | None
    updated_at: int | None


class ReferenceSnapshot(NamedTuple):
    """A snapshot; those of 3.9.13 have no id. Its state is a map of texts."""

    place: Place
    snapshot_id: int | None
    version: int
    state: dict[str, str]
    created_at: int
    comment: str | None


class Unreadable(StorageError):
    """A row that cannot be read, and why."""


class ReferenceStore:
    """An opened store. Raises Unreadable for single rows, StorageError for the store."""

    def __init__(self, path: str, unseal: Unseal) -> None:
        self._store = RocksStore.open_foreign(path)
        self._view = self._store.view()
        self._unseal = unseal

    def close(self) -> None:
        """Give it back."""
        self._store.close()

    def keys(self, family: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key of a family, and its value, in the order of the keys."""
        start = family + SEPARATOR
        yield from self._view.scan(start, after(start))

    def has_active(self, place: Place) -> bool:
        """Say whether there is anything of an aggregate that is not archived."""
        return self._view.get(_named(METAS, place)) is not None or self.has_event(EVENTS, place)

    def has_event(self, family: bytes, place: Place) -> bool:
        """Say whether an aggregate has any event."""
        start = _named(family, place) + SEPARATOR
        return next(self._view.scan(start, after(start)), None) is not None

    def event(self, key: bytes, value: bytes | None = None) -> ReferenceEvent:
        """Return the event under a key."""
        record = self._record(key, value)
        place, rest = split(key)
        try:
            return _event(place, int.from_bytes(rest, "big"), record, self._opened)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(_why(error)) from None

    def meta(self, place: Place, *, archived: bool) -> ReferenceMeta | None:
        """Return what is kept about an aggregate, None if nothing is."""
        key = _named(METAS_ARCHIVED if archived else METAS, place)
        if (value := self._view.get(key)) is None:
            return None
        record = self._record(key, value)
        try:
            return ReferenceMeta(
                int(record["version"]),
                str(record["merkle_root"]),
                bool(record.get("archived", archived)),
                _moment(record.get("archived_at")),
                _text(record.get("archive_comment") or record.get("comment")),
                _moment(record.get("updated_at")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(_why(error)) from None

    def state(self, place: Place, *, archived: bool) -> dict[str, str] | None:
        """Return the state of an aggregate, None if there is none."""
        value = self._view.get(_named(STATES_ARCHIVED if archived else STATES, place))
        if value is None:
            return None
        text = value.decode("utf-8", "surrogateescape")
        found = _json(self._unseal(text) if text.startswith(SEALED_PREFIX) else text)
        if type(found) is not dict:
            raise Unreadable("its state is no object")
        return {key: str(one) for key, one in found.items()}

    def snapshot(self, key: bytes, value: bytes | None = None) -> ReferenceSnapshot:
        """Return the snapshot under a key."""
        record = self._record(key, value)
        try:
            identity = int(record.get("snapshot_id") or 0)
            version = int(record["version"])
            if not (0 <= identity < 1 << 64 and 0 < version < 1 << 63):
                raise ValueError("its id or its version can be none")
            return ReferenceSnapshot(
                split(key)[0],
                identity or None,
                version,
                {name: str(one) for name, one in record["state"].items()},
                parse_ns(record["created_at"]),
                _text(record.get("comment")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(_why(error)) from None

    def _record(self, key: bytes, value: bytes | None) -> dict[str, Any]:
        value = self._view.get(key) if value is None else value
        if value is None:
            raise Unreadable("it is missing")
        found = _json(value)
        if type(found) is not dict:
            raise Unreadable("it is no object")
        return found

    def _opened(self, payload: JSON) -> JSON:
        """Return a payload; what a client has sent may look like a sealed one, and is no such."""
        if type(payload) is not dict or payload.keys() != {SEALED_MEMBER}:
            return payload
        sealed = payload[SEALED_MEMBER]
        if type(sealed) is not str or not sealed.startswith(SEALED_PREFIX):
            return payload
        try:
            return _json(self._unseal(sealed))
        except EventDBXError as error:
            raise Unreadable(error.detail) from None


def split(key: bytes) -> tuple[Place, bytes]:
    """Return whose row a key is of, and what follows. Raises Unreadable."""
    parts = key.split(SEPARATOR, 3)
    try:
        place = Place(parts[1].decode("ascii"), parts[2].decode("ascii"))
    except (IndexError, UnicodeDecodeError):
        raise Unreadable(f"the key {key[:64].hex()} names no aggregate") from None
    return place, parts[3] if len(parts) > 3 else b""


def _text(value: object) -> str | None:
    if value is not None and type(value) is not str:
        raise ValueError("its comment is no text")
    return value


def _type(text: object) -> str:
    """Return an event type: none was ever taken with other characters, and ours ends with NUL."""
    if type(text) is not str or _EVENT_TYPE.fullmatch(text) is None:
        raise ValueError("its event type can be none")
    return text


def _named(family: bytes, place: Place) -> bytes:
    return SEPARATOR.join((family, *(one.encode() for one in place)))


def _json(text: bytes | str) -> JSON:
    try:
        return parse(text, depth_max=_DEPTH_MAX)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _event(
    place: Place, version: int, record: dict[str, Any], opened: Callable[[JSON], JSON]
) -> ReferenceEvent:
    metadata = record["metadata"]
    actor = metadata.get("issued_by")
    named = Place(record["aggregate_type"], record["aggregate_id"])
    if named != place or record["version"] != version:
        raise Unreadable("its record is of another event")
    note, raw = metadata.get("note"), record.get("event_type_raw")
    event_id = int(metadata["event_id"])
    if not 0 < event_id < 1 << 64:
        raise Unreadable(f"its event id {event_id} can be none")
    return ReferenceEvent(
        place,
        version,
        _type(record["event_type"]),
        None if raw is None else _type(raw),
        opened(record["payload"]),
        record.get("extensions"),
        event_id,
        parse_ns(metadata["created_at"]),
        None if actor is None else Actor(str(actor["group"]), str(actor["user"])),
        None if note is None else str(note),
        str(record["hash"]),
        str(record["merkle_root"]),
    )


def _moment(value: object) -> int | None:
    if isinstance(value, str):
        return parse_ns(value)
    return value * 1_000_000 if type(value) is int and abs(value) < 1 << 42 else None


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is missing in its record"
    return str(error) or type(error).__name__
