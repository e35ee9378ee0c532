"""The queue of a domain as operators see it: listed, tried again, given up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.parts import PartsBuilder
from eventdbx.application.queue import held_job, offered_job, owed, untried_jobs
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.errors import ConfigError, UnknownName
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.holding import Holding
from eventdbx.plugins.outlet import Outlet
from eventdbx.plugins.standing import Standing, standing_of
from eventdbx.storage import eventlog
from eventdbx.storage.outbox import Cursor, Held, held_rows

WAIT_MAX_S = 30.0


class QueueDesk:
    """What there is to say about jobs, over the drainer of one domain."""

    def __init__(self, drainer: Drainer) -> None:
        self.drainer = drainer

    def queue(self, name: str | None, limit: int) -> Deferred[dict[str, Any]]:
        """Return counts and jobs, at most ``limit`` of each status."""
        standings = [standing_of(self.drainer, entry) for entry in self.entries(name)]
        return self.drainer.run_slowly(lambda: self._queue(standings, limit))

    def _queue(self, standings: list[Standing], limit: int) -> dict[str, Any]:
        # On a thread: nothing of an outlet is looked at here.
        jobs: dict[str, list[dict[str, Any]]] = {"pending": [], "processing": [], "dead": []}
        pending = processing = done = dead = 0
        for now in standings:
            entry, view, held = now.entry, now.view, now.held()
            flying = [
                offered_job(entry, offer, one.attempt) for one in now.flights for offer in one[0]
            ]
            names = {one.name for one in held if not one.loose}
            ids = {job["id"] for job in flying}
            waiting = [one for one in held if not one.dead and one.event_id not in ids]
            gone = [one for one in held if one.dead]
            unsettled = now.unread + sum(owed(view, now.cursor, one) for one in held)
            pending += max(unsettled - len(flying) - len(gone), len(waiting))
            processing += len(flying)
            dead += len(gone)
            counted = now.done
            if counted is None:
                counted = self.drainer.done(entry, view).total(now.now_ms)
            done += counted
            listed = [held_job(entry, one, "pending") for one in waiting]
            room = limit - len(jobs["pending"]) - len(listed)
            listed += untried_jobs(view, entry, now.cursor, limit=room, flying=ids, held=names)
            jobs["pending"] += sorted(listed, key=lambda job: job["id"])
            jobs["processing"] += flying
            jobs["dead"] += [held_job(entry, one, "dead") for one in gone]
        for status, listed in jobs.items():
            jobs[status] = listed[:limit]
        return {
            "pending": pending,
            "processing": processing,
            "done": done,
            "dead": dead,
            "jobs": jobs,
        }

    def job(self, job_id: int, name: str | None = None) -> Deferred[dict[str, Any] | None]:
        """Return one job (of a plugin) with the document that would be sent, or None."""
        standings = [standing_of(self.drainer, entry) for entry in self.entries(name)]
        return self.drainer.run_slowly(lambda: self._job(job_id, standings))

    def _job(self, job_id: int, standings: list[Standing]) -> dict[str, Any] | None:
        domain = self.drainer.domain
        for now in standings:
            entry, view = now.entry, now.view
            for one in now.held():
                if one.event_id != job_id:
                    continue
                event = eventlog.load_event(view, one.name, one.version)
                if event is None:
                    return None
                builder = PartsBuilder(domain.name, include_hidden=entry.include_hidden)
                mode: Any = one.mode or entry.payload_mode
                parts = builder.build(view, domain.schemas.in_force, event, one.position, mode)
                job = held_job(entry, one, "dead" if one.dead else "pending")
                if parts is None or parts.is_empty:
                    return {**job, "document": None}
                return {**job, "document": json_body(parts).decode()}
        return None

    def retry(
        self, *, job_id: int | None, name: str | None, since_ms: int | None, wait_s: float
    ) -> Deferred[tuple[int, int]]:
        """Try dead jobs again, waiting a while for them; return how many, and how many are dead
        still."""
        return Deferred.fromCoroutine(self._retry(job_id, name, since_ms, wait_s))

    async def _retry(
        self, job_id: int | None, name: str | None, since_ms: int | None, wait_s: float
    ) -> tuple[int, int]:
        drainer = self.drainer
        drainer.serve()
        revived: list[tuple[Outlet, Held]] = []
        for outlet in self._outlets(name):
            for held in outlet.holding:
                if not held.dead or (job_id is not None and held.event_id != job_id):
                    continue
                if since_ms is not None and held.since < since_ms:
                    continue
                outlet.holding.revive(held, outlet.now_ms())
                revived.append((outlet, held))
        for outlet in {id(one): one for one, _held in revived}.values():
            outlet.breaker.hurry(drainer.clock.seconds())
            outlet.changed()
        until = drainer.clock.seconds() + min(wait_s, WAIT_MAX_S)
        while drainer.clock.seconds() < until:
            if not any(_undecided(outlet, held) for outlet, held in revived):
                break
            pause: Deferred[None] = Deferred()
            drainer.clock.callLater(0.05, pause.callback, None)
            await pause
        return len(revived), sum(_failed_again(outlet, held) for outlet, held in revived)

    def discard(self, *, job_ids: Collection[int] | None, name: str | None) -> Deferred[int]:
        """Give dead jobs up for good; what waited behind them goes on. Return how many."""
        wanted = None if job_ids is None else frozenset(job_ids)
        return Deferred.fromCoroutine(self._discard(self.entries(name), wanted))

    async def _discard(self, entries: list[PluginEntry], wanted: frozenset[int] | None) -> int:
        self.drainer.serve()
        count = 0
        for entry in entries:
            outlet = self.drainer.outlet(entry.key)
            holding = self._resting(entry) if outlet is None else outlet.holding
            gone = [one for one in holding if one.dead and _is_in(one, wanted)]
            for held in gone:
                if outlet is None and self._is_last(held):
                    holding.remove(held)
                else:
                    holding.go_on(held, held.version + 1, self._now_ms())
            count += len(gone)
            if gone and outlet is not None:
                outlet.changed()
            elif gone:
                await self._put(entry, holding.changes)
        return count

    def _resting(self, entry: PluginEntry) -> Holding:
        """Return what a plugin holds back that is not served now."""
        rows = held_rows(self.drainer.domain.store.view(), entry.key)
        return Holding(entry, rows, max_attempts=1, chance=lambda: 0.5)

    def _is_last(self, held: Held) -> bool:
        """Say whether nothing of its aggregate is behind an event."""
        view = self.drainer.domain.store.view()
        return eventlog.load_event(view, held.name, held.version + 1) is None

    def _put(self, entry: PluginEntry, rows: Mapping[bytes, bytes | None]) -> Deferred[None]:
        """Put rows of a plugin that is not served now."""
        return self.drainer.outbox.put(entry.key, self.cursor(entry), rows, 0)

    def _now_ms(self) -> int:
        return int(self.drainer.clock.seconds() * 1000)

    def clear_done(self, older_than_ms: int | None, *, only_count: bool = False) -> Deferred[int]:
        """Reset the counters of done jobs (or leave them); return how many they counted."""
        now_ms = self._now_ms()
        before = 1 << 62 if older_than_ms is None else now_ms - older_than_ms
        return Deferred.fromCoroutine(self._clear_done(before, now_ms, only_count))

    async def _clear_done(self, before_ms: int, now_ms: int, only_count: bool) -> int:
        cleared = 0
        for entry in self.entries(None):
            outlet = self.drainer.outlet(entry.key)
            view = self.drainer.domain.store.view()
            done = self.drainer.done(entry, view) if outlet is None else outlet.done
            if only_count:
                cleared += done.count(before_ms)
                continue
            cleared += done.clear(before_ms)
            if outlet is not None:
                outlet.changed()
            else:
                await self._put(entry, done.take_changes(now_ms))
        return cleared

    # Finding

    def entry(self, name: str) -> PluginEntry:
        """Return the usable entry of a name; raises ConfigError."""
        entry = self.drainer.plugins.find(name)
        if entry is None:
            raise UnknownName(f"no plugin named '{name}' is configured")
        if not isinstance(entry, PluginEntry):
            raise ConfigError(f"plugin '{name}' is unavailable: {entry.reason}")
        return entry

    def entries(self, name: str | None) -> list[PluginEntry]:
        """Return the usable entries, or the one of a name."""
        if name is not None:
            return [self.entry(name)]
        return [one for one in self.drainer.plugins.entries if isinstance(one, PluginEntry)]

    def _outlets(self, name: str | None) -> list[Outlet]:
        if name is None:
            return self.drainer.outlets()
        outlet = self.drainer.outlet(self.entry(name).key)
        return [] if outlet is None else [outlet]

    def cursor(self, entry: PluginEntry) -> Cursor:
        """Return where a plugin stands; a new one at the end."""
        known = self.drainer.outbox.cursors.get(entry.key)
        return Cursor(self.drainer.outbox.end()) if known is None else known


def _is_in(held: Held, wanted: frozenset[int] | None) -> bool:
    return wanted is None or held.event_id in wanted


def _undecided(outlet: Outlet, held: Held) -> bool:
    current = outlet.holding.current(held)
    if current is None or current.version != held.version or current.dead:
        return False
    return current.attempts == 0


def _failed_again(outlet: Outlet, held: Held) -> bool:
    current = outlet.holding.current(held)
    return current is not None and current.version == held.version and current.dead
