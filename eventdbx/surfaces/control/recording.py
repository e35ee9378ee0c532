"""What of the control protocol goes into the audit trail: every change, once it has been made.

The tables say which operations change something and what they are called there. An answer leaves
when its action is durable in the trail, so whatever was acknowledged is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred

from eventdbx.application.auditing import Action, Trail
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.masking import masked_document

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.asked import Asked
    from eventdbx.surfaces.control.routes import Session

NAMES_MAX = 100
"""Names of one change that are listed; a set may hold thousands."""


class Change(NamedTuple):
    """What an operation changes: area and event of its action, and who it names."""

    area: str
    event: str
    resource: str
    way: str
    details: Mapping[str, JSON] | None = None
    before: str | None = None
    """The digest of what is about to be changed."""


PLUGIN_EVENTS = {
    "configure": "plugin_configured",
    "enable": "plugin_enabled",
    "disable": "plugin_disabled",
    "remove": "plugin_removed",
    "rename": "plugin_renamed",
    "switch": "plugin_switched",
    "options": "plugin_options_changed",
    "pause": "plugin_paused",
    "resume": "plugin_resumed",
    "seek": "plugin_moved",
    "test": "plugin_tested",
    "start": "plugin_started",
    "stop": "plugin_stopped",
    "replay": "replay_started",
    "cancel_replay": "replay_cancelled",
}
QUEUE_EVENTS = {"retry": "jobs_retried", "drop": "jobs_dropped", "clear_done": "jobs_cleared"}
SCHEMA_EVENTS = {
    "change": "schemas_changed",
    "replace": "schemas_replaced",
    "publish": "schemas_published",
    "activate": "schemas_activated",
    "rollback": "schemas_rolled_back",
    "reload": "schemas_reloaded",
}
_PLUGIN_DETAILS = ("to", "with", "job", "aggregate_type", "aggregate_id", "unset")
_QUEUE_DETAILS = ("id", "since_ms", "older_than_ms")
_SCHEMA_DETAILS = ("version", "actor", "reason", "labels", "activate", "force")
_COUNTS = ("retried", "dropped", "cleared", "replaced", "version", "activated", "skipped", "job")
"""Members of answers that say what came of it."""
_NOTHING = ("changed", "retried", "dropped", "cleared")
"""Those that say, with 0 or false, that nothing was changed after all."""


class Recording:
    """Records what sessions change. Without a trail nothing is recorded: nothing is written."""

    def __init__(self, trail: Trail | None) -> None:
        self._trail = trail

    def done(
        self,
        session: Session,
        grant: Grant,
        change: Change | None,
        answer: Any,
        domain: Domain | None = None,
    ) -> Any:
        """Return the answer of a change, a document or a Deferred of it, once it is recorded.

        ``domain`` is what was changed, by default that of the session.
        """
        if change is None or self._trail is None:
            return answer
        place = session.domain if domain is None else domain
        if isinstance(answer, Deferred):
            return answer.addCallback(
                lambda done: self._record(session, grant, change, done, place)
            )
        return self._record(session, grant, change, answer, place)

    def _record(
        self, session: Session, grant: Grant, change: Change, answer: Any, domain: Domain
    ) -> Any:
        assert self._trail is not None
        came_to = answer if isinstance(answer, dict) else {}
        if any(came_to.get(name) in (0, False) for name in _NOTHING):
            return answer
        details = dict(change.details or {})
        details |= {name: came_to[name] for name in _COUNTS if came_to.get(name) is not None}
        if domain.name != "default":
            details["domain"] = domain.name
        after = came_to.get("digest") or digest(domain, change)
        action = Action(
            change.area,
            change.event,
            change.resource,
            change.way,
            grant.actor,
            jti=None if session.owner else grant.jti,
            subject=None if session.owner else grant.subject,
            peer=session.address or None,
            before=change.before,
            after=None if after == change.before is None else after,
            details=details or None,
        )
        return self._trail.record(action).addCallback(lambda _recorded: answer)


def digest(domain: Domain, change: Change) -> str | None:
    """Return the digest of what a change is about, as it is now; None where there is nothing.

    That of a plugin is of its entry without credentials, which nobody shall guess from it.
    """
    if change.area == "schemas":
        return domain.schemas.in_force.digest
    if change.area != "plugins":
        return None
    entry = domain.plugins.find(change.resource)
    if not isinstance(entry, PluginEntry):
        return None
    return sha256(dump(masked_document(entry))).hexdigest()


def plugin_change(domain: Domain, do: str, asked: Asked) -> Change | None:
    """Return what an operation on plugins or the queue changes, None for one that looks."""
    if do in PLUGIN_EVENTS:
        named = asked.text("name") or asked.members("entry").get("name")
        name = str(named or ",".join(asked.texts("names")[:NAMES_MAX]) or "*")
        details = _given(asked, _PLUGIN_DETAILS)
        change = Change("plugins", PLUGIN_EVENTS[do], name, f"control plugins.{do}", details)
        return change._replace(before=digest(domain, change))
    if do in QUEUE_EVENTS and not (do == "clear_done" and asked.flag("only_count")):
        details = _given(asked, _QUEUE_DETAILS)
        name = asked.text("name") or "*"
        return Change("queue", QUEUE_EVENTS[do], name, f"control plugins.{do}", details)
    return None


def schema_change(domain: Domain, do: str, asked: Asked) -> Change | None:
    """Return what an operation on schemas changes, None for one that looks."""
    if do not in SCHEMA_EVENTS:
        return None
    details = _given(asked, _SCHEMA_DETAILS)
    resource = "*"
    if do == "change":
        changes = asked.objects("changes")[:NAMES_MAX]
        resource = ",".join(sorted({str(one.get("aggregate")) for one in changes}))
        details["changes"] = [str(one.get("do"))[:64] for one in changes]
    return schemas_changed(domain, SCHEMA_EVENTS[do], f"control schemas.{do}", details, resource)


def schemas_changed(
    domain: Domain, event: str, way: str, details: dict[str, JSON], resource: str = "*"
) -> Change:
    """Return a change of the schemas, as it is before it is made."""
    change = Change("schemas", event, resource, way, details or None)
    return change._replace(before=domain.schemas.in_force.digest)


def _given(asked: Asked, names: tuple[str, ...]) -> dict[str, JSON]:
    return {name: asked.value(name) for name in names if asked.has(name)}
