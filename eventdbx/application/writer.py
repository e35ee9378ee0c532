"""The one writer of a domain: every change of its store is a step of this class.

A step runs at once, against everything accepted so far, and its answer is released when its
group commit is durable. There is no window between reading a head and writing the next version,
so expected versions, patches and creations need no lock. What is checked, and in which order,
follows docs/protocol.md; who may do it is asked of the caller's ``authorise``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application.authorising import Authorise as Authorise
from eventdbx.application.authorising import allow_all as allow_all
from eventdbx.application.authorising import authorise_write, check_open
from eventdbx.application.drafting import DraftWrite, check_idempotency_key, draft_write
from eventdbx.application.headcache import HeadCache
from eventdbx.application.idempotency import recall, request_digest, scope_digest
from eventdbx.application.quotas import Quota
from eventdbx.application.rules import SchemaRules
from eventdbx.application.steps import PARTITION as PARTITION
from eventdbx.application.steps import Committed as Committed
from eventdbx.application.steps import Work
from eventdbx.application.writelimits import spend
from eventdbx.domain import snowflake
from eventdbx.domain.aggregate import Head
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.targets import Target, targets_as_given
from eventdbx.domain.events import Actor
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import (
    AggregateNotFound,
    EventDBXError,
    InvalidSchema,
    StorageError,
)
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.store import Store, Transaction

CheckTargets = Callable[[Sequence[PublishTarget]], tuple[Target, ...]]
"""Returns the plugins that a writer named, by their keys; raises ConfigError."""

T = TypeVar("T")


def no_slot() -> int:
    """Return 0: nothing is sealed."""
    return 0


class Writer:
    """All changes of one domain.

    ``clock_ns`` returns Unix time in nanoseconds, ``entropy`` n random bytes. ``check_targets``
    knows which plugins an event can be meant for; ``before_targets`` is called ahead of the step in
    which it is asked. ``new_slot`` gives the slot of a data key that is
    nobody's yet, 0 where nothing is sealed.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock_ns: Callable[[], int],
        entropy: Callable[[int], bytes],
        worker_id: int = 0,
        rules: SchemaRules,
        cache_entries: int = limits.HEAD_CACHE_ENTRIES,
        check_targets: CheckTargets = targets_as_given,
        before_targets: Callable[[], None] = lambda: None,
        new_slot: Callable[[], int] = no_slot,
    ) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._entropy = entropy
        self._worker = snowflake.check_worker(worker_id)
        self.rules = rules
        self.quota: Quota | None = None
        """How much the store may hold; put here by who knows of tenants."""
        self._check_targets = check_targets
        self._before_targets = before_targets
        self._new_slot = new_slot
        self._heads = HeadCache(cache_entries, limits.HEAD_CACHE_BYTES_MAX)
        self._tail = records.decode_tail(store.view().get(keys.tail(PARTITION)))
        self._edge = eventlog.log_edge(store.view(), PARTITION, self._tail.next_position)

    def write(
        self,
        writes: Sequence[Write],
        *,
        actor: Actor | None,
        authorise: Authorise = allow_all,
        idempotency_key: str | None = None,
        spender: Grant | None = None,
        render: Callable[[list[Committed]], T],
    ) -> Deferred[T]:
        """Commit all the writes in one step, or none.

        The Deferred fires with ``render`` of what was committed, in order, when that is durable.
        It fails with the error of the first write that is refused; nothing is written then.
        ``idempotency_key`` covers the writes as a whole, beside the keys of single writes.
        The writes count against the limit of the ``spender``, if its token has one; those that
        only repeat earlier ones do not.
        """

        if any(write.publish_targets for write in writes):
            self._before_targets()

        def step(transaction: Transaction) -> T:
            done = self._commit(transaction, writes, actor, authorise, idempotency_key, spender)
            return render(done)

        return self._store.transact(step)

    def _commit(
        self,
        transaction: Transaction,
        writes: Sequence[Write],
        actor: Actor | None,
        authorise: Authorise,
        idempotency_key: str | None,
        spender: Grant | None,
    ) -> list[Committed]:
        work = Work(self, transaction)
        drafts: list[DraftWrite] = []
        done: list[Committed] = []
        try:
            for write in writes:
                drafts.append(draft_write(write, actor))
        except EventDBXError as error:
            raise _pointed(error, len(drafts), writes) from None
        scope = digest = b""
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
            scope, digest = scope_digest(b"", idempotency_key), request_digest(drafts)
            known = recall(transaction, scope, digest, idempotency_key)
            if known is not None:
                for write in writes:
                    authorise_write(write, authorise)
                return [self._recalled(transaction, place) for place in known]
        try:
            for draft in drafts:
                done.append(work.write(draft, authorise))
        except EventDBXError as error:
            raise _pointed(error, len(done), writes) from None
        if idempotency_key is not None:
            events = [one.event for one in done]
            places = [(one.aggregate_type, one.aggregate_id, one.version) for one in events]
            work.remember(scope, digest, places)
        if spender is not None and spender.write_limit is not None:
            spend(transaction, self._store.view(), spender, work.made, work.now_ns)
        work.finish()
        return done

    def _recalled(self, transaction: Transaction, place: tuple[str, str, int]) -> Committed:
        """Return what a retried write came to the first time.

        The event is one point read. The head needs the events up to it, unless it is still the
        newest; only answers that hold the aggregate ask for it.
        """
        event = eventlog.load_event(transaction, keys.name(*place[:2]), place[2])
        if event is None:
            raise StorageError(f"event {place[0]}::{place[1]} v{place[2]} is missing")
        fold = self.rules.fold(place[0])
        return Committed(event, None, lambda: eventlog.at_version(transaction, *place, fold)[1])

    def archive(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        archived: bool,
        comment: str | None,
        actor: Actor | None,
        authorise: Authorise = allow_all,
        render: Callable[[Head], T],
    ) -> Deferred[T]:
        """Archive an aggregate or bring it back; repeating it only renews comment and time.

        What refers to an archived aggregate and says so in its schema is cleared in the same step.
        Fails with AggregateNotFound, InvalidSchema (names, comment), SchemaViolation when a
        reference forbids it, or the error of ``authorise``.
        """

        def step(transaction: Transaction) -> T:
            check_aggregate_type(aggregate_type)
            check_aggregate_id(aggregate_id)
            check_open(aggregate_type, authorise)
            authorise("aggregate.archive", f"aggregate:{aggregate_type}:{aggregate_id}")
            check_comment(comment, "archive note")
            work = Work(self, transaction)
            name = keys.name(aggregate_type, aggregate_id)
            before = work.load(name)
            if before is None:
                raise AggregateNotFound()
            after = before._replace(
                archived=archived,
                archived_at=work.now_ns if archived else None,
                archive_comment=comment if archived else None,
                updated_at=max(work.now_ns, before.updated_at or 0),
            )
            if archived and not before.archived:
                references = self.rules.references
                for one in references.clearings(transaction, before, work.load):
                    work.clear(one.name, one.head, one.draft)
            work.move(name, before, after)
            at_ns, slots = after.updated_at or 0, after.content_slots
            audit = records.encode_audit(archived, at_ns, comment, actor, slots)
            transaction.put(keys.archive_audit(name, work.next_id()), audit)
            work.finish()
            return render(after)

        return self._store.transact(step)

    def snapshot(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        comment: str | None,
        authorise: Authorise = allow_all,
        render: Callable[[Snapshot], T],
    ) -> Deferred[T]:
        """Keep the current state of an aggregate under a new snapshot id.

        Fails with AggregateNotFound, TenantQuota, InvalidSchema (names, comment) or the error of
        ``authorise``.
        """

        def step(transaction: Transaction) -> T:
            check_aggregate_type(aggregate_type)
            check_aggregate_id(aggregate_id)
            check_open(aggregate_type, authorise)
            authorise("aggregate.append", f"aggregate:{aggregate_type}:{aggregate_id}")
            if self.quota is not None:
                self.quota.check()
            check_comment(comment, "snapshot comment")
            work = Work(self, transaction)
            name = keys.name(aggregate_type, aggregate_id)
            head = work.load(name)
            if head is None:
                raise AggregateNotFound()
            snapshot = work.snapshot(name, head, comment)
            work.finish()
            return render(snapshot)

        return self._store.transact(step)

    def carry_out(self, change: Callable[[Work, Transaction], T]) -> Deferred[T]:
        """Run a change of another module as one step of the store."""

        def step(transaction: Transaction) -> T:
            work = Work(self, transaction)
            done = change(work, transaction)
            work.finish()
            return done

        return self._store.transact(step)

    def put_folds(
        self, folds: Sequence[Head], rest: Callable[[Transaction], None]
    ) -> Deferred[None]:
        """Give stored heads the states of these, which were folded anew outside of a step.

        Heads that have moved on since, or are to be folded otherwise by now, stay as they are.
        ``rest`` joins the step.
        """

        def step(transaction: Transaction) -> None:
            work = Work(self, transaction)
            for head in folds:
                work.put_fold(head)
            rest(transaction)
            work.finish(keep_new=False)

        return self._store.transact(step)


def check_comment(comment: str | None, what: str) -> None:
    """Raise InvalidSchema when an archive note or snapshot comment is too long."""
    if comment is not None and len(comment.encode()) > limits.COMMENT_BYTES_MAX:
        raise InvalidSchema(f"{what} cannot exceed {limits.COMMENT_BYTES_MAX} bytes")


def _pointed(error: EventDBXError, number: int, writes: Sequence[Write]) -> EventDBXError:
    """Return the error, which tells now which of several writes it is about."""
    if len(writes) > 1:
        error.write = number
    return error
