"""What listeners find of issued tokens, however many there are and whoever issues them."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.token_records import TokenRecord
from eventdbx.domain.grants import Grant
from eventdbx.errors import IoError
from eventdbx.services.knowntokens import TRY_AGAIN_S, KnownTokens
from eventdbx.services.tokenfiles import LEDGER_NAME, TokenFiles
from eventdbx.services.tokenjournal import JOURNAL_NAME

KEY = base64.b64encode(bytes(range(32))).decode()


class Finding(SynchronousTestCase):
    """A server's view of a ledger that another process changes."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.known = KnownTokens(self.folder / LEDGER_NAME, [KEY])

    def add(self, jti: str, small_bytes: int = 1 << 20) -> None:
        """Record a token whose text is its id."""
        digest = hashlib.sha256(jti.encode()).hexdigest()
        record = TokenRecord.of(Grant(jti=jti, subject="s"), time.time_ns(), digest)
        files = TokenFiles(self.folder, [KEY], time.time_ns, self.fail, small_bytes)
        with files.add() as ledger:
            ledger.add(record)

    def test_small(self) -> None:
        """Each token is known as soon as it is recorded."""
        for number in range(3):
            self.assertIsNone(self.known.find(f"j-{number}"))
            self.add(f"j-{number}")
            self.assertIsNotNone(self.known.find(f"j-{number}"))
            self.assertTrue(self.known.has(f"j-{number}"))

    def test_large(self) -> None:
        """So is one that is in the journal alone, and one that has left it."""
        journal = self.folder / JOURNAL_NAME
        seen = []
        for number in range(12):
            self.add(f"j-{number}", small_bytes=2000)
            seen.append(journal.exists())
            self.assertTrue(self.known.has(f"j-{number}"), number)
            self.assertIsNone(self.known.find("other"))
        self.assertEqual(set(seen), {True, False})
        self.assertGreater(seen.index(True), 0)
        self.assertFalse(all(seen[seen.index(True) :]), "it never goes into the ledger")
        for number in range(12):
            self.assertIsNotNone(self.known.find(f"j-{number}"))
        self.assertTrue(KnownTokens(self.folder / LEDGER_NAME, [KEY]).has("j-11"))

    def test_unreadable_for_a_while(self) -> None:
        """What was read before counts while the ledger cannot be read, and again what is new."""
        now, known = 0.0, KnownTokens(self.folder / LEDGER_NAME, [KEY], lambda: now)
        self.add("j-1")
        self.assertTrue(known.has("j-1"))
        self.add("j-2")
        path = self.folder / LEDGER_NAME
        aside = path.rename(path.with_name("aside"))
        path.mkdir()  # As good as a disk that cannot be read.
        self.assertFalse(known.has("j-2"))
        self.assertTrue(known.has("j-1"))
        self.assertIsNotNone(known.find("j-1"))
        path.rmdir()
        aside.rename(path)
        self.assertFalse(known.has("j-2"), "it is tried again at once")
        now = TRY_AGAIN_S
        self.assertTrue(known.has("j-2"))
        self.flushLoggedErrors()

    def test_large_on_a_thread(self) -> None:
        """A large ledger is read on a thread; the old answers, and the journal's, count till then,
        and it is read once, however many ask."""
        self.add("old")
        self.add("in-the-journal", small_bytes=0)
        self.known.look()
        waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def run(work: Callable[[], Any]) -> Deferred[Any]:
            waiting.append((work, Deferred()))
            return waiting[-1][1]

        self.known.read_slowly_by(run)
        self.grow_by_another("new")
        for _ in range(3):
            self.assertIsNone(self.known.find("new"))
            self.assertFalse(self.known.has("new"))
        self.assertTrue(self.known.has("old") and self.known.has("in-the-journal"))
        self.assertEqual(len(waiting), 1)
        self.add("newest")  # Into the journal.
        self.assertTrue(self.known.has("newest"))
        work, done = waiting.pop()
        done.callback(work())
        for jti in ("old", "new", "newest", "n-1999"):
            self.assertIsNotNone(self.known.find(jti), jti)
        self.assertFalse(self.known.has("never"))
        self.assertEqual(waiting, [])
        self.add("last")
        self.assertTrue(self.known.has("last"))

    def test_failing_on_a_thread(self) -> None:
        """What goes wrong there is told, and tried again after a while."""
        now, known = 0.0, KnownTokens(self.folder / LEDGER_NAME, [KEY], lambda: now)
        failing = [True]

        def run(work: Callable[[], Any]) -> Deferred[Any]:
            return fail(IoError("no disk")) if failing.pop() else succeed(work())

        known.read_slowly_by(run)
        self.grow_by_another("new")
        self.assertFalse(known.has("new"))
        failing.append(False)
        self.assertFalse(known.has("new"), "it is tried again at once")
        now = TRY_AGAIN_S
        known.has("new")
        self.assertTrue(known.has("new"))

    def grow_by_another(self, jti: str) -> None:
        """Let another process record so many tokens that the ledger is large."""
        files = TokenFiles(self.folder, [KEY], time.time_ns, self.fail)
        with files.change() as ledger:
            for one in (jti, *(f"n-{number}" for number in range(3000))):
                digest = hashlib.sha256(one.encode()).hexdigest()
                grant = Grant(jti=one, subject="s" * 200)
                ledger.add(TokenRecord.of(grant, time.time_ns(), digest))
        self.assertGreater((self.folder / LEDGER_NAME).stat().st_size, 1 << 20)

    def test_shorter_journal(self) -> None:
        """A change that is taken back after it was read leaves nothing behind."""
        for number in range(20):
            self.add(f"n-{number}")
        self.add("j-2", small_bytes=0)
        self.assertTrue(self.known.has("j-2"))
        journal = self.folder / JOURNAL_NAME
        before = journal.stat().st_size
        self.add("j-with-a-longer-name", small_bytes=0)
        self.assertTrue(self.known.has("j-with-a-longer-name"))
        os.truncate(journal, before)
        self.add("j-3", small_bytes=0)
        self.assertTrue(self.known.has("j-3"))
        self.assertIsNone(self.known.find("j-with-a-longer-name"))
        self.assertIsNotNone(self.known.find("j-2"))
