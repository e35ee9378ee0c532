"""The operations that only EventDBX's own clients know (capnp/ext.capnp).

Atomic batches, aggregates as of a version or a time, scans over everything, verification, and
the state of the server. Their answers are JSON documents of any length, sent in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application.integrity import (
    Checked,
    Finding,
    verify_aggregate,
    verify_aggregates,
    verify_rest,
)
from eventdbx.application.resolving import Resolver
from eventdbx.application.writer import Committed
from eventdbx.domain.aggregate import Fold, aggregate_document
from eventdbx.domain.cursors import AggregateCursor, parse_aggregate_cursor, parse_event_cursor
from eventdbx.domain.events import event_document, raw_event_document
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.queries import AggregateQuery, EventQuery, Scope
from eventdbx.domain.sorting import parse_aggregate_sort, parse_event_sort
from eventdbx.errors import AggregateNotFound, InvalidCursor, InvalidSchema, StorageError
from eventdbx.storage import keys
from eventdbx.storage.eventlog import load_head
from eventdbx.storage.interfaces import IReadView
from eventdbx.surfaces.control.pages import (
    aggregate_cursor_for,
    array,
    bounded_take,
    optional_filter,
)
from eventdbx.surfaces.control.writes import writing
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

VERIFY_STEP_MAX = 1_000
"""Aggregates that one verify request checks; the answer says where to go on."""


class ExtensionRoutes:
    """The methods of the extension operations; the table is joined with that of Routes."""

    def __init__(
        self, routes: Routes, run_slowly: RunSlowly, status: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._routes = routes
        self._run_slowly = run_slowly
        self._status_of_server = status

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.CommitBatch: self._commit_batch,
            rq.ReadAggregate: self._read_aggregate,
            rq.ScanAggregates: self._scan_aggregates,
            rq.ScanEvents: self._scan_events,
            rq.Verify: self._verify,
            rq.Status: self._status,
        }

    def _commit_batch(self, session: Session, request: rq.CommitBatch) -> Deferred[rs.Extension]:
        grant = self._routes.grant(session, request.token)
        if not 0 < len(request.writes) <= limits.BATCH_WRITES_MAX:
            raise InvalidSchema(f"a batch holds 1 to {limits.BATCH_WRITES_MAX} writes")
        return session.domain.writer.write(
            request.writes,
            actor=grant.actor,
            authorise=writing(session, grant),
            spender=grant,
            idempotency_key=request.idempotency_key,
            render=partial(_RENDER[request.answer], session),
        )

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

    def _verify(self, session: Session, request: rq.Verify) -> Any:
        grant = self._routes.grant(session, request.token)
        aggregate_type, aggregate_id = request.aggregate_type, request.aggregate_id
        view, views = session.domain.store.view(), session.domain.schemas.in_force.views
        seen, audits = session.seen(), grant.allows("audit.read")

        def shows(name: str) -> bool:
            return seen.shows(name) or (audits and name == AUDIT_TYPE)

        if aggregate_type is not None and aggregate_id is not None:
            grant.require("aggregate.read", f"aggregate:{aggregate_type}:{aggregate_id}")
            if not shows(aggregate_type):
                raise AggregateNotFound()
            fold = views.fold(aggregate_type)
            return self._run_slowly(partial(_checked_one, view, aggregate_type, aggregate_id, fold))
        grant.require("aggregate.read", "aggregate:*:*")
        archived, after = False, b""
        if request.after is not None:
            cursor = parse_aggregate_cursor(request.after)
            if not isinstance(cursor, AggregateCursor):
                raise InvalidCursor("verification goes on from an aggregate cursor")
            archived, after = cursor.archived, keys.name(*cursor[1:3])
        budget = min(request.budget or VERIFY_STEP_MAX, VERIFY_STEP_MAX)
        domain = session.domain.name

        def check_some() -> rs.Extension:
            found = verify_aggregates(view, views, after=after, archived=archived, shows=shows)
            rest = verify_rest(view, domain=domain, shows=shows)
            return _checked_some(found, rest, view, budget)

        return self._run_slowly(check_some)

    def _status(self, session: Session, request: rq.Status) -> rs.Extension:
        self._routes.grant(session, request.token)
        known = {"domain": session.domain.name, **self._status_of_server()}
        return rs.Extension(orjson.dumps({**known, "store": session.domain.store.statistics()}))


def _checked_one(
    view: IReadView, aggregate_type: str, aggregate_id: str, fold: Fold
) -> rs.Extension:
    try:
        done = verify_aggregate(view, aggregate_type, aggregate_id, fold)
    except StorageError as error:
        return _report([], [Finding(aggregate_type, aggregate_id, 0, str(error))], None)
    return _report([done], [], None)


def _checked_some(
    results: Iterator[Checked | Finding], rest: Iterator[Finding], view: IReadView, budget: int
) -> rs.Extension:
    """Report on some aggregates, and with the last of them on the rest of the store."""
    done = list(islice(results, budget))
    findings = [one for one in done if isinstance(one, Finding)]
    # What was administered is proved along with the rest, and no aggregate of anybody's.
    checked = [one for one in done if isinstance(one, Checked) and one.aggregate_type != AUDIT_TYPE]
    token = None
    if len(done) < budget:
        findings += rest
    else:
        last = done[-1]
        head = load_head(view, keys.name(last.aggregate_type, last.aggregate_id))
        archived = head is not None and head.archived
        token = AggregateCursor(archived, last.aggregate_type, last.aggregate_id).token()
    return _report(checked, findings, token)


def _report(checked: list[Checked], findings: list[Finding], token: str | None) -> rs.Extension:
    report: dict[str, Any] = {
        "checked": len(checked),
        "events": sum(one.version for one in checked),
        "findings": [one._asdict() for one in findings],
        "next": token,
    }
    if len(checked) == 1:
        report["merkle_root"] = checked[0].merkle_root.hex()
    return rs.Extension(orjson.dumps(report))


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


def _events(session: Session, done: list[Committed]) -> rs.Extension:
    seen = session.seen()
    return rs.Extension(array([event_document(seen.written_event(one.event)) for one in done]))


def _aggregates(session: Session, done: list[Committed]) -> rs.Extension:
    seen = session.seen()
    return rs.Extension(array([aggregate_document(seen.written_head(one.head)) for one in done]))


def _receipts(_session: Session, done: list[Committed]) -> rs.Extension:
    return rs.Extension(
        array(
            [
                b'{"version":%d,"event_id":"%d","merkle_root":"%b"}'
                % (one.event.version, one.event.event_id, one.event.merkle_root.hex().encode())
                for one in done
            ]
        )
    )


_RENDER: dict[str, Callable[[Session, list[Committed]], rs.Extension]] = {
    "events": _events,
    "aggregates": _aggregates,
    "receipts": _receipts,
}
