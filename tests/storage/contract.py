"""What every ordered store must do; each adapter runs it (test_adapters)."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from eventdbx.errors import StorageError
from eventdbx.storage.interfaces import IOrderedStore, IReadView

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

EVERYTHING = (b"", b"\xff" * 9)


class StoreContract(_Case):
    """Mix into a test case that makes ``self.store``."""

    store: IOrderedStore

    def contents(self, view: IReadView | None = None) -> list[tuple[bytes, bytes]]:
        pairs = list((view or self.store.view()).scan(*EVERYTHING))
        return [pair for pair in pairs if not pair[0].startswith(b"\x00")]

    def fill(self, count: int) -> list[tuple[bytes, bytes]]:
        pairs = [(b"key%05d" % n, b"value%d" % n) for n in range(count)]
        self.store.write(dict(pairs), sync=False)
        return pairs

    def test_interfaces(self) -> None:
        """The adapter and its views offer what the port promises."""
        verifyObject(IOrderedStore, self.store)
        verifyObject(IReadView, self.store.view())

    def test_write_and_get(self) -> None:
        """What was written is read back, what was not is None, an empty value is a value."""
        self.store.write({b"a": b"1", b"empty": b""}, sync=True)
        self.assertEqual(self.store.get(b"a"), b"1")
        self.assertEqual(self.store.get(b"empty"), b"")
        self.assertIsNone(self.store.get(b"b"))
        view = self.store.view()
        self.assertEqual((view.get(b"a"), view.get(b"empty"), view.get(b"b")), (b"1", b"", None))

    def test_delete(self) -> None:
        """A deleted key is gone; deleting what is not there changes nothing."""
        self.store.write({b"a": b"1", b"b": b"2"}, sync=False)
        self.store.write({b"a": None, b"zz": None}, sync=False)
        self.assertIsNone(self.store.get(b"a"))
        self.assertEqual(self.contents(), [(b"b", b"2")])

    def test_empty_batch(self) -> None:
        """A batch without changes is written and synced like any other."""
        self.store.write({}, sync=True)
        self.store.sync()
        self.assertEqual(self.contents(), [])

    def test_scan_bounds(self) -> None:
        """A scan includes its start and excludes its stop, in both directions."""
        self.store.write({bytes([n]): b"v" for n in range(10, 20)}, sync=False)
        view = self.store.view()
        keys = [key[0] for key, _ in view.scan(b"\x0c", b"\x0f")]
        self.assertEqual(keys, [12, 13, 14])
        keys = [key[0] for key, _ in view.scan(b"\x0c", b"\x0f", reverse=True)]
        self.assertEqual(keys, [14, 13, 12])
        self.assertEqual(list(view.scan(b"\x0f", b"\x0f")), [])
        self.assertEqual(list(view.scan(b"\x0f", b"\x0c", reverse=True)), [])

    def test_scan_between_keys(self) -> None:
        """Bounds need not be keys; prefixes do not run on into longer names."""
        self.store.write(dict.fromkeys([b"o-1\x1fa", b"o-10\x1fa", b"o-1\x1fb"], b"v"), sync=False)
        found = [key for key, _ in self.store.view().scan(b"o-1\x1f", b"o-1\x20")]
        self.assertEqual(found, [b"o-1\x1fa", b"o-1\x1fb"])

    def test_long_scan(self) -> None:
        """A scan of thousands of keys yields each of them once, in order."""
        pairs = self.fill(5_000)
        self.assertEqual(self.contents(), pairs)
        backwards = list(self.store.view().scan(b"key", b"kez", reverse=True))
        self.assertEqual(backwards, pairs[::-1])

    def test_view_is_a_moment(self) -> None:
        """A view never shows what was written, overwritten or deleted after it was taken."""
        self.store.write({b"a": b"1", b"b": b"2", b"d": b"4"}, sync=False)
        view = self.store.view()
        self.store.write({b"a": b"new", b"b": None, b"c": b"3"}, sync=False)
        later = self.store.view()
        self.store.write({b"b": b"again", b"d": None}, sync=False)
        self.assertEqual(self.contents(view), [(b"a", b"1"), (b"b", b"2"), (b"d", b"4")])
        self.assertEqual(self.contents(later), [(b"a", b"new"), (b"c", b"3"), (b"d", b"4")])
        backwards = list(view.scan(*EVERYTHING, reverse=True))[:3]
        self.assertEqual(backwards, [(b"d", b"4"), (b"b", b"2"), (b"a", b"1")])
        self.store.write({b"a": None, b"aa": b"", b"f": b"5"}, sync=False)
        self.assertEqual(list(view.scan(b"a", b"c")), [(b"a", b"1"), (b"b", b"2")])
        self.assertEqual(list(later.scan(b"a", b"c")), [(b"a", b"new")])
        self.assertEqual((view.get(b"b"), later.get(b"b")), (b"2", None))
        self.assertEqual(self.store.get(b"b"), b"again")

    def test_scan_under_writes(self) -> None:
        """A scan that has begun goes on over the same moment while others write."""
        pairs = self.fill(3_000)
        for reverse in (False, True):
            expected = pairs[::-1] if reverse else pairs
            scan = self.store.view().scan(b"key", b"kez", reverse=reverse)
            taken = [next(scan) for _ in range(10)]
            self.store.write(dict.fromkeys([key for key, _ in pairs[::3]], None), sync=False)
            self.store.write({b"key00001x%d" % n: b"" for n in range(100)}, sync=False)
            self.assertEqual(taken + list(scan), expected)
            self.store.write({b"key00001x%d" % n: None for n in range(100)}, sync=False)
            self.store.write(dict(pairs), sync=False)

    def test_statistics(self) -> None:
        """Operators learn the bytes on disk and about how many keys there are."""
        self.fill(10)
        numbers = self.store.statistics()
        self.assertGreaterEqual(numbers["keys"], 10)
        self.assertGreaterEqual(numbers["bytes_on_disk"], 0)

    def test_used_bytes(self) -> None:
        """What is stored is told at once, and is at least what was put."""
        before = self.store.used_bytes()
        self.store.write({b"big%d" % n: os.urandom(1_000) for n in range(200)}, sync=False)
        self.assertGreaterEqual(self.store.used_bytes() - before, 200_000)

    def test_checkpoint(self) -> None:
        """A checkpoint makes a new folder and refuses one that exists."""
        self.fill(10)
        folder = tempfile.mkdtemp(dir=os.getcwd())
        self.store.checkpoint(os.path.join(folder, "copy"))
        self.assertTrue(os.listdir(os.path.join(folder, "copy")))
        self.assertRaises(StorageError, self.store.checkpoint, os.path.join(folder, "copy"))

    def test_closed(self) -> None:
        """After closing, twice if you like, every use says that the store is closed."""
        self.fill(10)
        view = self.store.view()
        self.store.close()
        self.store.close()
        uses = [
            lambda: self.store.get(b"a"),
            lambda: self.store.write({b"a": b"1"}, sync=False),
            self.store.sync,
            self.store.view,
            self.store.statistics,
            self.store.used_bytes,
            lambda: self.store.checkpoint("never"),
            lambda: view.get(b"key00001"),
            lambda: list(view.scan(*EVERYTHING)),
        ]
        for use in uses:
            error = self.assertRaises(StorageError, use)
            self.assertIn("the event store is closed", str(error))
