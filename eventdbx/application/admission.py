"""Who gets in: tokens and proofs of possession, within the budget of the address they come from.

A token that the verifier knows, or that the ledger has, is judged whatever its address has tried
before: good clients behind the address of an attacker go on. Only strangers have a budget, and it
is looked at before anything expensive is done for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from eventdbx.application.attempts import Attempts
from eventdbx.application.tokens import Verifier
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, EventDBXError, InvalidToken, TokenExpired, Unauthorized
from eventdbx.wire.codec_hello import UNKNOWN_ID

T = TypeVar("T")


class Issued(NamedTuple):
    """A token that the ledger has: what it grants, and the digest that proves it.

    ``revoked`` is the ledger's word; the list of revocations is asked besides. ``key_mark`` tells
    the key that signed it.
    """

    grant: Grant
    digest: bytes
    revoked: bool = False
    key_mark: str | None = None


class IssuedTokens(Protocol):
    """The issued tokens; both questions have to be fast."""

    def find(self, jti: str) -> Issued | None:
        """Return the token of an id, None when it is unknown or recorded without its digest."""

    def has(self, token: str) -> bool:
        """Tell whether the ledger has exactly this token."""


class NoneIssued:
    """The issued tokens of a server without a ledger."""

    def find(self, _jti: str) -> Issued | None:
        """Return None: nothing was issued here."""
        return None

    def has(self, _token: str) -> bool:
        """Return False."""
        return False


class Admission:
    """Judges tokens of strangers. ``address`` is the peer's, without its port."""

    def __init__(
        self, verifier: Verifier, attempts: Attempts, issued: IssuedTokens | None = None
    ) -> None:
        self.verifier = verifier
        self.attempts = attempts
        self._issued: IssuedTokens = issued or NoneIssued()

    def cached(self, token: str) -> Grant | None:
        """Return the grant of a token that was verified before and is still good, None else."""
        return self.verifier.cached(token)

    def verify(self, token: str, address: str) -> Grant:
        """Return the grant of a token; raise AttemptsExceeded, or what the verifier raises."""
        grant = self.verifier.cached(token)
        if grant is not None:
            return grant
        return self._within_budget(
            lambda: self.verifier.verify(token), address, known=self._issued.has(token)
        )

    def check(self, token: str, address: str) -> None:
        """Raise AttemptsExceeded for a stranger's token from an address without budget."""
        if self.verifier.cached(token) is None and not self._issued.has(token):
            self.attempts.check(address)

    def issued(self, jti: str, address: str) -> Issued:
        """Return the token of an id, if it counts now; its holder is to prove it.

        Raises ConfigError for an unknown id, AttemptsExceeded, or what the verifier raises.
        """
        found = self._issued.find(jti)

        def judge() -> Issued:
            if found is None:
                raise ConfigError(UNKNOWN_ID)
            if found.revoked:
                raise InvalidToken
            self.verifier.check(found.grant, self.verifier.key_until(found.key_mark))
            return found

        return self._within_budget(judge, address, known=found is not None)

    def unproven(self, address: str) -> None:
        """Count a peer that named a token and could not prove it."""
        self.attempts.failed(address)

    def still_counts(self, grant: Grant) -> bool:
        """Tell whether a grant that was admitted before is neither ended nor revoked."""
        try:
            self.verifier.check(grant)
        except EventDBXError:
            return False
        return True

    def left_s(self, grant: Grant) -> float:
        """Return for how many seconds an admitted grant may go on, whatever the clock says then."""
        return self.verifier.left_s(grant)

    def _within_budget(self, judge: Callable[[], T], address: str, *, known: bool) -> T:
        if not known:
            self.attempts.check(address)
        try:
            return judge()
        except (ConfigError, InvalidToken, TokenExpired, Unauthorized):
            # A token of ours that has ended is no guess, and its holder may go on trying.
            if not known:
                self.attempts.failed(address)
            raise
