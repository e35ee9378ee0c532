"""Erased content is accounted for: each erasure is an event that names what it has erased."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from eventdbx.domain.events import Event
from eventdbx.domain.identifiers import ERASED_TYPE

_BEYOND = (1 << 64, 1 << 64)
"""A range behind all versions."""


class Erasures:
    """The versions of one aggregate whose content is gone, and those that erasures name."""

    def __init__(self) -> None:
        self._gone: list[tuple[int, int]] = []
        self._there: list[tuple[int, int]] = []
        self._named: list[tuple[int, int]] = []

    def meet(self, event: Event) -> None:
        """Take note of the next event."""
        version = event.version
        ranges = self._gone if event.erased else self._there
        if ranges and ranges[-1][1] == version - 1:
            ranges[-1] = (ranges[-1][0], version)
        else:
            ranges.append((version, version))
        if not event.erased and event.event_type == ERASED_TYPE:
            try:
                ranges = orjson.loads(event.payload)["events"]
                # What an erasure names is before it.
                named = [(int(first), min(int(last), version - 1)) for first, last in ranges]
                self._named += [(first, last) for first, last in named if first <= last]
            except (ValueError, TypeError, KeyError):
                return  # It names nothing then.

    def remaining(self) -> Iterator[int]:
        """Yield the versions whose content is there although a later erasure names them."""
        named = _united(self._named)
        at = 0
        for first, last in self._there:
            while at < len(named) and named[at][1] < first:
                at += 1
            next_one = at
            while next_one < len(named) and named[next_one][0] <= last:
                low, high = named[next_one]
                yield from range(max(first, low), min(last, high) + 1)
                next_one += 1

    def unnamed(self) -> Iterator[int]:
        """Yield the versions whose content is gone although no later erasure names them."""
        named = iter(_united(self._named))
        low, high = next(named, _BEYOND)
        for first, last in self._gone:
            while first <= last:
                while high < first:
                    low, high = next(named, _BEYOND)
                yield from range(first, min(last + 1, low))
                first = max(first, high + 1)


def _united(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges as ascending ones that do not touch."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
