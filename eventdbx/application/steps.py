"""One step of the writer: what it changes, event by event, and how that reaches the store.

Everything here runs inside a transaction. What a step is for is said by the methods of
:class:`eventdbx.application.writer.Writer`, and by those who give it steps of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventdbx.application.authorising import Authorise, as_audit_trail, authorise_write
from eventdbx.application.drafting import DraftWrite
from eventdbx.application.headrecords import put_head
from eventdbx.application.idempotency import recall, remember, request_digest, scope_digest
from eventdbx.application.patching import about_same, split_by_subject
from eventdbx.application.rules import SchemaRules
from eventdbx.application.subjects import About
from eventdbx.domain import snowflake
from eventdbx.domain.aggregate import Draft, Fold, Head, decide, new_head
from eventdbx.domain.delivery.targets import Target
from eventdbx.domain.events import SALT_BYTES, Event
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.merkle import grown
from eventdbx.domain.patches import apply_patch
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import (
    AggregateArchived,
    AggregateMissing,
    AggregateNotFound,
    AlreadyExists,
    VersionConflict,
)
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.store import Transaction

if TYPE_CHECKING:
    from eventdbx.application.writer import Writer

PARTITION = 0
"""That of everything but the audit trail (docs/storage-format.md)."""


class Committed:
    """An event and the head that it led to; the head of a retried write is folded when asked.

    ``snapshot_id`` is that of the snapshot that was taken because it was time for one, or 0.
    """

    __slots__ = ("_fold", "_head", "event", "snapshot_id")

    def __init__(
        self,
        event: Event,
        head: Head | None,
        fold: Callable[[], Head] | None = None,
        snapshot_id: int = 0,
    ) -> None:
        self.event = event
        self.snapshot_id = snapshot_id
        self._head = head
        self._fold = fold

    @property
    def head(self) -> Head:
        """The aggregate just after the event."""
        if self._head is None:
            assert self._fold is not None
            self._head = self._fold()
        return self._head


class Work:
    """What one step changes; reaches the writer's own memory only when the step succeeds.

    Heads and indexes are put once per step, however many events of an aggregate it holds.
    ``new_slot`` takes the place of the writer's where nothing of it will be kept.
    """

    __slots__ = (
        "_edge", "_last_id", "_moved", "_position", "_transaction", "_writer", "made", "new_slot",
        "now_ns",
    )  # fmt: skip

    def __init__(
        self,
        writer: Writer,
        transaction: Transaction,
        new_slot: Callable[[], int] | None = None,
    ) -> None:
        self._writer = writer
        self.new_slot = new_slot or writer._new_slot
        self._transaction = transaction
        self._moved: dict[bytes, tuple[Head | None, Head]] = {}
        self._position, self._last_id = writer._tail
        self._edge = writer._edge
        self.now_ns, self.made = writer._clock_ns(), 0

    @property
    def rules(self) -> SchemaRules:
        """What the schemas in force demand."""
        return self._writer.rules

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
        if head is None or not (head.fold_mark or self._writer.rules.upcasts):
            return head
        fold = self._writer.rules.fold(head.aggregate_type)
        return head if head.fold_mark == fold.mark else self._refold(name, fold)

    def _refold(self, name: bytes, fold: Fold) -> Head:
        """Put the state of a head right that other upcasters made, for good."""
        stored = eventlog.load_head(self._transaction, name)  # Newer than in memory, perhaps.
        assert stored is not None, "a head in memory is not in the store"
        head = eventlog.refolded(self._transaction, stored, fold)
        if head is not stored:
            head = self._resealed(stored, head)
            self._writer.rules.references.refolded(self._transaction, name, stored, head)
            self.move(name, stored, head)
        return head

    def _resealed(self, stored: Head, head: Head) -> Head:
        """Return a head that was folded anew; with other keys, if its own are destroyed."""
        if stored.fold_mark != records.ERASED_FOLD:
            return head
        return self.with_new_keys(head)

    def with_new_keys(self, head: Head, *, state_only: bool = False) -> Head:
        """Return a head with new keys in place of those that it has, or of that of its state."""
        new_slot = self.new_slot
        return head._replace(
            key_slot=(state_only and head.key_slot) or new_slot(),
            state_slot=new_slot() if head.state_slot else 0,
        )

    def put_fold(self, folded: Head) -> None:
        """Give the stored head a state that was folded from the same events elsewhere."""
        name = keys.name(folded.aggregate_type, folded.aggregate_id)
        stored = eventlog.load_head(self._transaction, name)
        if stored is None or stored.version != folded.version:
            return
        if stored.fold_mark != folded.fold_mark == self._writer.rules.fold(stored[0]).mark:
            head = stored._replace(
                state=folded.state, extensions=folded.extensions, fold_mark=folded.fold_mark
            )
            head = self._resealed(stored, head)
            self._writer.rules.references.refolded(self._transaction, name, stored, head)
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
        quota = self._writer.quota
        if quota is not None and authorise is not as_audit_trail:
            quota.check()
        named = command.publish_targets
        targets = self._writer._check_targets(named) if named else ()
        before = self.load(name)
        head = _admit(write, before, self._writer.rules)
        draft, under = write.draft, None
        if command.kind == "patch":
            under = head.state
            operations, draft = draft.payload, write.with_payload(apply_patch(under, draft.payload))
            draft = about_same(self._transaction, name, head, draft, operations, self.rules.fold)
        rules = self._writer.rules
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
        # One from before anything was sealed may not have been come to yet by who seals that.
        if not head.key_slot and (slot := self.new_slot()):
            head = head._replace(key_slot=slot)
        subject_slot = 0
        if draft.subject is not None:
            about = About(
                self._transaction,
                new_slot=self.new_slot,
                next_id=self.next_id,
                entropy=writer._entropy,
            )
            head, subject_slot = about.note(draft.subject, name, head)
        event, after = decide(
            head,
            draft,
            event_id=self.next_id(),
            now_ns=self.now_ns,
            salt=writer._entropy(SALT_BYTES),
            subject_slot=subject_slot,
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
        snapshot_id = 0
        if bound:
            rules = writer.rules
            rules.references.index(self._transaction, name, head, draft.payload, after)
            every = rules.snapshot_threshold(head.aggregate_type)
            if every and event.version % every == 0:
                taken = self.snapshot(name, after, f"auto snapshot v{event.version}")
                snapshot_id = taken.snapshot_id
        return Committed(event, after, snapshot_id=snapshot_id)

    def clear(self, name: bytes, before: Head, draft: Draft) -> None:
        """Put what sets references of an aggregate to null; about whom their objects are."""
        head = before
        fold_of = self._writer.rules.fold
        for one in split_by_subject(self._transaction, name, before, draft, fold_of):
            head = self.append(name, before, head, one).head

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
