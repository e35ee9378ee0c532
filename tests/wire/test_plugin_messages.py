"""Messages of plugins: the published vectors, our bytes as the schema reads them, and answers."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.aggregate import Head
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.events import Actor, Event
from eventdbx.wire.plugin_messages import (
    Ack,
    Answers,
    Refusal,
    encode_event,
    encode_init,
    numbered,
)
from eventdbx.wire.pointers import MalformedMessage
from eventdbx.wire.schema import load

INIT = bytes.fromhex(
    "000000000b000000 0000000001000100 0000000000000000 0000000000000300 090000005a000000"
    "0d00000032000000 0d0000006a000000 6462785f73656172 6368000000000000 312e302e30000000"
    "6c696e75782d7838 365f363400000000"
)
ACK_7 = bytes.fromhex(
    "0000000004000000 0000000001000100 0200000000000000 0000000001000000 0700000000000000"
)
ERROR_7 = bytes.fromhex(
    "0000000006000000 0000000001000100 0300000000000000 0000000001000100 0700000000000000"
    "010000002a000000 626f6f6d00000000"
)

RECORD = Event(
    "order",
    "o-1",
    "order_paid",
    "order.paid",
    b'{"total":12}',
    b'{"@trace":{"id":"t-1"}}',
    133859581091672069,
    1_767_604_211_123_456_789,
    Actor("ops", "kim"),
    None,
    2,
    bytes(16),
    bytes(range(32)),
    bytes(range(32, 64)),
)
HEAD = Head(
    "order", "o-1", 2, {"total": 12, "status": "open"}, {}, (), bytes(range(32, 64)),
    1, 2, False, None, None,
)  # fmt: skip


def parts(record: Event | None = RECORD, head: Head | None = HEAD, **changes: Any) -> Parts:
    """Return the parts of one event."""
    whole = Parts(
        "sales",
        "0-41",
        "order",
        "o-1",
        2,
        133859581091672069,
        "order_paid",
        "all",
        record,
        head,
        b'{"aggregate":"order"}',
    )
    return whole._replace(**changes)


def read(raw: bytes | bytearray) -> list[Any]:
    """Return the events of a row of messages as pycapnp reads them."""
    envelope = load("plugin").PluginEnvelope
    found = []
    for one in envelope.read_multiple_bytes(bytes(raw)):
        assert one.message.which() == "event"
        found.append(one.message.event.to_dict())
    return found


class Vectors(SynchronousTestCase):
    """Bytes that are published."""

    def test_init_is_the_published_one(self) -> None:
        """A process plugin gets exactly the published first message."""
        self.assertEqual(encode_init("dbx_search", "1.0.0", "linux-x86_64").hex(), INIT.hex())

    def test_answers_are_read(self) -> None:
        """The published ack and error are read, however they are cut."""
        for step in (1, 7, 48, 200):
            answers = Answers()
            row = ACK_7 + ERROR_7 + ACK_7
            found = [
                one for at in range(0, len(row), step) for one in answers.feed(row[at : at + step])
            ]
            self.assertEqual(found, [Ack(7), Refusal(7, "boom"), Ack(7)])


class Events(SynchronousTestCase):
    """What the schema reads in our bytes."""

    maxDiff = None

    def test_every_field_of_an_event(self) -> None:
        """A reader finds record, state, schema, place and purpose where the schema says."""
        raw = numbered([encode_event(parts())], 7, purpose="replay", attempt=3)
        self.assertEqual(
            read(raw),
            [
                {
                    "sequence": 7,
                    "aggregateType": "order",
                    "aggregateId": "o-1",
                    "eventType": "order_paid",
                    "eventVersion": 2,
                    "eventId": "133859581091672069",
                    "createdAtEpochMicros": 1_767_604_211_123_456,
                    "payloadJson": '{"total":12}',
                    "metadataJson": '{"event_id":"133859581091672069",'
                    '"created_at":"2026-01-05T09:10:11.123456789Z",'
                    '"issued_by":{"group":"ops","user":"kim"}}',
                    "hash": bytes(range(32)).hex(),
                    "merkleRoot": bytes(range(32, 64)).hex(),
                    "stateVersion": 2,
                    "stateArchived": False,
                    "stateMerkleRoot": bytes(range(32, 64)).hex(),
                    "stateEntries": [
                        {"key": "status", "value": "open"},
                        {"key": "total", "value": "12"},
                    ],
                    "schemaJson": '{"aggregate":"order"}',
                    "extensionsJson": '{"@trace":{"id":"t-1"}}',
                    "delivery": {
                        "domain": "sales",
                        "position": "0-41",
                        "purpose": "replay",
                        "attempt": 3,
                        "more": False,
                        "erased": False,
                    },
                }
            ],
        )

    def test_a_delivery_is_numbered_and_linked(self) -> None:
        """Events of one delivery count on, and all but the last say that another follows."""
        raw = numbered([encode_event(parts())] * 3, 10, purpose="live", attempt=1)
        found = read(raw)
        self.assertEqual([one["sequence"] for one in found], [10, 11, 12])
        self.assertEqual([one["delivery"]["more"] for one in found], [True, True, False])

    def test_an_erased_payload(self) -> None:
        """That a payload was erased is said, also of events in the middle of a delivery."""
        erased = parts(record=RECORD._replace(payload=b"null", salt=b""))
        raw = numbered([encode_event(erased), encode_event(parts())], 1, purpose="live", attempt=1)
        found = read(raw)
        self.assertEqual([one["delivery"]["erased"] for one in found], [True, False])
        self.assertEqual([one["delivery"]["more"] for one in found], [True, False])

    def test_state_only(self) -> None:
        """Without a record names come from the state, and JSON texts are null."""
        found = read(encode_event(parts(record=None, schema=None)))[0]
        self.assertEqual((found["aggregateId"], found["eventVersion"]), ("o-1", 2))
        self.assertFalse(found.get("eventType"))
        for field in ("payloadJson", "metadataJson", "schemaJson", "extensionsJson"):
            self.assertEqual(found[field], "null")

    def test_event_only(self) -> None:
        """Without a state its version is 0 and nothing else is there."""
        found = read(encode_event(parts(head=None)))[0]
        self.assertEqual((found["stateVersion"], found["stateArchived"]), (0, False))
        self.assertNotIn("stateEntries", {k: v for k, v in found.items() if v})
        self.assertFalse(found.get("stateMerkleRoot"))

    def test_schema_only(self) -> None:
        """A schema alone names its type only."""
        found = read(encode_event(parts(record=None, head=None)))[0]
        self.assertEqual((found["aggregateType"], found["eventVersion"]), ("order", 0))
        self.assertFalse(found.get("aggregateId"))

    @given(
        st.dictionaries(st.text(min_size=1, max_size=40), st.text() | st.integers(0, 9) | st.none())
    )
    def test_any_state(self, state: dict[str, Any]) -> None:
        """States of any size and text come out as they went in, sorted by key."""
        head = HEAD._replace(state=state, archived=True)
        found = read(encode_event(parts(head=head)))[0]
        expected = [
            {"key": key, "value": "" if state[key] is None else str(state[key])}
            for key in sorted(state)
        ]
        entries = [
            {"key": one["key"], "value": one.get("value", "")}
            for one in found.get("stateEntries", [])
        ]
        self.assertEqual(entries, expected)
        self.assertTrue(found["stateArchived"])


class Malformed(SynchronousTestCase):
    """What is no answer."""

    def test_text_is_refused(self) -> None:
        """Somebody who prints where answers belong is told at once, not waited for."""
        with self.assertRaises(MalformedMessage):
            Answers().feed(b"hello world, this is a log line\n")

    def test_large_messages_are_refused_by_their_table(self) -> None:
        """A message is refused as soon as its size is known; its bytes are never gathered."""
        table = (0).to_bytes(4, "little") + (limits.PLUGIN_ANSWER_BYTES_MAX).to_bytes(4, "little")
        with self.assertRaises(MalformedMessage):
            Answers().feed(table)

    def test_other_messages_are_refused(self) -> None:
        """An event is no answer."""
        with self.assertRaises(MalformedMessage):
            Answers().feed(encode_event(parts()))

    def test_long_reasons_are_cut(self) -> None:
        """Only the beginning of a long reason is kept."""
        message = load("plugin").PluginEnvelope.new_message()
        refusal = message.message.init("error")
        refusal.sequence, refusal.message = 3, "x" * 50_000
        (found,) = Answers().feed(message.to_bytes())
        assert isinstance(found, Refusal)
        self.assertEqual(len(found.message), limits.PLUGIN_REASON_BYTES_MAX)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes is answers or malformed, nothing else."""
        try:
            Answers().feed(data)
        except MalformedMessage:
            pass
