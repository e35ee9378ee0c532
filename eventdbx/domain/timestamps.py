"""Times as texts: RFC 3339 in UTC, nanoseconds since the Unix epoch inside."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d\d):(\d\d))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _local(ns: int) -> str:
    seconds, fraction = divmod(ns, 1_000_000_000)
    if not fraction:
        return _second(seconds)
    if not fraction % 1_000_000:
        return f"{_second(seconds)}.{fraction // 1_000_000:03d}"
    if not fraction % 1_000:
        return f"{_second(seconds)}.{fraction // 1_000:06d}"
    return f"{_second(seconds)}.{fraction:09d}"


def format_ns(ns: int) -> str:
    """Return a time as RFC 3339 with ``Z`` and 0, 3, 6 or 9 fraction digits, the fewest exact."""
    return _local(ns) + "Z"


def format_offset(ns: int) -> str:
    """Return a time as :func:`format_ns` does, with ``+00:00`` for ``Z``: text output."""
    return _local(ns) + "+00:00"


def parse_ns(text: str) -> int:
    """Return the nanoseconds since the Unix epoch of an RFC 3339 text with an offset.

    Raises ValueError for anything else. Digits beyond nanoseconds are dropped.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not an RFC 3339 time")
    date, clock, fraction, _zulu, sign, hours, minutes = match.groups()
    moment = datetime.strptime(f"{date}T{clock}", "%Y-%m-%dT%H:%M:%S")
    seconds = timegm(moment.timetuple())
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
