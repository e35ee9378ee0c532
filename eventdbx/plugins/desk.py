"""What operators ask of a domain's delivery: tests, lags, the queue, seeking, replays, children.

Implements :class:`eventdbx.application.delivering.Delivering` over the drainer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.delivering import Lag, Outcome, ReplayAsked, Tested
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.queue import held_job, offered_job, untried_jobs
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.envelopes import json_body, sample_parts
from eventdbx.domain.delivery.parts import Item
from eventdbx.domain.delivery.positions import parse_position_token, position_token
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import ConfigError, EventDBXError, InvalidCursor, StorageError
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.kinds import make_delivery
from eventdbx.plugins.outlet import Outlet
from eventdbx.plugins.replays import entry_to_replay
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import Cursor, Held, held_rows

WAIT_MAX_S = 30.0


class Desk:
    """The delivery of one domain, as surfaces see it."""

    def __init__(self, drainer: Drainer) -> None:
        self.drainer = drainer

    # Trying targets

    def check(self, entry: PluginEntry) -> Deferred[None]:
        """Try the readiness of an entry, which need not be in force; fails with StorageError."""
        return Deferred.fromCoroutine(self._check(entry))

    async def _check(self, entry: PluginEntry) -> None:
        delivery = make_delivery(entry, self.drainer.surroundings)
        try:
            await delivery.check()
        except DeliveryFailed as failed:
            raise StorageError(failed.reason.removeprefix(StorageError.prefix)) from None
        finally:
            await delivery.close()

    def test(self, names: Sequence[str]) -> Deferred[list[Tested]]:
        """Deliver the sample event to plugins, to all that emit when no name is given."""
        return Deferred.fromCoroutine(self._test(names))

    async def _test(self, names: Sequence[str]) -> list[Tested]:
        entries = [self._entry(name) for name in names] or [
            entry
            for entry in self.drainer.plugins.entries
            if isinstance(entry, PluginEntry) and entry.emits
        ]
        for entry in entries:
            if not entry.enabled:
                raise ConfigError(f"plugin '{entry.key}' is disabled; enable it before testing")
            if not entry.emit_events:
                raise ConfigError(
                    f"plugin '{entry.key}' has event delivery disabled; "
                    "reconfigure with --emit-events=true to test"
                )
        return [Tested(entry.label, await self._try_one(entry)) for entry in entries]

    async def _try_one(self, entry: PluginEntry) -> str | None:
        served = self.drainer.served.get(entry.key)
        try:
            delivery = (
                make_delivery(entry, self.drainer.surroundings)
                if served is None
                else served.delivery
            )
        except EventDBXError as error:
            return str(error)
        try:
            await delivery.check()
            parts = sample_parts(entry.payload_mode, self.drainer.domain.name)
            if not parts.is_empty:
                item = Item(parts, delivery.encode(parts))
                await delivery.deliver([item], attempt=1, purpose="test")
        except DeliveryFailed as failed:
            return failed.reason
        finally:
            if served is None:
                await delivery.close()
        return None

    # Where plugins stand

    def lags(self, name: str | None = None) -> Deferred[list[Lag]]:
        """Return how far plugins are behind."""
        entries = self._entries(name)
        return self.drainer.run_slowly(lambda: [self._lag(entry) for entry in entries])

    def _lag(self, entry: PluginEntry) -> Lag:
        drainer = self.drainer
        outlet = drainer.outlet(entry.key)
        view = drainer.domain.store.view()
        held = self._held(entry, view)
        cursor = self._cursor(entry)
        position = cursor.position if outlet is None else outlet.lanes.cursor
        waiting = self._unsettled(entry)
        oldest = _oldest_ns(view, position, [one for one in held if not one.dead])
        now_ns = int(drainer.clock.seconds() * 1_000_000_000)
        return Lag(
            name=entry.key,
            label=entry.label,
            position=position_token(position - 1) if position else "",
            lag=waiting,
            oldest_s=0.0 if oldest is None or not waiting else max(0.0, (now_ns - oldest) / 1e9),
            parked=sum(not one.dead for one in held),
            dead=sum(one.dead for one in held),
            in_flight=0 if outlet is None else sum(len(one.offers) for one in outlet.flights),
            paused=self._paused(entry, outlet),
            breaker_open=outlet is not None and outlet.breaker.is_open,
            last_error=drainer.broken.get(entry.key)
            or (None if outlet is None else outlet.last_error),
        )

    def _paused(self, entry: PluginEntry, outlet: Outlet | None) -> str | None:
        if outlet is not None:
            return outlet.paused
        return "paused" if entry.paused else self._cursor(entry).stopped

    def seek(self, name: str, to: str) -> Deferred[str]:
        """Move a cursor to ``start``, ``end``, a token or a time (RFC 3339); return the token.

        A token is the last event that counts as seen; the plugin goes on behind it.
        """
        return Deferred.fromCoroutine(self._seek(name, to))

    async def _seek(self, name: str, to: str) -> str:
        entry = self._entry(name)
        position: int = await self.drainer.run_slowly(
            lambda: _position_of(self.drainer.domain.store.view(), self.drainer.outbox.end(), to)
        )
        await self.drainer.retire(entry.key)
        await self.drainer.outbox.move(entry.key, position)
        self.drainer.reconcile()
        return position_token(position - 1) if position else ""

    def resume(self, name: str) -> bool:
        """Let a plugin go on that was paused because of what its target said; False if none was."""
        resumed = False
        for outlet in self._outlets(name):
            if outlet.stopped_because is not None:
                outlet.resume()
                resumed = True
        return resumed

    def rename(self, name: str, to: str) -> Deferred[None]:
        """Move the durable rows of a plugin to another name; with those of ``to`` dropped."""
        for one in (name, to):
            self.drainer.retire(one)
        return self.drainer.outbox.rename(name, to)

    def drop(self, name: str) -> Deferred[int]:
        """Forget everything about a plugin; return how many undelivered events that were."""
        cursor = self.drainer.outbox.cursors.get(name)
        dropped = 0
        if cursor is not None:
            view = self.drainer.domain.store.view()
            outlet = self.drainer.outlet(name)
            ahead = _ahead(cursor, self.drainer.outbox.end())
            dropped = ahead if outlet is None else outlet.behind()
            dropped += sum(1 for _held in held_rows(view, name))
        self.drainer.retire(name)
        return self.drainer.outbox.drop(name).addCallback(lambda _nothing: dropped)

    def wait(self, name: str, position: str, timeout_s: float) -> Deferred[tuple[Outcome, str]]:
        """Wait until everything up to a position is settled; return the outcome and a reason."""
        entry = self._entry(name)
        place = parse_position_token(position)
        self.drainer.serve()
        outlet = self.drainer.outlet(entry.key)
        if outlet is None:
            reason = self.drainer.broken.get(entry.key) or "the plugin gets no events now"
            raise ConfigError(f"nothing is delivered to '{name}': {reason}")
        waiting: Deferred[Any] = outlet.wait(place)
        if waiting.called:
            return waiting
        late = self.drainer.clock.callLater(
            min(timeout_s, WAIT_MAX_S),
            lambda: None if waiting.called else waiting.callback(("timeout", "")),
        )

        def stop_timer(outcome: Any) -> Any:
            if late.active():
                late.cancel()
            return outcome

        return waiting.addBoth(stop_timer)

    # The queue

    def queue(self, name: str | None, limit: int) -> Deferred[dict[str, Any]]:
        """Return counts and jobs, at most ``limit`` of each status."""
        entries = self._entries(name)
        return self.drainer.run_slowly(lambda: self._queue(entries, limit))

    def _queue(self, entries: list[PluginEntry], limit: int) -> dict[str, Any]:
        view = self.drainer.domain.store.view()
        jobs: dict[str, list[dict[str, Any]]] = {"pending": [], "processing": [], "dead": []}
        pending = processing = done = dead = 0
        for entry in entries:
            outlet = self.drainer.outlet(entry.key)
            flights = [] if outlet is None else tuple(outlet.flights)
            flying = [offered_job(entry, offer, one.attempt) for one in flights for offer in one[0]]
            held = self._held(entry, view)
            names = {one.name for one in held if not one.loose}
            ids = {job["id"] for job in flying}
            waiting = [one for one in held if not one.dead and one.event_id not in ids]
            gone = [one for one in held if one.dead]
            pending += max(self._unsettled(entry) - len(flying) - len(gone), len(waiting))
            processing += len(flying)
            dead += len(gone)
            now_ms = int(self.drainer.clock.seconds() * 1000)
            if outlet is not None:
                done += outlet.done.total(now_ms)
            listed = [held_job(entry, one, "pending") for one in waiting]
            cursor = self._cursor(entry)
            if outlet is not None:
                cursor = cursor._replace(position=outlet.lanes.cursor)
            room = limit - len(jobs["pending"]) - len(listed)
            listed += untried_jobs(view, entry, cursor, limit=room, flying=ids, held=names)
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
        entries = self._entries(name)
        return self.drainer.run_slowly(lambda: self._job(job_id, entries))

    def _job(self, job_id: int, entries: list[PluginEntry]) -> dict[str, Any] | None:
        domain = self.drainer.domain
        view = domain.store.view()
        for entry in entries:
            for one in self._held(entry, view):
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
        count = 0
        for outlet in self._outlets(name):
            before = count
            for held in outlet.holding:
                if held.dead and (wanted is None or held.event_id in wanted):
                    outlet.holding.go_on(held, held.version + 1, outlet.now_ms())
                    count += 1
            if count > before:
                outlet.changed()
        return succeed(count)

    def clear_done(self, older_than_ms: int | None, *, only_count: bool = False) -> Deferred[int]:
        """Reset the counters of done jobs (or leave them); return how many they counted."""
        cleared = 0
        for outlet in self._outlets(None):
            now_ms = outlet.now_ms()
            before = 1 << 62 if older_than_ms is None else now_ms - older_than_ms
            if only_count:
                cleared += outlet.done.count(before)
                continue
            cleared += outlet.done.clear(before)
            outlet.changed()
        return succeed(cleared)

    # Replays and children

    def replay(self, asked: ReplayAsked) -> str:
        """Begin to deliver events again, beside live delivery; return the id of the job."""
        drainer = self.drainer
        entry = entry_to_replay(drainer.plugins.entries, asked.name)
        served = drainer.served.get(entry.key)
        if served is None:
            raise ConfigError(
                f"plugin '{asked.name}' is unavailable: "
                f"{drainer.broken.get(entry.key, 'it is being loaded')}"
            )
        return drainer.replays.start(entry, served.delivery, asked)

    def replay_progress(self, job: str) -> Mapping[str, JSON] | None:
        """Return how far a replay is, or None for an unknown job."""
        return self.drainer.replays.progress(job)

    def cancel_replay(self, job: str) -> bool:
        """Stop a replay; return False for an unknown job."""
        return self.drainer.replays.cancel(job)

    def processes(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the state of process plugins."""
        states = []
        for entry in self._entries(name):
            if entry.kind != "process":
                continue
            served = self.drainer.served.get(entry.key)
            if served is None:
                why = self.drainer.broken.get(entry.key)
                states.append(
                    {
                        "name": entry.key,
                        "label": entry.label,
                        "running": False,
                        "pid": None,
                        "restarts": 0,
                        "stopped": True,
                        "reason": why or (None if entry.enabled else "disabled"),
                    }
                )
            else:
                states.append(served.delivery.child.state())
        return states

    def start_process(self, name: str) -> Deferred[tuple[int, bool]]:
        """Start a process plugin that was stopped; return its pid and whether it ran already."""
        started: Deferred[tuple[int, bool]] = self._child(name, starting=True).start()
        return started

    def stop_process(self, name: str) -> Deferred[int | None]:
        """Stop a process plugin until it is started again; return its pid, None if none ran."""
        stopped: Deferred[int | None] = self._child(name, starting=False).stop()
        return stopped

    def _child(self, name: str, *, starting: bool) -> Any:
        entry = self._entry(name)
        if entry.kind != "process":
            raise ConfigError(f"no process plugin named '{name}' is configured")
        if starting and not entry.enabled:
            raise ConfigError(
                f"process plugin '{name}' is disabled; enable it before starting the worker"
            )
        served = self.drainer.served.get(entry.key)
        if served is None:
            why = self.drainer.broken.get(entry.key, "it is disabled")
            raise ConfigError(f"plugin '{name}' is unavailable: {why}")
        return served.delivery.child

    # Finding

    def _entry(self, name: str) -> PluginEntry:
        entry = self.drainer.plugins.find(name)
        if entry is None:
            raise ConfigError(f"no plugin named '{name}' is configured")
        if not isinstance(entry, PluginEntry):
            raise ConfigError(f"plugin '{name}' is unavailable: {entry.reason}")
        return entry

    def _entries(self, name: str | None) -> list[PluginEntry]:
        if name is not None:
            return [self._entry(name)]
        return [one for one in self.drainer.plugins.entries if isinstance(one, PluginEntry)]

    def _outlets(self, name: str | None) -> list[Outlet]:
        if name is None:
            return self.drainer.outlets()
        outlet = self.drainer.outlet(self._entry(name).key)
        return [] if outlet is None else [outlet]

    def _cursor(self, entry: PluginEntry) -> Cursor:
        known = self.drainer.outbox.cursors.get(entry.key)
        return Cursor(self.drainer.outbox.end()) if known is None else known

    def _held(self, entry: PluginEntry, view: IReadView) -> list[Held]:
        outlet = self.drainer.outlet(entry.key)
        return list(held_rows(view, entry.key)) if outlet is None else list(outlet.holding)

    def _unsettled(self, entry: PluginEntry) -> int:
        """Return how many events wait, are under way, or are held back, at least."""
        outlet = self.drainer.outlet(entry.key)
        held = self._held(entry, self.drainer.domain.store.view())
        ahead = (
            _ahead(self._cursor(entry), self.drainer.outbox.end())
            if outlet is None
            else outlet.behind()
        )
        return ahead + len(held)


def _ahead(cursor: Cursor, end: int) -> int:
    gaps = sum(
        max(0, (end if stop is None else stop) - max(start, cursor.position))
        for start, stop in cursor.skips
    )
    return max(0, end - cursor.position - gaps)


def _oldest_ns(view: IReadView, position: int, held: list[Held]) -> int | None:
    places = [one.position for one in held]
    for first, _entry in eventlog.log_entries(view, 0, start=position):
        places.append(first)
        break
    for place, entry in eventlog.log_entries(view, 0, start=min(places, default=1 << 62)):
        del place
        name, version = entry.event_key[1:-8], keys.event_version(entry.event_key)
        event = eventlog.load_event(view, name, version)
        return None if event is None else event.created_at
    return None


def _position_of(view: IReadView, end: int, to: str) -> int:
    """Return the position behind which a plugin goes on."""
    if to == "start":
        return 0
    if to == "end":
        return end
    try:
        return min(parse_position_token(to) + 1, end)
    except InvalidCursor:
        pass
    try:
        at_ns = parse_ns(to)
    except ValueError:
        raise InvalidCursor(
            f"'{to[:64]}' is neither start, end, a position token nor a time (RFC 3339)"
        ) from None
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        created = _oldest_ns(view, middle, [])
        if created is not None and created < at_ns:
            low = middle + 1
        else:
            high = middle
    return low


def _undecided(outlet: Outlet, held: Held) -> bool:
    current = outlet.holding.current(held)
    if current is None or current.version != held.version or current.dead:
        return False
    return current.attempts == 0


def _failed_again(outlet: Outlet, held: Held) -> bool:
    current = outlet.holding.current(held)
    return current is not None and current.version == held.version and current.dead
