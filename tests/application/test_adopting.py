"""Events taken in from elsewhere keep what they were, and the store verifies afterwards."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from eventdbx import errors
from eventdbx.application import adopting
from eventdbx.application.steps import Work
from eventdbx.domain.aggregate import Draft, Head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Actor, Event
from eventdbx.storage import eventlog, keys
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, Transaction, synchronous
from tests.application.test_writer import WriterCase, found_in

KIM = Actor("sales", "kim")


def foreign(version: int, event_id: int, created_at: int, payload: JSON) -> adopting.Foreign:
    """Return an event of the aggregate order::o-1 as another program kept it."""
    extensions: dict[str, JSON] = {"@trace": "t-1"}
    draft = Draft(
        "order_paid", "order.paid", payload, dump(payload), extensions, dump(extensions), KIM, "hi"
    )
    return adopting.Foreign("order", "o-1", version, draft, event_id, created_at)


class AdoptingTests(WriterCase):
    """What is taken in."""

    def recreate(self, *events: adopting.Foreign) -> Deferred[list[tuple[Event, Head]]]:
        """Take events of another program in, all in one step."""

        def change(work: Work, transaction: Transaction) -> list[tuple[Event, Head]]:
            return [adopting.recreate(work, transaction, one) for one in events]

        return self.writer.carry_out(change)

    def test_recreated(self) -> None:
        """An event of another program keeps its id, time, author, note and names."""
        first = foreign(1, 5_000, 1_760_000_000_000_000_001, {"a": 1})
        # The clock of the other program stepped back: its times are kept all the same.
        second = foreign(2, 5_001, 1_750_000_000_000_000_000, {"b": "x"})
        (event, _), (later, head) = self.successResultOf(self.recreate(first, second))
        self.assertEqual((event.event_id, event.created_at), (5_000, first.created_at))
        self.assertEqual((event.issued_by, event.note), (KIM, "hi"))
        self.assertEqual(event.event_type_raw, "order.paid")
        self.assertEqual(later.created_at, second.created_at)
        self.assertEqual(head.state, {"a": 1, "b": "x"})
        self.assertEqual(found_in(self.store.view()), [])
        mine = self.write(Write("append", "order", "o-1", "order_noted", "{}"))[0]
        self.assertEqual(mine.event.version, 3)
        self.assertGreater(mine.event.event_id, 5_001)
        self.assertEqual(found_in(self.store.view()), [])

    def test_refused(self) -> None:
        """Another version than the next, or an id that goes back, changes nothing."""
        failure = self.failureResultOf(self.recreate(foreign(2, 9, 1, None)), errors.StorageError)
        self.assertIn("version mismatch for order::o-1 (expected 1", failure.getErrorMessage())
        self.successResultOf(self.recreate(foreign(1, 9, 1, None)))
        self.failureResultOf(self.recreate(foreign(2, 9, 1, None)), adopting.OutOfOrder)
        self.assertEqual(eventlog.end_position(self.store.view(), 0), 1)

    def test_archived(self) -> None:
        """An archived aggregate stays archived, with its comment and time."""

        def change(work: Work, transaction: Transaction) -> Head:
            _event, head = adopting.recreate(work, transaction, foreign(1, 9, 1_000, {"a": 1}))
            adopting.adopt_snapshot(
                work, transaction, head, snapshot_id=None, created_at=5_000, comment="then"
            )
            return adopting.adopt_archive(
                work, transaction, head, archived_at=7_000, comment="done"
            )

        head = self.successResultOf(self.writer.carry_out(change))
        self.assertEqual((head.archived, head.archived_at, head.archive_comment),
                         (True, 7_000, "done"))  # fmt: skip
        self.assertEqual(found_in(self.store.view()), [])

    def test_adopted(self) -> None:
        """An event of another store of ours keeps its leaf, hash and root."""
        self.write(Write("create", "order", "o-1", "order_created", '{"a":1}'))
        self.write(Write("append", "order", "o-1", "order_paid", '{"@subject":1}'))
        self.write(Write("append", "order", "o-1", "order_paid", "7", metadata='{"@subject":"s"}'))
        events = list(eventlog.events(self.store.view(), keys.name("order", "o-1")))
        self.store = Store(MemoryStore(), hop=synchronous())
        self.writer = self.make_writer()

        def change(work: Work, transaction: Transaction) -> list[Event]:
            return [adopting.adopt(work, transaction, one)[0] for one in events]

        found = self.successResultOf(self.writer.carry_out(change))
        self.assertEqual([one.hash for one in found], [one.hash for one in events])
        self.assertEqual([one.merkle_root for one in found], [one.merkle_root for one in events])
        self.assertEqual(found_in(self.store.view()), [])

    def test_adopted_root(self) -> None:
        """An event whose root is not that of its aggregate here is refused."""
        done = self.write(Write("create", "order", "o-1", "order_created", '{"a":1}'))[0]
        event = done.event._replace(merkle_root=bytes(32))
        self.store = Store(MemoryStore(), hop=synchronous())
        self.writer = self.make_writer()

        def change(work: Work, transaction: Transaction) -> None:
            adopting.adopt(work, transaction, event)

        failure = self.failureResultOf(self.writer.carry_out(change), errors.StorageError)
        self.assertIn("merkle mismatch", failure.getErrorMessage())
