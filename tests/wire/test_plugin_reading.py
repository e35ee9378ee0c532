"""The plugin's side of the protocol: the published vectors, and the server's side as its judge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.wire.plugin_messages import (
    Ack,
    Answers,
    Refusal,
    encode_event,
    encode_init,
    numbered,
)
from eventdbx.wire.plugin_reading import (
    Incoming,
    Init,
    Received,
    encode_ack,
    encode_error,
)
from eventdbx.wire.pointers import MalformedMessage
from eventdbx.wire.schema import load
from tests.wire.test_plugin_messages import ACK_7, ERROR_7, HEAD, INIT, RECORD, parts

STREAM = INIT + bytes(
    numbered(
        [encode_event(parts()), encode_event(parts(head=None, schema=None))],
        7,
        purpose="replay",
        attempt=3,
    )
)


class Events(SynchronousTestCase):
    """What a plugin reads."""

    def test_whole(self) -> None:
        """An event comes with all that the server knows of it."""
        init, first, second = Incoming().feed(STREAM)
        self.assertEqual(init, Init("dbx_search", "1.0.0", "linux-x86_64"))
        assert isinstance(first, Received) and isinstance(second, Received)
        self.assertEqual((first.sequence, first.version, first.more), (7, 2, True))
        self.assertEqual((second.sequence, second.attempt, second.more), (8, 3, False))
        self.assertEqual((first.domain, first.position), ("sales", "0-41"))
        self.assertEqual(first.purpose, "replay")
        self.assertEqual(first.created_at_micros, RECORD.created_at // 1000)
        self.assertEqual(
            first.texts[:5], ["order", "o-1", "order_paid", "133859581091672069", '{"total":12}']
        )
        self.assertEqual(first.texts[6:9], [RECORD.hash.hex(), *[HEAD.merkle_root.hex()] * 2])
        self.assertEqual(first.state(), {"status": "open", "total": "12"})
        self.assertEqual((first.state_version, second.state_version), (2, 0))
        self.assertEqual((first.schema, second.schema), ('{"aggregate":"order"}', "null"))
        self.assertEqual(second.state(), {})

    @given(st.lists(st.integers(0, len(STREAM)), max_size=8))
    def test_any_split(self, cuts: list[int]) -> None:
        """However the bytes arrive, the same messages come out."""
        incoming = Incoming()
        places = [0, *sorted(cuts), len(STREAM)]
        found: list[object] = []
        for start, end in zip(places, places[1:], strict=False):
            found += incoming.feed(STREAM[start:end])
        self.assertEqual([type(one) for one in found], [Init, Received, Received])
        self.assertEqual(len(incoming), 0)

    def test_published_schema(self) -> None:
        """An event from a server without positions has none; kinds yet unknown are left out."""
        message = load("plugin").PluginEnvelope.new_message()
        event = message.message.init("event")
        event.sequence, event.aggregateType, event.createdAtEpochMicros = 5, "order", -1
        (first,) = Incoming().feed(message.to_bytes() + ACK_7)
        assert isinstance(first, Received)
        self.assertEqual((first.sequence, first.domain, first.position), (5, "", ""))
        self.assertEqual((first.created_at_micros, first.more, first.purpose), (-1, False, "live"))

    def test_no_messages(self) -> None:
        """Bytes that are no messages are told at once."""
        for raw in (b"hello world, this is text", b"\xff" * 64, b"\0\0\0\0\xff\xff\xff\x7f" + INIT):
            incoming = Incoming()
            self.assertIsInstance(next(messages := incoming.feed(INIT + raw)), Init)
            self.assertRaises(MalformedMessage, list, messages)


class Replies(SynchronousTestCase):
    """What a plugin writes."""

    def test_vectors(self) -> None:
        """Our bytes are those that are published."""
        self.assertEqual(encode_ack(7), ACK_7)
        self.assertEqual(encode_error(7, "boom"), ERROR_7)
        self.assertEqual(encode_init("dbx_search", "1.0.0", "linux-x86_64"), INIT)

    @given(st.integers(0, (1 << 64) - 1), st.text(max_size=40), st.booleans(), st.floats(0, 1e6))
    def test_read_back(self, sequence: int, text: str, unavailable: bool, after_s: float) -> None:
        """The server reads what was meant, and so does the library that is the schema's judge."""
        raw = encode_error(sequence, text, unavailable=unavailable, retry_after_s=after_s)
        (refusal,) = Answers().feed(raw)
        assert isinstance(refusal, Refusal)
        kept_ms = int(after_s * 1000) if unavailable else 0
        self.assertEqual(refusal, (sequence, text, unavailable, kept_ms / 1000 or None))
        with load("plugin").PluginEnvelope.from_bytes(raw) as judged:
            error = judged.message.error
            self.assertEqual((error.sequence, error.message), (sequence, text))
            self.assertEqual((error.unavailable, error.retryAfterMs), (unavailable, kept_ms))
        self.assertEqual(Answers().feed(encode_ack(sequence)), [Ack(sequence)])
