"""Erasing a data subject in all aggregates, and nothing else of them."""

from __future__ import annotations

import orjson

from eventdbx import errors
from eventdbx.application.erasing import Order
from eventdbx.domain.commands import Write
from eventdbx.domain.snapshots import snapshot_document
from eventdbx.storage import eventlog, keys
from tests.erasure.places import ALICE, Later, OnDisk, now

ANNA = "anna-7351@example.org"
SECRETS = ("anna-says-7351", "anna-notes-7351", "anna-snapshot-7351", "anna-archive-7351", ANNA)


class ErasedSubject(OnDisk):
    """Orders with events about two people and about nobody."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-1", {"open": True, "items": 1})
        self.early = self.snapshot("o-1", "before anybody")
        self.write("o-1", {"name": SECRETS[0], "items": 2}, subject=ANNA, note=SECRETS[1])
        self.write("o-1", {"name": "ben-says-7351"}, subject="ben")
        self.write("o-1", {"items": 3})
        self.write("o-1", {"mail": ANNA}, subject=ANNA)
        self.late = self.snapshot("o-1", SECRETS[2])
        self.archive("o-1", SECRETS[3])
        self.write("o-2", {"name": "ben-says-7351"}, subject="ben")

    def test_what_is_left(self) -> None:
        before = self.events("o-1")
        done = self.erase_subject(ANNA)
        self.assertEqual(done[:5], ("subject", 1, 2, 1, 1))
        self.assertEqual(done.older_copies_readable, not self.sealed)
        events = self.events("o-1")
        self.assertEqual([one.erased for one in events], [False, True, False, False, True, False])
        self.assertEqual([one.hash for one in before], [one.hash for one in events[:-1]])
        self.assertEqual(
            orjson.loads(events[-1].payload),
            {"scope": "subject", "reason": "asked for", "events": [[2, 2], [5, 5]]},
        )
        self.assertEqual(self.state("o-1"), {"open": True, "items": 3, "name": "ben-says-7351"})
        head = self.domain.reader().aggregate("order", "o-1")
        assert head is not None
        self.assertEqual((head.extensions, head.archived), ({"@subject": "ben"}, True))
        self.assertEqual(len(self.events("o-2")), 1)
        self.assertEqual(self.findings(), [])

    def test_the_bytes_are_nowhere(self) -> None:
        self.erase_subject(ANNA)
        self.assert_gone(SECRETS, self.folder, self.copy())
        self.reopen()
        self.assert_gone(SECRETS)
        self.assertEqual(self.state("o-1")["name"], "ben-says-7351")
        self.assertEqual(self.findings(), [])

    def test_snapshots_are_folded_anew(self) -> None:
        self.erase_subject(ANNA)
        view = self.domain.store.view()
        early = eventlog.snapshot_by_id(view, self.early)
        late = eventlog.snapshot_by_id(view, self.late)
        assert early is not None and late is not None
        self.assertEqual(
            (early.state, early.comment), ({"open": True, "items": 1}, "before anybody")
        )
        self.assertEqual(late.state, {"open": True, "items": 3, "name": "ben-says-7351"})
        self.assertEqual((late.comment, late.version), (None, 5))
        self.assertNotIn("erased", orjson.loads(snapshot_document(late)))

    def test_nothing_is_left_of_the_index(self) -> None:
        self.erase_subject(ANNA)
        view = self.domain.store.view()
        self.assertEqual(list(view.scan(keys.ERASURE, keys.after(keys.ERASURE))), [])
        left = view.scan(keys.SUBJECT_EVENT, keys.after(keys.SUBJECT_EVENT))
        found = [keys.split_subject_event(key) for key, _empty in left]
        self.assertEqual(
            sorted(found), [(keys.name("order", "o-1"), 3), (keys.name("order", "o-2"), 1)]
        )

    def test_somebody_who_comes_back(self) -> None:
        self.erase_subject(ANNA)
        self.archive("o-1", "", archived=False)
        self.write("o-1", {"name": "anna-again-7351"}, subject=ANNA)
        self.reopen()
        self.assertEqual(self.state("o-1")["name"], "anna-again-7351")
        done = self.erase_subject(ANNA)
        self.assertEqual((done.aggregates, done.events), (1, 1))
        self.assertEqual(self.state("o-1")["name"], "ben-says-7351")
        self.assert_gone((*SECRETS, "anna-again-7351"))
        self.assertEqual(self.findings(), [])

    def test_who_is_not_there(self) -> None:
        self.assertEqual(self.erase_subject("nobody")[:3], ("subject", 0, 0))
        self.erase_subject(ANNA)
        self.assertEqual(self.erase_subject(ANNA)[:3], ("subject", 0, 0))

    def test_a_dry_run(self) -> None:
        self.assertEqual(self.erase_subject(ANNA, dry_run=True)[:5], ("subject", 1, 2, 1, 1))
        self.assertEqual(self.state("o-1")["mail"], ANNA)

    def test_the_whole_aggregate_after_somebody(self) -> None:
        self.erase_subject(ANNA)
        self.erase("o-1")
        self.assertEqual([one.erased for one in self.events("o-1")], [True] * 6 + [False])
        self.assertEqual(self.state("o-1"), {})
        self.assert_gone((*SECRETS, "before anybody"))
        done = self.erase_subject("ben")
        self.assertEqual((done.aggregates, done.events), (1, 1))
        self.assert_gone((*SECRETS, "ben-says-7351"))
        self.assertEqual(self.findings(), [])

    def test_verification_meanwhile(self) -> None:
        later = Later()
        erasing = self.domain.erasing.subject(ANNA, Order("asked for", ALICE, later))
        steps = 0
        while later.busy:
            later.run_one()
            self.assertEqual(self.findings(), [])
            steps += 1
        self.successResultOf(erasing)
        self.assertGreater(steps, 5)
        self.assertEqual(self.findings(), [])
        self.assert_gone(SECRETS)

    def test_fifty_aggregates(self) -> None:
        for number in range(50):
            self.write(f"p-{number}", {"n": number, "who": SECRETS[0]}, subject=ANNA)
            self.write(f"p-{number}", {"kept": number})
        done = self.erase_subject(ANNA)
        self.assertEqual((done.aggregates, done.events), (51, 52))
        for number in range(50):
            self.assertEqual(self.state(f"p-{number}"), {"kept": number})
        self.assert_gone(SECRETS)
        self.assertEqual(self.findings(), [])

    def test_an_older_copy_reads_erased(self) -> None:
        copy = self.copy()
        self.erase_subject(ANNA)
        self.with_keys_of_today(copy)
        self.successResultOf(self.domain.store.close())
        self.open(copy)
        expected = {"open": True, "items": 3, "name": "ben-says-7351"}
        if not self.sealed:
            expected["mail"] = ANNA
        self.assertEqual(self.state("o-1"), expected)
        head = self.domain.reader().aggregate("order", "o-1")
        assert head is not None
        self.assertEqual(head.extensions, {"@subject": "ben" if self.sealed else ANNA})

    def test_an_older_copy_is_erased_again(self) -> None:
        copy = self.copy()
        self.erase_subject(ANNA)
        self.with_keys_of_today(copy)
        self.successResultOf(self.domain.store.close())
        self.open(copy)
        self.assertEqual(len(self.findings()), 2 if self.sealed else 0)
        self.assertEqual(self.erase_subject(ANNA, dry_run=True).aggregates, 1)
        self.assertEqual(self.erase_subject(ANNA).aggregates, 1)
        self.assertEqual(self.findings(), [])
        self.assertEqual(self.state("o-1"), {"open": True, "items": 3, "name": "ben-says-7351"})
        self.assert_gone(SECRETS, copy)
        self.assertEqual(self.erase_subject(ANNA)[:3], ("subject", 0, 0))

    def test_names_in_reasons(self) -> None:
        for reason in (f"{ANNA} asked", f"asked for: {ANNA.upper()}."):
            with self.assertRaises(errors.InvalidSchema) as raised:
                self.domain.erasing.subject(ANNA, Order(reason, ALICE, now))
            self.assertNotIn(ANNA, str(raised.exception).lower())
        self.assertEqual(self.erase_subject("ask")[:3], ("subject", 0, 0))

    def test_the_key_as_it_may_be_spelled(self) -> None:
        self.write("o-3", {"a": 1}, Subject="carl")
        self.assertEqual(self.erase_subject("carl").events, 1)

    def test_what_is_no_subject(self) -> None:
        wrong = (
            '{"@subject":1}', '{"@subject":""}', '{"@subject":null}', '{"@subject":["a"]}',
            '{"@subject":"%s"}' % ("x" * 257), '{"@subject":"a","@Subject":"a"}',
        )  # fmt: skip
        for metadata in wrong:
            write = Write("append", "order", "o-5", "made", b"{}", metadata)
            writing = self.domain.writer.write((write,), actor=ALICE, render=lambda done: done)
            self.failureResultOf(writing, errors.InvalidSchema)

    def test_nobody_costs_nothing(self) -> None:
        self.write("q-1", {"a": 1})
        head = eventlog.load_head(self.domain.store.view(), keys.name("order", "q-1"))
        assert head is not None
        self.assertEqual(head.state_slot, 0)
        self.assertEqual(len(self.events("q-1")[0].key_slots), int(self.sealed))


class ErasedPlainSubject(ErasedSubject):
    """The same in a store that is not sealed."""

    sealed = False
