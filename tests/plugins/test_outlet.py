"""What a sceptic asks of delivery: the corners in which an event could be lost or overtaken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.feed import Feed
from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.entries import Backoff, Batch
from eventdbx.domain.delivery.parts import Item
from eventdbx.domain.delivery.retrying import Breaker
from eventdbx.plugins.interfaces import DeliveryFailed
from tests.plugins.draining import DrainingCase, Scripted, hook, place, refusing


class LossTests(DrainingCase):
    """Nothing is passed over for good."""

    def test_gone_while_one_is_retried(self) -> None:
        """A retry that is answered with 410 leaves the event held, whatever the order."""
        for order in ("none", "strict", "aggregate"):
            self.targets.clear()
            self.setUp()
            self.put(hook(order=order))
            self.target().answer = refusing("o-1.1")
            self.order("o-1")
            self.pass_time(0.5)
            self.target().answer = lambda _items: DeliveryFailed("410 Gone", gone=True)
            self.pass_time(2)
            self.assertEqual(self.outlet().paused, "410 Gone")
            self.target().answer = lambda _items: None
            self.outlet().resume()
            self.pass_time(3)
            self.assertEqual(self.target().accepted, ["o-1.1"], order)

    def test_unexpected_error_while_reading(self) -> None:
        """Reading for a held aggregate may fail in any way: it is tried again."""
        self.put(hook())
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.pass_time(0.5)
        self.target().answer = lambda _items: None
        with patch.object(Feed, "load_held", side_effect=RuntimeError("no more memory")):
            self.pass_time(2)
        self.flushLoggedErrors(RuntimeError)
        self.pass_time(15)
        self.assertEqual(self.target().accepted, ["o-1.1"])

    def test_unreadable_while_the_target_is_away(self) -> None:
        """An aggregate that cannot be read is no endless loop, and keeps nobody from probing."""
        self.put(hook(backoff=Backoff(first_s=1, max_s=1)))
        self.target().answer = lambda _items: DeliveryFailed("down", unavailable=True)
        for number in range(8):
            self.order(f"o-{number}")
        self.pass_time(2)
        self.assertTrue(self.outlet().breaker.is_open)
        reads = []
        load_held = Feed.load_held

        def broken(self: Feed, view: Any, cursor: Any, held: Any, *args: Any, **rest: Any) -> Any:
            reads.append(held.name)
            if len(reads) > 500:
                raise AssertionError("it goes round and round")
            if b"o-0" in held.name:
                raise RuntimeError("unreadable")
            return load_held(self, view, cursor, held, *args, **rest)

        self.target().answer = lambda _items: None
        with patch.object(Feed, "load_held", broken):
            self.pass_time(30)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(len(self.target().accepted), 7)
        self.assertLess(len(reads), 100)
        self.pass_time(15)
        self.assertEqual(len(self.target().accepted), 8)

    def test_a_gap_stays_one_for_what_is_held(self) -> None:
        """What is committed while a plugin is off is not for it, held aggregates included."""
        self.put(hook(backoff=Backoff(first_s=20, max_s=20)))
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.pass_time(1)
        self.put(replace(hook(), enabled=False))
        self.order("o-1")
        self.pass_time(1)
        self.put(hook(backoff=Backoff(first_s=20, max_s=20)))
        self.order("o-1")
        self.order("o-2")
        self.pass_time(2)
        self.stop()
        self.open()
        self.target().answer = lambda _items: None
        self.pass_time(30)
        self.assertEqual(self.target().accepted, ["o-2.1", "o-1.1", "o-1.3"])
        self.order("o-3")
        self.pass_time(1)
        self.assertEqual(self.drainer.outbox.cursors["hook"].skips, ())

    def test_removed_while_something_is_in_flight(self) -> None:
        """A plugin of the same name begins anew, also while the old one is being let go of."""
        self.put(hook())
        slow: Deferred[None] = Deferred()
        self.target().answer = lambda _items: slow
        self.order("o-1")
        self.order("o-2")
        self.pass_time(0.2)
        self.plugins.remove("hook", disable=True)
        self.successResultOf(self.desk.drop("hook"))
        self.put(hook())
        self.pass_time(1)
        slow.callback(None)
        self.target().answer = lambda _items: None
        self.order("o-3")
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-3.1"])

    def test_dead_one_is_not_tried_again_by_a_restart(self) -> None:
        """What stands in a row of its own is that row's, though the cursor is before it."""
        self.put(hook(order="none", concurrency=2, max_attempts=1))

        def answer(items: Sequence[Item]) -> Any:
            return Deferred() if place(items[0]) == "o-1.1" else DeliveryFailed("no")

        self.target().answer = answer
        self.order("o-1")
        self.order("o-2")
        self.pass_time(1)
        self.target().answer = lambda _items: None
        self.crash()
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-1.1"])
        self.assertEqual(self.counts()[3], 1)

    def test_window_is_bounded_by_what_hangs(self) -> None:
        """A crash repeats no more than a window, however long one delivery hangs."""
        self.put(hook(concurrency=2))
        self.target().answer = lambda items: Deferred() if place(items[0]) == "o-1.1" else None
        with patch("eventdbx.plugins.outlet.SPAN_EVENTS", 300):
            for number in range(1, 1_000):
                self.order(f"o-{number}")
            self.pass_time(3)
        self.assertIn(len(self.target().accepted), range(250, 301))

    def test_reason_that_no_text_can_hold(self) -> None:
        """Whatever a target says, the event it is said of is held."""
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("no \udcff")
        self.order("o-1")
        self.pass_time(0.5)
        self.assertEqual(self.counts(), (1, 0, 0, 0))
        self.target().answer = lambda _items: None
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-1.1"])


class OrderTests(DrainingCase):
    """Who goes before whom."""

    def test_strict_knows_no_priority(self) -> None:
        """With ``order: strict`` a priority overtakes nothing."""
        self.put(hook(order="strict", paused=True))
        self.order("o-1", PublishTarget("hook", None, "low"))
        self.order("o-2", PublishTarget("hook", None, "high"))
        self.put(hook(order="strict"))
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1"])

    def test_strict_continues_after_a_dead_one(self) -> None:
        """With ``order: strict`` and ``on_dead: continue`` a dead event holds back nothing."""
        self.put(hook(order="strict", on_dead="continue", max_attempts=2))
        self.target().answer = refusing("o-1.1")
        for name in ("o-1", "o-2", "o-1"):
            self.order(name)
        self.pass_time(0.5)
        self.assertEqual(self.target().accepted, [])
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-2.1", "o-1.2"])
        self.assertEqual(self.counts(), (0, 0, 2, 1))

    def test_nothing_ahead_of_the_cursor(self) -> None:
        """An aggregate that goes on does not run ahead of the window: nothing comes twice."""
        self.put(hook(max_attempts=1, on_dead="continue", order="aggregate"))
        self.target().answer = refusing("o-1.1")
        with patch("eventdbx.plugins.outlet.LOAD_EVENTS", 1):
            self.outlet().serving = False
            self.order("o-1")
            for number in range(2, 9):
                self.order(f"o-{number}")
            self.order("o-1")
            self.outlet().serving = True
            self.pass_time(3)
        wanted = [*(f"o-{number}.1" for number in range(2, 9)), "o-1.2"]
        self.assertEqual(sorted(self.target().accepted), sorted(wanted))


class ProgressTests(DrainingCase):
    """An outlet never stops working for good."""

    def test_halves_under_load(self) -> None:
        """The one bad event behind a held one is found, though all others succeed meanwhile."""
        self.put(hook(batch=Batch(max_events=8), backoff=Backoff(first_s=0.5, max_s=0.5)))
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.pass_time(0.2)
        for _ in range(7):
            self.order("o-1")
        refuse = refusing("o-1.5")

        def later(items: Sequence[Item]) -> Deferred[None]:
            answer: Deferred[None] = Deferred()
            outcome = refuse(items)
            act = answer.callback if outcome is None else answer.errback
            self.time.callLater(0.05, act, outcome)
            return answer

        self.target().answer = later
        for number in range(900):
            self.order(f"p-{number}")
        self.pass_time(4)
        refused = [one for one in self.target().tried if "o-1.5" in one]
        self.assertLess(len(refused), 14)
        held = [one for one in self.target().accepted if one.startswith("o-1.")]
        self.assertEqual(held, ["o-1.1", "o-1.2", "o-1.3", "o-1.4"])
        (row,) = self.outlet().holding
        self.assertEqual(row.version, 5)
        self.assertGreater(row.attempts, 0)

    def test_failures_of_one_outage_are_one(self) -> None:
        """What was in flight when the breaker opened does not put probes off for minutes."""
        breaker = Breaker()
        for _ in range(64):
            breaker.failed(100.0)
        self.assertEqual(breaker.probe_at, 105.0)
        breaker.failed(105.0)
        self.assertEqual(breaker.probe_at, 115.0)
        breaker.failed(115.5)
        self.assertEqual(breaker.probe_at, 135.5)

    def test_resumed_for_good(self) -> None:
        """A resumed plugin is resumed after a restart too, whatever was being put just then."""
        self.put(hook())
        self.target().answer = lambda _items: DeliveryFailed("410 Gone", gone=True)
        self.order("o-1")
        self.pass_time(1)
        outlet = self.outlet()
        put = self.drainer.outbox.put
        waiting: list[Deferred[None]] = []

        def slow(*args: Any) -> Any:
            put(*args)
            waiting.append(Deferred())
            return waiting[-1]

        self.drainer.outbox.put = slow  # type: ignore[assignment,method-assign]
        outlet.done.add(outlet.now_ms(), 1)
        outlet.changed()
        self.pass_time(0.1)
        self.target().answer = lambda _items: Deferred()
        outlet.resume()
        waiting[0].callback(None)
        self.pass_time(0.5)
        self.assertIsNone(self.drainer.outbox.cursors["hook"].stopped)

    def test_one_that_cannot_be_loaded(self) -> None:
        """A plugin that cannot be loaded keeps no other from it, and is tried again."""
        broken = True
        make = self.target

        def flawed(name: str = "hook") -> Scripted:
            if broken and name == "first":
                raise OSError("no such certificate")
            return make(name)

        self.target = flawed  # type: ignore[method-assign]
        self.put(hook("first"), hook("second"))
        self.flushLoggedErrors(OSError)
        self.order()
        self.pass_time(1)
        self.assertEqual(make("second").accepted, ["o-1.1"])
        self.assertIn("no such certificate", self.drainer.broken["first"])
        broken = False
        self.file.changed = lambda **_now: False  # type: ignore[method-assign]
        self.pass_time(60)
        self.assertEqual(make("first").accepted, ["o-1.1"])

    def test_a_pass_is_short(self) -> None:
        """A target that accepts at once does not keep the reactor for a whole backlog."""
        self.put(hook(paused=True))
        for number in range(2_000):
            self.order(f"o-{number % 50}")
        self.put(hook())
        self.outlet().pump()
        self.assertIn(len(self.target().accepted), range(1, 300))
        self.pass_time(1)
        self.assertEqual(len(self.target().accepted), 2_000)

    def test_waiters_that_wait_again(self) -> None:
        """Who is told may ask again at once."""
        self.put(hook(paused=True))
        self.order("o-1")
        told: list[Any] = []

        def again(outcome: Any) -> None:
            told.append(outcome)
            self.outlet().wait(0).addCallback(told.append)

        for _ in range(3):
            self.outlet().wait(0).addCallback(again)
        self.put(hook())
        self.pass_time(1)
        self.assertEqual(told, [("delivered", "")] * 6)
        self.order("o-2")
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1"])
        self.assertEqual(self.drainer.outbox.cursors["hook"].position, 2)


class DeskTests(DrainingCase):
    """What is told of plugins."""

    def test_told_of_one_moment(self) -> None:
        """Outlets are looked at when somebody asks, not by the thread that makes the answer."""
        self.put(hook(concurrency=2))
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.pass_time(0.2)
        self.target().answer = lambda _items: Deferred()
        for number in range(2, 6):
            self.order(f"o-{number}")
        self.pass_time(0.2)
        todo: list[Any] = []

        def later(work: Any) -> Deferred[Any]:
            todo.append(work)
            return Deferred()

        self.drainer.run_slowly = later
        self.desk.queue(None, 100)
        self.desk.lags()
        self.desk.job(1)
        with patch.object(self.drainer, "outlet", side_effect=AssertionError("on a thread")):
            self.drainer.outbox.cursors.clear()
            shown, (lag,), job = [work() for work in todo]
        self.assertEqual((shown["pending"], shown["processing"]), (3, 2))
        self.assertEqual((lag.lag, lag.in_flight, lag.parked), (5, 2, 1))
        self.assertIsNone(job)


class SchemaTests(DrainingCase):
    """What is hidden from now on does not leave."""

    def test_hidden_while_others_are_in_flight(self) -> None:
        """The window is not used up under schemas that are not in force any more."""
        self.put(hook(concurrency=2))
        flying: list[Deferred[None]] = []

        def answer(_items: Sequence[Item]) -> Deferred[None]:
            flying.append(Deferred())
            return flying[-1]

        self.target().answer = answer
        for number in range(10):
            self.order(f"o-{number}")
        self.pass_time(0.2)
        self.assertEqual(len(self.target().tried), 2)
        self.hide("order")
        for _ in range(10):
            for one in tuple(flying):
                if not one.called:
                    one.callback(None)
                    self.pass_time(0.1)
        self.assertEqual(len(self.target().tried), 2)
        self.pass_time(2)
        self.assertEqual(self.drainer.outbox.cursors["hook"].position, 10)

    def hide(self, aggregate: str) -> None:
        """Hide a type from everyone."""
        schemas = self.domain.schemas
        text = orjson.dumps({aggregate: {"aggregate": aggregate, "events": {}, "hidden": True}})
        self.successResultOf(schemas.replace(schemas.prepare(text)))
