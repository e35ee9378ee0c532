"""Which tokens are revoked, read from ``jwt_revocations.json`` whenever that file changes.

Writing it belongs to the management of tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from eventdbx.errors import EventDBXError, SerializationError
from eventdbx.services.files import read_text

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from eventdbx.services.tokenjournal import Journal

REVOCATIONS_NAME = "jwt_revocations.json"

LARGE_BYTES = 1 << 20
"""Reading more than that would keep a server's requests waiting."""

_Identity = tuple[int, int, int] | None
_Run = Callable[[Callable[[], Any]], "Deferred[Any]"]


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
        self._large: _Large | None = None

    def __contains__(self, jti: object) -> bool:
        """Raise SerializationError, StorageError or IoError if the file cannot be understood.

        A list that cannot be read must not let anybody in, so nothing is remembered of it.
        """
        now, changes = self._clock(), self._changes
        if now < self._look_again_at:
            return self._has(jti)
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            self._revoked, self._identity = frozenset(), None
            if self._large is not None:
                self._large.begin(None)
            self._looked(now, changes)
            return False
        except OSError:
            found = None
        identity = None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
        if identity is None or identity != self._identity:
            if self._large is None or not self._large.goes_on(identity):
                if self._large is not None:
                    self._large.begin(identity)
                self._revoked = self._read()
                self._identity = identity
        if identity is not None:
            self._looked(now, changes)
        return self._has(jti)

    def _has(self, jti: object) -> bool:
        return jti in self._revoked or (self._large is not None and jti in self._large.added)

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

    def read_slowly_by(self, run: _Run, journal: Journal, ledger: Path) -> None:
        """Read a large file on a thread from now on.

        Until that is done what was read before counts, and what the journal of the ledger has
        revoked since, where each revocation is first of all. Where that cannot be told, since the
        journal went into the files meanwhile, the file is read at once all the same.
        """

        def take_up(revoked: frozenset[str], identity: _Identity) -> None:
            self._revoked, self._identity = revoked, identity

        self._large = _Large(run, journal, ledger, self._read, take_up)
        self._identity = None
        self.look_again()
        with suppress(EventDBXError):
            self.__contains__("")  # The first time it is read at once.

    def _read(self) -> frozenset[str]:
        from eventdbx.application.sealing import unseal  # Heavy; most commands never ask.

        text = unseal(read_text(self._path) or "", self._data_keys)
        if not text.strip():
            return frozenset()
        from eventdbx.application.large_ledger import pieces

        try:
            # In pieces: other threads stand still while one is read.
            return frozenset(
                str(entry["jti"]) for piece in pieces(text) for entry in orjson.loads(piece)
            )
        except (ValueError, TypeError, KeyError) as error:
            raise SerializationError(f"cannot read {self._path}: {error}") from None


class _Large:
    """The way of a large file into the set of revocations: ``read`` on a thread, then
    ``take_up``. ``added`` is everything that the journal has revoked: what is in neither is not
    revoked, and whatever is revoked later changes the file again."""

    def __init__(
        self,
        run: _Run,
        journal: Journal,
        ledger: Path,
        read: Callable[[], frozenset[str]],
        take_up: Callable[[frozenset[str], _Identity], None],
    ) -> None:
        self._run = run
        self._journal = journal
        self._ledger = ledger
        self._read = read
        self._take_up = take_up
        self._reading = False
        self._begun: tuple[_Identity, tuple[int, int] | None] | None = None
        self._times_begun = 0
        self.added: set[str] = set()

    def begin(self, identity: _Identity) -> None:
        """Read the journal, before the file is read at once; of a small file only that counts.

        Raises what reading the journal raises.
        """
        self._times_begun += 1
        self._begun, self.added = None, set()
        if _is_large(identity):
            ledger, journal = _identity(self._ledger), self._journal.identity()
            self._follow(ledger, journal, 0)

    def _follow(self, ledger: _Identity, journal: tuple[int, int] | None, offset: int) -> None:
        changes, end = ([], 0) if journal is None else self._journal.read(offset)
        self.added |= {one.jti for change in changes for one in change.revocations}
        self._begun = ledger, None if journal is None else (journal[0], end)

    def goes_on(self, identity: _Identity) -> bool:
        """Add what the journal says since, and begin to read the file; False if it must be read
        at once. Raises what reading the journal raises."""
        from eventdbx.services.tokenjournal import goes_on

        journal = self._journal.identity()
        if not _is_large(identity) or self._begun is None:
            return False
        ledger, known = self._begun
        # Before a journal goes, the ledger's file is written.
        if journal is None or not goes_on(known, journal) or ledger != _identity(self._ledger):
            return False
        self._follow(ledger, journal, 0 if known is None else known[1])
        if ledger != _identity(self._ledger):
            return False
        if not self._reading:
            self._reading = True
            self._run(self._read).addCallbacks(
                self._taken, self._failed, callbackArgs=(identity, self._times_begun)
            )
        return True

    def _taken(self, revoked: frozenset[str], identity: _Identity, times_begun: int) -> None:
        self._reading = False
        if times_begun == self._times_begun:  # Else the file was read at once meanwhile.
            self._take_up(revoked, identity)

    def _failed(self, _failure: object) -> None:
        """Let the next question find out, and be answered with the reason."""
        self._reading, self._begun = False, None


def _is_large(identity: _Identity) -> bool:
    return identity is not None and identity[1] > LARGE_BYTES


def _identity(path: Path) -> _Identity:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
