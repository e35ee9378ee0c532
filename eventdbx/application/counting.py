"""How many aggregates and events a domain has, without reading any of them.

The log says how many events there are. Aggregates are counted along the indexes of creation, whose
values are empty: a microsecond for each, and nothing is opened or decoded.
"""

from __future__ import annotations

from typing import NamedTuple

from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView

_AUDIT_TRAIL = f"{AUDIT_TYPE}\x00".encode()


class Counts(NamedTuple):
    """The aggregates of a domain, active and archived, and their events; no audit trail."""

    active: int = 0
    archived: int = 0
    events: int = 0


def count(view: IReadView) -> Counts:
    """Count what a view has. Takes a time for each aggregate: for a thread, in a server."""
    return Counts(
        _entries(view, keys.CREATED_ACTIVE) - _of_trail(view, keys.HEAD_ACTIVE),
        _entries(view, keys.CREATED_ARCHIVED) - _of_trail(view, keys.HEAD_ARCHIVED),
        eventlog.end_position(view, 0),
    )


def _entries(view: IReadView, family: bytes) -> int:
    return sum(1 for _pair in view.scan(family, keys.after(family)))


def _of_trail(view: IReadView, family: bytes) -> int:
    return _entries(view, family + _AUDIT_TRAIL)


def domain_document(name: str, *, active: bool, counts: Counts) -> dict[str, str | bool | int]:
    """Return a domain as ``dbx list`` and the Admin API show it."""
    return {
        "domain": name,
        "active": active,
        "active_aggregates": counts.active,
        "archived_aggregates": counts.archived,
        "total_aggregates": counts.active + counts.archived,
        "events": counts.events,
    }
