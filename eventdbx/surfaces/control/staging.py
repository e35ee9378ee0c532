"""Staging on the control protocol: a JSON document for each operation.

docs/protocol.md, "Staging", lists what there is to ``do``. The rights are those of the writes
themselves, asked for when they are staged and again when they are committed; what a token may not
write to is not there for it, though it is its user's. Whoever asks for what is another user's must
be allowed everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.staging import LOCAL, Staging, unknown
from eventdbx.application.views import Seen
from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import Actor, Event
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError, InvalidSchema
from eventdbx.storage.staged import Entry
from eventdbx.surfaces.control.asked import Asked, read_asked
from eventdbx.surfaces.control.extensions import event_documents
from eventdbx.surfaces.control.recording import Change
from eventdbx.surfaces.control.writes import writing
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.application.writer import Committed
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.recording import Recording
    from eventdbx.surfaces.control.routes import Routes, Session

ROOT = "*.*"
"""The right to what others have staged, and to operations that there are not."""

EVERYTHING = "aggregate:*:*"
WRITES = "aggregate.append"
AREA, DROPPED = "staging", "staged_dropped"

_KINDS: dict[str, WriteKind] = {
    "create": "create", "append": "append", "apply": "apply", "patch": "patch"
}  # fmt: skip

Answer = dict[str, Any] | bytes


class Work(NamedTuple):
    """What an operation has: who asks for what, and where."""

    session: Session
    asked: Asked
    grant: Grant
    recording: Recording

    @property
    def staging(self) -> Staging:
        """What is staged in the domain."""
        return self.session.domain.staging

    @property
    def actor(self) -> Actor | None:
        """Whom events will name: nobody where the operator works on the store's own files."""
        return None if self.session.owner else self.grant.require_actor()

    @property
    def me(self) -> Actor:
        """Who asks."""
        return self.actor or LOCAL

    def sees(self, entry: Entry) -> bool:
        """Tell whether an entry is there for who asks: a token of the same user may be for other
        aggregates, and what one comes to tells what it is about."""
        write = entry.write
        return self.grant.allows(WRITES, f"aggregate:{write.aggregate_type}:{write.aggregate_id}")

    def whose(self) -> Actor:
        """Return whose entries are asked about. Raises Unauthorized, ConfigError."""
        user = self.asked.members("user")
        if not user:
            return self.me
        named = Asked(user, ConfigError)
        owner = Actor(named.required("group"), named.required("user"))
        if owner != self.me:
            self.grant.require(ROOT, EVERYTHING)
        return owner


class Operation(NamedTuple):
    """One row: the action that a token must allow at all, and what carries the operation out."""

    right: str
    carry_out: Callable[[Work], Answer | Deferred[Any]]


def _stage(work: Work) -> Deferred[dict[str, Any]]:
    writes = [_write(Asked(one)) for one in work.asked.objects("writes")]
    seen = work.session.seen()
    return work.staging.stage(
        writes,
        owner=work.me,
        actor=work.actor,
        authorise=writing(work.session, work.grant),
        render=lambda entries: {"staged": [entry_document(one, seen) for one in entries]},
    )


def _list(work: Work) -> dict[str, Any]:
    asked, seen = work.asked, work.session.seen()
    if asked.flag("all_users"):
        work.grant.require(ROOT, EVERYTHING)
        entries = list(work.staging.all_entries())
    else:
        entries = work.staging.entries(work.whose())
    kind, identifier = asked.text("aggregate_type"), asked.text("aggregate_id")
    return {
        "items": [
            entry_document(one, seen)
            for one in entries
            if work.sees(one)
            and kind in (None, one.write.aggregate_type)
            and identifier in (None, one.write.aggregate_id)
        ]
    }


def _show(work: Work) -> dict[str, Any]:
    wanted = entry_id(work.asked.required("id"))
    for entry in work.staging.entries(work.whose()):
        if entry.entry_id == wanted and work.sees(entry):
            return {"entry": entry_document(entry, work.session.seen())}
    raise unknown(wanted)


def _drop(work: Work) -> Deferred[dict[str, Any]]:
    asked, owner = work.asked, work.whose()
    ids = None if asked.flag("all") else [entry_id(text) for text in asked.texts("ids")]
    if ids == []:
        raise ConfigError("either 'ids' or 'all' must be given")
    dropped: Deferred[Any] = work.staging.drop(owner, ids, seen=work.sees)
    dropped.addCallback(lambda count: {"dropped": count})
    if owner == work.me:
        return dropped
    # What belongs to another is administered, and so in the trail.
    change = Change(AREA, DROPPED, f"{owner.group}/{owner.user}", "control staging drop")
    return dropped.addCallback(
        lambda done: work.recording.done(work.session, work.grant, change, done)
    )


def _commit(work: Work) -> Deferred[Any]:
    session = work.session
    authorise = writing(session, work.grant)
    me, actor = work.me, work.actor
    if work.asked.flag("dry_run"):
        seen = session.seen()
        checking = work.staging.rehearse(owner=me, actor=actor, authorise=authorise)
        return checking.addCallback(
            lambda entries: {
                "dry_run": True,
                "committed": 0,
                "items": [entry_document(one, seen) for one in entries],
            }
        )

    def render(done: list[Committed]) -> bytes:
        events = b",".join(event_documents(session, done))
        return b'{"dry_run":false,"committed":%d,"events":[%b]}' % (len(done), events)

    return work.staging.commit(
        owner=me, actor=actor, authorise=authorise, spender=work.grant, render=render
    )


OPERATIONS: dict[str, Operation] = {
    "stage": Operation(WRITES, _stage),
    "list": Operation(WRITES, _list),
    "show": Operation(WRITES, _show),
    "drop": Operation(WRITES, _drop),
    "commit": Operation(WRITES, _commit),
}


class StagingRoutes:
    """The method of the operation; the table is joined with that of Routes."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.StagingOperation: self._operate}

    def _operate(self, session: Session, request: rq.StagingOperation) -> Any:
        grant = self._routes.grant(session, request.token)
        asked = read_asked(request.json, "a staging operation", ConfigError)
        do = asked.required("do")
        operation = OPERATIONS.get(do)
        grant.require(ROOT if operation is None else operation.right)
        if operation is None:
            raise ConfigError(f"unknown staging operation '{do[:64]}'")
        if not session.owner:
            grant.require_actor()  # What is staged is somebody's.
        answer = operation.carry_out(Work(session, asked, grant, self._routes.recording))
        return answer.addCallback(_answer) if isinstance(answer, Deferred) else _answer(answer)


def entry_id(text: str) -> int:
    """Return the number of an entry. Raises ConfigError for what cannot be one."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 1 << 64:
        raise ConfigError(f"'{text[:64]}' is no id of a staged event")
    return int(text)


def entry_document(entry: Entry, seen: Seen) -> dict[str, Any]:
    """Return what its user is told of an entry: first what other versions tell."""
    write, issued = entry.write, entry.issued_by
    spelled = write.event_type if write.event_type != entry.event_type else None
    document: dict[str, Any] = {
        "aggregate": write.aggregate_type,
        "aggregate_id": write.aggregate_id,
        "event": entry.event_type,
        "event_raw": spelled,
        "payload": orjson.Fragment(_seen_payload(entry, seen)),
        "metadata": None if write.metadata is None else orjson.Fragment(write.metadata),
        "issued_by": None if issued is None else issued._asdict(),
        "note": write.note,
        "id": str(entry.entry_id),
        "kind": write.kind,
        "expected_version": write.expected_version,
        "idempotency_key": write.idempotency_key,
        "staged_at": format_ns(entry.staged_at),
        "user": entry.owner._asdict(),
    }
    if write.kind == "patch":
        document["patch"] = orjson.Fragment(write.content or b"[]")
    return document


def _seen_payload(entry: Entry, seen: Seen) -> bytes:
    """Return what an entry came to, without what its user would not be shown of the event."""
    write = entry.write
    event = Event(
        write.aggregate_type, write.aggregate_id, entry.event_type, None, entry.payload, None,
        entry.entry_id, entry.staged_at, entry.issued_by, None, 1 if write.kind == "create" else 2,
        b"", b"", b"",
    )  # fmt: skip
    return seen.written_event(event).payload


def _write(asked: Asked) -> Write:
    kind = _KINDS.get(asked.required("kind"))
    if kind is None:
        raise InvalidSchema("'kind' of a write must be create, append, apply or patch")
    if asked.has("publish"):
        raise InvalidSchema("what is staged cannot name plugins to publish to")
    return Write(
        kind,
        asked.required("aggregate_type"),
        asked.required("aggregate_id"),
        asked.required("event_type"),
        asked.text("content_json"),
        asked.text("metadata_json"),
        asked.text("note"),
        (),
        asked.number("expected_version"),
        asked.text("idempotency_key"),
    )


def _answer(answer: JSON | bytes) -> rs.Extension:
    return rs.Extension(answer if isinstance(answer, bytes) else orjson.dumps(answer))
