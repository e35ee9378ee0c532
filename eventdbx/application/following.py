"""Following the commit log: what was committed behind a place, page by page, in commit order.

A place is the position of the last event that was seen, -1 before the first one; tokens for it are
made in ``domain.delivery.positions``. Reads one view and can run on any thread. Waiting for more
is the business of whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eventdbx.application.reader import PARTITION, Visible
from eventdbx.application.views import Seen
from eventdbx.domain.delivery.positions import parse_position_token, position_token
from eventdbx.domain.events import Event, event_document, raw_event_document
from eventdbx.domain.filters import Filter, event_lookup
from eventdbx.errors import InvalidCursor, StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

LOOKED_AT_MAX = 20_000
"""Positions that one page looks at, wanted or not: what takes longer is answered in between."""


class Wanted(NamedTuple):
    """Which events are followed: all, those of a type, of one aggregate; those a filter matches.

    ``visible`` is None for who may see everything.
    """

    aggregate_type: str | None = None
    aggregate_id: str | None = None
    filter: Filter | None = None
    visible: Visible | None = None
    raw: bool = False


class Followed(NamedTuple):
    """Documents of events with their positions, the place behind everything that was looked at,
    and whether the log goes on there."""

    documents: list[bytes]
    place: int
    more: bool


def place_of(view: IReadView, after: str) -> int:
    """Return the place that ``""``, ``start``, ``end`` or a token names.

    Raises InvalidCursor for a token that is none, or of a place that the log does not reach: who
    follows another log, or one that was put back, must not miss events in silence.
    """
    if after in ("", "start"):
        return -1
    last = eventlog.end_position(view, PARTITION) - 1
    if after == "end":
        return last
    place = parse_position_token(after)
    if place > last:
        raise InvalidCursor(f"position '{after}' is beyond the end of the log")
    return place


def token_of(place: int) -> str:
    """Return the token of a place; that before the first event is the empty text."""
    return position_token(place) if place >= 0 else ""


def follow(
    view: IReadView, seen: Seen, wanted: Wanted, place: int, *, take: int, size: int
) -> Followed:
    """Return up to ``take`` wanted events behind a place, about ``size`` bytes, one in any case."""
    page = _Page(seen, wanted, place, take, size)
    if wanted.aggregate_type is not None and wanted.aggregate_id is not None:
        _follow_one(view, wanted.aggregate_type, wanted.aggregate_id, page)
    else:
        _follow_log(view, wanted.aggregate_type, page)
    return Followed(page.documents, page.place, page.more)


class _Page:
    """A page that is being filled."""

    def __init__(self, seen: Seen, wanted: Wanted, place: int, take: int, size: int) -> None:
        self.documents: list[bytes] = []
        self.place = place
        self.more = False
        self._seen = seen
        self._wanted = wanted
        self._take = take
        self._room = size
        self._shown: dict[bytes, bool] = {}
        self._document: Callable[[Event], bytes] = (
            raw_event_document if wanted.raw else event_document
        )

    def is_open(self, name: bytes) -> bool:
        """Say whether the events of an aggregate may be shown at all."""
        kind, identifier, _end = name.split(b"\x00")
        shown = self._shown.get(kind)
        if shown is None:
            shown = self._shown[kind] = self._seen.shows(kind.decode())
        visible = self._wanted.visible
        return shown and (visible is None or visible(kind.decode(), identifier.decode()))

    def add(self, position: int, record: bytes) -> bool:
        """Add an event if it is wanted; False when the page is full and it must wait."""
        event = self._seen.event(records.decode_event(record), raw=self._wanted.raw)
        wanted = self._wanted.filter
        if wanted is None or wanted.matches(event_lookup(event)):
            document = b'%b,"position":"0-%d"}' % (self._document(event)[:-1], position)
            self._room -= len(document)
            if self.documents and (self._room < 0 or len(self.documents) >= self._take):
                return False
            self.documents.append(document)
        return True

    @property
    def full(self) -> bool:
        """Whether nothing more will fit."""
        return self._room <= 0 or len(self.documents) >= self._take


def _follow_log(view: IReadView, aggregate_type: str | None, page: _Page) -> None:
    """Read the log itself; of other types only what stands in the log."""
    wanted = b"" if aggregate_type is None else aggregate_type.encode() + b"\x00"
    start = page.place + 1
    for position, entry in eventlog.log_entries(view, PARTITION, start=start):
        if page.full or position >= start + LOOKED_AT_MAX:
            page.more = True
            return
        name = entry.event_key[1:-8]
        if name.startswith(wanted) and page.is_open(name):
            record = view.get(entry.event_key)
            if record is None:
                raise StorageError(f"the event at position {position} of the log is missing")
            if not page.add(position, record):
                page.more = True
                return
        page.place = position


def _follow_one(view: IReadView, aggregate_type: str, aggregate_id: str, page: _Page) -> None:
    """Read the events of one aggregate, however many of others are between them."""
    name = keys.name(aggregate_type, aggregate_id)
    end = eventlog.end_position(view, PARTITION) - 1
    if page.place < end and page.is_open(name):
        seen = _versions_up_to(view, name, page.place)
        for version, record in eventlog.event_records(view, name, after=seen):
            if page.full or version > seen + LOOKED_AT_MAX // 10:
                page.more = True
                return
            identifier, key = records.event_id_of(record), keys.event(name, version)
            position = eventlog.position_of(view, PARTITION, identifier, key)
            if position is None:
                raise StorageError(f"the commit log does not have event {identifier}")
            if not page.add(position, record):
                page.more = True
                return
            page.place = position
    page.place = max(page.place, end)


def _versions_up_to(view: IReadView, name: bytes, place: int) -> int:
    """Return how many events of an aggregate stand in the log up to a place."""
    if place < 0:
        return 0
    read = eventlog.Before(view, PARTITION, place + 1)
    head = eventlog.load_head(view, name)
    low, high = 0, 0 if head is None else head.version
    while low < high:
        middle = (low + high + 1) // 2
        key = keys.event(name, middle)
        event = view.get(key)
        if event is None:
            raise StorageError(f"an event of the log is missing: version {middle}")
        if read(key, event):
            low = middle
        else:
            high = middle - 1
    return low
