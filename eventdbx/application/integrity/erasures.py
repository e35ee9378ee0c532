"""Erased content is accounted for: each erasure is an event that names what it has erased."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from eventdbx.domain.events import Event
from eventdbx.domain.identifiers import ERASED_TYPE


class Erasures:
    """The versions of one aggregate whose content is gone, and those that erasures name."""

    def __init__(self) -> None:
        self._gone: list[tuple[int, int]] = []
        self._there: list[tuple[int, int]] = []
        self._named: list[tuple[int, int, int]] = []

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
                self._named += [(int(first), int(last), version) for first, last in ranges]
            except (ValueError, TypeError, KeyError):
                return  # It names nothing then.

    def remaining(self) -> Iterator[int]:
        """Yield the versions whose content is there although a later erasure names them."""
        for first, last in self._there:
            for low, high, by in self._named:
                yield from range(max(first, low), min(last, high, by - 1) + 1)

    def unnamed(self) -> Iterator[int]:
        """Yield the versions whose content is gone although no later erasure names them."""
        for first, last in self._gone:
            for version in range(first, last + 1):
                if not any(low <= version <= high < by for low, high, by in self._named):
                    yield version
