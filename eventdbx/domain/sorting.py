"""Sort directives, and putting aggregates and events in the order that they ask for.

Which orders an index gives for nothing is known to the reader, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from typing import Any, NamedTuple, Protocol, TypeVar

from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.errors import InvalidSchema

_BEFORE_ALL_TIMES = -(1 << 64)


class SortKey(NamedTuple):
    """One directive: a field in snake case, and whether its order is turned round."""

    field: str
    descending: bool


class SortableAggregate(Protocol):
    """What of an aggregate can be sorted by."""

    @property
    def aggregate_type(self) -> str: ...
    @property
    def aggregate_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def merkle_root(self) -> bytes: ...
    @property
    def archived(self) -> bool: ...
    @property
    def created_at(self) -> int | None: ...
    @property
    def updated_at(self) -> int | None: ...


class SortableEvent(Protocol):
    """What of an event can be sorted by."""

    @property
    def aggregate_type(self) -> str: ...
    @property
    def aggregate_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def event_id(self) -> int: ...
    @property
    def created_at(self) -> int: ...
    @property
    def merkle_root(self) -> bytes: ...
    @property
    def hash(self) -> bytes: ...


AggregateT = TypeVar("AggregateT", bound=SortableAggregate)
EventT = TypeVar("EventT", bound=SortableEvent)
T = TypeVar("T")

# Texts compare by code point, which is the order of their UTF-8 bytes.
_AGGREGATE_FIELDS: Mapping[str, Callable[[SortableAggregate], Any]] = {
    "aggregate_type": lambda head: head.aggregate_type,
    "aggregate_id": lambda head: head.aggregate_id,
    "archived": lambda head: head.archived,
    "version": lambda head: head.version,
    "merkle_root": lambda head: head.merkle_root,
    "created_at": lambda head: _absent_first(head.created_at),
    "updated_at": lambda head: _absent_first(head.updated_at),
}
_EVENT_FIELDS: Mapping[str, Callable[[SortableEvent], Any]] = {
    "aggregate_type": lambda event: event.aggregate_type,
    "aggregate_id": lambda event: event.aggregate_id,
    "event_type": lambda event: event.event_type,
    "version": lambda event: event.version,
    "event_id": lambda event: event.event_id,
    "created_at": lambda event: event.created_at,
    "merkle_root": lambda event: event.merkle_root,
    "hash": lambda event: event.hash,
}


def parse_aggregate_sort(text: str) -> tuple[SortKey, ...]:
    """Return the directives of ``field[:asc|desc]{,field[:asc|desc]}`` for aggregates.

    Case and underscores do not matter. Raises InvalidSchema.
    """
    return _parse(text, "aggregate", _AGGREGATE_FIELDS)


def parse_event_sort(text: str) -> tuple[SortKey, ...]:
    """Return the directives of ``field[:asc|desc]{,field[:asc|desc]}`` for events.

    Case and underscores do not matter. Raises InvalidSchema.
    """
    return _parse(text, "event", _EVENT_FIELDS)


def sort_aggregates(
    heads: Iterable[AggregateT], keys: tuple[SortKey, ...], limit: int | None
) -> list[AggregateT]:
    """Return the first ``limit`` aggregates (None: all) in the order of the directives.

    Ties keep the order in which they came. No more than ``limit`` are held at a time.
    """
    return _sorted(heads, [(_AGGREGATE_FIELDS[key.field], key.descending) for key in keys], limit)


def sort_events(
    events: Iterable[EventT], keys: tuple[SortKey, ...], limit: int | None
) -> list[EventT]:
    """Return the first ``limit`` events (None: all) in the order of the directives.

    Ties keep the order in which they came. No more than ``limit`` are held at a time.
    """
    return _sorted(events, [(_EVENT_FIELDS[key.field], key.descending) for key in keys], limit)


class _Descending:
    """A value that sorts the other way round."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __lt__(self, other: _Descending) -> bool:
        return bool(other._value < self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self._value == other._value)

    __hash__ = None  # type: ignore[assignment]


def _absent_first(time: int | None) -> int:
    return _BEFORE_ALL_TIMES if time is None else time


def _sorted(
    items: Iterable[T], columns: list[tuple[Callable[[Any], Any], bool]], limit: int | None
) -> list[T]:
    def order(item: T) -> tuple[Any, ...]:
        return tuple(
            _Descending(value(item)) if descending else value(item) for value, descending in columns
        )

    return sorted(items, key=order) if limit is None else nsmallest(limit, items, key=order)


def _parse(text: str, noun: str, fields: Mapping[str, object]) -> tuple[SortKey, ...]:
    if not text.strip(WHITE_SPACE):
        raise _invalid("sort specification cannot be empty")
    spellings = {spelling: name for name in fields for spelling in (name, name.replace("_", ""))}
    keys: dict[str, SortKey] = {}
    for segment in text.split(","):
        segment = segment.strip(WHITE_SPACE)
        if not segment:
            raise _invalid("sort segments cannot be empty")
        field, *rest = (part.strip(WHITE_SPACE) for part in segment.split(":"))
        if not field:
            raise _invalid("sort field cannot be empty")
        name = spellings.get(field.lower())
        if name is None:
            raise _invalid(f"unsupported {noun} sort field '{field}'")
        order = rest[0].lower() if rest else "asc"
        if order not in ("asc", "desc"):
            raise _invalid(f"invalid sort order '{rest[0]}' (expected 'asc' or 'desc')")
        if len(rest) > 1:
            raise _invalid("sort specification contains too many ':' separators")
        # A field that comes again decides nothing any more; dropping it bounds the comparisons.
        keys.setdefault(name, SortKey(name, order == "desc"))
    return tuple(keys.values())


def _invalid(why: str) -> InvalidSchema:
    return InvalidSchema(f"invalid sort specification: {why}")
