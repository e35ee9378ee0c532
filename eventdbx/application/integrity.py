"""Verification: every hash computed again from the stored bytes.

Nothing stored is believed: versions must be contiguous, each leaf must be what its payload,
metadata and fields give, each root the root of the leaves up to it, the head what its events fold
to, the commit log must name exactly the events that exist, and the index of referrers exactly
the references of the states.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import NamedTuple

from eventdbx.application.referrers import verify_referrers
from eventdbx.application.rules import InForce
from eventdbx.application.views import Views
from eventdbx.domain.aggregate import PLAIN, Fold, Head, evolve, new_head
from eventdbx.domain.merkle import Range, grown, root
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.errors import AggregateNotFound, StorageError
from eventdbx.storage import catalog, eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

PARTITION = 0
INDEX_FINDINGS_MAX = 100

_HIDDEN_FAULT = (
    "storage error: integrity check failed: the index of referrers is wrong about a hidden type"
)


class Checked(NamedTuple):
    """One aggregate that verified."""

    aggregate_type: str
    aggregate_id: str
    version: int
    merkle_root: bytes


class Finding(NamedTuple):
    """One aggregate, or place in the commit log, that did not verify."""

    aggregate_type: str
    aggregate_id: str
    version: int
    message: str


def verify_aggregate(
    view: IReadView, aggregate_type: str, aggregate_id: str, fold: Fold = PLAIN
) -> Checked:
    """Return the recomputed root of an aggregate, whose type's fold in force is given.

    Raises AggregateNotFound, or StorageError naming the first bad version.
    """
    name = keys.name(aggregate_type, aggregate_id)
    try:
        stored = eventlog.load_head(view, name)
    except StorageError as error:
        raise _failure(aggregate_type, aggregate_id, 0, error.detail) from None
    if stored is None:
        raise AggregateNotFound()
    if stored.fold_mark != fold.mark:
        fold = PLAIN
    head = new_head(aggregate_type, aggregate_id, fold.mark)
    for version, record in eventlog.event_records(view, name):
        try:
            head = _next(head, version, record, fold)
        except StorageError as error:
            at = head.version + 1
            raise _failure(aggregate_type, aggregate_id, at, error.detail) from None
    problem = _compare(stored, head)
    if problem is not None:
        raise _failure(aggregate_type, aggregate_id, min(stored.version, head.version + 1), problem)
    return Checked(aggregate_type, aggregate_id, head.version, root(head.frontier))


def _next(head: Head, version: int, record: bytes, fold: Fold) -> Head:
    if version != head.version + 1:
        raise StorageError(f"event is missing, the next one stored is version {version}")
    event = records.check_event(record)
    if (event.aggregate_type, event.aggregate_id, event.version) != (
        head.aggregate_type,
        head.aggregate_id,
        version,
    ):
        raise StorageError("event lies under another aggregate's or version's key")
    after = evolve(head, event, fold)
    if event.nodes != grown(head.frontier, head.version, event.hash)[1]:
        raise StorageError("hashes of the merkle tree differ from the events up to here")
    if root(after.frontier) != event.merkle_root:
        raise StorageError("merkle root differs from the events up to here")
    return after


def _compare(stored: Head, head: Head) -> str | None:
    """Return what the stored head gets wrong about its own events, or None."""
    if stored.version != head.version:
        return f"the head is at version {stored.version}, the events end at {head.version}"
    if stored.merkle_root != root(head.frontier) or stored.frontier != head.frontier:
        return "the head's merkle root differs from its events"
    # A state that upcasters made which are in force no more is folded again before it is read.
    if stored.fold_mark == head.fold_mark and stored.state != head.state:
        return "the state differs from what the events fold to"
    if stored.extensions != head.extensions:
        return "the extensions differ from what the events fold to"
    return None


def _failure(aggregate_type: str, aggregate_id: str, version: int, why: str) -> StorageError:
    return StorageError(
        f"integrity check failed for {aggregate_type}::{aggregate_id} at version {version}: {why}"
    )


def verify_aggregates(
    view: IReadView,
    views: Views,
    *,
    after: bytes = b"",
    archived: bool = False,
    shows: Callable[[str], bool] = lambda _aggregate_type: True,
) -> Iterator[Checked | Finding]:
    """Check every aggregate in natural order, from a canonical name on.

    Yields as it goes, so that the caller sets the pace and can resume. Types that ``shows`` says
    no of are left out.
    """
    for family in (False, True):
        if archived and not family:
            continue
        prefix = keys.HEAD_ARCHIVED if family else keys.HEAD_ACTIVE
        start = prefix + after + b"\x00" if after and family == archived else prefix
        for names in _names(view, start, prefix, shows):
            try:
                yield verify_aggregate(view, *names, views.fold(names[0]))
            except StorageError as error:
                yield Finding(*names, 0, str(error))


def verify_rest(
    view: IReadView,
    *,
    domain: str,
    shows: Callable[[str], bool] = lambda _aggregate_type: True,
) -> Iterator[Finding]:
    """Check what is no aggregate's own: the commit log, and the index of referrers.

    Both are checked whole; types that ``shows`` says no of are not named. Of an index that is
    wrong altogether only the beginning is told.
    """
    for finding in verify_log(view):
        yield (
            finding
            if shows(finding.aggregate_type)
            else finding._replace(aggregate_type="", aggregate_id="")
        )
    faults = verify_referrers(view, stored_set(view), domain=domain)
    for fault in islice(faults, INDEX_FINDINGS_MAX):
        target, referrer, _missing = fault
        if shows(target.aggregate_type) and shows(referrer.aggregate_type):
            yield Finding(referrer.aggregate_type, referrer.aggregate_id, 0, fault.message)
        else:
            yield Finding("", "", 0, _HIDDEN_FAULT)


def stored_set(view: IReadView) -> InForce:
    """Return the schemas that were in force when a view was taken, not compiled."""
    text = catalog.load_set(view)
    return InForce({} if text is None else read_schemas(text, now_ns=0)[0], {}, "")


def _names(
    view: IReadView, start: bytes, prefix: bytes, shows: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """Yield the names of the heads of a family, stepping over types that are not shown."""
    while True:
        for key, _record in view.scan(start, keys.after(prefix)):
            names = keys.split_name(key[2:])
            if not shows(names[0]):
                start = prefix + names[0].encode() + b"\x01"
                break
            yield names
        else:
            return


def verify_log(view: IReadView) -> Iterator[Finding]:
    """Check the commit log: positions without a gap, each naming an event that exists, and
    as many of them as there are events. The audit trail has a log of its own."""
    logged = yield from _verify_partition(view, PARTITION)
    logged += yield from _verify_partition(view, eventlog.AUDIT_PARTITION)
    total = sum(1 for _ in view.scan(keys.EVENT, keys.after(keys.EVENT)))
    if total != logged:
        yield Finding(
            "", "", 0,
            f"storage error: integrity check failed: {total} events stored, "
            f"{logged} in the commit log",
        )  # fmt: skip


def _verify_partition(view: IReadView, partition: int) -> Generator[Finding, None, int]:
    """Check the log of one partition; return how many events it should name."""
    expected, last_id = 0, 0
    edge: Range | None = ()  # None: what the tree should be from here on cannot be told.
    start, stop = keys.log(partition, 0), keys.log(partition, eventlog.U64_MAX) + b"\x00"
    for key, record in view.scan(start, stop):
        position = keys.log_position(key)
        where = f"storage error: integrity check failed for position {position}: "
        if position != expected:
            yield Finding("", "", 0, f"{where}position {expected} is missing")
            edge = None
        expected = position + 1
        try:
            entry = records.decode_log(record)
            names = keys.split_name(entry.event_key[1:])
            version = keys.event_version(entry.event_key)
        except (StorageError, ValueError) as error:
            edge = None
            yield Finding("", "", 0, f"{where}{getattr(error, 'detail', 'unreadable name')}")
            continue
        problem = _entry_problem(view.get(entry.event_key), entry, last_id)
        if edge is not None:
            edge, nodes = grown(edge, position, entry.leaf)
            if problem is None and nodes != entry.nodes:
                problem = "hashes of the log's tree differ from the events up to here"
        if problem is not None:
            yield Finding(*names, version, where + problem)
        last_id = max(last_id, entry.event_id)
    return expected


def _entry_problem(record: bytes | None, entry: records.LogEntry, last_id: int) -> str | None:
    """Return what is wrong with an entry of the log beside the record of its event, or None."""
    if record is None:
        return "its event is missing"
    if entry.event_id <= last_id:
        return "event ids go backwards"
    try:
        event = records.decode_event(record)
    except StorageError as error:
        return error.detail
    if (event.event_id, event.hash) != (entry.event_id, entry.leaf):
        return "its event is another one than that which was committed there"
    return None
