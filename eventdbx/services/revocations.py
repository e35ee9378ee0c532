"""Which tokens are revoked, read from ``jwt_revocations.json`` whenever that file changes.

Writing it belongs to the management of tokens.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from eventdbx.errors import SerializationError
from eventdbx.services.files import read_text

REVOCATIONS_NAME = "jwt_revocations.json"


class Revocations:
    """The set of revoked token ids; a change of the file counts from the next question on.

    A server asks for every request: :meth:`look_at_most_every` lets it save the look at the file
    while one is only milliseconds old.
    """

    def __init__(
        self, path: Path, data_keys: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._look_again_at = float("-inf")
        self._changes = 0
        self._path = path
        self._name = os.fspath(path)
        self._data_keys = data_keys
        self._identity: tuple[int, int, int] | None = None
        self._revoked: frozenset[str] = frozenset()

    def __contains__(self, jti: object) -> bool:
        """Raise SerializationError, StorageError or IoError if the file cannot be understood.

        A list that cannot be read must not let anybody in, so nothing is remembered of it.
        """
        now, changes = self._clock(), self._changes
        if now < self._look_again_at:
            return jti in self._revoked
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            self._revoked, self._identity = frozenset(), None
            self._looked(now, changes)
            return False
        except OSError:
            found = None
        identity = None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
        if identity is None or identity != self._identity:
            self._revoked = self._read()
            self._identity = identity
        if identity is not None:
            self._looked(now, changes)
        return jti in self._revoked

    def _looked(self, now: float, changes: int) -> None:
        if changes == self._changes:
            self._look_again_at = now + self._pause_s

    def look_again(self) -> None:
        """Look at the file for the next question: it has just been changed here. Any thread may
        say so."""
        self._changes += 1
        self._look_again_at = float("-inf")

    def look_at_most_every(self, seconds: float) -> None:
        """Let that much time pass before the file is looked at again."""
        self._pause_s = seconds

    def _read(self) -> frozenset[str]:
        from eventdbx.application.sealing import unseal  # Heavy; most commands never ask.

        text = unseal(read_text(self._path) or "", self._data_keys)
        if not text.strip():
            return frozenset()
        try:
            return frozenset(str(entry["jti"]) for entry in json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise SerializationError(f"cannot read {self._path}: {error}") from None
