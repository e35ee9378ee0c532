"""The record of an aggregate's head, and its places in the indexes by time."""

from __future__ import annotations

from eventdbx.domain.aggregate import Head
from eventdbx.storage import keys, records
from eventdbx.storage.store import Transaction


def put_head(transaction: Transaction, name: bytes, before: Head | None, after: Head) -> int:
    """Put a head and its places in the indexes; take away those of the head before it.

    Returns the length of the record.
    """
    put, delete = transaction.put, transaction.delete
    archived = after.archived
    record = records.encode_head(after)
    put(keys.head(name, archived), record)
    millis = None if after.updated_at is None else after.updated_at // 1_000_000
    moved = before is None or before.archived != archived
    if before is not None:
        old_created, old_updated = _families(before.archived)
        if moved:
            delete(keys.head(name, before.archived))
            if before.created_at is not None:
                delete(keys.by_time(old_created, before.created_at // 1_000_000, name))
        if before.updated_at is not None and (moved or before.updated_at // 1_000_000 != millis):
            delete(keys.by_time(old_updated, before.updated_at // 1_000_000, name))
    created, updated = _families(archived)
    if moved and after.created_at is not None:
        put(keys.by_time(created, after.created_at // 1_000_000, name), b"")
    if millis is not None:
        put(keys.by_time(updated, millis, name), b"")
    return len(record)


def _families(archived: bool) -> tuple[bytes, bytes]:
    if archived:
        return keys.CREATED_ARCHIVED, keys.UPDATED_ARCHIVED
    return keys.CREATED_ACTIVE, keys.UPDATED_ACTIVE
