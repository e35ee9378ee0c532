"""Reading the timeline out of the store: heads, events, the commit log, snapshots.

Plain functions over anything that can ``get`` (a transaction) or also ``scan`` (a view). What a
caller may see and how a page is cut is decided above.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import orjson

from eventdbx.domain import merkle
from eventdbx.domain.aggregate import PLAIN, Fold, Head, evolve, fold_extensions, new_head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Event
from eventdbx.domain.proofs import Nodes, peaks
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import StorageError
from eventdbx.storage import keys, records
from eventdbx.storage.interfaces import IReadView

U64_MAX = (1 << 64) - 1

AUDIT_PARTITION = 1
"""The log of the audit trail: who follows the log of events never meets it, nor its positions."""


class Reads(Protocol):
    """Whatever answers point reads: a view or a transaction."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a key, or None."""


class ReadsAndPuts(Reads, Protocol):
    """A step of the store."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Put a value under a key."""


def load_head(reads: Reads, name: bytes) -> Head | None:
    """Return the head under a canonical name, active or archived, or None.

    Its state is that of the fold in force when it was written; :func:`refolded` makes it that of
    another one.
    """
    record = reads.get(keys.HEAD_ACTIVE + name) or reads.get(keys.HEAD_ARCHIVED + name)
    if record is None:
        return None
    return records.decode_head(*keys.split_name(name), record)


def load_event(reads: Reads, name: bytes, version: int) -> Event | None:
    """Return one event of an aggregate, or None when the aggregate has no such version."""
    record = reads.get(keys.event(name, version))
    return None if record is None else records.decode_event(record)


def refolded(reads: Reads, head: Head, fold: Fold) -> Head:
    """Return a stored head with the state that a fold gives; itself when it has it already.

    Otherwise every event of the aggregate is read, by point reads. Of a head that has lost its
    content the extensions come back, too.
    """
    if head.fold_mark == fold.mark:
        return head
    state: dict[str, JSON] = {}
    extensions = head.extensions
    lost = head.fold_mark == records.ERASED_FOLD
    name = keys.name(head.aggregate_type, head.aggregate_id)
    for version in range(1, head.version + 1):
        event = _event(reads, name, head, version)
        payload = fold.lift(event)
        if lost and event.extensions is not None:
            extensions = fold_extensions(extensions, orjson.loads(event.extensions))
        if type(payload) is dict:
            state.update(payload)
        elif payload is not None:
            state["_value"] = payload
    return head._replace(state=state, extensions=extensions, fold_mark=fold.mark)


def _event(reads: Reads, name: bytes, head: Head, version: int) -> Event:
    event = load_event(reads, name, version)
    if event is None:
        raise StorageError(
            f"event {head.aggregate_type}::{head.aggregate_id} v{version} is missing"
        )
    return event


def at_version(
    reads: Reads, aggregate_type: str, aggregate_id: str, version: int, fold: Fold = PLAIN
) -> tuple[Event, Head]:
    """Return an event that must exist, and the head just after it."""
    name = keys.name(aggregate_type, aggregate_id)
    earlier = new_head(aggregate_type, aggregate_id, fold.mark)
    event = _event(reads, name, earlier, version)
    head = load_head(reads, name)
    if head is not None and head.version == version:
        return event, refolded(reads, head, fold)
    for number in range(1, version + 1):
        earlier = evolve(earlier, _event(reads, name, earlier, number), fold)
    return event, earlier


def heads(
    view: IReadView, *, archived: bool, aggregate_type: str | None = None, after: bytes = b""
) -> Iterator[Head]:
    """Yield heads by (type, id), beginning after a canonical name when one is given."""
    family = keys.HEAD_ARCHIVED if archived else keys.HEAD_ACTIVE
    prefix = family if aggregate_type is None else family + aggregate_type.encode() + b"\x00"
    start = max(prefix, family + after + b"\x00") if after else prefix
    for key, record in view.scan(start, keys.after(prefix)):
        yield records.decode_head(*keys.split_name(key[2:]), record)


def heads_by_time(
    view: IReadView,
    family: bytes,
    *,
    descending: bool,
    after: tuple[int, bytes] | None = None,
) -> Iterator[tuple[int, Head]]:
    """Yield (millis, head) along a timestamp index, beyond a (millis, name) when one is given."""
    start, stop = family, keys.after(family)
    if after is not None:
        place = keys.by_time(family, *after)
        start, stop = (start, place) if descending else (place + b"\x00", stop)
    for key, _empty in view.scan(start, stop, reverse=descending):
        millis, name = keys.split_time(key)
        head = load_head(view, name)
        if head is None:
            raise StorageError("a timestamp index names an aggregate that does not exist")
        yield millis, head


def event_records(
    view: IReadView, name: bytes, *, after: int = 0, until: int = U64_MAX
) -> Iterator[tuple[int, bytes]]:
    """Yield (version, record) of an aggregate's events with after < version <= until."""
    start = keys.event(name, after + 1)
    stop = keys.event(name, until) + b"\x00"
    for key, record in view.scan(start, stop):
        yield keys.event_version(key), record


def events(
    view: IReadView, name: bytes, *, after: int = 0, until: int = U64_MAX
) -> Iterator[Event]:
    """Yield an aggregate's events with after < version <= until, oldest first."""
    for _version, record in event_records(view, name, after=after, until=until):
        yield records.decode_event(record)


def log_entries(
    view: IReadView, partition: int, *, start: int
) -> Iterator[tuple[int, records.LogEntry]]:
    """Yield (position, entry) of the commit log from a position on."""
    first = keys.log(partition, start)
    last = keys.log(partition, U64_MAX) + b"\x00"
    for key, record in view.scan(first, last):
        yield keys.log_position(key), records.decode_log(record)


def end_position(reads: Reads, partition: int) -> int:
    """Return the position that the next event of a partition will have."""
    return records.decode_tail(reads.get(keys.tail(partition))).next_position


def log_nodes(reads: Reads, partition: int) -> Nodes:
    """Return the look-up of complete subtrees of a partition's tree; one point read for each.

    The look-up raises StorageError where the log has no such entry.
    """

    def node(level: int, index: int) -> bytes:
        position = ((index + 1) << level) - 1
        record = reads.get(keys.log(partition, position))
        if record is None:
            raise StorageError(f"the commit log has no position {position}")
        entry = records.decode_log(record)
        if not level:
            return entry.leaf
        if level > len(entry.nodes):
            raise StorageError(f"the commit log lacks hashes at position {position}")
        return entry.nodes[level - 1]

    return node


def event_nodes(reads: Reads, name: bytes) -> Nodes:
    """Return the look-up of complete subtrees of an aggregate's tree, as :func:`log_nodes`."""

    def node(level: int, index: int) -> bytes:
        version = (index + 1) << level
        event = load_event(reads, name, version)
        if event is None:
            raise StorageError(f"event v{version} of an aggregate is missing")
        return event.nodes[level - 1] if level else event.hash

    return node


def log_edge(reads: Reads, partition: int, size: int) -> merkle.Range:
    """Return the compact range of a partition's first entries, by O(log n) point reads."""
    node = log_nodes(reads, partition)
    return tuple([node(*place) for place in peaks(size)])


def put_audited(step: ReadsAndPuts, event: Event, event_key: bytes) -> None:
    """Put an event of the audit trail at the end of the trail's own log."""
    position = end_position(step, AUDIT_PARTITION)
    edge = log_edge(step, AUDIT_PARTITION, position)
    nodes = merkle.grown(edge, position, event.hash)[1]
    entry = records.LogEntry(event.event_id, event_key, event.hash, nodes)
    step.put(keys.log(AUDIT_PARTITION, position), records.encode_log(entry))
    tail = records.Tail(position + 1, event.event_id)
    step.put(keys.tail(AUDIT_PARTITION), records.encode_tail(tail))


def log_runs(view: IReadView, partition: int) -> list[tuple[int, int]]:
    """Return the stretches (start, end) of a log in each of which ids grow, in their order.

    There is one, but for logs that another domain was merged into: its events keep their ids.
    """
    first, last = keys.log_run(partition, 0), keys.log_run(partition, U64_MAX)
    starts = [0, *(keys.log_position(key) for key, _empty in view.scan(first, last))]
    return list(zip(starts, [*starts[1:], end_position(view, partition)], strict=True))


def position_of(
    view: IReadView, partition: int, event_id: int, event_key: bytes | None = None
) -> int | None:
    """Return where the event with an id stands in a log, by O(log n) point reads, or None.

    Of two with one id, which only merged domains can have, the first, or that with a key.
    """
    for start, end in log_runs(view, partition):
        position, entry = _search(view, partition, start, end, event_id - 1)
        if entry is not None and entry.event_id == event_id:
            if event_key is None or event_key == entry.event_key:
                return position
    return None


def place_of(view: IReadView, partition: int, event: Event) -> int:
    """Return where an event that was committed stands in its log. Raises StorageError."""
    name = keys.name(event.aggregate_type, event.aggregate_id)
    key = keys.event(name, event.version)
    position = position_of(view, partition, event.event_id, key)
    if position is None:
        raise StorageError(f"the commit log does not have event {event.event_id}")
    return position


def position_after_id(view: IReadView, partition: int, event_id: int) -> int:
    """Return the position behind the event with an id.

    For an id that no event has: the first position, of those that were committed here last, whose
    id is greater.
    """
    start, end = log_runs(view, partition)[-1]
    if not start:
        return _search(view, partition, 0, end, event_id)[0]
    found = position_of(view, partition, event_id)
    return _search(view, partition, start, end, event_id)[0] if found is None else found + 1


def _search(
    view: IReadView, partition: int, low: int, high: int, event_id: int
) -> tuple[int, records.LogEntry | None]:
    """Return the first position of a stretch whose event id is greater, and its entry.

    There is none at the end. Ids handed out here grow with the position, across restarts and
    clock steps.
    """
    found: records.LogEntry | None = None
    while low < high:
        middle = (low + high) // 2
        record = view.get(keys.log(partition, middle))
        if record is None:
            raise StorageError(f"the commit log has no position {middle}")
        entry = records.decode_log(record)
        if entry.event_id > event_id:
            high, found = middle, entry
        else:
            low = middle + 1
    return low, found


def greatest_id(view: IReadView, partition: int, position: int) -> int:
    """Return the greatest id in front of a position of a log, 0 for none. Raises StorageError."""
    greatest = 0
    runs = log_runs(view, partition)
    for start, end in runs:
        last = position if (start, end) == runs[-1] else min(end, position)
        if start < last:
            record = view.get(keys.log(partition, last - 1))
            if record is None:
                raise StorageError(f"the commit log has no position {last - 1}")
            greatest = max(greatest, records.decode_log(record).event_id)
    return greatest


class Before:
    """Which events stand in front of a position of a log, asked by their records.

    Raises StorageError when the log does not reach so far.
    """

    def __init__(self, view: IReadView, partition: int, position: int) -> None:
        self._view = view
        self._partition = partition
        self._position = position
        self._in_order = len(log_runs(view, partition)) == 1
        self._greatest = greatest_id(view, partition, position)

    def __call__(self, event_key: bytes, record: bytes) -> bool:
        """Say whether an event does."""
        event_id = records.event_id_of(record)
        if self._in_order or event_id > self._greatest:
            return event_id <= self._greatest
        position = position_of(self._view, self._partition, event_id, event_key)
        return position is not None and position < self._position


def snapshots(
    view: IReadView, aggregate_type: str | None, aggregate_id: str | None
) -> Iterator[Snapshot]:
    """Yield snapshots by (type, id, time), of everything, a type, or one aggregate."""
    prefix = keys.SNAPSHOT
    if aggregate_type is not None:
        prefix += aggregate_type.encode() + b"\x00"
        if aggregate_id is not None:
            prefix += aggregate_id.encode() + b"\x00"
    for key, record in view.scan(prefix, keys.after(prefix)):
        names = keys.split_name(key[1:])
        yield records.decode_snapshot(*names, int.from_bytes(key[-8:], "big"), record)


def snapshot_by_id(view: IReadView, snapshot_id: int) -> Snapshot | None:
    """Return the snapshot with an id, or None."""
    name = view.get(keys.snapshot_id(snapshot_id))
    if name is None:
        return None
    record = view.get(keys.snapshot(name, snapshot_id))
    if record is None:
        raise StorageError(f"snapshot {snapshot_id} is indexed but missing")
    return records.decode_snapshot(*keys.split_name(name), snapshot_id, record)
