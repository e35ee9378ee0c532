"""The journal of the ledger: what a change that was cut short leaves, and large ledgers."""

from __future__ import annotations

import resource
import signal

from eventdbx.application.ledger import REFRESHED, Ledger
from eventdbx.application.sealing import SEALED
from eventdbx.application.token_records import Change, Revocation, TokenRecord
from eventdbx.domain.grants import Grant
from eventdbx.errors import IoError, SerializationError, StorageError
from eventdbx.services.revocations import Revocations
from eventdbx.services.tokenfiles import TokenFiles
from eventdbx.services.tokenjournal import Journal
from tests.services.test_tokenfiles import KEY, NOW, FilesCase


def record(jti: str, *, revoked: bool = False) -> TokenRecord:
    """Return the record of a token that never ends."""
    return TokenRecord.of(Grant(jti=jti, subject="s"), NOW)._replace(status_revoked=revoked)


REFRESH = Change(
    (record("j-1", revoked=True), record("j-2")), (Revocation("j-1", NOW, REFRESHED, None),)
)
"""One token takes the place of another."""


class JournalCase(FilesCase):
    """A ledger with one token, and a journal that the test writes by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.add("j-1")
        self.journal = Journal(self.folder, [KEY])

    def revoked(self, jti: str) -> bool:
        """Tell whether a server refuses the token."""
        return jti in Revocations(self.revocations_path, [KEY])


class CutShort(JournalCase):
    """A process that was killed between the parts of a change."""

    def test_written_down_alone(self) -> None:
        """What is in the journal has happened: for readers, and then for a server."""
        self.journal.append(REFRESH)
        ledger = self.files().read()
        self.assertTrue(ledger.is_revoked("j-1"))
        self.assertEqual(self.ids(ledger), ["j-1", "j-2"])
        self.assertFalse(self.revoked("j-1"))
        running = self.files()
        running.settle()
        self.assertTrue(self.revoked("j-1"))
        written = self.revocations_path.stat().st_ino
        running.settle()
        self.assertEqual(self.revocations_path.stat().st_ino, written)

    def test_server_start(self) -> None:
        """A server that starts finishes it; the journal is gone then."""
        self.journal.append(REFRESH)
        self.files().adopt()
        self.assertTrue(self.revoked("j-1"))
        self.assertFalse(self.journal.path.exists())
        self.assertEqual(self.ids(self.files().read()), ["j-1", "j-2"])

    def test_half_a_line(self) -> None:
        """A line without its end has not happened, and does not spoil the next."""
        self.journal.append(REFRESH)
        whole = self.journal.path.read_bytes()
        self.journal.path.write_bytes(whole[:-1])
        self.assertFalse(self.files().read().is_revoked("j-1"))
        self.journal.append(Change((record("j-3"),)))
        self.assertEqual(self.ids(self.files().read()), ["j-1", "j-3"])
        self.journal.path.write_bytes(whole + whole[:40])
        self.journal.append(Change((record("j-3"),)))
        self.assertEqual(self.ids(self.files().read()), ["j-1", "j-2", "j-3"])

    def test_after_the_files(self) -> None:
        """A journal that was not removed any more changes nothing."""
        self.journal.append(REFRESH)
        kept = self.journal.path.read_bytes()
        self.files().adopt()
        before = self.files().read().records_text()
        self.journal.path.write_bytes(kept)
        self.assertEqual(self.files().read().records_text(), before)

    def test_lost_revocations(self) -> None:
        """A token revoked by its record alone is revoked for a server that starts."""
        with self.files().change() as ledger:
            ledger.add(record("j-1", revoked=True))
        self.assertFalse(self.revoked("j-1"))
        self.files().adopt()
        self.assertTrue(self.revoked("j-1"))

    def test_damaged(self) -> None:
        """A whole line that cannot be read is an error: nobody knows what it said."""
        for line, error in ((b"{}\n", SerializationError), (b"ENCv1:AAAA\n", StorageError)):
            self.journal.path.write_bytes(line)
            self.assertRaises(error, self.files().read)


class Large(JournalCase):
    """A ledger that is not written with every change."""

    def large(self) -> TokenFiles:
        """Return its files as one program sees them."""
        return TokenFiles(self.folder, [KEY], lambda: NOW, self.notices.append, 400)

    def put(self, files: TokenFiles, jti: str) -> None:
        """Record a token."""
        with files.add() as ledger:
            ledger.add(record(jti))

    def grow(self) -> None:
        """Record some tokens, so that there is more than a small ledger holds."""
        with self.files().change() as ledger:
            for number in range(2, 20):
                ledger.add(record(f"j-{number}"))

    def test_journal_alone(self) -> None:
        """A change leaves the ledger's file as it is; everybody sees it all the same."""
        self.grow()
        before = self.ledger_path.read_bytes()
        other = self.large()
        other.read()
        self.put(self.large(), "new")
        self.assertEqual(self.ledger_path.read_bytes(), before)
        self.assertTrue(self.journal.path.read_text().startswith(SEALED))
        self.assertEqual(self.journal.path.stat().st_mode & 0o777, 0o600)
        for files in (other, self.large(), self.files()):
            self.assertIn("new", self.ids(files.read()))

    def test_revocations_at_once(self) -> None:
        """A revocation is in its own file at once, where a server looks."""
        self.grow()
        before = self.ledger_path.read_bytes()
        with self.large().change() as ledger:
            ledger.add(record("j-3", revoked=True))
            ledger.apply(Change())
            ledger.merge(Ledger((), REFRESH.revocations))
        self.assertTrue(self.revoked("j-1"))
        self.assertEqual(self.ledger_path.read_bytes(), before)
        self.assertTrue(self.large().read().is_revoked("j-1"))

    def test_taken_in(self) -> None:
        """The journal does not grow for ever, and nothing is lost when it goes."""
        self.grow()
        first, second = self.large(), self.large()
        sizes = []
        for number in range(40):
            self.put(first if number % 2 else second, f"new-{number}")
            sizes.append(self.journal.path.stat().st_size if self.journal.path.exists() else 0)
        self.assertIn(0, sizes)
        self.assertLess(max(sizes), self.ledger_path.stat().st_size)
        for files in (first, second, self.large()):
            self.assertEqual(len(self.ids(files.read())), 19 + 40)


class FullDisk(JournalCase):
    """A disk that takes no more."""

    def test_half_written(self) -> None:
        """A change that could not be written has not happened, and the next one can."""
        self.journal.append(Change((record("j-2"),)))
        before = self.journal.path.read_bytes()
        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, allowed[1]))
        try:
            error = self.assertRaises(IoError, self.journal.append, REFRESH)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
            signal.signal(signal.SIGXFSZ, ignored)
        self.assertIn("cannot write", str(error))
        self.assertEqual(self.journal.path.read_bytes(), before)
        self.journal.append(REFRESH)
        self.assertTrue(self.files().read().is_revoked("j-1"))
