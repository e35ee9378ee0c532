"""What a plugin confirms and refuses, and in which state it is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.plugin import Event, Projection, SqliteCheckpoint, Unavailable, projection
from eventdbx.sdk.conversation import Conversation
from eventdbx.sdk.projections import TRANSACTION_S
from eventdbx.wire.plugin_messages import Ack, Answers, Refusal
from eventdbx.wire.pointers import MalformedMessage
from tests.sdk.messages import INIT, delivery, parts


class Talk:
    """A plugin in conversation with a server that reads its answers."""

    def __init__(self, plugin: Projection, *, acknowledged: bool = True) -> None:
        self.answers: list[Ack | Refusal] = []
        self.reports: list[str] = []
        self.now = 0.0
        read = Answers()
        write = (lambda data: self.answers.extend(read.feed(data))) if acknowledged else None
        self.conversation = Conversation(plugin, write, self.reports.append, lambda: self.now)

    def hear(self, *data: bytes) -> list[Ack | Refusal]:
        """Return what is answered to some bytes that come at one time."""
        self.answers.clear()
        self.conversation.receive(b"".join(data))
        return list(self.answers)


class Plain(SynchronousTestCase):
    """A function of one event without a checkpoint."""

    def setUp(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.bad: set[tuple[str, int]] = set()

    def note(self, event: Event) -> None:
        """Keep what came, and fail where the test wants it."""
        place = event.aggregate_id, event.version
        if place in self.bad:
            raise ValueError("bad total")
        self.seen.append(place)

    def test_one_ack(self) -> None:
        """What came together is confirmed together, behind an init and between others."""
        talk = Talk(projection(self.note))
        events = [parts("a", version) for version in range(1, 6)]
        self.assertEqual(
            talk.hear(INIT, delivery(1, events[:2]), delivery(3, events[2:])), [Ack(5)]
        )
        self.assertEqual(self.seen, [("a", version) for version in range(1, 6)])

    def test_slow(self) -> None:
        """A function that takes its time has what is done confirmed meanwhile."""

        def slow(event: Event) -> None:
            talk.now += 1

        talk = Talk(projection(slow))
        events = [parts("a", version) for version in range(1, 4)]
        self.assertEqual(talk.hear(delivery(1, events)), [Ack(1), Ack(2), Ack(3)])

    def test_refused(self) -> None:
        """The rest of a refused event's delivery is skipped, across reads; others go on."""
        self.bad = {("a", 2)}
        talk = Talk(projection(self.note))
        first = delivery(1, [parts("a", version) for version in range(1, 5)])
        second = delivery(5, [parts("b", 1)])
        cut = len(first) * 5 // 8
        refusal = Refusal(2, "ValueError: bad total")
        self.assertEqual(talk.hear(first[:cut]), [Ack(1), refusal])
        self.assertEqual(talk.hear(first[cut:]), [])
        self.assertEqual(talk.hear(second), [Ack(5)])
        self.assertEqual(self.seen, [("a", 1), ("b", 1)])
        self.assertIn("order_paid order/a v2", talk.reports[0])
        self.bad = set()
        self.assertEqual(talk.hear(delivery(6, [parts("a", 2), parts("a", 3)])), [Ack(7)])

    def test_unavailable(self) -> None:
        """A projection can say that the event is not the reason, and when to come again."""

        def away(event: Event) -> None:
            raise Unavailable("host is away", retry_after_s=2.5)

        answers = Talk(projection(away)).hear(delivery(1, [parts("a", 1), parts("a", 2)]))
        self.assertEqual(answers, [Refusal(1, "host is away", True, 2.5)])

    def test_no_answers(self) -> None:
        """Beside a server that reads no answers a failure is reported and the rest goes on."""
        self.bad = {("a", 1)}
        talk = Talk(projection(self.note), acknowledged=False)
        talk.hear(delivery(1, [parts("a", 1), parts("a", 2)]))
        self.assertEqual((self.seen, len(talk.reports)), ([("a", 2)], 1))

    def test_selection(self) -> None:
        """Events that a projection does not want are confirmed without it."""
        talk = Talk(projection(aggregates=["invoice"])(self.note))
        self.assertEqual(talk.hear(delivery(1, [parts("a", 1)])), [Ack(1)])
        talk = Talk(projection(events=["order_paid"])(self.note))
        talk.hear(delivery(1, [parts("a", 2)]))
        self.assertEqual(self.seen, [("a", 2)])

    def test_sample(self) -> None:
        """The sample of a test is confirmed; only who wants it is called."""
        sample = delivery(1, [parts("a", 1)], purpose="test")
        self.assertEqual(Talk(projection(self.note)).hear(sample), [Ack(1)])
        self.assertEqual(self.seen, [])
        self.assertEqual(Talk(projection(tests=True)(self.note)).hear(sample), [Ack(1)])
        self.assertEqual(self.seen, [("a", 1)])

    def test_noise(self) -> None:
        """What comes before bytes that are no messages is answered."""
        talk = Talk(projection(self.note))
        self.assertRaises(MalformedMessage, talk.hear, b"x" * 64)
        self.assertEqual(talk.answers, [])


class Batches(SynchronousTestCase):
    """A function of many events."""

    def setUp(self) -> None:
        self.calls: list[list[int]] = []
        self.bad = 0

    def note(self, events: list[Event]) -> None:
        """Keep what came together."""
        self.calls.append([event.version for event in events])
        if self.bad in self.calls[-1]:
            raise ValueError("bad")

    def test_size(self) -> None:
        """One call gets as many as there are, up to the size."""
        talk = Talk(projection(batch=3)(self.note))
        talk.hear(delivery(1, [parts("a", version) for version in range(1, 8)]))
        self.assertEqual(self.calls, [[1, 2, 3], [4, 5, 6], [7]])

    def test_refused(self) -> None:
        """The event that spoils a batch is found, and it alone is refused."""
        self.bad = 3
        talk = Talk(projection(batch=9)(self.note))
        first = delivery(1, [parts("a", version) for version in range(1, 5)])
        answers = talk.hear(first, delivery(5, [parts("b", 9)]))
        self.assertEqual(answers, [Ack(2), Refusal(3, "ValueError: bad"), Ack(5)])
        self.assertEqual(self.calls, [[1, 2, 3, 4, 9], [1], [2], [3], [9]])


class Checkpoints(SynchronousTestCase):
    """A read model in SQLite: a table of totals that is wrong if anything is counted twice."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.bad = 0
        self.database = self.open()
        self.database.execute("CREATE TABLE totals (id TEXT PRIMARY KEY, total INTEGER)")
        self.talk = self.start()

    def open(self) -> sqlite3.Connection:
        """Return another connection to the database."""
        connection = sqlite3.connect(self.path, timeout=0.01)
        self.addCleanup(connection.close)
        return connection

    def start(self, **options: Any) -> Talk:
        """Return a plugin as it is after a restart."""
        by = options.pop("by", "aggregate")
        options["checkpoint"] = SqliteCheckpoint(self.database, by=by)
        function: Callable[..., object] = self.count_all if "batch" in options else self.count
        return Talk(projection(**options)(function))

    def count(self, event: Event) -> None:
        """Add the total of one event."""
        self.database.execute(
            "INSERT INTO totals VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET total = total + excluded.total",
            (event.aggregate_id, event.payload["total"]),
        )
        if event.payload["total"] == self.bad:
            raise ValueError("bad total")

    def count_all(self, events: list[Event]) -> None:
        """Add the totals of many events."""
        for event in events:
            self.count(event)

    @property
    def totals(self) -> dict[str, int]:
        """What another connection sees."""
        return dict(self.open().execute("SELECT * FROM totals").fetchall())

    def events(self, name: str, *versions: int) -> list[Any]:
        """Return events with their version for a total."""
        return [parts(name, version, b'{"total":%d}' % version) for version in versions]

    def test_redelivery(self) -> None:
        """Whatever comes again, in whatever pieces, is confirmed and counts once."""
        for options in ({}, {"batch": 2}, {"by": "event"}, {"by": "event", "batch": 100}):
            self.database.execute("DELETE FROM totals")
            self.database.execute("DROP TABLE IF EXISTS eventdbx_checkpoint")
            self.database.execute("DROP TABLE IF EXISTS eventdbx_seen")
            talk = self.start(**options)
            self.assertEqual(talk.hear(delivery(1, self.events("a", 1, 2, 2, 3))), [Ack(4)])
            self.assertEqual(self.totals, {"a": 6}, options)
            talk = self.start(**options)
            again = [*self.events("a", 2, 3, 4), *self.events("b", 1)]
            self.assertEqual(talk.hear(delivery(1, again, attempt=2)), [Ack(4)])
            self.assertEqual(self.totals, {"a": 10, "b": 1}, options)

    def test_late(self) -> None:
        """An aggregate that was held back comes later than others and is applied then."""
        self.talk.hear(delivery(1, self.events("b", 1, 2)))
        self.talk.hear(delivery(3, self.events("a", 1)))
        self.assertEqual(self.totals, {"b": 3, "a": 1})

    def test_refused(self) -> None:
        """Of a refused event nothing stays; what came before it does."""
        for options in ({}, {"batch": 100}):
            self.bad = 3
            self.database.execute("DELETE FROM totals")
            self.database.execute("DELETE FROM eventdbx_checkpoint")
            talk = self.start(**options)
            answers = talk.hear(delivery(1, self.events("a", 1, 2, 3, 4)))
            self.assertEqual(answers, [Ack(2), Refusal(3, "ValueError: bad total")])
            self.assertEqual(self.totals, {"a": 3})
            self.bad = 0
            self.assertEqual(talk.hear(delivery(5, self.events("a", 3, 4))), [Ack(6)])
            self.assertEqual(self.totals, {"a": 10})

    def test_replay(self) -> None:
        """A replay of what was applied is a no-op, unless the projection wants it."""
        events = self.events("a", 1, 2)
        self.talk.hear(delivery(1, events))
        self.assertEqual(self.talk.hear(delivery(3, events, purpose="replay")), [Ack(4)])
        self.assertEqual(self.totals, {"a": 3})
        again = self.start(replays="apply")
        again.hear(delivery(5, events, purpose="replay"), delivery(7, events))
        self.assertEqual(self.totals, {"a": 6})
        again.hear(delivery(9, self.events("a", 3)))
        self.assertEqual(self.totals, {"a": 9})

    def test_sample(self) -> None:
        """The sample of a test runs for real, and nothing of it stays."""
        sample = delivery(1, self.events("a", 1), purpose="test")
        self.assertEqual(self.talk.hear(sample, delivery(2, self.events("b", 1))), [Ack(2)])
        self.assertEqual(self.totals, {"b": 1})
        self.bad = 1
        (refusal,) = self.talk.hear(sample)
        self.assertEqual(refusal, Refusal(1, "ValueError: bad total"))

    def test_locked(self) -> None:
        """A database that somebody else holds is no fault of the event."""
        other = self.open()
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        (refusal,) = self.talk.hear(delivery(1, self.events("a", 1, 2)))
        self.assertEqual(refusal, Refusal(1, "SQLite: database is locked", True))
        other.execute("ROLLBACK")
        self.assertEqual(self.talk.hear(delivery(3, self.events("a", 1, 2))), [Ack(4)])

    def test_committing(self) -> None:
        """A projection that commits by itself is told that it must not."""

        def careless(event: Event) -> None:
            self.database.commit()

        checkpoint = SqliteCheckpoint(self.database)
        (refusal,) = Talk(projection(checkpoint=checkpoint)(careless)).hear(
            delivery(1, self.events("a", 1))
        )
        assert isinstance(refusal, Refusal)
        self.assertIn("ended the transaction of its checkpoint", refusal.message)

    def test_slow(self) -> None:
        """A transaction of slow events ends in time for the server to hear of it."""

        def slow(event: Event) -> None:
            talk.now += TRANSACTION_S / 2

        plugin = Projection(
            slow, checkpoint=SqliteCheckpoint(self.database), clock=lambda: talk.now
        )
        talk = Talk(plugin)
        answers = talk.hear(delivery(1, self.events("a", *range(1, 10))))
        self.assertEqual(answers, [Ack(3), Ack(6), Ack(9)])

    def test_no_event(self) -> None:
        """Modes without the event count by the version of the state; a schema is always new."""
        state = [one._replace(record=None) for one in self.events("a", 1, 1)]
        schema = [one._replace(record=None, head=None, schema=b"{}") for one in state]
        seen: list[tuple[int, Any, Any]] = []

        def look(event: Event) -> None:
            seen.append((event.version, event.state, event.schema))

        talk = Talk(projection(checkpoint=SqliteCheckpoint(self.database))(look))
        self.assertEqual(talk.hear(delivery(1, [*state, *schema])), [Ack(4)])
        self.assertEqual(seen, [(1, {"total": "1"}, None), (0, None, {}), (0, None, {})])
