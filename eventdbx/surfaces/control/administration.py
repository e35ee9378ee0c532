"""Operations on the installation, on the control protocol: one request, a JSON document each.

docs/protocol.md, "Administration", lists what there is to ``do`` and which right each needs. What
is offered is put in by whoever has it (:meth:`AdministrationRoutes.offer`): a store that is opened
without a server offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.administering import domains_for, keys_for, status_for
from eventdbx.errors import ConfigError, Unauthorized
from eventdbx.surfaces.control.asked import Asked, read_asked
from eventdbx.surfaces.control.recording import Change
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.application.administering import Administration, Reloaded
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.routes import Routes, Session

AdminOperation = Callable[["Session", Asked, "Grant"], "dict[str, Any] | Deferred[dict[str, Any]]"]
"""Carries out one operation; returns its document, or a Deferred of it."""

ROOT = "*.*"
"""The right to what has none of its own."""


class AdministrationRoutes:
    """The method of the operation, and the table of what can be asked of it."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.rights: dict[str, str] = {}
        self._operations: dict[str, AdminOperation] = {}

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.AdminOperation: self._operate}

    def offer(self, do: str, right: str, operation: AdminOperation) -> None:
        """Let clients with a right ask for an operation."""
        self.rights[do] = right
        self._operations[do] = operation

    def offer_installation(self, installation: Administration, active: Callable[[], str]) -> None:
        """Offer what an installation can be asked for: its configuration, and its status.

        The configuration is for tokens that are good for the ``active`` domain: it is not that of
        any other one. What changes all domains at once is not for tokens of only some.
        """

        def require_active(grant: Grant) -> None:
            if not grant.allows_tenant(active()):
                raise Unauthorized

        def require_all(grant: Grant) -> None:
            if grant.tenants:
                raise Unauthorized

        def reload(session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
            require_all(grant)

            def recorded(reloaded: Reloaded) -> Any:
                keys = ", ".join(reloaded.changed)
                change = Change("config", "config_reloaded", keys, "control administer reload")
                done = change if keys else None
                return self._routes.recording.done(session, grant, done, reloaded.document())

            return installation.reload().addCallback(recorded)

        def configuration(_session: Session, _asked: Asked, grant: Grant) -> dict[str, Any]:
            require_active(grant)
            return installation.configuration()

        def status(_session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
            return installation.status().addCallback(status_for, grant)

        def data_keys(_session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
            require_active(grant)
            return installation.data_keys().addCallback(keys_for, grant)

        def rotate(session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
            require_all(grant)

            def recorded(reloaded: Reloaded) -> Any:
                keys = ", ".join(reloaded.changed)
                way = "control administer rotate_data_key"
                change = Change("config", "data_key_rotated", keys, way)
                return self._routes.recording.done(session, grant, change, reloaded.document())

            return installation.rotate_data_key().addCallback(recorded)

        def domains(_session: Session, _asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
            return installation.domains().addCallback(
                lambda found: {"domains": domains_for(found, grant)}
            )

        self.offer("domains", "config.read", domains)
        self.offer("data_keys", "config.read", data_keys)
        self.offer("rotate_data_key", "config.write", rotate)
        self.offer("reload", "config.write", reload)
        self.offer("configuration", "config.read", configuration)
        self.offer("status", "metrics.read", status)

    def _operate(self, session: Session, request: rq.AdminOperation) -> Any:
        grant = self._routes.grant(session, request.token)
        asked = read_asked(request.json, "an administrative operation", ConfigError)
        do = asked.required("do")
        grant.require(self.rights.get(do, ROOT))
        operation = self._operations.get(do)
        if operation is None:
            raise ConfigError(f"unknown administrative operation '{do[:64]}'")
        answer = operation(session, asked, grant)
        return answer.addCallback(_answer) if isinstance(answer, Deferred) else _answer(answer)


def _answer(document: dict[str, Any]) -> rs.Extension:
    return rs.Extension(orjson.dumps(document))
