"""The audit trail over HTTP: who changed what, when and through what, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.auditing import (
    AREAS,
    AUDIT_TYPE,
    TrailPage,
    TrailQuery,
    read_trail,
    shown_to,
)
from eventdbx.application.integrity import verify_aggregate
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import AggregateNotFound, InvalidCursor, Unauthorized
from eventdbx.surfaces.admin.paging import CURSOR, LIMIT, page_size
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Parameter, Problem, Row

_TEXT: Any = {"type": ["string", "null"]}

SCHEMAS: Mapping[str, Any] = {
    "AuditAction": {
        "type": "object",
        "required": ["time", "event_id", "area", "event", "resource", "way", "version", "hash"],
        "properties": {
            "time": {"type": "string"},
            "event_id": {"type": "string"},
            "area": {"type": "string", "enum": list(AREAS)},
            "event": {"type": "string"},
            "resource": _TEXT,
            "way": _TEXT,
            "jti": _TEXT,
            "subject": _TEXT,
            "peer": _TEXT,
            "actor": {"type": ["object", "null"]},
            "before": _TEXT,
            "after": _TEXT,
            "details": {"type": ["object", "null"]},
            "version": {"type": "integer", "minimum": 1},
            "hash": {"type": "string"},
            "merkle_root": {"type": "string"},
        },
    },
    "AuditProof": {
        "type": "object",
        "description": "Every action of the area was hashed again, and it fits.",
        "required": ["area", "merkle_root"],
        "properties": {"area": {"type": "string"}, "merkle_root": {"type": "string"}},
    },
}

_QUERY = (
    Parameter("area", {"type": "string", "enum": list(AREAS)}, "Only actions of this area."),
    Parameter("actor", {"type": "string"}, "A user, group/user, a subject or a token's id."),
    Parameter("resource", {"type": "string"}, "Only actions on this resource."),
    Parameter("since", {"type": "string"}, "Only actions at or after this time (RFC 3339)."),
    LIMIT,
    CURSOR,
)


class _AuditRoutes:
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def list(self, call: Call) -> Deferred[Answer]:
        """Return a page of the trail."""
        asked = call.query
        query = TrailQuery(
            take=page_size(asked, self._installation.config().page_limit),
            area=asked.get("area"),
            before=_event_id(asked.get("cursor")),
            since_ns=_moment(asked.get("since")),
            actor=asked.get("actor"),
            resource=asked.get("resource"),
            shows=shown_to(call.grant, self._installation.config().domain),
        )
        view = self._installation.open_domain(None).store.view()
        reading = self._installation.run_slowly(partial(read_trail, view, query))
        return reading.addCallback(_page)

    def verify(self, call: Call) -> Deferred[Answer]:
        """Hash the timeline of an area again."""
        area = call.params["area"]
        if call.grant.tenants:
            raise Unauthorized  # How much was done, to whatever domain.
        if area not in AREAS:
            raise AggregateNotFound()
        domain = self._installation.open_domain(None)
        fold = domain.schemas.in_force.views.fold(AUDIT_TYPE)
        view = domain.store.view()
        verifying = self._installation.run_slowly(
            lambda: verify_aggregate(view, AUDIT_TYPE, area, fold)
        )
        return verifying.addCallback(
            lambda proof: Answer(document={"area": area, "merkle_root": proof.merkle_root.hex()})
        )


def _page(page: TrailPage) -> Answer:
    cursor = None if page.next_before is None else str(page.next_before)
    return Answer(document=list(page.items), next_cursor=cursor)


def _event_id(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 19):
        raise InvalidCursor("it is none of ours")
    return int(cursor)


def _moment(text: str | None) -> int | None:
    try:
        return None if text is None else parse_ns(text)
    except ValueError:
        message = "query parameter `since` is no RFC 3339 time"
        raise Problem(400, message, "invalid_parameter") from None


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _AuditRoutes(installation)
    reading: dict[str, Any] = {"method": "GET", "tag": "audit", "action": "audit.read"}
    return (
        Row(
            path="/admin/audit",
            operation="listAudit",
            summary="Administrative actions, newest first",
            handle=routes.list,
            answers={200: "[AuditAction]"},
            query=_QUERY,
            **reading,
        ),
        Row(
            path="/admin/audit/{area}/verify",
            operation="verifyAudit",
            summary="Hash the timeline of an area again",
            handle=routes.verify,
            answers={200: "AuditProof", 404: "Error"},
            **reading,
        ),
    )
