"""Plugins and what waits for them on the control protocol: one operation, a JSON document each.

docs/protocol.md, "Plugins", lists what there is to ``do`` and which right each needs. What changes
entries is done by ``domain.plugins``, everything about deliveries by ``domain.delivering``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred, succeed

from eventdbx.domain.delivery.entries import PluginEntry, Unavailable
from eventdbx.domain.delivery.masking import masked_document
from eventdbx.domain.delivery.writing import entry_document, plugin_document
from eventdbx.errors import ConfigError, Unauthorized, UnknownName
from eventdbx.surfaces.control import deliveries
from eventdbx.surfaces.control.asked import Asked, read_asked
from eventdbx.surfaces.control.deliveries import (
    Operation,
    check_place,
    delivering,
    processes,
    usable,
)
from eventdbx.surfaces.control.recording import plugin_change
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.routes import Routes, Session

_RIGHTS = {
    **dict.fromkeys("list lag status replay_progress".split(), "plugin.read"),
    **dict.fromkeys(
        "configure enable disable remove rename switch options pause resume seek test start stop "
        "replay cancel_replay".split(),
        "plugin.manage",
    ),
    **dict.fromkeys(("queue", "job"), "queue.read"),
    **dict.fromkeys(("retry", "drop", "clear_done"), "queue.manage"),
}
_WAITS_WITH = ("plugin.read", "aggregate.append", "aggregate.read")
"""Whoever writes or reads events may wait until a read model has them."""

_LOOKS = frozenset("wait lag replay_progress queue job status".split())
"""What is asked again and again: it takes the file's entries as they were a second ago."""

_OF_ENTRIES = frozenset(
    "configure enable disable remove rename switch options pause resume test start stop".split()
)
"""What changes or uses entries, which may be those of all domains."""


class PluginRoutes:
    """The method of the operation; the table is joined with that of Routes."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._operations = OPERATIONS

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.PluginOperation: self._operate}

    def _operate(self, session: Session, request: rq.PluginOperation) -> Any:
        grant = self._routes.grant(session, request.token)
        asked = read_asked(request.json, "a plugin operation", ConfigError)
        do = asked.required("do")
        _authorise(grant, do, asked)
        operation = self._operations.get(do)
        if operation is None:
            raise ConfigError(f"unknown plugin operation '{do[:64]}'")
        if do in _OF_ENTRIES:
            session.domain.plugins.require_own(grant)
        if do in _LOOKS:
            session.domain.plugins.refresh()
        else:
            session.domain.plugins.tidy()
        change = plugin_change(session.domain, do, asked)
        answer = operation(session.domain, asked, grant)
        answer = self._routes.recording.done(session, grant, change, answer)
        return answer.addCallback(_answer) if isinstance(answer, Deferred) else _answer(answer)


def _authorise(grant: Grant, do: str, asked: Asked) -> None:
    """Raise Unauthorized unless the grant allows an operation."""
    if do == "wait":
        if not any(grant.allows(action) for action in _WAITS_WITH):
            raise Unauthorized
    elif do == "clear_done" and asked.flag("only_count"):
        grant.require("queue.read")
    else:
        grant.require(_RIGHTS.get(do, "plugin.manage"))


def _answer(document: dict[str, Any]) -> rs.Extension:
    return rs.Extension(orjson.dumps(document))


def _key(domain: Domain, name: str) -> str:
    """Return what the rows of a plugin are kept under. Raises ConfigError for an unknown name."""
    entry = domain.plugins.find(name)
    if entry is None:
        raise UnknownName(f"no plugin named '{name}' is configured")
    return entry.key if isinstance(entry, PluginEntry) else entry.name or entry.type


# Entries


def _list(domain: Domain, _asked: Asked, grant: Grant) -> Any:
    if domain.delivering is None:
        return _listing(domain, grant, {})
    lags = domain.delivering.lags()
    return lags.addCallback(
        lambda found: _listing(domain, grant, {lag.name: lag.paused for lag in found})
    )


def _listing(domain: Domain, grant: Grant, paused: dict[str, str | None]) -> dict[str, Any]:
    """Return all entries; credentials are shown only to who may change them."""
    shown = entry_document if grant.allows("plugin.manage") else masked_document
    children = {one["name"]: one for one in processes(domain, None)}
    listed = []
    for entry in domain.plugins.shown_to(grant):
        document = shown(entry)
        members: dict[str, Any] = document if isinstance(document, dict) else {}
        if isinstance(entry, Unavailable):
            members = _as_entry(entry, members)
            members |= {"label": entry.label, "unavailable": entry.reason}
            members |= {"paused_reason": None, "process": None}
        else:
            reason = None if entry.paused else paused.get(entry.key)
            members |= {"label": entry.label, "unavailable": None, "paused_reason": reason}
            members["process"] = children.get(entry.key)
        listed.append(members)
    return {"plugins": listed}


def _as_entry(entry: Unavailable, members: dict[str, Any]) -> dict[str, Any]:
    """Return what was read of an unavailable entry, with the members that every entry has."""
    config = members.get("config")
    return {
        "enabled": False,
        "emit_events": False,
        "payload_mode": "all",
        **members,
        "name": entry.name,
        "config": {**(config if isinstance(config, dict) else {}), "type": entry.type},
    }


def _configure(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    given = asked.texts("given") if asked.has("given") else None
    start = asked.text("from")
    if start is not None:
        check_place(start)
        delivering(domain)
    created, entry = domain.plugins.configure(asked.members("entry"), given)
    answer = {"created": created, "entry": plugin_document(entry)}
    taken_up = _taken_up(domain, entry.key)
    if start is not None:
        taken_up.addCallback(lambda _none: delivering(domain).seek(entry.key, start))
    return taken_up.addCallback(lambda _token: answer)


def _taken_up(domain: Domain, key: str) -> Deferred[Any]:
    """Fires when what is written from now on is for a plugin as its entry is now."""
    way = domain.delivering
    return succeed(None) if way is None else way.taken_up(key)


def _switched(domain: Domain, name: str, *, enabled: bool) -> Deferred[dict[str, Any]]:
    """Enable or disable a plugin, and answer when that holds for events to come."""
    plugins = domain.plugins
    changed = plugins.enable(name) if enabled else plugins.disable(name)
    return _taken_up(domain, _key(domain, name)).addCallback(lambda _none: {"changed": changed})


def _enable(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    name = asked.required("name")
    entry = usable(domain, name)
    checked = delivering(domain).check(entry) if asked.flag("check", True) else succeed(None)
    return checked.addCallback(lambda _ready: _switched(domain, name, enabled=True))


def _disable(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    return _switched(domain, asked.required("name"), enabled=False)


def _remove(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    name = asked.required("name")
    key, way = _key(domain, name), delivering(domain)
    disabled = domain.plugins.remove(name, disable=asked.flag("disable"))
    dropping = way.drop(key)
    return dropping.addCallback(lambda count: {"disabled": disabled, "dropped": count})


def _rename(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    name = asked.required("name")
    key, way = _key(domain, name), delivering(domain)
    entry = domain.plugins.rename(name, asked.required("to"))
    answer = {"entry": plugin_document(entry)}
    return way.rename(key, entry.key).addCallback(lambda _moved: answer)


def _switch(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    """Let a plugin take the name and the place of another, whose rows go."""
    name, by = asked.required("name"), asked.required("with")
    key, way = _key(domain, by), delivering(domain)
    entry = domain.plugins.swap(name, by)
    answer = {"entry": plugin_document(entry)}
    return way.rename(key, entry.key).addCallback(lambda _moved: answer)


def _options(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    entry = domain.plugins.set_options(
        asked.required("name"), asked.members("set"), asked.texts("unset")
    )
    answer = {"entry": plugin_document(entry)}
    return _taken_up(domain, entry.key).addCallback(lambda _none: answer)


def _resume(domain: Domain, asked: Asked, _grant: Grant) -> dict[str, Any]:
    """Let a plugin go on, whoever paused it: an operator, or its target's answer."""
    name = asked.required("name")
    changed = domain.plugins.resume(name)
    if domain.delivering is not None:
        changed = domain.delivering.resume(name) or changed
    return {"changed": changed}


OPERATIONS: dict[str, Operation] = {
    "list": _list,
    "configure": _configure,
    "enable": _enable,
    "disable": _disable,
    "remove": _remove,
    "rename": _rename,
    "switch": _switch,
    "options": _options,
    "pause": lambda d, asked, _: {"changed": d.plugins.pause(asked.required("name"))},
    "resume": _resume,
    **deliveries.OPERATIONS,
}
"""Everything that there is to ``do``; which right each needs is in ``_RIGHTS``."""
