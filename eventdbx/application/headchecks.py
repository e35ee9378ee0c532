"""The head map computed again: from the events that lie in the store, not from what is kept.

The map must have exactly one entry for each aggregate that had events at its position, with the
version and root that it had there; its buckets must be as they are written, and their hashes must
lead to its root. One entry is held against one aggregate at a time, so memory does not grow.

Each of the checks is of some of the map, and can be gone on with on a later view: the map may have
been advanced by then. :func:`verify_head_map` is all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from eventdbx.domain.headmap import (
    ENTRY_BYTES,
    HASH_BYTES,
    Summary,
    entry,
    split_entry,
    summary_hash,
)
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, headmap, keys, records
from eventdbx.storage.headmap import BUCKETS, PARTITION
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import DamagedRecord

_WHOLE = "head map"
EVENTS_READ = 16
"""Of one aggregate in a row; a search for the newest one costs as much."""

_AUDIT = keys.EVENT + AUDIT_TYPE.encode() + b"\x00"


class Fault(NamedTuple):
    """What is wrong with the map, and which aggregate it is about; no names where it is none."""

    aggregate_type: str
    aggregate_id: str
    version: int
    message: str
    record: str


Said: TypeAlias = "Fault | int"
"""What checks yield: a fault, or how many bytes were read."""


class Tally(NamedTuple):
    """Of how many aggregates the map was when a count began, and how many were met since.

    They have an event in front of the position ``bound``; there will never be more of them.
    """

    aggregates: int = 0
    bound: int = 0
    met: int = 0


def verify_head_map(view: IReadView) -> Iterator[Said]:
    """Yield what is wrong with the head map, and in between how many bytes were read.

    A map that was never asked for is right. What is wrong with the events themselves, and with the
    log, is said where those are verified.
    """
    yield from check_top(view)
    for _key, said in check_buckets(view, b""):
        yield said
    begun = tally = begin_tally(view)
    for _key, now, said in check_entries(view, b"", begun):
        tally = now
        yield said
    yield from check_tally(view, tally)


def check_top(view: IReadView) -> Iterator[Said]:
    """Check that the buckets, as they say they are, lead to the root that is kept."""
    try:
        place = headmap.load_place(view)
        _before(view, place.position)
    except StorageError as error:
        yield _fault(error.detail)
        return
    summaries: dict[int, Summary] = {}
    kept = 0
    for number, record in _buckets(view):
        if isinstance(record, bytes):
            yield len(record)
            try:
                summaries[number] = headmap.summary_of(record)
                kept += len(record) // ENTRY_BYTES
            except StorageError:
                pass  # Said where each bucket is checked.
    if summary_hash(headmap.Top().changed(summaries).get(1, b"")) != place.root:
        yield _fault("its buckets do not lead to its root")
    if kept != place.aggregates:
        yield _fault(f"it has {kept} entries, and {place.aggregates} were counted")


def check_buckets(view: IReadView, after: bytes) -> Iterator[tuple[bytes, Said]]:
    """Check each bucket behind a key by itself: sorted entries that belong there, their hash."""
    for number, record in _buckets(view, keys.map_bucket_number(after) + 1 if after else 0):
        key = keys.map_bucket(PARTITION, number)
        if isinstance(record, bytes):
            yield key, len(record)
        try:
            _check_bucket(number, record)
        except StorageError as error:
            yield key, _fault(error.detail, f"{_WHOLE}, bucket {number}")


def _check_bucket(number: int, record: bytes | StorageError) -> None:
    if isinstance(record, StorageError):
        raise record
    entries = headmap.decode_bucket(record)
    names = [kept[:HASH_BYTES] for kept in entries]
    if {headmap.bucket_of(name) for name in names} != {number}:
        raise StorageError("an entry lies in another bucket than its own")
    if any(not one < other for one, other in zip(names, names[1:], strict=False)):
        raise StorageError("its entries are not in order")
    if headmap.encode_bucket(entries) != record:
        raise StorageError("its hash differs from its entries")


def begin_tally(view: IReadView) -> Tally:
    """Return the count that begins with a view; of nothing where the map cannot be read."""
    try:
        place = headmap.load_place(view)
        _before(view, place.position)
        return Tally(place.aggregates, place.position)
    except StorageError:
        return Tally()


def check_entries(
    view: IReadView, after: bytes, tally: Tally
) -> Iterator[tuple[bytes, Tally, Said]]:
    """Hold each aggregate against its entry, from behind a canonical name on.

    A map that says nothing of its place, or stands where the log is not, is against none.
    """
    try:
        mapped = _before(view, headmap.load_place(view).position)
        counted = _before(view, tally.bound)
    except StorageError:
        return  # Said where the top is checked.
    for line in _timelines(view, after):
        name = line.name
        names = keys.split_name(name)
        number = sha256(name).digest()
        found: list[bytes] | None
        try:
            bucket = view.get(keys.map_bucket(PARTITION, headmap.bucket_of(number)))
            found = [one for one in headmap.decode_bucket(bucket) if one.startswith(number)]
        except StorageError:
            found = None  # Said where buckets are checked.
        met, read, expected = bool(found), 0, None
        try:
            met = counted(keys.event(name, 1), line.first)
            expected, read = _expected(view, line, mapped)
        except StorageError:
            found = None  # Said where events are checked.
        if met:
            tally = tally._replace(met=tally.met + 1)
        yield name, tally, read
        if found is not None:
            wanted = expected and (expected[0], entry(number, *expected))
            for fault in _compare(names, found, wanted):
                yield name, tally, fault


class _Timeline(NamedTuple):
    """The canonical name of an aggregate, the record of its first event, and its newest event."""

    name: bytes
    first: bytes
    version: int
    newest: bytes


def _timelines(view: IReadView, after: bytes) -> Iterator[_Timeline]:
    """Yield all timelines of the log of events by name; of long ones not every event is read."""
    start = keys.after(keys.EVENT + after) if after else keys.EVENT
    while start:
        line: _Timeline | None = None
        looked, scanned, start = 0, view.scan(start, keys.after(keys.EVENT)), b""
        for key, record in scanned:
            name, version = key[1:-8], keys.event_version(key)
            if line is not None and line.name == name:
                line, looked = _Timeline(name, line.first, version, record), looked + 1
                if looked < EVENTS_READ:
                    continue
                start = keys.after(keys.EVENT + name)
                newest = view.scan(key, start, reverse=True)
                key, record = next(newest)
                yield _Timeline(name, line.first, keys.event_version(key), record)
                line = None
                break
            if line is not None:
                yield line
            line, looked = _Timeline(name, record, version, record), 1
            if key.startswith(_AUDIT):  # These have a log of their own.
                line, start = None, keys.after(_AUDIT)
                break
        if line is not None:
            yield line


def _expected(
    view: IReadView, line: _Timeline, mapped: eventlog.Before
) -> tuple[tuple[int, bytes] | None, int]:
    """Return version and root that an aggregate had when the map was made, and bytes read."""
    name, first, high, record = line
    read = len(first) + len(record)
    if not mapped(keys.event(name, 1), first):
        return None, read
    if not mapped(keys.event(name, high), record):
        low = 1
        while high - low > 1:
            middle = (low + high) // 2
            key = keys.event(name, middle)
            record = view.get(key) or b""
            read += len(record)
            if not mapped(key, record):
                high = middle
            else:
                low = middle
        high, record = low, view.get(keys.event(name, low)) or b""
    return (high, records.decode_event(record).merkle_root), read


def _compare(
    names: tuple[str, str], found: list[bytes], expected: tuple[int, bytes] | None
) -> Iterator[Fault]:
    if expected is None:
        if found:
            yield _of(names, 0, "the head map has it, and it had no events then")
    elif not found:
        yield _of(names, expected[0], "the head map does not have it")
    elif found != [expected[1]]:
        version = split_entry(found[0])[1]
        why = "with another root" if version == expected[0] else f"and it was at v{expected[0]}"
        yield _of(names, expected[0], f"the head map has v{version}, {why}")


def check_tally(view: IReadView, tally: Tally) -> Iterator[Fault]:
    """Name the aggregates that the map has and the store has not, by the log if it can."""
    missing = tally.aggregates - tally.met
    if missing <= 0:
        return
    for position, logged in eventlog.log_entries(view, PARTITION, start=0):
        if not missing or position >= tally.bound:
            break
        name = logged.event_key[1:-8]
        if keys.event_version(logged.event_key) != 1 or view.get(keys.event(name, 1)) is not None:
            continue
        missing -= 1
        yield _of(keys.split_name(name), 0, "the head map has it, and the store has not")
    if missing:
        yield _fault(f"{missing} entries are of aggregates that the log does not name")


def _before(view: IReadView, position: int) -> eventlog.Before:
    """Return which events a map covers."""
    try:
        return eventlog.Before(view, PARTITION, position)
    except DamagedRecord:
        raise
    except StorageError:
        why = f"it is at position {position}, where the log does not reach"
        raise StorageError(why) from None


def _fault(why: str, record: str = _WHOLE) -> Fault:
    return Fault(
        "", "", 0, f"storage error: integrity check failed for the {record}: {why}", record
    )


def _of(names: tuple[str, str], version: int, why: str) -> Fault:
    record = f"{_WHOLE}, entry of {'::'.join(names)}"
    return Fault(*names, version, _message(record, why), record)


def _message(record: str, why: str) -> str:
    return f"storage error: integrity check failed for the {record}: {why}"


def _buckets(view: IReadView, at: int = 0) -> Iterator[tuple[int, bytes | StorageError]]:
    """Yield buckets from a number on; for those that the store cannot read the error."""
    if at >= BUCKETS:
        return
    try:
        stop = keys.after(keys.map_buckets(PARTITION))
        for key, record in view.scan(keys.map_bucket(PARTITION, at), stop):
            number = keys.map_bucket_number(key)
            yield number, record
            at = number + 1
        return
    except StorageError:
        pass
    for number in range(at, BUCKETS):
        try:
            found = view.get(keys.map_bucket(PARTITION, number))
        except StorageError as error:
            yield number, error
            continue
        if found is not None:
            yield number, found
