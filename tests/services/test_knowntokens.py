"""What listeners find of issued tokens, however many there are and whoever issues them."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.token_records import TokenRecord
from eventdbx.domain.grants import Grant
from eventdbx.services.knowntokens import KnownTokens
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
