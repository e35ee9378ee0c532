"""The installation as a whole, only looked at: its status and its domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.administering import status_for
from eventdbx.domain.canonical import JSON
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

SCHEMAS: Mapping[str, JSON] = {
    "Status": {
        "type": "object",
        "description": "Version, mode, uptime, listeners, domains, queue; more may be added.",
        "required": ["version"],
        "properties": {
            "version": {"type": "string"},
            "restrict": {"enum": ["off", "default", "strict"]},
            "uptime_s": {"type": "number", "minimum": 0},
            "connections": {"type": "integer", "minimum": 0},
        },
    },
    "Domain": {
        "type": "object",
        "required": ["domain", "active"],
        "properties": {
            "domain": {"type": "string"},
            "active": {"type": "boolean", "description": "Whether it is the one by default."},
        },
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""

    def status(call: Call) -> Deferred[Answer]:
        asking = installation.administration.status()
        return asking.addCallback(lambda found: Answer(document=status_for(found, call.grant)))

    def domains(call: Call) -> Deferred[Answer]:
        def shown(found: list[dict[str, Any]]) -> Answer:
            allowed = call.grant.allows_tenant
            return Answer(document=[one for one in found if allowed(one["domain"])])

        return installation.administration.domains().addCallback(shown)

    return (
        Row(
            method="GET",
            path="/admin/status",
            operation="getStatus",
            summary="What the server is and does",
            action="metrics.read",
            handle=status,
            answers={200: "Status"},
            tag="status",
        ),
        Row(
            method="GET",
            path="/admin/domains",
            operation="listDomains",
            summary="The domains that the token may use, by name",
            action="config.read",
            handle=domains,
            answers={200: "[Domain]"},
            tag="status",
            lists=True,
        ),
    )
