"""Times as text: nanoseconds since the Unix epoch to RFC 3339 and back. No clock is read here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

NS_MIN, NS_MAX = -(2**63), 2**63 - 1
"""Records keep times in 64 bits: 1677-09-21 to 2262-04-11."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return date and time without fraction and zone; most calls ask for the current second."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _stamp(ns: int) -> str:
    fraction = ns % NS_PER_S
    whole = _second(ns // NS_PER_S)
    if fraction == 0:
        return whole
    if fraction % 1_000:
        return f"{whole}.{fraction:09d}"
    if fraction % 1_000_000:
        return f"{whole}.{fraction // 1_000:06d}"
    return f"{whole}.{fraction // 1_000_000:03d}"


def format_ns(ns: int) -> str:
    """Return a time as RFC 3339 with ``Z`` and 0, 3, 6 or 9 fraction digits, the fewest exact.

    ``ns`` is between NS_MIN and NS_MAX.
    """
    return _stamp(ns) + "Z"


def format_offset(ns: int) -> str:
    """Return a time as :func:`format_ns` does, but with ``+00:00`` for the zone."""
    return _stamp(ns) + "+00:00"


def parse_ns(text: str) -> int:
    """Return the time that an RFC 3339 text with a zone stands for; digits beyond 9 are cut off.

    Raises ValueError for other texts, for dates and times that do not exist (leap seconds among
    them), and for times outside NS_MIN .. NS_MAX.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is not an RFC 3339 time")
    date, time, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"'{text}' is not an RFC 3339 time") from None
    offset_s = 0
    if sign is not None:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(f"'{text}' is not an RFC 3339 time")
        offset_s = (int(hours) * 60 + int(minutes)) * (-60 if sign == "-" else 60)
    since = moment - _EPOCH
    ns = (since.days * 86_400 + since.seconds - offset_s) * NS_PER_S
    if fraction is not None:
        ns += int(fraction[:9].ljust(9, "0"))
    if not NS_MIN <= ns <= NS_MAX:
        raise ValueError(f"'{text}' is outside the years 1678 to 2261")
    return ns
