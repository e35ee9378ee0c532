"""Replays: stored events delivered again, beside live delivery and without touching its cursor.

Each job reads a little ahead in short slices and sends one batch at a time, so that the events of
an aggregate arrive in order. What is read is said in ``application.replaying``.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, Literal, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from eventdbx import limits
from eventdbx.application.delivering import ReplayAsked
from eventdbx.application.domains import Domain
from eventdbx.application.replaying import Rereading
from eventdbx.application.rules import InForce
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import Entry, PluginEntry
from eventdbx.domain.delivery.parts import Item
from eventdbx.domain.delivery.retrying import RETRY_AFTER_MAX_S, delay_s
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.storage.interfaces import IReadView

RunSlowly: TypeAlias = Callable[[Callable[[], Any]], "Deferred[Any]"]
State: TypeAlias = Literal["running", "done", "failed", "cancelled"]

SLICE_S = 0.005
"""So long a slice keeps the reactor, or the interpreter, from others."""

AHEAD_BYTES_MAX = 1 << 20
"""Documents that a slice makes, beyond the last one."""


class _Job:
    """One replay: what it reads, where it sends, how far it is."""

    def __init__(
        self, identifier: str, entry: PluginEntry, delivery: IDelivery, reading: Rereading
    ) -> None:
        self.id = identifier
        self.entry = entry
        self.delivery = delivery
        self.reading = reading
        self.state: State = "running"
        self.error: str | None = None
        self.delivered = 0
        self.aggregates = 0
        self.current: tuple[str, str] | None = None
        self.ended: Deferred[None] = Deferred()
        self.pause: Deferred[None] | None = None

    @property
    def over(self) -> bool:
        """True when nothing more is begun."""
        return self.state != "running"

    def end(self, state: State, error: str | None = None) -> None:
        """Note how it ended, unless it has ended already."""
        if not self.over:
            self.state, self.error = state, error
            if self.pause is not None:
                self.pause.cancel()

    def settle(self, items: Iterable[Item]) -> None:
        """Count what has arrived, or had nothing in it."""
        for item in items:
            self.delivered += 1
            name = item.parts.aggregate_type, item.parts.aggregate_id
            if name != self.current:
                self.current = name
                self.aggregates += 1

    def progress(self) -> dict[str, JSON]:
        """Return what is shown of it."""
        return {
            "state": self.state,
            "delivered": self.delivered,
            "total": max(self.reading.total, self.delivered),
            "aggregates": self.aggregates,
            "current": None if self.current is None else "::".join(self.current),
            "error": self.error,
        }


class Replays:
    """The replays of one domain.

    With ``run_slowly`` slices run on its thread, without it on the reactor's.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        domain: Domain,
        run_slowly: RunSlowly | None = None,
        *,
        max_attempts: int = 10,
        document_bytes_max: int = limits.DOCUMENT_BYTES_MAX,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``max_attempts`` is for entries that do not say, in replays with retries."""
        self._clock = clock
        self._domain = domain
        self._run_slowly = run_slowly
        self.max_attempts = max_attempts
        self._document_bytes_max = document_bytes_max
        self._chance = chance
        self._jobs: dict[str, _Job] = {}
        self._number = 0
        self._stopping = False

    def start(self, entry: PluginEntry, delivery: IDelivery, asked: ReplayAsked) -> str:
        """Begin a replay through a delivery that lives until :meth:`end` or the job is over.

        Returns the job's id. Raises ConfigError when too many run, InvalidSchema for an entry whose
        filter is none.
        """
        if self._stopping:
            raise ConfigError("the server is stopping")
        if asked.aggregate_id is not None and asked.aggregate_type is None:
            raise ConfigError("the type of the aggregate is missing")
        self._make_room()
        self._number += 1
        reading = Rereading(self._domain.name, entry, asked)
        job = _Job(f"p{self._number}", entry, delivery, reading)
        self._jobs[job.id] = job
        work = Deferred.fromCoroutine(self._work(job, asked.retry))
        work.addErrback(self._broken, job)
        work.addCallback(lambda _nothing: job.ended.callback(None))
        return job.id

    def at_rest(self) -> bool:
        """Say whether no job is under way."""
        return all(job.ended.called for job in self._jobs.values())

    def progress(self, identifier: str) -> Mapping[str, JSON] | None:
        """Return how far a job is, or None for an unknown one."""
        job = self._jobs.get(identifier)
        return None if job is None else job.progress()

    def cancel(self, identifier: str) -> bool:
        """Begin no further delivery of a job; return False for an unknown one."""
        job = self._jobs.get(identifier)
        if job is not None:
            job.end("cancelled")
        return job is not None

    def end(self, delivery: IDelivery, reason: str) -> Deferred[None]:
        """End the replays through a delivery that is about to be closed; fires when they are."""
        return self._end([job for job in self._jobs.values() if job.delivery is delivery], reason)

    def stop(self) -> Deferred[None]:
        """End all of them; fires when nothing is in flight any more."""
        self._stopping = True
        return self._end(list(self._jobs.values()), "the server is stopping")

    def _end(self, jobs: list[_Job], reason: str) -> Deferred[None]:
        waiting = []
        for job in jobs:
            job.end("failed", reason)
            if not job.ended.called:
                waiter: Deferred[None] = Deferred()
                job.ended.chainDeferred(waiter)
                waiting.append(waiter)
        ended: Deferred[None] = Deferred()
        DeferredList(waiting).addCallback(lambda _all: ended.callback(None))
        return ended

    def _make_room(self) -> None:
        if len(self._jobs) < limits.REPLAYS_KEPT:
            return
        for identifier, job in self._jobs.items():
            if job.ended.called:
                del self._jobs[identifier]
                return
        raise ConfigError(f"{limits.REPLAYS_KEPT} replays are running already; cancel some first")

    def _broken(self, failure: Any, job: _Job) -> None:
        self.log.failure("a replay failed", failure=failure)
        job.end("failed", "internal error, see the server's log")

    async def _work(self, job: _Job, retry: bool) -> None:
        ahead: Deferred[list[Item]] | None = None
        try:
            while not (job.over or job.reading.counted):
                await self._sliced(_count, job)
            ahead = self._sliced(_read, job)
            waiting: deque[Item] = deque()
            enough = 1 if job.entry.batch is None else job.entry.batch.max_events
            while not job.over:
                while ahead is not None and len(waiting) < enough:
                    made, ahead = ahead, None
                    waiting.extend(await made)
                    if not job.reading.over:
                        # Made while the others are on their way.
                        ahead = self._sliced(_read, job)
                if not waiting:
                    break
                await self._send(job, self._batch(waiting, job), retry)
            job.end("done")
        except DeliveryFailed as failed:
            job.end("failed", failed.reason)
        except EventDBXError as error:
            job.end("failed", str(error))
        finally:
            if ahead is not None:
                with suppress(EventDBXError):  # Nobody needs it any more.
                    await ahead

    def _sliced(self, work: Callable[[_Job, IReadView, InForce], Any], job: _Job) -> Deferred[Any]:
        todo = partial(work, job, self._domain.store.view(), self._domain.schemas.in_force)
        if self._run_slowly is not None:
            return self._run_slowly(todo)
        return deferLater(self._clock, 0, todo)

    async def _send(self, job: _Job, items: list[Item], retry: bool) -> None:
        """Deliver a batch; raises DeliveryFailed when it is given up."""
        began = self._clock.seconds()
        rest, size, attempt = items, len(items), 1
        while rest and not job.over:
            sending = rest[:size]
            try:
                await job.delivery.deliver(sending, attempt=attempt, purpose="replay")
            except DeliveryFailed as failed:
                job.settle(rest[: failed.accepted])
                rest = rest[failed.accepted :]
                attempt = 1 if failed.accepted else attempt
                if not retry or failed.gone or self._is_last(job.entry, failed, attempt):
                    raise
                await self._pause(job, self._delay_s(job.entry, failed, attempt))
                size, attempt = 1, attempt + 1  # Alone, so that only itself can be the reason.
            else:
                job.settle(sending)
                rest, size, attempt = rest[size:], len(items), 1
        if job.entry.rate_limit:
            due = began + len(items) / job.entry.rate_limit
            await self._pause(job, due - self._clock.seconds())

    def _batch(self, waiting: deque[Item], job: _Job) -> list[Item]:
        """Take the next documents that may travel together; what is empty has arrived."""
        batch = job.entry.batch
        events_max, bytes_max = (1, 0) if batch is None else (batch.max_events, batch.max_bytes)
        items: list[Item] = []
        size = 0
        while waiting and len(items) < events_max:
            item = waiting[0]
            if item.parts.is_empty:
                job.settle((waiting.popleft(),))
                continue
            size += len(item.content)
            if len(item.content) > self._document_bytes_max:
                if not items:
                    raise DeliveryFailed("document too large")
                break
            if items and size > bytes_max:
                break
            items.append(waiting.popleft())
        return items

    def _is_last(self, entry: PluginEntry, failed: DeliveryFailed, attempt: int) -> bool:
        if entry.give_up == "never" and failed.unavailable:
            return False
        return attempt >= (entry.max_attempts or self.max_attempts)

    def _delay_s(self, entry: PluginEntry, failed: DeliveryFailed, attempt: int) -> float:
        asked = min(failed.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
        return max(delay_s(attempt, entry.backoff, self._chance), asked)

    async def _pause(self, job: _Job, seconds: float) -> None:
        if seconds > 0 and not job.over:
            job.pause = deferLater(self._clock, seconds)
            with suppress(CancelledError):
                await job.pause
            job.pause = None


def _count(job: _Job, view: IReadView, in_force: InForce) -> None:
    until = perf_counter() + SLICE_S
    for _step in job.reading.count(view, in_force):
        if job.over or perf_counter() >= until:
            return


def _read(job: _Job, view: IReadView, in_force: InForce) -> list[Item]:
    """Return the next documents; those with nothing in them are empty."""
    until = perf_counter() + SLICE_S
    items: list[Item] = []
    size = 0
    for parts in job.reading.read(view, in_force):
        if parts is not None:
            content = b"" if parts.is_empty else job.delivery.encode(parts)
            items.append(Item(parts, content))
            size += len(content)
        if job.over or size >= AHEAD_BYTES_MAX or perf_counter() >= until:
            break
    return items


def entry_to_replay(entries: Iterable[Entry], name: str) -> PluginEntry:
    """Return the entry of the plugin that a replay goes to; raises ConfigError."""
    for entry in entries:
        if isinstance(entry, PluginEntry) and entry.enabled and entry.key == name:
            if not entry.emit_events:
                raise ConfigError(
                    f"plugin '{name}' is configured with emit_events=false; enable event delivery "
                    "to replay events"
                )
            return entry
    raise ConfigError(f"no enabled plugin named '{name}' is configured")
