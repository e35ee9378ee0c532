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
from eventdbx.application.authorising import as_audit_trail, authorise_write, check_open
from eventdbx.application.drafting import DraftWrite, check_idempotency_key, draft_write
from eventdbx.application.headcache import HeadCache
from eventdbx.application.headrecords import put_head
from eventdbx.application.idempotency import recall, remember, request_digest, scope_digest
from eventdbx.application.rules import SchemaRules
from eventdbx.application.writelimits import spend
from eventdbx.domain import snowflake
from eventdbx.domain.aggregate import Draft, Fold, Head, decide, new_head
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.targets import Target, targets_as_given
from eventdbx.domain.events import SALT_BYTES, Actor, Event
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import AUDIT_TYPE, check_aggregate_id, check_aggregate_type
from eventdbx.domain.merkle import grown
from eventdbx.domain.patches import apply_patch
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import (
    AggregateArchived,
    AggregateMissing,
    AggregateNotFound,
    AlreadyExists,
    InvalidSchema,
    StorageError,
    VersionConflict,
)
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.store import Store, Transaction

PARTITION = 0
"""That of everything but the audit trail (docs/storage-format.md)."""

CheckTargets = Callable[[Sequence[PublishTarget]], tuple[Target, ...]]
"""Returns the plugins that a writer named, by their keys; raises ConfigError."""

T = TypeVar("T")


def no_slot() -> int:
    """Return 0: nothing is sealed."""
    return 0


class Committed:
    """An event and the head that it led to; the head of a retried write is folded when asked."""

    __slots__ = ("_fold", "_head", "event")

    def __init__(
        self, event: Event, head: Head | None, fold: Callable[[], Head] | None = None
    ) -> None:
        self.event = event
        self._head = head
        self._fold = fold

    @property
    def head(self) -> Head:
        """The aggregate just after the event."""
        if self._head is None:
            assert self._fold is not None
            self._head = self._fold()
        return self._head


class Writer:
    """All changes of one domain.

    ``clock_ns`` returns Unix time in nanoseconds, ``entropy`` n random bytes. ``check_targets``
    knows which plugins an event can be meant for. ``new_slot`` gives the slot of a data key that is
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
        new_slot: Callable[[], int] = no_slot,
    ) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._entropy = entropy
        self._worker = snowflake.check_worker(worker_id)
        self._rules = rules
        self._check_targets = check_targets
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
        work = _Work(self, transaction)
        drafts = [draft_write(write, actor) for write in writes]
        scope = digest = b""
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
            scope, digest = scope_digest(b"", idempotency_key), request_digest(drafts)
            known = recall(transaction, scope, digest, idempotency_key)
            if known is not None:
                for write in writes:
                    authorise_write(write, authorise)
                return [self._recalled(transaction, place) for place in known]
        done = [work.write(draft, authorise) for draft in drafts]
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
        fold = self._rules.fold(place[0])
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
            work = _Work(self, transaction)
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
                references = self._rules.references
                for one in references.clearings(transaction, before, work.load):
                    work.append(one.name, one.head, one.head, one.draft)
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

        Fails with AggregateNotFound, InvalidSchema (names, comment) or the error of
        ``authorise``.
        """

        def step(transaction: Transaction) -> T:
            check_aggregate_type(aggregate_type)
            check_aggregate_id(aggregate_id)
            check_open(aggregate_type, authorise)
            authorise("aggregate.append", f"aggregate:{aggregate_type}:{aggregate_id}")
            check_comment(comment, "snapshot comment")
            work = _Work(self, transaction)
            name = keys.name(aggregate_type, aggregate_id)
            head = work.load(name)
            if head is None:
                raise AggregateNotFound()
            snapshot = work.snapshot(name, head, comment)
            work.finish()
            return render(snapshot)

        return self._store.transact(step)

    def put_folds(
        self, folds: Sequence[Head], rest: Callable[[Transaction], None]
    ) -> Deferred[None]:
        """Give stored heads the states of these, which were folded anew outside of a step.

        Heads that have moved on since, or are to be folded otherwise by now, stay as they are.
        ``rest`` joins the step.
        """

        def step(transaction: Transaction) -> None:
            work = _Work(self, transaction)
            for head in folds:
                work.put_fold(head)
            rest(transaction)
            work.finish(keep_new=False)

        return self._store.transact(step)


def check_comment(comment: str | None, what: str) -> None:
    """Raise InvalidSchema when an archive note or snapshot comment is too long."""
    if comment is not None and len(comment.encode()) > limits.COMMENT_BYTES_MAX:
        raise InvalidSchema(f"{what} cannot exceed {limits.COMMENT_BYTES_MAX} bytes")


class _Work:
    """What one step changes; reaches the writer's own memory only when the step succeeds.

    Heads and indexes are put once per step, however many events of an aggregate it holds.
    """

    __slots__ = (
        "_edge", "_last_id", "_moved", "_position", "_transaction", "_writer", "made", "now_ns",
    )  # fmt: skip

    def __init__(self, writer: Writer, transaction: Transaction) -> None:
        self._writer = writer
        self._transaction = transaction
        self._moved: dict[bytes, tuple[Head | None, Head]] = {}
        self._position, self._last_id = writer._tail
        self._edge = writer._edge
        self.now_ns, self.made = writer._clock_ns(), 0

    def next_id(self) -> int:
        """Return an id greater than every one before it, across restarts and clock steps."""
        self._last_id = snowflake.next_id(
            self._last_id, self.now_ns // 1_000_000, self._writer._worker
        )
        return self._last_id

    def load(self, name: bytes) -> Head | None:
        """Return the head as of everything accepted so far, active or archived."""
        moved = self._moved.get(name)
        if moved is not None:
            return moved[1]
        head = self._writer._heads.get(name) or eventlog.load_head(self._transaction, name)
        if head is None or not (head.fold_mark or self._writer._rules.upcasts):
            return head
        fold = self._writer._rules.fold(head.aggregate_type)
        return head if head.fold_mark == fold.mark else self._refold(name, fold)

    def _refold(self, name: bytes, fold: Fold) -> Head:
        """Put the state of a head right that other upcasters made, for good."""
        stored = eventlog.load_head(self._transaction, name)  # Newer than in memory, perhaps.
        assert stored is not None, "a head in memory is not in the store"
        head = eventlog.refolded(self._transaction, stored, fold)
        if head is not stored:
            self._writer._rules.references.refolded(self._transaction, name, stored, head)
            self.move(name, stored, head)
        return head

    def put_fold(self, folded: Head) -> None:
        """Give the stored head a state that was folded from the same events elsewhere."""
        name = keys.name(folded.aggregate_type, folded.aggregate_id)
        stored = eventlog.load_head(self._transaction, name)
        if stored is None or stored.version != folded.version:
            return
        if stored.fold_mark != folded.fold_mark == self._writer._rules.fold(stored[0]).mark:
            head = stored._replace(state=folded.state, fold_mark=folded.fold_mark)
            self._writer._rules.references.refolded(self._transaction, name, stored, head)
            self.move(name, stored, head)

    def move(self, name: bytes, before: Head | None, after: Head) -> None:
        """Note that an aggregate's head changes; what the store holds now stays ``before``."""
        moved = self._moved.get(name)
        self._moved[name] = (before if moved is None else moved[0], after)

    def write(self, write: DraftWrite, authorise: Authorise) -> Committed:
        """Check one write against the head, decide its event, and put the event's records."""
        command = write.command
        authorise_write(command, authorise)
        name = keys.name(command.aggregate_type, command.aggregate_id)
        if write.idempotency_key is not None:
            scope, digest = scope_digest(name, write.idempotency_key), request_digest([write])
            known = recall(self._transaction, scope, digest, write.idempotency_key)
            if known is not None:
                self._put_heads()  # The first result may be of this very step.
                return self._writer._recalled(self._transaction, known[0])
        named = command.publish_targets
        targets = self._writer._check_targets(named) if named else ()
        before = self.load(name)
        head = _admit(write, before, self._writer._rules)
        draft, under = write.draft, None
        if command.kind == "patch":
            under = head.state
            draft = write.with_payload(apply_patch(under, draft.payload))
        rules = self._writer._rules
        if authorise is not as_audit_trail:
            draft = rules.admit(command.aggregate_type, draft, under)
        bound = draft.schema is not None
        if bound:
            draft = rules.references.canonical(head, draft, self.load, authorise)
        if head.archived:
            raise AggregateArchived()
        done = self.append(name, before, head, draft, bound=bound, targets=targets)
        self.made += 1
        if write.idempotency_key is not None:
            place = (command.aggregate_type, command.aggregate_id, done.event.version)
            self.remember(scope, digest, [place])
        return done

    def append(
        self,
        name: bytes,
        before: Head | None,
        head: Head,
        draft: Draft,
        *,
        bound: bool = True,
        targets: tuple[Target, ...] = (),
    ) -> Committed:
        """Put the event that an admitted draft becomes on top of a head.

        ``bound`` says that the type has a schema: without one there are no references to index,
        and no snapshots to take. ``targets`` are the plugins that the event is for, all without.
        """
        writer = self._writer
        if not head.version:
            head = head._replace(key_slot=writer._new_slot())
        event, after = decide(
            head,
            draft,
            event_id=self.next_id(),
            now_ns=self.now_ns,
            salt=writer._entropy(SALT_BYTES),
        )
        event_key = keys.event(name, event.version)
        put = self._transaction.put
        put(event_key, records.encode_event(event))
        if head.aggregate_type == AUDIT_TYPE:
            eventlog.put_audited(self._transaction, event, event_key)
        else:
            self._edge, nodes = grown(self._edge, self._position, event.hash)
            entry = records.LogEntry(event.event_id, event_key, event.hash, nodes, targets)
            put(keys.log(PARTITION, self._position), records.encode_log(entry))
            self._position += 1
        self.move(name, before, after)
        if bound:
            rules = writer._rules
            rules.references.index(self._transaction, name, head, draft.payload, after)
            every = rules.snapshot_threshold(head.aggregate_type)
            if every and event.version % every == 0:
                self.snapshot(name, after, f"auto snapshot v{event.version}")
        return Committed(event, after)

    def snapshot(self, name: bytes, head: Head, comment: str | None) -> Snapshot:
        """Keep the state of a head under a new snapshot id."""
        snapshot = Snapshot(
            self.next_id(),
            head.aggregate_type,
            head.aggregate_id,
            head.version,
            head.state,
            head.merkle_root,
            self.now_ns,
            comment,
            head.content_slots,
        )
        put = self._transaction.put
        put(keys.snapshot(name, snapshot.snapshot_id), records.encode_snapshot(snapshot))
        put(keys.snapshot_id(snapshot.snapshot_id), name)
        return snapshot

    def remember(self, scope: bytes, digest: bytes, places: list[tuple[str, str, int]]) -> None:
        """Keep the result for a retry, and forget some that are too old."""
        millis = self.now_ns // 1_000_000
        remember(self._transaction, self._writer._store.view(), scope, digest, millis, places)

    def finish(self, *, keep_new: bool = True) -> None:
        """Put heads, indexes and tail, and make them the writer's own view of the store.

        ``keep_new`` keeps heads in memory that were not there before.
        """
        writer = self._writer
        for name, size in self._put_heads().items():
            if keep_new or writer._heads.get(name) is not None:
                writer._heads.put(name, self._moved[name][1], size)
        tail = records.Tail(self._position, self._last_id)
        if tail != writer._tail:
            writer._tail, writer._edge = tail, self._edge
            self._transaction.put(keys.tail(PARTITION), records.encode_tail(tail))

    def _put_heads(self) -> dict[bytes, int]:
        """Put what has moved; return the length of each head's record."""
        return {
            name: put_head(self._transaction, name, before, after)
            for name, (before, after) in self._moved.items()
        }


def _admit(write: DraftWrite, before: Head | None, rules: SchemaRules) -> Head:
    """Return the head to build on, or raise why the write may not happen."""
    command = write.command
    found = 0 if before is None else before.version
    if command.kind == "create" and before is not None:
        raise AlreadyExists(
            f"aggregate {command.aggregate_type}::{command.aggregate_id} already exists"
        )
    if write.expected_version is not None and write.expected_version != found:
        raise VersionConflict(write.expected_version, found)
    if before is None:
        if command.kind == "patch":
            raise AggregateNotFound()
        if command.kind == "apply":
            raise AggregateMissing(command.aggregate_type, command.aggregate_id)
        mark = rules.fold(command.aggregate_type).mark
        return new_head(command.aggregate_type, command.aggregate_id, mark)
    if before.archived and command.kind == "patch":
        raise AggregateArchived()
    return before
