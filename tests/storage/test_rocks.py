"""The store on disk: its lock, its format, damage, and what a crash leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import StorageError, StoreLocked
from eventdbx.storage import wal
from eventdbx.storage.rocks import FORMAT_KEY, RocksStore

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def child(*arguments: str) -> subprocess.Popen[str]:
    """A Python process with our code, its output readable."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _ROOT},
    )


def contents(path: str) -> bytes:
    """What is in the file."""
    with open(path, "rb") as file:
        return file.read()


def flip(path: str, offset: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


class FolderTests(SynchronousTestCase):
    """One store in one folder."""

    def setUp(self) -> None:
        self.path = os.path.join(tempfile.mkdtemp(dir="."), "store")

    def open(self) -> RocksStore:
        store = RocksStore.open(self.path)
        self.addCleanup(store.close)
        return store

    def test_reopened(self) -> None:
        """What was written is there after closing and opening again."""
        store = self.open()
        store.write({b"a": b"1"}, sync=True)
        store.close()
        self.assertEqual(self.open().get(b"a"), b"1")

    def test_private(self) -> None:
        """Others cannot look into the folder."""
        self.open()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o700)

    def test_missing(self) -> None:
        """A store that must exist is not made."""
        error = self.assertRaises(StorageError, RocksStore.open, self.path, create=False)
        self.assertIn("there is no event store at", str(error))
        self.assertFalse(os.path.exists(self.path))

    def test_read_only(self) -> None:
        """Readers may open a store beside its writer, and cannot write."""
        store = self.open()
        store.write({b"a": b"1"}, sync=True)
        reader = RocksStore.open(self.path, read_only=True)
        self.addCleanup(reader.close)
        self.assertEqual(reader.get(b"a"), b"1")
        self.assertRaises(StorageError, reader.write, {b"b": b"2"}, sync=False)

    def test_checkpoint_opens(self) -> None:
        """A checkpoint is a store of its own that holds what was written before it."""
        store = self.open()
        store.write({b"a": b"1"}, sync=False)
        copy = self.path + "-copy"
        store.checkpoint(copy)
        store.write({b"a": b"2"}, sync=False)
        other = RocksStore.open(copy)
        self.addCleanup(other.close)
        self.assertEqual(other.get(b"a"), b"1")

    def test_unknown_format(self) -> None:
        """A store of another format is refused, and named, and left alone."""
        store = self.open()
        store.write({FORMAT_KEY: b"7"}, sync=True)
        store.close()
        for read_only in (False, True):
            error = self.assertRaises(StorageError, RocksStore.open, self.path, read_only=read_only)
            self.assertIn("has store format 7, this program knows format 4", str(error))

    def test_foreign_database(self) -> None:
        """A database without a format number is not ours, so it is not touched."""
        store = self.open()
        store.write({FORMAT_KEY: None, b"somebody": b"else"}, sync=True)
        store.close()
        error = self.assertRaises(StorageError, RocksStore.open, self.path)
        self.assertIn("is not an event store of this program", str(error))

    def test_side_file_cut_by_a_crash(self) -> None:
        """A crash while the binding writes its side file does not lock the store out."""
        store = self.open()
        store.write({b"a": b"1"}, sync=True)
        store.close()
        side = os.path.join(self.path, "rocksdict-config.json")
        for content in (None, b"", b'{"raw_m', b'{"raw_mode":false,"prefix_extractors":{}}'):
            os.remove(side)
            if content is not None:
                with open(side, "wb") as file:
                    file.write(content)
            store = RocksStore.open(self.path)
            self.assertEqual(store.get(b"a"), b"1")
            store.close()

    def test_damaged_table(self) -> None:
        """A scan over a damaged table fails; it never ends early as if nothing were missing."""
        store = self.open()
        store.write({b"k%05d" % n: os.urandom(100) for n in range(3_000)}, sync=True)
        store.close()
        (table,) = [name for name in os.listdir(self.path) if name.endswith(".sst")]
        flip(os.path.join(self.path, table), 150_000)
        view = self.open().view()
        for reverse in (False, True):
            error = self.assertRaises(
                StorageError, lambda reverse=reverse: list(view.scan(b"k", b"l", reverse=reverse))
            )
            self.assertIn("the data is damaged", str(error))


class LockTests(SynchronousTestCase):
    """One process at a time."""

    def setUp(self) -> None:
        self.path = os.path.join(tempfile.mkdtemp(dir="."), "store")

    def test_held_by_another_process(self) -> None:
        """Whoever finds the store taken learns which process to stop; its death frees it."""
        program = (
            "import sys; from eventdbx.storage.rocks import RocksStore; "
            "store = RocksStore.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        )
        with child("-c", program, self.path) as other:
            assert other.stdout is not None
            self.assertEqual(other.stdout.readline(), "open\n")
            error = self.assertRaises(StoreLocked, RocksStore.open, self.path)
            lock = os.path.join(self.path, "eventdbx.lock")
            self.assertEqual(
                str(error),
                f"storage error: event store lock at {lock} is held by process {other.pid}; "
                "stop the running dbx instance and retry",
            )
            other.kill()
        store = RocksStore.open(self.path)
        self.assertRaises(StoreLocked, RocksStore.open, self.path)
        store.close()
        RocksStore.open(self.path).close()


class CrashTests(SynchronousTestCase):
    """The write-ahead log after a crash."""

    prepared = False
    stride = 1

    def setUp(self) -> None:
        """A copy of a living store: what a killed process leaves, 60 synced batches."""
        self.folder = tempfile.mkdtemp(dir=".")
        self.addCleanup(shutil.rmtree, self.folder)
        path = os.path.join(self.folder, "living")
        living = RocksStore.open(path, prepare_logs=self.prepared)
        log = wal.logs(path)[-1][1]
        self.log = os.path.basename(log)
        self.ends = []
        for n in range(60):
            if n == 59:
                self.before_last = contents(log)
            value = b"%d" % n + os.urandom(40_000 if n % 20 == 10 else n * 7)
            living.write({b"n%02d" % n: value, b"last": b"%d" % n}, sync=True)
            self.ends.append(wal.end_of_records(log))
        self.final = contents(log)
        self.crashed = os.path.join(self.folder, "crashed")
        shutil.copytree(path, self.crashed)
        living.close()

    def damaged(self) -> tuple[str, str]:
        """A fresh copy of the crashed store, and its log."""
        path = os.path.join(self.folder, "damaged")
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.crashed, path)
        return path, os.path.join(path, self.log)

    def torn(self, written: int, zeros: int = 0) -> str:
        """The store when ``written`` bytes of its log and then some zeros reached the disk."""
        path, log = self.damaged()
        content = self.final[:written] + bytes(zeros)
        with open(log, "wb") as file:
            file.write(content + self.before_last[len(content) :])
        return path

    def count(self, path: str) -> int:
        """How many batches are there; fails if they are not a prefix of what was written."""
        store = RocksStore.open(path)
        keys = [key for key, _ in store.view().scan(b"n", b"o")]
        self.assertEqual(keys, [b"n%02d" % n for n in range(len(keys))])
        if keys:
            self.assertEqual(store.get(b"last"), b"%d" % (len(keys) - 1))
        store.close()
        return len(keys)

    def test_recovered(self) -> None:
        """After a kill everything that was synced is there."""
        self.assertEqual(self.count(self.crashed), 60)

    def test_flipped_bits(self) -> None:
        """A flipped bit before the last batch is refused, wherever it is, and loses nothing."""
        starts = [0, *self.ends[:-2]]
        spots = {start + at for start in starts[::6] for at in (0, 3, 4, 5, 6, 7, 9, 11, 19, 25)}
        spots |= set(range(37, self.ends[-2], 9_973))
        path, log = self.damaged()
        chosen = sorted(spot for spot in spots if spot < self.ends[-2])[:: self.stride]
        for number, spot in enumerate(chosen):
            flip(log, spot, number % 8)
            before = contents(log)
            error = self.assertRaises(StorageError, RocksStore.open, path)
            self.assertIn("is damaged: acknowledged writes follow the damage", str(error))
            self.assertEqual(contents(log), before, "the evidence was changed")
            flip(log, spot, number % 8)
        self.assertEqual(self.count(path), 60)

    def test_overwritten_block(self) -> None:
        """A block of zeros or rubbish in the middle is refused too."""
        for rubbish in (bytes(4096), os.urandom(4096)):
            path, log = self.damaged()
            with open(log, "r+b") as file:
                file.seek(40_960)
                file.write(rubbish)
            self.assertRaises(StorageError, RocksStore.open, path)

    def test_accepted_loss(self) -> None:
        """Who has no backup may open a damaged store and keep what precedes the damage."""
        path, log = self.damaged()
        flip(log, self.ends[30] + 20)
        self.assertRaises(StorageError, RocksStore.open, path)
        store = RocksStore.open(path, accept_loss=True)
        store.write({b"last": b"30"}, sync=True)
        store.close()
        self.assertEqual(self.count(path), 31)

    def test_torn_tail(self) -> None:
        """A last batch that was cut anywhere is dropped, everything before it is there."""
        for length in range(self.ends[-2], self.ends[-1], 31 * self.stride):
            self.assertEqual(self.count(self.torn(length)), 59)

    def test_torn_tail_of_zeros(self) -> None:
        """A last batch whose blocks never reached the disk is dropped like one cut short."""
        for kept in (0, 9, 100):
            self.assertEqual(self.count(self.torn(self.ends[-2] + kept, zeros=8192)), 59)


class RecycledLogTests(CrashTests):
    """The same when the log is written over an older one, as in a daemon."""

    prepared = True
    stride = 7


class KillTests(SynchronousTestCase):
    """A process that is killed while it writes."""

    def test_kill(self) -> None:
        """Nothing acknowledged is lost and nothing is half there, however often it dies."""
        path = os.path.join(tempfile.mkdtemp(dir="."), "store")
        RocksStore.open(path).close()
        for lines in (1, 150, 400):
            fresh = os.path.join(os.path.dirname(path), f"run{lines}")
            acknowledged = -1
            with child("-m", "tests.storage.writing_child", fresh) as writer:
                assert writer.stdout is not None
                for _ in range(lines):
                    acknowledged = int(writer.stdout.readline())
                writer.kill()
                for line in writer.stdout:
                    if line.endswith("\n"):
                        acknowledged = int(line)
            store = RocksStore.open(fresh)
            numbers = [int(key[1:]) for key, _ in store.view().scan(b"n", b"o")]
            self.assertEqual(numbers, list(range(len(numbers))))
            self.assertEqual(store.get(b"count"), b"%d" % len(numbers))
            self.assertGreater(len(numbers), acknowledged)
            store.close()
