"""The head map on a real disk, in a process that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.headchecks import Fault, verify_head_map
from eventdbx.application.mapping import HeadMap
from eventdbx.storage import eventlog, headmap, keys
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, Transaction, synchronous
from tests.application.test_mapping import from_heads

ROOT = Path(__file__).resolve().parents[2]


class KillTests(SynchronousTestCase):
    """Buckets and position are one transaction."""

    def work(self, path: str, lines: int) -> tuple[int, str]:
        """Let a process work, kill it after so many lines, return the last place it told of."""
        command = [sys.executable, "-m", "tests.application.mapping_child", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdout is not None
            told = "0 "
            for _ in range(lines):
                told = child.stdout.readline()
                self.assertTrue(told, "the process ended by itself")
            child.kill()
            for line in child.stdout:
                told = line if line.endswith("\n") else told
        position, root = told.split()
        return int(position), root

    def test_a_killed_process_leaves_a_whole_map(self) -> None:
        """Again and again: what was told is there, it is right, and it goes on from there."""
        path = str(Path(self.mktemp()).absolute())
        last = 0
        for lines in (1, 7, 23, 40):
            position, root = self.work(path, lines)
            store = Store(RocksStore.open(path), hop=synchronous())
            place = headmap.load_place(store.view())
            self.assertGreaterEqual(place.position, max(position, last))
            if place.position == position:
                self.assertEqual(place.root.hex(), root)
            self.check(store)
            self.successResultOf(store.close())
            last = place.position
        self.assertGreater(last, 100)

    def check(self, store: Store) -> None:
        """A map that goes on from where it was equals one that is made from the beginning."""
        view = store.view()
        faults = [one for one in verify_head_map(view) if isinstance(one, Fault)]
        self.assertEqual(faults, [])
        self.assertEqual(headmap.load_top(view).place, headmap.load_place(view))
        end = eventlog.end_position(view, 0)
        heads = HeadMap(store)
        went_on = self.successResultOf(Deferred.fromCoroutine(heads.advance_to(end)))
        self.assertEqual((went_on.position, went_on.root), (end, from_heads(view)))
        kept = list(store.view().scan(keys.MAP_BUCKET, keys.after(keys.MAP_PLACE)))

        def begin_again(step: Transaction) -> None:
            for key, _record in kept:
                step.delete(key)

        self.successResultOf(store.transact(begin_again))
        fresh = HeadMap(store)
        self.assertEqual(fresh.place, headmap.NOWHERE)
        self.successResultOf(Deferred.fromCoroutine(fresh.advance_to(end)))
        again = list(store.view().scan(keys.MAP_BUCKET, keys.after(keys.MAP_PLACE)))
        self.assertEqual(again, kept)
