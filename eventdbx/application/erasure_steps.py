"""The steps of an erasure that change aggregates: what is gone is named, states are without it."""

from __future__ import annotations

from eventdbx import limits
from eventdbx.application.erasure_reading import Left, Survey
from eventdbx.application.steps import Work
from eventdbx.domain.aggregate import Draft, Head, evolve
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.events import Actor
from eventdbx.domain.identifiers import ERASED_TYPE
from eventdbx.errors import AggregateNotFound, StorageError
from eventdbx.storage import erasures, eventlog, keys, outbox
from eventdbx.storage.erasures import Erasure, Part, Stage
from eventdbx.storage.staged import Wanted, of_aggregate, picked
from eventdbx.storage.store import Transaction


def put_erasure(transaction: Transaction, erasure: Erasure) -> Erasure:
    """Put the row of an erasure."""
    transaction.put(keys.erasure(erasure.number), erasures.encode_erasure(erasure))
    return erasure


def drop_staged(transaction: Transaction, wanted: Wanted) -> tuple[set[int], bool]:
    """Drop some of what is staged.

    Returns the slots of its keys, and whether any of it had none.
    """
    entries = picked(transaction, wanted)
    for entry in entries:
        transaction.delete(entry.key)
    return {entry.slot for entry in entries} - {0}, any(not entry.slot for entry in entries)


def erase_staged(
    wanted: Wanted, reason: str, actor: Actor | None, work: Work, transaction: Transaction
) -> Erasure:
    """Erase some of what is staged, where there are no events to erase."""
    slots, bare = drop_staged(transaction, wanted)
    erasure = Erasure(
        work.next_id(), Stage.DESTROYING, 0, tuple(sorted(slots)), bare, reason, actor
    )
    return put_erasure(transaction, erasure)


def erase_whole(
    name: bytes,
    found: Survey,
    reason: str,
    actor: Actor | None,
    work: Work,
    transaction: Transaction,
) -> Erasure:
    """Erase all that an aggregate has now."""
    before = work.load(name)
    if before is None:
        raise AggregateNotFound()
    staged, bare = drop_staged(transaction, of_aggregate(name))
    bare = bare or found.bare or not before.key_slot
    erasure = Erasure(
        work.next_id(), Stage.DESTROYING, 0, tuple(sorted(staged)), bare, reason, actor
    )
    after = work.with_new_keys(before)._replace(
        state={}, extensions={}, archive_comment=None, state_slot=0
    )
    slots = found.slots | {before.key_slot, before.state_slot}
    part = Part(name, ((1, before.version),), tuple(sorted(slots)), True, True)
    _name(work, transaction, before, after, erasure, part)
    return put_erasure(transaction, erasure)


def _name(
    work: Work,
    transaction: Transaction,
    before: Head,
    after: Head,
    erasure: Erasure,
    part: Part,
) -> None:
    """Put the events that name what is erased of an aggregate, and a head without it."""
    work.rules.references.replaced(transaction, part.name, before, after)
    scope, most = "aggregate" if part.whole else "subject", limits.ERASED_RANGES_MAX
    for at in range(0, len(part.ranges), most):
        ranges: list[JSON] = [list(pair) for pair in part.ranges[at : at + most]]
        payload: dict[str, JSON] = {
            "scope": scope, "reason": erasure.reason, "events": ranges
        }  # fmt: skip
        draft = Draft(ERASED_TYPE, None, payload, dump(payload), None, None,
                      erasure.actor, None)  # fmt: skip
        done = work.append(part.name, before, after, draft, bound=False)
        after = done.head
        part = part._replace(named_by=part.named_by or done.event.event_id)
    transaction.put(keys.erasure(erasure.number, part.name), erasures.encode_part(part))
    outbox.forget_errors(transaction, part.name)


def erase_some(
    erasure: Erasure, lefts: list[Left], work: Work, transaction: Transaction
) -> list[bytes]:
    """Erase something of aggregates; return those that have to be read again."""
    again, ranges = [], 0
    for left in lefts:
        if ranges < limits.ERASED_RANGES_MAX and _erase_one(erasure, left, work, transaction):
            ranges += len(left.ranges)
        else:
            again.append(left.name)
    return again


def _erase_one(erasure: Erasure, left: Left, work: Work, transaction: Transaction) -> bool:
    before = work.load(left.name)
    if before is None:
        raise AggregateNotFound()
    head, fold = left.head, work.rules.fold(before.aggregate_type)
    if fold.mark != head.fold_mark or before.version - head.version > limits.REFOLD_HEADS:
        return False  # It has moved on by too much since it was read.
    for version in range(head.version + 1, before.version + 1):
        event = eventlog.load_event(transaction, left.name, version)
        if event is None:
            raise StorageError(f"event v{version} of an aggregate is missing")
        head = evolve(head, event, fold)
    after = work.with_new_keys(before, state_only=True)._replace(
        state=head.state, extensions=head.extensions, archive_comment=None
    )
    prefix = keys.SNAPSHOT + left.name
    taken = next(transaction.scan(prefix, keys.after(prefix)), None)
    part = Part(left.name, left.ranges, (before.state_slot,), False, taken is None)
    _name(work, transaction, before, after, erasure, part)
    return True
