"""When a server advances the head map, and that its checkpoints speak of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.application.domains import Domain
from eventdbx.config import Config, Integrity
from eventdbx.domain.checkpoints import parse_checkpoint
from eventdbx.domain.commands import Write
from eventdbx.domain.headmap import check_head, heads_of
from eventdbx.services.mapping import BUSY_PAUSES, PAUSE_S, MappingService
from eventdbx.services.stores import StoreService
from eventdbx.storage import keys
from eventdbx.storage.hops import synchronous
from tests.application.test_writer import ALICE

SEED = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="


class MappingServiceTests(SynchronousTestCase):
    """One domain on the disk, a clock, and threads that are done when the test says so."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        self.clock = Clock()
        self.run_slowly: Callable[[Callable[[], Any]], Deferred[Any]] = execute
        self.service = MappingService(
            60, run_slowly=lambda work: self.run_slowly(work), clock=self.clock
        )
        stores = StoreService(
            Config(encryption=False, integrity=Integrity(origin="db", signing_key=SEED)),
            store_path=lambda name: folder / name / "event_store",
            plugins_path=lambda name: folder / name / "plugins.json",
            make_hop=synchronous,
            clock=self.clock,
            on_failure=lambda failure: None,
        )
        stores.on_open.append(self.service.add)
        stores.startService()
        self.addCleanup(stores.stopService)
        self.service.startService()
        self.domain = stores.domain(None)
        self.patch(limits, "MAP_STEP_EVENTS", 2)

    def write(self, count: int, domain: Domain | None = None) -> None:
        """Commit events of new aggregates."""
        for _ in range(count):
            self.number = getattr(self, "number", 0) + 1
            write = Write("create", "order", f"o-{self.number}", "made", "{}")
            writer = (domain or self.domain).writer
            done = writer.write([write], actor=ALICE, idempotency_key=None, render=len)
            self.successResultOf(done)

    def stop(self) -> None:
        """Stop as a server does; nothing is left that would go on."""
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_map_follows_in_the_background(self) -> None:
        """After the interval, a step at a time, with pauses for requests in between."""
        self.write(5)
        self.clock.advance(59)
        self.assertEqual(self.domain.heads.place.position, 0)
        for position in (2, 4, 5):
            self.clock.advance(1 if position == 2 else PAUSE_S)
            self.assertEqual(self.domain.heads.place.position, position)
        self.write(1)
        self.clock.advance(60)
        self.assertEqual(self.domain.heads.place.position, 6)
        self.stop()

    def test_writes_come_first(self) -> None:
        """While events are written, the pauses are a multiple of what the steps take."""
        slow: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            slow.append((work, Deferred()))
            return slow[-1][1]

        def work(took_s: float, writes: int) -> None:
            while slow:
                work, done = slow.pop()
                self.write(writes)
                writes = 0
                self.clock.advance(took_s)
                took_s = 0
                done.callback(work())

        self.run_slowly = later
        self.write(5)
        self.clock.advance(60)
        work(2, 1)
        self.assertEqual(self.domain.heads.place.position, 2)
        self.clock.advance(2 * BUSY_PAUSES - 0.1)
        self.assertEqual(slow, [])
        self.clock.advance(0.1)
        work(2, 0)
        self.assertEqual(self.domain.heads.place.position, 4)
        self.clock.advance(PAUSE_S)
        work(0, 0)
        self.assertEqual(self.domain.heads.place.position, 6)
        self.stop()

    def test_zero_does_nothing_unasked(self) -> None:
        """No timer, no map; and another interval counts from when it is configured."""
        self.service.take_up(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.write(1)
        self.clock.advance(100_000)
        self.assertEqual(self.domain.heads.place.position, 0)
        self.service.take_up(5)
        self.clock.advance(5)
        self.assertEqual(self.domain.heads.place.position, 1)
        self.stop()

    def test_a_stop_between_two_steps(self) -> None:
        """The map stays where it is; nothing waits for a pause."""
        self.write(5)
        self.clock.advance(60)
        self.stop()
        self.assertEqual(self.domain.heads.place.position, 2)

    def test_a_stop_within_a_step(self) -> None:
        """It is waited for."""
        slow: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            slow.append((work, done))
            return done

        self.run_slowly = later
        self.write(5)
        self.clock.advance(60)
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        while slow:
            work, done = slow.pop(0)
            done.callback(work())
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_trouble_is_told_once_and_tried_again(self) -> None:
        """A gap in the log: it is in the log of the server, and the next interval comes."""
        self.write(3)
        removed = self.domain.store.transact(lambda step: step.delete(keys.log(0, 1)))
        self.successResultOf(removed)
        with capturedLogs() as said:
            for _ in range(3):
                self.clock.advance(60)
        (told,) = [formatEvent(one) for one in said if one["log_level"] is LogLevel.error]
        self.assertIn("no position 1", told)
        self.assertEqual(self.domain.heads.place.position, 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.stop()

    def test_a_checkpoint_speaks_of_the_map(self) -> None:
        """Its line has the root against which the proofs hold."""
        self.write(3)
        note = self.successResultOf(self.domain.checkpoints.renew())
        self.assertIsNone(heads_of(parse_checkpoint(note.text)))
        self.successResultOf(Deferred.fromCoroutine(self.domain.heads.advance_to(3)))
        note = self.successResultOf(self.domain.checkpoints.renew())
        heads = heads_of(parse_checkpoint(note.text))
        assert heads is not None
        asked = self.domain.heads.prove(keys.name("order", "o-2"))
        proof = self.successResultOf(Deferred.fromCoroutine(asked))
        check_head("order", "o-2", proof, *heads)
        self.assertEqual((heads[0], proof.version), (3, 1))
        self.stop()
