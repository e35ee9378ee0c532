"""Sealed values: nothing readable below, nothing altered or moved comes back, erased content."""

from __future__ import annotations

import os
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage import contents
from eventdbx.storage.contents import DamagedRecord
from eventdbx.storage.keyslots import KeySlots
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.opening import COPY_NAME, keys_path, open_store
from eventdbx.storage.sealed import SealedStore, Seals

KEY = b"k" * 32
OTHER = b"o" * 32


def record(slots: tuple[int, ...], readable: bytes, content: bytes) -> bytes:
    """Return a record in two parts."""
    return contents.begin(9, slots, len(readable)) + readable + content


class SealsTests(SynchronousTestCase):
    """The values of one store, seen from above and from below."""

    def setUp(self) -> None:
        self.slots = KeySlots.create(os.path.join(tempfile.mkdtemp(dir="."), "data_keys"), KEY)
        self.addCleanup(self.slots.close)
        self.below = MemoryStore()
        self.store = SealedStore(self.below, Seals(self.slots, seal=True))

    def stored(self, key: bytes) -> bytes:
        """Return what lies below."""
        value = self.below.get(key)
        assert value is not None
        return value

    def test_nothing_is_readable_below(self) -> None:
        """Neither values nor the content of records; from above all is as it was written."""
        event = record((self.slots.take(),), b"readable-secret", b"content-secret")
        self.store.write({b"e1": event, b"t": b"tail-secret", b"ca": b""}, sync=True)
        for key in (b"e1", b"t"):
            self.assertNotIn(b"secret", self.stored(key))
        self.assertEqual(self.store.get(b"e1"), event)
        self.assertEqual(
            list(self.store.view().scan(b"\x01", b"z")),
            [(b"ca", b""), (b"e1", event), (b"t", b"tail-secret")],
        )

    @settings(deadline=None)
    @given(st.sampled_from([b"e1", b"t", b"p"]), st.data())
    def test_any_flip_is_named(self, key: bytes, data: st.DataObject) -> None:
        """A flipped bit of a value, sealed or plain, is an error that names the key."""
        event = record((self.slots.take(), self.slots.take()), b"readable", b"content")
        plain = SealedStore(self.below, Seals(None, seal=False))
        self.store.write({b"e1": event, b"t": b"tail"}, sync=True)
        plain.write({b"p": b"plain"}, sync=True)
        stored = bytearray(self.stored(key))
        place = data.draw(st.integers(0, len(stored) * 8 - 1))
        stored[place // 8] ^= 1 << place % 8
        self.below.write({key: bytes(stored)}, sync=True)
        store = plain if key == b"p" else self.store
        with self.assertRaises(DamagedRecord) as caught:
            store.get(key)
        self.assertIn(key.decode(), str(caught.exception))

    def test_moved_values(self) -> None:
        """A value that was put under another key does not open there."""
        one, two = (record((self.slots.take(),), b"r%d" % n, b"c%d" % n) for n in range(2))
        self.store.write({b"e1": one, b"e2": two}, sync=True)
        first, second = self.stored(b"e1"), self.stored(b"e2")
        self.below.write({b"e1": second, b"e2": first}, sync=True)
        self.assertRaises(DamagedRecord, self.store.get, b"e1")
        self.assertRaises(DamagedRecord, self.store.get, b"e2")

    def test_destroyed_content(self) -> None:
        """Without its key a content reads as erased, also in copies made before; the rest stays."""
        mine, other, subject = (self.slots.take() for _ in range(3))
        rows = {
            b"e1": record((mine,), b"one", b"content"),
            b"e2": record((mine, subject), b"two", b"content"),
            b"e3": record((other, subject), b"three", b"content"),
            b"e4": record((other,), b"four", b"content"),
        }
        self.store.write(rows, sync=True)
        copy = {key: self.stored(key) for key in rows}
        self.slots.destroy([mine])
        self.store.seals.forget()
        self.assertEqual(self.store.get(b"e1"), contents.without_content(rows[b"e1"]))
        self.assertEqual(self.store.get(b"e2"), contents.without_content(rows[b"e2"]))
        self.assertEqual(self.store.get(b"e3"), rows[b"e3"])
        self.slots.destroy([subject])
        self.store.seals.forget()
        self.below.write(copy, sync=True)
        again = SealedStore(self.below, Seals(self.slots, seal=True))
        self.assertEqual(again.get(b"e3"), contents.without_content(rows[b"e3"]))
        self.assertEqual(again.get(b"e4"), rows[b"e4"])
        again.write({b"e1": rows[b"e1"]}, sync=True)
        self.assertEqual(again.get(b"e1"), contents.without_content(rows[b"e1"]))

    def test_no_nonce_twice(self) -> None:
        """Equal values are never equal below, within an opening and across openings."""
        seen = set()
        for _opening in range(3):
            store = SealedStore(self.below, Seals(self.slots, seal=True))
            for _ in range(20):
                store.write({b"t": b"same"}, sync=True)
                seen.add(self.stored(b"t")[:13])
        self.assertEqual(len(seen), 60)

    def test_no_nonce_twice_on_threads(self) -> None:
        """Nor when several threads seal at the same time, and when the numbers are used up."""
        self.patch(limits, "VALUES_OF_OPENING_MAX", 500)
        seals = Seals(self.slots, seal=True)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _n: seals.made(b"t", b"same"), range(5_000)))
        self.assertEqual(len({value[:13] for value in made}), 5_000)
        self.assertEqual({seals.opened(b"t", value) for value in made}, {b"same"})

    def test_another_form(self) -> None:
        """The readable part of a record does not pass for a whole value."""
        self.store.write({b"e1": record((self.slots.take(),), b"readable", b"content")}, sync=True)
        stored = self.stored(b"e1")
        form, slot, counter, first_n = struct.unpack_from(">BIQI", stored)
        self.assertEqual(form, 2)
        forged = struct.pack(">BIQ", 1, slot, counter) + stored[17 : 17 + first_n]
        self.below.write({b"e1": forged}, sync=True)
        self.assertRaises(DamagedRecord, self.store.get, b"e1")

    def test_keys_are_destroyed_beside_readers(self) -> None:
        """A thread that was about to read a key does not keep it when it is destroyed."""
        slots = [self.slots.take() for _ in range(40)]
        rows = {b"e%d" % n: record((n,), b"r", b"content") for n in slots}
        self.store.write(rows, sync=True)
        again = KeySlots.open(self.slots.path, [KEY])
        self.addCleanup(again.close)
        store = SealedStore(self.below, Seals(again, seal=True))
        over = Event()

        def read() -> None:
            while not over.is_set():
                list(store.view().scan(b"e", b"f"))

        with ThreadPoolExecutor(4) as pool:
            reading = [pool.submit(read) for _ in range(4)]
            try:
                for slot in slots:
                    store.seals.destroy([slot])
            finally:
                over.set()
            for one in reading:
                one.result()
        for key, row in rows.items():
            self.assertEqual(store.get(key), contents.without_content(row))


class OpeningTests(SynchronousTestCase):
    """What is refused before anything is written."""

    def setUp(self) -> None:
        self.path = os.path.join(tempfile.mkdtemp(dir="."), "store")

    def make(self, *, seal: bool = True) -> None:
        store = open_store(self.path, data_keys=[KEY], seal=seal)
        store.write({b"t": b"value"}, sync=True)
        store.close()

    def contents(self) -> dict[str, bytes]:
        found = {}
        for folder, _folders, names in os.walk(os.path.dirname(self.path)):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    found[name] = file.read()
        return found

    def test_wrong_or_missing_key(self) -> None:
        """The store stays byte for byte what it was, and opens with the right key."""
        self.make()
        before = self.contents()
        error = self.assertRaises(StorageError, open_store, self.path, data_keys=[OTHER], seal=True)
        self.assertIn("no configured data encryption key fits", str(error))
        self.assertEqual(self.contents(), before)
        for seal in (False, True):
            self.assertRaises(ConfigError, open_store, self.path, data_keys=[], seal=seal)
        self.assertEqual(self.contents(), before)
        store = open_store(self.path, data_keys=[OTHER, KEY], seal=True, read_only=True)
        self.assertEqual(store.get(b"t"), b"value")
        store.close()

    def test_keys_of_another_store(self) -> None:
        """A missing file of keys, or that of another store, is named."""
        self.make()
        self.check_refusals()
        os.rename(keys_path(self.path) + ".aside", keys_path(self.path))
        os.unlink(os.path.join(self.path, COPY_NAME))
        self.check_refusals()

    def check_refusals(self) -> None:
        os.rename(keys_path(self.path), keys_path(self.path) + ".aside")
        before = self.contents()
        error = self.assertRaises(StorageError, open_store, self.path, data_keys=[KEY], seal=True)
        self.assertIn("must be restored", str(error))
        KeySlots.create(keys_path(self.path), KEY).close()
        error = self.assertRaises(StorageError, open_store, self.path, data_keys=[KEY], seal=True)
        self.assertIn("of another store", str(error))
        os.unlink(keys_path(self.path))
        self.assertEqual(self.contents(), before)

    def test_sealing_on_and_off(self) -> None:
        """A plain store is read on when sealing begins, and a sealed one when it ends."""
        self.make(seal=False)
        self.assertFalse(os.path.exists(keys_path(self.path)))
        store = open_store(self.path, data_keys=[KEY], seal=True)
        self.assertEqual(store.get(b"t"), b"value")
        store.write({b"u": b"sealed"}, sync=True)
        store.close()
        store = open_store(self.path, data_keys=[KEY], seal=False)
        self.assertEqual(store.get(b"u"), b"sealed")
        store.write({b"v": b"plain"}, sync=True)
        stored = store.backend.get(b"v")
        assert stored is not None
        self.assertEqual((stored[0], stored[5:]), (0, b"plain"))
        store.close()

    def test_nothing_plain_is_slipped_in(self) -> None:
        """A store whose values are all sealed refuses a plain one; one with plain values cannot."""
        self.make()
        for seal, refused in ((True, True), (False, False), (True, False)):
            store = open_store(self.path, data_keys=[KEY], seal=seal)
            store.backend.write({b"u": Seals(None, seal=False).made(b"u", b"forged")}, sync=True)
            if refused:
                self.assertRaises(DamagedRecord, store.get, b"u")
            else:
                self.assertEqual(store.get(b"u"), b"forged")
            store.close()

    def test_older_keys(self) -> None:
        """A file of keys from before the newest ones were used is refused, for it lacks some."""
        self.make()
        with open(keys_path(self.path), "rb") as file:
            before = file.read()
        store = open_store(self.path, data_keys=[KEY], seal=True)
        store.write({b"e1": record((store.seals.new_slot(),), b"r", b"c")}, sync=True)
        store.close()
        with open(keys_path(self.path), "rb") as file:
            newest = file.read()
        for read_only in (False, True):
            with open(keys_path(self.path), "wb") as file:
                file.write(before)
            error = self.assertRaises(
                StorageError, open_store, self.path, data_keys=[KEY], seal=True,
                read_only=read_only,
            )  # fmt: skip
            self.assertIn("is older than the store", str(error))
        with open(keys_path(self.path), "wb") as file:
            file.write(newest)
        open_store(self.path, data_keys=[KEY], seal=True).close()

    def test_left_of_a_kill(self) -> None:
        """What a rewrap left that was killed is gone once the store is opened to be written."""
        self.make()
        left = keys_path(self.path) + ".new"
        with open(keys_path(self.path), "rb") as file, open(left, "wb") as copy:
            copy.write(file.read())
        open_store(self.path, data_keys=[KEY], seal=True, read_only=True).close()
        self.assertTrue(os.path.exists(left))
        open_store(self.path, data_keys=[KEY], seal=True).close()
        self.assertFalse(os.path.exists(left))

    def test_slots_of_another_process(self) -> None:
        """Keys that were made between the look at the file and the lock are not overwritten."""
        self.make()
        holder = open_store(self.path, data_keys=[KEY], seal=True)
        first = holder.seals.new_slot()
        self.assertRaises(StorageError, open_store, self.path, data_keys=[KEY], seal=True)
        assert holder.seals.slots is not None
        list(holder.seals.slots.rewrap(OTHER))
        key = holder.seals.slots.key(first)
        holder.close()
        again = open_store(self.path, data_keys=[OTHER], seal=True)
        assert again.seals.slots is not None
        self.assertNotEqual(again.seals.new_slot(), first)
        self.assertEqual(again.seals.slots.key(first), key)
        again.close()
