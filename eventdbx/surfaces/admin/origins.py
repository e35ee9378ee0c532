"""Browsers: which pages may call (CORS), and under which names the server may be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventdbx.surfaces.admin.answering import Reply
from eventdbx.surfaces.admin.table import Problem

_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Admin-Key, "
    "X-Request-Id"
)
_EXPOSED_HEADERS = (
    "ETag, Link, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
    "X-Next-Cursor, X-Request-Id"
)


def check_host(hosts: Sequence[str], headers: Mapping[str, str]) -> None:
    """Raise Problem 403 for a Host that is not in the list; an empty list allows all.

    A page of another site, whose name was pointed at this server, names itself there.
    """
    if not hosts:
        return
    host = headers.get("host", "").strip().lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not {host, name} & {one.strip().lower() for one in hosts}:
        raise Problem(403, "this Host is not served here", "unauthorized")


def origin_headers(origins: Sequence[str], headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that let a page of a listed origin read the answer; none by default."""
    if not origins:
        return {}
    origin = headers.get("origin")
    if origin not in origins or origin is None:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
    }


def is_preflight(origins: Sequence[str], method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks what a page of a listed origin may do."""
    return (
        method == "OPTIONS"
        and headers.get("origin") in origins
        and "access-control-request-method" in headers
    )


def preflight() -> Reply:
    """Return the answer to that: every method, and our headers. Tokens are asked for later."""
    sent = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": "600",
    }
    return Reply(204, sent, b"")
