"""Page tokens: the place after which the next page begins, as readable text.

Only their grammar lives here. Whether a cursor fits the sort and scope of a request is decided
where the request is read.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.errors import InvalidCursor

_TAGS = {"a": False, "active": False, "r": True, "archived": True}
_KINDS = {
    "created_at": "created_at",
    "created": "created_at",
    "updated_at": "updated_at",
    "updated": "updated_at",
}
_ORDERS = {"asc": False, "desc": True}
_DIGITS = re.compile(r"\+?[0-9]{1,40}")
_SIGNED_DIGITS = re.compile(r"[+-]?[0-9]{1,40}")
_PREFIX = "ts:"


class AggregateCursor(NamedTuple):
    """After this aggregate, in the order of (archived, type, id)."""

    archived: bool
    aggregate_type: str
    aggregate_id: str

    def token(self) -> str:
        """Return the text that :func:`parse_aggregate_cursor` reads."""
        return f"{_tag(self.archived)}:{self.aggregate_type}:{self.aggregate_id}"


class TimestampCursor(NamedTuple):
    """After this aggregate, in the order of a time; ``field`` is created_at or updated_at.

    ``millis`` counts milliseconds since the Unix epoch and may be negative.
    """

    field: str
    descending: bool
    archived: bool
    millis: int
    aggregate_type: str
    aggregate_id: str

    def token(self) -> str:
        """Return the text that :func:`parse_aggregate_cursor` reads."""
        order = "desc" if self.descending else "asc"
        return (
            f"{_PREFIX}{self.field}:{order}:{_tag(self.archived)}:{self.millis}"
            f":{self.aggregate_type}:{self.aggregate_id}"
        )


class ShortTimestampCursor(NamedTuple):
    """After this aggregate, in the order of a time that the aggregate itself tells."""

    aggregate_type: str
    aggregate_id: str

    def token(self) -> str:
        """Return the text that :func:`parse_aggregate_cursor` reads."""
        return f"{_PREFIX}{self.aggregate_type}:{self.aggregate_id}"


class EventCursor(NamedTuple):
    """After this event, in the order of (archived, type, id, version)."""

    archived: bool
    aggregate_type: str
    aggregate_id: str
    version: int

    def token(self) -> str:
        """Return the text that :func:`parse_event_cursor` reads."""
        place = f"{_tag(self.archived)}:{self.aggregate_type}:{self.aggregate_id}"
        return f"{place}:{self.version}"


class ReferrerCursor(NamedTuple):
    """After this place, in the order of (type, id, path) of who refers to an aggregate."""

    aggregate_type: str
    aggregate_id: str
    path: str

    def token(self) -> str:
        """Return the text that :func:`parse_referrer_cursor` reads."""
        return f"{self.aggregate_type}:{self.aggregate_id}:{self.path}"


def parse_aggregate_cursor(
    text: str,
) -> AggregateCursor | TimestampCursor | ShortTimestampCursor:
    """Return the place that a token of an aggregate list names. Raises InvalidCursor."""
    trimmed = text.strip(WHITE_SPACE)
    if trimmed.startswith(_PREFIX):
        return _timestamp(_Segments(trimmed[len(_PREFIX) :], "timestamp cursor"))
    segments = _Segments(trimmed, "cursor")
    archived = _archived(segments.first())
    cursor = AggregateCursor(
        archived, segments.name("aggregate_type"), segments.name("aggregate_id")
    )
    segments.end()
    return cursor


def parse_event_cursor(text: str) -> EventCursor:
    """Return the place that a token of an event list names. Raises InvalidCursor."""
    segments = _Segments(text.strip(WHITE_SPACE), "cursor")
    archived = _archived(segments.first())
    aggregate_type = segments.name("aggregate_type")
    aggregate_id = segments.name("aggregate_id")
    digits = segments.next("version")
    version = int(digits) if _DIGITS.fullmatch(digits) else -1
    if not 0 <= version < 1 << 64:
        raise InvalidCursor(f"cursor version '{digits}' is not a number")
    segments.end()
    return EventCursor(archived, aggregate_type, aggregate_id, version)


def parse_referrer_cursor(text: str) -> ReferrerCursor:
    """Return the place that a token of a list of referrers names. Raises InvalidCursor.

    The path may hold colons and blanks; it is whatever follows the second colon.
    """
    segments = _Segments(text, "cursor", 3)
    cursor = ReferrerCursor(
        segments.name("aggregate_type"), segments.name("aggregate_id"), segments.name("path")
    )
    if "\x00" in text:
        raise InvalidCursor("cursor cannot contain a null character")
    return cursor


def _timestamp(segments: _Segments) -> TimestampCursor | ShortTimestampCursor:
    if segments.count == 2:
        return ShortTimestampCursor(segments.name("aggregate_type"), segments.name("aggregate_id"))
    kind = segments.next("kind")
    if kind not in _KINDS:
        raise InvalidCursor(f"unknown timestamp cursor kind '{kind}'")
    order = segments.next("order")
    if order not in _ORDERS:
        raise InvalidCursor(f"timestamp cursor order must be 'asc' or 'desc', found '{order}'")
    archived = _archived(segments.next("scope"))
    digits = segments.next("timestamp")
    millis = int(digits) if _SIGNED_DIGITS.fullmatch(digits) else 1 << 63
    if not -(1 << 63) <= millis < 1 << 63:
        raise InvalidCursor(f"timestamp cursor contains invalid timestamp '{digits}'")
    aggregate_type = segments.name("aggregate_type")
    aggregate_id = segments.name("aggregate_id")
    segments.end()
    return TimestampCursor(
        _KINDS[kind], _ORDERS[order], archived, millis, aggregate_type, aggregate_id
    )


class _Segments:
    """The parts between colons, taken one after the other."""

    def __init__(self, text: str, noun: str, count_max: int = 0) -> None:
        self._noun = noun
        self._rest = text.split(":", count_max - 1) if text else []
        self.count = len(self._rest)
        self._rest.reverse()

    def first(self) -> str:
        if not self._rest:
            self._refuse("cannot be empty")
        return self._rest.pop()

    def next(self, what: str) -> str:
        if not self._rest:
            self._refuse(f"missing {what}")
        return self._rest.pop()

    def name(self, what: str) -> str:
        found = self.next(what)
        if not found:
            self._refuse(f"{what} cannot be empty")
        return found

    def end(self) -> None:
        if self._rest:
            self._refuse("has too many segments")

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidCursor(f"{self._noun} {why}")


def _tag(archived: bool) -> str:
    return "r" if archived else "a"


def _archived(tag: str) -> bool:
    if tag not in _TAGS:
        raise InvalidCursor(f"unknown cursor segment '{tag}'")
    return _TAGS[tag]
