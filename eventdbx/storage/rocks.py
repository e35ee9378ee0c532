"""The store on RocksDB: the only file that knows the binding. Errors leave as StorageError.

Durability: ``write`` hands the batch to the operating system, ``sync`` syncs the log; the
binding lets the interpreter run other threads during ``flush_wal`` but not during a synced
write. Log files are recycled: a sync that changes no file size spares the journal of the file
system (0.09 instead of 0.14 ms on an idle disk). Recycling excludes the recovery modes that
refuse damage, so recovery is RocksDB's point in time mode with a check of our own in front
(``storage.wal``).

Bindings observed to mislead, each pinned by a test: iterating ``items()`` ends silently at a
damaged block; ``Snapshot[key]`` raises a bare Exception for a missing key; the iterators
of a Snapshot show what was written after it; the side file ``rocksdict-config.json`` is not
written atomically.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from typing import Any

import rocksdict
from twisted.logger import Logger
from zope.interface import implementer

from eventdbx import limits
from eventdbx.errors import StorageError
from eventdbx.storage import wal
from eventdbx.storage.interfaces import Changes, IOrderedStore, IReadView
from eventdbx.storage.lock import ProcessLock
from eventdbx.storage.rocksview import RocksView, Written, translated
from eventdbx.storage.watching import StoreWatch

FORMAT_KEY = b"\x00format"
FORMAT = 4
"""Raise when an older program could no longer read what this one writes."""

_FILLER_KEY = b"\x00filler"
_FILLER_BYTES = 1 << 20

_PARTITION_BYTES = 4_096
"""Of an index or filter. In one piece that of a large table is larger than a shard of the cache
(1 MiB), is never kept, and is read anew for each lookup: 120 us instead of 2."""

_ARENA_BYTES = 65_536
"""Memory is taken, and counted, in pieces of this size; by default of 1 MiB, which is all that a
small domain may store."""

_LOGS_RECYCLED = 4

_PAUSE_S = 0.01

LOCK_NAME = "eventdbx.lock"
_SIDE_FILE = "rocksdict-config.json"
_SIDE_TEXT = '{"raw_mode":true,"prefix_extractors":{}}'

_PROPERTIES = {
    "keys": "estimate-num-keys",
    "memtable_bytes": "cur-size-all-mem-tables",
    "table_bytes": "live-sst-files-size",
    "pending_compaction_bytes": "estimate-pending-compaction-bytes",
    "block_cache_bytes": "block-cache-usage",
    "table_reader_bytes": "estimate-table-readers-mem",
    "level0_files": "num-files-at-level0",
    "immutable_memtables": "num-immutable-mem-table",
    "running_compactions": "num-running-compactions",
    "running_flushes": "num-running-flushes",
    "snapshots": "num-snapshots",
    "delayed_write_rate": "actual-delayed-write-rate",
    "writes_stopped": "is-write-stopped",
    "background_errors": "background-errors",
}
"""What :meth:`RocksStore.statistics` tells, and the property it is."""

_log = Logger()


def _options(cache_bytes: int) -> Any:
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(rocksdict.Cache(cache_bytes))
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(True)
    table.set_index_type(rocksdict.BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(_PARTITION_BYTES)
    table.set_pin_top_level_index_and_filter(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_format_version(5)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_bottommost_compression_type(rocksdict.DBCompressionType.zstd())
    options.set_write_buffer_size(limits.MEMTABLE_BYTES)
    options.set_arena_block_size(_ARENA_BYTES)
    options.set_max_write_buffer_number(4)
    options.set_max_total_wal_size(limits.LOG_BYTES_MAX)
    options.set_recycle_log_file_num(_LOGS_RECYCLED)
    options.set_wal_recovery_mode(rocksdict.DBRecoveryMode.point_in_time())
    options.set_bytes_per_sync(1 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(1_000)
    options.set_keep_log_file_num(3)
    options.set_max_log_file_size(4 << 20)
    options.set_stats_dump_period_sec(0)
    options.set_level_compaction_dynamic_level_bytes(True)
    return options


def _open_database(path: str, read_only: bool, cache_bytes: int = limits.BLOCK_CACHE_BYTES) -> Any:
    access = rocksdict.AccessType
    try:
        return rocksdict.Rdict(
            path,
            options=_options(cache_bytes),
            access_type=access.read_only(False) if read_only else access.read_write(),
        )
    except Exception as error:
        raise translated(error) from error


def foreign_pairs(path: str) -> list[tuple[bytes, bytes]]:
    """Everything in a small database of another program, which is not changed.

    Raises StorageError when it cannot be read.
    """
    access, side = rocksdict.AccessType.read_only(False), os.path.join(path, _SIDE_FILE)
    had_side = os.path.exists(side)
    try:
        options = rocksdict.Options(raw_mode=True)
        database = rocksdict.Rdict(path, options=options, access_type=access)
        try:
            pairs: Any = database.items()
            return list(pairs)
        finally:
            database.close()
            if not had_side and os.path.exists(side):
                os.remove(side)
    except Exception as error:
        raise StorageError(f"cannot read {path}: {error}") from error


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


def _check_ours(path: str) -> None:
    """Refuse what another program has written while nothing of it is changed: opening to write
    changes files already."""
    if os.path.isfile(os.path.join(path, "CURRENT")):
        RocksStore.open(path, read_only=True).close()


def _lost_writes(path: str) -> str | None:
    """Where acknowledged writes stand that recovery would drop; found without any change.

    After a clean stop the log is empty and this costs nothing; after a crash the log is
    recovered once more, into memory only.
    """
    if not wal.logs(path) or not os.path.exists(os.path.join(path, "CURRENT")):
        return None
    database = _open_database(path, read_only=True)
    recovered = database.latest_sequence_number()
    database.close()
    return wal.lost_record(path, recovered)


def _give_up_lost_writes(path: str) -> None:
    """Recover up to the damage; keep the damaged logs aside and out of the way of later checks."""
    damaged = [log_path for _, log_path, _ in wal.logs(path)]
    aside = tempfile.mkdtemp(prefix="given-up-", dir=path)
    for log_path in damaged:
        shutil.copy2(log_path, aside)
    database = _open_database(path, read_only=False)
    try:
        database.flush(True)
    finally:
        database.close()
    # All that could be read is in tables now, and no log before the newest is needed.
    for log_path in damaged:
        if os.path.exists(log_path):
            os.remove(log_path)
    _log.warn("gave up damaged logs of {path}, kept in {aside}", path=path, aside=aside)


@implementer(IOrderedStore)
class RocksStore:
    """One RocksDB database in one folder. Made by :meth:`open`."""

    def __init__(self, database: Any, path: str, lock: ProcessLock | None) -> None:
        self._database = database
        self._path = path
        self._lock = lock
        self._closed = False
        self._written = Written(())
        self._views: weakref.WeakSet[RocksView] = weakref.WeakSet()
        self._unsynced = rocksdict.WriteOptions()
        self._unsynced.sync = False
        self.watch: StoreWatch | None = None

    @classmethod
    def open(
        cls,
        path: str,
        *,
        read_only: bool = False,
        create: bool = True,
        accept_loss: bool = False,
        prepare_logs: bool = False,
        cache_bytes: int = limits.BLOCK_CACHE_BYTES,
    ) -> RocksStore:
        """Open the store in the folder ``path``, made (mode 0700) if ``create`` is true.

        ``read_only`` takes no lock, sees what was written before the call, and does not
        check the log for damage, for another process may be writing it.
        ``accept_loss`` opens a store whose log is damaged and gives up every write from the
        damage on (the log is kept aside): a last resort for who has no backup.
        ``prepare_logs`` takes about 0.2 s and makes every later sync quicker: for daemons.
        ``cache_bytes`` of the tables are kept in memory.

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
        if not read_only and not os.path.exists(os.path.join(path, LOCK_NAME)):
            _check_ours(path)
        lock = None if read_only else ProcessLock(os.path.join(path, LOCK_NAME))
        try:
            if not read_only:
                _mend_side_file(path)
                where = _lost_writes(path)
                if where is not None and accept_loss:
                    _give_up_lost_writes(path)
                elif where is not None:
                    raise StorageError(
                        f"the write-ahead log of {path} is damaged: acknowledged writes follow "
                        f"the damage ({where}), so the store is not opened; restore a backup "
                        "or the damaged file"
                    )
            store = cls(_open_database(path, read_only, cache_bytes), path, lock)
            try:
                store._check_format(read_only)
                if prepare_logs:
                    store._prepare_logs()
            except BaseException:
                store._database.close()
                raise
            return store
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, StorageError) or not isinstance(error, Exception):
                raise
            raise translated(error) from error

    @classmethod
    def open_foreign(cls, path: str) -> RocksStore:
        """Open a database that another program has written, to read what it holds now.

        Raises StorageError.
        """
        if not os.path.isfile(os.path.join(path, "CURRENT")):
            raise StorageError(f"there is no event store at {path}")
        return cls(_open_database(path, read_only=True), path, None)

    def _check_format(self, read_only: bool) -> None:
        found = self.get(FORMAT_KEY)
        if found is None:
            view = self.view()
            if next(view.scan(b"", b"\xff" * 8), None) is not None:
                raise StorageError(
                    f"{self._path} is not an event store of this program; if an earlier EventDBX "
                    "wrote it, make an archive with that one (`dbx backup --output FILE`), move "
                    "the folder away, and take over the archive with `dbx restore --input FILE`"
                )
            if not read_only:
                self.write({FORMAT_KEY: b"%d" % FORMAT}, sync=False)
                self.sync()
        elif found != b"%d" % FORMAT:
            raise StorageError(
                f"{self._path} has store format {found.decode('ascii', 'replace')}, this program "
                f"knows format {FORMAT}; use the version of dbx that wrote it, or a newer one"
            )

    def _prepare_logs(self) -> None:
        """Write two logs full and retire them, so that the next ones recycle their blocks.

        The first logs of a process are not recycled otherwise, for closing deletes them. What
        is written is gone again before it would reach a table.
        """
        self._fill_logs(2)

    def _fill_logs(self, count: int) -> None:
        for _ in range(count):
            batch = rocksdict.WriteBatch(raw_mode=True)
            for _ in range(limits.MEMTABLE_BYTES // _FILLER_BYTES):
                batch.put(_FILLER_KEY, bytes(_FILLER_BYTES))
            batch.delete(_FILLER_KEY)
            self._database.write(batch, self._unsynced)
            self._database.flush_wal(True)
            self._database.flush(True)

    def view(self) -> IReadView:
        """See :class:`IOrderedStore`."""
        try:
            written = self._written
            view = RocksView(self._database, self._database.snapshot(), written, self.watch)
        except Exception as error:
            raise translated(error) from error
        self._views.add(view)
        return view

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IOrderedStore`."""
        watch = self.watch
        began = 0.0 if watch is None else watch.clock()
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            if watch is not None:
                watch.got(key, began, failed=True)
            raise translated(error) from error
        if watch is not None:
            watch.got(key, began)
        return value

    def write(self, changes: Changes, *, sync: bool) -> None:
        """See :class:`IOrderedStore`."""
        watch = self.watch
        began = 0.0 if watch is None else watch.clock()
        try:
            batch = rocksdict.WriteBatch(raw_mode=True)
            put = batch.put
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    put(key, value)
            # Known before it is done, so that no scan misses it.
            written = Written(tuple(changes))
            self._written.next = written
            self._written = written
            self._database.write(batch, self._unsynced)
            if sync:
                self._database.flush_wal(True)
        except Exception as error:
            if watch is not None:
                watch.wrote(began, failed=True)
            raise translated(error) from error
        if watch is not None:
            watch.wrote(began)

    def sync(self) -> None:
        """See :class:`IOrderedStore`."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise translated(error) from error

    def used_bytes(self) -> int:
        """See :class:`IOrderedStore`.

        Log files are as large as they ever were, for they are recycled: what lives in them is what
        is in memory.
        """
        try:
            number = self._database.property_int_value
            in_memory = number(f"rocksdb.{_PROPERTIES['memtable_bytes']}") or 0
            return (number(f"rocksdb.{_PROPERTIES['table_bytes']}") or 0) + 2 * in_memory
        except Exception as error:
            raise translated(error) from error

    def statistics(self) -> dict[str, int]:
        """See :class:`IOrderedStore`."""
        try:
            with os.scandir(self._path) as entries:
                size = sum(entry.stat().st_size for entry in entries)
            number = self._database.property_int_value
            known = {name: number(f"rocksdb.{of}") or 0 for name, of in _PROPERTIES.items()}
            return {"bytes_on_disk": size, **known}
        except Exception as error:
            raise translated(error) from error

    def checkpoint(self, path: str) -> None:
        """See :class:`IOrderedStore`. Tables are hard links if ``path`` is on the same disk."""
        try:
            rocksdict.Checkpoint(self._database).create_checkpoint(path)
        except Exception as error:
            raise translated(error) from error

    def purge(self, ranges: Sequence[tuple[bytes, bytes]], *, logs: bool) -> None:
        """See :class:`IOrderedStore`. Logs are written over as often as old ones are recycled."""
        if logs:
            self._await_readers()
        try:
            self._database.flush(True)
            forced = rocksdict.CompactOptions()
            forced.set_bottommost_level_compaction(rocksdict.BottommostLevelCompaction.force())
            for start, stop in ranges:
                self._database.compact_range(start, stop, forced)
            if logs:
                self._fill_logs(_LOGS_RECYCLED + 2)
        except Exception as error:
            raise translated(error) from error

    def _await_readers(self) -> None:
        """Wait for views of earlier moments to go: no file loses what they can still see."""
        newest = self._written
        earlier = weakref.WeakSet(one for one in tuple(self._views) if one._seen is not newest)
        until = time.monotonic() + limits.PURGE_WAITS_S
        while len(earlier):
            if time.monotonic() > until:
                raise StorageError(
                    "somebody has been reading an older state of the event store for too long, so "
                    "its files were not rewritten yet; try again"
                )
            time.sleep(_PAUSE_S)

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
            raise translated(error) from error
        finally:
            self._database.close()
            if self._lock is not None:
                self._lock.release()
