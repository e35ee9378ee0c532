"""Backups over HTTP: archives of everything in the server's own folder, made and listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row
from eventdbx.surfaces.control.backing_up import AREA, RIGHT

_COUNT: Any = {"type": "integer", "minimum": 0}
_TIME: Any = {"type": "string", "format": "date-time"}
_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"

SCHEMAS: Mapping[str, Any] = {
    "BackupRequest": {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "maxLength": 100,
                "pattern": _NAME,
                "description": "Name of the archive, without .tar.gz; made of the time if absent.",
            },
            "keys": {
                "type": "boolean",
                "default": True,
                "description": "False leaves out all keys and tokens.",
            },
        },
        "additionalProperties": False,
    },
    "KeptBackup": {
        "type": "object",
        "required": ["name", "path", "bytes", "created_at"],
        "properties": {
            "name": {"type": "string"},
            "path": {"type": "string", "description": "Where it is on the server's machine."},
            "bytes": _COUNT,
            "created_at": _TIME,
        },
    },
    "Backup": {
        "type": "object",
        "description": "An archive that was made; it is whole and on disk.",
        "required": ["name", "path", "bytes", "sha256", "files", "domains", "keys", "created_at"],
        "properties": {
            "name": {"type": "string"},
            "path": {"type": "string", "description": "Where it is on the server's machine."},
            "bytes": _COUNT,
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "files": _COUNT,
            "domains": {"type": "array", "items": {"type": "string"}},
            "keys": {"type": "boolean", "description": "Whether keys and tokens are in it."},
            "created_at": _TIME,
        },
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    backups = installation.backups

    def make(call: Call) -> Deferred[Answer]:
        asked = call.body or {}
        made = backups.make(call.grant, name=asked.get("name"), with_keys=asked.get("keys", True))

        def answer(found: dict[str, Any]) -> Answer:
            details = {name: found[name] for name in ("sha256", "bytes", "keys")}
            return Answer(status=201, document=found, resource=found["name"], details=details)

        return made.addCallback(answer)

    def show(_call: Call) -> Deferred[Answer]:
        return backups.listed().addCallback(lambda found: Answer(document=list(found)))

    return (
        Row(
            method="POST",
            path="/admin/backups",
            operation="createBackup",
            summary="Write an archive of everything into the server's backup folder",
            action=RIGHT,
            handle=make,
            answers={201: "Backup", 409: "Error"},
            body="BackupRequest",
            body_required=False,
            tag="backups",
            event="backup_created",
            area=AREA,
            idempotent_by_key=True,
        ),
        Row(
            method="GET",
            path="/admin/backups",
            operation="listBackups",
            summary="The archives in the server's backup folder",
            action="config.read",
            handle=show,
            answers={200: "[KeptBackup]"},
            tag="backups",
            lists=True,
        ),
    )
