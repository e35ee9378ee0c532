"""The head map of a domain: advanced along the log in bounded steps, asked for proofs.

Nothing is written with an append: the map follows the log, in the background
(:mod:`eventdbx.services.mapping`) and whenever a proof needs it. It is always that of one position
of the log, which a checkpoint names together with its root.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, succeed

from eventdbx.domain.headmap import HeadProof, heads_line
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, headmap
from eventdbx.storage.headmap import PARTITION, Place, Step, Top
from eventdbx.storage.store import Store, Transaction

T = TypeVar("T")

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a plain function on another thread."""


def _to_its_end(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Return what fires with the outcome of work that goes on if nobody waits for it any more: a
    step on its way to the disk is not let out of sight because a peer hangs up."""
    done: Deferred[T] = Deferred()
    Deferred.fromCoroutine(work).addBoth(done.callback)
    return done


def _at_once(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


class HeadMap:
    """The head map of one store. Who never asks never pays: it is read with the first question.

    All on one thread, but for what ``run_slowly`` takes to another one.

    - ``place``: position, count of aggregates and root, as they are durable.
    - ``lines()``: what a checkpoint says of it.
    - ``advance() -> bool``: one bounded step; whether the log went on after it.
    - ``advance_to(position)``: until the map covers that much of the log, or all that is durable.
    - ``begin_again()``: drop the map.
    - ``prove(name) -> HeadProof``: what the map says of a canonical name, at its place.
    """

    def __init__(self, store: Store, run_slowly: RunSlowly = _at_once) -> None:
        self._store = store
        self._run_slowly = run_slowly
        self._lock = DeferredLock()
        self._top: Top | None = None
        self._underway: Step | None = None
        self._place: Place | None = None
        self._lines: tuple[str, ...] = ()
        self._stopping = False

    def start(self, run_slowly: RunSlowly) -> None:
        """Do what is slow on a thread from now on."""
        self._run_slowly = run_slowly
        self._stopping = False

    async def stop(self) -> None:
        """Refuse what comes from now on; over when the step under way is."""
        self._stopping = True
        await self._lock.acquire()
        self._lock.release()

    @property
    def place(self) -> Place:
        """Where the map is. Raises StorageError."""
        if self._place is None:
            self._went_to(headmap.load_place(self._store.view()))
            assert self._place is not None
        return self._place

    @property
    def behind(self) -> int:
        """How many events are durable that the map does not cover. Raises StorageError."""
        return self.end - self.place.position

    @property
    def end(self) -> int:
        """How many events are durable. Raises StorageError."""
        return eventlog.end_position(self._store.view(), PARTITION)

    def lines(self) -> tuple[str, ...]:
        """Return the lines of a checkpoint of all that is durable now: one, or none without map.

        A map that cannot be read is passed over: the log can be signed without it.
        """
        try:
            return self._lines if self.place.position else ()
        except StorageError:
            return ()

    async def advance(self) -> bool:
        """Take up a bounded part of the log. Return False at its end.

        Raises StorageError where the log or the map are damaged, and nothing changes.
        """
        if not self.behind:
            return False
        return await _to_its_end(self._advance())

    async def _advance(self) -> bool:
        await self._lock.acquire()
        try:
            top = await self._loaded()
            view = self._store.view()
            step: Step | None = await self._run_slowly(lambda: headmap.prepare(view, top))
            if step is None:
                return False
            self._check_running()
            self._underway = step
            moved = not await self._store.transact(step.put)
            if moved:
                self._top = self._place = self._underway = None
            else:
                self._take_up()
            return self.behind > 0
        finally:
            self._lock.release()

    async def advance_to(self, position: int) -> Place:
        """Advance the map until it covers that many events, or all that are durable."""
        while self.place.position < position and await self.advance():
            pass
        return self.place

    async def begin_again(self) -> None:
        """Drop the map in one commit, as if it had never been made: what to do with a damaged one.

        Whoever advances it next makes it anew from the beginning of the log.
        """
        await _to_its_end(self._begin_again())

    async def _begin_again(self) -> None:
        await self._lock.acquire()
        try:
            self._check_running()
            view = self._store.view()
            kept: list[bytes] = await self._run_slowly(lambda: headmap.kept_keys(view))

            def drop(step: Transaction) -> None:
                for key in kept:
                    step.delete(key)

            await self._store.transact(drop)
            self._top = self._underway = None
            self._went_to(headmap.NOWHERE)
        finally:
            self._lock.release()

    async def prove(self, name: bytes) -> HeadProof:
        """Return what the map says of an aggregate, at the place that it has then.

        Raises StorageError where the map is damaged. It does not advance the map.
        """
        top = self._top
        if top is None:
            await self._lock.acquire()
            try:
                top = await self._loaded()
            finally:
                self._lock.release()
        view = self._store.view()
        if headmap.load_place(view) != top.place:
            # The step has been committed, and whoever took it has not been told yet.
            self._take_up()
            if headmap.load_place(view) != top.place:
                raise StorageError("the head map moved while it was asked")
        return headmap.prove(view, top, name)

    async def _loaded(self) -> Top:
        """Return the upper levels; the lock is held."""
        self._check_running()
        if self._top is None:
            view = self._store.view()
            self._top = await self._run_slowly(lambda: headmap.load_top(view))
        return self._top

    def _take_up(self) -> None:
        """Go on to what the step under way has made durable; a second call does nothing."""
        step, self._underway = self._underway, None
        if step is not None and self._top is not None:
            self._top.take(step)
            self._went_to(step.after)

    def _went_to(self, place: Place) -> None:
        self._place = place
        self._lines = (heads_line(place.position, place.root),) if place.position else ()

    def _check_running(self) -> None:
        if self._stopping:
            raise StorageError("the head map goes on after the next start")
