"""The ledger: which tokens were issued, which are revoked, and what may become of either.

How records are written is in :mod:`eventdbx.application.token_records`, where the files are and
how they are locked in :mod:`eventdbx.services.tokenfiles`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from eventdbx.application import token_records
from eventdbx.application.large_ledger import LargeRecords
from eventdbx.application.token_keys import PublicKey, SigningKey, mark_of
from eventdbx.application.token_records import Change, Revocation, TokenRecord
from eventdbx.application.tokens import SKEW_S_MAX, Verifier, sign_grant
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S
from eventdbx.errors import (
    InvalidToken,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
)
from eventdbx.wire.noise import pre_shared_key

KEPT_AFTER_EXPIRY_NS = 30 * 24 * 3600 * NS_PER_S
"""How long an expired token stays in the ledger; afterwards nobody asks for it any more."""

REFRESHED = "refreshed"


class Terms(NamedTuple):
    """What signs tokens, and what they must say to be accepted here."""

    key: SigningKey
    issuer: str
    audience: str
    accepted: tuple[PublicKey, ...]
    skew_s: int


class Ledger:
    """Issued and revoked tokens in memory, in the order in which they were added."""

    def __init__(
        self,
        records: Iterable[TokenRecord] | LargeRecords = (),
        revocations: Iterable[Revocation] = (),
    ) -> None:
        self._records: MutableMapping[str, TokenRecord] = (
            records
            if isinstance(records, LargeRecords)
            else {record.jti: record for record in records}
        )
        self._revocations = {one.jti: one for one in revocations}
        self._changed: tuple[set[str], set[str]] = (set(), set())
        self._forgotten: list[str] = []

    @property
    def records(self) -> list[TokenRecord]:
        """Every record, oldest first."""
        return list(self._records.values())

    @property
    def revocations(self) -> list[Revocation]:
        """Every revocation, oldest first."""
        return list(self._revocations.values())

    def records_text(self) -> str:
        """Return the ledger file's text."""
        return token_records.records_text(self._records.values(), self.is_revoked)

    def revocations_text(self) -> str:
        """Return the text of the file of revocations."""
        return token_records.revocations_text(self._revocations.values())

    def merge(self, other: Ledger) -> bool:
        """Take over what the other knows and this one does not; tell whether there was any."""
        records = {jti: one for jti, one in other._records.items() if jti not in self._records}
        revoked = {jti: one for jti, one in other._revocations.items() if not self.is_revoked(jti)}
        for record in records.values():
            self.add(record)
        for one in revoked.values():
            self._add_revocation(one)
        return bool(records or revoked)

    def find(self, jti: str) -> TokenRecord | None:
        """Return the record of a token, None for one that was not recorded."""
        return self._records.get(jti)

    def is_revoked(self, jti: str) -> bool:
        """Tell whether the token was revoked."""
        return jti in self._revocations

    def document(self, record: TokenRecord, token: str | None = None) -> dict[str, Any]:
        """Return the record as JSON shows it, with its present status."""
        return record.document(revoked=self._counts_as_revoked(record), token=token)

    def _counts_as_revoked(self, record: TokenRecord) -> bool:
        return record.status_revoked or record.jti in self._revocations

    def counts(self, record: TokenRecord, now_ns: int) -> bool:
        """Tell whether a recorded token is good still, or will be."""
        ended = record.expires_at is not None and record.expires_at <= now_ns
        return not ended and not self._counts_as_revoked(record)

    def shown(self, now_ns: int) -> list[TokenRecord]:
        """Return what a list shows: everything but revoked tokens that have expired, too."""
        return [
            record
            for record in self._records.values()
            if record.expires_at is None
            or record.expires_at > now_ns
            or not self._counts_as_revoked(record)
        ]

    def add(self, record: TokenRecord) -> None:
        """Record a token that was issued, or what has become of it since."""
        self._records[record.jti] = record
        self._changed[0].add(record.jti)

    def _add_revocation(self, one: Revocation) -> None:
        self._revocations[one.jti] = one
        self._changed[1].add(one.jti)

    def apply(self, change: Change) -> None:
        """Do again what was written down as a change."""
        self._records.update((one.jti, one) for one in change.records)
        self._revocations.update((one.jti, one) for one in change.revocations)
        for jti in change.forgotten:
            self._records.pop(jti, None)

    def forget(self, jti: str) -> None:
        """Strike a record out; what revokes the token stays."""
        if self._records.pop(jti, None) is not None:
            self._changed[0].discard(jti)
            self._forgotten.append(jti)

    @property
    def has_changed(self) -> bool:
        """Tell whether there is a change to write down."""
        return any(self._changed) or bool(self._forgotten)

    def roll_forward(self, now_ns: int) -> None:
        """Revoke what is revoked by its record alone: the list of revocations was lost."""
        ended = now_ns - SKEW_S_MAX * NS_PER_S
        for one in self.records:
            if one.status_revoked and not self.is_revoked(one.jti):
                if one.expires_at is None or one.expires_at >= ended:
                    self._add_revocation(Revocation(one.jti, now_ns, None, one.expires_at))

    def take_change(self) -> Change:
        """Return what has changed since the last time."""
        records, revoked = self._changed
        self._changed = set(), set()
        forgotten, self._forgotten = tuple(self._forgotten), []
        return Change(
            tuple(self._records[jti] for jti in sorted(records)),
            tuple(self._revocations[jti] for jti in sorted(revoked)),
            forgotten,
        )

    def issue(self, terms: Terms, grant: Grant, now_ns: int) -> tuple[str, TokenRecord]:
        """Sign a token for the grant and record it."""
        token = sign_grant(terms.key, grant, issuer=terms.issuer, audience=terms.audience)
        record = TokenRecord.of(grant, now_ns, digest_of(token), mark_of(terms.key.public))
        self.add(record)
        return token, record

    def signed(self, terms: Terms, token: str) -> Grant:
        """Return what a token says that one of the accepted keys has signed, however it ended.

        Raises InvalidToken or Unauthorized.
        """
        return _read(terms, token)[0]

    def recognise(self, terms: Terms, token: str) -> bool:
        """Add the digest of a token that an older program recorded without; tell whether it was
        missing. A token that was not signed here, or is not recorded, changes nothing."""
        try:
            grant, key = _read(terms, token)
        except (InvalidToken, Unauthorized):
            return False
        record = self._records.get(grant.jti)
        if record is None or record.digest is not None:
            return False
        self.add(record._replace(digest=digest_of(token), key_mark=key.mark))
        return True

    def revoke(
        self, terms: Terms, text: str, *, reason: str | None, now_ns: int
    ) -> tuple[Revocation, bool]:
        """Revoke a token, given itself or by its id; tell also whether it was recorded here.

        A token with a good signature can be revoked although the ledger does not know it, and so
        can the id of one, which has the form of a UUID. Raises InvalidToken for other texts. A
        second time only the reason and the time change.
        """
        jti, expires_at = text, None
        if text.count(".") == 2:
            signed = self.signed(terms, text)
            jti = signed.jti
            expires_at = None if signed.expires_at is None else signed.expires_at * NS_PER_S
        elif text not in self._records and not _is_uuid(text):
            raise InvalidToken
        return self._revoke(jti, expires_at, reason, now_ns), jti in self._records

    def _revoke(
        self, jti: str, expires_at: int | None, reason: str | None, now_ns: int
    ) -> Revocation:
        record = self._records.get(jti)
        if record is not None:
            self.add(record._replace(status_revoked=True))
            expires_at = record.expires_at
        found = Revocation(jti, now_ns, reason, expires_at)
        self._add_revocation(found)
        return found

    def replace(self, jti: str, now_ns: int) -> None:
        """Revoke a token because another was issued to the same holder."""
        record = self._records.get(jti)
        self._revoke(jti, None if record is None else record.expires_at, REFRESHED, now_ns)

    def refresh(
        self,
        terms: Terms,
        text: str,
        *,
        jti: str,
        ttl_s: int | None,
        now_ns: int,
        by: Grant | None = None,
        write_limit: int | None = None,
    ) -> tuple[str, TokenRecord, str]:
        """Issue a token ``jti`` in the place of another, given itself or by its id.

        Return it, its record and the id of the other. ``ttl_s`` 0 never expires; None takes the
        lifetime of the old one, as it takes its ``write_limit``. What the old one had to wait for
        is over: the new one counts at once. Raises InvalidToken for a token that is not recorded
        here, TokenRevoked and TokenExpired for one that has ended, Unauthorized for more than
        ``by`` may hand on, its own token excepted.
        """
        old = self._refreshable(terms, text, now_ns)
        if by is not None and by.jti != old.jti:
            require_cover(by, old.actions or ("*.*",), old.resources, old.tenants)
        if ttl_s is None:
            ttl_s = 0 if old.expires_at is None else (old.expires_at - old.issued_at) // NS_PER_S
        now_s = now_ns // NS_PER_S
        grant = Grant(
            jti=jti,
            subject=old.subject,
            group=old.group,
            user=old.user,
            actions=old.actions or ("*.*",),
            resources=old.resources,
            tenants=old.tenants,
            issued_at=now_s,
            expires_at=now_s + ttl_s if ttl_s else None,
            issued_by=old.issued_by if old.issued_by.strip() else old.subject,
            write_limit=old.write_limit if write_limit is None else write_limit,
            keep_alive=old.keep_alive,
        )
        token, record = self.issue(terms, grant, now_ns)
        self._revoke(old.jti, old.expires_at, REFRESHED, now_ns)
        return token, record, old.jti

    def _refreshable(self, terms: Terms, text: str, now_ns: int) -> TokenRecord:
        jti = text
        if text.count(".") == 2:
            verifier = terms_verifier(terms, lambda: now_ns / NS_PER_S, lambda _jti: False)
            jti = verifier.verify(text).jti
        old = self._records.get(jti)
        if old is None and self.is_revoked(jti):
            raise TokenRevoked
        if old is None:
            raise InvalidToken
        if self._counts_as_revoked(old):
            raise TokenRevoked
        if old.expires_at is not None and now_ns > old.expires_at + terms.skew_s * NS_PER_S:
            raise TokenExpired
        return old

    def prune(self, now_ns: int) -> None:
        """Forget tokens that ended a month ago, and revocations that can no longer matter.

        A token counts for as long as clocks may differ after its expiry, and so must its
        revocation.
        """
        oldest = now_ns - KEPT_AFTER_EXPIRY_NS
        self._records = {
            jti: one
            for jti, one in self._records.items()
            if one.expires_at is None or one.expires_at > oldest
        }
        ended = now_ns - SKEW_S_MAX * NS_PER_S
        self._revocations = {
            jti: one
            for jti, one in self._revocations.items()
            if one.expires_at is None or one.expires_at >= ended
        }


def require_cover(
    by: Grant, actions: Iterable[str], resources: Iterable[str], tenants: Iterable[str]
) -> None:
    """Raise Unauthorized unless a token may hand on all of this."""
    if not by.may_hand_on(actions, resources, tenants):
        raise Unauthorized


def digest_of(token: str) -> str:
    """Return the lower-case hex SHA-256 of a whole token: the pre-shared key of its sessions."""
    return pre_shared_key(token).hex()


def terms_verifier(
    terms: Terms, clock: Callable[[], float], is_revoked: Callable[[str], bool]
) -> Verifier:
    """Return what verifies tokens under the terms; ``clock`` gives seconds."""
    return Verifier(terms.accepted, terms.issuer, terms.audience, terms.skew_s, clock, is_revoked)


def _read(terms: Terms, token: str) -> tuple[Grant, PublicKey]:
    return terms_verifier(terms, lambda: 0, lambda _jti: False).read(token)


def _is_uuid(text: str) -> bool:
    parts = text.split("-")
    digits = set("".join(parts).lower())
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and digits <= set("0123456789abcdef")
