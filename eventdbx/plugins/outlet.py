"""One plugin being served: loads what comes next, delivers it, settles what became of it.

The log says what there is to deliver, a cursor what is settled. Loading runs on a thread, a few
events at a time; delivering is the kind's; settling goes into the store a few times a second, so
that a crash repeats a little and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from eventdbx.application.feed import Feed, Loaded, Offer
from eventdbx.application.outbox import Outbox
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.lanes import Lanes, Waiting
from eventdbx.plugins.done import Done
from eventdbx.plugins.holding import HELD_MAX, Holding
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.pacing import Pace
from eventdbx.plugins.settling import ADVANCE_S, SETTLE_S, Settling
from eventdbx.plugins.waiting import Waiters
from eventdbx.storage.eventlog import end_position, greatest_id
from eventdbx.storage.outbox import Cursor, Held

T = TypeVar("T")
RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]

WINDOW_EVENTS = 1_024
WINDOW_BYTES = 8 * 1024 * 1024
SPAN_EVENTS = 8_192
"""So far from the cursor the window may reach while a delivery hangs: all of it is repeated after a
crash."""

LOAD_EVENTS = 128
LOAD_BYTES = 1024 * 1024
"""One load, so that the thread holds the interpreter for a few milliseconds at most."""

AGE_S = 60.0
BROKEN_S = 10.0
"""How long to wait after the log could not be read."""

SENDS_MAX = 256
"""Deliveries begun in one turn of the reactor: those that are over at once would fill it else."""

TOO_LARGE = "document too large"


class Flight(NamedTuple):
    """A delivery that is under way."""

    offers: list[Offer]
    attempt: int


class Outlet:
    """Serves one plugin until it is stopped.

    ``pump`` does whatever can be done now; it is called after commits, every second, and by the
    outlet itself when something comes due. Until it is ``serving`` it only shows what there is.
    ``stopped_because`` is why it paused itself, or None.
    """

    log = Logger()

    def __init__(
        self,
        entry: PluginEntry,
        delivery: Any,
        feed: Feed,
        outbox: Outbox,
        holding: Holding,
        done: Done,
        *,
        clock: IReactorTime,
        run_slowly: RunSlowly,
        in_force: Callable[[], object],
        serving: bool = True,
    ) -> None:
        self.entry = entry
        self.serving = serving
        self.delivery = delivery
        self.holding = holding
        self.done = done
        self._feed = feed
        self._outbox = outbox
        self._clock = clock
        self._run_slowly = run_slowly
        self._in_force = in_force
        self._loaded_under = in_force()
        cursor = outbox.cursors[entry.key]
        self.stopped_because = cursor.stopped
        self.lanes: Lanes[Offer] = Lanes(cursor.position)
        self._last_id = self._id_before(cursor.position)
        self.flights: list[Flight] = []
        self.pace = Pace(entry, clock.seconds())
        self.breaker = self.pace.breaker
        self.last_error: str | None = None
        self.failures = self.delivered = 0
        self._batch = self.pace.batch
        self._ahead = max(2 * self._batch.max_events, LOAD_EVENTS)
        self._strict = entry.order == "strict"
        self._concurrency = 1 if self._strict else entry.concurrency
        self._loading = self._stopping = self._held_last = self._pumping = False
        self._waiters = Waiters(self.lanes, holding)
        self._settling = Settling(
            entry.key,
            outbox,
            holding,
            done,
            clock=clock,
            cursor=lambda: Cursor(self.lanes.cursor, stopped=self.stopped_because),
        )
        self._wake: IDelayedCall | None = None
        self._landed: list[Deferred[None]] = []

    # What others ask

    @property
    def paused(self) -> str | None:
        """Return why nothing is sent, or None."""
        if self.entry.paused:
            return "paused"
        # A process that stays down until somebody starts it costs no attempts.
        held: str | None = getattr(self.delivery, "held", None)
        return self.stopped_because or held

    @property
    def key(self) -> str:
        """Return what the plugin's rows are kept under."""
        return self.entry.key

    def behind(self) -> int:
        """Return how many events are not settled, those that turn out to be for others included."""
        cursor, end = self.lanes.scanned, self._outbox.end()
        waiting = max(end - cursor, 0) + self.lanes.depth
        for start, stop in self._outbox.cursors[self.key].skips:
            waiting -= max(0, min(end if stop is None else stop, end) - max(start, cursor))
        return max(waiting, 0)

    def at_rest(self) -> bool:
        """Say whether nothing is left to do before something new happens or comes due."""
        if self.flights or self._loading or self._settling.pending:
            return False
        if self.paused or self.breaker.is_open or self.pace.not_before > self._clock.seconds():
            return True
        if self._blocked():
            return True
        due_ms = self.holding.next_due_ms()
        if due_ms is not None and due_ms <= self.now_ms():
            return False
        return not self.lanes.waiting and self.lanes.scanned >= self._outbox.end()

    def wait(self, position: int) -> Deferred[tuple[str, str]]:
        """Fire with (delivered or dead, reason) once the event at a position is settled."""
        return self._waiters.add(self._outbox.store.view(), position)

    def now_ms(self) -> int:
        """Return the time as rows have it."""
        return int(self._clock.seconds() * 1000)

    def resume(self) -> None:
        """Go on after the outlet has stopped itself."""
        self.stopped_because = None
        self._settling.soon(0.0)
        self.pump()

    def changed(self) -> None:
        """Take note that somebody changed what is held, and go on."""
        self._waiters.tell()
        self._settling.soon(0.0)
        self.pump()

    # The work

    def tick(self) -> None:
        """Do what is done every second."""
        self.lanes.age(self._clock.seconds() - AGE_S)
        self.pump()

    def pump(self) -> None:
        """Begin every load and every delivery that can begin now; plan when to look again."""
        if self._pumping or not self._may_work():
            return  # A delivery that is over at once is followed by the loop below.
        self._pumping = True
        left = SENDS_MAX
        try:
            self._renew()
            self._load_if_there_is_room()
            while left and self._may_send() and self._send_next():
                self._load_if_there_is_room()
                left -= 1
        finally:
            self._pumping = False
        self._plan(at_once=not left)

    def _may_send(self) -> bool:
        return self._may_work() and len(self.flights) < self._concurrency

    def _may_work(self) -> bool:
        return self.serving and not self._stopping and self.paused is None

    def _is_current(self) -> bool:
        return self._in_force() is self._loaded_under

    def _renew(self) -> None:
        """Read the window anew once the schemas have changed: what is hidden by now, or upcast
        otherwise, must not leave as it was."""
        if not self._is_current() and not self.flights and not self._loading:
            self.lanes.reset()
            self._loaded_under = self._in_force()

    def _blocked(self) -> bool:
        """Say whether nothing new may be sent because of what is held."""
        if len(self.holding) >= HELD_MAX:
            return True
        settled = self.holding.all_dead and self.entry.on_dead == "continue"
        return self._strict and len(self.holding) > 0 and not settled

    def hungry(self) -> bool:
        """Say whether new events make a difference now; later, whatever makes room looks."""
        return self._may_work() and not self._loading and self.lanes.waiting < self._ahead

    def _load_if_there_is_room(self) -> None:
        lanes = self.lanes
        room = min(WINDOW_EVENTS - lanes.depth, SPAN_EVENTS - lanes.span, LOAD_EVENTS)
        if self._loading or self._blocked() or not self._is_current():
            return
        if lanes.size >= WINDOW_BYTES or room <= 0 or lanes.waiting >= self._ahead:
            return
        if lanes.scanned >= self._outbox.end() or self._clock.seconds() < self.pace.not_before:
            return
        self._loading = True
        view = self._outbox.store.view()
        cursor = self._outbox.cursors[self.key]._replace(position=lanes.scanned)
        loaded = self._run_slowly(
            lambda: self._feed.load(view, cursor, count=room, size=LOAD_BYTES)
        )
        loaded.addCallbacks(self._take_in, self._cannot_read)

    def _take_in(self, loaded: Loaded) -> None:
        self._loading = False
        now = self._clock.seconds()
        if loaded.last_id:
            self._last_id = max(self._last_id, loaded.last_id)
        for offer in loaded.offers:
            held = self.holding.of(offer.name)
            if held is not None:
                self.holding.pass_over(offer.name, offer.version)
                continue
            if self.holding.blocking(offer.name, offer.version) is not None:
                continue  # It stands alone, in a row that a former server has left.
            rank = 0 if self._strict else offer.rank
            waiting = Waiting(
                offer.position, offer.name, offer.version, rank, offer.size, now, offer
            )
            self.lanes.offer(waiting)
        self.lanes.pass_over(loaded.scanned)
        self._settling.soon(ADVANCE_S)
        self.pump()

    def _cannot_read(self, failure: Any) -> None:
        self._loading = False
        self.pace.not_before = max(self.pace.not_before, self._clock.seconds() + BROKEN_S)
        self.last_error = failure.getErrorMessage()
        if not self._stopping:
            self.log.failure("cannot read events for {plugin}", failure, plugin=self.entry.label)
            self._plan()

    def _send_next(self) -> bool:
        now = self._clock.seconds()
        room = self.pace.room(now)
        if room <= 0:
            return False
        if self.breaker.is_open:
            return self._probe(now)
        held = (
            None
            if self._held_last and self._may_send_new()
            else self.holding.take_due(self.now_ms())
        )
        self._held_last = held is not None
        if held is not None:
            self._fly(self._deliver_held(held))
            return True
        return self._may_send_new() and self._send_batch(min(room, self.pace.limit), now)

    def _may_send_new(self) -> bool:
        return self._is_current() and not self._blocked() and self.lanes.oldest() is not None

    def _send_batch(self, items_max: int, now: float) -> bool:
        first = self.lanes.oldest()
        assert first is not None
        linger_s = self._batch.linger_ms / 1000
        if linger_s and self.lanes.waiting < items_max and now < first.since + linger_s:
            return False
        batch = self.lanes.take(items_max, self._batch.max_bytes)
        self._fly(self._deliver(batch))
        return True

    def _probe(self, now: float) -> bool:
        if self.flights or now < self.breaker.probe_at:
            return False
        held = self.holding.take_oldest(self.now_ms())
        if held is not None:
            self._fly(self._deliver_held(held))
            return True
        return self._may_send_new() and self._send_batch(1, now)

    def _fly(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: self.log.failure(
                "a delivery to {plugin} went wrong", failure, plugin=self.entry.label
            )
        )

    async def _attempt(self, offers: list[Offer], attempt: int) -> DeliveryFailed | None:
        """Deliver the offers; return what failed."""
        flight = Flight(offers, attempt)
        self.flights.append(flight)
        self.pace.spend(len(offers))
        failure: DeliveryFailed | None = None
        try:
            await self.delivery.deliver(
                [offer.item for offer in offers], attempt=attempt, purpose="live"
            )
        except DeliveryFailed as error:
            failure = error if error.accepted < len(offers) else None
        except Exception as error:  # A kind that breaks its promise must not stop the others.
            self.log.failure("delivering to {plugin}", plugin=self.entry.label)
            failure = DeliveryFailed(f"internal error: {type(error).__name__}: {error}")
        self.flights.remove(flight)
        self._judge(failure, len(offers))
        return failure

    def _judge(self, failure: DeliveryFailed | None, count: int) -> None:
        """Draw conclusions about the target from a delivery."""
        accepted = count if failure is None else failure.accepted
        self.delivered += accepted
        self.done.add(self.now_ms(), accepted)
        if self.pace.judge(failure, count, self._clock.seconds()):
            self.holding.hurry(self.now_ms())
        if failure is None:
            return
        self.failures += 1
        self.last_error = failure.reason
        if failure.gone:
            self.stopped_because = failure.reason
            self.log.error(
                "{plugin} is paused: {reason}", plugin=self.entry.label, reason=failure.reason
            )

    async def _deliver(self, batch: list[Waiting[Offer]]) -> None:
        """Deliver events for the first time."""
        fitting = 0
        while fitting < len(batch) and batch[fitting].item.item is not None:
            fitting += 1
        failure = None
        if fitting:
            failure = await self._attempt([one.item for one in batch[:fitting]], 1)
        accepted = fitting if failure is None else failure.accepted
        self.lanes.settle(batch, accepted)
        if failure is not None and not failure.gone:
            if failure.unavailable or failure.blames or fitting - accepted == 1:
                self._hold_waiting(batch[accepted], failure, final=False)
        elif failure is None and fitting < len(batch):
            self._hold_waiting(batch[fitting], DeliveryFailed(TOO_LARGE), final=True)
        self._after_landing()

    def _hold_waiting(
        self, waiting: Waiting[Offer], failure: DeliveryFailed, *, final: bool
    ) -> None:
        """Hold an event back, and with it what waits behind it."""
        loose = self.entry.order != "aggregate"
        self.holding.hold(
            waiting.item, failure, self.now_ms(), attempts=1, loose=loose, final=final
        )
        gone = self.lanes.withdraw(waiting.lane, 1 if loose else None)
        if self.holding.of(waiting.lane) is not None:
            self.holding.pass_over(waiting.lane, gone[-1].version)

    async def _deliver_held(self, held: Held) -> None:
        """Try an event that has failed, or go on with the aggregate behind it."""
        try:
            await self._go_through(held)
        except Exception as error:
            self.last_error = str(error) or type(error).__name__
            self.holding.release(held, self.now_ms() + int(BROKEN_S * 1000))
            self.log.failure("cannot read events for {plugin}", plugin=self.entry.label)
        self._after_landing()

    async def _go_through(self, held: Held) -> None:
        view, last_id = self._outbox.store.view(), self._last_id
        cursor = self._outbox.cursors[self.key]
        count = 1 if held.attempts else min(self.pace.held_limit(held.name), LOAD_EVENTS)
        waiting = Flight([], held.attempts + 1)
        self.flights.append(waiting)  # Loading for it counts as a delivery.
        try:
            stream = await self._run_slowly(
                lambda: self._feed.load_held(view, cursor, held, last_id, count=count)
            )
        finally:
            self.flights.remove(waiting)
        offers: list[Offer] = stream.offers
        fitting = 0
        while fitting < len(offers) and offers[fitting].item is not None:
            fitting += 1
        failure = None
        if fitting:
            failure = await self._attempt(offers[:fitting], held.attempts + 1)
        accepted = fitting if failure is None else failure.accepted
        now_ms = self.now_ms()
        final = failure is None and fitting < len(offers)
        if failure is None and not final:
            self.pace.widen(held.name)
            if stream.more:
                self.holding.go_on(held, stream.looked_at + 1, now_ms)
            else:
                self.holding.finish(held, stream.looked_at, now_ms)
            return
        failed = offers[accepted]
        if failure is not None and failure.gone and failed.version == held.version:
            self.holding.release(held, now_ms)
            return
        known = failure or DeliveryFailed(TOO_LARGE)
        blamed = final or known.unavailable or known.blames or fitting - accepted == 1
        if known.gone or not blamed:
            self.pace.narrow(held.name, fitting - accepted)
            self.holding.go_on(held, failed.version, now_ms)
            return
        self.pace.widen(held.name)
        attempts = held.attempts + 1 if failed.version == held.version else 1
        self.holding.hold(failed, known, now_ms, attempts=attempts, loose=held.loose, final=final)

    def _after_landing(self) -> None:
        self._waiters.tell()
        self._settling.soon(SETTLE_S)
        if not self.flights:
            for landed in self._landed:
                landed.callback(None)
            self._landed.clear()
        self.pump()

    def _plan(self, *, at_once: bool = False) -> None:
        """Wake up when the next thing comes due, or in the reactor's next turn."""
        now = self._clock.seconds()
        times = []
        due_ms = self.holding.next_due_ms()
        if due_ms is not None and not self.breaker.is_open:
            times.append(due_ms / 1000)
        if self.breaker.is_open:
            times.append(self.breaker.probe_at)
        first = self.lanes.oldest()
        if first is not None and self._batch.linger_ms:
            times.append(first.since + self._batch.linger_ms / 1000)
        room_at = self.pace.room_at(now)
        if room_at is not None and first is not None:
            times.append(room_at)
        not_before = self.pace.not_before
        if not_before > now:
            times = [max(at, not_before) for at in times] or [not_before]
        times = [at for at in times if at > now]
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        self._wake = None
        if (times or at_once) and not self._stopping:
            wait_s = 0 if at_once else max(min(times) - now, 0.001)
            self._wake = self._clock.callLater(wait_s, self.pump)

    async def stop(self, within_s: float) -> None:
        """Begin nothing more, wait for what is in flight, settle, and let the target go."""
        self._stopping = True
        if self._wake is not None and self._wake.active():
            self._wake.cancel()
        self._wake = None
        self._waiters.stop()
        if self.flights:
            landed: Deferred[None] = Deferred()
            self._landed.append(landed)
            late = self._clock.callLater(within_s, landed.cancel)
            try:
                await landed
            except Exception:  # Cancelled: what is still in flight is delivered again some day.
                self._landed.clear()
            if late.active():
                late.cancel()
        await self._settling.stop()

    def _id_before(self, position: int) -> int:
        """Return the greatest id before a position, 0 if there is none."""
        view = self._outbox.store.view()
        return greatest_id(view, 0, min(position, end_position(view, 0)))
