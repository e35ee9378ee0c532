"""Rehearsals in the background: turns, pace, progress, cancelling, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eventdbx import errors, limits
from eventdbx.application.domains import Domain
from eventdbx.application.rehearsal import (
    BUSY_SHARE,
    QUIET_S,
    Rehearsal,
    Rehearsals,
)
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from tests.application.test_judging import OPEN, JudgingCase
from tests.application.test_schemas import text_of


class RehearsalCase(JudgingCase):
    """Rehearsals whose threads are a list of work to be done by hand."""

    def setUp(self) -> None:
        super().setUp()
        self.clock_s = Clock()
        self.work: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.domain = Domain("default", self.store, self.writer, self.catalogue)
        self.opened = [self.domain]
        self.rehearsals = Rehearsals(self.take, self.clock_s, lambda: self.opened)

    def take(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Queue work as a thread pool would."""
        done: Deferred[Any] = Deferred()
        self.work.append((work, done))
        return done

    def work_once(self) -> None:
        """Do one piece of the work that waits."""
        work, done = self.work.pop(0)
        done.callback(work())

    def work_off(self) -> None:
        """Work and let time pass until nothing waits."""
        while self.work or self.clock_s.getDelayedCalls():
            while self.work:
                self.work_once()
            self.clock_s.advance(1)

    def begin(self, **schemas: Any) -> Rehearsal:
        """Start a rehearsal of a set."""
        contracts = self.catalogue.prepare(text_of(**schemas)).contracts
        return self.rehearsals.start(self.domain, contracts)

    def seen(self, job: Rehearsal) -> dict[str, Any]:
        """Return the document of a job for one who may read everything."""
        return job.document(self.clock_s.seconds(), lambda kind, name: True)


class Running(RehearsalCase):
    """From start to end."""

    def test_progress_and_findings(self) -> None:
        """The document tells how far it is and what it has found, per rule with samples."""
        for number in range(3):
            self.write(f"o-{number}", "order_placed", {"total": "x"})
        job = self.begin(order={**OPEN, "column_types": {"total": "integer"}})
        found = self.seen(job)
        self.assertEqual((found["state"], found["done"], found["total"]), ("running", 0, 3))
        self.clock_s.advance(2)
        self.work_off()
        found = self.seen(job)
        self.assertEqual((found["state"], found["done"], found["refused"]), ("done", 3, 3))
        self.assertEqual((found["elapsed_s"], found["rate"]), (2.0, 1.5))
        (rule,) = found["rules"]
        self.assertEqual(rule["message"], "field total must be an integer")
        self.assertEqual((rule["count"], rule["unless_patch"]), (3, 0))
        self.assertEqual(rule["first"]["aggregate_id"], "o-0")
        self.assertEqual(rule["last"]["version"], 1)
        self.assertEqual(rule["samples"][0], rule["first"])
        self.assertIs(type(rule["first"]["event_id"]), str)

    def test_events_are_named_only_to_who_may_read_them(self) -> None:
        """Counts stay, samples of other aggregates are left out."""
        self.write("o-1", "order_placed", {})
        self.write("o-2", "order_placed", {})
        job = self.begin(order={"events": {}})
        self.work_off()
        found = job.document(0.0, lambda kind, name: name == "o-2")
        (rule,) = found["rules"]
        self.assertEqual(rule["count"], 2)
        self.assertIsNone(rule["first"])
        self.assertEqual([one["aggregate_id"] for one in rule["samples"]], ["o-2"])

    def test_one_runs_and_the_others_wait(self) -> None:
        """They take turns in the order in which they were started."""
        self.write("o-1", "order_placed", {})
        one, two = self.begin(order=OPEN), self.begin(order=OPEN)
        self.assertEqual((one.state, two.state, len(self.work)), ("running", "waiting", 1))
        self.work_once()
        self.assertEqual((one.state, two.state), ("done", "running"))
        self.work_off()
        self.assertEqual(two.state, "done")

    def test_a_cancelled_one_stays_with_what_it_found(self) -> None:
        """Cancelling ends it at once, and the next one gets its turn."""
        self.write("o-1", "order_placed", {})
        one, two, three = (self.begin(order={"events": {}}) for _ in range(3))
        self.rehearsals.cancel(two)
        self.rehearsals.cancel(one)
        self.rehearsals.cancel(one)
        self.work_off()
        self.assertEqual([job.state for job in (one, two, three)], ["cancelled"] * 2 + ["done"])
        self.assertEqual(self.seen(one)["state"], "cancelled")
        self.assertEqual(self.seen(three)["refused"], 1)

    def test_a_damaged_record_fails_it(self) -> None:
        """The error is told, and the next one runs all the same."""
        self.write("o-1", "order_placed", {})
        job = self.begin(order=OPEN)
        work, done = self.work.pop(0)
        self.successResultOf(self.store.close())
        done.callback(work())
        self.assertEqual(job.state, "failed")
        self.assertIn("closed", self.seen(job)["error"])

    def test_only_so_many_are_remembered(self) -> None:
        """Old ones that are over make room; when all are waiting no more is taken."""
        jobs = [self.begin(order=OPEN) for _ in range(limits.REHEARSALS_KEPT)]
        with self.assertRaises(errors.ConfigError):
            self.begin(order=OPEN)
        self.rehearsals.cancel(jobs[3])
        fresh = self.begin(order=OPEN)
        self.assertEqual(len(self.rehearsals.of(self.domain)), limits.REHEARSALS_KEPT)
        self.assertIs(self.rehearsals.find(self.domain, fresh.id), fresh)
        with self.assertRaises(errors.ConfigError):
            self.rehearsals.find(self.domain, jobs[3].id)

    def test_candidates_are_let_go(self) -> None:
        """What is over keeps what it found and not its candidate, and makes room for others."""
        heavy = {**OPEN, "column_types": {"a": {"type": "text", "regex": [r"\p{L}{30}"]}}}
        self.write("o-1", "order_placed", {"a": "x"})
        jobs = [self.begin(order=heavy) for _job in range(3)]
        weight = jobs[0].weight
        self.patch(limits, "PATTERNS_COMPILED_BYTES_MAX", 3 * weight)
        with self.assertRaisesRegex(errors.ConfigError, "memory"):
            self.begin(order=heavy)
        self.rehearsals.cancel(jobs[0])
        self.assertEqual(jobs[0].weight, weight, "a thread works with it")
        self.rehearsals.cancel(jobs[1])
        self.work_off()
        self.assertEqual([job.weight for job in jobs], [0, 0, 0])
        self.assertEqual(self.seen(jobs[2])["refused"], 1)
        self.assertEqual(self.begin(order=heavy).weight, weight)

    def test_jobs_belong_to_their_domain(self) -> None:
        """Another domain neither lists nor finds them."""
        job = self.begin(order=OPEN)
        other = Domain("other", self.store, self.writer, self.catalogue)
        self.assertEqual(self.rehearsals.of(other), [])
        with self.assertRaises(errors.ConfigError):
            self.rehearsals.find(other, job.id)

    def test_stopping_waits_for_the_thread(self) -> None:
        """Whatever runs or waits is cancelled; the store is free when the Deferred fires."""
        self.write("o-1", "order_placed", {})
        one, two = self.begin(order=OPEN), self.begin(order=OPEN)
        stopped, again = self.rehearsals.stop(), self.rehearsals.stop()
        self.assertNoResult(stopped)
        self.work_once()
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual((one.state, two.state), ("cancelled", "cancelled"))
        self.assertEqual((self.work, self.clock_s.getDelayedCalls()), ([], []))
        with self.assertRaises(errors.ConfigError):
            self.begin(order=OPEN)

    def test_without_a_clock_a_look_carries_it_on(self) -> None:
        """A command without a server has no background."""
        self.write("o-1", "order_placed", {})
        self.rehearsals = Rehearsals(self.take, None)
        job = self.begin(order={"events": {}})
        self.assertEqual((job.state, self.work), ("waiting", []))
        self.rehearsals.carry_on(job)
        self.assertEqual((job.state, self.seen(job)["refused"]), ("done", 1))


class Pace(RehearsalCase):
    """How much of the time a rehearsal takes."""

    def pause_s(self) -> float:
        """Return how long the next slice waits."""
        (call,) = self.clock_s.getDelayedCalls()
        return call.getTime() - self.clock_s.seconds()

    def slice(self, took_s: float) -> None:
        """Let a slice take so long without getting to the end."""
        work, done = self.work.pop(0)
        outcome = work()
        done.callback(outcome._replace(over=False, took_s=took_s))

    def test_slices_follow_each_other_while_nothing_is_appended(self) -> None:
        """There is nobody to be slowed down."""
        self.begin(order=OPEN)
        for _ in range(3):
            self.slice(0.01)
            self.assertEqual(self.pause_s(), 0)
            self.clock_s.advance(0)

    def test_appends_of_other_domains_count(self) -> None:
        """All domains share the interpreter with a rehearsal."""
        mine = self.domain
        self.backend = MemoryStore()
        self.open(synchronous())
        self.opened.append(Domain("other", self.store, self.writer, self.catalogue))
        contracts = self.catalogue.prepare(text_of(order=OPEN)).contracts
        self.rehearsals.start(mine, contracts)
        self.slice(0.01)
        self.write("o-1", "order_placed", {})
        self.clock_s.advance(self.pause_s())
        self.slice(0.002)
        self.assertGreater(self.pause_s(), 0)

    def test_while_there_are_appends_they_keep_the_time(self) -> None:
        """A slice is followed by a pause that leaves it a small share; then by full speed."""
        self.begin(order=OPEN)
        self.slice(0.01)
        for number in range(3):
            self.write(f"o-{number}", "order_placed", {})
            self.clock_s.advance(self.pause_s())
            self.slice(0.002)
            self.assertAlmostEqual(0.002 / (0.002 + self.pause_s()), BUSY_SHARE)
        self.clock_s.advance(QUIET_S + 0.1)
        self.slice(0.01)
        self.assertEqual(self.pause_s(), 0)
