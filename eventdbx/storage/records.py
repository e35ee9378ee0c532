"""How values are laid out in the store (docs/storage-format.md).

Every record begins with a format byte of its own family. Writers write the newest, readers
accept every one they know and refuse the rest by name. What was hashed is stored as it was
hashed: the leaf of an event is kept verbatim, with the salt and the client's bytes beside it.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import orjson

from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.delivery.targets import Target
from eventdbx.domain.events import MARK_BYTES, SALT_BYTES, Actor, Event, commitment, leaf_data
from eventdbx.domain.merkle import completed, leaf_hash
from eventdbx.domain.schemas.upcasting import FOLD_MARK_BYTES
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import StorageError
from eventdbx.storage.contents import DamagedRecord as DamagedRecord
from eventdbx.storage.contents import begin, parts

EVENT_FORMAT = 3
HEAD_FORMAT = 3
SNAPSHOT_FORMAT = 2
AUDIT_FORMAT = 2
SMALL_FORMAT = 1
"""Tail and idempotency records."""
LOG_FORMAT = 3

_EVENT = Struct(">32sI")
_EVENT_CONTENT = Struct(">16sIii")
_EVENT_NUMBERS = Struct(">QQq")
_EVENT_HEAD = 57
"""Bytes of a leaf before its texts: format, numbers, commitment."""
_HEAD = Struct(">BBQqqqB32s")
_HEAD_CONTENT = Struct(">IIi")
_LOG = Struct(">BQIB")
_HASH_BYTES = 32
_TAIL = Struct(">BQQ")
_ABSENT = -(1 << 63)
_ARCHIVED = 1

ERASED_FOLD = b"(erased)"
"""The fold mark of a head whose state is gone: no fold has it, so it is folded anew."""


def encode_event(event: Event) -> bytes:
    """Return the record of an event, with its leaf exactly as it was hashed."""
    leaf, nodes = event.leaf, event.nodes
    readable = _EVENT.size + len(leaf) + _HASH_BYTES * len(nodes)
    first = begin(EVENT_FORMAT, event.key_slots, readable, erased=event.erased)
    public = _EVENT.pack(event.merkle_root, len(leaf))
    if event.erased:
        return b"".join((first, public, leaf, *nodes))
    extensions = event.extensions
    note = None if event.note is None else event.note.encode()
    return b"".join(
        (
            first,
            public,
            leaf,
            *nodes,
            _EVENT_CONTENT.pack(
                event.salt,
                len(event.payload),
                -1 if extensions is None else len(extensions),
                -1 if note is None else len(note),
            ),
            event.payload,
            extensions or b"",
            note or b"",
        )
    )


def decode_event(record: bytes) -> Event:
    """Return the event of a record; its hash is computed from the stored leaf.

    An erased event has the payload ``null``, an empty salt, and neither extensions nor a note.
    Raises DamagedRecord when the record is cut or of an unknown format. It does not prove that
    leaf and payload belong together: :func:`check_event` does.
    """
    try:
        form, erased, slots, start, content_at = parts(record)
        if form != EVENT_FORMAT:
            raise DamagedRecord(f"unknown event record format {form}")
        root, leaf_n = _EVENT.unpack_from(record, start)
        start += _EVENT.size
        leaf = record[start : start + leaf_n]
        start += leaf_n
        version, event_id, created_at = _EVENT_NUMBERS.unpack_from(leaf, 1)
        nodes, start = _hashes(record, start, completed(version))
        if start != content_at:
            raise DamagedRecord("event record has the wrong length")
        salt, payload, extensions, note = (
            (b"", b"null", None, None) if erased else _event_content(record, content_at)
        )
        aggregate_type, aggregate_id, event_type, rest = leaf[_EVENT_HEAD:].split(b"\x00", 3)
        raw: bytes | None = None
        if rest[0]:
            raw, rest = rest[1:].split(b"\x00", 1)
        else:
            rest = rest[1:]
        actor, rest = _decode_actor(rest)
        return Event(
            aggregate_type.decode(),
            aggregate_id.decode(),
            event_type.decode(),
            None if raw is None else raw.decode(),
            payload,
            extensions,
            event_id,
            created_at,
            actor,
            note,
            version,
            salt,
            leaf_hash(leaf),
            root,
            leaf,
            _decode_mark(rest),
            nodes,
            slots,
            erased,
        )
    except StorageError:
        raise
    except Exception as error:
        raise DamagedRecord(f"unreadable event record: {error}") from None


def _event_content(record: bytes, start: int) -> tuple[bytes, bytes, bytes | None, str | None]:
    """Return salt, payload, extensions and note from a place in a record on."""
    salt, payload_n, extensions_n, note_n = _EVENT_CONTENT.unpack_from(record, start)
    if extensions_n < -1 or note_n < -1:
        raise DamagedRecord("event record has an impossible length in it")
    start += _EVENT_CONTENT.size
    payload = record[start : start + payload_n]
    start += payload_n
    extensions: bytes | None = None
    if extensions_n >= 0:
        extensions = record[start : start + extensions_n]
        start += extensions_n
    note = None if note_n < 0 else record[start : start + note_n].decode()
    if start + max(note_n, 0) != len(record):
        raise DamagedRecord("event record has the wrong length")
    return salt, payload, extensions, note


def _hashes(record: bytes, start: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """Return that many hashes from a place on, and where they end."""
    if not count:
        return (), start
    end = start + _HASH_BYTES * count
    places = range(start, end, _HASH_BYTES)
    return tuple([record[place : place + _HASH_BYTES] for place in places]), end


def event_id_of(record: bytes) -> int:
    """Return the id of an event record without reading the rest. Raises DamagedRecord."""
    form, _erased, _slots, start, content_at = parts(record)
    start += _EVENT.size + 9
    if form != EVENT_FORMAT or content_at < start + 8:
        raise DamagedRecord("unreadable event record")
    return int.from_bytes(record[start : start + 8], "big")


def _decode_actor(rest: bytes) -> tuple[Actor | None, bytes]:
    if not rest[0]:
        return None, rest[1:]
    group_n = int.from_bytes(rest[1:5], "big")
    group = rest[5 : 5 + group_n]
    user_n = int.from_bytes(rest[5 + group_n : 9 + group_n], "big")
    end = 9 + group_n + user_n
    return Actor(group.decode(), rest[9 + group_n : end].decode()), rest[end:]


def _decode_mark(rest: bytes) -> bytes | None:
    if not rest[0]:
        return None
    if len(rest) != 1 + MARK_BYTES:
        raise DamagedRecord("event record has an impossible schema mark")
    return rest[1:]


def check_event(record: bytes) -> Event:
    """Return the event of a record after proving that every stored byte is what was hashed.

    Of an erased event the leaf alone is left: that it may be erased is for the caller to know.
    """
    event = decode_event(record)
    if event.erased:
        committed = event.leaf[_EVENT_HEAD - _HASH_BYTES : _EVENT_HEAD]
    else:
        committed = commitment(event.salt, event.payload, event.extensions, event.note)
    leaf = leaf_data(
        event.aggregate_type,
        event.aggregate_id,
        event.event_type,
        event.event_type_raw,
        event.event_id,
        event.created_at,
        event.issued_by,
        event.version,
        committed,
        event.schema,
    )
    if leaf != event.leaf:
        raise DamagedRecord("payload, metadata or note differ from what was hashed")
    return event


def encode_head(head: Head) -> bytes:
    """Return the record of a head. Type and id are in its key."""
    extensions = dump(head.extensions) if head.extensions else b"{}"
    comment = None if head.archive_comment is None else head.archive_comment.encode()
    state = dump(head.state)
    frontier, mark = head.frontier, head.fold_mark
    readable = _HEAD.size + len(mark) + _HASH_BYTES * len(frontier)
    return b"".join(
        (
            begin(HEAD_FORMAT, head.content_slots, readable),
            _HEAD.pack(
                _ARCHIVED if head.archived else 0,
                len(mark),
                head.version,
                _ABSENT if head.created_at is None else head.created_at,
                _ABSENT if head.updated_at is None else head.updated_at,
                _ABSENT if head.archived_at is None else head.archived_at,
                len(frontier),
                head.merkle_root,
            ),
            mark,
            *frontier,
            _HEAD_CONTENT.pack(
                len(extensions), len(state), -1 if comment is None else len(comment)
            ),
            extensions,
            state,
            comment or b"",
        )
    )


def decode_head(aggregate_type: str, aggregate_id: str, record: bytes) -> Head:
    """Return the head of a record; raises DamagedRecord.

    One whose content is erased has no state, and the mark :data:`ERASED_FOLD`.
    """
    try:
        form, erased, slots, start, content_at = parts(record)
        if form != HEAD_FORMAT:
            raise DamagedRecord(f"unknown head record format {form}")
        flags, mark_n, version, created_at, updated_at, archived_at, peaks, root = (
            _HEAD.unpack_from(record, start)
        )
        start += _HEAD.size
        mark = record[start : start + mark_n]
        start += mark_n
        end = start + _HASH_BYTES * peaks
        frontier = tuple([record[place : place + 32] for place in range(start, end, 32)])
        if end != content_at or flags & ~_ARCHIVED or mark_n not in (0, FOLD_MARK_BYTES):
            raise DamagedRecord("head record has the wrong length")
        if erased:
            mark = ERASED_FOLD
        content = ({}, {}, None) if erased else _head_content(record, content_at)
        extensions, state, comment = content
    except StorageError:
        raise
    except Exception as error:
        raise DamagedRecord(f"unreadable head record: {error}") from None
    return Head(
        aggregate_type,
        aggregate_id,
        version,
        state,
        extensions,
        frontier,
        root,
        None if created_at == _ABSENT else created_at,
        None if updated_at == _ABSENT else updated_at,
        bool(flags & _ARCHIVED),
        None if archived_at == _ABSENT else archived_at,
        comment,
        mark,
        slots[0] if slots else 0,
        slots[1] if len(slots) > 1 else 0,
    )


def _head_content(record: bytes, start: int) -> tuple[dict[str, JSON], dict[str, JSON], str | None]:
    """Return extensions, state and archive note from a place in a record on."""
    extensions_n, state_n, comment_n = _HEAD_CONTENT.unpack_from(record, start)
    start += _HEAD_CONTENT.size
    extensions = {} if extensions_n == 2 else orjson.loads(record[start : start + extensions_n])
    start += extensions_n
    state = orjson.loads(record[start : start + state_n])
    start += state_n
    comment = None if comment_n < 0 else record[start : start + comment_n].decode()
    if start + max(comment_n, 0) != len(record):
        raise DamagedRecord("head record has the wrong length")
    return extensions, state, comment


class LogEntry(NamedTuple):
    """What stands at one position of the commit log: which event, its id, and for whom it is.

    Without ``targets`` the event is for every plugin. ``leaf`` is the event's hash, which is a leaf
    of the log's tree, too; ``nodes`` are the subtrees of that tree which it completes.
    """

    event_id: int
    event_key: bytes
    leaf: bytes
    nodes: tuple[bytes, ...] = ()
    targets: tuple[Target, ...] = ()


def encode_log(entry: LogEntry) -> bytes:
    """Return the record of one position of the commit log."""
    targets = entry.targets
    text = orjson.dumps([list(target) for target in targets]) if targets else b""
    numbers = _LOG.pack(LOG_FORMAT, entry.event_id, len(text), len(entry.nodes))
    return b"".join((numbers, entry.leaf, *entry.nodes, text, entry.event_key))


def decode_log(record: bytes) -> LogEntry:
    """Return a log entry; raises DamagedRecord."""
    try:
        form, event_id, targets_n, count = _LOG.unpack_from(record)
        if form != LOG_FORMAT:
            raise DamagedRecord(f"unknown log record format {form}")
        leaf = record[_LOG.size : _LOG.size + _HASH_BYTES]
        nodes, start = _hashes(record, _LOG.size + _HASH_BYTES, count)
        end = start + targets_n
        if end >= len(record):
            raise DamagedRecord("log record has the wrong length")
        if not targets_n:
            return LogEntry(event_id, record[end:], leaf, nodes)
        targets = tuple([Target(*one) for one in orjson.loads(record[start:end])])
        return LogEntry(event_id, record[end:], leaf, nodes, targets)
    except StorageError:
        raise
    except Exception as error:
        raise DamagedRecord(f"unreadable log record: {error}") from None


class Tail(NamedTuple):
    """The end of a partition: the next position and the last id handed out."""

    next_position: int
    last_id: int


def encode_tail(tail: Tail) -> bytes:
    """Return the record of a partition's tail."""
    return _TAIL.pack(SMALL_FORMAT, tail.next_position, tail.last_id)


def decode_tail(record: bytes | None) -> Tail:
    """Return a tail; positions and ids of an empty store begin at 0."""
    if record is None:
        return Tail(0, 0)
    if len(record) != _TAIL.size or record[0] != SMALL_FORMAT:
        raise DamagedRecord("unreadable tail record")
    return Tail(*_TAIL.unpack(record)[1:])


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the record of a snapshot. Type, aggregate id and snapshot id are in its key."""
    public = orjson.dumps([snapshot.version, snapshot.merkle_root.hex(), snapshot.created_at])
    content = orjson.dumps([snapshot.comment, orjson.Fragment(dump(dict(snapshot.state)))])
    return begin(SNAPSHOT_FORMAT, snapshot.key_slots, len(public)) + public + content


def decode_snapshot(aggregate_type: str, aggregate_id: str, number: int, record: bytes) -> Snapshot:
    """Return the snapshot of a record, without a state if that is erased. Raises DamagedRecord."""
    try:
        form, erased, slots, start, content_at = parts(record)
        if form != SNAPSHOT_FORMAT:
            raise DamagedRecord(f"unknown snapshot record format {form}")
        version, root, created_at = orjson.loads(record[start:content_at])
        comment, state = (None, {}) if erased else orjson.loads(record[content_at:])
        return Snapshot(
            number, aggregate_type, aggregate_id, version, state, bytes.fromhex(root), created_at,
            comment, slots, erased,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise DamagedRecord(f"unreadable snapshot record: {error}") from None


class Unindexed(NamedTuple):
    """A type of which the index of referrers does not say yet what its states say.

    Its entries may lie at ``places`` (the segments of paths). All is right up to the aggregate
    ``after``, by id, None before the first; ``done`` aggregates were looked at.
    """

    places: tuple[tuple[str, ...], ...]
    after: str | None = None
    done: int = 0


def encode_unindexed(unindexed: Unindexed) -> bytes:
    """Return the record of what is left to index of a type, which is in its key."""
    return b"\x01" + orjson.dumps([unindexed.after, unindexed.done, unindexed.places])


def decode_unindexed(record: bytes) -> Unindexed:
    """Return what is left to index; raises DamagedRecord."""
    try:
        if record[0] != SMALL_FORMAT:
            raise DamagedRecord(f"unknown record format {record[0]} of an unfinished index")
        after, done, places = orjson.loads(record[1:])
        return Unindexed(tuple(tuple(place) for place in places), after, done)
    except (ValueError, IndexError, TypeError) as error:
        raise DamagedRecord(f"unreadable record of an unfinished index: {error}") from None


class Remembered(NamedTuple):
    """The result kept for an idempotency key: what was asked, and the events that came of it."""

    digest: bytes
    millis: int
    events: tuple[tuple[str, str, int], ...]


def encode_remembered(remembered: Remembered) -> bytes:
    """Return the record kept under an idempotency key."""
    return b"\x01" + orjson.dumps([remembered.digest.hex(), remembered.millis, remembered.events])


def decode_remembered(record: bytes) -> Remembered:
    """Return what is kept under an idempotency key; raises DamagedRecord."""
    try:
        if record[0] != SMALL_FORMAT:
            raise DamagedRecord(f"unknown idempotency record format {record[0]}")
        digest, millis, events = orjson.loads(record[1:])
        return Remembered(bytes.fromhex(digest), millis, tuple((t, i, v) for t, i, v in events))
    except (ValueError, IndexError) as error:
        raise DamagedRecord(f"unreadable idempotency record: {error}") from None


def encode_audit(
    archived: bool, at_ns: int, comment: str | None, actor: Actor | None, slots: tuple[int, ...]
) -> bytes:
    """Return the record of who archived (or restored) an aggregate, when and why."""
    public = orjson.dumps([archived, at_ns, None if actor is None else list(actor)])
    content = b"" if comment is None else comment.encode()
    return begin(AUDIT_FORMAT, slots, len(public)) + public + content


def decode_audit(record: bytes) -> tuple[bool, int, str | None, Actor | None]:
    """Return (archived, Unix time in ns, note, actor) of such a record. Raises DamagedRecord."""
    try:
        form, _erased, _slots, start, content_at = parts(record)
        if form != AUDIT_FORMAT:
            raise DamagedRecord(f"unknown archive record format {form}")
        archived, at_ns, actor = orjson.loads(record[start:content_at])
        who = None if actor is None else Actor(*actor)
        return archived, at_ns, record[content_at:].decode() or None, who
    except (ValueError, TypeError) as error:
        raise DamagedRecord(f"unreadable archive record: {error}") from None


assert SALT_BYTES == 16, "the event record reserves 16 bytes for the salt"
