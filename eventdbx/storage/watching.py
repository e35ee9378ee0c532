"""What is noted of the work of a store: reads and scans by family of keys, batches, commits.

The names are those of earlier versions where the operation is the same.
"""

from __future__ import annotations

from collections.abc import Callable

from eventdbx.measures import Labels, Measures, Series
from eventdbx.storage import keys

_GETS = {
    keys.HEAD_ACTIVE: "rocksdb_get_meta",
    keys.HEAD_ARCHIVED: "rocksdb_get_meta",
    keys.EVENT: "rocksdb_get_event",
    keys.LOG: "rocksdb_get_log",
    keys.SNAPSHOT: "rocksdb_find_snapshot",
    keys.SNAPSHOT_ID: "rocksdb_find_snapshot",
}
_SCANS = {
    keys.HEAD_ACTIVE: "rocksdb_iter_meta",
    keys.HEAD_ARCHIVED: "rocksdb_iter_meta_archived",
    keys.EVENT: "rocksdb_iter_events",
    keys.LOG: "rocksdb_iter_log",
    keys.CREATED_ACTIVE: "rocksdb_iter_meta_created_index",
    keys.CREATED_ARCHIVED: "rocksdb_iter_meta_created_index_archived",
    keys.UPDATED_ACTIVE: "rocksdb_iter_meta_updated_index",
    keys.UPDATED_ARCHIVED: "rocksdb_iter_meta_updated_index_archived",
    keys.SNAPSHOT: "rocksdb_list_snapshots",
}


def _by_family(names: dict[bytes, str], default: str) -> Callable[[bytes], tuple[Labels, Labels]]:
    """Return a look-up from a key to its labels when all goes well, and when not."""
    other = (default, "ok"), (default, "err")
    table = {family: ((name, "ok"), (name, "err")) for family, name in names.items()}

    def labels(key: bytes) -> tuple[Labels, Labels]:
        return table.get(key[:1]) or table.get(key[:2]) or other

    return labels


_get_labels = _by_family(_GETS, "rocksdb_get_other")
_scan_labels = _by_family(_SCANS, "rocksdb_iter_other")
_WRITE = ("rocksdb_write", "ok"), ("rocksdb_write", "err")


class StoreWatch:
    """Notes the work of stores in the measures. For any thread.

    ``began`` is a time of ``clock``; a scan lasts as long as somebody takes pairs from it.
    """

    __slots__ = ("_gets", "_measures", "_store", "clock")

    def __init__(self, measures: Measures) -> None:
        self.clock = measures.clock
        self._measures = measures
        self._store = measures.store
        # By the first two bytes, which name a family or begin in it: looked up at every read.
        self._gets: dict[bytes, Series] = {}

    def got(self, key: bytes, began: float, *, failed: bool = False) -> None:
        """Note a look-up of one key."""
        now = self.clock()
        if failed:
            self._store.add(_get_labels(key)[True], now - began, now)
            return
        series = self._gets.get(key[:2])
        if series is None:
            series = self._gets[key[:2]] = self._store.begin(_get_labels(key)[False])
        series.add(now - began, now)

    def scanned(self, start: bytes, began: float, *, failed: bool = False) -> None:
        """Note a scan that has ended."""
        now = self.clock()
        self._store.add(_scan_labels(start)[failed], now - began, now)

    def wrote(self, began: float, *, failed: bool = False) -> None:
        """Note a batch that was handed to the store."""
        now = self.clock()
        self._store.add(_WRITE[failed], now - began, now)

    def committed(self, count: int, began: float) -> None:
        """Note writes that became durable together."""
        now = self.clock()
        self._measures.commit_events.add((), count, now)
        self._measures.commit_seconds.add((), now - began, now)
