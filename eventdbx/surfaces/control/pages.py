"""Lists of the control protocol: from request texts to a query, from a page to what fits a frame.

A list never drops an item silently: what does not fit is left to the next page, whose cursor is
that of the last item sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from eventdbx import limits
from eventdbx.application.reader import Reader, Visible, aggregate_cursor, event_cursor
from eventdbx.domain.aggregate import Head, aggregate_document
from eventdbx.domain.cursors import (
    AggregateCursor,
    ShortTimestampCursor,
    TimestampCursor,
    parse_aggregate_cursor,
    parse_event_cursor,
)
from eventdbx.domain.events import Event, event_document
from eventdbx.domain.filters import Filter, parse_filter
from eventdbx.domain.queries import AggregateQuery, EventQuery, Scope
from eventdbx.domain.sorting import SortKey, parse_aggregate_sort
from eventdbx.errors import AggregateNotFound, InvalidCursor
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

JSON_BYTES_MAX = limits.FRAME_PLAINTEXT_BYTES_MAX - 1_024
"""What a list may fill; the rest is for cursor, pointers and padding of the message."""

OUTBOX_SCAN_MAX = 10_000
"""Positions that one outbox request looks at: a reader that may see little must not scan all."""

_TIMES = ("created_at", "updated_at")
T = TypeVar("T")


class PageSizes(Protocol):
    """The two page sizes of the configuration."""

    @property
    def list_page_size(self) -> int:
        """Items of a list when nothing else is asked for."""

    @property
    def page_limit(self) -> int:
        """Items of a list at most."""


def optional_filter(text: str | None) -> Filter | None:
    """Return the filter of a text, or None. Raises InvalidSchema."""
    return None if text is None else parse_filter(text)


def bounded_take(asked: int | None, default: int, limit: int) -> int:
    """Return how many items a page has; more than the limit is silently lowered."""
    return min(default if asked is None else asked, limit)


def aggregate_query(request: rq.ListAggregates, sizes: PageSizes) -> AggregateQuery:
    """Return what listAggregates asks for. Raises InvalidSchema, InvalidCursor."""
    wanted = optional_filter(request.filter)
    sort: tuple[SortKey, ...] = ()
    if request.sort is not None:
        sort = parse_aggregate_sort(request.sort)
    elif request.sort_keys:
        sort = tuple(SortKey(field, descending) for field, descending in request.sort_keys)
    scope: Scope = "active"
    if request.archived_only:
        scope = "archived"
    elif request.include_archived or (wanted is not None and wanted.mentions("archived")):
        scope = "all"
    return AggregateQuery(
        take=bounded_take(request.take, sizes.list_page_size, sizes.page_limit),
        cursor=aggregate_cursor_for(request.cursor, sort, scope),
        skip=request.skip or 0,
        filter=wanted,
        sort=sort,
        scope=scope,
    )


def aggregate_cursor_for(
    text: str | None, sort: tuple[SortKey, ...], scope: Scope
) -> AggregateCursor | TimestampCursor | ShortTimestampCursor | None:
    """Return the parsed cursor after holding it against sort and scope. Raises InvalidCursor."""
    if text is None:
        return None
    by_time = len(sort) == 1 and sort[0].field in _TIMES
    if sort and not by_time:
        raise InvalidCursor("cursor cannot be combined with sort directives")
    cursor = parse_aggregate_cursor(text)
    if isinstance(cursor, ShortTimestampCursor):
        if not by_time:
            raise InvalidCursor(f"unknown timestamp cursor kind '{cursor.aggregate_type}'")
        return cursor
    if isinstance(cursor, TimestampCursor):
        if by_time:
            if scope != "all" and cursor.archived != (scope == "archived"):
                raise InvalidCursor(
                    f"timestamp cursor must reference {scope} aggregates in this scope"
                )
            return cursor
        cursor = AggregateCursor(cursor.archived, cursor.aggregate_type, cursor.aggregate_id)
    elif by_time:
        raise InvalidCursor("timestamp cursors must use the 'ts:' prefix (ts:<field>:<order>:...)")
    if scope == "archived" and not cursor.archived:
        raise InvalidCursor("archived listings require archived cursor values")
    if scope == "active" and cursor.archived:
        raise InvalidCursor("cursor points to archived aggregates but scope uses active records")
    return cursor


def fill(
    items: Sequence[T], document: Callable[[T], bytes], room: int = JSON_BYTES_MAX
) -> list[bytes]:
    """Return the documents of the longest run of items that fits, of the first in any case."""
    documents: list[bytes] = []
    used = 2
    for item in items:
        one = document(item)
        used += len(one) + 1
        if documents and used > room:
            break
        documents.append(one)
    return documents


def array(documents: Sequence[bytes]) -> bytes:
    """Return the JSON array of some documents."""
    return b"[" + b",".join(documents) + b"]"


class _Listed(NamedTuple):
    """An aggregate on its way into a list, with its resolved form when that was asked for."""

    plain: bytes
    resolved: bytes


def aggregates_page(
    reader: Reader,
    query: AggregateQuery,
    visible: Visible,
    *,
    resolved_form: Callable[[Head, bytes], bytes] | None = None,
) -> rs.AggregatesPage:
    """Return a page of aggregates that fits a frame.

    ``resolved_form`` returns the resolved form of an aggregate, also given its document; without
    it the page has none.
    """
    page = reader.list_aggregates(query, visible)
    if resolved_form is None:
        documents = fill(page.items, aggregate_document)
        resolved = None
    else:
        pairs: list[_Listed] = []

        def both(head: Head) -> bytes:
            plain = aggregate_document(head)
            form = resolved_form(head, plain)
            pairs.append(_Listed(plain, form))
            return plain + form

        pairs = pairs[: len(fill(page.items, both))]
        documents = [pair.plain for pair in pairs]
        resolved = array([pair.resolved for pair in pairs])
    cursor = page.next_cursor
    if len(documents) < len(page.items):
        last = page.items[len(documents) - 1]
        cursor = aggregate_cursor(last, query.sort)
    return rs.AggregatesPage(array(documents), cursor, resolved)


def event_query(request: rq.ListEvents, sizes: PageSizes) -> EventQuery:
    """Return what listEvents asks for. Raises InvalidSchema, InvalidCursor."""
    cursor = None
    if request.cursor is not None:
        cursor = parse_event_cursor(request.cursor)
        if cursor[1:3] != (request.aggregate_type, request.aggregate_id):
            raise InvalidCursor("cursor does not match the requested event scope")
    return EventQuery(
        take=bounded_take(request.take, sizes.page_limit, sizes.page_limit),
        aggregate_type=request.aggregate_type,
        aggregate_id=request.aggregate_id,
        cursor=cursor,
        skip=request.skip or 0,
        filter=optional_filter(request.filter),
        scope="all",
    )


def events_page(reader: Reader, query: EventQuery, *, must_exist: bool) -> rs.EventsPage:
    """Return a page of one aggregate's events that fits a frame.

    Raises AggregateNotFound when the aggregate must exist and does not.
    """
    assert query.aggregate_type is not None and query.aggregate_id is not None
    head = reader.aggregate(query.aggregate_type, query.aggregate_id)
    if head is None:
        if must_exist:
            raise AggregateNotFound()
        return rs.EventsPage(b"[]", None)
    page = reader.list_events(query)
    documents = fill(page.items, event_document)
    cursor = page.next_cursor
    if len(documents) < len(page.items):
        cursor = event_cursor(page.items[len(documents) - 1], head.archived)
    return rs.EventsPage(array(documents), cursor)


def outbox_page(reader: Reader, after_id: int, take: int, visible: Visible) -> rs.OutboxPage:
    """Return events after an id in commit order, and the last id looked at.

    A page of events that the caller may not see still advances; one cut to fit a frame never
    passes an event that was left out.
    """
    documents: list[bytes] = []
    used, last = 2, None
    for scanned, entry in enumerate(reader.log(after_id=after_id)):
        _position, event_id, aggregate_type, aggregate_id, version = entry
        if len(documents) == take or scanned == OUTBOX_SCAN_MAX:
            break
        if reader.shows(aggregate_type) and visible(aggregate_type, aggregate_id):
            event: Event | None = reader.event(aggregate_type, aggregate_id, version)
            assert event is not None, "the commit log names an event that is not there"
            one = event_document(event)
            used += len(one) + 1
            if documents and used > JSON_BYTES_MAX:
                break
            documents.append(one)
        last = event_id
    return rs.OutboxPage(array(documents), last)
