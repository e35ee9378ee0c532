"""The issued tokens as the listeners ask for them: by id, and by the token itself.

Read from ``tokens.json`` and its journal whenever something is asked that was not known and either
has changed since; writing them is in :mod:`eventdbx.services.tokenfiles`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.application.admission import Admission, Issued
from eventdbx.application.attempts import Attempts
from eventdbx.application.large_ledger import proofs
from eventdbx.application.sealing import unseal
from eventdbx.application.token_keys import verification_keys
from eventdbx.application.token_records import Change, TokenRecord, read_records, record_text
from eventdbx.application.tokens import Verifier
from eventdbx.config import Config
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S
from eventdbx.errors import EventDBXError, SerializationError
from eventdbx.services.files import read_text
from eventdbx.services.keyring import KeyWatch
from eventdbx.services.tokenfiles import LEDGER_NAME, SMALL_BYTES
from eventdbx.services.tokenjournal import Journal, goes_on
from eventdbx.services.workspace import Workspace
from eventdbx.wire.noise import pre_shared_key

TRY_AGAIN_S = 1.0
"""How long a ledger that could not be read is left alone: reading a large one takes a while."""

_UNREAD = (-1, -1, -1)
"""No file is this one."""


_TRIES = 5

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]


class _Files(NamedTuple):
    """Which files were read: of the journal, which one and how far."""

    ledger: tuple[int, int, int] | None
    journal: tuple[int, int] | None


class _Read(NamedTuple):
    records: dict[str, bytes]
    digests: set[bytes]
    files: _Files


class KnownTokens:
    """What the ledger at ``path`` says of issued tokens.

    Records are kept as the text of each, which is small, and read when they are asked for. While
    the ledger cannot be read, what was read before counts; the log says so, and it is tried again
    after a while: the cause may be one that passes, such as too many open files. ``clock`` gives
    monotonic seconds.
    """

    log = Logger()

    def __init__(
        self, path: Path, data_keys: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._try_again_at = float("-inf")
        self._data_keys = data_keys
        self._files = _Files(None, None)
        self._journal = Journal(path.parent, data_keys)
        self._run: RunSlowly | None = None
        self._reading = False
        self._records: dict[str, bytes] = {}
        self._digests: set[bytes] = set()

    def look(self) -> None:
        """Read what is new now, so that nobody has to wait for it later."""
        self._changed()

    def find(self, jti: str) -> Issued | None:
        """Return the token of an id, None when it is unknown or recorded without its digest."""
        text = self._records.get(jti)
        if text is None and self._changed():
            text = self._records.get(jti)
        if text is None:
            return None
        record = read_records(f"[{text.decode()}]", os.fspath(self._path))[0]
        assert record.digest is not None
        digest = bytes.fromhex(record.digest)
        return Issued(_grant(record), digest, record.status_revoked, record.key_mark)

    def has(self, token: str) -> bool:
        """Tell whether the ledger has exactly this token."""
        digest = pre_shared_key(token)
        return digest in self._digests or (self._changed() and digest in self._digests)

    def read_slowly_by(self, run: RunSlowly) -> None:
        """Read what is large on a thread from now on.

        Until that is done what was read before counts, and what the journal adds.
        """
        self._run = run

    def _changed(self) -> bool:
        """Read what is new in the files; tell whether anything was."""
        if self._clock() < self._try_again_at:
            return False
        found = _Files(_identity(self._path), self._journal.identity())
        whole = found.ledger != self._files.ledger and not self._reading
        whole = whole or not goes_on(self._files.journal, found.journal)
        if not whole and found.journal == self._files.journal:
            return False
        if self._run is not None and self._is_much(whole, found):
            if not self._reading:
                self._read_slowly(self._run)
            return False
        try:
            if whole and not self._reading:
                self._take_up(self._read())
            else:
                self._read_journal(found.journal)
        except EventDBXError as error:
            self._failed(str(error))
        return True

    def _is_much(self, whole: bool, found: _Files) -> bool:
        offset = 0 if whole or self._files.journal is None else self._files.journal[1]
        size = found.ledger[1] if whole and found.ledger is not None else 0
        grown = 0 if found.journal is None else found.journal[1] - offset
        return size > SMALL_BYTES or grown > SMALL_BYTES // 4

    def _read_slowly(self, run: RunSlowly) -> None:
        self._reading = True
        self._files = self._files._replace(journal=None)  # It may have begun anew.

        def taken(outcome: _Read | Failure) -> None:
            self._reading = False
            if not isinstance(outcome, Failure):
                self._take_up(outcome)
            else:
                self._failed(outcome.getErrorMessage())

        run(self._read).addBoth(taken)

    def _take_up(self, read: _Read) -> None:
        self._records, self._digests, self._files = read

    def _failed(self, reason: str) -> None:
        self.log.error("the issued tokens cannot be read: {reason}", reason=reason)
        self._files = _Files(_UNREAD, None)
        self._try_again_at = self._clock() + TRY_AGAIN_S

    def _read_journal(self, journal: tuple[int, int] | None) -> None:
        """Take up the changes that are not in the ledger's file yet."""
        known = self._files.journal if goes_on(self._files.journal, journal) else None
        read = None
        if journal is not None:
            changes, end = self._journal.read(0 if known is None else known[1])
            _apply(changes, self._records, self._digests)
            read = journal[0], end
        self._files = self._files._replace(journal=read)

    def _read(self) -> _Read:
        """Read everything; on any thread."""
        for _ in range(_TRIES):
            files = _Files(_identity(self._path), self._journal.identity())
            records, digests = self._read_ledger()
            changes, end = self._journal.read()
            _apply(changes, records, digests)
            if files.ledger == _identity(self._path):  # Else the journal went into it meanwhile.
                break
        read = None if files.journal is None else (files.journal[0], end)
        return _Read(records, digests, files._replace(journal=read))

    def _read_ledger(self) -> tuple[dict[str, bytes], set[bytes]]:
        text = unseal(read_text(self._path) or "", self._data_keys, "tokens")
        try:
            cut = proofs(text)
            if cut is not None:
                found = [(jti, bytes.fromhex(one), record.encode()) for jti, one, record in cut]
                return {jti: record for jti, _digest, record in found}, {one[1] for one in found}
            entries: list[dict[str, Any]] = orjson.loads(text) if text.strip() else []
            proven = [one for one in entries if one.get("digest") is not None]
            records = {one["jti"]: orjson.dumps(one) for one in proven}
            return records, {bytes.fromhex(one["digest"]) for one in proven}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SerializationError(f"cannot read {self._path}: {error}") from None


def _apply(changes: Iterable[Change], records: dict[str, bytes], digests: set[bytes]) -> None:
    for change in changes:
        for record in change.records:
            if record.digest is not None:
                records[record.jti] = record_text(record)
                digests.add(bytes.fromhex(record.digest))
        for jti in change.forgotten:
            records.pop(jti, None)


def make_admission(
    config: Config, workspace: Workspace, clock: IReactorTime, run_slowly: RunSlowly
) -> Admission:
    """Return what judges tokens at the listeners of an installation. Raises ConfigError.

    Before it returns the ledger is read; what is large of it is read by ``run_slowly`` later.
    """
    auth = config.auth
    verifier = Verifier(
        verification_keys(config),
        issuer=auth.issuer,
        audience=auth.audience,
        skew_s=auth.clock_skew_secs,
        clock=time.time,
        is_revoked=workspace.is_revoked,
        newer_keys=KeyWatch(workspace, lambda: config),
    )
    data_keys = workspace.shared_keys
    issued = KnownTokens(workspace.data_dir / LEDGER_NAME, data_keys)
    issued.look()
    issued.read_slowly_by(run_slowly)
    workspace.revocations.read_slowly_by(
        run_slowly, Journal(workspace.data_dir, data_keys), workspace.data_dir / LEDGER_NAME
    )
    return Admission(verifier, Attempts(clock.seconds, auth.failures_per_minute), issued)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _grant(record: TokenRecord) -> Grant:
    """Return what the recorded token says."""
    expires_at = None if record.expires_at is None else record.expires_at // NS_PER_S
    not_before = None if record.not_before is None else record.not_before // NS_PER_S
    return Grant(
        jti=record.jti,
        subject=record.subject,
        group=record.group,
        user=record.user,
        actions=record.actions,
        resources=record.resources,
        tenants=record.tenants,
        issued_at=record.issued_at // NS_PER_S,
        expires_at=expires_at,
        not_before=not_before,
        issued_by=record.issued_by,
        write_limit=record.write_limit,
        keep_alive=record.keep_alive,
    )
