"""The operations that only EventDBX's own clients know (capnp/ext.capnp).

Atomic batches, aggregates as of a version or a time, scans over everything, verification, and
the state of the server. Their answers are JSON documents of any length, sent in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application.resolving import Resolver
from eventdbx.application.writer import Committed
from eventdbx.domain.aggregate import aggregate_document
from eventdbx.domain.cursors import parse_event_cursor
from eventdbx.domain.events import event_document, raw_event_document
from eventdbx.domain.queries import AggregateQuery, EventQuery, Scope
from eventdbx.domain.sorting import parse_aggregate_sort, parse_event_sort
from eventdbx.errors import InvalidSchema
from eventdbx.surfaces.control.pages import (
    aggregate_cursor_for,
    array,
    bounded_take,
    optional_filter,
)
from eventdbx.surfaces.control.receipts import receipted
from eventdbx.surfaces.control.verifying import VerifyRoutes
from eventdbx.surfaces.control.writes import writing
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session


class ExtensionRoutes:
    """The methods of the extension operations; the table is joined with that of Routes."""

    def __init__(
        self, routes: Routes, run_slowly: RunSlowly, status: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._routes = routes
        self._run_slowly = run_slowly
        self._status_of_server = status
        self.verifying = VerifyRoutes(routes, run_slowly)

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.CommitBatch: self._commit_batch,
            rq.ReadAggregate: self._read_aggregate,
            rq.ScanAggregates: self._scan_aggregates,
            rq.ScanEvents: self._scan_events,
            **self.verifying.table(),
            rq.Status: self._status,
        }

    def _commit_batch(self, session: Session, request: rq.CommitBatch) -> Deferred[rs.Extension]:
        grant = self._routes.grant(session, request.token)
        if not 0 < len(request.writes) <= limits.BATCH_WRITES_MAX:
            raise InvalidSchema(f"a batch holds 1 to {limits.BATCH_WRITES_MAX} writes")
        committing = partial(
            session.domain.writer.write,
            request.writes,
            actor=grant.actor,
            authorise=writing(session, grant),
            spender=grant,
            idempotency_key=request.idempotency_key,
        )
        documents = partial(_DOCUMENTS[request.answer], session)
        whole = request.answer == "proofs"
        wanted = [whole or write.receipt for write in request.writes]
        if not any(wanted):
            return committing(render=lambda done: rs.Extension(array(documents(done))))
        return receipted(
            session, self._run_slowly, lambda keep: committing(render=keep), documents, wanted
        ).addCallback(lambda texts: rs.Extension(array(texts)))

    def _read_aggregate(self, session: Session, request: rq.ReadAggregate) -> Any:
        names = request.aggregate_type, request.aggregate_id
        grant = self._routes.require(session, request.token, "aggregate.read", *names)
        reader, references = session.reader(), self._routes.references
        depth = references.depth(request.resolve_depth)
        raw, document = request.raw, raw_event_document if request.raw else event_document

        def read(resolver: Resolver | None = None) -> rs.Extension:
            head = reader.aggregate_at(*names, version=request.version, at_ns=request.time_ns)
            if head is None:
                return rs.Extension(b'{"aggregate":null}')
            plain = aggregate_document(head)
            body = b'{"aggregate":' + plain
            if request.include_events:
                query = EventQuery(head.version, *names, scope="all")
                events = reader.list_events(query, raw=raw).items if head.version else []
                body += b',"events":' + array([document(event) for event in events])
            if resolver is not None:
                body += b',"resolved":' + resolver.form(head, plain, depth=depth)
            return rs.Extension(body + b"}")

        if request.resolve:
            return references.resolving(session, grant, reader, read)
        now = request.version is None and request.time_ns is None
        if now and not request.include_events and session.domain.folding.settled:
            return read()
        return self._run_slowly(read)

    def _scan_aggregates(self, session: Session, request: rq.ScanAggregates) -> Any:
        from eventdbx.surfaces.control.routes import seeing

        grant = self._routes.grant(session, request.token)
        grant.require("aggregate.read")
        scope = _scope(request.scope)
        wanted = optional_filter(request.filter)
        if wanted is not None and scope == "active" and wanted.mentions("archived"):
            scope = "all"
        sort = () if request.sort is None else parse_aggregate_sort(request.sort)
        sizes = self._routes.settings
        query = AggregateQuery(
            take=bounded_take(request.take or None, sizes.list_page_size, sizes.page_limit),
            aggregate_type=request.aggregate_type,
            cursor=aggregate_cursor_for(request.cursor, sort, scope),
            skip=request.skip,
            filter=wanted,
            sort=sort,
            scope=scope,
        )
        reader, references = session.reader(), self._routes.references
        depth = references.depth(request.resolve_depth)

        def scan(resolver: Resolver | None = None) -> rs.Extension:
            page = reader.list_aggregates(query, seeing(grant))
            documents = [aggregate_document(head) for head in page.items]
            if resolver is not None:
                pairs = zip(page.items, documents, strict=True)
                documents = [resolver.form(head, plain, depth=depth) for head, plain in pairs]
            return _page(documents, page.next_cursor)

        if request.resolve:
            return references.resolving(session, grant, reader, scan)
        return self._run_slowly(scan)

    def _scan_events(self, session: Session, request: rq.ScanEvents) -> Any:
        from eventdbx.surfaces.control.routes import seeing

        grant = self._routes.grant(session, request.token)
        grant.require("aggregate.read")
        visible = seeing(grant)
        reader = session.reader()
        raw, document = request.raw, raw_event_document if request.raw else event_document
        if request.event_id is not None:
            event = reader.event_by_id(request.event_id, raw=raw)
            if event is not None and visible(event.aggregate_type, event.aggregate_id):
                return _page([document(event)], None)
            return _page([], None)
        sizes = self._routes.settings
        query = EventQuery(
            take=bounded_take(request.take or None, sizes.list_page_size, sizes.page_limit),
            aggregate_type=request.aggregate_type,
            aggregate_id=request.aggregate_id,
            cursor=None if request.cursor is None else parse_event_cursor(request.cursor),
            skip=request.skip,
            filter=optional_filter(request.filter),
            sort=() if request.sort is None else parse_event_sort(request.sort),
            scope=_scope(request.scope),
        )

        def scan() -> rs.Extension:
            page = reader.list_events(query, visible, raw=raw)
            return _page([document(event) for event in page.items], page.next_cursor)

        return self._run_slowly(scan)

    def _status(self, session: Session, request: rq.Status) -> rs.Extension:
        self._routes.grant(session, request.token)
        known = {"domain": session.domain.name, **self._status_of_server()}
        return rs.Extension(orjson.dumps({**known, "store": session.domain.store.statistics()}))


def _page(documents: list[bytes], cursor: str | None) -> rs.Extension:
    return rs.Extension(b'{"items":%b,"next_cursor":%b}' % (array(documents), orjson.dumps(cursor)))


def _scope(text: str | None) -> Scope:
    if text in (None, "", "active"):
        return "active"
    if text == "all":
        return "all"
    if text == "archived":
        return "archived"
    raise InvalidSchema(f"unknown scope '{text}' (expected active, all or archived)")


def event_documents(session: Session, done: list[Committed]) -> list[bytes]:
    """Return the documents of events as who wrote them is shown them."""
    seen = session.seen()
    return [_telling(event_document(seen.written_event(one.event)), one) for one in done]


def _aggregates(session: Session, done: list[Committed]) -> list[bytes]:
    seen = session.seen()
    return [_telling(aggregate_document(seen.written_head(one.head)), one) for one in done]


def _telling(document: bytes, done: Committed) -> bytes:
    """Add the id of the snapshot that was taken by itself to a document, if one was."""
    if not done.snapshot_id:
        return document
    return b'%b,"auto_snapshot":"%d"}' % (document[:-1], done.snapshot_id)


def _receipts(_session: Session, done: list[Committed]) -> list[bytes]:
    return [
        b'{"version":%d,"event_id":"%d","merkle_root":"%b"}'
        % (one.event.version, one.event.event_id, one.event.merkle_root.hex().encode())
        for one in done
    ]


_DOCUMENTS: dict[str, Callable[[Session, list[Committed]], list[bytes]]] = {
    "events": event_documents,
    "aggregates": _aggregates,
    "receipts": _receipts,
    "proofs": _receipts,
}
