"""A store of the existing program, checked and recreated event by event in one of ours.

First everything is read and held against its hashes, and the order of all events is noted in a
database on disk, so that memory stays small. Then the events are recreated in that order, which is
that of their ids: an id that does not fit into it is given anew, and said.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from eventdbx.application import adopting
from eventdbx.application.adopting import Foreign
from eventdbx.application.domains import Domain
from eventdbx.application.drafting import check_subject, is_subject_key
from eventdbx.application.steps import Work
from eventdbx.domain import snowflake
from eventdbx.domain.aggregate import Draft, Head
from eventdbx.domain.canonical import JSON, dump, text_of
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.domain.reference_hashes import Peaks, event_hash
from eventdbx.errors import EventDBXError, InvalidSchema, StorageError
from eventdbx.storage import keys
from eventdbx.storage.reference_store import (
    EVENTS,
    EVENTS_ARCHIVED,
    METAS,
    METAS_ARCHIVED,
    SNAPSHOTS,
    Place,
    ReferenceEvent,
    ReferenceSnapshot,
    ReferenceStore,
    Unreadable,
    split,
)
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Transaction

STEP_EVENTS = 500
_NOTED_ROWS = 5_000
_ORDER, _SNAPSHOT, _END, _ARCHIVED, _TAKEN = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
"""Of events and snapshots; how far an aggregate goes, whether it is archived; a snapshot's id."""

_AHEAD_MS = 24 * 3600 * 1000
"""How far an id may be ahead of the clock: later ids follow it."""


class Outcome(NamedTuple):
    """What was recreated."""

    aggregates: int
    events: int


class Recreation:
    """One store, from its reading to ours. ``say`` is told of every mismatch."""

    def __init__(
        self, source: ReferenceStore, folder: Path, say: Callable[[str], None], now_ms: int
    ) -> None:
        self._source = source
        self._folder = folder
        self._order = RocksStore.open(str(folder))
        self._rows: dict[bytes, bytes | None] = {}
        self._say = say
        self._latest = max(now_ms + _AHEAD_MS - snowflake.EPOCH_MS, 1) << 22
        self.aggregates = self.events = 0

    def close(self) -> None:
        """Remove the notes."""
        self._order.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # Reading.

    def check(self) -> None:
        """Hold everything against its hashes, and note the order of all events."""
        for archived in (False, True):
            self._check_family(archived)
        for key, value in self._source.keys(SNAPSHOTS):
            try:
                self._check_snapshot(key, self._source.snapshot(key, value))
            except Unreadable as error:
                self._say(f"snapshot {key!r} cannot be read: {error.detail}")
        self._write()
        self._check_ids()

    def _check_snapshot(self, key: bytes, one: ReferenceSnapshot) -> None:
        end = self._noted(_END + keys.name(*one.place))
        if end is None or int.from_bytes(end, "big") < one.version:
            self._say(f"{one.place}: a snapshot is of version {one.version}, which is not there")
            return
        if one.snapshot_id is not None:
            taken = _TAKEN + one.snapshot_id.to_bytes(8, "big")
            if self._noted(taken) is not None:
                self._say(f"{one.place}: its snapshot {one.snapshot_id} is there twice; it gets "
                          "another id")  # fmt: skip
            self._note(taken, b"")
        self._note(_SNAPSHOT + _snapshot_key(one.place, one.version) + key, b"")

    def _check_family(self, archived: bool) -> None:
        aggregate: _Checked | None = None
        for key, value in self._source.keys(EVENTS_ARCHIVED if archived else EVENTS):
            try:
                place, _version = split(key)
            except Unreadable as error:
                self._say(error.detail)
                continue
            if aggregate is None or aggregate.place != place:
                self._end(aggregate)
                aggregate = self._begin(place, archived)
            eff = aggregate.take(self._source, key, value)
            if eff is not None:
                self.events += 1
                rank, event_id = eff
                row = rank.to_bytes(8, "big") + self.events.to_bytes(8, "big")
                self._note(_ORDER + row, event_id.to_bytes(8, "big") + key)
        self._end(aggregate)
        for key, _value in self._source.keys(METAS_ARCHIVED if archived else METAS):
            try:
                self._check_place(split(key)[0], archived)
            except Unreadable as error:
                self._say(error.detail)

    def _begin(self, place: Place, archived: bool) -> _Checked:
        found = _Checked(place, archived, self._say, self._latest)
        if archived and self._source.has_active(place):
            found.stop("is active and archived at once; the archived one is left out")
        try:
            check_aggregate_type(place.aggregate_type)
            check_aggregate_id(place.aggregate_id)
        except InvalidSchema as error:
            found.stop(f"is left out: {error.detail}")
        return found

    def _end(self, aggregate: _Checked | None) -> None:
        if aggregate is not None:
            aggregate.end(self._source)
            if aggregate.version:
                self.aggregates += 1
                name = keys.name(*aggregate.place)
                self._note(_END + name, aggregate.version.to_bytes(8, "big"))
                if aggregate.archived:
                    self._note(_ARCHIVED + name, b"")

    def _check_place(self, place: Place, archived: bool) -> None:
        family = EVENTS_ARCHIVED if archived else EVENTS
        try:
            found = self._source.meta(place, archived=archived)
            first = self._source.has_event(family, place)
        except Unreadable as error:
            self._say(f"{place}: its metadata cannot be read: {error.detail}")
            return
        if found is not None and not first:
            self._say(f"{place} has metadata, but no events")

    def _noted(self, key: bytes) -> bytes | None:
        return self._rows.get(key) if key in self._rows else self._order.view().get(key)

    def _note(self, key: bytes, value: bytes) -> None:
        self._rows[key] = value
        if len(self._rows) >= _NOTED_ROWS:
            self._write()

    def _write(self) -> None:
        self._order.write(self._rows, sync=False)
        self._rows = {}

    def _ordered(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (id here, id there, key) of each event, in the order of their commits here."""
        last = 0
        for _row, value in self._order.view().scan(_ORDER, keys.after(_ORDER)):
            event_id = int.from_bytes(value[:8], "big")
            # One that is far ahead of the clock would drag all later ids along.
            last = max(event_id, last + 1) if event_id < self._latest else last + 1
            yield last, event_id, value[8:]

    def _check_ids(self) -> None:
        for here, there, key in self._ordered():
            if here != there:
                place, version = split(key)
                number = int.from_bytes(version, "big")
                self._say(
                    f"{place} v{number}: its event id {there} does not grow with the order of "
                    f"events, or is of the future; it becomes {here}"
                )

    # Writing.

    def recreate(self, domain: Domain) -> Outcome:
        """Recreate everything. Raises StorageError."""
        ordered = self._ordered()
        done = 0
        while chunk := list(islice(ordered, STEP_EVENTS)):

            def step(
                work: Work, transaction: Transaction, chunk: list[tuple[int, int, bytes]] = chunk
            ) -> None:
                for here, _there, key in chunk:
                    event = self._source.event(key)
                    _made, head = adopting.recreate(work, transaction, _foreign(event, here))
                    self._take_snapshots(work, transaction, event, head)

            _now(domain.writer.carry_out(step))
            done += len(chunk)
        self._archive(domain)
        return Outcome(self.aggregates, done)

    def _take_snapshots(
        self, work: Work, transaction: Transaction, event: ReferenceEvent, head: Head
    ) -> None:
        prefix = _SNAPSHOT + _snapshot_key(event.place, event.version)
        for row, _empty in self._order.view().scan(prefix, keys.after(prefix)):
            one = self._source.snapshot(row[len(prefix) :])
            number = one.snapshot_id
            if number is not None and transaction.get(keys.snapshot_id(number)) is not None:
                number = None
            adopting.adopt_snapshot(
                work,
                transaction,
                head,
                snapshot_id=number,
                created_at=one.created_at,
                comment=one.comment,
            )

    def _archive(self, domain: Domain) -> None:
        """Archive what is archived there, some hundreds at a time."""
        names = self._order.view().scan(_ARCHIVED, keys.after(_ARCHIVED))
        while chunk := [row[1:] for row, _empty in islice(names, STEP_EVENTS)]:

            def step(work: Work, transaction: Transaction, chunk: list[bytes] = chunk) -> None:
                for name in chunk:
                    self._archive_one(work, transaction, name)

            _now(domain.writer.carry_out(step))

    def _archive_one(self, work: Work, transaction: Transaction, name: bytes) -> None:
        head = work.load(name)
        assert head is not None, "its events were recreated"
        at, comment = head.updated_at or 0, None
        with suppress(Unreadable):  # Which was said.
            place = Place(head.aggregate_type, head.aggregate_id)
            meta = self._source.meta(place, archived=True)
            if meta is not None:
                at, comment = meta.archived_at or meta.updated_at or at, meta.archive_comment
        adopting.adopt_archive(work, transaction, head, archived_at=at, comment=comment)


class _Checked:
    """One aggregate while its events are read, in the order of their versions."""

    def __init__(
        self, place: Place, archived: bool, say: Callable[[str], None], latest: int
    ) -> None:
        self.place = place
        self._latest = latest
        self.version = 0
        self.archived = archived
        self._say = say
        self._peaks = Peaks()
        self._state: dict[str, str] = {}
        self._rank = 0
        self._stopped = False

    def stop(self, why: str) -> None:
        """Leave out what follows."""
        self._stopped = True
        self._say(f"{self.place} {why}")

    def take(self, source: ReferenceStore, key: bytes, value: bytes) -> tuple[int, int] | None:
        """Check the next event; return its rank in the order of all, and its id, None to leave
        it out."""
        if self._stopped:
            return None
        number = self.version + 1
        try:
            event = source.event(key, value)
        except Unreadable as error:
            self.stop(f"v{number} cannot be read, it ends before: {error.detail}")
            return None
        if event.version != number:
            self.stop(f"v{number} is missing, it ends before")
            return None
        self.version = number
        computed = event_hash(*self.place, number, event.event_type, event.payload)
        if computed != event.hash:
            self._say(
                f"{self.place} v{number}: its hash is {computed}, {event.hash} is stored with it"
            )
        self._peaks.push(event.hash)
        if self._peaks.root() != event.merkle_root:
            self._say(
                f"{self.place} v{number}: its merkle root is {self._peaks.root()}, "
                f"{event.merkle_root} is stored with it"
            )
        self._fold(event.payload)
        # Versions count, whatever the clock did to the ids.
        sound = event.event_id if event.event_id < self._latest else 0
        self._rank = max(sound, self._rank + 1)
        return self._rank, event.event_id

    def _fold(self, payload: JSON) -> None:
        if type(payload) is dict:
            self._state.update((key, text_of(one)) for key, one in payload.items())
        elif payload is not None:
            self._state["_value"] = text_of(payload)

    def end(self, source: ReferenceStore) -> None:
        """Hold what was kept about the aggregate against its events."""
        if self._stopped:
            return
        try:
            meta = source.meta(self.place, archived=self.archived)
            state = source.state(self.place, archived=self.archived)
        except EventDBXError as error:
            self._say(f"{self.place}: its metadata or state cannot be read: {error.detail}")
            return
        if meta is None:
            self._say(f"{self.place} has events, but no metadata")
        elif (meta.version, meta.merkle_root) != (self.version, self._peaks.root()):
            self._say(
                f"{self.place}: its metadata is of version {meta.version} with root "
                f"{meta.merkle_root}, its events end at {self.version} with {self._peaks.root()}"
            )
        if state != self._state:
            self._say(f"{self.place}: its state is not what its events make")


def _foreign(event: ReferenceEvent, event_id: int) -> Foreign:
    payload = dump(event.payload)
    extensions = event.extensions
    if extensions is not None and type(extensions) is not dict:
        extensions = {"@extensions": extensions}
    assert extensions is None or type(extensions) is dict
    draft = Draft(
        event.event_type,
        event.event_type_raw,
        event.payload,
        payload,
        extensions,
        None if extensions is None else dump(extensions),
        event.issued_by,
        event.note,
        None,
        _subject(extensions),
    )
    return Foreign(*event.place, event.version, draft, event_id, event.created_at)


def _subject(extensions: dict[str, JSON] | None) -> str | None:
    """Return whom an event is about, as its metadata says in the way that ours does."""
    for key, value in (extensions or {}).items():
        if is_subject_key(key):
            try:
                return check_subject(value)
            except InvalidSchema:
                return None
    return None


def _snapshot_key(place: Place, version: int) -> bytes:
    return keys.name(*place) + version.to_bytes(8, "big")


def _now(deferred: Any) -> None:
    """Raise what a step failed with; the store works at once."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if not found:
        raise StorageError("the store did not answer at once")
    if isinstance(found[0], Failure):
        found[0].raiseException()
