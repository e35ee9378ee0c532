"""A very large list of revocations is read on a thread, and lets nobody in meanwhile."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.ledger import Ledger
from eventdbx.application.token_records import Change, Revocation
from eventdbx.errors import EventDBXError, IoError
from eventdbx.services.revocations import LARGE_BYTES, REVOCATIONS_NAME, Revocations
from eventdbx.services.tokenfiles import LEDGER_NAME, SMALL_BYTES, TokenFiles
from eventdbx.services.tokenjournal import Journal

KEY = base64.b64encode(bytes(range(32))).decode()


class Large(SynchronousTestCase):
    """A list that another process adds to while a server runs."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.revoke(*(f"old-{number}" for number in range(8_000)))
        self.assertGreater((self.folder / REVOCATIONS_NAME).stat().st_size, LARGE_BYTES)
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.revocations = Revocations(self.folder / REVOCATIONS_NAME, [KEY])
        self.revocations.read_slowly_by(
            self.run_slowly, Journal(self.folder, [KEY]), self.folder / LEDGER_NAME
        )
        self.assertIn("old-7", self.revocations)
        self.assertEqual(self.waiting, [])

    def run_slowly(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Keep work until the test does it."""
        self.waiting.append((work, Deferred()))
        return self.waiting[-1][1]

    def revoke(self, *ids: str, small_bytes: int = SMALL_BYTES) -> None:
        """Revoke tokens as another process does."""
        files = TokenFiles(self.folder, [KEY], time.time_ns, self.fail, small_bytes)
        end = time.time_ns() + 10**15
        with files.change() as ledger:
            ledger.merge(Ledger((), [Revocation(one, 1, "r" * 90, end) for one in ids]))

    def finish(self) -> None:
        """Do what was to be done on a thread."""
        ((work, done),) = self.waiting
        self.waiting = []
        done.callback(work())

    def test_revoked_at_once(self) -> None:
        """Who is revoked is refused before the list is read, and afterwards; the list is read
        once at a time, and again if it changed meanwhile."""
        self.revoke("new-1")
        for _ in range(3):
            self.assertIn("new-1", self.revocations)
        self.assertIn("old-1", self.revocations)
        self.assertNotIn("other", self.revocations)
        self.assertEqual(len(self.waiting), 1)
        self.revoke("new-2")
        self.assertIn("new-2", self.revocations)
        self.finish()
        for jti in ("old-1", "new-1", "new-2"):
            self.assertIn(jti, self.revocations)
        if self.waiting:
            self.finish()
        for jti in ("old-1", "new-1", "new-2"):
            self.assertIn(jti, self.revocations)
        self.assertNotIn("other", self.revocations)
        self.assertEqual(self.waiting, [])

    def test_journal_before_the_file(self) -> None:
        """A revocation that is in the journal while the list is read, and in the list only
        afterwards, is known all the time from then on."""
        journal = Journal(self.folder, [KEY])
        self.revoke("new-1")
        self.assertIn("new-1", self.revocations)
        journal.append(Change((), (Revocation("new-2", 1, None, None),)))
        self.assertIn("new-2", self.revocations)
        self.finish()
        self.revoke("new-3")
        for jti in ("new-1", "new-2", "new-3"):
            self.assertIn(jti, self.revocations)
        self.assertEqual(len(self.waiting), 1)

    def test_large_at_start(self) -> None:
        """What is in the journal alone when a server starts counts as soon as the list changes."""
        Journal(self.folder, [KEY]).append(Change((), (Revocation("new-1", 1, None, None),)))
        starting = Revocations(self.folder / REVOCATIONS_NAME, [KEY])
        starting.read_slowly_by(
            self.run_slowly, Journal(self.folder, [KEY]), self.folder / LEDGER_NAME
        )
        self.assertIn("new-1", starting)
        self.assertEqual(self.waiting, [])

    def test_journal_gone(self) -> None:
        """A list whose journal went into the files is read at once."""
        self.revoke("new-1", small_bytes=1 << 30)
        self.assertFalse(Journal(self.folder, [KEY]).path.exists())
        self.assertIn("new-1", self.revocations)
        self.revoke("new-2")
        self.assertIn("new-2", self.revocations)
        self.revoke("new-3", small_bytes=1 << 30)
        self.assertIn("new-3", self.revocations)
        self.finish()  # Too late, and older.
        self.assertIn("new-3", self.revocations)

    def test_unreadable(self) -> None:
        """A list that cannot be read on the thread lets nobody in."""
        self.revoke("new-1")
        self.assertIn("new-1", self.revocations)
        ((_work, done),) = self.waiting
        (self.folder / REVOCATIONS_NAME).write_text("ENCv1:AAAA")
        done.errback(IoError("no disk"))
        self.assertRaises(EventDBXError, self.revocations.__contains__, "other")
