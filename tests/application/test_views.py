"""What a caller sees: hidden types, hidden fields, upcast payloads, and nothing changed else."""

from __future__ import annotations

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.views import Seen, Views
from eventdbx.domain.aggregate import PLAIN, Draft, Head, decide, evolve, new_head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.events import Event
from eventdbx.domain.schemas.model import AggregateSchema, Default, EventRule, MapValues, Rename
from eventdbx.domain.snapshots import Snapshot

SECRET = "s3cr3t-value"
SCHEMAS = {
    "open": AggregateSchema(aggregate="open", events={"done": EventRule()}),
    "closed": AggregateSchema(aggregate="closed", hidden=True, events={"done": EventRule()}),
    "person": AggregateSchema(
        aggregate="person",
        hidden_fields=("_value", "ssn"),
        events={"done": EventRule(), "other": EventRule()},
    ),
    "order": AggregateSchema(
        aggregate="order",
        hidden_fields=("tax_id",),
        events={
            "order.paid": EventRule(
                upcast=(
                    (Rename("/vat", "/tax"),),
                    (Rename("/tax", "/tax_id"), Default("/currency", "EUR")),
                    (MapValues("/status", {"0": "open"}),),
                )
            )
        },
    ),
    "deep": AggregateSchema(
        aggregate="deep",
        hidden_fields=("kept",),
        events={"done": EventRule(upcast=((Rename("/ssn", "/kept/ssn"), Default("/n", 1)),))},
    ),
}


def mark(revision: int) -> bytes:
    """Return the mark of some schema at a revision."""
    return bytes(16) + revision.to_bytes(2, "big")


def made(
    aggregate_type: str, payload: JSON, event_type: str = "done", revision: int | None = None
) -> tuple[Event, Head]:
    """Return an event and the head after it, as stored."""
    draft = Draft(
        event_type,
        None,
        payload,
        dump(payload),
        {"@note": SECRET},
        dump({"@note": SECRET}),
        None,
        SECRET,
        None if revision is None else mark(revision),
    )
    return decide(new_head(aggregate_type, "1"), draft, event_id=1, now_ns=1, salt=bytes(16))


class HidingTests(SynchronousTestCase):
    """Hidden types and fields."""

    def setUp(self) -> None:
        self.views = Views(SCHEMAS)
        self.seen: Seen = self.views.seen()
        self.all: Seen = self.views.seen(include_hidden=True)

    def test_plain_types_pass_untouched(self) -> None:
        """Types that hide nothing, and types without a schema, are returned as they are."""
        for name in ("open", "unknown"):
            event, head = made(name, {"ssn": 1})
            self.assertIs(self.seen.event(event), event)
            self.assertIs(self.seen.head(head), head)
            self.assertIs(self.seen.written_event(event), event)
            self.assertIs(self.seen.written_head(head), head)
            self.assertIs(self.views.fold(name), PLAIN)
            self.assertTrue(self.seen.shows(name))

    def test_hidden_types(self) -> None:
        """A hidden type is not there; who includes hidden ones sees it."""
        self.assertFalse(self.seen.shows("closed"))
        self.assertFalse(self.seen.shows_field("closed", "any"))
        self.assertTrue(self.all.shows("closed"))
        first, new = made("closed", {"ssn": SECRET})
        self.assertIs(self.seen.written_event(first), first)
        self.assertIs(self.seen.written_head(new), new)
        event, head = first._replace(version=2), new._replace(version=2)
        shown = self.seen.written_event(event)
        self.assertNotIn(SECRET, repr(shown._replace(leaf=b"")))
        self.assertEqual(shown[:4], event[:4])
        self.assertEqual(shown.hash, event.hash)
        self.assertNotIn(SECRET, repr(self.seen.written_head(head)))
        self.assertIs(self.all.written_head(head), head)
        self.assertIs(self.all.event(event), event)

    def test_hidden_fields(self) -> None:
        """Hidden keys leave states, payloads and snapshots; keys of objects inside stay."""
        event, head = made("person", {"ssn": SECRET, "a": {"ssn": "kept"}})
        self.assertEqual(orjson.loads(self.seen.event(event).payload), {"a": {"ssn": "kept"}})
        self.assertEqual(self.seen.written_event(event), self.seen.event(event))
        self.assertEqual(self.seen.head(head).state, {"a": {"ssn": "kept"}})
        self.assertIs(self.all.event(event), event)
        self.assertIs(self.all.head(head), head)
        kept = Snapshot(1, "person", "1", 1, head.state, bytes(32), 1, None)
        self.assertEqual(self.seen.snapshot(kept).state, {"a": {"ssn": "kept"}})
        self.assertFalse(self.seen.shows_field("person", "ssn"))
        self.assertTrue(self.seen.shows_field("person", "a"))

    def test_nothing_to_hide_is_untouched(self) -> None:
        """Events and heads without the hidden keys are returned as they are."""
        event, head = made("person", {"text": '"ssn"', "a": {"b": 1}})
        self.assertIs(self.seen.event(event), event)
        self.assertIs(self.seen.head(head), head)

    def test_payloads_that_are_no_objects(self) -> None:
        """Hiding the key that they set in the state hides the payload."""
        event, head = made("person", SECRET)
        self.assertEqual(self.seen.event(event).payload, b"null")
        self.assertEqual(self.seen.head(head).state, {})
        absent, _head = made("person", None)
        self.assertEqual(self.seen.event(absent).payload, b"null")
        other, _head = made("order", SECRET, "order_paid", 1)
        self.assertEqual(orjson.loads(self.seen.event(other).payload), SECRET)


class UpcastingTests(SynchronousTestCase):
    """Events of earlier revisions."""

    def setUp(self) -> None:
        self.views = Views(SCHEMAS)
        self.seen = self.views.seen()
        self.all = self.views.seen(include_hidden=True)

    def test_shown_at_the_current_revision(self) -> None:
        """Each revision reads as the newest; hash and root are those of what is stored."""
        written: tuple[tuple[int | None, JSON], ...] = (
            (None, {"vat": 7, "status": 0}),
            (1, {"vat": 7, "status": 0}),
            (2, {"tax": 7, "status": 0}),
            (3, {"tax_id": 7, "currency": "EUR", "status": 0}),
            (4, {"tax_id": 7, "currency": "EUR", "status": "open"}),
        )
        for revision, payload in written:
            event, _head = made("order", payload, "order_paid", revision)
            shown = self.all.event(event)
            self.assertEqual(
                shown.payload, b'{"currency":"EUR","status":"open","tax_id":7}', revision
            )
            self.assertEqual(shown._replace(payload=event.payload), event)
            self.assertIs(self.all.event(event, raw=True), event)
            folded = evolve(new_head("order", "1"), event, self.views.fold("order"))
            self.assertEqual(folded.state, orjson.loads(shown.payload))
            self.assertEqual(folded.fold_mark, self.views.marks["order"])
        self.assertIs(self.all.event(event), event)

    def test_hidden_under_every_name(self) -> None:
        """A field that is hidden now is hidden under the names of earlier revisions, too."""
        for revision, name in ((1, "vat"), (2, "tax"), (3, "tax_id")):
            event, head = made("order", {name: SECRET, "n": 1}, "order_paid", revision)
            for raw in (False, True):
                shown = self.seen.event(event, raw=raw)
                self.assertNotIn(SECRET.encode(), shown.payload, (revision, raw))
                self.assertEqual(orjson.loads(shown.payload)["n"], 1)
            kept = Snapshot(1, "order", "1", 1, head.state, bytes(32), 1, None)
            self.assertEqual(self.seen.snapshot(kept).state, {"n": 1})

    def test_what_could_not_be_lifted_is_hidden(self) -> None:
        """Where a move is barred, the member is hidden under its old name."""
        event, _head = made("deep", {"kept": 7, "ssn": SECRET}, "done", 1)
        self.assertEqual(orjson.loads(self.all.event(event).payload)["ssn"], SECRET)
        self.assertEqual(orjson.loads(self.seen.event(event).payload), {"n": 1})

    def test_marks(self) -> None:
        """Types with upcasters, and only those, have a mark."""
        self.assertEqual(set(self.views.marks), {"order", "deep"})
