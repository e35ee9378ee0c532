"""Events that are staged: written by nobody yet, kept until their user commits or drops them.

Each is a record of its own, laid out as :mod:`eventdbx.storage.contents` says, under a data key of
its own: erasing what it is about destroys that key. Readable are the names of the aggregate, the
kind of write and whose it is; everything that was sent is content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple, Protocol

import orjson

from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor
from eventdbx.storage import keys
from eventdbx.storage.contents import DamagedRecord, begin, parts

_FORMAT = 1


class _Scans(Protocol):
    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]: ...


class Entry(NamedTuple):
    """One staged event: ``owner`` alone sees it, ``issued_by`` is who the event will name.

    ``event_type`` is the canonical name, ``payload`` (canonical JSON) what the write came to when
    it was staged, which for a patch is what it makes of the state; ``subject`` whom that is about.
    ``staged_at`` is in nanoseconds since the Unix epoch. ``slot`` is that of the key of the
    content, 0 for none.
    """

    entry_id: int
    owner: Actor
    write: Write
    event_type: str
    payload: bytes
    subject: str | None
    issued_by: Actor | None
    staged_at: int
    slot: int

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return keys.staged(owner_digest(self.owner), self.entry_id)


Wanted = Callable[[Entry], bool]
"""Says which of what is staged somebody means."""


def owner_digest(owner: Actor) -> bytes:
    """Return what stands for a user in keys, which stay readable: 32 bytes."""
    return sha256(orjson.dumps(list(owner))).digest()


def encode_entry(entry: Entry) -> bytes:
    """Return the record of an entry; its id is in the key."""
    write, issued = entry.write, entry.issued_by
    readable = orjson.dumps(
        [
            write.kind,
            write.aggregate_type,
            write.aggregate_id,
            entry.event_type,
            entry.staged_at,
            list(entry.owner),
            None if issued is None else list(issued),
        ]
    )
    content = orjson.dumps(
        [
            write.event_type,
            _text(write.content),
            _text(write.metadata),
            write.note,
            write.expected_version,
            write.idempotency_key,
            entry.payload.decode(),
            entry.subject,
        ]
    )
    slots = (entry.slot,) if entry.slot else ()
    return begin(_FORMAT, slots, len(readable)) + readable + content


def decode_entry(key: bytes, record: bytes) -> Entry:
    """Return the entry of a record. Raises DamagedRecord, also for one whose key is destroyed."""
    form, erased, slots, start, content_at = parts(record)
    if form != _FORMAT or erased:
        raise DamagedRecord("unknown format of the record of a staged event")
    try:
        kind, aggregate_type, aggregate_id, event_type, staged_at, owner, issued = orjson.loads(
            record[start:content_at]
        )
        raw, content, metadata, note, expected, idempotency_key, payload, subject = orjson.loads(
            record[content_at:]
        )
        write = Write(
            kind, aggregate_type, aggregate_id, raw, content, metadata, note, (), expected,
            idempotency_key,
        )  # fmt: skip
        entry = Entry(
            int.from_bytes(key[-8:], "big"),
            Actor(*owner),
            write,
            event_type,
            payload.encode(),
            subject,
            None if issued is None else Actor(*issued),
            staged_at,
            slots[0] if slots else 0,
        )
        if entry.key != key:
            raise ValueError("it is in another user's place")
        return entry
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedRecord(f"unreadable record of a staged event: {error}") from None


def entries_of(reads: _Scans, owner: Actor) -> list[tuple[Entry, int]]:
    """Return what a user has staged, oldest first, each with the length of its record."""
    return list(_entries(reads, keys.staged_of(owner_digest(owner))))


def keys_of(reads: _Scans, owner: Actor) -> list[bytes]:
    """Return the keys of all that a user has staged, with what an erasure has emptied."""
    prefix = keys.staged_of(owner_digest(owner))
    return [key for key, _record in reads.scan(prefix, keys.after(prefix))]


def all_entries(reads: _Scans) -> Iterator[tuple[Entry, int]]:
    """Yield what all users have staged, user by user, oldest first."""
    return _entries(reads, keys.STAGED)


def of_aggregate(name: bytes) -> Wanted:
    """Return what picks the entries of an aggregate, by its canonical name."""
    return lambda one: keys.name(one.write.aggregate_type, one.write.aggregate_id) == name


def about(subject: str) -> Wanted:
    """Return what picks the entries that are about somebody."""
    return lambda one: one.subject == subject


def picked(reads: _Scans, wanted: Wanted) -> list[Entry]:
    """Return some of what all users have staged."""
    return [entry for entry, _length in all_entries(reads) if wanted(entry)]


def _entries(reads: _Scans, prefix: bytes) -> Iterator[tuple[Entry, int]]:
    for key, record in reads.scan(prefix, keys.after(prefix)):
        # One whose key an erasure has destroyed is on its way out.
        if not parts(record)[1]:
            yield decode_entry(key, record), len(record)


def _text(text: str | bytes | None) -> str | None:
    return text.decode() if isinstance(text, bytes) else text
