"""Write limits: how many writes a token has made, counted in the commit that holds them.

A count belongs to the token's id and to one domain. It is put by the step that writes, so it is
right after a crash as well: neither a write without its count nor a count without its write.
"""

from __future__ import annotations

from eventdbx.application.tokens import SKEW_S_MAX
from eventdbx.domain.grants import Grant
from eventdbx.errors import StorageError, TokenLimitReached
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.store import Transaction

_FORMAT = b"\x01"
_FORGET_AT_ONCE = 2
_MILLIS_MAX = (1 << 63) - 1


def spend(
    transaction: Transaction, view: IReadView, grant: Grant, writes: int, now_ns: int
) -> None:
    """Count writes of a token that has a limit; raise TokenLimitReached for more than are left.

    ``view`` is the store as it was committed, where counts of ended tokens are looked for.
    """
    limit = grant.write_limit
    if limit is None or not writes:
        return
    key = keys.token_writes(grant.jti)
    record = transaction.get(key)
    made = 0 if record is None else _decode(record)
    if made + writes > limit:
        raise TokenLimitReached
    transaction.put(key, _FORMAT + (made + writes).to_bytes(8, "big"))
    if record is None:
        if grant.expires_at is not None:
            ends = min(grant.expires_at * 1000, _MILLIS_MAX)
            transaction.put(keys.token_writes_end(ends, grant.jti), b"")
        _forget_ended(transaction, view, now_ns // 1_000_000)


def _decode(record: bytes) -> int:
    if record[:1] != _FORMAT or len(record) != 9:
        raise StorageError("unreadable record of the writes of a token")
    return int.from_bytes(record[1:], "big")


def _forget_ended(transaction: Transaction, view: IReadView, millis: int) -> None:
    """Forget some tokens that no clock takes for good any more."""
    oldest = keys.token_writes_end(-(1 << 63), "")
    limit = keys.token_writes_end(millis - SKEW_S_MAX * 1000, "")
    for number, (end_key, _empty) in enumerate(view.scan(oldest, limit)):
        if number == _FORGET_AT_ONCE:
            break
        transaction.delete(end_key)
        transaction.delete(keys.token_writes(keys.token_of_writes_end(end_key)))
