"""Backups on the control protocol: a copy for the command that packs it (docs/protocol.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.backing_up import Backups
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.recording import Change

if TYPE_CHECKING:
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.routes import Routes, Session

RIGHT = "config.write"
AREA, EVENT = "backups", "backup_copied"


def offer_backups(routes: Routes, backups: Backups) -> None:
    """Let clients with the right ask for copies."""

    def begin(session: Session, asked: Asked, grant: Grant) -> Deferred[dict[str, Any]]:
        with_keys = asked.flag("keys", True)

        def recorded(found: dict[str, Any]) -> Any:
            details = {"keys": with_keys}
            change = Change(AREA, EVENT, found["id"], "control administer backup_begin", details)
            return routes.recording.done(session, grant, change, found)

        return backups.begin(grant, with_keys=with_keys).addCallback(recorded)

    def end(_session: Session, asked: Asked, _grant: Grant) -> Deferred[dict[str, Any]]:
        return backups.end(asked.required("id"))

    routes.administration.offer("backup_begin", RIGHT, begin)
    routes.administration.offer("backup_end", RIGHT, end)
