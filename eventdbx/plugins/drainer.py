"""The delivery of one domain: an outlet for each plugin that events are meant for.

Nobody waits for it, and nothing that a plugin does stops it: what goes wrong in one outlet stays
there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from eventdbx.application.domains import Domain
from eventdbx.application.feed import Feed
from eventdbx.application.outbox import Outbox
from eventdbx.application.parts import PartsBuilder
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.former import former_names
from eventdbx.domain.delivery.selecting import selector
from eventdbx.errors import EventDBXError
from eventdbx.plugins.done import Done
from eventdbx.plugins.holding import Holding
from eventdbx.plugins.kinds import make_delivery
from eventdbx.plugins.outlet import Outlet, RunSlowly
from eventdbx.plugins.placing import former_place, places_of
from eventdbx.plugins.replays import Replays
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.plugins.watching import DeliveryWatch, Watched
from eventdbx.settings import Config
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import done_counts

T = TypeVar("T")
NUDGE_S = 0.002
"""How long commits are gathered before outlets look at them: a look costs as much as a write."""

RELOAD_S = 10.0
"""How often a plugin that could not be loaded is tried again: what it lacks may have come."""

STOP_S = 10.0
"""How long deliveries in flight may take when the drainer stops."""


class Served(NamedTuple):
    """A plugin that is loaded; one that gets no events has no outlet."""

    entry: PluginEntry
    delivery: Any
    outlet: Outlet | None


class Drainer:
    """Serves the plugins of a domain until it is stopped.

    Before :meth:`serve` it keeps cursors and shows what there is, and delivers nothing.
    """

    log = Logger()

    def __init__(
        self,
        domain: Domain,
        *,
        clock: Any,
        run_slowly: RunSlowly,
        surroundings: Surroundings,
        config: Config,
        chance: Callable[[], float] = random.random,
        make: Callable[[PluginEntry, Surroundings], Any] = make_delivery,
        watch: DeliveryWatch | None = None,
    ) -> None:
        self.domain = domain
        self.plugins = domain.plugins
        self.clock = clock
        self.surroundings = surroundings
        self.run_slowly = run_slowly
        self._config = config
        self._chance = chance
        self._make = make
        self._watch = watch
        self.outbox = Outbox(domain.store)
        self.replays = Replays(clock, domain, run_slowly, max_attempts=config.plugin_max_attempts)
        self.served: dict[str, Served] = {}
        self.broken: dict[str, str] = {}
        """Plugins that could not be loaded, and why."""
        self._retiring: dict[str, Deferred[None]] = {}
        self._aside: list[str] = []
        self._until_moved: list[Deferred[None]] = []
        self.serving = False
        self._stale = True
        self._reload_at = 0.0
        self._prune_at = clock.seconds() + config.plugin_queue.prune.interval_secs
        self._stopping = False
        self._soon: IDelayedCall | None = None

    def take_up(self, config: Config) -> None:
        """Go on under another configuration."""
        self._config = config
        prune = config.plugin_queue.prune
        self.replays.max_attempts = config.plugin_max_attempts
        self._prune_at = min(self._prune_at, self.clock.seconds() + prune.interval_secs)
        for served in self.served.values():
            if served.outlet is not None:
                served.outlet.holding.allow(self._attempts_max)
                served.outlet.done.keep(prune.done_ttl_secs, prune.max_done_jobs)

    @property
    def _attempts_max(self) -> int:
        return min(max(self._config.plugin_max_attempts, 1), 255)

    def start(self) -> None:
        """Load the plugins, and follow their entries."""
        self.plugins.on_change.append(self._changed)
        self.domain.erasing.on_erased.append(self._erased)
        self.turn()

    def _erased(self, name: bytes) -> None:
        for outlet in self.outlets():
            outlet.holding.forget_errors(name)

    def serve(self) -> None:
        """Deliver from now on."""
        if self.serving:
            return
        self.serving = True
        self.domain.store.on_commit.append(self.nudge)
        for served in tuple(self.served.values()):
            self._begin(served)

    def nudge(self) -> None:
        """Look at what was committed, soon."""
        if self._soon is not None or self._stopping:
            return
        if any(outlet.hungry() for outlet in self.outlets()):
            self._soon = self.clock.callLater(NUDGE_S, self._nudged)

    def turn(self) -> None:
        """Take over changed entries and let every outlet do what it can. Never raises."""
        if self._stopping:
            return
        if self.broken and self.clock.seconds() >= self._reload_at:
            self._stale = True
        try:
            if self.plugins.refresh() or self._stale:
                self.reconcile()
        except Exception:
            self.log.failure("the plugins of {domain} cannot be loaded", domain=self.domain.name)
        for outlet in self.outlets():
            self._guarded(outlet, outlet.tick)
        if self.clock.seconds() >= self._prune_at:
            self._prune()

    def _prune(self) -> None:
        """Forget done jobs in the store, too: of plugins that nothing is delivered to any more."""
        self._prune_at = self.clock.seconds() + self._config.plugin_queue.prune.interval_secs
        for outlet in self.outlets():
            outlet.done.total(outlet.now_ms())
            if outlet.done.changed:
                self._guarded(outlet, outlet.changed)

    def outlets(self) -> list[Outlet]:
        """Return the outlets, in the order of the entries' loading."""
        return [served.outlet for served in self.served.values() if served.outlet is not None]

    def outlet(self, name: str) -> Outlet | None:
        """Return the outlet of a plugin, None where it gets no events."""
        served = self.served.get(name)
        return None if served is None else served.outlet

    def reconcile(self) -> None:
        """Load what is new, let go of what is gone, and replace what has changed."""
        self._stale = False
        self._reload_at = self.clock.seconds() + RELOAD_S
        usable = [one for one in self.plugins.entries if isinstance(one, PluginEntry)]
        moving = self._follow_names(usable)
        self._align().addErrback(self._unaligned)
        wanted = {entry.key: entry for entry in usable if entry.enabled}
        self.broken = {key: why for key, why in self.broken.items() if key in wanted}
        for key, served in tuple(self.served.items()):
            entry = wanted.get(key)
            if entry is None or not _same_but_paused(entry, served.entry):
                self.retire(key)
            elif entry != served.entry:
                self.served[key] = served._replace(entry=entry)
                if served.outlet is not None:
                    served.outlet.entry = entry
        for key, entry in wanted.items():
            if not (key in self.served or key in self._retiring or key in moving):
                self._load(entry)

    def _align(self) -> Deferred[None]:
        """Let what is written from now on be meant for the plugins as their entries are now."""
        usable = [one for one in self.plugins.entries if isinstance(one, PluginEntry)]
        return self.outbox.align(places_of(usable, self.outbox.cursors, self._aside))

    async def aligned(self, key: str) -> None:
        """Return when it is durable that events are meant for a plugin as its entry is now."""
        if self._changed not in self.plugins.on_change:
            return  # Nobody keeps cursors here.
        while key in self._aside:
            moved: Deferred[None] = Deferred()
            self._until_moved.append(moved)
            await moved
        await self._align()

    def catch_up(self) -> None:
        """Take over entries that have changed and were not loaded yet."""
        if self._stale:
            self.turn()

    def _follow_names(self, entries: list[PluginEntry]) -> set[str]:
        """Give renamed plugins the rows that still lie under a former name; return whose rows
        somebody is moving.

        Whoever renames in order has both names aside until it is done. An alias says that it was.
        """
        moving = set(self._aside)
        taken = {one.key for one in entries}
        for entry in entries:
            if not moving.isdisjoint(former_names(entry)):
                moving.add(entry.key)
                continue
            former = former_place(entry, taken, self.outbox.cursors, self._aside)
            if former is not None:
                self.retire(former)
                self.retire(entry.key)
                self.outbox.rename(former, entry.key).addErrback(self._unaligned)
        return moving

    def retire(self, key: str) -> Deferred[None]:
        """Stop serving a plugin; fires when it is let go of."""
        served = self.served.pop(key, None)
        if served is None:
            return succeed(None)
        ending = Deferred.fromCoroutine(self._end(served))
        self._retiring[key] = ending

        def ended(_outcome: Any) -> None:
            self._retiring.pop(key, None)
            self._stale = True
            if not self._stopping:
                self.turn()

        ending.addErrback(
            lambda failure: self.log.failure("cannot let go of {key}", failure, key=key)
        )
        return ending.addCallback(ended)

    async def aside(self, keys: Iterable[str], work: Callable[[], Deferred[T]]) -> T:
        """Do work on the rows of plugins while none of them is served, nor loaded anew."""
        mine = list(keys)
        self._aside += mine
        try:
            for key in mine:
                await self.retire(key)
                if key in self._retiring:
                    await self._retiring[key]  # Somebody else's, which began before.
            return await work()
        finally:
            for key in mine:
                self._aside.remove(key)
            if not self._stopping:
                self.reconcile()
            waiting, self._until_moved = self._until_moved, []
            for one in waiting:
                one.callback(None)

    def at_rest(self) -> bool:
        """Say whether every outlet has done what it can do for now."""
        if self._stale or self._retiring or self._aside:
            return False
        return all(outlet.at_rest() for outlet in self.outlets())

    def stop(self) -> Deferred[None]:
        """Begin nothing more; fires when what was in flight is settled and all targets are let go
        of."""
        self._stopping = True
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        if self.nudge in self.domain.store.on_commit:
            self.domain.store.on_commit.remove(self.nudge)
        if self._changed in self.plugins.on_change:
            self.plugins.on_change.remove(self._changed)
        if self._erased in self.domain.erasing.on_erased:
            self.domain.erasing.on_erased.remove(self._erased)
        for key in tuple(self.served):
            self.retire(key)
        waiting = [*self._retiring.values(), self.replays.stop()]
        return gatherResults(waiting).addCallback(lambda _results: None)

    def _load(self, entry: PluginEntry) -> None:
        try:
            wants = selector(entry)
            delivery = self._make(entry, self.surroundings)
            outlet = self._make_outlet(entry, delivery, wants) if entry.emit_events else None
        except Exception as error:  # Whatever it is, it keeps no other plugin from its events.
            reason = str(error) or type(error).__name__
            if self.broken.get(entry.key) != reason:
                self._tell_broken(entry, reason, error)
            self.broken[entry.key] = reason
            return
        self.broken.pop(entry.key, None)
        self.served[entry.key] = served = Served(entry, delivery, outlet)
        if self.serving:
            self._begin(served)

    def _tell_broken(self, entry: PluginEntry, reason: str, error: Exception) -> None:
        if isinstance(error, EventDBXError):
            self.log.error("{plugin} is unavailable: {reason}", plugin=entry.label, reason=reason)
        else:
            self.log.failure("{plugin} is unavailable", plugin=entry.label)

    def _begin(self, served: Served) -> None:
        begin = getattr(served.delivery, "begin", None)
        if begin is not None:
            begin()
        if served.outlet is not None:
            served.outlet.serving = True
            self._guarded(served.outlet, served.outlet.pump)

    def _make_outlet(self, entry: PluginEntry, delivery: Any, wants: Callable[..., bool]) -> Outlet:
        builder = PartsBuilder(self.domain.name, include_hidden=entry.include_hidden, wants=wants)
        watch = self._watch
        return Outlet(
            entry,
            delivery if watch is None else Watched(delivery, entry.label, watch),
            Feed(
                entry,
                builder,
                delivery.encode,
                lambda: self.domain.schemas.in_force,
                taken=None if watch is None else watch.taken(entry.label),
            ),
            self.outbox,
            Holding(
                entry,
                self.outbox.held(entry.key),
                max_attempts=self._attempts_max,
                chance=self._chance,
            ),
            self.done(entry, self.domain.store.view()),
            clock=self.clock,
            run_slowly=self.run_slowly,
            in_force=lambda: self.domain.schemas.in_force,
            serving=False,
        )

    def done(self, entry: PluginEntry, view: IReadView) -> Done:
        """Return the counters of a plugin as they are in the store."""
        prune = self._config.plugin_queue.prune
        return Done(
            entry.key,
            done_counts(view, entry.key),
            ttl_s=prune.done_ttl_secs,
            jobs_max=prune.max_done_jobs,
        )

    async def _end(self, served: Served) -> None:
        await self.replays.end(served.delivery, "the plugin was changed")
        if served.outlet is not None:
            await served.outlet.stop(STOP_S)
        await served.delivery.close()

    def _changed(self) -> None:
        """Give new plugins their cursors before anybody writes for them, and load them soon."""
        if not self._stopping:
            self._align().addErrback(self._unaligned)
        self._stale = True
        if self._soon is None and not self._stopping:
            self._soon = self.clock.callLater(0, self._nudged)

    def _nudged(self) -> None:
        self._soon = None
        # An entry that was edited before these events were written is in force for them.
        if self.plugins.refresh(now=True) or self._stale:
            self._stale = True
            self.turn()
            return
        for outlet in self.outlets():
            if outlet.hungry():
                self._guarded(outlet, outlet.pump)

    def _guarded(self, outlet: Outlet, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self.log.failure("serving {plugin}", plugin=outlet.entry.label)

    def _unaligned(self, failure: Any) -> None:
        if not self._stopping:
            self.log.failure("the cursors of {domain}", failure, domain=self.domain.name)


def _same_but_paused(one: PluginEntry, other: PluginEntry) -> bool:
    return replace(one, paused=False) == replace(other, paused=False)
