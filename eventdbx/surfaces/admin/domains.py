"""The domains of the installation, and how much is in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.administering import domains_for
from eventdbx.domain.canonical import JSON
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

_COUNT: dict[str, JSON] = {"type": "integer", "minimum": 0}

SCHEMAS: Mapping[str, JSON] = {
    "Domain": {
        "type": "object",
        "required": [
            "domain",
            "active",
            "active_aggregates",
            "archived_aggregates",
            "total_aggregates",
            "events",
        ],
        "properties": {
            "domain": {"type": "string"},
            "active": {"type": "boolean", "description": "Whether it is the one by default."},
            "active_aggregates": _COUNT,
            "archived_aggregates": _COUNT,
            "total_aggregates": _COUNT,
            "events": _COUNT,
            "problem": {"type": "string", "description": "Why it cannot be opened, if it cannot."},
        },
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""

    def domains(call: Call) -> Deferred[Answer]:
        def shown(found: list[dict[str, Any]]) -> Answer:
            document: list[JSON] = [*domains_for(found, call.grant)]
            return Answer(document=document)

        return installation.administration.domains().addCallback(shown)

    return (
        Row(
            method="GET",
            path="/admin/domains",
            operation="listDomains",
            summary="The domains that the token may use, by name, with what is in them",
            action="config.read",
            handle=domains,
            answers={200: "[Domain]"},
            tag="status",
            lists=True,
        ),
    )
