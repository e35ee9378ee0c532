"""The jobs that ``queue`` shows: what waits, is under way or is dead, as documents.

A job is known by the id of its event; two plugins with the same event have two jobs of one id,
which the plugin's name tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, Literal

from eventdbx.application.feed import Offer
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.lanes import RANKS
from eventdbx.domain.delivery.positions import position_token
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import Cursor, Held

PARTITION = 0
PRIORITY_OF = {rank: name for name, rank in RANKS.items()}
Status = Literal["pending", "processing", "dead"]

OWED_MAX = 1_000
"""Later events of one row that are looked at for gaps, in which they were for nobody."""

LOOKED_AT_MAX = 10_000
"""Positions that a listing of untried events looks at."""


def owed(view: IReadView, cursor: Cursor, held: Held) -> int:
    """Return how many events a row holds back: its own, and the later ones of its aggregate.

    Those that the cursor has not reached are among them.
    """
    head = None if held.loose else eventlog.load_head(view, held.name)
    if head is None:
        return 1
    if not cursor.skips:
        return max(1, head.version - held.version + 1)
    until = min(head.version, held.version + OWED_MAX)
    later = eventlog.events(view, held.name, after=held.version, until=until)
    places = (eventlog.place_of(view, PARTITION, one) for one in later)
    return 1 + sum(not cursor.skips_position(place) for place in places)


def held_job(entry: PluginEntry, held: Held, status: Status) -> dict[str, Any]:
    """Return the job of an event that has failed."""
    return _job(
        entry,
        status,
        held.name,
        held.version,
        held.event_id,
        held.event_type,
        held.position,
        held.rank,
        attempts=held.attempts,
        next_retry_at=None if held.dead or status == "processing" else held.next_retry_at,
        last_error=held.last_error,
    )


def offered_job(entry: PluginEntry, offer: Offer, attempt: int) -> dict[str, Any]:
    """Return the job of an event that is under way."""
    return _job(
        entry,
        "processing",
        offer.name,
        offer.version,
        offer.event_id,
        offer.event_type,
        offer.position,
        offer.rank,
        attempts=attempt,
    )


def untried_jobs(
    view: IReadView,
    entry: PluginEntry,
    cursor: Cursor,
    *,
    limit: int,
    flying: Set[int],
    held: Set[bytes],
) -> Iterator[dict[str, Any]]:
    """Yield jobs of events behind a cursor, those under way and those of held aggregates left out.

    Events that the entry's filter will drop are among them.
    """
    stop = cursor.position + LOOKED_AT_MAX
    for position, record in eventlog.log_entries(view, PARTITION, start=cursor.position):
        if limit <= 0 or position >= stop:
            return
        names = (entry.key, *cursor.aliases)
        targets = [target for target in record.targets if target.name in names]
        if cursor.skips_position(position) or (record.targets and not targets):
            continue
        name, version = record.event_key[1:-8], keys.event_version(record.event_key)
        if record.event_id in flying or name in held:
            continue
        event = eventlog.load_event(view, name, version)
        if event is None:
            continue
        priority = targets[0].priority if targets else "normal"
        yield _job(
            entry,
            "pending",
            name,
            version,
            record.event_id,
            event.event_type,
            position,
            RANKS[priority],
        )
        limit -= 1


def _job(
    entry: PluginEntry,
    status: Status,
    name: bytes,
    version: int,
    event_id: int,
    event_type: str,
    position: int,
    rank: int,
    *,
    attempts: int = 0,
    next_retry_at: int | None = None,
    last_error: str | None = None,
) -> dict[str, Any]:
    aggregate_type, aggregate_id = keys.split_name(name)
    return {
        "id": event_id,
        "name": entry.key,
        "label": entry.label,
        "status": status,
        "attempts": attempts,
        "next_retry_at": next_retry_at,
        "last_error": last_error,
        "aggregate_type": aggregate_type,
        "aggregate_id": aggregate_id,
        "event_type": event_type,
        "event_id": event_id,
        "version": version,
        "position": position_token(position),
        "priority": PRIORITY_OF[rank],
    }
