"""Erasing an aggregate, in sealed stores and in plain ones."""

from __future__ import annotations

import orjson
from twisted.internet.defer import CancelledError

from eventdbx import errors, limits
from eventdbx.application.erasing import Order
from eventdbx.application.parts import PartsBuilder
from eventdbx.domain.aggregate import Fold
from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import Write
from eventdbx.domain.events import event_document
from eventdbx.domain.filters import event_lookup, parse_filter
from eventdbx.domain.snapshots import snapshot_document
from eventdbx.storage import eventlog, keys, records
from tests.erasure.places import ALICE, Later, OnDisk, now

SECRETS = (
    "payload-alpha-7351", "metadata-bravo-7351", "note-charlie-7351", "comment-delta-7351",
    "archived-echo-7351", "restored-foxtrot-7351",
)  # fmt: skip


class ErasedAggregate(OnDisk):
    """One order with everything that an aggregate can have, and another one."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-2", {"kept": "kept-zulu-7351"})
        self.write("o-1", {"who": SECRETS[0], "n": 1}, note=SECRETS[2], trace=SECRETS[1])
        self.write("o-1", {"n": 2})
        self.taken = self.snapshot("o-1", SECRETS[3])
        self.archive("o-1", SECRETS[4])
        self.archive("o-1", SECRETS[5], archived=False)
        self.write("o-1", {"n": 3})
        self.before = self.events("o-1")

    def test_what_is_left(self) -> None:
        done = self.erase("o-1")
        self.assertEqual(done[:5], ("aggregate", 1, 3, 1, 2))
        self.assertEqual(done.older_copies_readable, not self.sealed)
        events = self.events("o-1")
        self.assertEqual([one.erased for one in events], [True, True, True, False])
        for old, new in zip(self.before, events, strict=False):
            self.assertEqual((old.hash, old.merkle_root), (new.hash, new.merkle_root))
            self.assertEqual((old.leaf, old.nodes, old[6:9]), (new.leaf, new.nodes, new[6:9]))
        last = events[-1]
        self.assertEqual((last.event_type, last.issued_by), ("dbx_erased", ALICE))
        self.assertEqual(
            orjson.loads(last.payload),
            {"scope": "aggregate", "reason": "asked for", "events": [[1, 3]]},
        )
        self.assertEqual(self.state("o-1"), {})
        document = orjson.loads(event_document(events[0]))
        self.assertEqual((document["payload"], document["erased"]), (None, True))
        self.assertNotIn("note", document)
        self.assertNotIn("extensions", document)
        self.assertEqual(self.state("o-2"), {"kept": "kept-zulu-7351"})
        self.assertEqual(self.findings(), [])

    def test_its_bytes_are_nowhere(self) -> None:
        self.erase("o-1")
        self.assert_gone(SECRETS, self.folder, self.copy())
        self.reopen()
        self.assert_gone(SECRETS)
        self.assertEqual(self.state("o-2"), {"kept": "kept-zulu-7351"})
        self.assertEqual(self.findings(), [])

    def test_nothing_is_under_way_afterwards(self) -> None:
        self.erase("o-1")
        view = self.domain.store.view()
        self.assertEqual(list(view.scan(keys.ERASURE, keys.after(keys.ERASURE))), [])

    def test_states_of_the_past(self) -> None:
        self.erase("o-1")
        for version in range(5):
            head = self.domain.reader().aggregate_at("order", "o-1", version=version)
            assert head is not None
            self.assertEqual((head.version, head.state, head.extensions), (version, {}, {}))
        snapshot = eventlog.snapshot_by_id(self.domain.store.view(), self.taken)
        assert snapshot is not None
        document = orjson.loads(snapshot_document(snapshot))
        self.assertEqual((document["state"], document["comment"]), ({}, None))
        self.assertTrue(document["erased"])

    def test_it_goes_on(self) -> None:
        self.erase("o-1")
        event = self.write("o-1", {"again": "new-golf-7351"})
        self.assertEqual(event.version, 5)
        self.archive("o-1", "archived anew")
        self.assertEqual(self.state("o-1"), {"again": "new-golf-7351"})
        self.reopen()
        self.assertEqual(self.state("o-1"), {"again": "new-golf-7351"})
        self.assertEqual(self.findings(), [])

    def test_twice(self) -> None:
        self.erase("o-1")
        again = self.erase("o-1")
        self.assertEqual((again.aggregates, again.events), (0, 0))
        self.assertEqual(len(self.events("o-1")), 4)
        self.write("o-1", {"again": "new-golf-7351"})
        third = self.erase("o-1")
        self.assertEqual((third.aggregates, third.events), (1, 1))
        self.assertEqual([one.erased for one in self.events("o-1")], [True] * 5 + [False])
        self.assert_gone((*SECRETS, "new-golf-7351"))
        self.assertEqual(self.findings(), [])

    def test_an_archived_one(self) -> None:
        self.archive("o-1", "archived-hotel-7351")
        self.erase("o-1")
        head = self.domain.reader().aggregate("order", "o-1")
        assert head is not None
        self.assertTrue(head.archived)
        self.assertEqual((head.state, head.archive_comment), ({}, None))
        self.assert_gone((*SECRETS, "archived-hotel-7351"))
        self.assertEqual(self.findings(), [])

    def test_a_dry_run(self) -> None:
        done = self.erase("o-1", dry_run=True)
        self.assertEqual(done[:5], ("aggregate", 1, 3, 1, 2))
        self.assertEqual(self.events("o-1"), self.before)

    def test_a_retry_of_what_was_erased(self) -> None:
        write = Write("append", "order", "o-3", "made", b'{"a":1}', idempotency_key="k")
        writer = self.domain.writer

        def again() -> tuple[bytes, bool, dict[str, JSON]]:
            return self.successResultOf(
                writer.write(
                    (write,),
                    actor=ALICE,
                    render=lambda done: (
                        done[0].event.payload, done[0].event.erased, done[0].head.state,
                    ),
                )
            )  # fmt: skip

        self.assertEqual(again(), (b'{"a":1}', False, {"a": 1}))
        self.erase("o-3")
        self.assertEqual(again(), (b"null", True, {}))
        self.assertEqual(len(self.events("o-3")), 2)

    def test_nobody_else_writes_that_event(self) -> None:
        for name in ("dbx_erased", "dbx.erased"):
            write = Write("append", "order", "o-1", name, b"{}")
            failure = self.failureResultOf(
                self.domain.writer.write((write,), actor=ALICE, render=lambda done: done),
                errors.InvalidSchema,
            )
            self.assertIn("reserved", failure.getErrorMessage())

    def test_what_is_refused(self) -> None:
        def erasing(kind: str, identifier: str, reason: str) -> None:
            self.domain.erasing.aggregate(kind, identifier, Order(reason, None, now))

        self.assertRaises(errors.AggregateNotFound, erasing, "order", "o-9", "why")
        self.assertRaises(errors.Unauthorized, erasing, "dbx_admin", "tokens", "why")
        self.assertRaises(errors.InvalidSchema, erasing, "order", "o-1", "  ")
        self.assertRaises(errors.InvalidSchema, erasing, "order", "o-1", "x" * 5_000)

    def test_filters(self) -> None:
        self.erase("o-1")
        wanted = parse_filter('payload.who = "nobody"')
        self.assertEqual([wanted.matches(event_lookup(one)) for one in self.events("o-1")],
                         [False] * 4)  # fmt: skip

    def test_an_older_copy_reads_erased(self) -> None:
        copy = self.copy()
        self.erase("o-1")
        self.with_keys_of_today(copy)
        self.successResultOf(self.domain.store.close())
        self.open(copy)
        if not self.sealed:
            self.assertEqual(self.state("o-1")["who"], SECRETS[0])
            return
        self.assertEqual(self.state("o-1"), {})
        self.assertEqual([one.erased for one in self.events("o-1")], [True] * 3)
        self.write("o-1", {"n": 4})
        self.assertEqual(self.state("o-1"), {"n": 4})
        stored = eventlog.load_head(self.domain.store.view(), keys.name("order", "o-1"))
        assert stored is not None
        self.assertNotEqual(stored.fold_mark, records.ERASED_FOLD)
        self.assertEqual(len(self.findings()), 3)  # Nothing there names what is gone,
        self.erase("o-1")  # until it is erased once more.
        self.assertEqual(self.findings(), [])
        self.assert_gone(SECRETS, copy)

    def test_who_goes_away_stops_nothing(self) -> None:
        later = Later()

        erasing = self.domain.erasing.aggregate("order", "o-1", Order("asked for", ALICE, later))
        erasing.cancel()
        self.failureResultOf(erasing, CancelledError)
        later.run_all()
        self.assertEqual(self.state("o-1"), {})
        self.assert_gone(SECRETS)

    def test_one_after_the_other(self) -> None:
        later = Later()

        started = [
            self.domain.erasing.aggregate("order", name, Order("asked for", ALICE, later))
            for name in ("o-1", "o-1", "o-2")
        ]
        self.write("o-1", {"meanwhile": "meanwhile-india-7351"})
        later.run_all()
        counts = [self.successResultOf(one).events for one in started]
        self.assertEqual(counts, [3, 0, 1])
        self.assert_gone((*SECRETS, "meanwhile-india-7351"))
        self.assertEqual(self.findings(), [])

    def test_closing_waits_for_a_step_only(self) -> None:
        later = Later()

        erasing = self.domain.erasing.aggregate("order", "o-1", Order("asked for", ALICE, later))
        later.run_one()
        stopped = self.domain.erasing.stop()
        later.run_all()
        self.successResultOf(stopped)
        self.failureResultOf(erasing, errors.StorageError)
        self.assertEqual(self.state("o-1"), {})
        self.reopen()
        self.assertEqual([one.erased for one in self.events("o-1")], [True] * 3 + [False])
        self.successResultOf(self.domain.erasing.start(now))
        self.assert_gone(SECRETS)
        self.assertEqual(self.findings(), [])

    def test_what_plugins_are_told_meanwhile(self) -> None:
        """No state with what is erased is sent behind the event that names it, at any step."""
        later = Later()
        builder, in_force = PartsBuilder("default"), self.domain.schemas.in_force
        before = self.domain.store.view()
        events = self.events("o-1")
        erasing = self.domain.erasing.aggregate("order", "o-1", Order("asked for", ALICE, later))
        later.run_one()
        # As a thread does that was at it when the erasure began.
        for position, event in enumerate(events):
            builder.build(before, in_force, event, position, "all")
        del before
        self.write("o-1", {"n": 9})
        while True:
            named, after = self.events("o-1")[-2:]
            for one in (PartsBuilder("default"), builder):
                for event, state in ((named, {}), (after, {"n": 9}), (named, {})):
                    parts = one.build(self.domain.store.view(), in_force, event, 9, "all")
                    assert parts is not None and parts.head is not None
                    self.assertEqual((parts.head.state, parts.head.extensions), (state, {}))
            if not later.busy:
                break
            later.run_one()
        self.assertEqual(self.successResultOf(erasing).events, 3)

    def test_a_fold_anew_meets_no_payload(self) -> None:
        self.erase("o-1")
        self.write("o-1", {"n": 9})
        head = eventlog.load_head(self.domain.store.view(), keys.name("order", "o-1"))
        assert head is not None
        lost = head._replace(state={}, extensions={}, fold_mark=records.ERASED_FOLD)
        fold: Fold = self.domain.schemas.in_force.views.fold("order")
        self.assertEqual(eventlog.refolded(self.domain.store.view(), lost, fold), head)


class ErasedPlainAggregate(ErasedAggregate):
    """The same in a store that is not sealed."""

    sealed = False

    def test_somebody_who_reads_for_long(self) -> None:
        self.patch(limits, "PURGE_WAITS_S", 0.01)
        reading = self.domain.store.view()
        erasing = self.domain.erasing.aggregate("order", "o-1", Order("asked for", ALICE, now))
        self.failureResultOf(erasing, errors.StorageError)
        self.assertEqual(self.state("o-1"), {})
        self.assertEqual(self.findings(), [])
        del reading
        self.assertEqual(self.erase("o-1").events, 0)
        self.assert_gone(SECRETS)
        self.assertEqual(self.findings(), [])

    def test_content_that_is_back_is_found(self) -> None:
        key = keys.event(keys.name("order", "o-1"), 2)
        record = self.domain.store.view().get(key)
        assert record is not None
        self.erase("o-1")
        self.successResultOf(self.domain.store.transact(lambda step: step.put(key, record)))
        found = "\n".join(self.findings())
        self.assertIn("an erasure names it, and its content is there", found)
        self.assertIn("version=2", found)
