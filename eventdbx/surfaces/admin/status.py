"""The installation as a whole, only looked at."""

from __future__ import annotations

from collections.abc import Mapping

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
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""

    def status(call: Call) -> Deferred[Answer]:
        asking = installation.administration.status()
        return asking.addCallback(lambda found: Answer(document=status_for(found, call.grant)))

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
    )
