"""Everything that can be asked of a domain, answered from one consistent view.

Plain synchronous code: the caller decides whether it runs on the reactor (point reads, pages in
natural order) or on a thread (filters, sorts, whole-store checks). A page costs what it returns,
whatever the size of the store, unless a filter or a sort demands more. What is hidden, and how
payloads of earlier revisions read, is said in ``application.views``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice

from eventdbx.application.referrers import Referrer, referrers, unfinished, unindexed
from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Head, evolve, new_head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.cursors import (
    AggregateCursor,
    EventCursor,
    ShortTimestampCursor,
    TimestampCursor,
)
from eventdbx.domain.events import Event
from eventdbx.domain.filters import Filter, aggregate_lookup, event_lookup
from eventdbx.domain.queries import AggregateQuery, EventQuery, Page, Scope
from eventdbx.domain.schemas.references import Reference
from eventdbx.domain.selecting import select
from eventdbx.domain.snapshots import Snapshot
from eventdbx.domain.sorting import SortKey, sort_aggregates, sort_events
from eventdbx.errors import IndexUnfinished, InvalidCursor
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView

PARTITION = 0
_TIMES = ("created_at", "updated_at")
_SKIP_MAX = 1 << 62
"""So much is skipped at most: more than there is, and as much as counts in one word."""

Visible = Callable[[str, str], bool]
"""Called with (type, id): may the caller see this aggregate?"""


def see_all(_aggregate_type: str, _aggregate_id: str) -> bool:
    """Hide nothing: for callers who own the store's files."""
    return True


class Reader:
    """All questions about one domain, as of one view and the schemas in force.

    Hidden types are not there and hidden fields missing, from filters too, unless
    ``include_hidden``; payloads and states are as of the current revisions.
    """

    def __init__(self, view: IReadView, in_force: InForce, *, include_hidden: bool = False) -> None:
        self._view = view
        self._in_force = in_force
        self._views = in_force.views
        self._seen = in_force.views.seen(include_hidden=include_hidden)

    def shows(self, aggregate_type: str) -> bool:
        """Say whether aggregates of a type are there at all."""
        return self._seen.shows(aggregate_type)

    def aggregate(self, aggregate_type: str, aggregate_id: str) -> Head | None:
        """Return an aggregate as it is now, active or archived, or None."""
        head = self._stored(aggregate_type, aggregate_id)
        return None if head is None else self._head(head)

    def _stored(self, aggregate_type: str, aggregate_id: str) -> Head | None:
        """Return a head that may be shown as it is stored: for everything but its state."""
        if not self._seen.shows(aggregate_type):
            return None
        return eventlog.load_head(self._view, keys.name(aggregate_type, aggregate_id))

    def _head(self, stored: Head) -> Head:
        """Return what is seen of a head. Doing it again changes nothing."""
        fold = self._views.fold(stored.aggregate_type)
        if stored.fold_mark != fold.mark:
            stored = eventlog.refolded(self._view, stored, fold)
        return self._seen.head(stored)

    def aggregate_at(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        version: int | None = None,
        at_ns: int | None = None,
    ) -> Head | None:
        """Return an aggregate as of a version, or as of a time (nanoseconds), by replay.

        A version beyond the newest means the newest. Version 0, and a time before the first
        event, give the empty aggregate. The archive flag is today's. None when there is no such
        aggregate.
        """
        now = self._stored(aggregate_type, aggregate_id)
        if now is None or (version is None and at_ns is None):
            return None if now is None else self._head(now)
        last = now.version if version is None else min(version, now.version)
        fold = self._views.fold(aggregate_type)
        head = new_head(aggregate_type, aggregate_id, fold.mark)
        name = keys.name(aggregate_type, aggregate_id)
        if last > 0:
            for event in eventlog.events(self._view, name, until=last):
                if at_ns is not None and event.created_at > at_ns:
                    break
                head = evolve(head, event, fold)
        return self._seen.head(head)._replace(
            archived=now.archived,
            archived_at=now.archived_at,
            archive_comment=now.archive_comment,
        )

    def select(
        self, aggregate_type: str, aggregate_id: str, paths: list[str]
    ) -> tuple[Head, dict[str, JSON]] | None:
        """Return an aggregate and the values at dotted paths of its state (missing: None)."""
        head = self.aggregate(aggregate_type, aggregate_id)
        if head is None:
            return None
        return head, {path: select(head.state, path) for path in paths}

    def list_aggregates(self, query: AggregateQuery, visible: Visible = see_all) -> Page[Head]:
        """Return a page of aggregates. Raises InvalidCursor when cursor and sort disagree.

        A filter that mentions the archive flag looks at archived aggregates, too.
        """
        if query.take == 0:
            return Page([], None)
        wanted = query.filter
        if query.scope == "active" and wanted is not None and wanted.mentions("archived"):
            query = query._replace(scope="all")
        found = self._matching_heads(query, visible)
        query = query._replace(skip=min(query.skip, _SKIP_MAX))
        stop = query.skip + query.take
        if query.sort and not _by_time(query.sort):
            # Scans give active before archived aggregates, so only one of them is in order.
            if query.scope == "all" or not _natural(query.sort):
                found = iter(sort_aggregates(found, query.sort, stop))
            return Page([self._head(one) for one in islice(found, query.skip, stop)], None)
        items = [self._head(one) for one in islice(found, query.skip, stop)]
        more = len(items) == query.take
        return Page(items, aggregate_cursor(items[-1], query.sort) if more else None)

    def _matching_heads(self, query: AggregateQuery, visible: Visible) -> Iterator[Head]:
        """Yield heads as stored, or where a filter asks for their states as they are seen."""
        wanted = query.filter
        for head in self._scoped_heads(query):
            if query.aggregate_type is not None and head.aggregate_type != query.aggregate_type:
                continue
            if not (self._seen.shows(head[0]) and visible(head.aggregate_type, head.aggregate_id)):
                continue
            if wanted is not None:
                head = self._head(head)
                if not wanted.matches(aggregate_lookup(head)):
                    continue
            yield head

    def _scoped_heads(self, query: AggregateQuery) -> Iterator[Head]:
        scope = query.scope
        if _by_time(query.sort):
            yield from self._heads_by_time(query, scope)
            return
        cursor = query.cursor
        if cursor is not None and not isinstance(cursor, AggregateCursor):
            raise InvalidCursor("timestamp cursors require a sort by created_at or updated_at")
        if cursor is not None and query.sort:
            raise InvalidCursor("cursor cannot be combined with sort directives")
        for archived in _tags(scope):
            after = b""
            if cursor is not None:
                if archived == cursor.archived:
                    after = keys.name(cursor.aggregate_type, cursor.aggregate_id)
                elif cursor.archived:
                    continue
            yield from self._stored_heads(query.aggregate_type, archived=archived, after=after)

    def _stored_heads(
        self, aggregate_type: str | None, *, archived: bool, after: bytes
    ) -> Iterator[Head]:
        """Yield heads as stored by (type, id), stepping over hidden types at once."""
        shows = self._seen.shows
        while aggregate_type is None or shows(aggregate_type):
            for head in eventlog.heads(
                self._view, archived=archived, aggregate_type=aggregate_type, after=after
            ):
                if not shows(head.aggregate_type):
                    after = head.aggregate_type.encode() + b"\x01"
                    break
                yield head
            else:
                return

    def _heads_by_time(self, query: AggregateQuery, scope: Scope) -> Iterator[Head]:
        key = query.sort[0]
        after = self._time_place(query, key)
        created = key.field == "created_at"
        families = []
        for archived in _tags(scope):
            if archived:
                families.append(keys.CREATED_ARCHIVED if created else keys.UPDATED_ARCHIVED)
            else:
                families.append(keys.CREATED_ACTIVE if created else keys.UPDATED_ACTIVE)
        streams = (
            eventlog.heads_by_time(self._view, one, descending=key.descending, after=after)
            for one in families
        )

        def order(entry: tuple[int, Head]) -> tuple[int, str, str]:
            return entry[0], entry[1].aggregate_type, entry[1].aggregate_id

        for _millis, head in merge(*streams, key=order, reverse=key.descending):
            yield head

    def _time_place(self, query: AggregateQuery, key: SortKey) -> tuple[int, bytes] | None:
        cursor = query.cursor
        if cursor is None:
            return None
        if isinstance(cursor, AggregateCursor):
            raise InvalidCursor(
                "timestamp cursors must use the 'ts:' prefix (ts:<field>:<order>:...)"
            )
        name = keys.name(cursor.aggregate_type, cursor.aggregate_id)
        if isinstance(cursor, ShortTimestampCursor):
            return self._short_place(cursor, key), name
        if cursor.field != key.field:
            raise InvalidCursor(
                f"timestamp cursor targets '{cursor.field}' but sort is '{key.field}'"
            )
        if cursor.descending != key.descending:
            raise InvalidCursor(
                "timestamp cursor order does not match the requested sort direction"
            )
        return cursor.millis, name

    def _short_place(self, cursor: ShortTimestampCursor, key: SortKey) -> int:
        where = f"{cursor.aggregate_type}:{cursor.aggregate_id}"
        head = self._stored(cursor.aggregate_type, cursor.aggregate_id)
        if head is None:
            raise InvalidCursor(f"cursor references unknown aggregate '{where}'")
        at = head.created_at if key.field == "created_at" else head.updated_at
        if at is None:
            raise InvalidCursor(f"aggregate {where} missing {key.field} timestamp")
        return at // 1_000_000

    def list_events(
        self, query: EventQuery, visible: Visible = see_all, *, raw: bool = False
    ) -> Page[Event]:
        """Return a page of events of one aggregate, one type, or everything.

        ``raw`` leaves payloads at the revision at which they were written, for filters too.
        """
        if query.take == 0:
            return Page([], None)
        found = self._matching_events(query, visible, raw)
        query = query._replace(skip=min(query.skip, _SKIP_MAX))
        stop = query.skip + query.take
        if query.sort:
            if query.cursor is not None:
                raise InvalidCursor("cursor cannot be combined with sort directives")
            items = list(sort_events((one for one, _ in found), query.sort, stop))[query.skip :]
            return Page(self._shown(items, query, raw), None)
        pairs = list(islice(found, query.skip, stop))
        cursor = event_cursor(*pairs[-1]) if len(pairs) == query.take else None
        return Page(self._shown([event for event, _archived in pairs], query, raw), cursor)

    def _shown(self, events: list[Event], query: EventQuery, raw: bool) -> list[Event]:
        if query.filter is not None:
            return events  # They were filtered as they are seen.
        return [self._seen.event(event, raw=raw) for event in events]

    def _matching_events(
        self, query: EventQuery, visible: Visible, raw: bool
    ) -> Iterator[tuple[Event, bool]]:
        """Yield events as stored, or where a filter asks for their payloads as they are seen."""
        wanted: Filter | None = query.filter
        for aggregate_type, aggregate_id, archived in self._streams(query):
            if not visible(aggregate_type, aggregate_id):
                continue
            after = 0
            cursor = query.cursor
            if cursor is not None and cursor[1:3] == (aggregate_type, aggregate_id):
                after = min(cursor.version, eventlog.U64_MAX - 1)
            name = keys.name(aggregate_type, aggregate_id)
            for event in eventlog.events(self._view, name, after=after):
                if wanted is not None:
                    event = self._seen.event(event, raw=raw)
                    if not wanted.matches(event_lookup(event)):
                        continue
                yield event, archived

    def _streams(self, query: EventQuery) -> Iterator[tuple[str, str, bool]]:
        """Yield (type, id, archived) of the aggregates whose events are asked for, in order."""
        if query.aggregate_type is not None and query.aggregate_id is not None:
            head = self._stored(query.aggregate_type, query.aggregate_id)
            if head is not None and head.archived in _tags(query.scope):
                yield query.aggregate_type, query.aggregate_id, head.archived
            return
        cursor = query.cursor
        for archived in _tags(query.scope):
            if cursor is not None and cursor.archived and not archived:
                continue
            start = None
            if cursor is not None and cursor.archived == archived:
                start = (cursor.aggregate_type, cursor.aggregate_id)
                head = self._stored(*start)
                if (
                    head is not None
                    and head.archived == archived
                    and query.aggregate_type in (None, start[0])
                ):
                    yield *start, archived
            after = b"" if start is None else keys.name(*start)
            for one in self._stored_heads(query.aggregate_type, archived=archived, after=after):
                yield one.aggregate_type, one.aggregate_id, archived

    def event(
        self, aggregate_type: str, aggregate_id: str, version: int, *, raw: bool = False
    ) -> Event | None:
        """Return one event of an aggregate, or None."""
        if not self._seen.shows(aggregate_type):
            return None
        name = keys.name(aggregate_type, aggregate_id)
        event = eventlog.load_event(self._view, name, version)
        return None if event is None else self._seen.event(event, raw=raw)

    def event_by_id(self, event_id: int, *, raw: bool = False) -> Event | None:
        """Return the event with a Snowflake id, or None, in O(log n) point reads."""
        if not 0 < event_id <= eventlog.U64_MAX:
            return None
        position = eventlog.position_of(self._view, PARTITION, event_id)
        if position is None:
            return None
        for _position, entry in eventlog.log_entries(self._view, PARTITION, start=position):
            names = keys.split_name(entry.event_key[1:])
            return self.event(*names, keys.event_version(entry.event_key), raw=raw)
        return None

    def log(self, *, after_id: int = 0) -> Iterator[tuple[int, int, str, str, int]]:
        """Yield (position, event id, type, id, version) in commit order, after an event id."""
        start = 0 if after_id <= 0 else eventlog.position_after_id(self._view, PARTITION, after_id)
        for position, entry in eventlog.log_entries(self._view, PARTITION, start=start):
            names = keys.split_name(entry.event_key[1:])
            yield position, entry.event_id, *names, keys.event_version(entry.event_key)

    def referrers(
        self,
        domain: str,
        aggregate_type: str,
        aggregate_id: str,
        visible: Visible = see_all,
        *,
        after: Referrer | None = None,
    ) -> Iterator[Referrer]:
        """Yield who refers to an aggregate of this domain, by (type, id, path).

        Raises IndexUnfinished while that is not known.
        """
        work = unindexed(self._view)
        for name in work:
            if self._seen.shows(name) and self._in_force.reference_paths(name):
                raise IndexUnfinished(unfinished(name if visible(name, "") else None, work[name]))
        target = Reference(domain, aggregate_type, aggregate_id)
        for one in referrers(self._view, target, after=after):
            if one.aggregate_type in work:
                continue  # Says what was so before its type lost its reference columns.
            if self._seen.shows_path(one.aggregate_type, one.path) and visible(*one[:2]):
                yield one

    def snapshots(
        self,
        aggregate_type: str | None = None,
        aggregate_id: str | None = None,
        version: int | None = None,
    ) -> Iterator[Snapshot]:
        """Yield snapshots by (type, id, time); optionally only those of exactly one version."""
        for snapshot in eventlog.snapshots(self._view, aggregate_type, aggregate_id):
            if version is None or snapshot.version == version:
                if self._seen.shows(snapshot.aggregate_type):
                    yield self._seen.snapshot(snapshot)

    def snapshot(self, snapshot_id: int) -> Snapshot | None:
        """Return the snapshot with an id, or None."""
        if not 0 < snapshot_id <= eventlog.U64_MAX:
            return None
        snapshot = eventlog.snapshot_by_id(self._view, snapshot_id)
        if snapshot is None or not self._seen.shows(snapshot.aggregate_type):
            return None
        return self._seen.snapshot(snapshot)


def aggregate_cursor(head: Head, sort: tuple[SortKey, ...]) -> str:
    """Return the token of the page that begins after an aggregate."""
    if _by_time(sort):
        key = sort[0]
        at = head.created_at if key.field == "created_at" else head.updated_at
        return TimestampCursor(
            key.field,
            key.descending,
            head.archived,
            (at or 0) // 1_000_000,
            head.aggregate_type,
            head.aggregate_id,
        ).token()
    return AggregateCursor(head.archived, head.aggregate_type, head.aggregate_id).token()


def event_cursor(event: Event, archived: bool) -> str:
    """Return the token of the page that begins after an event."""
    return EventCursor(archived, event.aggregate_type, event.aggregate_id, event.version).token()


def _tags(scope: Scope) -> tuple[bool, ...]:
    return {"active": (False,), "archived": (True,), "all": (False, True)}[scope]


def _by_time(sort: tuple[SortKey, ...]) -> bool:
    return len(sort) == 1 and sort[0].field in _TIMES


def _natural(sort: tuple[SortKey, ...]) -> bool:
    """Is this the order that a scan gives anyway?"""
    fields = ("aggregate_type", "aggregate_id")
    return all(not key.descending for key in sort) and (
        tuple(key.field for key in sort) == fields[: len(sort)]
    )
