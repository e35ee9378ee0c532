"""The head map on the control protocol: a row of :mod:`eventdbx.surfaces.control.integrity`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.mapping import HeadMap
from eventdbx.domain.notes import to_base64
from eventdbx.surfaces.control.recording import Change

if TYPE_CHECKING:
    from eventdbx.surfaces.control.integrity import Work

READS = "config.read"
CHANGES = "config.write"


def head_map(work: Work) -> Deferred[dict[str, Any]]:
    """How far along the log the map is; with ``again`` it is dropped, to be made anew."""
    heads = work.session.domain.heads
    if not work.asked.flag("again"):
        return succeed(document(heads))
    work.grant.require(CHANGES)
    begun = Deferred.fromCoroutine(heads.begin_again()).addCallback(lambda _none: document(heads))
    change = Change("config", "head_map_dropped", "head map", "control integrity head_map")
    recorded: Deferred[dict[str, Any]]
    recorded = work.recording.done(work.session, work.grant, change, begun)
    return recorded


def document(heads: HeadMap) -> dict[str, Any]:
    """Return what there is to say of a map. Raises StorageError where it cannot be read."""
    place = heads.place
    return {
        "position": place.position,
        "behind": heads.behind,
        "aggregates": place.aggregates,
        "root": to_base64(place.root),
    }
