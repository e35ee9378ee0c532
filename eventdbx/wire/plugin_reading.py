"""The plugin's side of ``capnp/plugin.capnp``: reads events, writes answers. Without sockets.

Light enough for a program that starts with each server: it imports neither pycapnp nor Twisted.
The server's side is in :mod:`eventdbx.wire.plugin_messages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import NamedTuple

from eventdbx.wire.framing import FramingError, Inbox
from eventdbx.wire.pointers import MalformedMessage, Message, Struct

MESSAGE_BYTES_MAX = 64 << 20
"""Far over what a server sends; a length that is not one is seen before it is waited for."""

_ROOT = 1 << 48 | 1 << 32
_INIT, _EVENT, _ACK, _ERROR = range(4)
_ACK_HEAD = pack("<IIQQQ", 0, 4, _ROOT, _ACK, 1 << 32)
_IDENTITY = (
    "aggregateType",
    "aggregateId",
    "eventType",
    "eventId",
    "payloadJson",
    "metadataJson",
    "hash",
    "merkleRoot",
    "stateMerkleRoot",
)
_PURPOSES = ("live", "replay", "test")


class Init(NamedTuple):
    """What comes first: the program as it is installed."""

    plugin_name: str
    version: str
    target: str


class Received(NamedTuple):
    """One event as it stands in its message; JSON is still text, and state still packed.

    ``texts`` are type, id, event type, event id, payload, metadata, hash, Merkle root, and the
    Merkle root of the state. ``more`` says that the next event belongs to the same delivery.
    """

    sequence: int
    version: int
    created_at_micros: int
    state_version: int
    archived: bool
    texts: list[str]
    schema: str
    extensions: str
    domain: str
    position: str
    purpose: str
    attempt: int
    more: bool
    message: Struct | None

    def state(self) -> dict[str, str]:
        """Return the entries of the state."""
        if self.message is None:
            return {}
        return dict(one.texts(("key", "value")) for one in self.message.structs(9))


class Incoming:
    """Cuts what a server writes into messages; holds one that is incomplete."""

    def __init__(self) -> None:
        self._inbox = Inbox()

    def __len__(self) -> int:
        """Return how many bytes wait for the rest of their message."""
        return len(self._inbox)

    def feed(self, data: bytes) -> Iterator[Init | Received]:
        """Yield the messages that are complete now; those of kinds yet unknown are left out.

        Raises MalformedMessage, behind the messages before, for bytes that are none; nothing more
        can be read then.
        """
        inbox = self._inbox
        inbox.feed(data)
        try:
            while (raw := inbox.raw_message(MESSAGE_BYTES_MAX)) is not None:
                envelope = Message(raw).root()
                member = envelope.word(0) & 0xFFFF
                if member == _EVENT:
                    yield _event(envelope.struct(0))
                elif member == _INIT:
                    inner = envelope.struct(0)
                    yield Init(*inner.texts(("pluginName", "version", "target")))
        except FramingError as error:
            raise MalformedMessage(str(error)) from None


def _event(inner: Struct) -> Received:
    created = inner.word(2)
    delivery = inner.struct(12)
    marks = delivery.word(0)
    domain, position = delivery.texts(("domain", "position"))
    return Received(
        inner.word(0),
        inner.word(1),
        created - (1 << 64) if created >> 63 else created,
        inner.word(3),
        bool(inner.word(4) & 1),
        inner.texts(_IDENTITY),
        inner.text(10, "schemaJson"),
        inner.text(11, "extensionsJson"),
        domain,
        position,
        _PURPOSES[min(marks & 0xFFFF, 2)],
        marks >> 32,
        bool(marks >> 16 & 1),
        inner,
    )


def encode_ack(sequence: int) -> bytes:
    """Return the message that confirms an event and those before it."""
    return _ACK_HEAD + sequence.to_bytes(8, "little")


def encode_error(
    sequence: int, message: str, *, unavailable: bool = False, retry_after_s: float | None = None
) -> bytes:
    """Return the message that refuses an event, or says that it cannot be taken just now."""
    text = message.encode("utf-8", "replace") + b"\0"
    words = -(-len(text) // 8)
    data = [sequence]
    if unavailable:
        wait_ms = min(int((retry_after_s or 0) * 1000), 0xFFFFFFFF)
        data.append(1 | wait_ms << 32)
    fixed = [_ROOT, _ERROR, 1 << 48 | len(data) << 32, *data, len(text) << 35 | 2 << 32 | 1]
    head = pack(f"<II{len(fixed)}Q", 0, len(fixed) + words, *fixed)
    return head + text.ljust(words * 8, b"\0")
