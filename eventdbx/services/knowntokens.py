"""The issued tokens as the listeners ask for them: by id, and by the token itself.

Read from ``tokens.json`` and its journal whenever something is asked that was not known and either
has changed since; writing them is in :mod:`eventdbx.services.tokenfiles`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from eventdbx.application.admission import Admission, Issued
from eventdbx.application.attempts import Attempts
from eventdbx.application.large_ledger import proofs
from eventdbx.application.sealing import unseal
from eventdbx.application.token_keys import verification_keys
from eventdbx.application.token_records import TokenRecord, read_records, record_text
from eventdbx.application.tokens import Verifier
from eventdbx.config import Config
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S
from eventdbx.errors import EventDBXError, SerializationError
from eventdbx.services.files import read_text
from eventdbx.services.keyring import KeyWatch
from eventdbx.services.tokenfiles import LEDGER_NAME
from eventdbx.services.tokenjournal import Journal, goes_on
from eventdbx.services.workspace import Workspace
from eventdbx.wire.noise import pre_shared_key

TRY_AGAIN_S = 1.0
"""How long a ledger that could not be read is left alone: reading a large one takes a while."""

_UNREAD = (-1, -1, -1)
"""No file is this one."""


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
        self._identity: tuple[int, int, int] | None = None
        self._journal = Journal(path.parent, data_keys)
        self._journal_read: tuple[int, int] | None = None
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

    def _changed(self) -> bool:
        """Read what is new in the files; tell whether anything was."""
        if self._clock() < self._try_again_at:
            return False
        journal, identity = self._journal.identity(), _identity(self._path)
        whole = identity != self._identity or not goes_on(self._journal_read, journal)
        if not whole and journal == self._journal_read:
            return False
        try:
            self._take_up(whole, identity, journal)
            if self._identity != _identity(self._path):  # The journal went into it meanwhile.
                self._take_up(True, _identity(self._path), self._journal.identity())
        except EventDBXError as error:
            self.log.error("the issued tokens cannot be read: {reason}", reason=str(error))
            self._identity, self._journal_read = _UNREAD, None
            self._try_again_at = self._clock() + TRY_AGAIN_S
        return True

    def _take_up(
        self,
        whole: bool,
        identity: tuple[int, int, int] | None,
        journal: tuple[int, int] | None,
    ) -> None:
        if whole:
            self._records, self._digests = self._read()
            self._journal_read = None
        self._identity = identity
        self._read_journal(journal)

    def _read_journal(self, journal: tuple[int, int] | None) -> None:
        """Take up the changes that are not in the ledger's file yet."""
        if journal is None:
            self._journal_read = None
            return
        offset = 0 if self._journal_read is None else self._journal_read[1]
        changes, end = self._journal.read(offset)
        for change in changes:
            for record in change.records:
                if record.digest is not None:
                    self._records[record.jti] = record_text(record)
                    self._digests.add(bytes.fromhex(record.digest))
            for jti in change.forgotten:
                self._records.pop(jti, None)
        self._journal_read = journal[0], end

    def _read(self) -> tuple[dict[str, bytes], set[bytes]]:
        text = unseal(read_text(self._path) or "", self._data_keys, "tokens")
        try:
            cut = proofs(text)
            if cut is not None:
                found = list(cut)
                digests = {bytes.fromhex(digest) for _jti, digest, _text in found}
                return {jti: record.encode() for jti, _digest, record in found}, digests
            entries: list[dict[str, Any]] = orjson.loads(text) if text.strip() else []
            proven = [one for one in entries if one.get("digest") is not None]
            records = {one["jti"]: orjson.dumps(one) for one in proven}
            return records, {bytes.fromhex(one["digest"]) for one in proven}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SerializationError(f"cannot read {self._path}: {error}") from None


def make_admission(config: Config, workspace: Workspace, clock: IReactorTime) -> Admission:
    """Return what judges tokens at the listeners of an installation. Raises ConfigError."""
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
    data_keys = [key for key in (config.data_encryption_key, *config.data_encryption_keys) if key]
    issued = KnownTokens(workspace.data_dir / LEDGER_NAME, data_keys)
    issued.look()
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
