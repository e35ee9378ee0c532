"""The state that goes with an event is the one just after it, however events are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator

import orjson
from zope.interface import implementer

from eventdbx.application.parts import PartsBuilder
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PayloadMode
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.events import Event
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, synchronous
from tests.application.test_folding import RENAME, STATUS, FoldingCase, schemas_text
from tests.application.test_writer import ALICE


@implementer(IReadView)
class CountingView:
    """A view that counts what is read through it."""

    def __init__(self, view: IReadView) -> None:
        self._view = view
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        """Read one key."""
        self.reads += 1
        return self._view.get(key)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Read a range, each pair counted."""
        for pair in self._view.scan(start, stop, reverse=reverse):
            self.reads += 1
            yield pair


class PartsCase(FoldingCase):
    """A domain with events, in the order of its log."""

    def setUp(self) -> None:
        super().setUp()
        self.builder = PartsBuilder("default")

    def fill(self, events: int, names: int, seed: int = 1) -> None:
        """Append events of all sorts to some orders."""
        choice = random.Random(seed)
        contents: tuple[object, ...] = (
            {"a": 1}, {"b": {"c": 2}, "a": "x"}, [1], {}, {"name": "Kim", "status": 0},
        )  # fmt: skip
        for number in range(events):
            self.clock.now += choice.randrange(10**9)
            metadata = choice.choice((None, f'{{"@trace":{number}}}', '{"@createdBy":"x"}'))
            name = f"o-{choice.randrange(names)}"
            self.write(self.append(name, choice.choice(contents), metadata=metadata))

    def log(self) -> list[tuple[int, Event]]:
        """Return positions and events in commit order."""
        view = self.store.view()
        found = []
        for position, entry in eventlog.log_entries(view, 0, start=0):
            name = keys.name(*keys.split_name(entry.event_key[1:]))
            event = eventlog.load_event(view, name, keys.event_version(entry.event_key))
            assert event is not None
            found.append((position, event))
        return found

    def build(self, position: int, event: Event, mode: PayloadMode = "all") -> Parts | None:
        """Build from what is committed now."""
        return self.builder.build(self.store.view(), self.schemas.in_force, event, position, mode)

    def head_of(self, position: int, event: Event) -> Head:
        """Return the state that goes with an event."""
        parts = self.build(position, event)
        assert parts is not None and parts.head is not None
        return parts.head

    def expected(self, event: Event) -> Head:
        """Return the head after an event, folded from the first one."""
        fold = self.schemas.in_force.views.fold(event.aggregate_type)
        _event, head = eventlog.at_version(
            self.store.view(), event.aggregate_type, event.aggregate_id, event.version, fold
        )
        return head._replace(frontier=(), archived=False, archived_at=None, archive_comment=None)


class StateTests(PartsCase):
    """States as of events."""

    def test_in_order_of_the_log(self) -> None:
        """Delivered one after the other, every event has the state, the extensions, the times and
        the root of its moment."""
        self.fill(60, 5)
        for position, event in self.log():
            self.assertEqual(self.head_of(position, event), self.expected(event))

    def test_in_any_order(self) -> None:
        """Back, again, with gaps: the state is always that of the event."""
        self.fill(40, 3)
        choice = random.Random(7)
        log = self.log()
        for position, event in choice.choices(log, k=150):
            self.assertEqual(self.head_of(position, event), self.expected(event))

    def test_with_few_kept(self) -> None:
        """What is kept is bounded in number and in bytes, and changes nothing but the cost."""
        self.fill(40, 6)
        for entries, size, most in ((2, 10**6, 2), (9, 1_500, 2), (9, 1, 0)):
            self.builder = PartsBuilder("default", entries_max=entries, bytes_max=size)
            for position, event in self.log():
                self.assertEqual(self.head_of(position, event), self.expected(event))
                self.assertLessEqual(len(self.builder), most)

    def test_reads_nothing_in_order(self) -> None:
        """From its first event on an aggregate costs no read, however long it grows."""
        for number in range(50):
            self.write(self.append("o-1", {"n": number}))
        view = CountingView(self.store.view())
        for position, event in self.log():
            parts = self.builder.build(view, self.schemas.in_force, event, position, "all")
            assert parts is not None and parts.head is not None
            self.assertEqual(parts.head.state, {"n": event.version - 1})
        self.assertEqual(view.reads, 0)

    def test_one_read_for_the_newest(self) -> None:
        """The newest event of a long aggregate needs its head only, and the next one nothing."""
        for number in range(50):
            self.write(self.append("o-1", {"n": number}))
        _, event = self.log()[-1]
        view = CountingView(self.store.view())
        self.builder.build(view, self.schemas.in_force, event, 49, "all")
        self.assertEqual(view.reads, 1)
        self.write(self.append("o-1", {"m": 1}))
        position, event = self.log()[-1]
        parts = self.builder.build(view, self.schemas.in_force, event, position, "all")
        assert parts is not None and parts.head is not None
        self.assertEqual((parts.head.state, view.reads), ({"n": 49, "m": 1}, 1))

    def test_a_gap_costs_its_events(self) -> None:
        """Events that were not for the plugin are read once, from where its fold was."""
        for number in range(50):
            self.write(self.append("o-1", {"n": number}))
        log = self.log()
        self.head_of(*log[39])
        view = CountingView(self.store.view())
        self.builder.build(view, self.schemas.in_force, log[43][1], 43, "all")
        self.assertEqual(view.reads, 3)

    def test_a_gap_up_to_the_newest(self) -> None:
        """A plugin that wants few events does not read the others before the newest one."""
        for number in range(50):
            self.write(self.append("o-1", {"n": number}))
        log = self.log()
        self.head_of(*log[2])
        view = CountingView(self.store.view())
        parts = self.builder.build(view, self.schemas.in_force, log[49][1], 49, "all")
        assert parts is not None
        self.assertEqual((parts.head, view.reads), (self.expected(log[49][1]), 1))

    def test_held_back_beside_the_log(self) -> None:
        """An aggregate that is held back costs its past once, while its newer events pass."""
        for number in range(60):
            self.write(self.append("o-1", {"n": number}))
        log = self.log()
        self.head_of(*log[49])
        view = CountingView(self.store.view())
        for number in range(10):
            for position, event in (log[20 + number], log[50 + number]):
                parts = self.builder.build(view, self.schemas.in_force, event, position, "all")
                assert parts is not None
                self.assertEqual(parts.head, self.expected(event))
        self.assertEqual(view.reads, 1 + 20)

    def test_modes_without_state_read_nothing(self) -> None:
        """Where no state is sent, none is folded."""
        self.fill(10, 1)
        view = CountingView(self.store.view())
        log = self.log()
        for mode in ("event-only", "schema-only", "event-and-schema", "extensions-only"):
            parts = self.builder.build(view, self.schemas.in_force, log[-1][1], 9, mode)
            assert parts is not None
            self.assertIsNone(parts.head)
        self.assertEqual(view.reads, 0)

    def test_archived_later(self) -> None:
        """What was archived afterwards was not when the event happened."""
        self.write(self.append("o-1", {"a": 1}))
        done = self.writer.archive(
            "order", "o-1", archived=True, comment="c", actor=ALICE, render=lambda head: head
        )
        self.successResultOf(done)
        _, event = self.log()[0]
        head = self.head_of(0, event)
        self.assertEqual(head[9:12], (False, None, None))
        parts = self.builder.build(
            self.store.view(), self.schemas.in_force, event, 0, "all", archived=True
        )
        assert parts is not None and parts.head is not None
        self.assertTrue(parts.head.archived)

    def test_a_missing_event_is_an_error(self) -> None:
        """A damaged history does not become a state."""
        for number in range(3):
            self.write(self.append("o-1", {"n": number}))
        log = self.log()
        self.successResultOf(
            self.store.transact(lambda one: one.delete(keys.event(keys.name("order", "o-1"), 1)))
        )
        with self.assertRaises(StorageError):
            self.head_of(*log[1])


class SchemaTests(PartsCase):
    """Hidden types and fields, upcasters, the schema itself."""

    def put(self, order: dict[str, JSON]) -> None:
        """Put one schema in force."""
        text = orjson.dumps({"order": {"aggregate": "order", **order}}).decode()
        self.successResultOf(self.schemas.replace(self.schemas.prepare(text)))

    def test_hidden_fields(self) -> None:
        """Hidden fields are in neither payload nor state, unless the plugin sees them."""
        self.write(self.append("o-1", {"ssn": 1, "name": "Kim"}))
        self.put({"hidden_fields": ["ssn"], "events": {"order.paid": {}}})
        _, event = self.log()[0]
        for include_hidden, state in ((False, {"name": "Kim"}), (True, {"name": "Kim", "ssn": 1})):
            self.builder = PartsBuilder("default", include_hidden=include_hidden)
            parts = self.build(0, event)
            assert parts is not None and parts.head is not None and parts.record is not None
            self.assertEqual(parts.head.state, state)
            self.assertEqual(orjson.loads(parts.record.payload), state)

    def test_hidden_field_is_remembered(self) -> None:
        """A field that is shown again was folded all the time."""
        self.write(self.append("o-1", {"ssn": 1}))
        self.put({"hidden_fields": ["ssn"], "events": {"order.paid": {}}})
        log = self.log()
        self.assertEqual(self.head_of(*log[0]).state, {})
        self.put({"events": {"order.paid": {}}})
        self.write(self.append("o-1", {"a": 1}))
        self.assertEqual(self.head_of(*self.log()[1]).state, {"ssn": 1, "a": 1})

    def test_unwanted_events(self) -> None:
        """What the plugin does not want is not made, but folded; it is asked of what it sees."""
        self.write(self.append("o-1", {"name": "Kim"}), self.append("o-1", {"name": "Lee"}))
        self.put_schemas(RENAME)
        self.builder = PartsBuilder(
            "default", wants=lambda event: b'"full_name":"Lee"' in event.payload
        )
        log = self.log()
        self.assertIsNone(self.build(*log[0]))
        self.assertEqual(self.head_of(*log[1]), self.expected(log[1][1]))

    def test_hidden_types(self) -> None:
        """Events of a hidden type are none for a plugin, unless it sees them."""
        self.write(self.append("o-1"))
        self.put({"hidden": True, "events": {"order.paid": {}}})
        _, event = self.log()[0]
        self.assertIsNone(self.build(0, event))
        self.builder = PartsBuilder("default", include_hidden=True)
        self.assertIsNotNone(self.build(0, event))

    def test_upcasters(self) -> None:
        """Payload and state are of the current revision, also when it changes in between."""
        self.write(self.append("o-1", {"name": "Kim", "status": 0}))
        self.write(self.append("o-1", {"x": 1}))
        log = self.log()
        self.assertEqual(self.head_of(*log[0]).state, {"name": "Kim", "status": 0})
        self.put_schemas(RENAME, STATUS)
        parts = self.build(*log[1])
        assert parts is not None and parts.head is not None
        self.assertEqual(parts.head.state, {"full_name": "Kim", "status": "open", "x": 1})
        parts = self.build(*log[0])
        assert parts is not None and parts.record is not None
        self.assertEqual(orjson.loads(parts.record.payload), {"full_name": "Kim", "status": "open"})
        for position, event in self.log():
            self.assertEqual(self.head_of(position, event), self.expected(event))

    def test_extensions_only(self) -> None:
        """The payload is null, whatever the schema says about it; the rest stays."""
        self.write(self.append("o-1", {"name": "Kim"}, metadata='{"@a":1}'))
        self.put(
            {
                "hidden_fields": ["_value"],
                "events": {
                    "order.paid": {"upcast": [[{"op": "default", "path": "/n", "value": 1}]]}
                },
            }
        )
        parts = self.build(*self.log()[0], "extensions-only")
        assert parts is not None and parts.record is not None
        self.assertEqual((parts.record.payload, parts.record.extensions), (b"null", b'{"@a":1}'))
        self.assertIsNone(parts.schema)

    def test_schema(self) -> None:
        """The schema is the one now in force; a type without one has none."""
        self.write(self.append("o-1"))
        _, event = self.log()[0]
        parts = self.build(0, event, "schema-only")
        assert parts is not None
        self.assertTrue(parts.is_empty)
        prepared = self.schemas.prepare(schemas_text(RENAME))
        self.successResultOf(self.schemas.replace(prepared))
        modes: tuple[tuple[PayloadMode, bool], ...] = (
            ("all", True), ("schema-only", True), ("event-and-schema", True),
            ("event-only", False), ("state-only", False), ("extensions-only", False),
        )  # fmt: skip
        for mode, there in modes:
            parts = self.build(0, event, mode)
            assert parts is not None
            self.assertEqual(parts.schema is not None, there)
        parts = self.build(0, event, "schema-only")
        assert parts is not None and parts.schema is not None
        self.assertEqual(orjson.loads(parts.schema)["aggregate"], "order")

    def test_identity(self) -> None:
        """Whatever the mode, the parts say which event they are of, and where it stands."""
        self.write(self.append("o-1"), self.append("o-2"))
        position, event = self.log()[1]
        parts = self.build(position, event, "state-only")
        assert parts is not None
        self.assertEqual(
            parts[:8],
            ("default", "0-1", "order", "o-2", 1, event.event_id, "order_paid", "state-only"),
        )


class OnDiskTests(StateTests):
    """The same in RocksDB."""

    def setUp(self) -> None:
        super().setUp()
        self.store = Store(RocksStore.open(self.mktemp()), hop=synchronous())
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.open()
