"""Once a second a server finishes what was left half done, and takes up rotated keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from eventdbx.errors import ConfigError
from eventdbx.services.settling import LOOK_S, SettlingService


class Settling(SynchronousTestCase):
    """Looks that go well, and looks that do not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.unsettled = False
        self.failing: Exception | None = None
        self.settled = self.looked = 0
        self.lines: list[str] = []
        self.service = SettlingService(
            lambda: self.unsettled,
            self.settle,
            self.look,
            run_slowly=self.run_slowly,
            clock=self.clock,
        )

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            logger = event.get("log_logger")
            if isinstance(logger, Logger) and logger.namespace.endswith("SettlingService"):
                self.lines.append(event["reason"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def settle(self) -> None:
        self.settled += 1
        if self.failing is not None:
            raise self.failing

    def look(self) -> None:
        self.looked += 1

    def run_slowly(self, work: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(work)

    def test_each_second(self) -> None:
        """Nothing is settled while there is nothing to settle; keys are looked for each time."""
        self.service.startService()
        self.clock.pump([LOOK_S] * 3)
        self.assertEqual((self.settled, self.looked), (0, 4))
        self.unsettled = True
        self.clock.advance(LOOK_S)
        self.assertEqual((self.settled, self.looked), (1, 5))
        self.service.stopService()
        self.clock.pump([LOOK_S] * 3)
        self.assertEqual((self.settled, self.looked), (1, 5))

    def test_failing(self) -> None:
        """What goes wrong is said once, and tried again until it goes well."""
        self.unsettled, self.failing = True, ConfigError("no key")
        self.service.startService()
        self.clock.pump([LOOK_S] * 3)
        self.assertEqual((self.settled, len(self.lines)), (4, 1))
        self.failing = None
        self.clock.advance(LOOK_S)
        self.failing = OSError("too many open files")
        self.clock.advance(LOOK_S)
        self.assertEqual((self.settled, len(self.lines)), (6, 2))
        self.assertIn("no key", self.lines[0])
        self.service.stopService()
