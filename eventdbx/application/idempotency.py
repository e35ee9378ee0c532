"""Idempotency keys: the first result of a write, kept so that a retry gets it again.

A key belongs to one aggregate (or, for an atomic batch, to the domain). It is remembered in the
same commit as the events, for ``limits.IDEMPOTENCY_RETENTION_S``; every new one forgets up to two
that are older, so the memory never grows beyond what is used in that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from eventdbx import limits
from eventdbx.application.drafting import DraftWrite
from eventdbx.errors import IdempotencyConflict
from eventdbx.storage import keys, records
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.store import Transaction

Place = tuple[str, str, int]
_FORGET_AT_ONCE = 2


class _Reads(Protocol):
    def get(self, key: bytes, /) -> bytes | None: ...


def scope_digest(aggregate: bytes, key: str) -> bytes:
    """Return the digest of a key within its aggregate (canonical name; empty for a batch)."""
    return sha256(aggregate + b"\x00" + key.encode()).digest()


def request_digest(drafts: Sequence[DraftWrite]) -> bytes:
    """Return a digest of everything that the writes ask for, unambiguously."""
    digest = sha256()
    for draft in drafts:
        for part in draft.identity():
            digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def recall(reads: _Reads, scope: bytes, digest: bytes, key: str) -> Sequence[Place] | None:
    """Return the events that came of this request before, or None when it is new.

    Raises IdempotencyConflict when the key came with other content.
    """
    record = reads.get(keys.idempotency(scope))
    if record is None:
        return None
    remembered = records.decode_remembered(record)
    if remembered.digest != digest:
        raise IdempotencyConflict(key)
    return remembered.events


def remember(
    transaction: Transaction,
    view: IReadView,
    scope: bytes,
    digest: bytes,
    millis: int,
    places: Sequence[Place],
) -> None:
    """Keep the result of a request, and forget up to two that are past their time."""
    remembered = records.Remembered(digest, millis, tuple(places))
    transaction.put(keys.idempotency(scope), records.encode_remembered(remembered))
    transaction.put(keys.idempotency_age(millis, scope), b"")
    oldest = keys.idempotency_age(-(1 << 63), b"")
    limit = keys.idempotency_age(millis - limits.IDEMPOTENCY_RETENTION_S * 1000, b"")
    for number, (age_key, _empty) in enumerate(view.scan(oldest, limit)):
        if number == _FORGET_AT_ONCE:
            break
        transaction.delete(age_key)
        transaction.delete(keys.idempotency(age_key[-32:]))
