"""Signing keys over HTTP: rotated by those who may, and their public halves for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twisted.internet.defer import Deferred

from eventdbx.application.tokens import TTL_S_MAX
from eventdbx.domain.canonical import JSON
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

SCHEMAS: Mapping[str, JSON] = {
    "RotateKeysRequest": {
        "type": "object",
        "properties": {
            "overlap_secs": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": TTL_S_MAX,
                "description": "How long the present key goes on verifying, in seconds; if "
                "absent, until the last token that it signed has ended.",
            },
        },
    },
    "SigningKeys": {
        "type": "object",
        "required": ["key_id", "public_key", "previous"],
        "properties": {
            "key_id": {"type": "string"},
            "public_key": {"type": "string"},
            "previous": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "key_id": {"type": ["string", "null"]},
                        "not_after": {"type": ["string", "null"]},
                    },
                },
            },
        },
    },
    "JwkSet": {
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
    },
}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    tokens, run = installation.tokens, installation.run_on_files

    def rotate(call: Call) -> Deferred[Answer]:
        given = call.body.get("overlap_secs")
        overlap_s = None if given is None else int(given)  # JSON may write it as 60.0.
        return run(partial(tokens.rotate_key, overlap_s=overlap_s)).addCallback(
            lambda found: Answer(document=found, resource=found["key_id"])
        )

    def public_keys(_call: Call) -> Deferred[Answer]:
        return run(tokens.public_keys).addCallback(
            lambda found: Answer(document=found, headers={"Cache-Control": "max-age=60"})
        )

    return (
        Row(
            method="POST",
            path="/admin/keys/rotate",
            operation="rotateKeys",
            summary="Sign with a new key; the present one goes on verifying",
            action="token.manage",
            handle=rotate,
            answers={200: "SigningKeys"},
            tag="keys",
            body="RotateKeysRequest",
            body_required=False,
            event="key_rotated",
            area="keys",
        ),
        Row(
            method="GET",
            path="/.well-known/jwks.json",
            operation="getPublicKeys",
            summary="The keys that verify tokens, as a JWK set",
            action=None,
            handle=public_keys,
            answers={200: "JwkSet"},
            tag="keys",
        ),
    )
