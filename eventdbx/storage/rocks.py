"""The store on RocksDB: the only file that knows the binding. Errors leave as StorageError.

Durability: ``write`` hands the batch to the operating system, ``sync`` syncs the log; the
binding lets the interpreter run other threads during ``flush_wal`` but not during a synced
write. Log files are recycled: a sync that changes no file size spares the journal of the file
system, about a third of its time. Recycling excludes the recovery modes that refuse damage, so
recovery is RocksDB's point in time mode with a check of our own in front (``storage.wal``).

Bindings observed to mislead, each pinned by a test: iterating ``items()`` ends silently at a
damaged block; ``Snapshot[key]`` raises a bare Exception for a missing key; the iterators
of a Snapshot show what was written after it; the side file ``rocksdict-config.json`` is not
written atomically.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain
from threading import Lock
from typing import Any, NoReturn

import rocksdict
from twisted.logger import Logger
from zope.interface import implementer

from eventdbx import limits
from eventdbx.errors import StorageError
from eventdbx.storage import wal
from eventdbx.storage.interfaces import Changes, IOrderedStore, IReadView
from eventdbx.storage.lock import ProcessLock
from eventdbx.storage.overlay import overlaid

FORMAT_KEY = b"\x00format"
FORMAT = 1
"""Raise when an older program could no longer read what this one writes."""

_LOCK_NAME = "eventdbx.lock"
_SIDE_FILE = "rocksdict-config.json"
_SIDE_TEXT = '{"raw_mode":true,"prefix_extractors":{}}'
_CLOSED = "the event store is closed"

_log = Logger()


def _translated(error: BaseException) -> StorageError:
    text = str(error)
    if isinstance(error, rocksdict.DbClosedError):
        return StorageError(_CLOSED)
    if text.startswith("Corruption"):
        return StorageError(f"the data is damaged: {text}")
    if "No space left" in text or "Disk quota" in text or "File too large" in text:
        return StorageError(f"the disk is full: {text}")
    return StorageError(text)


def _options() -> Any:
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(rocksdict.Cache(limits.BLOCK_CACHE_BYTES))
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_bottommost_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_write_buffer_size(limits.MEMTABLE_BYTES)
    options.set_max_write_buffer_number(4)
    options.set_max_total_wal_size(limits.LOG_BYTES_MAX)
    options.set_recycle_log_file_num(4)
    options.set_wal_recovery_mode(rocksdict.DBRecoveryMode.point_in_time())
    options.set_bytes_per_sync(1 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(1_000)
    options.set_keep_log_file_num(3)
    options.set_max_log_file_size(4 << 20)
    options.set_stats_dump_period_sec(0)
    options.set_level_compaction_dynamic_level_bytes(True)
    return options


def _open_database(path: str, read_only: bool) -> Any:
    access = rocksdict.AccessType
    try:
        return rocksdict.Rdict(
            path,
            options=_options(),
            access_type=access.read_only(False) if read_only else access.read_write(),
        )
    except Exception as error:
        raise _translated(error) from error


def _mend_side_file(path: str) -> None:
    """The binding writes its side file in place on every open: a crash may have cut it."""
    side = os.path.join(path, _SIDE_FILE)
    try:
        try:
            with open(side, encoding="utf-8", errors="replace") as file:
                if file.read() == _SIDE_TEXT:
                    return
        except FileNotFoundError:
            if not os.path.exists(os.path.join(path, "CURRENT")):
                return
        with open(side + ".new", "w", encoding="utf-8") as file:
            file.write(_SIDE_TEXT)
        os.replace(side + ".new", side)
    except OSError as error:
        raise StorageError(f"cannot write {side}: {error.strerror}") from error


def _check_log(path: str) -> None:
    """Refuse a store whose recovery would drop acknowledged writes, before anything changes.

    After a clean stop the log is empty and this costs nothing; after a crash the log is
    recovered once more, into memory only.
    """
    if not wal.logs(path) or not os.path.exists(os.path.join(path, "CURRENT")):
        return
    database = _open_database(path, read_only=True)
    recovered = database.latest_sequence_number()
    database.close()
    where = wal.lost_record(path, recovered)
    if where is not None:
        raise StorageError(
            f"the write-ahead log of {path} is damaged: acknowledged writes follow the damage "
            f"({where}), so the store is not opened; restore a backup or the damaged file"
        )


class _Written:
    """The keys of one batch, and the batch after it."""

    __slots__ = ("keys", "next")

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        self.next: _Written | None = None


@implementer(IReadView)
class RocksView:
    """A RocksDB snapshot for point reads; for scans an iterator of now, corrected.

    The binding's iterators show the newest state even when a snapshot makes them. So the view
    knows where in the chain of batches it was taken: whatever was written after that point is
    looked up in the snapshot instead. Batches that no view can ask for are garbage.
    """

    __slots__ = ("__weakref__", "_changed", "_database", "_known", "_lock", "_seen", "_snapshot")

    def __init__(self, database: Any, snapshot: Any, seen: _Written) -> None:
        self._database = database
        self._snapshot = snapshot
        self._seen = seen
        self._known: set[bytes] = set()
        self._changed: list[bytes] = []
        self._lock = Lock()

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IReadView`."""
        try:
            return self._snapshot[key]  # type: ignore[no-any-return]
        except Exception as error:
            if error.args == ("key not found",):
                return None
            self._complain(error)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See :class:`IReadView`. The first pair of a range costs about 10 us, others 1 us."""
        if self._snapshot is None:
            raise StorageError(_CLOSED)
        if start >= stop:
            return iter(())
        pairs = self._newest(start, stop, reverse)
        try:
            # The iterator must stand before the changes are collected: what is written between
            # the two is then among the changes.
            first = [next(pairs)]
        except StopIteration:
            first = []
        changed = self._changed_between(start, stop)
        pairs = chain(first, pairs)
        if not changed:
            return pairs
        if reverse:
            changed.reverse()
        return overlaid(pairs, changed, self.get, reverse=reverse)

    def _newest(self, start: bytes, stop: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """The range in the state of the moment of the first ``next``."""
        last = stop if reverse else start
        try:
            for pair in self._database.items(backwards=reverse, from_key=last):
                last = pair[0]
                if start <= last < stop:
                    yield pair
                elif last != stop or not reverse:
                    return
            self._check_end(last, reverse)
        except Exception as error:
            self._complain(error)

    def _check_end(self, last: bytes, reverse: bool) -> None:
        """``items()`` ended behind ``last``: is there nothing more, or a damaged block?"""
        cursor = self._database.iter()
        if reverse:
            cursor.seek_for_prev(last)
        else:
            cursor.seek(last)
        if cursor.valid():
            if reverse:
                cursor.prev()
            else:
                cursor.next()
        cursor.status()

    def _changed_between(self, start: bytes, stop: bytes) -> list[bytes]:
        """The keys of the range that were written since the view was taken, ascending."""
        if self._seen.next is None and not self._changed:
            return []
        with self._lock:
            fresh: set[bytes] = set()
            while (written := self._seen.next) is not None:
                fresh.update(written.keys)
                self._seen = written
            fresh -= self._known
            if fresh:
                self._known |= fresh
                self._changed.extend(fresh)
                self._changed.sort()
            changed = self._changed
            return changed[bisect_left(changed, start) : bisect_left(changed, stop)]

    def _complain(self, error: Exception) -> NoReturn:
        if isinstance(error, StorageError):
            raise error
        raise (StorageError(_CLOSED) if self._snapshot is None else _translated(error)) from error


@implementer(IOrderedStore)
class RocksStore:
    """One RocksDB database in one folder. Made by :meth:`open`."""

    def __init__(self, database: Any, path: str, lock: ProcessLock | None) -> None:
        self._database = database
        self._path = path
        self._lock = lock
        self._closed = False
        self._written = _Written(())
        self._views: weakref.WeakSet[RocksView] = weakref.WeakSet()
        self._unsynced = rocksdict.WriteOptions()
        self._unsynced.sync = False

    @classmethod
    def open(
        cls,
        path: str,
        *,
        read_only: bool = False,
        create: bool = True,
        accept_loss: bool = False,
    ) -> RocksStore:
        """Open the store in the folder ``path``, made (mode 0700) if ``create`` is true.

        ``read_only`` takes no lock, sees what was written before the call, and does not
        check the log for damage, for another process may be writing it.
        ``accept_loss`` opens a store whose log is damaged and gives up every write from the
        damage on: a last resort for who has no backup.

        Raises :class:`StoreLocked` if another process has it open, :class:`StorageError` if
        the format is unknown, the log or the files are damaged, or the disk fails.
        """
        try:
            if create and not read_only:
                os.makedirs(path, mode=0o700, exist_ok=True)
            elif not os.path.isfile(os.path.join(path, "CURRENT")):
                raise StorageError(f"there is no event store at {path}")
        except OSError as error:
            raise StorageError(f"cannot create {path}: {error.strerror}") from error
        lock = None if read_only else ProcessLock(os.path.join(path, _LOCK_NAME))
        try:
            if not read_only:
                _mend_side_file(path)
                if not accept_loss:
                    _check_log(path)
            store = cls(_open_database(path, read_only), path, lock)
            try:
                store._check_format(read_only)
            except BaseException:
                store._database.close()
                raise
            return store
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    def _check_format(self, read_only: bool) -> None:
        found = self.get(FORMAT_KEY)
        if found is None:
            view = self.view()
            if next(view.scan(b"", b"\xff" * 8), None) is not None:
                raise StorageError(f"{self._path} is not an event store of this program")
            if not read_only:
                self.write({FORMAT_KEY: b"%d" % FORMAT}, sync=False)
                self.sync()
        elif found != b"%d" % FORMAT:
            raise StorageError(
                f"{self._path} has store format {found.decode('ascii', 'replace')}, this program "
                f"knows format {FORMAT}; use the version of dbx that wrote it, or a newer one"
            )

    def view(self) -> IReadView:
        """See :class:`IOrderedStore`."""
        try:
            written = self._written
            view = RocksView(self._database, self._database.snapshot(), written)
        except Exception as error:
            raise _translated(error) from error
        self._views.add(view)
        return view

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IOrderedStore`."""
        try:
            return self._database.get(key)  # type: ignore[no-any-return]
        except Exception as error:
            raise _translated(error) from error

    def write(self, changes: Changes, *, sync: bool) -> None:
        """See :class:`IOrderedStore`."""
        try:
            batch = rocksdict.WriteBatch(raw_mode=True)
            put = batch.put
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    put(key, value)
            # Known before it is done, so that no scan misses it.
            written = _Written(tuple(changes))
            self._written.next = written
            self._written = written
            self._database.write(batch, self._unsynced)
            if sync:
                self._database.flush_wal(True)
        except Exception as error:
            raise _translated(error) from error

    def sync(self) -> None:
        """See :class:`IOrderedStore`."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise _translated(error) from error

    def statistics(self) -> dict[str, int]:
        """See :class:`IOrderedStore`."""
        try:
            with os.scandir(self._path) as entries:
                size = sum(entry.stat().st_size for entry in entries)
            number = self._database.property_int_value
            return {
                "bytes_on_disk": size,
                "keys": number("rocksdb.estimate-num-keys") or 0,
                "memtable_bytes": number("rocksdb.cur-size-all-mem-tables") or 0,
                "table_bytes": number("rocksdb.live-sst-files-size") or 0,
                "pending_compaction_bytes": number("rocksdb.estimate-pending-compaction-bytes")
                or 0,
            }
        except Exception as error:
            raise _translated(error) from error

    def checkpoint(self, path: str) -> None:
        """See :class:`IOrderedStore`. Tables are hard links if ``path`` is on the same disk."""
        try:
            rocksdict.Checkpoint(self._database).create_checkpoint(path)
        except Exception as error:
            raise _translated(error) from error

    def close(self) -> None:
        """See :class:`IOrderedStore`. Writes the memtable out, so the next start is quick."""
        if self._closed:
            return
        self._closed = True
        # A living snapshot would keep the database open behind our back.
        for view in list(self._views):
            view._snapshot = None
        try:
            if self._lock is not None:
                self._database.flush(True)
        except Exception as error:
            raise _translated(error) from error
        finally:
            self._database.close()
            if self._lock is not None:
                self._lock.release()
