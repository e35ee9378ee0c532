"""Events delivered again: which, in which order, how many at a time, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from eventdbx import limits
from eventdbx.application.delivering import ReplayAsked
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import Batch, LogConfig, PluginEntry
from eventdbx.domain.delivery.parts import Item
from eventdbx.errors import ConfigError, InvalidSchema
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.replays import Replays, entry_to_replay
from tests.application.test_folding import RENAME, FoldingCase
from tests.application.test_writer import ALICE
from tests.plugins.target import Target


class ReplayCase(FoldingCase):
    """Orders o-1 (three events), o-2 (one) and o-3 (two, archived); a second passes before each."""

    def setUp(self) -> None:
        super().setUp()
        for name, count in (("o-1", 3), ("o-2", 1), ("o-3", 2)):
            for number in range(count):
                self.clock.now += 10**9
                self.write(self.append(name, {"n": number}, metadata='{"@a":1}'))
        done = self.writer.archive(
            "order", "o-3", archived=True, comment=None, actor=ALICE, render=lambda head: head
        )
        self.successResultOf(done)
        self.target = Target()
        self.time = Clock()
        self.replays = Replays(self.time, self.domain, chance=lambda: 0.5)

    def begin(
        self, aggregate_id: str | None = None, entry: dict[str, Any] | None = None, **asked: Any
    ) -> str:
        """Begin a replay of orders through the target."""
        options: dict[str, Any] = {"config": LogConfig(), "name": "hook", **(entry or {})}
        return self.replays.start(
            PluginEntry(enabled=True, **options),
            cast(IDelivery, self.target),
            ReplayAsked("hook", asked.pop("aggregate_type", "order"), aggregate_id, **asked),
        )

    def progress(self, job: str) -> dict[str, JSON]:
        """Return how far a replay is."""
        progress = self.replays.progress(job)
        assert progress is not None
        return dict(progress)

    def whole(self, *args: Any, **rest: Any) -> dict[str, JSON]:
        """Carry out a replay and return what came of it."""
        job = self.begin(*args, **rest)
        for _slice in range(50):
            self.time.advance(0)
        return self.progress(job)


class WhatTests(ReplayCase):
    """Which events are delivered."""

    def test_type(self) -> None:
        """Of a type the active aggregates are replayed, each in the order of its versions."""
        progress = self.whole()
        self.assertEqual(self.target.versions, [("o-1", 1), ("o-1", 2), ("o-1", 3), ("o-2", 1)])
        self.assertEqual(
            progress,
            {
                "state": "done",
                "delivered": 4,
                "total": 4,
                "aggregates": 2,
                "current": "order::o-2",
                "error": None,
            },
        )

    def test_aggregate(self) -> None:
        """One aggregate can be replayed alone; of one that is not there is nothing to deliver."""
        self.assertEqual(self.whole("o-2")["aggregates"], 1)
        self.assertEqual(self.target.versions, [("o-2", 1)])
        for name in ("o-3", "o-4"):
            self.assertEqual((self.whole(name)["state"], self.whole(name)["total"]), ("done", 0))
        self.assertEqual(len(self.target.batches), 1)

    def test_everything(self) -> None:
        """Without a type all are replayed."""
        self.assertEqual(self.whole(aggregate_type=None)["total"], 4)
        self.assertEqual(self.whole(aggregate_type="patient")["total"], 0)
        with self.assertRaises(ConfigError):
            self.begin("o-1", aggregate_type=None)

    def test_archived(self) -> None:
        """Archived aggregates come last, when they are asked for, and say that they are."""
        progress = self.whole(include_archived=True)
        self.assertEqual(self.target.versions[-2:], [("o-3", 1), ("o-3", 2)])
        self.assertEqual((progress["total"], progress["aggregates"]), (6, 3))
        self.assertNotIn("archived", self.target.batches[0][0]["state"])
        self.assertIs(self.target.batches[-1][0]["state"]["archived"], True)
        self.whole("o-3", include_archived=True)
        self.assertEqual(self.target.versions[-3:], [("o-3", 2), ("o-3", 1), ("o-3", 2)])

    def test_versions(self) -> None:
        """Versions bound what is replayed, and what is counted."""
        self.assertEqual(self.whole(from_version=2)["total"], 2)
        self.assertEqual(self.target.versions, [("o-1", 2), ("o-1", 3)])
        self.assertEqual(self.whole(from_version=0, to_version=1)["total"], 2)
        self.assertEqual(self.target.versions[2:], [("o-1", 1), ("o-2", 1)])
        self.assertEqual(self.whole(from_version=3, to_version=2)["total"], 0)

    def test_times(self) -> None:
        """Times bound it, too, both ends included."""
        start = self.clock.now - 5 * 10**9
        second = 10**9
        for bounds, versions in (
            ({"from_time": start + second}, [("o-1", 2), ("o-1", 3), ("o-2", 1)]),
            ({"to_time": start + second}, [("o-1", 1), ("o-1", 2)]),
            ({"from_time": start + 1, "to_time": start + second}, [("o-1", 2)]),
            ({"from_time": start + second + 1, "to_time": start + 2 * second - 1}, []),
            ({"to_time": start - 1}, []),
        ):
            self.target = Target()
            self.assertEqual(self.whole(**bounds)["total"], len(versions))
            self.assertEqual(self.target.versions, versions)

    def test_states(self) -> None:
        """States are those of each event, without extensions and times, as replays had them."""
        self.whole("o-1", from_version=2)
        state = self.target.batches[0][0]["state"]
        self.assertEqual(
            state.pop("merkle_root"), self.target.batches[0][0]["event"]["merkle_root"]
        )
        self.assertEqual(
            state,
            {
                "aggregate_type": "order",
                "aggregate_id": "o-1",
                "version": 2,
                "state": {"n": "1"},
            },
        )
        self.assertEqual(self.target.batches[0][0]["event"]["extensions"], {"@a": 1})

    def test_modes(self) -> None:
        """The mode is that of the entry, or the one asked for; what is empty is not sent."""
        self.whole("o-2", entry={"payload_mode": "state-only"})
        self.assertEqual(list(self.target.batches[-1][0]), ["state"])
        self.whole("o-2", entry={"payload_mode": "state-only"}, mode="event-only")
        self.assertEqual(list(self.target.batches[-1][0]), ["event"])
        progress = self.whole(mode="schema-only")
        self.assertEqual((len(self.target.batches), progress["delivered"]), (2, 4))
        self.put_schemas(RENAME)
        self.whole("o-2", mode="schema-only")
        self.assertEqual(list(self.target.batches[-1][0]), ["schema"])

    def test_selection(self) -> None:
        """The plugin's own filter holds; what it does not want is not counted in the end."""
        progress = self.whole(entry={"filter": "payload.n > 0"})
        self.assertEqual(self.target.versions, [("o-1", 2), ("o-1", 3)])
        self.assertEqual((progress["delivered"], progress["total"]), (2, 2))
        with self.assertRaises(InvalidSchema):
            self.begin(entry={"filter": "n >"})

    def test_hidden(self) -> None:
        """Hidden types are not replayed, unless the plugin sees them."""
        text = orjson.dumps({"order": {"aggregate": "order", "hidden": True, "events": {"a": {}}}})
        self.successResultOf(self.schemas.replace(self.schemas.prepare(text.decode())))
        self.assertEqual(self.whole()["total"], 0)
        self.assertEqual(self.target.batches, [])
        self.assertEqual(self.whole(entry={"include_hidden": True})["delivered"], 4)

    def test_positions(self) -> None:
        """Each event says where it stands in the log, those of later appends, too."""
        positions: list[str] = []
        self.target.answer = lambda items: positions.extend(one.parts.position for one in items)
        self.whole(include_archived=True)
        self.assertEqual(positions, [f"0-{number}" for number in range(6)])
        del positions[:]
        job = self.begin("o-2", include_archived=True)
        self.write(self.append("o-2"), self.append("o-2"))
        for _slice in range(9):
            self.time.advance(0)
        self.assertEqual(positions, ["0-3", "0-6", "0-7"])
        self.assertEqual(self.progress(job)["total"], 3)


class HowTests(ReplayCase):
    """Batches, pace, failures, and ends before the end."""

    def test_one_by_one(self) -> None:
        """Without a batch each event travels alone, one after the other."""
        waiting: list[Deferred[None]] = []

        def answer(items: Sequence[Item]) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.target.answer = answer
        progress = self.whole()
        self.assertEqual((progress["state"], self.target.sizes), ("running", [1]))
        self.assertEqual((progress["delivered"], progress["total"]), (0, 4))
        waiting[0].callback(None)
        self.assertEqual(self.target.sizes, [1, 1])

    def test_batches(self) -> None:
        """Batches are as large as the entry allows, in number and in bytes."""
        self.whole(entry={"batch": Batch(max_events=3)})
        self.assertEqual(self.target.sizes, [3, 1])
        self.target = Target()
        self.whole(entry={"batch": Batch(max_bytes=1)})
        self.assertEqual(self.target.sizes, [1, 1, 1, 1])

    def test_rate(self) -> None:
        """The rate limit of the entry holds for replays."""
        self.whole(entry={"rate_limit": 2.0})
        self.assertEqual(len(self.target.batches), 1)
        self.time.advance(0.4)
        self.assertEqual(len(self.target.batches), 1)
        self.time.advance(0.1)
        self.assertEqual(len(self.target.batches), 2)

    def test_first_failure_ends_it(self) -> None:
        """The first failure ends a replay with its reason; what was accepted counts."""
        refused = DeliveryFailed("no", accepted=1, blames=True)
        self.target.answer = lambda items: fail(refused) if len(self.target.batches) == 2 else None
        progress = self.whole(entry={"batch": Batch(max_events=2)})
        self.assertEqual((progress["state"], progress["error"]), ("failed", "no"))
        self.assertEqual((progress["delivered"], self.target.sizes), (3, [2, 2]))
        self.assertEqual(self.target.attempts, [1, 1])

    def test_retries(self) -> None:
        """With retries what fails is sent again, alone, after the plugin's delays; then it goes
        on with whole batches."""
        answers = [DeliveryFailed("a"), DeliveryFailed("b", retry_after_s=7.0), None, None, None]

        def answer(items: Sequence[Item]) -> Deferred[None] | None:
            failed = answers.pop(0)
            return None if failed is None else fail(failed)

        self.target.answer = answer
        job = self.begin(entry={"batch": Batch(max_events=4)}, retry=True)
        for seconds in (0, 0, 0, 0.9):
            self.time.advance(seconds)
        self.assertEqual(self.target.sizes, [4])
        self.time.advance(0.2)
        self.assertEqual(self.target.sizes, [4, 1])
        self.time.advance(6.9)
        self.assertEqual(self.target.sizes, [4, 1])
        self.time.advance(0.1)
        self.assertEqual((self.target.sizes, self.target.attempts), ([4, 1, 1, 3], [1, 2, 3, 1]))
        self.assertEqual(self.target.versions[-3:], [("o-1", 2), ("o-1", 3), ("o-2", 1)])
        self.time.advance(0)
        self.assertEqual(
            (self.progress(job)["state"], self.progress(job)["delivered"]), ("done", 4)
        )

    def test_retries_end(self) -> None:
        """The plugin's limit of attempts ends a replay with retries; 410 does at once."""
        self.target.answer = lambda items: fail(DeliveryFailed("no"))
        job = self.begin(entry={"max_attempts": 2}, retry=True)
        for seconds in (0, 0, 0, 1.1, 0):
            self.time.advance(seconds)
        self.assertEqual((self.target.attempts, self.progress(job)["state"]), ([1, 2], "failed"))
        self.target.answer = lambda items: fail(DeliveryFailed("gone", gone=True))
        self.assertEqual(self.whole(retry=True)["error"], "gone")

    def test_too_large(self) -> None:
        """A document beyond the limit ends a replay; those before it arrive."""
        self.replays = Replays(self.time, self.domain, document_bytes_max=900)
        self.write(self.append("o-1", {"text": "x" * 900}))
        progress = self.whole(entry={"batch": Batch()})
        self.assertEqual((progress["delivered"], progress["error"]), (3, "document too large"))

    def test_cancel(self) -> None:
        """A cancelled replay begins no delivery; one that is on its way counts when it arrives."""
        waiting: Deferred[None] = Deferred()
        self.target.answer = lambda items: waiting
        job = self.begin()
        for _slice in range(5):
            self.time.advance(0)
        self.assertTrue(self.replays.cancel(job))
        waiting.callback(None)
        self.time.advance(0)
        progress = self.progress(job)
        self.assertEqual((progress["state"], progress["delivered"]), ("cancelled", 1))
        self.assertEqual(len(self.target.batches), 1)
        self.assertFalse(self.replays.cancel("p99"))
        self.assertIsNone(self.replays.progress("p99"))

    def test_cancel_in_a_pause(self) -> None:
        """A replay that waits for its rate is over at once."""
        self.whole(entry={"rate_limit": 0.001})
        self.replays.cancel("p1")
        self.successResultOf(self.replays.stop())
        self.assertEqual(self.progress("p1")["state"], "cancelled")

    def test_end_of_a_delivery(self) -> None:
        """Before a delivery is closed its replays end, and what is in flight has come back."""
        waiting: Deferred[None] = Deferred()
        self.target.answer = lambda items: waiting
        job = self.begin()
        for _slice in range(5):
            self.time.advance(0)
        self.successResultOf(self.replays.end(cast(IDelivery, Target()), "changed"))
        ended = self.replays.end(cast(IDelivery, self.target), "its settings were changed")
        self.assertNoResult(ended)
        waiting.callback(None)
        self.time.advance(0)
        self.successResultOf(ended)
        progress = self.progress(job)
        self.assertEqual(progress["error"], "its settings were changed")

    def test_stop(self) -> None:
        """After a stop nothing begins."""
        self.successResultOf(self.replays.stop())
        with self.assertRaises(ConfigError):
            self.begin()

    def test_on_a_thread(self) -> None:
        """With a thread, documents are made there, one slice ahead of what is sent."""
        self.replays = Replays(self.time, self.domain, self.later)
        waiting: Deferred[None] = Deferred()
        self.target.answer = lambda items: waiting
        job = self.begin()
        self.assertEqual(len(self.slow), 1)
        while self.slow:
            self.run_slow()
        self.assertEqual(len(self.target.batches), 1)
        self.replays.cancel(job)
        waiting.callback(None)
        self.successResultOf(self.replays.stop())

    def test_many(self) -> None:
        """So many are remembered; those that are over make room, those that run do not."""
        for _job in range(limits.REPLAYS_KEPT + 3):
            self.assertEqual(self.whole()["state"], "done")
        self.assertIsNone(self.replays.progress("p1"))
        for _job in range(limits.REPLAYS_KEPT):
            self.begin()
        with self.assertRaises(ConfigError):
            self.begin()

    def test_damage(self) -> None:
        """An error of the store ends a replay with its text."""
        self.successResultOf(
            self.store.transact(
                lambda one: one.put(b"eorder\x00o-1\x00" + bytes(7) + b"\x02", b"x")
            )
        )
        progress = self.whole()
        self.assertEqual(progress["state"], "failed")
        self.assertIn("record is cut short", str(progress["error"]))


class EntryTests(FoldingCase):
    """Which plugin a replay goes to."""

    def test_entries(self) -> None:
        """It must be there, enabled, and get events."""
        hook = PluginEntry(enabled=True, config=LogConfig(), name="hook")
        off = PluginEntry(enabled=False, config=LogConfig(), name="off")
        mute = PluginEntry(enabled=True, config=LogConfig(), emit_events=False)
        entries = (hook, off, mute)
        self.assertIs(entry_to_replay(entries, "hook"), hook)
        for name, text in (
            ("off", "no enabled plugin named 'off' is configured"),
            ("none", "no enabled plugin named 'none' is configured"),
            ("log", "plugin 'log' is configured with emit_events=false"),
        ):
            with self.assertRaises(ConfigError) as refused:
                entry_to_replay(entries, name)
            self.assertIn(text, str(refused.exception))
