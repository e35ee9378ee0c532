"""Messages of plugins (``capnp/plugin.capnp``): events as bytes, and what plugins answer.

Like :mod:`eventdbx.wire.messages`, without pycapnp: an event costs some microseconds, and what is
known only when it is sent (its sequence, the purpose, the attempt) stands at fixed places, so that
events can be made into bytes ahead of that. Who sends them is in ``eventdbx.plugins``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack
from typing import NamedTuple

import orjson

from eventdbx import limits
from eventdbx.domain.aggregate import Head, state_texts
from eventdbx.domain.delivery.parts import Parts, Purpose
from eventdbx.domain.events import Event
from eventdbx.domain.timestamps import format_ns
from eventdbx.wire.framing import FramingError, Inbox
from eventdbx.wire.messages import raw_message
from eventdbx.wire.pointers import MalformedMessage, Message

_ROOT = 1 << 48 | 1 << 32
"""Pointer to the envelope: a word that says which message follows, and its pointer."""

_EVENT, _ACK, _ERROR = 1, 2, 3
_EVENT_POINTER = 13 << 48 | 5 << 32
_DELIVERY_POINTER = 2 << 48 | 1 << 32
_TEXT = 0xA00000001
"""Pointer to a text right behind, without its length: the byte that ends it is counted here."""

_FIXED = Struct("<II24Q")
"""Segment table, root, envelope, event (5 words, 13 pointers), delivery (1 word, 2 pointers)."""
_TEXTS_AT = 24
"""The word, counted from the root, behind all that is fixed."""
_POINTERS_AT = 8
_DELIVERY_AT = 21

_SEQUENCE_BYTE = 8 + 3 * 8
_DELIVERY_BYTE = 8 + _DELIVERY_AT * 8
_WORD = Struct("<Q")
_HALF = Struct("<H")
_ATTEMPT = Struct("<I")
_PURPOSES: dict[Purpose, int] = {"live": 0, "replay": 1, "test": 2}
_MORE = 1
"""In the third byte of the delivery, with _ERASED, which is known before."""
_ERASED = 1 << 17

_ACK_HEAD = pack("<IIQQQ", 0, 4, _ROOT, _ACK, 1 << 32)
_ACK_BYTES = len(_ACK_HEAD) + 8


def encode_init(plugin_name: str, version: str, target: str) -> bytes:
    """Return the message that a process plugin gets first."""
    inner = raw_message((), (plugin_name.encode(), version.encode(), target.encode()))
    # The struct behind the envelope's pointer is the root of the inner message, moved along.
    words = len(inner) // 8 + 1
    return pack("<IIQQ", 0, words, _ROOT, 0) + inner[8:]


def _place(
    texts: Sequence[bytes], place: int, at: int, pointers: list[int], pieces: list[bytes]
) -> int:
    """Add texts whose first pointer is at one word and whose bytes begin at another.

    Return the word behind the texts. An empty text is a null pointer, which reads the same.
    """
    for raw in texts:
        place += 1
        if not raw:
            pointers.append(0)
            continue
        size = len(raw)
        pointers.append((size << 35) + (at - place << 2) + _TEXT)
        at += (size >> 3) + 1
        pieces.append(raw.ljust((size | 7) + 1, b"\0"))
    return at


@lru_cache(maxsize=1024)
def _bytes_of(text: str) -> bytes:
    """Return the bytes of a name that comes with one event after the other."""
    return text.encode()


def encode_event(parts: Parts) -> bytes:
    """Return the message of an event, with sequence 0; :func:`numbered` puts in what is missing.

    Parts that the mode leaves out are empty; JSON texts are then ``null``, never empty.
    """
    head = parts.head
    texts, version, micros = _of_record(parts)
    pieces: list[bytes] = [b""]
    pointers: list[int] = []
    at = _place(texts, _POINTERS_AT, _TEXTS_AT, pointers, pieces)
    state_version = archived = 0
    root = entries = b""
    if head is not None:
        state_version, archived = head.version, int(head.archived)
        root = head.merkle_root.hex().encode()
    at = _place((root,), _POINTERS_AT + 8, at, pointers, pieces)
    if head is None or not head.state:
        pointers.append(0)
    else:
        entries = _entries(head)
        words = len(entries) // 8
        # The words of a list of structs are counted without the one that tells their layout.
        pointers.append((words - 1 << 35) + (at - _POINTERS_AT - 10 << 2) + 0x700000001)
        pieces.append(entries)
        at += words
    extensions = None if parts.record is None else parts.record.extensions
    at = _place(
        (parts.schema or b"null", extensions or b"null"), _POINTERS_AT + 10, at, pointers, pieces
    )
    places: list[int] = []
    at = _place(
        (_bytes_of(parts.domain), parts.position.encode()), _DELIVERY_AT + 1, at, places, pieces
    )
    # An event that has lost its salt has lost its payload with it.
    erased = parts.record is not None and not parts.record.salt
    pieces[0] = _FIXED.pack(
        0, at, _ROOT, _EVENT, _EVENT_POINTER,
        0, version, micros & 0xFFFFFFFFFFFFFFFF, state_version, archived,
        *pointers, _DELIVERY_POINTER, _ERASED * erased, *places,
    )  # fmt: skip
    return b"".join(pieces)


def _of_record(parts: Parts) -> tuple[tuple[bytes, ...], int, int]:
    """Return the first eight texts of an event, its version, and its time in microseconds."""
    record, head = parts.record, parts.head
    if record is not None:
        texts = (
            _bytes_of(record.aggregate_type),
            record.aggregate_id.encode(),
            _bytes_of(record.event_type),
            b"%d" % record.event_id,
            record.payload or b"null",
            _metadata(record),
            record.hash.hex().encode(),
            record.merkle_root.hex().encode(),
        )
        return texts, record.version, record.created_at // 1000
    kind = _bytes_of(parts.aggregate_type)
    name = b"" if head is None else parts.aggregate_id.encode()
    version = 0 if head is None else head.version
    return (kind, name, b"", b"", b"null", b"null", b"", b""), version, 0


def _metadata(record: Event) -> bytes:
    """Return the metadata of an event as its document has it."""
    actor = b"null"
    if record.issued_by is not None:
        group, user = orjson.dumps(record.issued_by.group), orjson.dumps(record.issued_by.user)
        actor = b'{"group":%b,"user":%b}' % (group, user)
    note = b"" if record.note is None else b',"note":' + orjson.dumps(record.note)
    moment = format_ns(record.created_at).encode()
    return b'{"event_id":"%d","created_at":"%b","issued_by":%b%b}' % (
        record.event_id,
        moment,
        actor,
        note,
    )


def _entries(head: Head) -> bytes:
    """Return the list of state entries: the word of their layout, pointers, texts."""
    texts = [text.encode() for pair in state_texts(head.state).items() for text in pair]
    count = len(texts)
    pointers: list[int] = []
    pieces: list[bytes] = [b""]
    _place(texts, 0, count, pointers, pieces)
    pieces[0] = pack(f"<{count + 1}Q", count // 2 << 2 | 2 << 48, *pointers)
    return b"".join(pieces)


def numbered(
    events: Sequence[bytes], first: int, *, purpose: Purpose, attempt: int
) -> bytes | bytearray:
    """Return the messages of one delivery in a row, numbered from ``first``."""
    joined = bytearray(b"".join(events))
    purposed, tries = _PURPOSES[purpose], min(attempt, 0xFFFFFFFF)
    start = 0
    last = first + len(events) - 1
    for sequence, event in enumerate(events, first):
        _WORD.pack_into(joined, start + _SEQUENCE_BYTE, sequence)
        at = start + _DELIVERY_BYTE
        _HALF.pack_into(joined, at, purposed)
        _ATTEMPT.pack_into(joined, at + 4, tries)
        if sequence < last:
            joined[at + 2] |= _MORE
        start += len(event)
    return joined


class Ack(NamedTuple):
    """Everything up to this sequence was taken."""

    sequence: int


class Refusal(NamedTuple):
    """The plugin refuses an event; ``message`` says why, cut.

    ``unavailable`` says that the event is not the reason, ``retry_after_s`` when to try again.
    """

    sequence: int
    message: str
    unavailable: bool = False
    retry_after_s: float | None = None


class Answers:
    """Cuts what a plugin writes into acks and refusals; holds one message at most."""

    def __init__(self) -> None:
        self._inbox = Inbox()

    def feed(self, data: bytes) -> list[Ack | Refusal]:
        """Return the answers that are complete now.

        Raises MalformedMessage for anything that is no answer; nothing more can be read then.
        """
        self._inbox.feed(data)
        found: list[Ack | Refusal] = []
        try:
            while (raw := self._inbox.raw_message(limits.PLUGIN_ANSWER_BYTES_MAX)) is not None:
                found.append(_answer(raw))
        except FramingError as error:
            raise MalformedMessage(str(error)) from None
        return found


def _answer(raw: bytes) -> Ack | Refusal:
    if len(raw) == _ACK_BYTES and raw.startswith(_ACK_HEAD):
        return Ack(_WORD.unpack_from(raw, _ACK_BYTES - 8)[0])
    envelope = Message(raw).root()
    member = envelope.word(0) & 0xFFFF
    inner = envelope.struct(0)
    if member == _ACK:
        return Ack(inner.word(0))
    if member == _ERROR:
        message = inner.blob(0)[: limits.PLUGIN_REASON_BYTES_MAX]
        marks = inner.word(1)
        return Refusal(
            inner.word(0),
            message.decode("utf-8", "replace"),
            bool(marks & 1),
            (marks >> 32) / 1000 if marks >> 32 else None,
        )
    raise MalformedMessage("message is neither an ack nor an error")
