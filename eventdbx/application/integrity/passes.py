"""One pass over a whole store, in stages that can be gone on with from any record.

A pass reads every record once, in the order of :data:`STAGES`, and yields as it goes: whoever runs
it sets the pace, and may go on later, with a newer view, from the :class:`Place` it had come to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

from eventdbx.application.headchecks import (
    Said,
    Tally,
    begin_tally,
    check_buckets,
    check_entries,
    check_tally,
    check_top,
)
from eventdbx.application.integrity.aggregates import check_aggregate
from eventdbx.application.integrity.anchors import (
    NO_ANCHORS,
    Anchors,
    check_checkpoints,
    check_kept,
)
from eventdbx.application.integrity.events import check_count, check_owners
from eventdbx.application.integrity.findings import (
    FINDINGS_OF_ONE_MAX,
    Checked,
    Finding,
    Found,
    beside,
    elsewhere,
)
from eventdbx.application.integrity.logs import check_log
from eventdbx.application.integrity.reading import Damage, Owners, readable
from eventdbx.application.integrity.rows import check_rows
from eventdbx.application.integrity.snapshots import check_snapshot_ids, check_snapshot_owners
from eventdbx.application.integrity.times import FAMILIES, check_note_owners, check_time_indexes
from eventdbx.application.referrers import verify_referrers
from eventdbx.application.rules import InForce
from eventdbx.application.views import Views
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.errors import AggregateNotFound, StorageError
from eventdbx.storage import catalog, eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

LOG_STEP = 256
"""Positions of the log that are checked in one go."""

INDEX_FINDINGS_MAX = 100

Outcome: TypeAlias = "Checked | Finding | int"
"""An aggregate that verified, something that did not, or how many bytes were read."""

Shows = Callable[[str], bool]


def show_all(_aggregate_type: str) -> bool:
    """Show every type."""
    return True


class Place(NamedTuple):
    """Where a pass stands: everything up to a key of a stage is checked.

    ``counted`` events so far were committed before the count began, ``logged`` there should be;
    the last of them has the id ``bound``.
    """

    stage: int = 0
    key: bytes = b""
    counted: int = 0
    logged: int = 0
    bound: int = 0


START = Place()


class Task(NamedTuple):
    """What a pass needs to know beside the store: folds in force, names, signatures that count."""

    views: Views
    domain: str
    anchors: Anchors = NO_ANCHORS
    shows: Shows = show_all


Step: TypeAlias = "tuple[Place, Outcome]"
Stage: TypeAlias = "Callable[[IReadView, Task, Place], Iterator[tuple[bytes, Outcome] | Step]]"


def walk(view: IReadView, task: Task, place: Place = START) -> Iterator[Step]:
    """Yield (place, outcome) until everything behind a place has been checked.

    The pass can go on from a place once a step has another one.
    """
    for number in range(place.stage, len(STAGES)):
        if number != place.stage:
            place = place._replace(stage=number, key=b"")
        try:
            for at, outcome in STAGES[number](view, task, place):
                place = at if isinstance(at, Place) else place._replace(key=at)
                yield place, outcome
        except StorageError as error:
            if "closed" in error.detail:
                raise
            what = _WHOLE.get(STAGES[number], f"stage {number + 1}")
            finding = elsewhere(what, f"it cannot be checked to its end: {error.detail}")
            names = _named_by(getattr(error, "key", None))
            yield place, finding._replace(aggregate_type=names[0], aggregate_id=names[1])


def _named_by(key: bytes | None) -> tuple[str, str]:
    """Return the names of the aggregate of a damaged record, which the reason names, too."""
    if key is None or not key.startswith((keys.EVENT, b"h")):
        return "", ""
    return keys.split_name(key[1 if key.startswith(keys.EVENT) else 2 :])


def _aggregates(archived: bool) -> Stage:
    def stage(view: IReadView, task: Task, place: Place) -> Iterator[tuple[bytes, Outcome]]:
        prefix = keys.HEAD_ARCHIVED if archived else keys.HEAD_ACTIVE
        snapshots, notes = Owners(view, keys.SNAPSHOT), Owners(view, keys.ARCHIVE_AUDIT)
        for name in _names(view, prefix, place.key, task.shows):
            if isinstance(name, Damage):
                yield name.stop[2:], elsewhere(name.called("heads"), name.why)
                continue
            names = keys.split_name(name)
            kept = snapshots.has(name), notes.has(name)
            yield from ((name, outcome) for outcome in aggregate(view, names, task.views, kept))

    return stage


def aggregate(
    view: IReadView, names: tuple[str, str], views: Views, kept: tuple[bool, bool] = (True, True)
) -> Iterator[Outcome]:
    """Yield what there is to say about one aggregate; ``kept``: it may have snapshots, notes."""
    fold = views.fold(names[0])
    checking = check_aggregate(view, *names, fold, snapshots=kept[0], notes=kept[1])
    told = 0
    while True:
        try:
            found = next(checking)
        except StopIteration as end:
            if end.value is not None:
                yield end.value
            return
        except AggregateNotFound:
            return
        except StorageError as error:
            if "closed" in error.detail:
                raise
            yield beside(*names, f"head {'::'.join(names)}", error.detail)
            return
        told += isinstance(found, Finding)
        if told <= FINDINGS_OF_ONE_MAX:
            yield found


def _names(view: IReadView, prefix: bytes, after: bytes, shows: Shows) -> Iterator[bytes | Damage]:
    """Yield the names of the heads of a family, stepping over types that are not shown."""
    start = prefix + after + b"\x00" if after else prefix
    while True:
        for item in readable(view, start, keys.after(prefix)):
            key = item.key if isinstance(item, Damage) else item[0]
            if key is None:
                assert isinstance(item, Damage)
                yield item
                continue
            aggregate_type, _id = keys.split_name(key[2:])
            if not shows(aggregate_type):
                start = prefix + aggregate_type.encode() + b"\x01"
                break
            yield key[2:]
        else:
            return


def _log(partition: int) -> Stage:
    def stage(view: IReadView, task: Task, place: Place) -> Iterator[tuple[bytes, Outcome]]:
        start = int.from_bytes(place.key, "big") if place.key else 0
        end = eventlog.end_position(view, partition)
        while start < end:
            stop = start + LOG_STEP
            last = None if stop >= end else stop
            for found in check_log(view, partition, start, last, task.shows):
                yield stop.to_bytes(8, "big"), found
            start = stop
        if not end:
            yield from ((b"", found) for found in check_log(view, partition))

    return stage


def _events(view: IReadView, _task: Task, place: Place) -> Iterator[Step]:
    """Count the events that there were when this stage began, and look for their heads."""
    if not place.key:
        tails = [records.decode_tail(view.get(keys.tail(number))) for number in (0, 1)]
        logged = sum(tail.next_position for tail in tails)
        place = place._replace(counted=0, logged=logged, bound=max(t.last_id for t in tails))
    start = place.key + b"\x00" if place.key else keys.EVENT
    damaged = False
    for key, found in check_owners(view, start):
        place = place._replace(key=key)
        if isinstance(found, Finding):
            damaged = damaged or found.record.startswith("events ")
            yield place, found
        elif isinstance(found, bytes):
            place = place._replace(counted=place.counted + _before(found, place.bound))
            yield place, len(found)
    if not damaged:
        yield from ((place, one) for one in check_count(view, place.counted, place.logged))


def _before(record: bytes, bound: int) -> bool:
    try:
        return records.event_id_of(record) <= bound
    except StorageError:
        return True  # Damaged, which is said elsewhere; it is there.


Rest = Callable[[IReadView, bytes], "Iterator[tuple[bytes, Found]]"]


def _scanned(prefix: bytes, check: Rest) -> Stage:
    def stage(view: IReadView, _task: Task, place: Place) -> Iterator[tuple[bytes, Outcome]]:
        return check(view, place.key + b"\x00" if place.key else prefix)

    return stage


def _time_index(family: bytes) -> Stage:
    return _scanned(family, lambda view, start: check_time_indexes(view, family, start))


def _referrers(view: IReadView, task: Task, _place: Place) -> Iterator[tuple[bytes, Outcome]]:
    faults = verify_referrers(view, stored_set(view), domain=task.domain)
    for target, referrer, missing in islice(faults, INDEX_FINDINGS_MAX):
        what = "lacks" if missing else "holds what no state says,"
        why = f"the index of referrers {what} {target} at {referrer.path}"
        names = referrer.aggregate_type, referrer.aggregate_id
        finding = beside(*names, "::".join(names), why)
        if not task.shows(target.aggregate_type):
            finding = finding._replace(aggregate_type=target.aggregate_type)
        yield b"", finding


def stored_set(view: IReadView) -> InForce:
    """Return the schemas that were in force when a view was taken, not compiled."""
    text = catalog.load_set(view)
    return InForce({} if text is None else read_schemas(text, now_ns=0)[0], {}, "")


def _map_buckets(view: IReadView, _task: Task, place: Place) -> Iterator[tuple[bytes, Outcome]]:
    # The top is checked in one go, and under a key of its own: a page may end behind it.
    if not place.key:
        yield from ((keys.MAP_PLACE, _of_map(said)) for said in check_top(view))
    after = b"" if place.key == keys.MAP_PLACE else place.key
    yield from ((key, _of_map(said)) for key, said in check_buckets(view, after))


def _map_entries(view: IReadView, _task: Task, place: Place) -> Iterator[Step]:
    """Hold the aggregates that there were when this stage began against their entries."""
    tally = begin_tally(view)
    if place.key:
        tally = Tally(place.logged, place.bound, place.counted)
    for name, now, said in check_entries(view, place.key, tally):
        tally = now
        place = Place(place.stage, name, now.met, now.aggregates, now.bound)
        yield place, _of_map(said)
    yield from ((place, _of_map(fault)) for fault in check_tally(view, tally))


def _of_map(said: Said) -> Found:
    return said if isinstance(said, int) else Finding(*said)


def _checkpoints(partition: int) -> Stage:
    def stage(view: IReadView, task: Task, place: Place) -> Iterator[tuple[bytes, Outcome]]:
        start = int.from_bytes(place.key, "big") + 1 if place.key else 0
        for size, found in check_checkpoints(view, partition, task.anchors, start):
            yield size.to_bytes(8, "big"), found

    return stage


def _kept(view: IReadView, task: Task, _place: Place) -> Iterator[tuple[bytes, Outcome]]:
    yield from ((b"", finding) for finding in check_kept(view, task.anchors))


STAGES: tuple[Stage, ...] = (
    _aggregates(archived=False),
    _aggregates(archived=True),
    _log(0),
    _log(eventlog.AUDIT_PARTITION),
    _events,
    _scanned(keys.SNAPSHOT, check_snapshot_owners),
    _scanned(keys.SNAPSHOT_ID, check_snapshot_ids),
    _scanned(keys.ARCHIVE_AUDIT, check_note_owners),
    *(_time_index(family) for family in FAMILIES),
    _scanned(b"", check_rows),
    _map_buckets,
    _map_entries,
    _referrers,
    _checkpoints(0),
    _checkpoints(eventlog.AUDIT_PARTITION),
    _kept,
)
"""All of a pass, in this order: what belongs to aggregates, then what does not."""

_WHOLE: dict[Stage, str] = {_map_entries: "head map", _referrers: "index of referrers"}
"""What is checked as a whole, and cannot be where the events or heads that it follows cannot be
read."""

REST = 2
"""The first stage that is no aggregate's own."""
