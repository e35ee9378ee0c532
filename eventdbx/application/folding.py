"""Making what is derived from events follow the schemas, a few aggregates at a time.

States are folded anew after the upcasters of a type have changed, and references are indexed
anew after its reference columns have (``application.indexing``).

Each head says with which upcasters its state was folded. Whoever meets one that is out of date
folds it from its events, so nothing waits for this; it makes reads cheap again. What is left to
do is in the store, so a restart goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from eventdbx import limits
from eventdbx.application.indexing import Indexing
from eventdbx.application.rules import InForce
from eventdbx.application.writer import Writer
from eventdbx.domain.aggregate import Fold, Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Event
from eventdbx.errors import EventDBXError
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.store import Store, Transaction

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a plain function on another thread."""

_IN_WORK = b"?"


class _Stopped(Exception):
    """The server stops; what is left to fold is folded after its next start."""


class _Batch(NamedTuple):
    """Heads folded anew, and the name after which the search goes on (None: it is over)."""

    heads: list[Head]
    after: bytes | None
    archived: bool


class Folding:
    """Which types of a domain have states that are all up to date, and making them so.

    The types that are ``unindexed`` are indexed on the way, each when its states are.
    """

    log = Logger()

    def __init__(
        self,
        store: Store,
        writer: Writer,
        in_force: Callable[[], InForce],
        indexing: Indexing,
    ) -> None:
        self._store = store
        self._writer = writer
        self._in_force = in_force
        self._indexing = indexing
        self._done = dict(_marks(store.view()))
        self._run: RunSlowly | None = None
        self._running: Deferred[None] = succeed(None)
        self._busy = False
        self._stopping = False

    @property
    def settled(self) -> bool:
        """True when no head is known to be out of date."""
        return self._next() is None

    def start(self, run_slowly: RunSlowly) -> None:
        """Fold and index what is out of date, now and whenever :meth:`wake` is called."""
        self._run = run_slowly
        self._stopping = False
        self.wake()

    def wake(self) -> None:
        """Look whether schemas have changed; does nothing before :meth:`start`."""
        if self._busy or self._run is None:
            return
        if self._indexing.unindexed or self._next() is not None:
            self._busy = True
            self._running = Deferred.fromCoroutine(self._work(self._run))
            self._running.addErrback(self._failed)

    def stop(self) -> Deferred[None]:
        """Begin nothing more; fires when what was begun is over."""
        self._stopping = True
        self._run = None
        waiter: Deferred[None] = Deferred()
        self._running.addBoth(lambda _ended: waiter.callback(None))
        return waiter

    def _failed(self, failure: Any) -> None:
        if not (self._stopping and failure.check(EventDBXError, _Stopped)):
            self.log.failure("states could not be folded or indexed anew", failure=failure)

    def _next(self) -> str | None:
        """Return a type with heads out of date, None when there is none."""
        marks = self._in_force().views.marks
        if not marks and not self._done:
            return None
        for name in marks.keys() | self._done.keys():
            if self._done.get(name, b"") != marks.get(name, b""):
                return name
        return None

    async def _work(self, run_slowly: RunSlowly) -> None:
        try:
            while not self._stopping:
                name = self._next()
                if name is not None:
                    await self._fold_type(run_slowly, name)
                elif self._indexing.unindexed:
                    await self._index_type(min(self._indexing.unindexed))
                else:
                    return
        finally:
            self._busy = False

    async def _fold_type(self, run_slowly: RunSlowly, name: str) -> None:
        views = self._in_force().views
        mark = views.fold(name).mark
        await self._put([], name, _IN_WORK)
        after: bytes | None = b""
        archived, count = False, 0
        while after is not None:
            view = self._store.view()
            search = _search(view, self._called_off(views.fold(name)), name, after, archived)
            batch: _Batch = await run_slowly(search)
            if self._stopping or self._in_force().views.fold(name).mark != mark:
                return  # The search begins again with other upcasters, or after a restart.
            if batch.heads:
                count += len(batch.heads)
                await self._put(batch.heads, None, b"")
            after, archived = batch.after, batch.archived
        await self._put([], name, mark)
        self.log.info("{count} states of {name} were folded anew", count=count, name=name)

    async def _index_type(self, name: str) -> None:
        """Index aggregates of a type until it is done, or other work comes first."""

        def step(transaction: Transaction) -> None:
            self._indexing.advance(transaction, self._in_force(), name)

        # Each step is short and takes a turn of the reactor of its own, between the appends.
        while name in self._indexing.unindexed:
            await self._store.transact(step)
            if self._stopping or self._next() is not None:
                return
        self.log.info("references of {name} were indexed anew", name=name)

    def _called_off(self, fold: Fold) -> Fold:
        """Return a fold that ends with an error when the server stops meanwhile."""

        def lift(event: Event) -> JSON:
            if self._stopping:
                raise _Stopped
            return fold.lift(event)

        return Fold(fold.mark, lift)

    async def _put(self, heads: list[Head], name: str | None, mark: bytes) -> None:
        def rest(transaction: Transaction) -> None:
            if name is None:
                return
            if mark:
                transaction.put(keys.folded(name), mark)
            else:
                transaction.delete(keys.folded(name))

        await self._writer.put_folds(heads, rest)
        if name is None:
            return
        if mark:
            self._done[name] = mark
        else:
            self._done.pop(name, None)


def _marks(view: IReadView) -> Iterator[tuple[str, bytes]]:
    for key, mark in view.scan(keys.FOLDED, keys.after(keys.FOLDED)):
        yield key[len(keys.FOLDED) : -1].decode(), mark


def _search(
    view: IReadView, fold: Fold, aggregate_type: str, after: bytes, archived: bool
) -> Callable[[], _Batch]:
    """Return what finds and folds some heads of a type that are out of date, on a thread."""

    def search() -> _Batch:
        heads: list[Head] = []
        looked, events, last, family = 0, 0, after, archived
        while True:
            for head in eventlog.heads(
                view, archived=family, aggregate_type=aggregate_type, after=last
            ):
                looked += 1
                last = keys.name(head.aggregate_type, head.aggregate_id)
                if head.fold_mark != fold.mark:
                    heads.append(eventlog.refolded(view, head, fold))
                    events += head.version
                if events >= limits.REFOLD_EVENTS or looked >= limits.REFOLD_HEADS:
                    return _Batch(heads, last, family)
            if family:
                return _Batch(heads, None, True)
            family, last = True, b""

    return search
