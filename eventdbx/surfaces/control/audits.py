"""The audit trail on the control protocol: two administrative operations.

``audit`` answers with a page of actions, newest first; ``audit_verify`` proves the timelines. Both
need ``audit.read`` (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.auditing import AREAS, AUDIT_TYPE, TrailQuery, read_trail, shown_to
from eventdbx.application.integrity import verify_aggregate
from eventdbx.errors import AggregateNotFound, StorageError, Unauthorized
from eventdbx.storage.interfaces import IReadView
from eventdbx.surfaces.control.administration import AdministrationRoutes
from eventdbx.surfaces.control.asked import Asked

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.routes import RunSlowly, Session

READS = "audit.read"
PAGE = 100


def offer_audit(
    administration: AdministrationRoutes, domain: Callable[[], Domain], run_slowly: RunSlowly
) -> None:
    """Offer the trail in a domain to who may read it, and work for that domain."""

    def view_for(grant: Grant) -> IReadView:
        place = domain()
        if not grant.allows_tenant(place.name):
            raise Unauthorized
        return place.store.view()

    def audit(_session: Session, asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
        take = asked.number("take")
        query = TrailQuery(
            PAGE if take is None else take,
            area=asked.text("area"),
            before=asked.number("before"),
            since_ns=asked.number("since_ns"),
            actor=asked.text("actor"),
            resource=asked.text("resource"),
            shows=shown_to(grant, domain().name),
        )
        view = view_for(grant)
        return run_slowly(lambda: _page(view, query))

    def audit_verify(_session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
        if grant.tenants:
            raise Unauthorized  # How much was done, to whatever domain.
        view = view_for(grant)
        return run_slowly(lambda: _verified(view))

    administration.offer("audit", READS, audit)
    administration.offer("audit_verify", READS, audit_verify)


def _page(view: IReadView, query: TrailQuery) -> dict[str, Any]:
    page = read_trail(view, query)
    before = None if page.next_before is None else str(page.next_before)
    return {"items": page.items, "next": before}


def _verified(view: IReadView) -> dict[str, Any]:
    """Compute every hash of the trail again."""
    areas: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    for area in AREAS:
        try:
            done = verify_aggregate(view, AUDIT_TYPE, area)
        except AggregateNotFound:
            continue
        except StorageError as error:
            findings.append({"area": area, "message": error.detail})
            continue
        areas.append({"area": area, "actions": done.version, "merkle_root": done.merkle_root.hex()})
    return {"areas": areas, "findings": findings}
