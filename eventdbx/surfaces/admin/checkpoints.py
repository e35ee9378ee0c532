"""Checkpoints over HTTP, for administrators: what was signed last, and who cosigned it.

Strangers find the same notes below ``/tlog`` (:mod:`eventdbx.surfaces.http.tlog`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventdbx import limits
from eventdbx.errors import ConfigError, UnknownName
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Parameter, Row
from eventdbx.surfaces.control.checkpoints import checkpoint_document, newest_document

_TEXT: Any = {"type": ["string", "null"]}
_SIZE: Any = {"type": ["integer", "null"], "minimum": 0}

SCHEMAS: Mapping[str, Any] = {
    "Checkpoint": {
        "type": "object",
        "description": "What was signed of the log of a domain (C2SP tlog-checkpoint).",
        "required": ["origin", "key", "witness_key", "size", "root", "checkpoint", "cosigned_by"],
        "properties": {
            "origin": {"type": "string"},
            "key": {"type": "string"},
            "witness_key": {"type": "string"},
            "size": _SIZE,
            "root": _TEXT,
            "checkpoint": _TEXT,
            "cosigned_by": {"type": "array", "items": {"type": "string"}},
            "witnessed_size": _SIZE,
            "unwitnessed": {"type": "object", "additionalProperties": {"type": "string"}},
            "problem": _TEXT,
        },
    },
}

_AT = Parameter(
    "size",
    {"type": "integer", "minimum": 0, "maximum": limits.TREE_SIZE_MAX},
    "The checkpoint that was signed at this size; the newest if absent.",
)


class _CheckpointRoutes:
    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def find(self, call: Call) -> Answer:
        """Return the newest checkpoint, or one that is named."""
        checkpoints = self._installation.open_domain(call.domain).checkpoints
        asked = call.query.get("size")
        if asked is None:
            return Answer(document=newest_document(checkpoints))
        if not asked.isascii() or not asked.isdecimal() or len(asked) > 19:
            raise ConfigError("'size' must be a whole number")
        found = checkpoints.at(min(int(asked), limits.TREE_SIZE_MAX))
        if found is None:
            raise UnknownName(f"there is no checkpoint of size {asked}")
        return Answer(document=checkpoint_document(checkpoints, found, 0))


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    return (
        Row(
            method="GET",
            path="/admin/integrity/checkpoint",
            operation="getCheckpoint",
            summary="The newest checkpoint of the log of a domain, or one by its size",
            action="aggregate.read",
            handle=_CheckpointRoutes(installation).find,
            answers={200: "Checkpoint", 404: "Error"},
            tag="integrity",
            query=(_AT, DOMAIN),
        ),
    )
