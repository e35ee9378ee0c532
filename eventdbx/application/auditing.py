"""The audit trail: administrative actions as events on timelines of the type ``dbx_admin``.

They are events like any other: hashed, proven and never changed. The type is closed to clients,
and hidden from whatever does not ask for it (docs/audit.md). What the command line did to files
without a server reaches the trail through a spool, :mod:`eventdbx.services.auditing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from eventdbx.application.authorising import as_audit_trail
from eventdbx.domain.actions import Action as Action
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Event
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import AUDIT_TYPE as AUDIT_TYPE
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage import eventlog, keys, records

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from eventdbx.application.domains import Domain
    from eventdbx.storage.interfaces import IReadView

AREAS = (
    "backups", "config", "erasures", "keys", "plugins", "queue", "remotes", "schemas", "staging",
    "tenants", "tokens",
)  # fmt: skip
"""The aggregates of the trail, one timeline each."""

DETAILS_BYTES_MAX = 16_384
TEXT_CHARACTERS_MAX = 512
"""What is longer is cut: names and routes come from outside."""

PAGE_MAX = 1_000


class Trail(Protocol):
    """Where actions are recorded."""

    def record(self, action: Action) -> Deferred[None]:
        """Append an action; fires when it is durable. The action has happened already, so a
        failure to record is logged and never fails the action."""


class AuditTrail:
    """The trail in the store of a domain.

    ``domain`` returns the domain that is active now; ``complain`` is told of an action that could
    not be recorded, and why.
    """

    def __init__(
        self, domain: Callable[[], Domain], complain: Callable[[Action, BaseException], None]
    ) -> None:
        self._domain = domain
        self._complain = complain

    def record(self, action: Action) -> Deferred[None]:
        """Append an action; fires with None when it is durable, or was complained of."""
        return self.add(action).addErrback(self._failed, action)

    def add(self, action: Action) -> Deferred[None]:
        """Append an action as :meth:`record` does, but fail when that is impossible.

        An action whose ``key`` was recorded before is not recorded twice.
        """
        from twisted.internet.defer import fail

        try:
            return self._domain().writer.write(
                (_write_of(action),),
                actor=action.actor,
                authorise=as_audit_trail,
                render=lambda _done: None,
            )
        except Exception as error:
            return fail(error)

    def _failed(self, failure: Failure, action: Action) -> None:
        assert failure.value is not None
        self._complain(action, failure.value)


def _write_of(action: Action) -> Write:
    document: dict[str, JSON] = {
        "resource": action.resource[:TEXT_CHARACTERS_MAX],
        "way": action.way[:TEXT_CHARACTERS_MAX],
        "jti": _cut(action.jti),
        "subject": _cut(action.subject),
        "peer": _cut(action.peer),
        "before": action.before,
        "after": action.after,
        "details": None if action.details is None else dict(action.details),
    }
    if len(dump(document["details"])) > DETAILS_BYTES_MAX:
        document["details"] = {"omitted": "too long"}
    return Write(
        "append",
        AUDIT_TYPE,
        action.area,
        action.event,
        dump({name: value for name, value in document.items() if value is not None}),
        idempotency_key=action.key,
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:TEXT_CHARACTERS_MAX]


OF_ONE_DOMAIN = ("erasures", "plugins", "queue", "schemas", "staging")
"""Areas whose actions are each about one domain; the others are about the installation."""

Shows = Callable[[Mapping[str, Any]], bool]
"""Says whether an action's document may be shown."""


def shown_to(grant: Grant, active: str) -> Shows:
    """Return which actions of the trail in the ``active`` domain the holder of a grant may see.

    Who is bound to some domains sees what was done to these, and learns of no others.
    """
    if not grant.tenants:
        return lambda _document: True

    def shows(document: Mapping[str, Any]) -> bool:
        if document["area"] not in OF_ONE_DOMAIN:
            return False
        named = (document["details"] or {}).get("domain")
        about = ("default", active) if named is None else (named,)
        return all(map(grant.allows_tenant, about))

    return shows


class TrailQuery(NamedTuple):
    """Which actions are asked for, newest first.

    ``before`` is the id of an event: only earlier ones are wanted. ``since_ns`` leaves out what is
    older; ``actor`` is ``group/user``, a user, a subject or a token's id.
    """

    take: int
    area: str | None = None
    before: int | None = None
    since_ns: int | None = None
    actor: str | None = None
    resource: str | None = None
    shows: Shows = lambda _document: True


class TrailPage(NamedTuple):
    """Documents of actions, newest first, and the id behind which it goes on (None: nowhere)."""

    items: list[dict[str, Any]]
    next_before: int | None


def read_trail(view: IReadView, query: TrailQuery) -> TrailPage:
    """Return a page of the trail. Raises ConfigError for an unknown area."""
    if query.area is not None and query.area not in AREAS:
        raise ConfigError(f"unknown audit area '{query.area[:64]}' (one of {', '.join(AREAS)})")
    areas = AREAS if query.area is None else (query.area,)
    streams = (_newest_first(view, area, query.before) for area in areas)
    take = max(1, min(query.take, PAGE_MAX))
    items: list[dict[str, Any]] = []
    last: int | None = None
    for event in merge(*streams, key=lambda event: event.event_id, reverse=True):
        if query.since_ns is not None and event.created_at < query.since_ns:
            return TrailPage(items, None)
        document = action_document(event)
        if _wanted(document, query):
            if len(items) == take:
                return TrailPage(items, last)
            items.append(document)
            last = event.event_id
    return TrailPage(items, None)


def _newest_first(view: IReadView, area: str, before: int | None) -> Iterator[Event]:
    """Yield the events of an area from the newest back, those before an id only."""
    name = keys.name(AUDIT_TYPE, area)
    newest = _newest_version(view, name, before)
    for _key, record in view.scan(keys.event(name, 1), keys.event(name, newest + 1), reverse=True):
        yield records.decode_event(record)


def _newest_version(view: IReadView, name: bytes, before: int | None) -> int:
    """Return the last version whose event id is less than ``before``, 0 if there is none."""
    head = eventlog.load_head(view, name)
    low, high = 0, 0 if head is None else head.version
    while before is not None and low < high:
        middle = (low + high + 1) // 2
        record = view.get(keys.event(name, middle))
        if record is None:
            raise StorageError(f"event {middle} of the audit trail is missing")
        if records.event_id_of(record) < before:
            low = middle
        else:
            high = middle - 1
    return high


def _wanted(document: Mapping[str, Any], query: TrailQuery) -> bool:
    if not query.shows(document):
        return False
    if query.resource is not None and document["resource"] != query.resource:
        return False
    if query.actor is None:
        return True
    actor = document["actor"] or {}
    names = {actor.get("user"), f"{actor.get('group')}/{actor.get('user')}"}
    return query.actor in names | {document["subject"], document["jti"]}


def action_document(event: Event) -> dict[str, Any]:
    """Return an action as JSON shows it: what was recorded, and the proof that it was."""
    payload = orjson.loads(event.payload)
    actor = event.issued_by
    return {
        "time": format_ns(event.created_at),
        "event_id": str(event.event_id),
        "area": event.aggregate_id,
        "event": event.event_type,
        **{name: payload.get(name) for name in ("resource", "way", "jti", "subject", "peer")},
        "actor": None if actor is None else actor._asdict(),
        **{name: payload.get(name) for name in ("before", "after", "details")},
        "version": event.version,
        "hash": event.hash.hex(),
        "merkle_root": event.merkle_root.hex(),
    }
