"""Tokens over HTTP: listed, issued, revoked and refreshed.

A token in a path ends in the logs of proxies, so revoking and refreshing take it in the body, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.issuing import TokenAsked
from eventdbx.domain.canonical import JSON
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S, parse_ns
from eventdbx.errors import ConfigError, InvalidToken
from eventdbx.surfaces.admin.bodies import invalid_member
from eventdbx.surfaces.admin.conditions import digest_of
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Parameter, Row

_TEXTS: Any = {"type": "array", "items": {"type": "string"}, "maxItems": 1000}
_TIME: Any = {"type": ["string", "null"], "description": "RFC 3339"}
_OPTIONAL_TEXT: Any = {"type": ["string", "null"], "maxLength": 4096}
_TOKEN: Any = {"type": "string", "minLength": 1, "description": "The token, or its id."}
_TTL: Any = {
    "type": ["integer", "null"],
    "minimum": 0,
    "description": "Lifetime in seconds; 0 never ends, at most a hundred years.",
}
_RECORD: dict[str, Any] = {
    "jti": {"type": "string"},
    "subject": {"type": "string"},
    "group": {"type": "string"},
    "user": {"type": "string"},
    "actions": _TEXTS,
    "resources": _TEXTS,
    "tenants": _TEXTS,
    "issued_at": {"type": "string"},
    "not_before": _TIME,
    "expires_at": _TIME,
    "issued_by": {"type": "string"},
    "status": {"enum": ["active", "revoked"]},
    "limits": {
        "type": "object",
        "properties": {
            "write_events": {"type": ["integer", "null"]},
            "keep_alive": {"type": "boolean"},
        },
    },
}

SCHEMAS: Mapping[str, JSON] = {
    "TokenRecord": {"type": "object", "required": list(_RECORD), "properties": _RECORD},
    "IssuedTokenRecord": {
        "type": "object",
        "required": ["token", *_RECORD],
        "properties": {"token": {"type": "string"}, **_RECORD},
    },
    "IssueTokenRequest": {
        "type": "object",
        "required": ["group", "user"],
        "properties": {
            "group": {"type": "string", "maxLength": 1024},
            "user": {"type": "string", "maxLength": 1024},
            "subject": _OPTIONAL_TEXT,
            "actions": {**_TEXTS, "description": "At least one."},
            "resources": _TEXTS,
            "tenants": _TEXTS,
            "ttl_secs": _TTL,
            "not_before": {**_TIME, "description": "RFC 3339; not accepted before then."},
            "issued_by": _OPTIONAL_TEXT,
            "write_limit": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1},
            "keep_alive": {"type": "boolean"},
        },
    },
    "RefreshTokenRequest": {"type": "object", "properties": {"ttl_secs": _TTL}},
    "RefreshOneRequest": {
        "type": "object",
        "required": ["token"],
        "properties": {
            "token": _TOKEN,
            "ttl_secs": _TTL,
        },
    },
    "RevokeOneRequest": {
        "type": "object",
        "required": ["token"],
        "properties": {
            "token": _TOKEN,
            "reason": {"type": ["string", "null"], "maxLength": 1024},
        },
    },
}

_FILTERS = (
    Parameter("status", {"enum": ["active", "revoked"]}, "Only tokens of this status."),
    Parameter("subject", {"type": "string"}, "Only tokens of this subject."),
    Parameter("group", {"type": "string"}, "Only tokens of this group."),
)


class _TokenRoutes:
    """The work of the routes; the ledger is in files, so all of it runs on a thread."""

    def __init__(self, installation: Installation) -> None:
        self._tokens = installation.tokens
        self._run = installation.run_on_files

    def list(self, call: Call) -> Deferred[Answer]:
        """List the records, oldest first."""
        asked = {name: call.query[name] for name, *_ in _FILTERS if name in call.query}

        def shown(records: list[dict[str, Any]]) -> Answer:
            return Answer(
                document=[
                    record
                    for record in records
                    if _may_know(call.grant, record)
                    and all(record[name] == value for name, value in asked.items())
                ]
            )

        return self._run(self._tokens.list).addCallback(shown)

    def find(self, call: Call) -> Deferred[Answer]:
        """Show one record."""

        def found() -> dict[str, Any]:
            record = self._tokens.find(call.params["jti"])
            return _known(call.grant, record)

        return self._run(found).addCallback(lambda record: Answer(document=record))

    def issue(self, call: Call) -> Deferred[Answer]:
        """Issue a token that the caller's own covers."""
        asked = _asked(call.body)
        issuing = self._run(lambda: self._tokens.issue(asked, by=call.grant))
        return issuing.addCallback(partial(_issued, status=201))

    def revoke(self, call: Call) -> Deferred[Answer]:
        """Revoke a token, named in the path or in the body."""
        body = call.body or {}
        token, reason = body.get("token") or call.params["token"], body.get("reason")

        def revoked() -> dict[str, Any]:
            if call.grant.tenants:
                _known(call.grant, self._tokens.describe(token.strip()))
            return self._tokens.revoke(token, reason=reason)

        return self._run(revoked).addCallback(
            lambda found: Answer(status=204, resource=found["jti"], after=digest_of(found))
        )

    def refresh(self, call: Call) -> Deferred[Answer]:
        """Issue a token in the place of another, named in the path or in the body."""
        token = call.body.get("token") or call.params["token"]
        ttl_s = _whole(call.body.get("ttl_secs"))

        def refreshed() -> Any:
            if call.grant.tenants:
                _known(call.grant, self._tokens.describe(token.strip()))
            return self._tokens.refresh(token, ttl_s=ttl_s, by=call.grant)

        return self._run(refreshed).addCallback(lambda done: _issued(done[0], replaces=done[1]))


def _may_know(grant: Grant, record: Mapping[str, Any]) -> bool:
    """Tell whether a token is of the caller's tenants: who has some knows of no others."""
    tenants = record["tenants"]
    return not grant.tenants or (bool(tenants) and all(map(grant.allows_tenant, tenants)))


def _known(grant: Grant, record: dict[str, Any]) -> dict[str, Any]:
    if not _may_know(grant, record):
        raise InvalidToken
    return record


def _issued(record: dict[str, Any], status: int = 200, **details: str) -> Answer:
    shown = {name: value for name, value in record.items() if name != "token"}
    return Answer(
        status=status,
        document=record,
        headers={"Location": f"/admin/tokens/{record['jti']}"} if status == 201 else {},
        resource=record["jti"],
        after=digest_of(shown),
        details={
            **{name: shown[name] for name in ("subject", "actions", "resources", "expires_at")},
            **details,
        },
    )


def _asked(body: Mapping[str, Any]) -> TokenAsked:
    if not body.get("actions"):
        raise ConfigError("actions must be provided when issuing a token")
    issued_by = body.get("issued_by")
    return TokenAsked(
        group=body["group"],
        user=body["user"],
        actions=body["actions"],
        subject=body.get("subject") or "",
        resources=body.get("resources", ()),
        tenants=body.get("tenants", ()),
        ttl_s=_whole(body.get("ttl_secs")),
        not_before=_moment(body.get("not_before")),
        issued_by="admin" if issued_by is None else issued_by,
        write_limit=_whole(body.get("write_limit")),
        keep_alive=body.get("keep_alive", False),
    )


def _whole(number: float | None) -> int | None:
    """Return an integer that JSON may write as 60.0."""
    return None if number is None else int(number)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_ns(text) // NS_PER_S
    except ValueError:
        raise invalid_member("/not_before", "format", "is no RFC 3339 time") from None


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _TokenRoutes(installation)
    reading: dict[str, Any] = {"tag": "tokens", "action": "token.read"}
    changing: dict[str, Any] = {"tag": "tokens", "action": "token.manage", "area": "tokens"}
    refreshing: dict[str, Any] = {
        "event": "token_refreshed",
        "handle": routes.refresh,
        "answers": {200: "IssuedTokenRecord", 404: "Error", 409: "Error"},
        "secret": True,
        "idempotent_by_key": True,
    }
    revoking: dict[str, Any] = {
        "event": "token_revoked",
        "handle": routes.revoke,
        "answers": {204: None, 404: "Error"},
    }
    return (
        Row(
            method="GET",
            path="/admin/tokens",
            operation="listTokens",
            summary="The tokens that were issued, without the tokens themselves",
            handle=routes.list,
            answers={200: "[TokenRecord]"},
            query=_FILTERS,
            lists=True,
            secret=True,
            **reading,
        ),
        Row(
            method="POST",
            path="/admin/tokens",
            operation="issueToken",
            summary="Issue a token; it is shown this once",
            handle=routes.issue,
            answers={201: "IssuedTokenRecord"},
            body="IssueTokenRequest",
            secret=True,
            idempotent_by_key=True,
            event="token_issued",
            **changing,
        ),
        Row(
            method="GET",
            path="/admin/tokens/{jti}",
            operation="getToken",
            summary="One token, by its id",
            handle=routes.find,
            answers={200: "TokenRecord", 404: "Error"},
            secret=True,
            **reading,
        ),
        Row(
            method="POST",
            path="/admin/tokens/{token}/revoke",
            operation="revokeToken",
            summary="Revoke a token, given itself or by its id",
            **revoking,
            **changing,
        ),
        Row(
            method="POST",
            path="/admin/tokens/revoke",
            operation="revokeTokenInBody",
            summary="Revoke a token that the body names",
            body="RevokeOneRequest",
            **revoking,
            **changing,
        ),
        Row(
            method="POST",
            path="/admin/tokens/{token}/refresh",
            operation="refreshToken",
            summary="Issue a token in the place of another, given itself or by its id",
            body="RefreshTokenRequest",
            body_required=False,
            **refreshing,
            **changing,
        ),
        Row(
            method="POST",
            path="/admin/tokens/refresh",
            operation="refreshTokenInBody",
            summary="Issue a token in the place of one that the body names",
            body="RefreshOneRequest",
            **refreshing,
            **changing,
        ),
    )
