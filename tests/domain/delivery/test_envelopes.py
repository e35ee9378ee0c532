"""The JSON documents that plugins receive, member by member."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.aggregate import Draft, aggregate_document, decide, new_head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.delivery.entries import PAYLOAD_MODES, PayloadMode
from eventdbx.domain.delivery.envelopes import json_body, sample_parts
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.events import Actor, event_document

NOW = 1_767_604_211_123_456_789


def parts_of(
    payload: JSON,
    *,
    extensions: dict[str, JSON] | None = None,
    raw: str | None = "order.paid",
    actor: Actor | None = None,
    note: str | None = None,
    schema: bytes | None = None,
    state: dict[str, JSON] | None = None,
) -> Parts:
    """Return the parts of an event on top of an order with a state."""
    before = new_head("order", "o-1")._replace(version=1, state=state or {}, created_at=NOW)
    draft = Draft(
        "order_paid",
        raw,
        payload,
        dump(payload),
        extensions,
        None if extensions is None else dump(extensions),
        actor,
        note,
    )
    before = before._replace(frontier=(bytes(32),))
    event, head = decide(
        before, draft, event_id=133_859_581_091_672_069, now_ns=NOW, salt=b"s" * 16
    )
    return Parts(
        "default", "0-1", "order", "o-1", 2, event.event_id, "order_paid", "all", event, head,
        schema,
    )  # fmt: skip


class BodyTests(SynchronousTestCase):
    """One event as http and tcp plugins see it."""

    def test_worked_example(self) -> None:
        """Everything has its place; keys are sorted at every level, values of the state texts."""
        parts = parts_of(
            {"total": 12},
            extensions={"@trace": {"id": "t-1"}},
            actor=Actor("ops", "kim"),
            note="second",
            schema=b'{"locked":false,"aggregate":"order","events":{"b":1,"a":{"y":1,"x":[2,1]}}}',
            state={"status": "open", "tags": ["a", "b"], "gone": None},
        )
        assert parts.record is not None
        digests = parts.record.hash.hex(), parts.record.merkle_root.hex()
        expected = (
            '{"event":{"aggregate_id":"o-1","aggregate_type":"order","event_type":"order_paid",'
            '"event_type_raw":"order.paid","extensions":{"@trace":{"id":"t-1"}},"hash":"HASH",'
            '"merkle_root":"ROOT","metadata":{"created_at":"2026-01-05T09:10:11.123456789Z",'
            '"event_id":"133859581091672069","issued_by":{"group":"ops","user":"kim"},'
            '"note":"second"},"payload":{"total":12},"version":2},'
            '"schema":{"aggregate":"order","events":{"a":{"x":[2,1],"y":1},"b":1},"locked":false},'
            '"state":{"@trace":{"id":"t-1"},"aggregate_id":"o-1","aggregate_type":"order",'
            '"created_at":"2026-01-05T09:10:11.123456789Z","merkle_root":"ROOT",'
            '"state":{"gone":"","status":"open","tags":"[\\"a\\",\\"b\\"]","total":"12"},'
            '"updated_at":"2026-01-05T09:10:11.123456789Z","version":2}}'
        )
        expected = expected.replace("HASH", digests[0]).replace("ROOT", digests[1])
        self.assertEqual(json_body(parts).decode(), expected)

    def test_what_is_not_there_is_left_out(self) -> None:
        """Without raw type, extensions, note and schema there are no such members; an unknown
        issuer is null."""
        body = orjson.loads(json_body(parts_of(None, raw=None)))
        self.assertEqual(set(body), {"event", "state"})
        self.assertEqual(
            set(body["event"]),
            {
                "aggregate_id", "aggregate_type", "event_type", "hash", "merkle_root", "metadata",
                "payload", "version",
            },
        )  # fmt: skip
        self.assertEqual(set(body["event"]["metadata"]), {"created_at", "event_id", "issued_by"})
        self.assertIsNone(body["event"]["metadata"]["issued_by"])
        self.assertNotIn("archived", body["state"])

    def test_archived(self) -> None:
        """An archived aggregate says so."""
        parts = parts_of({})
        assert parts.head is not None
        body = orjson.loads(json_body(parts._replace(head=parts.head._replace(archived=True))))
        self.assertIs(body["state"]["archived"], True)

    def test_erased(self) -> None:
        """An erased payload is null, with a mark beside it; hashes stay."""
        parts = parts_of({"total": 12})
        assert parts.record is not None
        erased = parts.record._replace(payload=b"", salt=b"")
        event = orjson.loads(json_body(parts._replace(record=erased)))["event"]
        self.assertEqual((event["payload"], event["erased"]), (None, True))
        self.assertEqual(event["hash"], parts.record.hash.hex())

    @given(
        st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5) | st.integers(0, 9)),
        st.none() | st.dictionaries(st.from_regex(r"\A@[a-z_]{1,5}\Z"), st.text(max_size=5)),
        st.none() | st.text(max_size=9),
    )
    def test_agrees_with_other_documents(
        self, payload: dict[str, JSON], extensions: dict[str, JSON] | None, note: str | None
    ) -> None:
        """Event and state are those of every other way out, with their keys sorted, in one line."""
        parts = parts_of(payload, extensions=extensions, note=note, actor=Actor('o"ps', "kim\n"))
        assert parts.record is not None and parts.head is not None
        expected = {
            "event": orjson.loads(event_document(parts.record)),
            "state": orjson.loads(aggregate_document(parts.head)),
        }
        self.assertEqual(json_body(parts), dump(expected))


class SampleTests(SynchronousTestCase):
    """What ``plugin test`` sends."""

    def body(self, mode: PayloadMode) -> JSON:
        """Return the document of the sample in a mode."""
        value: JSON = orjson.loads(json_body(sample_parts(mode)))
        return value

    def test_sample(self) -> None:
        """The sample is the patient of the product's tests, digests with their ellipses."""
        event = {
            "aggregate_id": "p-001",
            "aggregate_type": "patient",
            "event_type": "patient-updated",
            "event_type_raw": "patient-updated",
            "hash": "cafe…",
            "merkle_root": "deadbeef…",
            "metadata": {
                "created_at": "2024-12-01T17:22:43.512345Z",
                "event_id": "1234567890",
                "issued_by": {"group": "admin", "user": "jane"},
            },
            "payload": {"comment": "Archived via API", "status": "inactive"},
            "version": 5,
        }
        state = {
            "aggregate_id": "p-001",
            "aggregate_type": "patient",
            "merkle_root": "deadbeef…",
            "state": {"comment": "Archived via API", "status": "inactive"},
            "version": 5,
        }
        self.assertEqual(self.body("all"), {"event": event, "state": state})
        self.assertEqual(self.body("event-only"), {"event": event})
        self.assertEqual(self.body("event-and-schema"), {"event": event})
        self.assertEqual(self.body("state-only"), {"state": state})
        self.assertEqual(self.body("extensions-only"), {"event": {**event, "payload": None}})

    def test_schema_only_sends_nothing(self) -> None:
        """There is no sample of a schema, so one mode has nothing to send."""
        empty = [mode for mode in PAYLOAD_MODES if sample_parts(mode).is_empty]
        self.assertEqual(empty, ["schema-only"])
