"""Events: the immutable facts, the leaf that is hashed for each, and their JSON document.

How an event is laid out in the store is in :mod:`eventdbx.storage.records`; how it changes an
aggregate is in :mod:`eventdbx.domain.aggregate`.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

import orjson

from eventdbx.domain.timestamps import format_ns

SALT_BYTES = 16
MARK_BYTES = 18
LEAF_FORMAT = b"\x01"

_NUMBERS = Struct(">QQq")
_LENGTH = Struct(">I")


class Actor(NamedTuple):
    """Who issued an event: the group and user of the token."""

    group: str
    user: str


class Event(NamedTuple):
    """One committed event.

    ``payload`` and ``extensions`` are canonical JSON, exactly the bytes that were hashed;
    ``created_at`` is in nanoseconds since the Unix epoch; ``hash`` is the leaf hash and
    ``merkle_root`` the root of the aggregate's tree after this event, 32 bytes each. ``schema`` is
    the mark of the schema that accepted it: 16 bytes of that schema's digest and the revision of
    the event type (u16), or None when no schema was in force. ``nodes`` are the hashes of the
    subtrees of the aggregate's tree that end with this event, as ``merkle.grown`` gives them.
    ``key_slots`` are those of the data keys that its content is sealed with; of an ``erased`` event
    content and salt are gone, the payload reads as null.
    """

    aggregate_type: str
    aggregate_id: str
    event_type: str
    event_type_raw: str | None
    payload: bytes
    extensions: bytes | None
    event_id: int
    created_at: int
    issued_by: Actor | None
    note: str | None
    version: int
    salt: bytes
    hash: bytes
    merkle_root: bytes
    leaf: bytes = b""
    schema: bytes | None = None
    nodes: tuple[bytes, ...] = ()
    key_slots: tuple[int, ...] = ()
    erased: bool = False


def commitment(salt: bytes, payload: bytes, extensions: bytes | None, note: str | None) -> bytes:
    """Return the salted digest of what a client sent with an event.

    The salt lies beside the payload. Erasing both leaves a digest that still proves the history
    and that nobody can guess a short payload from.
    """
    kept = b"\x00" if extensions is None else b"\x01" + _LENGTH.pack(len(extensions)) + extensions
    if note is None:
        said = b"\x00"
    else:
        text = note.encode()
        said = b"\x01" + _LENGTH.pack(len(text)) + text
    return sha256(b"".join((salt, _LENGTH.pack(len(payload)), payload, kept, said))).digest()


def leaf_data(
    aggregate_type: str,
    aggregate_id: str,
    event_type: str,
    event_type_raw: str | None,
    event_id: int,
    created_at: int,
    issued_by: Actor | None,
    version: int,
    committed: bytes,
    schema: bytes | None,
) -> bytes:
    """Return the bytes that an event's leaf hash covers.

    Every text is followed by a length or a terminator that cannot occur in it, so two different
    events never give the same bytes (docs/storage-format.md, "The leaf").
    """
    raw = b"\x00" if event_type_raw is None else b"\x01" + event_type_raw.encode() + b"\x00"
    if issued_by is None:
        actor = b"\x00"
    else:
        group, user = issued_by.group.encode(), issued_by.user.encode()
        actor = b"\x01%b%b%b%b" % (_LENGTH.pack(len(group)), group, _LENGTH.pack(len(user)), user)
    return b"\x01%b%b%b\x00%b\x00%b\x00%b%b%b" % (
        _NUMBERS.pack(version, event_id, created_at),
        committed,
        aggregate_type.encode(),
        aggregate_id.encode(),
        event_type.encode(),
        raw,
        actor,
        b"\x00" if schema is None else b"\x01" + schema,
    )


def raw_event_document(event: Event) -> bytes:
    """Return the JSON document of an event with the schema that accepted it, null if none did."""
    schema = b"null"
    if event.schema is not None:
        digest, revision = event.schema[:-2].hex(), int.from_bytes(event.schema[-2:], "big")
        schema = b'{"digest":"%b","revision":%d}' % (digest.encode(), revision)
    return b'%b,"schema":%b}' % (event_document(event)[:-1], schema)


def event_document(event: Event) -> bytes:
    """Return the JSON document of an event, keys in the order of the control protocol.

    Payload and extensions are the stored bytes; nothing is parsed.
    """
    raw = "" if event.event_type_raw is None else f',"event_type_raw":"{event.event_type_raw}"'
    if event.issued_by is None:
        actor = b"null"
    else:
        actor = b'{"group":%b,"user":%b}' % (
            orjson.dumps(event.issued_by.group),
            orjson.dumps(event.issued_by.user),
        )
    erased = ',"erased":true' if event.erased else ""
    head = (
        f'{{"aggregate_type":"{event.aggregate_type}","aggregate_id":"{event.aggregate_id}",'
        f'"event_type":"{event.event_type}"{raw},"payload":'
    )
    middle = (
        f',"metadata":{{"event_id":"{event.event_id}",'
        f'"created_at":"{format_ns(event.created_at)}","issued_by":'
    )
    tail = (
        f'}},"version":{event.version},"hash":"{event.hash.hex()}",'
        f'"merkle_root":"{event.merkle_root.hex()}"{erased}}}'
    )
    return b"".join(
        (
            head.encode(),
            event.payload,
            b"" if event.extensions is None else b',"extensions":' + event.extensions,
            middle.encode(),
            actor,
            b"" if event.note is None else b',"note":' + orjson.dumps(event.note),
            tail.encode(),
        )
    )
