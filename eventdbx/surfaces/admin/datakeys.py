"""Data keys over HTTP: which key wraps them, what is not sealed yet, and a new key.

The keys that sign tokens are others: :mod:`eventdbx.surfaces.admin.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.administering import Reloaded, keys_for
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

_COUNT: Any = {"type": "integer", "minimum": 0}
_TEXT: Any = {"type": ["string", "null"]}
_WRAPPED: Any = {"type": ["string", "null"], "enum": ["present", "older", "unknown", None]}

SCHEMAS: Mapping[str, Any] = {
    "DataKeys": {
        "type": "object",
        "description": "The keys that the stores are encrypted with, and the one that wraps them.",
        "required": ["encryption", "source", "older_keys", "older_keys_needed", "domains"],
        "properties": {
            "encryption": {"type": "boolean"},
            "source": {"type": "string", "description": "Where the present key comes from."},
            "older_keys": _COUNT,
            "older_keys_needed": {
                "type": "boolean",
                "description": "False: data_encryption_keys can be removed.",
            },
            "domains": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "domain": {"type": "string"},
                        "slots": _COUNT,
                        "destroyed": _COUNT,
                        "wrapped_by": _WRAPPED,
                        "rewrapping": {"type": ["array", "null"], "items": _COUNT},
                        "plain": {**_COUNT, "description": "Values that are not encrypted."},
                        "sealing": {"type": ["object", "null"]},
                        "trouble": _TEXT,
                    },
                },
            },
            "files": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"file": {"type": "string"}, "wrapped_by": _WRAPPED},
                },
            },
            "trouble": _TEXT,
        },
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    administration = installation.administration

    def show(call: Call) -> Deferred[Answer]:
        return administration.data_keys().addCallback(
            lambda found: Answer(document=keys_for(found, call.grant))
        )

    def rotate(_call: Call) -> Deferred[Answer]:
        def rotated(reloaded: Reloaded) -> Answer:
            return Answer(document=reloaded.document(), resource=", ".join(reloaded.changed))

        return administration.rotate_data_key().addCallback(rotated)

    return (
        Row(
            method="GET",
            path="/admin/data-keys",
            operation="getDataKeys",
            summary="Which key wraps the data keys of each domain, and what is not encrypted yet",
            action="config.read",
            handle=show,
            answers={200: "DataKeys"},
            tag="integrity",
        ),
        Row(
            method="POST",
            path="/admin/data-keys/rotate",
            operation="rotateDataKey",
            summary="Make a new data encryption key; all data keys are wrapped by it",
            action="config.write",
            handle=rotate,
            answers={200: "Reloaded"},
            tag="integrity",
            event="data_key_rotated",
            area="config",
        ),
    )
