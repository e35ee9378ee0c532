"""The files of the ledger: ``tokens.json`` and ``jwt_revocations.json`` of an installation.

They are sealed with the data key, readable by their owner alone, and changed under a lock. What
they mean is in :mod:`eventdbx.application.ledger`; the server reads revocations by itself
(:mod:`eventdbx.services.revocations`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eventdbx.application.ledger import (
    Ledger,
    LegacyLedger,
    TokenRecord,
    read_records,
    read_revocations,
    records_text,
    revocations_text,
)
from eventdbx.application.tokens import seal, unseal
from eventdbx.services.files import locked_directory, read_text, replace_text
from eventdbx.services.revocations import REVOCATIONS_NAME

LEDGER_NAME = "tokens.json"
LEGACY_SUFFIX = ".legacy"

_DOMAINS = ("domains/*", "shards/*/tenants/*")
"""Where older programs kept files for each domain."""


class TokenFiles:
    """The ledger of the installation in ``folder``.

    Files that older programs keep for each domain are read, too: their tokens and revocations
    come into the ledger with its next change. ``clock_ns`` gives nanoseconds since the epoch.
    ``notice`` is told, in one line, of a file that had to be moved aside.
    """

    def __init__(
        self,
        folder: Path,
        data_keys: Sequence[str],
        clock_ns: Callable[[], int],
        notice: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._data_keys = data_keys
        self._clock_ns = clock_ns
        self._notice = notice

    def read(self) -> Ledger:
        """Return the present content.

        Raises ConfigError without the key of a sealed file, StorageError with a wrong one,
        SerializationError for content that is none, IoError.
        """
        ledger = self._read_folder(self._folder)
        self._merge_domains(ledger)
        return ledger

    def _merge_domains(self, ledger: Ledger) -> bool:
        """Add what older programs recorded for each domain; tell whether any of it was new."""
        found = False
        for pattern in _DOMAINS:
            for folder in sorted(self._folder.glob(pattern)):
                found |= ledger.merge(self._read_folder(folder))
        return found

    def adopt(self) -> None:
        """Take over revocations of each domain's file, so that a server knows them.

        Raises what :meth:`read` raises.
        """
        with locked_directory(self._folder):
            ledger = self._read_folder(self._folder)
            if self._merge_domains(ledger):
                self._write(ledger)

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
        ledger = self.read()
        yield ledger
        self._write(ledger)

    def _write(self, ledger: Ledger) -> None:
        ledger.prune(self._clock_ns())
        # Revocations first: after a crash in between a token may look active and be refused, but
        # never the other way round.
        if ledger.revocations or (self._folder / REVOCATIONS_NAME).exists():
            self._replace(REVOCATIONS_NAME, revocations_text(ledger))
        self._replace(LEDGER_NAME, records_text(ledger))

    def _read_folder(self, folder: Path) -> Ledger:
        revocations = folder / REVOCATIONS_NAME
        text = unseal(read_text(revocations) or "", self._data_keys)
        return Ledger(
            self._records(folder / LEDGER_NAME), read_revocations(text, os.fspath(revocations))
        )

    def _records(self, path: Path) -> list[TokenRecord]:
        text = unseal(read_text(path) or "", self._data_keys, "tokens")
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
        replace_text(self._folder / name, text)
