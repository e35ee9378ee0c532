"""Events that were committed elsewhere, taken in with their own ids, times and authors.

Two ways, both inside a step of the writer (``Writer.carry_out``):

- :func:`adopt` takes over an event of another store of ours verbatim: leaf, salt, hash and root
  stay what they were, an erased one stays erased.
- :func:`recreate` makes an event of what another program kept about it: its hash is ours.

No schema is asked, no plugin named, no snapshot taken. Which events, in which order, and how many
in one step is decided by who calls. The commit log is searched by ids, so they must come in an
order in which they grow (``eventlog.position_of``), until a transaction says that they begin to
grow anew (``keys.log_run``); otherwise :class:`OutOfOrder` is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eventdbx.application.drafting import subject_of
from eventdbx.application.steps import PARTITION, Work
from eventdbx.application.subjects import About
from eventdbx.domain import snowflake
from eventdbx.domain.aggregate import Draft, Head, decide, evolve, new_head
from eventdbx.domain.delivery.targets import Target
from eventdbx.domain.events import SALT_BYTES, Actor, Event
from eventdbx.domain.merkle import grown, root
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import AggregateArchived, AggregateNotFound, StorageError
from eventdbx.storage import keys, records
from eventdbx.storage.store import Transaction


class OutOfOrder(StorageError):
    """An event whose id is not greater than that of the event committed last."""


class Foreign(NamedTuple):
    """An event as another program kept it; ``created_at`` in nanoseconds since the Unix epoch."""

    aggregate_type: str
    aggregate_id: str
    version: int
    draft: Draft
    event_id: int
    created_at: int


def recreate(work: Work, transaction: Transaction, one: Foreign) -> tuple[Event, Head]:
    """Put an event of another program on top of its aggregate; return it and the head after it.

    Raises StorageError for another version than the next one, OutOfOrder, AggregateArchived.
    """
    name = keys.name(one.aggregate_type, one.aggregate_id)
    before, head = _base(work, name, one.aggregate_type, one.aggregate_id, one.version)
    head, subject_slot = _keyed(work, transaction, name, head, one.draft.subject)
    event, after = decide(
        head._replace(updated_at=None),  # Its own time, also if the one before it was later.
        one.draft,
        event_id=one.event_id,
        now_ns=one.created_at,
        salt=work._writer._entropy(SALT_BYTES),
        subject_slot=subject_slot,
    )
    _put(work, transaction, name, event)
    work.move(name, before, after)
    work.rules.references.index(transaction, name, head, one.draft.payload, after)
    return event, after


def adopt(
    work: Work, transaction: Transaction, event: Event, targets: tuple[Target, ...] = ()
) -> tuple[Event, Head]:
    """Put an event of another store of ours on top of its aggregate, as it was hashed there.

    Only the data keys that seal it are this store's, and it is for ``targets``, all without.
    Returns it and the head after it. Raises StorageError for another version than the next one, or
    when its root is not that of its aggregate's tree here; OutOfOrder, AggregateArchived.
    """
    aggregate = event.aggregate_type, event.aggregate_id
    name = keys.name(*aggregate)
    before, head = _base(work, name, *aggregate, event.version)
    head, subject_slot = _keyed(work, transaction, name, head, subject_of(event))
    frontier, nodes = grown(head.frontier, head.version, event.hash)
    if root(frontier) != event.merkle_root:
        raise _mismatch(aggregate, "merkle", event.merkle_root.hex(), root(frontier).hex())
    slots = tuple(slot for slot in (head.key_slot, subject_slot) if slot)
    adopted = event._replace(nodes=nodes, key_slots=() if event.erased else slots)
    fold = work.rules.fold(event.aggregate_type)
    after = evolve(head, adopted, fold)
    _put(work, transaction, name, adopted, targets)
    work.move(name, before, after)
    work.rules.references.index(transaction, name, head, fold.lift(adopted), after)
    return adopted, after


def adopt_archive(
    work: Work,
    transaction: Transaction,
    head: Head,
    *,
    archived_at: int,
    comment: str | None,
    actor: Actor | None = None,
) -> Head:
    """Archive an aggregate as it was elsewhere, at that time; what refers to it is not asked.

    Raises AggregateNotFound when it has no events here.
    """
    name = keys.name(head.aggregate_type, head.aggregate_id)
    before = work.load(name)
    if before is None:
        raise AggregateNotFound()
    after = before._replace(
        archived=True,
        archived_at=archived_at,
        archive_comment=comment,
        updated_at=max(archived_at, before.updated_at or 0),
    )
    work.move(name, before, after)
    audit = records.encode_audit(True, after.updated_at or 0, comment, actor, after.content_slots)
    free = _free(transaction, lambda number: keys.archive_audit(name, number), archived_at)
    transaction.put(keys.archive_audit(name, free), audit)
    return after


def adopt_snapshot(
    work: Work,
    transaction: Transaction,
    head: Head,
    *,
    snapshot_id: int | None,
    created_at: int,
    comment: str | None,
) -> Snapshot:
    """Keep the state of a head that was just put under a snapshot's own id and time.

    Without an id, one is made of its time. Raises StorageError when the id is taken.
    """
    name = keys.name(head.aggregate_type, head.aggregate_id)
    number = snapshot_id or _free(transaction, keys.snapshot_id, created_at)
    if transaction.get(keys.snapshot_id(number)) is not None:
        raise StorageError(f"there is a snapshot {number} already")
    snapshot = Snapshot(
        number,
        head.aggregate_type,
        head.aggregate_id,
        head.version,
        head.state,
        head.merkle_root,
        created_at,
        comment,
        head.content_slots,
    )
    transaction.put(keys.snapshot(name, number), records.encode_snapshot(snapshot))
    transaction.put(keys.snapshot_id(number), name)
    work._last_id = max(work._last_id, number)
    return snapshot


def _base(
    work: Work, name: bytes, aggregate_type: str, aggregate_id: str, version: int
) -> tuple[Head | None, Head]:
    """Return the head that is stored, and the one to build on."""
    before = work.load(name)
    fold = work.rules.fold(aggregate_type)
    head = new_head(aggregate_type, aggregate_id, fold.mark) if before is None else before
    if version != head.version + 1:
        names = aggregate_type, aggregate_id
        raise _mismatch(names, "version", str(head.version + 1), str(version))
    if head.archived:
        raise AggregateArchived()
    return before, head


def _keyed(
    work: Work, transaction: Transaction, name: bytes, head: Head, subject: str | None
) -> tuple[Head, int]:
    """Return the head with a data key, and the slot of that of whom the event is about."""
    writer = work._writer
    if not head.key_slot and (slot := writer._new_slot()):
        head = head._replace(key_slot=slot)
    if subject is None:
        return head, 0
    about = About(
        transaction, new_slot=writer._new_slot, next_id=work.next_id, entropy=writer._entropy
    )
    return about.note(subject, name, head)


def _put(
    work: Work,
    transaction: Transaction,
    name: bytes,
    event: Event,
    targets: tuple[Target, ...] = (),
) -> None:
    """Put the event, and its place at the end of the commit log."""
    last = 0
    begins = transaction.get(keys.log_run(PARTITION, work._position)) is not None
    if event.event_id <= work._last_id and work._position and not begins:
        record = transaction.get(keys.log(PARTITION, work._position - 1))
        last = 0 if record is None else records.decode_log(record).event_id
    if event.event_id <= last:
        raise OutOfOrder(f"event id {event.event_id} is not greater than {last}, the last one here")
    key = keys.event(name, event.version)
    transaction.put(key, records.encode_event(event))
    work._edge, nodes = grown(work._edge, work._position, event.hash)
    entry = records.LogEntry(event.event_id, key, event.hash, nodes, targets)
    transaction.put(keys.log(PARTITION, work._position), records.encode_log(entry))
    work._position += 1
    work._last_id = max(work._last_id, event.event_id)
    work.made += 1


def _free(transaction: Transaction, key_of: Callable[[int], bytes], at_ns: int) -> int:
    """Return an id of that time that nothing has yet."""
    number = max((at_ns // 1_000_000 - snowflake.EPOCH_MS) << 22, 1)
    while transaction.get(key_of(number)) is not None:
        number += 1
    return number


def _mismatch(names: tuple[str, str], what: str, expected: str, found: str) -> StorageError:
    return StorageError(
        f"imported event {what} mismatch for {'::'.join(names)} "
        f"(expected {expected}, found {found})"
    )
