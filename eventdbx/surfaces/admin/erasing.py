"""Erasure over HTTP: the operation of the control protocol, in the caller's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from eventdbx import limits
from eventdbx.application.erasing import Erased
from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Row
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.erasing import (
    AREA,
    ERASES,
    EVENT,
    carry_out,
    erased_document,
    resource_of,
)
from eventdbx.surfaces.control.integrity import Work
from eventdbx.surfaces.control.routes import Session

_COUNT: Mapping[str, JSON] = {"type": "integer", "minimum": 0}
_REASON: Mapping[str, Any] = {
    "reason": {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.COMMENT_BYTES_MAX,
        "description": "Why; it stays readable in the history.",
    },
    "dry_run": {"type": "boolean", "description": "Only count what would be erased."},
}

SCHEMAS: Mapping[str, Any] = {
    "EraseRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["reason"],
        "properties": _REASON,
    },
    "EraseSubjectRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["subject", "reason"],
        "properties": {
            "subject": {
                "type": "string",
                "minLength": 1,
                "maxLength": limits.SUBJECT_BYTES_MAX,
                "description": "What the metadata key `@subject` of the events says.",
            },
            **_REASON,
        },
    },
    "Erased": {
        "type": "object",
        "description": "How much has lost its content, or would; nothing of it is in the store.",
        "required": list(Erased._fields),
        "properties": {
            "scope": {"type": "string", "enum": ["aggregate", "subject"]},
            "aggregates": _COUNT,
            "events": _COUNT,
            "snapshots": _COUNT,
            "notes": _COUNT,
            "older_copies_readable": {
                "type": "boolean",
                "description": "Copies of the store from before still show the content.",
            },
            "staged": _COUNT,
        },
    },
}


class _EraseRoutes:
    """The work of the routes. Rights on the aggregate are looked at by the operation."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def aggregate(self, call: Call) -> Deferred[Answer]:
        """Erase one aggregate."""
        names = {"aggregate_type": call.params["type"], "aggregate_id": call.params["id"]}
        return self._erase(call, {**call.body, **names})

    def subject(self, call: Call) -> Deferred[Answer]:
        """Erase everything about somebody."""
        return self._erase(call, call.body)

    def _erase(self, call: Call, asked: dict[str, JSON]) -> Deferred[Answer]:
        domain = self._installation.open_domain(call.domain)
        control = self._installation.control
        # The caller was let in already: no token is asked for, but its rights are looked at.
        session = Session(call.grant, domain, owner=True)
        work = Work(
            session,
            Asked(asked, ConfigError),
            control.grant(session, ""),
            self._installation.run_slowly,
            control.recording,
        )
        resource, dry = resource_of(work), work.asked.flag("dry_run")

        def answer(erased: Erased) -> Answer:
            return Answer(
                document=erased_document(erased),
                resource=resource,
                details={"aggregates": erased.aggregates, "events": erased.events},
                changed=not dry and erased.aggregates + erased.staged > 0,
            )

        return maybeDeferred(carry_out, work).addCallback(answer)


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _EraseRoutes(installation)
    erasing: dict[str, Any] = {
        "method": "POST", "tag": "erasure", "action": ERASES, "event": EVENT, "area": AREA,
        "query": (DOMAIN,),
    }  # fmt: skip
    return (
        Row(
            path="/admin/aggregates/{type}/{id}/erase",
            operation="eraseAggregate",
            summary="Erase the content of all events of one aggregate for good",
            handle=routes.aggregate,
            answers={200: "Erased", 404: "Error"},
            body="EraseRequest",
            **erasing,
        ),
        Row(
            path="/admin/subjects/erase",
            operation="eraseSubject",
            summary="Erase the content of all events about somebody for good",
            handle=routes.subject,
            answers={200: "Erased"},
            body="EraseSubjectRequest",
            **erasing,
        ),
    )
