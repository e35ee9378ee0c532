"""The pass that seals what is plain: complete, resumed wherever it stopped, beside writers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed

from eventdbx.application import datakeys
from eventdbx.application.datakeys import DataKeys
from eventdbx.application.subjects import find_subject
from eventdbx.errors import StorageError
from eventdbx.storage import keys
from eventdbx.storage.contents import FAMILIES, DamagedRecord, parts
from eventdbx.storage.eventlog import load_event, load_head, snapshots
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.sealed import ALL_KEY, PARTED, PLAIN
from tests.integrity.stores import AttackCase, BuiltStore, passed, result

AGGREGATES = 120


class SealingTests(AttackCase):
    """A store that was filled without encryption, opened with it."""

    def setUp(self) -> None:
        self.below = MemoryStore()
        plain = self.open_plain(self.below)
        plain.fill(AGGREGATES)
        self.records = dict(plain.store.view().scan(b"\x01", b"\xff"))
        self.roots = [
            (one.aggregate_id, one.version, one.merkle_root)
            for one in passed(plain.store.view()).checked
        ]

    def opened(self) -> tuple[BuiltStore, DataKeys]:
        built = self.open_sealed(self.below)
        return built, DataKeys(built.store, built.writer, built.above.seals)

    def run_pass(self, data_keys: DataKeys, between: Callable[[], None] = lambda: None) -> int:
        steps = 1
        while self.step(data_keys):
            between()
            steps += 1
        return steps

    def step(self, data_keys: DataKeys) -> bool:
        more: bool = result(Deferred.fromCoroutine(data_keys.seal_some()))
        return more

    def plain_keys(self) -> list[bytes]:
        """Return the keys of values that are plain below, or hold content under no key."""
        found = []
        for key, value in self.below.view().scan(b"\x01", b"\xff"):
            if value and (value[0] == PLAIN or (key[0] in FAMILIES and value[0] != PARTED)):
                found.append(key)
        return found

    def test_everything(self) -> None:
        """Every value is sealed and as it was; each aggregate has a key that can be destroyed."""
        self.assertGreater(len(self.plain_keys()), AGGREGATES)
        built, data_keys = self.opened()
        self.assertTrue(data_keys.has_plain)
        self.assertEqual(data_keys.plain_values(), len(self.plain_keys()))
        self.assertGreater(self.run_pass(data_keys), 5)
        self.assertEqual(self.plain_keys(), [])
        self.assertTrue(data_keys.all_sealed)
        self.assertIsNotNone(self.below.get(ALL_KEY))
        view = built.store.view()
        for key, value in self.records.items():
            now = view.get(key)
            assert now is not None
            if key[0] in FAMILIES:
                self.assertEqual(value[parts(value)[3] :], now[parts(now)[3] :], key)
            else:
                self.assertEqual(value, now, key)
        outcome = passed(view)
        self.assertEqual(outcome.findings, [])
        roots = [(one.aggregate_id, one.version, one.merkle_root) for one in outcome.checked]
        self.assertEqual(roots, self.roots)

    def test_erased_by_key(self) -> None:
        """Once its key is destroyed all content of an aggregate is gone, and of no other."""
        built, data_keys = self.opened()
        self.run_pass(data_keys)
        name = keys.name("order", "o-18")
        head = load_head(built.store.view(), name)
        assert head is not None and head.key_slot
        built.above.seals.destroy([head.key_slot])
        view = built.store.view()
        for version in range(1, head.version + 1):
            event = load_event(view, name, version)
            assert event is not None
            self.assertTrue(event.erased)
        self.assertEqual([one.erased for one in snapshots(view, "order", "o-18")], [True])
        other = load_event(view, keys.name("order", "o-17"), 1)
        assert other is not None
        self.assertFalse(other.erased)

    def test_data_subjects(self) -> None:
        """What is about somebody has that key, too, and the state another one."""
        plain = self.open_plain(self.below)
        about = {"metadata": orjson.dumps({"@subject": "anna@example.org"})}
        plain.write(plain.append("o-500", {"a": 1}), plain.append("o-500", {"b": 2}, **about))
        plain.snapshot("o-500")
        built, data_keys = self.opened()
        self.run_pass(data_keys)
        view, name = built.store.view(), keys.name("order", "o-500")
        subject, head = find_subject(view, "anna@example.org"), load_head(view, name)
        assert subject is not None and head is not None and subject.slot
        events = [load_event(view, name, version) for version in (1, 2)]
        self.assertEqual(
            [one.key_slots for one in events if one],
            [(head.key_slot,), (head.key_slot, subject.slot)],
        )
        self.assertTrue(head.state_slot)
        for one in snapshots(view, "order", "o-500"):
            self.assertEqual(one.key_slots, head.content_slots)
        self.assertEqual(passed(view).findings, [])

    def test_stopped_and_resumed(self) -> None:
        """Whoever comes after a stop, anywhere, ends up with the same."""
        random = Random(4)
        self.patch(datakeys, "SEALED_AT_ONCE", 8)
        built, data_keys = self.opened()
        for _ in range(6):
            for _ in range(random.randrange(1, 5)):
                self.assertTrue(self.step(data_keys))
            self.assertFalse(data_keys.all_sealed)
            built = BuiltStore(self.below, built.above.seals.slots)
            data_keys = DataKeys(built.store, built.writer, built.above.seals)
        self.run_pass(data_keys)
        self.assertEqual(self.plain_keys(), [])
        self.assertEqual(passed(built.store.view()).findings, [])

    def test_beside_writers(self) -> None:
        """What is written, archived and kept meanwhile is sealed as well, and nothing is lost."""
        built, data_keys = self.opened()
        random, written = Random(9), 0

        def between() -> None:
            nonlocal written
            name = f"o-{random.randrange(AGGREGATES * 2)}"
            try:
                built.write(built.append(name, {"meanwhile": written}))
                written += 1
                built.snapshot(name)
                built.archive(name)
            except Exception as error:
                self.assertIn("archived", str(error))

        self.run_pass(data_keys, between)
        self.assertGreater(written, 5)
        self.assertEqual(self.plain_keys(), [])
        self.assertEqual(passed(built.store.view()).findings, [])
        restarted = built.make_writer()
        done = restarted.write(
            [built.append("o-2", {"after": 1})], actor=None, render=lambda done: done[0].head
        )
        self.assertTrue(result(done).key_slot)

    def test_refused_afterwards(self) -> None:
        """A plain value that is put in place of a sealed one is damage from then on."""
        built, data_keys = self.opened()
        before = dict(self.below.view().scan(b"e", b"f"))
        self.run_pass(data_keys)
        key = next(iter(before))
        self.below.write({key: before[key]}, sync=True)
        self.assertRaises(DamagedRecord, built.above.get, key)

    def test_damage_stops_it(self) -> None:
        """A record that cannot be read is named; nothing is marked as done."""
        key = keys.event(keys.name("order", "o-3"), 1)
        stored = self.below.get(key)
        assert stored is not None
        self.below.write({key: stored[:-1] + bytes((stored[-1] ^ 1,))}, sync=True)
        _built, data_keys = self.opened()
        error = self.assertRaises(StorageError, self.run_pass, data_keys)
        self.assertIn("o-3", str(error))
        self.assertFalse(data_keys.all_sealed)

    def test_nothing_to_do(self) -> None:
        """Where sealing is off, or all is sealed, no step does anything."""
        plain = self.open_plain(self.below)
        off = DataKeys(plain.store, plain.writer, plain.above.seals)
        self.assertFalse(self.step(off))
        self.assertFalse(off.has_plain)
        _built, data_keys = self.opened()
        self.run_pass(data_keys)
        self.assertFalse(self.step(data_keys))
        self.assertIsNone(data_keys.sealing())


class RewrapTests(AttackCase):
    """The other step: keys wrapped by another configured key."""

    def test_steps(self) -> None:
        """Begun, given up, begun again, over; the thread is whoever runs the steps."""
        built = self.open_sealed()
        built.fill(200)
        data_keys = DataKeys(built.store, built.writer, built.above.seals)
        ran = []

        def run(work: Callable[[], Any]) -> Deferred[Any]:
            ran.append(work)
            return succeed(work())

        other = b"o" * 32
        self.assertTrue(result(Deferred.fromCoroutine(data_keys.rewrap_some(other, run))))
        data_keys.give_up()
        self.assertFalse(data_keys.is_wrapped_by(other))
        while result(Deferred.fromCoroutine(data_keys.rewrap_some(other, run))):
            pass
        self.assertTrue(data_keys.is_wrapped_by(other))
        self.assertGreater(len(ran), 2)
        self.assertEqual(passed(built.store.view()).findings, [])
