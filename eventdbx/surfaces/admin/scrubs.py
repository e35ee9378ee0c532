"""Scrubbing over HTTP: how far it is, what it has found, starting and stopping it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Row
from eventdbx.surfaces.control.scrubs import CHANGES, EVENTS, READS, change_scrub

_COUNT: Any = {"type": "integer", "minimum": 0}
_TIME: Any = {"type": ["string", "null"]}

SCHEMAS: Mapping[str, Any] = {
    "ScrubPass": {
        "type": ["object", "null"],
        "description": "One verification of the whole store in the background.",
        "required": ["started_at", "ended_at", "aggregates", "events", "bytes", "problems"],
        "properties": {
            "started_at": _TIME,
            "ended_at": _TIME,
            "aggregates": _COUNT,
            "events": _COUNT,
            "bytes": _COUNT,
            "problems": _COUNT,
            "findings": {
                "type": "array",
                "description": "The first of them; each names the record.",
                "items": {"type": "object"},
            },
        },
    },
    "Scrub": {
        "type": "object",
        "required": ["status", "stage", "problems", "running", "last", "trouble"],
        "properties": {
            "status": {"type": "string", "enum": ["running", "idle", "stopped"]},
            "stage": {"type": ["array", "null"], "items": _COUNT},
            "problems": _COUNT,
            "running": {"$ref": "#/components/schemas/ScrubPass"},
            "last": {"$ref": "#/components/schemas/ScrubPass"},
            "trouble": {"type": ["string", "null"]},
        },
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""

    def does(action: str) -> Callable[[Call], Answer]:
        def handle(call: Call) -> Answer:
            scrub = installation.open_domain(call.domain).scrub
            change_scrub(scrub, action)
            return Answer(document=scrub.document(), resource="scrub")

        return handle

    def change(action: str, summary: str) -> Row:
        return Row(
            method="POST",
            path=f"/admin/integrity/scrub/{action}",
            operation=f"{action}Scrub",
            summary=summary,
            action=CHANGES,
            handle=does(action),
            answers={200: "Scrub"},
            tag="integrity",
            query=(DOMAIN,),
            event=EVENTS[action],
            area="config",
        )

    return (
        Row(
            method="GET",
            path="/admin/integrity/scrub",
            operation="getScrub",
            summary="How far scrubbing is, and what it has found",
            action=READS,
            handle=does("status"),
            answers={200: "Scrub"},
            tag="integrity",
            query=(DOMAIN,),
        ),
        change("start", "Begin a pass over the store now, or go on with the one that was stopped"),
        change("stop", "Stop scrubbing until it is started again"),
    )
