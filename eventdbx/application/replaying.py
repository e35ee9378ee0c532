"""What is read of a store to deliver events again: which aggregates, which of their events.

Reading goes on where it was, on a fresh view each time, so that a long replay holds nothing of the
store. Sending is in ``plugins.replays``.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventdbx.application.delivering import ReplayAsked
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Head
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.delivery.selecting import selector
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

PARTITION = 0
_PLACES_KEPT = 65_536
"""Positions whose ids are kept, those that searches pass first; about as many, at most twice."""


class Walk:
    """Aggregates by (type, id), active ones before archived ones, and a place among them."""

    def __init__(self, asked: ReplayAsked) -> None:
        self._asked = asked
        self._archived = False
        self._after = b""
        self.over = False

    def heads(self, view: IReadView) -> Iterator[Head]:
        """Yield heads from the place on; :meth:`passed` moves it."""
        while not self.over:
            yield from self._family(view)
            self.over = self._archived or not self._asked.include_archived
            self._archived, self._after = True, b""

    def passed(self, head: Head) -> None:
        """Move behind a head."""
        self._after = keys.name(head.aggregate_type, head.aggregate_id)

    def _family(self, view: IReadView) -> Iterator[Head]:
        aggregate_type, aggregate_id = self._asked.aggregate_type, self._asked.aggregate_id
        if aggregate_type is not None and aggregate_id is not None:
            if not self._after:
                head = eventlog.load_head(view, keys.name(aggregate_type, aggregate_id))
                if head is not None and head.archived == self._archived:
                    yield head
            return
        yield from eventlog.heads(
            view, archived=self._archived, aggregate_type=aggregate_type, after=self._after
        )


class Rereading:
    """Reads the events of a replay, aggregate by aggregate, each one's in the order of versions.

    Plain blocking code for one thread at a time. ``total`` is how many there are, right when they
    are counted, corrected for what is passed over while they are read.
    """

    def __init__(self, domain_name: str, entry: PluginEntry, asked: ReplayAsked) -> None:
        """Raises InvalidSchema for an entry whose filter is none."""
        self._asked = asked
        self._mode = asked.mode or entry.payload_mode
        self._include_hidden = entry.include_hidden
        self._builder = PartsBuilder(
            domain_name,
            include_hidden=entry.include_hidden,
            wants=selector(entry),
            entries_max=1,
        )
        self._places = _Places()
        self._counting, self._walk = Walk(asked), Walk(asked)
        self._read: dict[bytes, int] = {}
        self.total = 0

    @property
    def counted(self) -> bool:
        """True when ``total`` is known."""
        return self._counting.over

    @property
    def over(self) -> bool:
        """True when everything was read."""
        return self._walk.over

    def count(self, view: IReadView, in_force: InForce) -> Iterator[None]:
        """Go on counting; may be left after any step."""
        seen = in_force.views.seen(include_hidden=self._include_hidden)
        for head in self._counting.heads(view):
            if seen.shows(head.aggregate_type):
                first, last = self._span(view, head)
                self.total += max(last - first + 1, 0)
            self._counting.passed(head)
            yield

    def read(self, view: IReadView, in_force: InForce) -> Iterator[Parts | None]:
        """Go on reading; may be left after any step. Yields None for what is not delivered.

        States have neither extensions nor times, as replays always had them.
        """
        seen = in_force.views.seen(include_hidden=self._include_hidden)
        for head in self._walk.heads(view):
            if not seen.shows(head.aggregate_type):
                self._walk.passed(head)
                yield None
                continue
            first, last = self._span(view, head)
            name = keys.name(head.aggregate_type, head.aggregate_id)
            after = max(self._read.get(name, 0), first - 1)
            for event in eventlog.events(view, name, after=after, until=last):
                position = self._places.position(view, event.event_id)
                parts = self._builder.build(
                    view, in_force, event, position, self._mode, archived=head.archived
                )
                self._read = {name: event.version}
                if parts is None:
                    self.total -= 1
                elif parts.head is not None:
                    state = parts.head._replace(extensions={}, created_at=None, updated_at=None)
                    parts = parts._replace(head=state)
                yield parts
            self._walk.passed(head)

    def _span(self, view: IReadView, head: Head) -> tuple[int, int]:
        """Return the first and the last version that is asked for of an aggregate."""
        asked = self._asked
        first, last = max(asked.from_version or 1, 1), head.version
        if asked.to_version is not None:
            last = min(last, asked.to_version)
        if asked.from_time is not None:
            first = max(first, _first_from(view, head, asked.from_time))
        if asked.to_time is not None:
            last = min(last, _first_from(view, head, asked.to_time + 1) - 1)
        return first, last


def _first_from(view: IReadView, head: Head, time_ns: int) -> int:
    """Return the first version that is not before a time; times grow with versions."""
    if head.updated_at is not None and head.updated_at < time_ns:
        return head.version + 1
    name = keys.name(head.aggregate_type, head.aggregate_id)
    low, high = 1, head.version
    while low < high:
        middle = (low + high) // 2
        event = eventlog.load_event(view, name, middle)
        if event is not None and event.created_at < time_ns:
            low = middle + 1
        else:
            high = middle
    return low


class _Places:
    """Where events stand in the log, found by their ids, which grow with the position.

    The end from which searches begin moves seldom, so that they all pass the same places.
    """

    def __init__(self) -> None:
        self._end = 0
        self._ids: dict[int, int] = {}

    def position(self, view: IReadView, event_id: int) -> int:
        """Return the position of an event."""
        if self._end == 0 or self._id_at(view, self._end - 1) < event_id:
            self._ids.clear()
            self._end = records.decode_tail(view.get(keys.tail(PARTITION))).next_position
        low, high = 0, self._end
        while low < high:
            middle = (low + high) // 2
            if self._id_at(view, middle, keep=(high - low) * _PLACES_KEPT > self._end) < event_id:
                low = middle + 1
            else:
                high = middle
        return low

    def _id_at(self, view: IReadView, position: int, *, keep: bool = True) -> int:
        known = self._ids.get(position)
        if known is None:
            record = view.get(keys.log(PARTITION, position))
            if record is None:
                raise StorageError(f"the commit log has no position {position}")
            known = records.decode_log(record).event_id
            if keep:
                self._ids[position] = known
        return known
