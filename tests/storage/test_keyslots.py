"""The file of data keys: each wrapped, numbered once, destroyed for good, wrapped anew."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.keyslots import KeySlots

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32


class KeySlotsTests(SynchronousTestCase):
    """One file on disk, opened again and again."""

    def setUp(self) -> None:
        self.path = os.path.join(tempfile.mkdtemp(dir="."), "data_keys")

    def make(self) -> KeySlots:
        slots = KeySlots.create(self.path, OLD)
        self.addCleanup(slots.close)
        return slots

    def open(self, *wrappings: bytes, read_only: bool = False) -> KeySlots:
        slots = KeySlots.open(self.path, wrappings, read_only=read_only)
        self.addCleanup(slots.close)
        return slots

    def test_keys_are_kept(self) -> None:
        """Each slot has a key of its own, which another process finds; none is in the file."""
        slots = self.make()
        taken = [slots.take() for _ in range(limits.KEY_SLOTS_BLOCK_MIN * 3)]
        alone = slots.take_alone()
        self.assertEqual(len({*taken, alone}), len(taken) + 1)
        keys = {slot: slots.key(slot) for slot in (*taken, alone)}
        self.assertEqual(len(set(keys.values())), len(keys))
        again = self.open(OTHER, OLD, read_only=True)
        self.assertEqual({slot: again.key(slot) for slot in keys}, keys)
        self.assertTrue(again.wrapped_by_older)
        with open(self.path, "rb") as file:
            text = file.read()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        for key in keys.values():
            assert key is not None
            self.assertNotIn(key, text)

    def test_no_slot_twice(self) -> None:
        """What was made ahead and not used is never given to anyone by a later process."""
        slots = self.make()
        seen: set[int] = set()
        for _ in range(5):
            fresh = {slots.take(), slots.take_alone()}
            self.assertFalse(seen & fresh)
            seen |= fresh
            slots.close()
            slots = self.open(OLD)

    def test_wrong_key(self) -> None:
        """A key that does not fit, or none, is refused; the file stays as it is."""
        self.make().take()
        with open(self.path, "rb") as file:
            before = file.read()
        error = self.assertRaises(StorageError, KeySlots.open, self.path, [NEW, OTHER])
        self.assertIn("no configured data encryption key fits", str(error))
        self.assertRaises(ConfigError, KeySlots.open, self.path, [])
        self.assertRaises(StorageError, KeySlots.create, self.path, NEW)
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_destroyed(self) -> None:
        """A destroyed key is gone here, for later processes, and through a rewrap."""
        slots = self.make()
        first, second = slots.take(), slots.take()
        kept = slots.key(second)
        slots.destroy([first])
        self.assertIsNone(slots.key(first))
        self.assertIsNone(self.open(OLD).key(first))
        self.assertEqual(self.open(OLD).key(second), kept)
        list(slots.rewrap(NEW))
        self.assertIsNone(self.open(NEW).key(first))
        self.assertRaises(StorageError, slots.destroy, [slots.count + 1])
        self.assertRaises(StorageError, slots.key, slots.count + 1)
        self.assertRaises(StorageError, slots.key, 0)

    def test_rewrap(self) -> None:
        """Afterwards the new key opens the file, the old one does not; what was taken or
        destroyed meanwhile is right as well."""
        slots = self.make()
        taken = [slots.take() for _ in range(40)]
        keys = {slot: slots.key(slot) for slot in taken}
        steps = slots.rewrap(NEW)
        next(steps)
        late = [slots.take() for _ in range(100)]
        keys.update({slot: slots.key(slot) for slot in late})
        slots.destroy([taken[3]])
        keys[taken[3]] = None
        self.assertEqual(self.open(OLD).key(late[0]), keys[late[0]])
        *_rest, last = steps
        self.assertEqual(last[0], last[1])
        self.assertRaises(StorageError, KeySlots.open, self.path, [OLD])
        for found in (slots, self.open(NEW)):
            self.assertEqual({slot: found.key(slot) for slot in keys}, keys)
            self.assertFalse(found.wrapped_by_older)
        after = slots.take_alone()
        self.assertEqual(self.open(NEW).key(after), slots.key(after))

    def test_rewrap_given_up(self) -> None:
        """A rewrap that ends half-way leaves the file under the old key."""
        slots = self.make()
        slot = slots.take()
        steps = slots.rewrap(NEW)
        next(steps)
        steps.close()
        self.assertEqual(self.open(OLD).key(slot), slots.key(slot))
        list(slots.rewrap(NEW))
        self.assertEqual(self.open(NEW).key(slot), slots.key(slot))

    def test_old_file_is_overwritten(self) -> None:
        """What the disk still has of the file before a rewrap holds no keys; a copy is kept."""
        slots = self.make()
        slot = slots.take()
        old = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, old)
        size = os.fstat(old).st_size
        list(slots.rewrap(NEW))
        self.assertEqual(os.pread(old, size + 1, 0), bytes(size))
        os.link(self.path, self.path + ".copy")
        list(slots.rewrap(OTHER))
        copy = KeySlots.open(self.path + ".copy", [NEW])
        self.addCleanup(copy.close)
        self.assertEqual(copy.key(slot), slots.key(slot))
        self.assertFalse(os.path.exists(self.path + ".new"))

    def test_one_rewrap_at_a_time(self) -> None:
        """A second one is refused while the first goes on, which says how far it is."""
        slots = self.make()
        slots.take()
        steps = slots.rewrap(NEW)
        self.assertEqual(next(steps), slots.progress)
        self.assertRaises(StorageError, next, slots.rewrap(OTHER))
        self.assertTrue(slots.wrapped_by(OLD))
        list(steps)
        self.assertIsNone(slots.progress)
        self.assertTrue(slots.wrapped_by(NEW))
        self.assertFalse(slots.wrapped_by(OLD))

    def test_readers_beside_a_rewrap(self) -> None:
        """Keys that are read while the file is replaced are those that were there."""
        slots = self.make()
        taken = [slots.take() for _ in range(200)]
        keys = {slot: slots.key(slot) for slot in taken}
        slots.close()
        found = self.open(OLD)
        self.patch(limits, "KEYS_KEPT_MAX", 8)
        over = Event()

        def read() -> None:
            while not over.is_set():
                for slot in taken:
                    assert found.key(slot) == keys[slot]

        with ThreadPoolExecutor(3) as pool:
            reading = [pool.submit(read) for _ in range(3)]
            try:
                for wrapping in (NEW, OLD, OTHER, NEW):
                    list(found.rewrap(wrapping))
            finally:
                over.set()
            for one in reading:
                one.result()

    def test_never_written(self) -> None:
        """A slot that a power cut left unwritten is nobody's, and does not stop a rewrap."""
        slots = self.make()
        slot = slots.take_alone()
        slots.close()
        with open(self.path, "ab") as file:
            file.write(bytes(64))
        found = self.open(OLD)
        self.assertRaises(StorageError, found.key, slot + 1)
        list(found.rewrap(NEW))
        self.assertEqual(self.open(NEW).key(slot), found.key(slot))
        self.assertEqual(list(found.destroyed()), [])
        found.destroy([slot])
        self.assertEqual(list(found.destroyed()), [slot])
        found.check()

    def test_full(self) -> None:
        """When the numbers are used up, openings still get one; nothing begins again at 1."""
        slots = self.make()
        os.ftruncate(slots._descriptor, 128 + 64 * ((1 << 32) - (1 << 20) - 10))
        found = self.open(OLD)
        error = self.assertRaises(StorageError, found.take)
        self.assertIn("is full", str(error))
        self.assertEqual(found.take_alone(), (1 << 32) - (1 << 20) - 9)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_flip_is_found(self, data: st.DataObject) -> None:
        """A flipped bit is refused when opening or at the slot; no wrong key comes out."""
        path = os.path.join(tempfile.mkdtemp(dir="."), "data_keys")
        slots = KeySlots.create(path, OLD)
        keys = {slot: slots.key(slot) for slot in (slots.take(), slots.take(), slots.take())}
        slots.close()
        with open(path, "rb") as file:
            text = bytearray(file.read())
        place = data.draw(st.integers(0, len(text) * 8 - 1))
        text[place // 8] ^= 1 << place % 8
        with open(path, "wb") as file:
            file.write(text)
        try:
            found = KeySlots.open(path, [OLD])
        except StorageError:
            return
        for slot, key in keys.items():
            try:
                self.assertEqual(found.key(slot), key)
            except StorageError as error:
                self.assertIn(f"damaged at the data key {slot}", str(error))
        found.close()

    def test_torn_end(self) -> None:
        """A slot that a crash cut short is not there, and its place is written again."""
        slots = self.make()
        slot = slots.take_alone()
        slots.close()
        with open(self.path, "ab") as file:
            file.write(b"torn")
        found = self.open(OLD)
        fresh = found.take_alone()
        self.assertEqual(fresh, slot + 1)
        self.assertEqual(self.open(OLD).key(fresh), found.key(fresh))
