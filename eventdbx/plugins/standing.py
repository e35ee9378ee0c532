"""Where one plugin stands at one moment, for those who describe it on a thread.

Outlets live on the reactor's thread: what is read elsewhere is copied there first.
"""

from __future__ import annotations

from typing import NamedTuple

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.outlet import Flight
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import Cursor, Held, held_rows


class Standing(NamedTuple):
    """A plugin and its numbers; ``view`` is the store at that moment.

    ``rows`` and ``done`` are None for a plugin that is not served: they are in the store alone.
    ``unread`` counts the events that are neither settled nor held back.
    """

    entry: PluginEntry
    view: IReadView
    cursor: Cursor
    unread: int
    now_ms: int
    rows: tuple[Held, ...] | None = None
    done: int | None = None
    flights: tuple[Flight, ...] = ()
    paused: str | None = None
    breaker_open: bool = False
    last_error: str | None = None

    def held(self) -> list[Held]:
        """Return what the plugin holds back; may read the store."""
        return list(held_rows(self.view, self.entry.key) if self.rows is None else self.rows)


def standing_of(drainer: Drainer, entry: PluginEntry) -> Standing:
    """Return where a plugin stands now; for the reactor's thread."""
    view, end = drainer.domain.store.view(), drainer.outbox.end()
    outlet = drainer.outlet(entry.key)
    # A new one begins at the end.
    cursor = drainer.outbox.cursors.get(entry.key, Cursor(end))
    now_ms = int(drainer.clock.seconds() * 1000)
    broken = drainer.broken.get(entry.key)
    if outlet is None:
        return Standing(
            entry,
            view,
            cursor,
            ahead(cursor, end),
            now_ms,
            paused="paused" if entry.paused else cursor.stopped,
            last_error=broken,
        )
    return Standing(
        entry,
        view,
        cursor._replace(position=outlet.lanes.cursor),
        outlet.behind(),
        now_ms,
        tuple(outlet.holding),
        outlet.done.total(now_ms),
        tuple(outlet.flights),
        outlet.paused,
        outlet.breaker.is_open,
        broken or outlet.last_error,
    )


def ahead(cursor: Cursor, end: int) -> int:
    """Return how many events behind a cursor are meant for its plugin."""
    gaps = sum(
        max(0, (end if stop is None else stop) - max(start, cursor.position))
        for start, stop in cursor.skips
    )
    return max(0, end - cursor.position - gaps)
