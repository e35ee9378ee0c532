"""The desk of an installation: tokens issued, listed, revoked and refreshed, keys rotated.

It works on the files of the ledger and the configuration, beside other processes that do the
same: each change holds the lock on the data directory. Nothing here imports Twisted.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from threading import Lock
from typing import Any

from eventdbx.application.issuing import TokenAsked
from eventdbx.application.ledger import Terms, require_cover
from eventdbx.application.token_records import Revocation, TokenRecord
from eventdbx.application.tokens import TTL_S_MAX, check_ttl, new_grant
from eventdbx.config import Config
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S, format_ns
from eventdbx.errors import ConfigError, InvalidToken
from eventdbx.services.keyring import (
    jwk_set,
    key_documents,
    rotate,
    token_terms,
    with_present_keys,
)
from eventdbx.services.workspace import Workspace

TTL_S_MIN = 60
"""The configured lifetime of new tokens is never taken for shorter than this."""


class TokenDesk:
    """The tokens of a workspace, as :class:`eventdbx.application.issuing.Tokens` says.

    ``config`` is asked anew for every change, since a key may have been rotated meanwhile.
    ``notice`` is told of a ledger that had to be moved aside. Threads take turns.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: Callable[[], Config],
        *,
        notice: Callable[[str], None] = lambda _line: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._files = workspace.token_files(notice)
        self._clock_ns = clock_ns
        self._turn = Lock()

    def issue(self, asked: TokenAsked, *, by: Grant | None = None) -> dict[str, Any]:
        """Issue a token; the document has the member ``token``, this once.

        Raises ConfigError for what no token can say, Unauthorized for more than ``by`` has.
        """
        now_ns = self._clock_ns()
        config = self._config()
        ttl_s = asked.ttl_s
        if ttl_s is None:
            ttl_s = max(config.auth.default_ttl_secs, TTL_S_MIN)
        members = {**asked._asdict(), "ttl_s": ttl_s}
        grant = new_grant(jti=str(uuid.uuid4()), now_s=now_ns // NS_PER_S, **members)
        if grant.not_before is not None:
            _check_start(grant)
        if by is not None:
            require_cover(by, grant.actions, grant.resources, grant.tenants)
        with self._turn, self._files.add() as ledger:
            token, record = ledger.issue(self._terms(), grant, now_ns)
        return record.document(revoked=False, token=token)

    def list(self) -> list[dict[str, Any]]:
        """Return the records that a list shows, oldest first."""
        with self._turn:
            ledger = self._files.read()
            return [ledger.document(record) for record in ledger.shown(self._clock_ns())]

    def find(self, jti: str) -> dict[str, Any]:
        """Return one record by its id; raise InvalidToken if there is none."""
        with self._turn:
            ledger = self._files.read()
            record = ledger.find(jti)
            if record is None:
                raise InvalidToken
            return ledger.document(record)

    def describe(self, text: str) -> dict[str, Any]:
        """Return what is known of a token, given itself or by its id, with its ``state``.

        That is ``active``, ``waiting`` (until ``not_before``), ``expired`` or ``revoked``;
        ``recorded`` tells whether it was issued here. Raises InvalidToken for an unknown id and
        for a token that no key of ours has signed, Unauthorized for one of other terms.
        """
        now_ns = self._clock_ns()
        with self._turn:
            ledger = self._files.read()
            signed = ledger.signed(self._terms(), text) if text.count(".") == 2 else None
            found = ledger.find(text if signed is None else signed.jti)
            if found is not None:
                record = found
            elif signed is not None:
                record = TokenRecord.of(signed, signed.issued_at * NS_PER_S)
            else:
                raise InvalidToken
            shown = ledger.document(record)
            if ledger.is_revoked(record.jti):
                shown["status"] = "revoked"
        skew_ns = self._config().auth.clock_skew_secs * NS_PER_S
        if shown["status"] == "revoked":
            state = "revoked"
        elif record.expires_at is not None and now_ns > record.expires_at + skew_ns:
            state = "expired"
        elif record.not_before is not None and now_ns + skew_ns < record.not_before:
            state = "waiting"
        else:
            state = "active"
        return {**shown, "state": state, "recorded": found is not None}

    def revoke(self, token: str, *, reason: str | None) -> dict[str, Any]:
        """Revoke a token, given itself or by its id; return its record, or what is known of it.

        A token of ours that the ledger does not know is revoked all the same.
        """
        done, record = self.revoked(token, reason=reason)
        if record is not None:
            return record.document(revoked=True)
        expires_at = None if done.expires_at is None else format_ns(done.expires_at)
        return {"jti": done.jti, "expires_at": expires_at, "status": "revoked"}

    def revoked(self, token: str, *, reason: str | None) -> tuple[Revocation, TokenRecord | None]:
        """Revoke like :meth:`revoke`; return the revocation, and the record if there is one."""
        terms = self._terms()
        with self._turn, self._files.change() as ledger:
            done, _known = ledger.revoke(
                terms, token.strip(), reason=reason, now_ns=self._clock_ns()
            )
            record = ledger.find(done.jti)
        self._workspace.revocations.look_again()
        return done, record

    def refresh(
        self,
        token: str,
        *,
        ttl_s: int | None = None,
        by: Grant | None = None,
        write_limit: int | None = None,
    ) -> tuple[dict[str, Any], str]:
        """Issue a token in the place of another; the document has the member ``token``.

        The id of the other one comes with it. Raises TokenExpired or TokenRevoked for an ended
        one, InvalidToken for an unknown one.
        """
        if ttl_s is not None:
            check_ttl(ttl_s)
        with self._turn, self._files.change() as ledger:
            issued, record, replaced = ledger.refresh(
                self._terms(),
                token.strip(),
                jti=str(uuid.uuid4()),
                ttl_s=ttl_s,
                now_ns=self._clock_ns(),
                by=by,
                write_limit=write_limit,
            )
        self._workspace.revocations.look_again()
        return record.document(revoked=False, token=issued), replaced

    def rotate_key(self, *, overlap_s: int | None = None) -> dict[str, Any]:
        """Sign with a new key from now on; the old one goes on verifying."""
        with self._turn, self._files.change() as ledger:
            config = rotate(self._workspace, ledger, overlap_s=overlap_s, now_ns=self._clock_ns())
        return key_documents(config)

    def public_keys(self) -> dict[str, Any]:
        """Return the keys that verify as a JWK set."""
        return jwk_set(self._present(), self._clock_ns() // NS_PER_S)

    def unsettled(self) -> bool:
        """Tell whether somebody may have left a change half done; costs a look at a file."""
        return self._files.unsettled

    def settle(self) -> None:
        """Finish a change whose process was killed."""
        with self._turn:
            self._files.settle()

    def _terms(self) -> Terms:
        return token_terms(self._present())

    def _present(self) -> Config:
        return with_present_keys(self._config(), self._workspace)


def _check_start(grant: Grant) -> None:
    start, end = grant.not_before, grant.expires_at
    assert start is not None
    if end is not None and start >= end:
        raise ConfigError("token not_before must be before the token expires")
    if not 0 <= start <= grant.issued_at + TTL_S_MAX:
        raise ConfigError("token not_before is out of range")
