"""Which events a plugin wants, of those that it may see."""

from __future__ import annotations

from collections.abc import Callable

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.events import Event
from eventdbx.domain.filters import event_lookup, parse_filter


def selector(entry: PluginEntry) -> Callable[[Event], bool]:
    """Return what says whether an event is one for a plugin, by the options of its entry.

    ``aggregates`` and ``events`` are names, an event's as it was sent or normalised; ``filter`` is
    asked last, of the event as it is given: who reads filters on current revisions gives events
    that were upcast. Raises InvalidSchema for a filter that is none.
    """
    aggregates = frozenset(entry.aggregates)
    events = frozenset(name.replace(".", "_") for name in entry.events)
    wanted = None if entry.filter is None else parse_filter(entry.filter)
    if not aggregates and not events and wanted is None:
        return every_event

    def selects(event: Event) -> bool:
        if aggregates and event.aggregate_type not in aggregates:
            return False
        if events and event.event_type not in events:
            return False
        return wanted is None or wanted.matches(event_lookup(event))

    return selects


def every_event(_event: Event) -> bool:
    """Want everything."""
    return True
