"""Everything at random: failures, crashes, restarts, and operators who change their minds.

What is checked afterwards is the promise: every event that is meant for the plugin arrived, none
that is not, and in the order that the entry asks for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from zope.interface import implementer

from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.entries import Backoff, Batch
from eventdbx.domain.delivery.parts import Item
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IHop
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store
from tests.application.test_writer import ALICE
from tests.plugins.draining import DrainingCase, hook

Event = tuple[str, int]


@implementer(IHop)
class Late:
    """A way to a disk that takes its time."""

    def __init__(self, case: Stormy) -> None:
        self._case = case
        self.cut = False

    def gather(self, depart: Callable[[], None]) -> None:
        self._later(0.001, depart)

    def quick(self) -> bool:
        return False

    def run(self, work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        work()
        self._later(self._case.chance.random() / 50, done)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._case.time.callLater(seconds, lambda: None if self.cut else call())

    def stop(self) -> None:
        """Nothing to stop."""


class Stormy(DrainingCase):
    """One plugin, a target that fails at random, a disk and a thread that take their time."""

    max_attempts = 1_000

    def begin(self, seed: int, **options: Any) -> None:
        """Start anew."""
        self.chance = random.Random(seed)
        self.targets.clear()
        super().setUp()
        self.backend = MemoryStore()
        self.restore()
        self.open()
        self.entry = hook(backoff=Backoff(first_s=0.05, max_s=0.2), **options)
        self.versions: dict[str, int] = {}
        self.log: list[tuple[Event, bool, bool]] = []  # Event, published to us, while we were on.
        self.begun = 0
        self.others = hook("other", aggregates=("nothing",))
        self.put(self.entry, self.others)
        self.pass_time(0.1)
        self.target().answer = self.answer

    def restore(self) -> None:
        """Open the store as it is on the disk."""
        self.disk = Late(self)
        self.store = Store(self.backend, hop=self.disk)

    def setUp(self) -> None:
        """Storms begin by themselves."""
        self.chance = random.Random(0)
        super().setUp()

    def make_drainer(self) -> Drainer:
        drainer = super().make_drainer()

        def slowly(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            if self.chance.random() < 0.5:
                self.time.callLater(self.chance.random() / 20, lambda: done.callback(work()))
            else:
                self.time.callLater(self.chance.random() / 20, done.callback, work())
            return done

        drainer.run_slowly = slowly
        return drainer

    def answer(self, items: Sequence[Item]) -> DeliveryFailed | Deferred[None] | None:
        """Answer at random."""
        outcome = self.chance.random()
        if outcome < 0.2:
            return DeliveryFailed("no")
        if outcome < 0.3:
            return DeliveryFailed("no", accepted=self.chance.randrange(len(items)), blames=True)
        if outcome < 0.35:
            return DeliveryFailed("down", unavailable=True)
        if outcome < 0.36:
            return DeliveryFailed("gone", gone=True)
        if outcome < 0.7:
            later: Deferred[None] = Deferred()
            act: Any = later.callback
            what: Any = None
            if outcome < 0.45:
                act, what = later.errback, DeliveryFailed("no")
            self.time.callLater(self.chance.random() / 5, act, what)
            return later
        return None

    def queue(self) -> dict[str, Any]:
        shown = self.desk.queue(None, 100)
        self.pass_time(0.2)
        return self.successResultOf(shown)

    # What may happen

    def write_one(self) -> None:
        """Write an event, for everybody, for us or for the other plugin."""
        name = f"o-{self.chance.randrange(12)}"
        publish: tuple[PublishTarget, ...] = ()
        kind = self.chance.random()
        if kind < 0.1:
            publish = (PublishTarget("other", None, None),)
        elif kind < 0.2 and self.entry.enabled:
            rank = self.chance.choice(("low", "normal", "high"))
            publish = (PublishTarget(self.entry.key, None, rank),)
        write = Write("append", "order", name, "paid", "{}", publish_targets=publish)
        self.writer.write([write], actor=ALICE, render=lambda _committed: None)
        self.versions[name] = self.versions.get(name, 0) + 1
        for_us = not publish or publish[0].plugin != "other"
        self.log.append(((name, self.versions[name]), for_us, self.entry.enabled))

    def restart(self) -> None:
        """Stop in order, and start again."""
        stopping = self.drainer.stop()
        self.pass_time(11)
        self.successResultOf(stopping)
        self.open()

    def crash(self) -> None:
        """Die between any two commits: what the disk has not got is gone, events and all."""
        self.disk.cut = True
        self.drainer.stop()
        self.restore()
        view = self.store.view()
        self.log = [
            one
            for one in self.log
            if eventlog.load_event(view, keys.name("order", one[0][0]), one[0][1]) is not None
        ]
        self.versions = {name: version for (name, version), _for_us, _on in self.log}
        self.open()

    def switch(self) -> None:
        """Disable or enable the plugin."""
        self.pass_time(0.1)  # What was written before is meant for the plugin as it was.
        self.entry = replace(self.entry, enabled=not self.entry.enabled)
        self.put(self.entry, self.others)

    def rename(self) -> None:
        """Give the plugin another name, in order or in the file alone."""
        self.pass_time(0.1)
        before, to = self.entry.key, self.chance.choice("abc")
        if to == before:
            return
        self.targets[to] = self.target("hook")
        self.entry = self.plugins.rename(before, to)
        if self.chance.random() < 0.5:
            self.desk.rename(before, to)
        else:
            self.plugins.refresh(now=True)
            self.drainer.reconcile()

    def pause(self) -> None:
        """Pause or resume the plugin."""
        self.entry = replace(self.entry, paused=not self.entry.paused)
        self.put(self.entry, self.others)

    def change_schemas(self) -> None:
        """Put another set of schemas in force; the window is read again."""
        hidden = f"f{self.chance.randrange(100)}"
        order = {"aggregate": "order", "events": {"paid": {"fields": []}}}
        text = orjson.dumps({"order": {**order, "hidden_fields": [hidden]}})
        schemas = self.domain.schemas
        schemas.replace(schemas.prepare(text))

    def seek(self) -> None:
        """Go back to the start: everything that is for the plugin counts again, gaps too."""
        self.pass_time(0.2)
        aside = self.drainer.outbox.move

        def move(plugin: str, position: int) -> Deferred[None]:
            self.check_order()
            self.begun = len(self.target().accepted)
            self.log = [(event, for_us, True) for event, for_us, _on in self.log]
            return aside(plugin, position)

        self.drainer.outbox.move = move  # type: ignore[method-assign]
        moved = self.desk.seek(self.entry.key, "start")
        self.pass_time(15)
        self.successResultOf(moved)

    def retry(self) -> None:
        """Try what is dead again."""
        self.desk.retry(job_id=None, name=None, since_ms=None, wait_s=0)

    def go_on(self) -> None:
        """Go on after a target said that it is gone."""
        if self.drainer.outlet(self.entry.key) is not None:
            self.desk.resume(self.entry.key)

    def storm(self, *happen: tuple[float, Callable[[], None]]) -> None:
        """Write for a while, with what may happen and how often; then let all be well."""
        for _ in range(300):
            self.write_one()
            if self.chance.random() < 0.3:
                self.pass_time(0.1)
            for share, act in (*happen, (0.1, self.go_on)):
                if self.chance.random() < share:
                    act()
        self.entry = replace(self.entry, paused=False)
        if not self.entry.enabled:
            self.switch()
        self.put(self.entry, self.others)
        self.target().answer = lambda _items: None
        self.pass_time(1)
        self.go_on()
        self.pass_time(400, 0.25)
        self.retry()
        self.pass_time(40, 0.25)
        self.assertEqual(self.counts()[:2], (0, 0))
        self.assertEqual(self.counts()[3], 0)
        self.check_order()
        self.check_complete()

    # What is promised

    def accepted(self, since: int = 0) -> list[Event]:
        """Return what the target took."""
        events = []
        for one in self.target().accepted[since:]:
            name, version = one.rsplit(".", 1)
            events.append((name, int(version)))
        return events

    def check_complete(self) -> None:
        """Everything that was meant for the plugin arrived since it began, and nothing else."""
        meant = {event for event, for_us, on in self.log if for_us and on}
        accepted = set(self.accepted(self.begun))
        self.assertEqual(meant - accepted, set())
        self.assertEqual(accepted - meant, set())

    def check_order(self) -> None:
        """Nothing that is meant for the plugin was left out before a later one."""
        if self.entry.order == "none" or self.entry.on_dead == "continue":
            return
        meant: dict[str, list[int]] = {}
        for (name, version), for_us, on in self.log:
            if for_us and on:
                meant.setdefault(name if self.entry.order != "strict" else "", []).append(
                    version if self.entry.order != "strict" else len(meant.get("", ()))
                )
        if self.entry.order == "strict":
            places = [event for event, for_us, on in self.log if for_us and on]
            number = {event: place for place, event in enumerate(places)}
            lanes = [("", number[event]) for event in self.accepted(self.begun)]
        else:
            lanes = self.accepted(self.begun)
        seen: dict[str, int] = {}
        for lane, version in lanes:
            before = seen.get(lane, -1)
            skipped = [one for one in meant[lane] if before < one < version]
            self.assertEqual(skipped, [], (lane, version))
            seen[lane] = max(before, version)


class StormTests(Stormy):
    """One test for each kind of entry."""

    def weather(self, seeds: range, **options: Any) -> None:
        """Run storms in which everything happens."""
        for seed in seeds:
            self.begin(seed, **options)
            self.storm(
                (0.03, self.crash),
                (0.02, self.restart),
                (0.05, self.switch),
                (0.03, self.pause),
                (0.03, self.rename),
                (0.03, self.change_schemas),
                (0.005, self.seek),
                (0.05, self.retry),
            )

    def test_one_by_one(self) -> None:
        """One event at a time."""
        self.weather(range(4))

    def test_batches(self) -> None:
        """Batches, several in flight."""
        self.weather(range(10, 14), concurrency=4, batch=Batch(max_events=7))

    def test_few_attempts(self) -> None:
        """What is dead holds its aggregate until it is tried again."""
        self.weather(range(20, 24), max_attempts=2, concurrency=3, batch=Batch(max_events=5))

    def test_dead_ones_left_behind(self) -> None:
        """With ``on_dead: continue`` what is dead arrives when it is tried again."""
        self.weather(range(30, 34), max_attempts=2, on_dead="continue", concurrency=3)

    def test_no_order(self) -> None:
        """With ``order: none``."""
        self.weather(
            range(40, 44), order="none", max_attempts=3, concurrency=4, batch=Batch(max_events=3)
        )

    def test_strict(self) -> None:
        """With ``order: strict``."""
        self.weather(range(50, 54), order="strict", batch=Batch(max_events=4))
