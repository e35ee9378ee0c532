"""Erasing the content of events for good: of an aggregate, or of a data subject in all of them.

The history stays: an event ``dbx_erased`` on each aggregate says what is gone, who did it and why,
and no leaf, root or proof changes. The order of things (docs/erasure.md) makes it safe to be killed
anywhere: first it is known what is erased, in commits of which each makes a state without it; then
keys are destroyed; then records are rewritten, a few in a commit; then the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.application.authorising import Authorise, allow_all, check_open
from eventdbx.application.drafting import check_reason, check_subject
from eventdbx.application.erasure_reading import Erased as Erased
from eventdbx.application.erasure_reading import (
    Left,
    Survey,
    names_about,
    needs_index,
    read_about,
    refolded_snapshots,
    survey_aggregate,
    survey_subject,
    with_staged,
)
from eventdbx.application.erasure_steps import (
    drop_staged,
    erase_some,
    erase_staged,
    erase_whole,
    put_erasure,
)
from eventdbx.application.parts import forget_states, note_erasing
from eventdbx.application.steps import Work
from eventdbx.application.subjects import find_subject, subject_key
from eventdbx.application.writer import Writer
from eventdbx.domain.events import Actor
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.errors import AggregateNotFound, StorageError
from eventdbx.storage import erasures, eventlog, keys
from eventdbx.storage.erasures import Erasure, Part, Stage
from eventdbx.storage.records import encode_snapshot
from eventdbx.storage.sealed import Seals
from eventdbx.storage.staged import Wanted, about, of_aggregate, picked
from eventdbx.storage.store import Store, Transaction

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a plain function on another thread."""

Change = tuple[bytes, bytes | None]
"""A key and its record from now on, None for none."""

T = TypeVar("T")


class _Stopped(StorageError):
    """The store closes; what is left of an erasure is done when it is opened again."""


class Order(NamedTuple):
    """An erasure that somebody wants, whatever it is of; a ``dry_run`` only counts."""

    reason: str
    actor: Actor | None
    run_slowly: RunSlowly
    authorise: Authorise = allow_all
    dry_run: bool = False

    def check(self, resource: str, subject: str | None = None) -> None:
        """Raise InvalidSchema (the reason), or the error of ``authorise``."""
        self.authorise("aggregate.erase", resource)
        check_reason(self.reason, subject)


class Erasing:
    """The erasures of one domain, one at a time."""

    log = Logger()

    def __init__(self, store: Store, writer: Writer, seals: Seals | None = None) -> None:
        self._store = store
        self._writer = writer
        self._seals = seals
        self._lock = DeferredLock()
        self._stopping = False
        self.on_erased: list[Callable[[bytes], None]] = []
        """Called with the name of each aggregate of which something is erased: for who keeps
        anything of its events in memory."""
        self.on_purge: list[Callable[[], None]] = []
        """Called before files are rewritten: for who holds views of what was there."""

    def start(self, run_slowly: RunSlowly) -> Deferred[None]:
        """Go on with what a process before this one has left."""
        self._stopping = False
        if not erasures.erasures(self._store.view()):
            return succeed(None)
        note_erasing(self, under_way=True)
        going: Deferred[None] = self._alone(partial(self._finish_all, run_slowly))
        return going.addErrback(self._failed)

    def stop(self) -> Deferred[None]:
        """Begin nothing more; fires when what was begun has come to a step that can wait."""
        self._stopping = True
        waiter: Deferred[None] = Deferred()
        self._lock.run(lambda: waiter.callback(None))
        return waiter

    def _failed(self, failure: Any) -> None:
        if not failure.check(_Stopped):
            self.log.failure("an erasure could not be finished", failure=failure)

    def _alone(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Work when nothing else does; whoever stops waiting for it does not stop it."""
        shown: Deferred[Any] = Deferred(lambda _cancelled: None)

        def ended(result: Any) -> None:
            if not shown.called:
                shown.callback(result)
            elif isinstance(result, Failure):
                self._failed(result)

        self._lock.run(lambda: Deferred.fromCoroutine(work())).addBoth(ended)
        return shown

    def aggregate(self, aggregate_type: str, aggregate_id: str, order: Order) -> Deferred[Erased]:
        """Erase the content of all events that an aggregate has now.

        Fails with AggregateNotFound, InvalidSchema (names, reason) or that of ``authorise``.
        """
        check_aggregate_type(aggregate_type)
        check_aggregate_id(aggregate_id)
        check_open(aggregate_type, order.authorise)
        order.check(f"aggregate:{aggregate_type}:{aggregate_id}")
        name = keys.name(aggregate_type, aggregate_id)
        wanted = of_aggregate(name)
        view = self._store.view()
        if eventlog.load_head(view, name) is None and not picked(view, wanted):
            raise AggregateNotFound()
        del view

        async def work() -> Erased:
            self._go_on()
            found: Survey
            done: Erased
            found, done = await order.run_slowly(
                partial(survey_aggregate, self._store.view(), name, wanted)
            )
            if order.dry_run:
                return done
            await self._finish_all(order.run_slowly)
            if not (found.events or found.unnamed):
                await self._erase_staged(done, wanted, order)
                return done
            step = partial(erase_whole, name, found, order.reason, order.actor)
            await self._finish(await self._commit(step, (name,)), order.run_slowly)
            return done

        return self._alone(work)

    def subject(self, subject: str, order: Order) -> Deferred[Erased]:
        """Erase the content of all events that are about somebody, in all aggregates.

        Fails with InvalidSchema (the name, the reason) or that of ``authorise``.
        """
        check_subject(subject)
        order.check("aggregate:*:*", subject)
        wanted = about(subject)

        async def work() -> Erased:
            self._go_on()
            found = find_subject(self._store.view(), subject)
            if found is None:
                nothing: Erased = await order.run_slowly(
                    partial(with_staged, Erased("subject"), self._store.view(), wanted)
                )
                if not order.dry_run:
                    await self._finish_all(order.run_slowly)
                    await self._erase_staged(nothing, wanted, order)
                return nothing
            view = self._store.view()
            counting = partial(survey_subject, view, found, self._go_on, wanted)
            done: Erased = await order.run_slowly(counting)
            del view, counting
            if order.dry_run:
                return done

            def begin(work: Work, transaction: Transaction) -> Erasure:
                key = subject_key(transaction, subject)
                assert key is not None, "the secret of subjects is gone"
                transaction.delete(key)
                slots, bare = drop_staged(transaction, wanted)
                erasure = Erasure(
                    work.next_id(),
                    Stage.NAMING,
                    found.number,
                    (found.slot, *sorted(slots)),
                    done.older_copies_readable or bare,
                    order.reason,
                    order.actor,
                )
                return put_erasure(transaction, erasure)

            await self._finish(await self._commit(begin, ()), order.run_slowly)
            return done

        return self._alone(work)

    async def _erase_staged(self, done: Erased, wanted: Wanted, order: Order) -> None:
        if done.staged:
            step = partial(erase_staged, wanted, order.reason, order.actor)
            await self._finish(await self._commit(step, ()), order.run_slowly)

    def _go_on(self) -> None:
        if self._stopping:
            raise _Stopped("the event store closes; erasures go on when it is opened again")

    async def _commit(self, step: Callable[[Work, Transaction], T], names: tuple[bytes, ...]) -> T:
        note_erasing(self, under_way=True)
        done = await self._writer.carry_out(step)
        forget_states()
        for name in names:
            for call in self.on_erased:
                call(name)
        return done

    async def _name_all(self, erasure: Erasure, run_slowly: RunSlowly) -> Erasure:
        """Name the events about a subject on all aggregates, some in a commit."""
        names = await self._about(erasure.subject, run_slowly)
        for at in range(0, len(names), limits.ERASED_AT_ONCE):
            some = names[at : at + limits.ERASED_AT_ONCE]
            await self._name_about(erasure, some, run_slowly)
            for name in some:
                await self._refold_snapshots(erasure, name, run_slowly)
        erasure = erasure._replace(stage=Stage.DESTROYING)
        return await self._commit(lambda _work, step: put_erasure(step, erasure), ())

    async def _about(self, subject: int, run_slowly: RunSlowly) -> list[bytes]:
        view = self._store.view()
        names: list[bytes] = await run_slowly(lambda: list(names_about(view, subject)))
        return names

    async def _name_about(
        self, erasure: Erasure, names: list[bytes], run_slowly: RunSlowly
    ) -> None:
        while names:
            view, rules = self._store.view(), self._writer.rules
            folds = {name: rules.fold(keys.split_name(name)[0]) for name in names}
            lefts: list[Left] = await run_slowly(
                partial(read_about, view, erasure, folds, self._go_on)
            )
            del view
            self._go_on()
            step = partial(erase_some, erasure, lefts)
            names = await self._commit(step, tuple(left.name for left in lefts))

    async def _refold_snapshots(self, erasure: Erasure, name: bytes, run_slowly: RunSlowly) -> None:
        """Give snapshots states without what is erased, some in a commit."""
        view = self._store.view()
        record = view.get(keys.erasure(erasure.number, name))
        part = None if record is None else erasures.decode_part(name, record)
        if part is None or part.refolded:
            return
        head = eventlog.load_head(view, name)
        assert head is not None, "an aggregate is gone"
        fold = self._writer.rules.fold(head.aggregate_type)
        states = refolded_snapshots(view, part, fold, head.content_slots)
        while batch := await run_slowly(lambda: list(islice(states, limits.REFOLD_SNAPSHOTS))):
            self._go_on()
            await self._put_all(
                [(keys.snapshot(name, one.snapshot_id), encode_snapshot(one)) for one in batch]
            )
        done = erasures.encode_part(part._replace(refolded=True))
        await self._put_all([(keys.erasure(erasure.number, name), done)])

    async def _put_all(self, pairs: Sequence[Change]) -> None:
        def step(transaction: Transaction) -> None:
            for key, record in pairs:
                if record is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, record)

        await self._store.transact(step)

    # Then: keys, records, files.

    async def _finish_all(self, run_slowly: RunSlowly) -> None:
        for erasure in erasures.erasures(self._store.view()):
            await self._finish(erasure, run_slowly)

    async def _finish(self, erasure: Erasure, run_slowly: RunSlowly) -> None:
        """Do what is left of an erasure."""
        if erasure.stage == Stage.NAMING:
            erasure = await self._name_all(erasure, run_slowly)
        parts = await run_slowly(partial(erasures.parts_of, self._store.view(), erasure.number))
        await run_slowly(partial(self._destroy, erasure, parts))
        if erasure.stage == Stage.DESTROYING:
            await self._rewrite(parts, run_slowly)
            erasure = erasure._replace(stage=Stage.PURGING)
            await self._commit(lambda _work, step: put_erasure(step, erasure), ())
        if erasure.subject:
            await self._drop_index(erasure.subject, run_slowly)
        indexed = any(needs_index(self._writer.rules.references, part.name) for part in parts)
        ranges = erasures.ranges_of(parts, erasure.subject, indexed=indexed)
        self._go_on()
        for call in self.on_purge:
            call()
        await run_slowly(partial(self._store.purge, ranges, logs=erasure.bare))
        rows = ((keys.erasure(erasure.number, part.name), None) for part in parts)
        await self._put_in_steps(rows, run_slowly)
        await self._put_all([(keys.erasure(erasure.number), None)])
        # A thread that was reading may have kept something meanwhile.
        self._forget()
        forget_states()
        note_erasing(self, under_way=bool(erasures.erasures(self._store.view())))
        self.log.info("an erasure of {count} aggregates is done", count=len(parts))

    def _destroy(self, erasure: Erasure, parts: list[Part]) -> None:
        if self._seals is not None and self._seals.slots is not None:
            self._seals.slots.destroy(erasures.slots_of(erasure, parts))
            self._forget()

    def _forget(self) -> None:
        if self._seals is not None:
            self._seals.forget()

    async def _rewrite(self, parts: list[Part], run_slowly: RunSlowly) -> None:
        view = self._store.view()
        found = (erasures.erased_records(view, part) for part in parts)
        await self._put_in_steps(chain.from_iterable(found), run_slowly)

    async def _drop_index(self, subject: int, run_slowly: RunSlowly) -> None:
        prefix = keys.subject_events(subject)
        found = self._store.view().scan(prefix, keys.after(prefix))
        await self._put_in_steps(((key, None) for key, _empty in found), run_slowly)

    async def _put_in_steps(self, pairs: Iterator[Change], run_slowly: RunSlowly) -> None:
        while batch := await run_slowly(lambda: list(islice(pairs, erasures.STEP))):
            self._go_on()
            await self._put_all(batch)
