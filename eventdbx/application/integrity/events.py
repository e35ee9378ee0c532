"""Every event belongs to an aggregate that has a head, and stands in the commit log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from eventdbx.application.integrity.findings import Finding, Found, about, elsewhere
from eventdbx.application.integrity.reading import Damage, readable
from eventdbx.application.integrity.snapshots import has_head
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

UNLOGGED_MAX = 100


def check_owners(view: IReadView, start: bytes) -> Iterator[tuple[bytes, Found | bytes]]:
    """Yield (key, event's record or finding): those of aggregates without a head are named."""
    owner, known = b"", True
    for item in readable(view, start, keys.after(keys.EVENT)):
        if isinstance(item, Damage):
            if item.key is None:
                yield item.stop, elsewhere(item.called("events"), item.why)
                continue
            item = item.key, b""  # Said of the event itself.
        key, record = item
        yield key, record
        if key[1:-8] != owner:
            owner = key[1:-8]
            known = has_head(view, owner)
            if not known:
                names = keys.split_name(key[1:])
                yield key, about(*names, 0, "it has events, but no head")


def check_count(view: IReadView, stored: int, logged: int) -> Iterator[Finding]:
    """Yield what follows from the number of events and that of entries in the log."""
    if stored != logged:
        yield elsewhere("commit log", f"{stored} events stored, {logged} in the commit log")
        if stored > logged:
            yield from islice(_unlogged(view), UNLOGGED_MAX)


def _unlogged(view: IReadView) -> Iterator[Finding]:
    """Search for the events that are not in the log."""
    for item in readable(view, keys.EVENT, keys.after(keys.EVENT)):
        if isinstance(item, Damage):
            continue
        key, record = item
        try:
            if any(_logged(view, partition, key, record) for partition in (0, 1)):
                continue
        except StorageError:
            continue  # Said of the record, or of the log.
        names = keys.split_name(key[1:])
        yield about(*names, keys.event_version(key), "the event is not in the commit log")


def _logged(view: IReadView, partition: int, key: bytes, record: bytes) -> bool:
    return eventlog.position_of(view, partition, records.event_id_of(record), key) is not None
