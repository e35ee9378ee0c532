"""Remotes over HTTP: listed, stored and removed. Tokens go in and never come out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from eventdbx.domain.canonical import JSON
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, UnknownName
from eventdbx.surfaces.admin.conditions import check_match, digest_of, etag_of
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

_TEXT: Any = {"type": ["string", "null"]}

SCHEMAS: Mapping[str, JSON] = {
    "Remote": {
        "type": "object",
        "required": ["endpoint", "locator", "remote_domain"],
        "properties": {
            "endpoint": {"type": "string", "description": "tcp://host:port"},
            "token": {"type": "string", "description": "Sealed, or <redacted>."},
            "token_env": {"type": "string"},
            "locator": _TEXT,
            "remote_domain": _TEXT,
            "tenant": {"type": "string"},
        },
    },
    "Remotes": {
        "type": "object",
        "description": "By name.",
        "additionalProperties": {"$ref": "#/components/schemas/Remote"},
    },
    "RemoteUpsert": {
        "type": "object",
        "required": ["endpoint"],
        "anyOf": [{"required": ["token"]}, {"required": ["token_env"]}],
        "properties": {
            "endpoint": {"type": "string", "maxLength": 1024},
            "token": {"type": "string", "maxLength": 16_384},
            "token_env": {"type": "string", "maxLength": 256},
            "name": {"type": "string", "description": "If there, the name in the path."},
        },
    },
}


class _RemoteRoutes:
    """The work of the routes."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._administration = installation.administration
        self._turns = DeferredLock()

    def _all(self) -> Deferred[dict[str, Any]]:
        return self._installation.run_on_files(self._administration.remotes)

    def _seen(self, grant: Grant) -> Deferred[dict[str, Any]]:
        """Return those that the holder of a grant may see: none of domains of other tenants."""
        if not grant.tenants:
            return self._all()

        def look() -> dict[str, Any]:
            found, domains = self._administration.remotes(), self._administration.domain_names()
            return {
                name: document
                for name, document in found.items()
                if name not in domains or grant.allows_tenant(name)
            }

        return self._installation.run_on_files(look)

    def list(self, call: Call) -> Deferred[Answer]:
        """List all remotes by name."""
        return self._seen(call.grant).addCallback(
            lambda found: Answer(document=found, etag=etag_of(found))
        )

    def find(self, call: Call) -> Deferred[Answer]:
        """Show one remote."""

        def shown(found: dict[str, Any]) -> Answer:
            document = found.get(call.params["name"].strip())
            if document is None:
                raise _unknown(call)
            return Answer(document=document, etag=etag_of(document))

        return self._seen(call.grant).addCallback(shown)

    def _check_match(self, call: Call, present: dict[str, Any] | None) -> None:
        required = self._installation.config().admin.require_if_match
        current = None if present is None else etag_of(present)
        check_match(call.headers, current, required=required)

    def put(self, call: Call) -> Deferred[Answer]:
        """Store a remote."""
        name, body = call.params["name"].strip(), call.body
        given = body.get("name", name).strip()
        if given != name:
            text = f"remote name '{given[:128]}' does not match path parameter '{name[:128]}'"
            raise ConfigError(text)

        async def put() -> Answer:
            before = (await self._all()).get(name)
            self._check_match(call, before)
            created, document = await self._administration.put_remote(
                name, body["endpoint"], body.get("token"), body.get("token_env")
            )
            return Answer(
                status=201 if created else 200,
                document=document,
                etag=etag_of(document),
                resource=name,
                before=None if before is None else digest_of(before),
                after=digest_of(document),
                details={"endpoint": document["endpoint"]},
            )

        return self._in_turn(put)

    def delete(self, call: Call) -> Deferred[Answer]:
        """Remove a remote."""

        async def delete() -> Answer:
            name = call.params["name"].strip()
            before = (await self._all()).get(name)
            if before is None:
                raise _unknown(call)
            self._check_match(call, before)
            if not await self._administration.delete_remote(name):
                raise _unknown(call)
            return Answer(status=204, resource=name, before=digest_of(before))

        return self._in_turn(delete)

    def _in_turn(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Deferred[Answer]:
        """Let nobody change a remote between the look at its condition and the change."""
        done: Deferred[Answer] = self._turns.run(lambda: Deferred.fromCoroutine(work()))
        return done


def _unknown(call: Call) -> UnknownName:
    return UnknownName(f"no remote named '{call.params['name'].strip()[:128]}' is configured")


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _RemoteRoutes(installation)
    reading: dict[str, Any] = {"tag": "remotes", "action": "remote.read"}
    changing: dict[str, Any] = {
        "tag": "remotes",
        "action": "remote.manage",
        "area": "remotes",
        "conditional": True,
    }
    putting: dict[str, Any] = {
        "path": "/admin/remotes/{name}",
        "handle": routes.put,
        "answers": {200: "Remote", 201: "Remote"},
        "body": "RemoteUpsert",
        "event": "remote_stored",
    }
    return (
        Row(
            method="GET",
            path="/admin/remotes",
            operation="listRemotes",
            summary="The remotes by name",
            handle=routes.list,
            answers={200: "Remotes"},
            **reading,
        ),
        Row(
            method="GET",
            path="/admin/remotes/{name}",
            operation="getRemote",
            summary="One remote",
            handle=routes.find,
            answers={200: "Remote", 404: "Error"},
            **reading,
        ),
        Row(
            method="PUT",
            operation="putRemote",
            summary="Store a remote, a new one or in the place of one",
            **putting,
            **changing,
        ),
        Row(
            method="POST",
            operation="postRemote",
            summary="The same as PUT, as older documents write it",
            **putting,
            **changing,
        ),
        Row(
            method="DELETE",
            path="/admin/remotes/{name}",
            operation="deleteRemote",
            summary="Remove a remote",
            handle=routes.delete,
            answers={204: None, 404: "Error"},
            event="remote_removed",
            **changing,
        ),
    )
