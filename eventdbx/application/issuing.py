"""What surfaces may ask about tokens and signing keys, whoever keeps the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from eventdbx.domain.grants import Grant


class TokenAsked(NamedTuple):
    """A token to issue. ``ttl_s`` None takes the configured lifetime, 0 never ends; ``not_before``
    is in seconds since the epoch. Blank subject and no resources as in ``tokens.new_grant``."""

    group: str
    user: str
    actions: Sequence[str]
    subject: str = ""
    resources: Sequence[str] = ()
    tenants: Sequence[str] = ()
    ttl_s: int | None = None
    not_before: int | None = None
    issued_by: str = "admin"
    write_limit: int | None = None
    keep_alive: bool = False


class Tokens(Protocol):
    """Issued tokens as documents (members as ``TokenRecord.document``). Every method touches
    files: call it on a thread. Raises EventDBXError; InvalidToken for an unknown token."""

    def issue(self, asked: TokenAsked, *, by: Grant | None = None) -> dict[str, Any]:
        """Issue a token; the document has the member ``token``, this once.

        ``by`` is who asks: actions, resources and tenants must be covered by theirs
        (Unauthorized otherwise). None is the operator on the files.
        """

    def list(self) -> list[dict[str, Any]]:
        """Return the records that a list shows, oldest first."""

    def find(self, jti: str) -> dict[str, Any]:
        """Return one record by its id."""

    def describe(self, text: str) -> dict[str, Any]:
        """Return what is known of a token, given itself or by its id, with its ``state``."""

    def revoke(self, token: str, *, reason: str | None) -> dict[str, Any]:
        """Revoke a token, given itself or by its id; return its record, or what is known of it."""

    def refresh(
        self, token: str, *, ttl_s: int | None = None, by: Grant | None = None
    ) -> tuple[dict[str, Any], str]:
        """Issue a token in the place of another; return its document and the id of the other.

        Raises TokenExpired or TokenRevoked for an ended one.
        """

    def rotate_key(self, *, overlap_s: int | None = None) -> dict[str, Any]:
        """Sign with a new key from now on; return ``key_id``, ``public_key`` and ``previous``
        (key ids that verify still, each with ``not_after``). The old key goes on verifying for
        ``overlap_s`` seconds, None for as long as any token that was issued under it."""

    def public_keys(self) -> dict[str, Any]:
        """Return the keys that verify as a JWK set (RFC 7517, RFC 8037)."""
