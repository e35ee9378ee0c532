"""The writes of one event, aggregate or snapshot; many at once are in
:mod:`eventdbx.surfaces.control.extensions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.writer import Authorise, Committed
from eventdbx.domain.aggregate import Head, aggregate_document
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import event_document
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.domain.snapshots import snapshot_document
from eventdbx.errors import AggregateNotFound, Unauthorized
from eventdbx.surfaces.control.receipts import fitting, receipted
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session


class WriteRoutes:
    """Requests that write, by the rights of their own tokens."""

    def __init__(self, routes: Routes, run_slowly: RunSlowly) -> None:
        self._routes = routes
        self._run_slowly = run_slowly

    def table(self) -> Mapping[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.AppendEvent: self._append_event,
            rq.PatchEvent: self._patch_event,
            rq.CreateAggregate: self._create_aggregate,
            rq.SetAggregateArchive: self._set_aggregate_archive,
            rq.CreateSnapshot: self._create_snapshot,
        }

    def _append_event(self, session: Session, request: rq.AppendEvent) -> Deferred[rs.EventReply]:
        return self._write(session, "append", request, self._event_reply, rs.EventReply)

    def _patch_event(self, session: Session, request: rq.PatchEvent) -> Deferred[rs.EventReply]:
        return self._write(session, "patch", request, self._event_reply, rs.EventReply)

    def _create_aggregate(
        self, session: Session, request: rq.CreateAggregate
    ) -> Deferred[rs.AggregateReply]:
        return self._write(session, "create", request, self._aggregate_reply, rs.AggregateReply)

    def _write(
        self,
        session: Session,
        kind: WriteKind,
        request: rq.AppendEvent | rq.PatchEvent | rq.CreateAggregate,
        render: Callable[[Session, list[Committed]], Any],
        reply: type[rs.EventReply] | type[rs.AggregateReply],
    ) -> Deferred[Any]:
        grant = self._routes.grant(session, request.token)
        write = Write(
            kind,
            request.aggregate_type,
            request.aggregate_id,
            request.event_type,
            request.content,
            request.metadata,
            request.note,
            request.publish_targets or (),
            request.expected_version,
            request.idempotency_key,
            request.receipt,
        )
        committing = partial(
            session.domain.writer.write,
            (write,),
            actor=grant.actor,
            authorise=writing(session, grant),
            spender=grant,
        )
        if not request.receipt:
            return committing(render=lambda done: render(session, done))
        return receipted(
            session,
            self._run_slowly,
            lambda keep: committing(render=keep),
            lambda done: [render(session, done).json],
            (True,),
        ).addCallback(lambda texts: fitting(reply, texts[0]))

    def _event_reply(self, session: Session, done: list[Committed]) -> rs.EventReply:
        if self._routes.blank:
            return rs.EventReply(b"")
        return rs.EventReply(event_document(session.seen().written_event(done[0].event)))

    def _aggregate_reply(self, session: Session, done: list[Committed]) -> rs.AggregateReply:
        if self._routes.blank:
            return rs.AggregateReply(b"")
        return rs.AggregateReply(aggregate_document(session.seen().written_head(done[0].head)))

    def _set_aggregate_archive(
        self, session: Session, request: rq.SetAggregateArchive
    ) -> Deferred[rs.ArchiveReply]:
        grant = self._routes.grant(session, request.token)
        blank = self._routes.blank

        def render(head: Head) -> rs.ArchiveReply:
            return rs.ArchiveReply(
                b"" if blank else aggregate_document(session.seen().written_head(head))
            )

        return session.domain.writer.archive(
            request.aggregate_type,
            request.aggregate_id,
            archived=request.archived,
            comment=request.note,
            actor=grant.actor,
            authorise=writing(session, grant),
            render=render,
        )

    def _create_snapshot(
        self, session: Session, request: rq.CreateSnapshot
    ) -> Deferred[rs.SnapshotReply]:
        grant, seen = self._routes.grant(session, request.token), session.seen()
        names = request.aggregate_type, request.aggregate_id
        check_aggregate_type(names[0])
        check_aggregate_id(names[1])
        if not seen.shows(names[0]):
            raise AggregateNotFound()
        return session.domain.writer.snapshot(
            *names,
            comment=request.comment,
            authorise=grant.require,
            render=lambda snapshot: rs.SnapshotReply(snapshot_document(seen.snapshot(snapshot))),
        )


def writing(session: Session, grant: Grant) -> Authorise:
    """Return the check of a write: the action, the resource, and an actor to record."""

    def authorise(action: str, resource: str) -> None:
        grant.require(action, resource)
        if grant.actor is None and not session.owner:
            raise Unauthorized()

    return authorise
