"""The claims of a token: which there are, and of which type each has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from eventdbx.domain.grants import Grant
from eventdbx.errors import InvalidToken


def object_of(encoded: bytes) -> dict[str, Any]:
    """Return a JSON object of a token; raise InvalidToken."""
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        raise InvalidToken from None
    if not isinstance(value, dict):
        raise InvalidToken
    return value


def grant_of(claims: Mapping[str, Any]) -> Grant:
    """Return what the claims grant. The type of every claim we know is checked; others are passed
    over. Raises InvalidToken."""
    for name in ("iss", "aud", "sub", "jti"):
        _text(claims, name, required=True)
    bounds = claims.get("limits", {"write_events": None})
    if not isinstance(bounds, dict) or not isinstance(bounds.get("keep_alive", False), bool):
        raise InvalidToken
    issued_at = _seconds(claims, "iat")
    if issued_at is None:
        raise InvalidToken
    return Grant(
        jti=claims["jti"],
        subject=claims["sub"],
        group=_text(claims, "group"),
        user=_text(claims, "user"),
        actions=_texts(claims, "actions"),
        resources=_texts(claims, "resources"),
        tenants=_texts(claims, "tenants"),
        issued_at=issued_at,
        expires_at=_seconds(claims, "exp"),
        not_before=_seconds(claims, "nbf"),
        issued_by=_text(claims, "issued_by"),
        write_limit=_count(bounds.get("write_events")),
        keep_alive=bounds.get("keep_alive", False),
    )


def _text(claims: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = claims.get(name, None if required else "")
    if not isinstance(value, str):
        raise InvalidToken
    return value


def _texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = claims.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidToken
    return tuple(value)


def _seconds(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidToken
    return value


def _count(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidToken
    return value
