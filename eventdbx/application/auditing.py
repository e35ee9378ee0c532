"""The audit trail: administrative actions as events on timelines of the type ``dbx_admin``.

They are events like any other: hashed, proven and never changed. The type is closed to clients,
and hidden from whatever does not ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Actor

AUDIT_TYPE = "dbx_admin"


class Action(NamedTuple):
    """One administrative action that was carried out.

    ``area`` is the aggregate's id (``tokens``, ``schemas``, ``plugins``, ``queue``, ``remotes``,
    ``config``, ``keys``), ``event`` the event type (``token_issued``), ``resource`` what was
    changed (a token's id, a name; never a secret). ``before`` and ``after`` are SHA-256 digests
    in hex of the documents changed; ``way`` says through what (``POST /admin/tokens``,
    ``control plugins.enable``, ``dbx token generate``). ``key`` tells a repetition.
    """

    area: str
    event: str
    resource: str
    way: str
    actor: Actor | None
    jti: str | None = None
    subject: str | None = None
    peer: str | None = None
    before: str | None = None
    after: str | None = None
    details: Mapping[str, JSON] | None = None
    key: str | None = None


class Trail(Protocol):
    """Where actions are recorded."""

    def record(self, action: Action) -> Deferred[None]:
        """Append an action; fires when it is durable. The action has happened already, so a
        failure to record is logged and never fails the action."""
