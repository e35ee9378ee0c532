"""The head map computed again: from the events that lie in the store, not from what is kept.

The map must have exactly one entry for each aggregate that had events at its position, with the
version and root that it had there; its buckets must be as they are written, and their hashes must
lead to its root. One entry is held against one aggregate at a time, so memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from eventdbx.domain.headmap import (
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

_WHOLE = "head map"


class Fault(NamedTuple):
    """What is wrong with the map, and which aggregate it is about; no names where it is none."""

    aggregate_type: str
    aggregate_id: str
    version: int
    message: str
    record: str


def verify_head_map(view: IReadView) -> Iterator[Fault | int]:
    """Yield what is wrong with the head map, and in between how many bytes were read.

    A map that was never asked for is right. What is wrong with the events themselves, and with the
    log, is said where those are verified.
    """
    try:
        place = headmap.load_place(view)
        last_id = _last_id(view, place.position)
    except StorageError as error:
        yield _fault(error.detail)
        return
    check = _Check(view, last_id)
    yield from check.buckets()
    yield from check.aggregates()
    if check.root() != place.root:
        yield _fault("its buckets do not lead to its root")
    if check.kept != place.aggregates:
        yield _fault(f"it has {check.kept} entries, and {place.aggregates} were counted")
    if check.kept > check.met:
        yield from check.strangers(place.position)


def _last_id(view: IReadView, position: int) -> int:
    """Return the id of the last event that a map covers; ids grow along the log."""
    if not position:
        return 0
    record = view.get(keys.log(PARTITION, position - 1))
    if record is None:
        raise StorageError(f"it is at position {position}, where the log does not reach")
    return records.decode_log(record).event_id


def _fault(why: str, record: str = _WHOLE) -> Fault:
    return Fault(
        "", "", 0, f"storage error: integrity check failed for the {record}: {why}", record
    )


class _Check:
    """One verification: what is kept, and how much of it belongs to an aggregate."""

    def __init__(self, view: IReadView, last_id: int) -> None:
        self._view = view
        self._last_id = last_id
        self._top = headmap.Top()
        self._summaries: dict[int, Summary] = {}
        self._unreadable: set[int] = set()
        self.kept = 0
        self.met = 0

    def root(self) -> bytes:
        """Return the root to which the buckets lead."""
        nodes = self._top.changed(self._summaries)
        return summary_hash(nodes.get(1, b""))

    def buckets(self) -> Iterator[Fault | int]:
        """Check each bucket by itself: sorted entries that belong there, and their hash."""
        for number, record in _buckets(self._view):
            try:
                if isinstance(record, StorageError):
                    raise record
                yield len(record)
                entries = headmap.decode_bucket(record)
                self.kept += len(entries)
                names = [kept[:HASH_BYTES] for kept in entries]
                if {headmap.bucket_of(name) for name in names} != {number}:
                    raise StorageError("an entry lies in another bucket than its own")
                if any(not one < other for one, other in zip(names, names[1:], strict=False)):
                    raise StorageError("its entries are not in order")
                again = headmap.encode_bucket(entries)
                self._summaries[number] = headmap.summary_of(again)
                if again != record:
                    raise StorageError("its hash differs from its entries")
            except StorageError as error:
                if number not in self._summaries:
                    self._unreadable.add(number)
                yield _fault(error.detail, f"{_WHOLE}, bucket {number}")

    def aggregates(self) -> Iterator[Fault | int]:
        """Hold each aggregate of the store against its entry."""
        for family in (keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED):
            for key, _record in self._view.scan(family, keys.after(family)):
                names = keys.split_name(key[2:])
                if names[0] == AUDIT_TYPE:  # These have a log of their own.
                    continue
                try:
                    expected, read = self._expected(key[2:])
                except StorageError:
                    continue  # Said where events are verified.
                yield read
                yield from self._compare(names, sha256(key[2:]).digest(), expected)

    def _expected(self, name: bytes) -> tuple[tuple[int, bytes] | None, int]:
        """Return version and root that an aggregate had when the map was made, and bytes read."""
        first, stop = keys.event(name, 0), keys.event(name, eventlog.U64_MAX) + b"\x00"
        newest = next(self._view.scan(first, stop, reverse=True), None)
        if newest is None:
            raise StorageError("an aggregate has no events")
        low, high = 0, keys.event_version(newest[0])
        record, read = newest[1], len(newest[1])
        if records.event_id_of(record) > self._last_id:
            while low < high:
                middle = (low + high + 1) // 2
                record = self._view.get(keys.event(name, middle)) or b""
                read += len(record)
                if records.event_id_of(record) > self._last_id:
                    high = middle - 1
                else:
                    low = middle
            if not high:
                return None, read
            record = self._view.get(keys.event(name, high)) or b""
        return (high, records.decode_event(record).merkle_root), read

    def _compare(
        self, names: tuple[str, str], hashed: bytes, expected: tuple[int, bytes] | None
    ) -> Iterator[Fault]:
        number = headmap.bucket_of(hashed)
        if number in self._unreadable:
            self.met += expected is not None
            return
        bucket = self._view.get(keys.map_bucket(PARTITION, number))
        found = [one for one in headmap.decode_bucket(bucket) if one.startswith(hashed)]
        self.met += bool(found)
        if expected is None:
            if found:
                yield _of(names, 0, "the head map has it, and it had no events then")
        elif not found:
            yield _of(names, expected[0], "the head map does not have it")
        elif found != [entry(hashed, *expected)]:
            version = split_entry(found[0])[1]
            yield _of(
                names,
                expected[0],
                f"the head map has v{version} with another root than that of v{expected[0]}"
                if version == expected[0]
                else f"the head map has v{version}, and it was at v{expected[0]}",
            )

    def strangers(self, position: int) -> Iterator[Fault]:
        """Name the aggregates that the map has and the store has not, by the log if it can."""
        missing = self.kept - self.met
        for at, logged in eventlog.log_entries(self._view, PARTITION, start=0):
            if at >= position or not missing:
                break
            name = logged.event_key[1:-8]
            if keys.event_version(logged.event_key) != 1:
                continue
            if any(self._view.get(keys.head(name, archived)) for archived in (False, True)):
                continue
            missing -= 1
            yield _of(keys.split_name(name), 0, "the head map has it, and the store has not")
        if missing > 0:
            yield _fault(f"{missing} entries are of aggregates that the log does not name")


def _of(names: tuple[str, str], version: int, why: str) -> Fault:
    record = f"{_WHOLE}, entry of {'::'.join(names)}"
    return Fault(*names, version, _message(record, why), record)


def _message(record: str, why: str) -> str:
    return f"storage error: integrity check failed for the {record}: {why}"


def _buckets(view: IReadView) -> Iterator[tuple[int, bytes | StorageError]]:
    """Yield all buckets; those that the store cannot read as the error that says so."""
    at = 0
    try:
        prefix = keys.map_buckets(PARTITION)
        for key, record in view.scan(prefix, keys.after(prefix)):
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
