"""What operators ask of a domain's delivery: tests, lags, the queue, seeking, replays, children.

Implements :class:`eventdbx.application.delivering.Delivering` over the drainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.delivering import Lag, Outcome, ReplayAsked, Tested
from eventdbx.application.queue import owed
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PluginEntry, ProcessConfig
from eventdbx.domain.delivery.envelopes import sample_parts
from eventdbx.domain.delivery.parts import Item
from eventdbx.domain.delivery.positions import parse_position_token, position_token
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import ConfigError, EventDBXError, InvalidCursor, StorageError
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.kinds import make_delivery
from eventdbx.plugins.queueing import WAIT_MAX_S, QueueDesk
from eventdbx.plugins.replays import entry_to_replay
from eventdbx.plugins.standing import Standing, ahead, standing_of
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import Held, held_rows


class Desk(QueueDesk):
    """The delivery of one domain, as surfaces see it."""

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

    def check_program(self, entry: PluginEntry) -> Deferred[None]:
        """Fail with ConfigError unless the program of a process plugin is installed."""
        config = entry.config
        if not isinstance(config, ProcessConfig):
            return succeed(None)
        find = partial(self.drainer.surroundings.installation, config.name, config.version)
        return self.drainer.run_slowly(find).addCallback(lambda _found: None)

    def test(self, names: Sequence[str]) -> Deferred[list[Tested]]:
        """Deliver the sample event to plugins, to all that emit when no name is given."""
        return Deferred.fromCoroutine(self._test(names))

    async def _test(self, names: Sequence[str]) -> list[Tested]:
        entries = [self.entry(name) for name in names] or [
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
        standings = [standing_of(self.drainer, entry) for entry in self.entries(name)]
        return self.drainer.run_slowly(lambda: [self._lag(one) for one in standings])

    def _lag(self, now: Standing) -> Lag:
        # On a thread: nothing of an outlet is looked at here.
        entry, position, held = now.entry, now.cursor.position, now.held()
        waiting = now.unread + sum(owed(now.view, now.cursor, one) for one in held)
        oldest = _oldest_ns(now.view, position, [one for one in held if not one.dead])
        now_ns = now.now_ms * 1_000_000
        return Lag(
            name=entry.key,
            label=entry.label,
            position=position_token(position - 1) if position else "",
            lag=waiting,
            oldest_s=0.0 if oldest is None or not waiting else max(0.0, (now_ns - oldest) / 1e9),
            parked=sum(not one.dead for one in held),
            dead=sum(one.dead for one in held),
            in_flight=sum(len(one.offers) for one in now.flights),
            paused=now.paused,
            breaker_open=now.breaker_open,
            last_error=now.last_error,
        )

    def seek(self, name: str, to: str) -> Deferred[str]:
        """Move a cursor to ``start``, ``end``, a token or a time (RFC 3339); return the token.

        A token is the last event that counts as seen; the plugin goes on behind it.
        """
        return Deferred.fromCoroutine(self._seek(name, to))

    async def _seek(self, name: str, to: str) -> str:
        entry = self.entry(name)
        position: int = await self.drainer.run_slowly(
            lambda: _position_of(self.drainer.domain.store.view(), self.drainer.outbox.end(), to)
        )
        move = partial(self.drainer.outbox.move, entry.key, position)
        await self.drainer.aside((entry.key,), move)
        return position_token(position - 1) if position else ""

    def resume(self, name: str) -> bool:
        """Let a plugin go on that was paused because of what its target said; False if none was."""
        resumed = False
        for outlet in self._outlets(name):
            if outlet.stopped_because is not None:
                outlet.resume()
                resumed = True
        return resumed

    def taken_up(self, name: str) -> Deferred[None]:
        """Fires when it is durable that what is written from now on is meant for a plugin as its
        entry is now."""
        return Deferred.fromCoroutine(self.drainer.aligned(name))

    def rename(self, name: str, to: str) -> Deferred[None]:
        """Move the durable rows of a plugin to another name; with those of ``to`` dropped."""
        move = partial(self.drainer.outbox.rename, name, to)
        return Deferred.fromCoroutine(self.drainer.aside((name, to), move))

    def stand_for(self, name: str, other: str) -> Deferred[None]:
        """Let a plugin that is built beside another get what is published to that one, too."""
        key = self.entry(name).key
        self.drainer.retire(key)
        return self.drainer.outbox.stand_for(key, self.entry(other).key)

    def drop(self, name: str) -> Deferred[int]:
        """Forget everything about a plugin; return how many undelivered events that were."""
        cursor = self.drainer.outbox.cursors.get(name)
        dropped = 0
        if cursor is not None:
            view = self.drainer.domain.store.view()
            outlet = self.drainer.outlet(name)
            unread = ahead(cursor, self.drainer.outbox.end())
            dropped = unread if outlet is None else outlet.behind()
            dropped += sum(1 for _held in held_rows(view, name))
        self.drainer.retire(name)
        return self.drainer.outbox.drop(name).addCallback(lambda _nothing: dropped)

    def wait(self, name: str, position: str, timeout_s: float) -> Deferred[tuple[Outcome, str]]:
        """Wait until everything up to a position is settled; return the outcome and a reason."""
        entry = self.entry(name)
        place = parse_position_token(position)
        self.drainer.serve()
        self.drainer.catch_up()
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

    # Replays and children

    def replay(self, asked: ReplayAsked) -> str:
        """Begin to deliver events again, beside live delivery; return the id of the job."""
        drainer = self.drainer
        drainer.catch_up()
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
        for entry in self.entries(name):
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
        entry = self.entry(name)
        if entry.kind != "process":
            raise ConfigError(f"no process plugin named '{name}' is configured")
        if starting and not entry.enabled:
            raise ConfigError(
                f"process plugin '{name}' is disabled; enable it before starting the worker"
            )
        self.drainer.catch_up()
        served = self.drainer.served.get(entry.key)
        if served is None:
            why = self.drainer.broken.get(entry.key, "it is disabled")
            raise ConfigError(f"plugin '{name}' is unavailable: {why}")
        return served.delivery.child


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
