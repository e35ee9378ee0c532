"""The files of the ledger: ``tokens.json`` and ``jwt_revocations.json`` of an installation.

They are sealed with the data key, readable by their owner alone, and changed under a lock. A
change counts once it is a line of the journal (:mod:`eventdbx.services.tokenjournal`). The two
files follow at once while they are small; a large ``tokens.json`` only now and then, since writing
it anew for each token would take seconds. What they mean is in
:mod:`eventdbx.application.ledger`; the server reads revocations by itself
(:mod:`eventdbx.services.revocations`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from eventdbx.application.large_ledger import LargeRecords, pieces
from eventdbx.application.ledger import Ledger
from eventdbx.application.sealing import seal, unseal
from eventdbx.application.token_records import (
    Change,
    LegacyLedger,
    Revocation,
    TokenRecord,
    read_records,
    read_revocations,
)
from eventdbx.errors import IoError
from eventdbx.services.files import locked_directory, read_text, replace_text, sweep_leftovers
from eventdbx.services.revocations import REVOCATIONS_NAME
from eventdbx.services.tokenjournal import Journal, goes_on

LEDGER_NAME = "tokens.json"
LEGACY_SUFFIX = ".legacy"

SMALL_BYTES = 1 << 20
"""A ledger up to this size is written with every change."""

_DOMAINS = ("domains/*", "shards/*/tenants/*")
"""Where older programs kept files for each domain."""

_TRIES = 5

Identity = tuple[int, int, int] | None


class _Seen(NamedTuple):
    """A ledger as it was read, and what tells whether its files have changed since."""

    ledger: Ledger
    files: tuple[Identity, ...]
    journal: tuple[int, int] | None


class TokenFiles:
    """The ledger of the installation in ``folder``.

    Files that older programs keep for each domain are read, too: their tokens and revocations
    come into the ledger with its next change. ``clock_ns`` gives nanoseconds since the epoch.
    ``notice`` is told, in one line, of a file that had to be moved aside; a ledger of up to
    ``small_bytes`` is written with every change. What was read is kept
    in memory for as long as the files stay the same; only one thread at a time may use it.
    """

    def __init__(
        self,
        folder: Path,
        data_keys: Sequence[str],
        clock_ns: Callable[[], int],
        notice: Callable[[str], None],
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        self._folder = folder
        self._data_keys = data_keys
        self._clock_ns = clock_ns
        self._notice = notice
        self._small_bytes = small_bytes
        self._journal = Journal(folder, data_keys)
        self._seen: _Seen | None = None
        self._settled: tuple[int, int] | None = None

    def read(self) -> Ledger:
        """Return the present content; the caller does not change it.

        Raises ConfigError without the key of a sealed file, StorageError with a wrong one,
        SerializationError for content that is none, IoError.
        """
        for _ in range(_TRIES):
            ledger = self._load()
            if self._seen is not None and self._look() == self._seen[1:]:
                return ledger
        with locked_directory(self._folder):  # Somebody changes it all the time.
            return self._load()

    def _look(self) -> tuple[tuple[Identity, ...], tuple[int, int] | None]:
        """Return what tells whether any file has changed."""
        folders = [self._folder, *self._domain_folders()]
        names = (LEDGER_NAME, REVOCATIONS_NAME)
        files = tuple(_identity(folder / name) for folder in folders for name in names)
        return files, self._journal.identity()

    def _domain_files(self) -> list[Path]:
        names = (LEDGER_NAME, REVOCATIONS_NAME)
        files = [folder / name for folder in self._domain_folders() for name in names]
        return [path for path in files if path.exists()]

    def _domain_folders(self) -> list[Path]:
        found = [one for pattern in _DOMAINS for one in sorted(self._folder.glob(pattern))]
        return [one for one in found if one.is_dir()]

    def _load(self) -> Ledger:
        """Return the ledger, from memory where the files are the ones that were read."""
        seen, (files, journal) = self._seen, self._look()
        if seen is not None and seen.files == files:
            if seen.journal == journal:
                return seen.ledger
            if goes_on(seen.journal, journal):
                ledger, offset = seen.ledger, 0 if seen.journal is None else seen.journal[1]
                self._seen = None
                return self._replay(ledger, files, journal, offset)
        self._seen = None
        ledger = self._read_folder(self._folder)
        self._merge_domains(ledger)
        return self._replay(ledger, files, journal, 0)

    def _replay(
        self,
        ledger: Ledger,
        files: tuple[Identity, ...],
        journal: tuple[int, int] | None,
        offset: int,
    ) -> Ledger:
        """Apply the journal from an offset on, and remember how far it went."""
        changes, end = self._journal.read(offset)
        for change in changes:
            ledger.apply(change)
        self._seen = _Seen(ledger, files, None if journal is None else (journal[0], end))
        return ledger

    def _merge_domains(self, ledger: Ledger) -> bool:
        """Add what older programs recorded for each domain; tell whether any of it was new."""
        found = False
        for folder in self._domain_folders():
            found |= ledger.merge(self._read_folder(folder))
        return found

    def adopt(self) -> None:
        """Take over revocations of each domain's file, so that a server knows them.

        What a process left half done that was killed is finished, too. Raises what :meth:`read`
        raises.
        """
        with locked_directory(self._folder):
            whole = (self._folder / REVOCATIONS_NAME).exists() and not self._domain_files()
            if whole and not self._is_small():
                self._settle()
                return
            ledger = self._load()
            ledger.roll_forward(self._clock_ns())
            if ledger.has_changed or self._journal.identity() is not None:
                self._commit(ledger)

    @property
    def unsettled(self) -> bool:
        """Tell whether the journal has grown since :meth:`settle`; any thread may ask."""
        return self._journal.identity() != self._settled

    def settle(self) -> None:
        """Finish a change whose process was killed. Raises what :meth:`read` raises."""
        with locked_directory(self._folder):
            self._settle()

    def seal_anew(self) -> None:
        """Write both files once more, sealed with the present key, and no journal.

        Raises what :meth:`read` raises.
        """
        with locked_directory(self._folder):
            self._checkpoint(self._load())

    def _settle(self) -> None:
        """Bring revocations of the journal to where servers look; records can wait."""
        journal = self._journal.identity()
        known = Ledger((), self._revocations(self._folder))
        changes, _end = self._journal.read()
        pending = [one for change in changes for one in change.revocations]
        if not all(known.is_revoked(one.jti) for one in pending):
            known.apply(Change((), tuple(pending)))
            self._write_revocations(known)
        self._settled = journal

    @contextmanager
    def change(self) -> Iterator[Ledger]:
        """Let the caller change the ledger; it is written at the end unless something is raised.

        Raises what :meth:`read` raises.
        """
        with locked_directory(self._folder):
            with self.change_locked() as ledger:
                yield ledger

    @contextmanager
    def change_locked(self) -> Iterator[Ledger]:
        """Like :meth:`change`, for a caller that holds the lock on the folder."""
        ledger = self._load()
        try:
            yield ledger
            self._commit(ledger)
        except BaseException:
            self._seen = None
            raise

    @contextmanager
    def add(self) -> Iterator[Ledger]:
        """Let the caller add records to a ledger that is empty as far as they can see.

        A large ledger need not be read for that. Raises what :meth:`read` raises.
        """
        with locked_directory(self._folder):
            if self._is_small() or self._seen is not None:
                with self.change_locked() as ledger:
                    yield ledger
                return
            ledger = Ledger()
            yield ledger
            self._journal.append(ledger.take_change())
            if self._journal_is_long():
                self._checkpoint(self._load())

    def _commit(self, ledger: Ledger) -> None:
        change = ledger.take_change()
        if any(change):
            self._journal.append(change)
        if self._is_small() or self._journal_is_long():
            self._checkpoint(ledger)
        else:
            if change.revocations:
                self._write_revocations(ledger)
            self._seen = _Seen(ledger, *self._look())

    def _is_small(self) -> bool:
        sizes = (_size(self._folder / name) for name in (LEDGER_NAME, REVOCATIONS_NAME))
        return max(sizes) <= self._small_bytes

    def _journal_is_long(self) -> bool:
        longest = max(_size(self._folder / LEDGER_NAME) // 4, self._small_bytes)
        return _size(self._journal.path) > longest

    def _checkpoint(self, ledger: Ledger) -> None:
        """Write both files; the journal goes last, so that a crash leaves nothing out."""
        ledger.prune(self._clock_ns())
        if ledger.revocations or (self._folder / REVOCATIONS_NAME).exists():
            self._write_revocations(ledger)
        self._replace(LEDGER_NAME, ledger.records_text())
        self._journal.clear()
        self._seen = _Seen(ledger, *self._look())

    def _write_revocations(self, ledger: Ledger) -> None:
        self._replace(REVOCATIONS_NAME, ledger.revocations_text())

    def _read_folder(self, folder: Path) -> Ledger:
        return Ledger(self._records(folder / LEDGER_NAME), self._revocations(folder))

    def _revocations(self, folder: Path) -> list[Revocation]:
        path = folder / REVOCATIONS_NAME
        text = unseal(read_text(path) or "", self._data_keys)
        return [one for piece in pieces(text) for one in read_revocations(piece, os.fspath(path))]

    def _records(self, path: Path) -> list[TokenRecord] | LargeRecords:
        text = unseal(read_text(path) or "", self._data_keys, "tokens")
        if len(text) > self._small_bytes:
            return LargeRecords(text, os.fspath(path))
        try:
            return read_records(text, os.fspath(path))
        except LegacyLedger:
            aside = path.with_name(path.name + LEGACY_SUFFIX)
            os.replace(path, aside)
            self._notice(f"{path} is of a version before 2.0 and was moved to {aside}")
            return []

    def _replace(self, name: str, text: str) -> None:
        if self._data_keys:
            text = seal(text, self._data_keys[0], os.urandom(12))
        sweep_leftovers(self._folder / name)
        replace_text(self._folder / name, text)


def _identity(path: Path) -> Identity:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise IoError(f"cannot read {path}: {error.strerror}") from None
