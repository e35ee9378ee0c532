"""The server's part of the audit trail: it looks into the spool, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.auditing import AuditTrail
from eventdbx.domain.actions import Action
from eventdbx.errors import StorageError
from eventdbx.services.auditing import LOOK_S, AuditService
from eventdbx.services.auditspool import Spool


class TrailInMemory(AuditTrail):
    """A trail that takes what it is given unless it is broken."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.broken: Exception | None = None

    def add(self, action: Action) -> Deferred[None]:
        """Take an action."""
        if self.broken is not None:
            return fail(self.broken)
        self.taken.append(action.resource)
        return succeed(None)


class Looking(SynchronousTestCase):
    """Looks that go well, and looks that do not."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.spool, self.trail, self.clock = Spool(folder), TrailInMemory(), Clock()
        self.lines: list[str] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service = AuditService(self.spool, self.trail, self.clock)
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def note(self, event: Any) -> None:
        """Keep what is said of the spool."""
        if "the spool waits" in (event.get("log_format") or ""):
            self.lines.append(event["log_format"])

    def test_failing(self) -> None:
        """What goes wrong is said once, and tried again until it goes well."""
        self.spool.append(Action("tokens", "token_issued", "a", "test", None, key="k"))
        for trouble in (StorageError("the disk is full"), RuntimeError("a mistake of ours")):
            self.trail.broken = trouble
            self.clock.pump([LOOK_S] * 3)
        self.assertEqual(len(self.lines), 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.trail.broken = None
        self.clock.advance(LOOK_S)
        self.assertEqual((self.trail.taken, self.spool.holds_something), (["a"], False))
        self.trail.broken = StorageError("the disk is full")
        self.spool.append(Action("tokens", "token_issued", "b", "test", None, key="l"))
        self.clock.advance(LOOK_S)
        self.assertEqual(len(self.lines), 3)
