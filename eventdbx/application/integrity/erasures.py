"""Erased content is accounted for: each erasure is an event that names what it has erased."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from eventdbx.domain.events import Event

ERASED_TYPE = "dbx_erased"
"""The reserved type of the events that record an erasure."""


class Erasures:
    """The versions of one aggregate whose content is gone, and those that erasures name."""

    def __init__(self) -> None:
        self._gone: list[tuple[int, int]] = []
        self._named: list[tuple[int, int, int]] = []

    def meet(self, event: Event) -> None:
        """Take note of the next event."""
        version = event.version
        if event.erased:
            if self._gone and self._gone[-1][1] == version - 1:
                self._gone[-1] = (self._gone[-1][0], version)
            else:
                self._gone.append((version, version))
        elif event.event_type == ERASED_TYPE:
            try:
                ranges = orjson.loads(event.payload)["events"]
                self._named += [(int(first), int(last), version) for first, last in ranges]
            except (ValueError, TypeError, KeyError):
                return  # It names nothing then.

    def unnamed(self) -> Iterator[int]:
        """Yield the versions whose content is gone although no later erasure names them."""
        for first, last in self._gone:
            for version in range(first, last + 1):
                if not any(low <= version <= high < by for low, high, by in self._named):
                    yield version
