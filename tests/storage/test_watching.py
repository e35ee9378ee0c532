"""What is counted of the work of a store, under the names that dashboards know."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import StorageError, StoreFailed
from eventdbx.measures import Measures
from eventdbx.storage import keys
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, synchronous
from eventdbx.storage.watching import StoreWatch
from tests.storage.stepper import FaultyStore, Stepper

NAME = keys.name("order", "o-1")


class Watching(SynchronousTestCase):
    """A store on disk that is watched by a clock whose every look takes a second."""

    def setUp(self) -> None:
        seconds = count(100)
        self.measures = Measures(lambda: float(next(seconds)))
        self.backend = RocksStore.open(str(Path(tempfile.mkdtemp(dir=".")) / "store"))
        self.addCleanup(self.backend.close)
        self.backend.watch = StoreWatch(self.measures)

    def counted(self) -> dict[tuple[str, ...], tuple[int, float]]:
        """Number and seconds of each operation and status."""
        return {
            tuple(value for _name, value in labels): (series.count, series.total)
            for labels, series in self.measures.store.series()
        }

    def test_reads_and_batches_are_counted_by_what_they_are_of(self) -> None:
        """Heads, events, the log and indexes have labels of their own."""
        self.backend.write({keys.head(NAME, False): b"x", keys.event(NAME, 1): b"y"}, sync=False)
        self.backend.get(keys.head(NAME, False))
        view = self.backend.view()
        view.get(keys.head(NAME, True))
        view.get(keys.event(NAME, 1))
        list(view.scan(keys.HEAD_ARCHIVED, keys.after(keys.HEAD_ARCHIVED)))
        list(view.scan(keys.EVENT, keys.after(keys.EVENT)))
        list(view.scan(keys.UPDATED_ACTIVE, keys.after(keys.UPDATED_ACTIVE), reverse=True))
        view.get(keys.tail(0))
        self.assertEqual(
            self.counted(),
            {
                ("rocksdb_write", "ok"): (1, 1.0),
                ("rocksdb_get_meta", "ok"): (2, 2.0),
                ("rocksdb_get_event", "ok"): (1, 1.0),
                ("rocksdb_iter_meta_archived", "ok"): (1, 1.0),
                ("rocksdb_iter_events", "ok"): (1, 1.0),
                ("rocksdb_iter_meta_updated_index", "ok"): (1, 1.0),
                ("rocksdb_get_other", "ok"): (1, 1.0),
            },
        )

    def test_an_abandoned_scan_is_counted_when_it_ends(self) -> None:
        """A scan of which only the first pair was taken counts once it is let go of."""
        self.backend.write({keys.event(NAME, one): b"y" for one in range(9)}, sync=False)
        pairs = self.backend.view().scan(keys.EVENT, keys.after(keys.EVENT))
        next(pairs)
        self.assertNotIn(("rocksdb_iter_events", "ok"), self.counted())
        del pairs
        self.assertEqual(self.counted()["rocksdb_iter_events", "ok"][0], 1)

    def test_what_fails_is_counted_as_an_error(self) -> None:
        """A read of a closed store is an error, not a quick success."""
        view = self.backend.view()
        self.backend.close()
        self.assertRaises(StorageError, view.get, keys.head(NAME, False))
        self.assertRaises(StorageError, self.backend.get, keys.head(NAME, False))
        self.assertEqual(self.counted(), {("rocksdb_get_meta", "err"): (2, 2.0)})

    def test_what_waits_and_what_has_failed(self) -> None:
        """How long a commit has been on its way, and why nothing is accepted any more."""
        hop, backend = Stepper(), FaultyStore()
        store = Store(backend, hop=hop)
        store.observe(StoreWatch(self.measures))
        self.assertEqual((store.trouble, store.in_flight_since), (None, None))
        writing = store.transact(lambda transaction: transaction.put(b"key", b"value"))
        hop.turn()
        self.assertGreater(store.in_flight_since or 0, 0)
        backend.sync_error = OSError("the disk is on fire")
        hop.settle()
        self.failureResultOf(writing, StoreFailed)
        self.assertIn("the disk is on fire", store.trouble or "")
        self.assertIsNone(store.in_flight_since)

    def test_commits_tell_how_many_writes_they_hold(self) -> None:
        """One commit of one write; what changed nothing is no commit."""
        store = Store(self.backend, hop=synchronous())
        store.watch = self.backend.watch
        store.transact(lambda transaction: transaction.put(b"key", b"value"))
        store.transact(lambda transaction: transaction.get(b"key"))
        ((_, series),) = self.measures.commit_events.series()
        self.assertEqual((series.count, series.total), (1, 1))
        ((_, seconds),) = self.measures.commit_seconds.series()
        self.assertEqual(seconds.count, 1)
        self.assertGreater(seconds.total, 0)
