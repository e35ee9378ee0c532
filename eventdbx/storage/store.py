"""Transactions in front of an ordered store: group commit, acknowledgement, fail-stop.

Here lives the order of things: a step runs at once against everything accepted so far, its
writes join the forming batch, the batch is written, synced, and only then acknowledged. What
a step reads and writes is the business of ``application.writer``; bytes on disk that of the
adapters.

Steps and ``write`` run on the caller's thread (the reactor): ``write`` is short and holds the
interpreter lock anyway. The sync does, too, while the disk is quick, and hops to another thread
while it is not (``storage.hops``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.errors import StorageError, StoreFailed
from eventdbx.storage.hops import synchronous, threaded
from eventdbx.storage.interfaces import IHop, IOrderedStore, IReadView
from eventdbx.storage.overlay import overlaid
from eventdbx.storage.watching import StoreWatch

__all__ = ["Durability", "Store", "Transaction", "synchronous", "threaded"]

T = TypeVar("T")

Durability: TypeAlias = Literal["always", "interval", "never"]

_log = Logger()
_MISSING: Any = object()


class Transaction:
    """What one step sees and changes. Good only while the step runs."""

    __slots__ = ("_backend", "_changes", "_layers", "_size")

    def __init__(self, layers: list[dict[bytes, bytes | None]], backend: IOrderedStore) -> None:
        self._changes: dict[bytes, bytes | None] = {}
        self._layers = layers
        self._backend = backend
        self._size = 0

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` after every step accepted so far and this one's own writes."""
        value: Any = self._changes.get(key, _MISSING)
        if value is not _MISSING:
            return value  # type: ignore[no-any-return]
        for layer in self._layers:
            value = layer.get(key, _MISSING)
            if value is not _MISSING:
                return value  # type: ignore[no-any-return]
        return self._backend.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key`` when the step ends without raising."""
        self._changes[key] = value
        self._size += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        """Remove ``key``, if it is there, when the step ends without raising."""
        self._changes[key] = None
        self._size += len(key)

    def branch(self) -> Transaction:
        """What sees all that this step does, and whose own writes go nowhere: a rehearsal."""
        return Transaction([self._changes, *self._layers], self._backend)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with ``start <= key < stop`` as :meth:`get` sees them now.

        Costs one pass over the writes that wait for a commit, besides the pairs taken.
        """
        overlay: dict[bytes, bytes | None] = {}
        for layer in (*reversed(self._layers), self._changes):
            overlay.update((key, layer[key]) for key in layer if start <= key < stop)
        stored = self._backend.view().scan(start, stop, reverse=reverse)
        if not overlay:
            return stored
        keys = sorted(overlay, reverse=reverse)
        return overlaid(stored, keys, overlay.__getitem__, reverse=reverse)


def _failure() -> Failure:
    """The exception being dealt with."""
    return Failure()


class _Batch:
    """Steps that are committed together, and who waits for them."""

    __slots__ = ("began", "changes", "failure", "size", "view", "waiters")

    def __init__(self) -> None:
        self.changes: dict[bytes, bytes | None] = {}
        self.waiters: list[tuple[Deferred[Any], Any]] = []
        self.size = 0
        self.view: IReadView | None = None
        self.failure: Failure | None = None
        self.began = 0.0

    @property
    def full(self) -> bool:
        return (
            len(self.waiters) >= limits.COMMIT_BATCH_EVENTS_MAX
            or self.size >= limits.COMMIT_BATCH_BYTES_MAX
        )


class Store:
    """A transactional store over ``backend``, which it owns from now on.

    Everything is called on one thread. ``durability`` says what an acknowledgement means:
    ``always`` that the write survives a power cut, ``interval`` that it will within
    ``interval_s`` seconds, ``never`` only that it survives the death of this process.

    A failed write or sync is final, for it is unknown what reached the disk: ``on_failure`` is
    called once, every waiting and later Deferred fails with :class:`StoreFailed`, and the
    process is expected to end. That is what allows steps to build on steps that are not
    durable yet.

    Whatever is in ``on_commit`` is called after each commit that changed something, once it is as
    durable as it gets, :meth:`view` shows it, and all that waited for it have been told.
    """

    def __init__(
        self,
        backend: IOrderedStore,
        *,
        hop: IHop,
        durability: Durability = "always",
        clock: IReactorTime | None = None,
        interval_s: float = 1.0,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        assert durability != "interval" or clock is not None
        self._backend = backend
        self._hop = hop
        self._durability = durability
        self._clock = clock
        self._interval_s = interval_s
        self._on_failure = on_failure
        self._view: IReadView | None = backend.view()
        self._forming = _Batch()
        self._closed_batches: deque[_Batch] = deque()
        self._layers: list[dict[bytes, bytes | None]] = [self._forming.changes]
        self._in_flight: _Batch | None = None
        self._refusal: Callable[[], StorageError] | None = None
        self._stepping = False
        self._failed = self._finishing = self._gathering = False
        self._timer: IDelayedCall | None = None
        self._closers: list[Deferred[None]] | None = None
        self._drained: list[Deferred[None]] = []
        self._told: list[Callable[[], None]] | None = None
        self.on_commit: list[Callable[[], None]] = []
        self.watch: StoreWatch | None = None
        self.waiting_bytes = 0
        self.waiting_count = 0
        self._landed_bytes = 0

    def transact(self, step: Callable[[Transaction], T]) -> Deferred[T]:
        """Run ``step`` now; fire with its result once its writes are durable.

        If the step raises, its writes are dropped and the Deferred fails with what it raised.
        Deferreds fire in the order of the calls: also a failure, and the result of a step
        that only read, wait until what the step may have seen is durable. Cancelling the
        Deferred stops the waiting, never the write. Steps must not call this method.
        """
        if self._refusal is not None:
            return fail(self._refusal())
        assert not self._stepping
        forming = self._forming
        transaction = Transaction(self._layers, self._backend)
        outcome: Any
        self._stepping = True
        try:
            outcome = step(transaction)
            size = transaction._size
            if size:
                forming.changes.update(transaction._changes)
                forming.size += size
                self.waiting_bytes += size
        except Exception:
            outcome, size = _failure(), 0
        self._stepping = False
        deferred: Deferred[T] = Deferred()
        if size or forming.waiters:
            forming.waiters.append((deferred, outcome))
        elif (last := self._last_accepted()) is not None:
            last.waiters.append((deferred, outcome))
        else:
            deferred.callback(outcome)
            return deferred
        self.waiting_count += 1
        if forming.full:
            self._set_aside()
        if self._in_flight is None and not self._gathering:
            self._gather()
        return deferred

    def view(self) -> IReadView:
        """The store as of the last acknowledged commit."""
        if self._view is None:
            raise StorageError("the event store is closed")
        return self._view

    @property
    def saturated(self) -> bool:
        """True while so much waits that callers should stop reading requests."""
        return (
            self.waiting_bytes >= limits.COMMIT_WAITING_BYTES_MAX
            or self.waiting_count >= limits.COMMIT_WAITING_STEPS_MAX
        )

    def when_drained(self) -> Deferred[None]:
        """Fires once the store is not :attr:`saturated`, at once if it is not; never fails."""
        if not self.saturated:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._drained.append(deferred)
        return deferred

    def when_told(self, call: Callable[[], None]) -> bool:
        """Call once all that waited for the present commit have been told; it must not raise.

        While nobody is being told it is called at once. Returns whether it is still to come.
        """
        if self._told is None:
            call()
            return False
        self._told.append(call)
        return True

    def observe(self, watch: StoreWatch) -> None:
        """Note the work of this store and of its backend from now on."""
        self.watch = self._backend.watch = watch
        if self._in_flight is None and self._view is not None:
            self._view = self._backend.view()

    @property
    def trouble(self) -> str | None:
        """Why nothing is accepted any more, or None."""
        return None if self._refusal is None else self._refusal().detail

    @property
    def in_flight_since(self) -> float | None:
        """When the commit began that the disk works on, by the clock of who observes."""
        return None if self._in_flight is None else self._in_flight.began

    @property
    def accepted_bytes(self) -> int:
        """Keys and values that steps have put since the store was opened; it only grows."""
        return self._landed_bytes + self.waiting_bytes

    def used_bytes(self) -> int:
        """What is stored, in bytes (:meth:`IOrderedStore.used_bytes`), with what waits."""
        return self._backend.used_bytes() + self.waiting_bytes

    def statistics(self) -> dict[str, int]:
        """Sizes of the backend and of what waits."""
        numbers = self._backend.statistics()
        numbers["waiting_bytes"] = self.waiting_bytes
        numbers["waiting_count"] = self.waiting_count
        return numbers

    def checkpoint(self, path: str) -> None:
        """Write a copy with all that was acknowledged (:meth:`IOrderedStore.checkpoint`).

        For another thread.
        """
        self._backend.checkpoint(path)

    def purge(self, ranges: Sequence[tuple[bytes, bytes]], *, logs: bool) -> None:
        """Rewrite ranges of the files (:meth:`IOrderedStore.purge`). For another thread."""
        self._backend.purge(ranges, logs=logs)

    def close(self) -> Deferred[None]:
        """Commit what was accepted, acknowledge it, sync, close the backend; then fire.

        New steps are refused from now on. Every call fires; all fail if the last sync does.
        """
        deferred: Deferred[None] = Deferred()
        if self._closers is not None:
            if self._closers:
                self._closers.append(deferred)
            else:
                deferred.callback(None)
            return deferred
        self._closers = [deferred]
        if self._refusal is None:
            self._refusal = lambda: StorageError("the event store is closed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._proceed()
        return deferred

    # How batches travel.

    @property
    def _in_place(self) -> bool:
        """Whether a batch that departs now has landed before its departure returns."""
        return self._durability != "always" or self._hop.quick()

    def _last_accepted(self) -> _Batch | None:
        return self._closed_batches[-1] if self._closed_batches else self._in_flight

    def _gather(self) -> None:
        self._gathering = True
        self._hop.gather(self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._proceed()

    def _proceed(self) -> None:
        """Whatever can be done next."""
        if self._in_flight is None:
            if self._closed_batches or self._forming.waiters:
                self._depart(brief=True)
            elif self._closers:
                self._finish()

    def _set_aside(self) -> None:
        """The forming batch is as large as batches get: it waits, another one forms."""
        self._closed_batches.append(self._forming)
        self._forming = _Batch()
        self._layers.insert(0, self._forming.changes)

    def _depart(self, *, brief: bool) -> None:
        """Write the oldest batch and send its sync on the way."""
        if not self._closed_batches:
            self._set_aside()
        batch = self._closed_batches.popleft()
        if self.watch is not None:
            batch.began = self.watch.clock()
        try:
            self._backend.write(batch.changes, sync=False)
            batch.view = self._backend.view()
        except Exception:
            self._closed_batches.appendleft(batch)
            self._fail(_failure())
            return
        self._layers.pop()
        self._in_flight = batch
        if self._durability == "always":
            self._hop.run(lambda: self._sync(batch), lambda: self._landed(batch), brief=brief)
        else:
            self._landed(batch)

    def _sync(self, batch: _Batch) -> None:
        """On the other side of the hop."""
        try:
            self._backend.sync()
        except BaseException:
            batch.failure = _failure()

    def _landed(self, batch: _Batch) -> None:
        """The batch is as durable as it is going to be: acknowledge it."""
        if batch.failure is not None:
            self._fail(batch.failure)
            return
        assert batch.view is not None
        if self.watch is not None and batch.size:
            self.watch.committed(len(batch.waiters), batch.began)
        # A thread may keep its last errand for long; what a view sees stays in the files meanwhile.
        self._view, batch.view = batch.view, None
        self._in_flight = None
        self._landed_bytes += batch.size
        self.waiting_bytes -= batch.size
        self.waiting_count -= len(batch.waiters)
        if self._durability == "interval" and self._timer is None:
            self._start_timer()
        if (self._closed_batches or self._forming.waiters) and not self._in_place:
            # The disk works on the next batch while the callers of this one are told.
            self._depart(brief=False)
        self._tell(batch)
        if batch.size and self.on_commit:
            self._announce()
        self._gather_waiting()
        if self._drained and not self.saturated:
            self._release_drained()
        if self._closers:
            self._proceed()

    def _gather_waiting(self) -> None:
        waiting = self._closed_batches or self._forming.waiters
        if waiting and self._in_flight is None and not self._gathering:
            self._gather()

    def _tell(self, batch: _Batch) -> None:
        outer, self._told = self._told, []
        for deferred, outcome in batch.waiters:
            deferred.callback(outcome)
        told, self._told = self._told, outer
        for call in told:
            call()

    def _announce(self) -> None:
        for call in tuple(self.on_commit):
            try:
                call()
            except Exception:
                _log.failure("what was to be told of a commit failed")

    def _start_timer(self) -> None:
        assert self._clock is not None
        self._timer = self._clock.callLater(self._interval_s, self._sync_due)

    def _sync_due(self) -> None:
        self._timer = None
        errand = _Batch()
        self._hop.run(lambda: self._sync(errand), lambda: self._synced(errand), brief=False)

    def _synced(self, errand: _Batch) -> None:
        if errand.failure is not None and not self._failed:
            self._fail(errand.failure)

    def _fail(self, failure: Failure) -> None:
        """Fail-stop: tell the owner first, then everyone who waits."""
        self._failed = True
        reason = failure.getErrorMessage()
        self._refusal = lambda: StoreFailed(f"a commit failed, nothing more is accepted: {reason}")
        flying = [self._in_flight] if self._in_flight is not None else []
        lost = [*flying, *self._closed_batches, self._forming]
        self._in_flight = None
        self._closed_batches.clear()
        self._forming = _Batch()
        self._layers[:] = [self._forming.changes]
        self.waiting_bytes = self.waiting_count = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._on_failure is not None:
            try:
                self._on_failure(failure)
            except Exception:
                _log.failure("the owner of the store could not deal with its failure")
        for batch in lost:
            for deferred, _ in batch.waiters:
                deferred.errback(self._refusal())
        self._release_drained()
        if self._closers is not None:
            self._finish()

    def _release_drained(self) -> None:
        drained, self._drained = self._drained, []
        for waiter in drained:
            waiter.callback(None)

    def _finish(self) -> None:
        """Nothing is in flight any more: the backend can go."""
        if self._finishing:
            return
        self._finishing = True
        self._view = None
        errand = _Batch()
        self._hop.run(
            lambda: self._close_backend(errand), lambda: self._closed(errand), brief=False
        )

    def _close_backend(self, errand: _Batch) -> None:
        """On the other side of the hop."""
        if not self._failed:
            self._sync(errand)
        try:
            self._backend.close()
        except BaseException:
            errand.failure = errand.failure or _failure()

    def _closed(self, errand: _Batch) -> None:
        self._hop.stop()
        if errand.failure is not None:
            _log.failure("the event store did not close cleanly", failure=errand.failure)
        closers, self._closers = self._closers or [], []
        for closer in closers:
            if errand.failure is None:
                closer.callback(None)
            else:
                closer.errback(StorageError(errand.failure.getErrorMessage()))
