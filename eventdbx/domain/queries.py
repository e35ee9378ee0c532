"""What a caller can ask the reader for, as values, and the page that comes back."""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple, TypeVar

from eventdbx.domain.cursors import (
    AggregateCursor,
    EventCursor,
    ShortTimestampCursor,
    TimestampCursor,
)
from eventdbx.domain.filters import Filter
from eventdbx.domain.sorting import SortKey

Scope = Literal["active", "all", "archived"]
T = TypeVar("T")


class AggregateQuery(NamedTuple):
    """A page of aggregates: natural order is (type, id), active before archived."""

    take: int
    aggregate_type: str | None = None
    cursor: AggregateCursor | TimestampCursor | ShortTimestampCursor | None = None
    skip: int = 0
    filter: Filter | None = None
    sort: tuple[SortKey, ...] = ()
    scope: Scope = "active"


class EventQuery(NamedTuple):
    """A page of events: natural order is (type, id, version), active before archived."""

    take: int
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    cursor: EventCursor | None = None
    skip: int = 0
    filter: Filter | None = None
    sort: tuple[SortKey, ...] = ()
    scope: Scope = "active"


class Page(NamedTuple, Generic[T]):
    """Items in order; ``next_cursor`` is set when the page is full, so there may be more."""

    items: list[T]
    next_cursor: str | None
