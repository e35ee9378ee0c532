"""The store in memory: for tests, trials and simulations; nothing outlives the process.

Passes the same contract suite as ``storage.rocks``. A view shares the live table and keeps
only what was overwritten since it was taken, so taking one copies nothing.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from zope.interface import implementer

from eventdbx.errors import StorageError
from eventdbx.storage.interfaces import Changes, IOrderedStore, IReadView
from eventdbx.storage.watching import StoreWatch

_CHUNK_FIRST = 32
_CHUNK_MAX = 1_024
_SORT_FROM = 64
"""From this many new keys a batch is sorted in as a whole; inserting each would move the list
that often."""


@implementer(IReadView)
class MemoryView:
    """A moment of a :class:`MemoryStore`."""

    __slots__ = ("__weakref__", "_saved", "_store")

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._saved: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IReadView`."""
        # The live table is read first: a writer saves the old value before it replaces it, so
        # whoever saw a newer value finds the old one saved. No lock needed.
        value = self._store.get(key)
        return self._saved.get(key, value)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See :class:`IReadView`."""
        chunk = _CHUNK_FIRST
        while start < stop:
            keys, start, stop = self._store._keys_between(self._saved, start, stop, chunk, reverse)
            for key in keys:
                value = self.get(key)
                if value is not None:
                    yield key, value
            chunk = min(chunk * 2, _CHUNK_MAX)


@implementer(IOrderedStore)
class MemoryStore:
    """An ordered store in a dict and a sorted list of its keys. It tells nobody of its work."""

    def __init__(self) -> None:
        self.watch: StoreWatch | None = None
        self._table: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._views: weakref.WeakSet[MemoryView] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    def view(self) -> IReadView:
        """See :class:`IOrderedStore`."""
        self._check_open()
        view = MemoryView(self)
        with self._lock:
            self._views.add(view)
        return view

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IOrderedStore`."""
        if self._closed:
            self._check_open()
        return self._table.get(key)

    def write(self, changes: Changes, *, sync: bool) -> None:
        """See :class:`IOrderedStore`. There is nothing to sync."""
        self._check_open()
        with self._lock:
            for view in self._views:
                for key in changes:
                    view._saved.setdefault(key, self._table.get(key))
            fresh = [k for k, v in changes.items() if v is not None and k not in self._table]
            for key, value in changes.items():
                if value is not None:
                    self._table[key] = value
                elif self._table.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            if len(fresh) < _SORT_FROM:
                for key in fresh:
                    insort(self._keys, key)
            else:
                self._keys.extend(fresh)
                self._keys.sort()

    def sync(self) -> None:
        """See :class:`IOrderedStore`."""
        self._check_open()

    def used_bytes(self) -> int:
        """See :class:`IOrderedStore`. Not cheap here."""
        self._check_open()
        with self._lock:
            return sum(len(key) + len(value) for key, value in self._table.items())

    def statistics(self) -> dict[str, int]:
        """See :class:`IOrderedStore`."""
        self._check_open()
        return {"bytes_on_disk": 0, "keys": len(self._table)}

    def checkpoint(self, path: str) -> None:
        """See :class:`IOrderedStore`. The copy is one JSON file of hexadecimal pairs."""
        self._check_open()
        pairs = {key.hex(): self._table[key].hex() for key in list(self._keys)}
        try:
            os.mkdir(path)
            with open(os.path.join(path, "memory.json"), "w", encoding="ascii") as file:
                json.dump(pairs, file)
        except OSError as error:
            raise StorageError(f"cannot write the checkpoint {path}: {error}") from error

    def purge(self, ranges: Sequence[tuple[bytes, bytes]], *, logs: bool) -> None:
        """See :class:`IOrderedStore`. What was overwritten is in no file."""
        self._check_open()

    def close(self) -> None:
        """See :class:`IOrderedStore`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the event store is closed")

    def _keys_between(
        self,
        saved: dict[bytes, bytes | None],
        start: bytes,
        stop: bytes,
        count: int,
        reverse: bool,
    ) -> tuple[list[bytes], bytes, bytes]:
        """At most ``count`` live keys of the range, the saved ones beside them, and what is
        left of the range."""
        self._check_open()
        with self._lock:
            low, high = bisect_left(self._keys, start), bisect_left(self._keys, stop)
            if reverse:
                first, last = max(low, high - count), high
                begin = self._keys[first] if first > low else start
                end, rest = stop, (start, begin)
            else:
                first, last = low, min(high, low + count)
                end = self._keys[last] if last < high else stop
                begin, rest = start, (end, stop)
            keys = set(self._keys[first:last])
            keys.update(key for key in saved if begin <= key < end)
        return sorted(keys, reverse=reverse), *rest
