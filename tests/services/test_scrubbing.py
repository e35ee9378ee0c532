"""Scrubbing: when a pass begins, how fast it goes, what it says, and where a restart goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.application.scrubbing import FINDINGS_MAX, Scrub
from eventdbx.errors import ConfigError, IoError
from eventdbx.services.scrubbing import RETRY_S, STATE_NAME, ScrubService, scrub_of
from eventdbx.settings import Integrity
from eventdbx.storage import keys
from tests.integrity.stores import AttackCase, BuiltStore, anchors

HOUR_S = 3_600


class ScrubCase(AttackCase):
    """A domain with a store of some aggregates, a service, and a clock that both go by."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.settings = Integrity(scrub_interval_hours=24, scrub_kib_per_s=64)
        self.texts: list[str] = []
        self.steps = 0
        self.built: BuiltStore = self.open_plain()
        self.built.fill(60)
        self.domain = self.make_domain()
        self.service = self.make_service()

    def now_ns(self) -> int:
        """Return the time of the clock as Unix time."""
        return int(self.clock.seconds() * 10**9)

    def make_domain(self) -> Domain:
        """Return the domain as after a restart."""
        built = self.built
        schemas = Catalogue(built.store, clock_ns=self.now_ns)
        domain = Domain("default", built.store, built.make_writer(), schemas)
        domain.anchors = anchors
        domain.scrub = Scrub(
            "default",
            load=lambda: self.texts[-1] if self.texts else None,
            keep=self.texts.append,
            now_ns=self.now_ns,
        )
        return domain

    def make_service(self) -> ScrubService:
        """Return a service that runs, and scrubs the domain."""
        service = ScrubService(
            lambda: self.settings, run_slowly=self.run_slowly, clock=self.clock, now_ns=self.now_ns
        )
        service.add(self.domain)
        service.startService()
        self.addCleanup(self.end, service)
        return service

    def end(self, service: ScrubService) -> None:
        """Stop a service that may be stopped already."""
        if service.running:
            self.successResultOf(service.stopService())

    def run_slowly(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do a step at once, and count it."""
        self.steps += 1
        return maybeDeferred(work)

    def go(self, seconds: float, each: float = 0.25) -> None:
        """Let time pass."""
        self.clock.pump([each] * int(seconds / each))

    def until_over(self) -> None:
        """Let time pass until no pass runs."""
        for _ in range(10_000):
            if self.domain.scrub.running is None:
                return
            self.go(0.25)
        self.fail("the pass does not end")

    def flip(self, key: bytes) -> None:
        """Change a stored byte."""
        stored = self.built.below.get(key)
        assert stored is not None
        self.built.below.write({key: stored[:-1] + bytes((stored[-1] ^ 1,))}, sync=False)
        self.domain.store._view = self.built.above.view()


class Passes(ScrubCase):
    """Passes of the service."""

    def test_interval(self) -> None:
        """A pass begins an interval after the start, and again an interval after it began."""
        self.clock.advance(24 * HOUR_S - 1)
        self.assertIsNone(self.domain.scrub.running)
        self.assertEqual(self.steps, 0)
        self.clock.advance(1)
        self.assertIsNotNone(self.domain.scrub.running)
        self.until_over()
        last = self.domain.scrub.last
        assert last is not None
        self.assertEqual((last.aggregates, last.problems), (60, 0))
        self.assertGreater(last.events, 120)
        self.clock.advance(23 * HOUR_S)
        self.assertIs(self.domain.scrub.last, last)
        self.clock.advance(HOUR_S)
        self.until_over()
        self.assertIsNot(self.domain.scrub.last, last)

    def test_rate(self) -> None:
        """What is read takes as long as it takes at the rate, whatever the disk can do."""
        self.domain.scrub.start()
        began = self.clock.seconds()
        self.until_over()
        assert self.domain.scrub.last is not None
        took = self.clock.seconds() - began
        least = self.domain.scrub.last.read / (64 << 10)
        self.assertGreater(least, 0.5)
        self.assertGreater(took, least - 1)
        self.assertLess(took, 2 * least + 2)
        self.assertGreater(self.steps, 3)

    def test_never(self) -> None:
        """With an interval of 0 nothing is scrubbed, unless somebody starts it."""
        self.settings = replace(self.settings, scrub_interval_hours=0)
        self.service.look()
        self.clock.advance(1_000 * HOUR_S)
        self.assertEqual(self.steps, 0)
        self.domain.scrub.start()
        self.until_over()
        self.assertIsNotNone(self.domain.scrub.last)

    def test_damage(self) -> None:
        """A damaged record is named in the log and in the state; the rest is checked, too."""
        self.flip(keys.event(keys.name("order", "o-7"), 2))
        self.domain.scrub.start()
        self.until_over()
        assert self.domain.scrub.last is not None
        findings = self.domain.scrub.last.findings
        self.assertEqual(findings[0]["record"], "event order::o-7 v2")
        # What follows the events cannot be held against the damaged one.
        self.assertLessEqual({one["record"] for one in findings[1:]}, {"head map"})
        self.assertEqual(self.domain.scrub.last.aggregates, 59)
        self.assertEqual(self.domain.scrub.problems, len(findings))
        self.assertEqual(self.domain.scrub.document()["last"]["findings"], list(findings))

    def test_mended(self) -> None:
        """Problems are forgotten once a later pass finds all whole."""
        key = keys.event(keys.name("order", "o-7"), 2)
        self.flip(key)
        self.domain.scrub.start()
        self.until_over()
        self.flip(key)
        self.domain.scrub.start()
        self.assertGreater(self.domain.scrub.problems, 0)
        self.until_over()
        self.assertEqual(self.domain.scrub.problems, 0)

    def test_many(self) -> None:
        """Of very much damage the beginning is kept, and all is counted."""
        view = self.built.below.view()
        for key, _stored in list(view.scan(keys.EVENT, keys.after(keys.EVENT))):
            self.flip(key)
        self.domain.scrub.start()
        self.until_over()
        assert self.domain.scrub.last is not None
        self.assertEqual(len(self.domain.scrub.last.findings), FINDINGS_MAX)
        self.assertGreater(self.domain.scrub.problems, FINDINGS_MAX)

    def test_stop(self) -> None:
        """Stopped, it stands still, over a restart too; started again, it goes on."""
        self.domain.scrub.start()
        self.go(1)
        self.domain.scrub.stop()
        steps, place = self.steps, self.domain.scrub.place
        self.clock.advance(100 * HOUR_S)
        self.assertEqual(self.steps, steps)
        self.restart()
        self.clock.advance(100 * HOUR_S)
        self.assertEqual(self.steps, steps)
        self.assertEqual(self.domain.scrub.document()["status"], "stopped")
        self.assertEqual(self.domain.scrub.place, place)
        self.domain.scrub.start()
        self.until_over()
        assert self.domain.scrub.last is not None
        self.assertEqual(self.domain.scrub.last.aggregates, 60)

    def test_restart(self) -> None:
        """A restart goes on where the pass was, with what it had found."""
        self.flip(keys.event(keys.name("order", "o-1"), 1))
        self.domain.scrub.start()
        self.go(1)
        assert self.domain.scrub.running is not None
        self.assertEqual(self.domain.scrub.running.problems, 1)
        place = self.domain.scrub.place
        self.restart()
        self.assertEqual(self.domain.scrub.place, place)
        self.until_over()
        assert self.domain.scrub.last is not None
        self.assertEqual(self.domain.scrub.last.aggregates, 59)
        self.assertEqual(self.domain.scrub.last.findings[0]["record"], "event order::o-1 v1")

    def restart(self) -> None:
        """Stop the service, and begin again with what was kept."""
        self.end(self.service)
        self.domain = self.make_domain()
        self.service = self.make_service()

    def test_trouble(self) -> None:
        """What fails otherwise is said, and tried again later."""

        def broken(_work: Callable[[], Any]) -> Deferred[Any]:
            return maybeDeferred(self.fail_to_read)

        self.service._run_slowly = broken
        self.domain.scrub.start()
        self.go(2)
        self.assertIn("no threads", str(self.domain.scrub.document()["trouble"]))
        self.service._run_slowly = self.run_slowly
        self.go(RETRY_S)
        self.until_over()
        self.assertIsNone(self.domain.scrub.document()["trouble"])

    def fail_to_read(self) -> None:
        """Raise what a system without threads would."""
        raise IoError("no threads left")

    def test_step_under_way(self) -> None:
        """A stop waits for the step that is on another thread, and no step follows it."""
        waiting: Deferred[Any] = Deferred()
        self.service._run_slowly = lambda _work: waiting
        self.domain.scrub.start()
        self.go(1)
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        waiting.errback(IoError("the pool stops"))
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Kept(AttackCase):
    """The file beside a store."""

    def test_file(self) -> None:
        """The state is one text in a file; without a server nothing can be started."""
        folder = Path(self.mktemp())
        folder.mkdir()
        scrub = scrub_of("default", folder)
        self.assertIsNone(scrub.last)
        self.assertRaises(ConfigError, scrub.start)
        self.assertRaises(ConfigError, scrub.stop)
        scrub.wake = lambda: None
        scrub.start()
        self.assertTrue((folder / STATE_NAME).exists())
        again = scrub_of("default", folder)
        self.assertEqual(again.running, scrub.running)

    def test_unreadable(self) -> None:
        """A file that says nothing is said to, and a new pass begins."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / STATE_NAME).write_text('{"place":[]}')
        scrub = scrub_of("default", folder)
        self.assertIn("cannot be read", str(scrub.trouble))
        self.assertIsNone(scrub.running)
