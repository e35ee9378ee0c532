"""From a request of the control protocol to a use case, and from its result to a response.

One table maps each request to its method. A method checks who may do it, calls the application,
and shapes the answer; a write returns a Deferred, a read answers at once or, when it may scan,
on a thread. Errors of the application become ``Failed`` responses in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.application.admission import Admission
from eventdbx.application.auditing import Trail
from eventdbx.application.domains import Domain
from eventdbx.application.integrity import verify_aggregate
from eventdbx.application.reader import Reader, Visible
from eventdbx.application.rehearsal import Rehearsals
from eventdbx.application.resolving import Resolver
from eventdbx.application.views import Seen
from eventdbx.domain.aggregate import aggregate_document
from eventdbx.domain.canonical import dump
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.domain.snapshots import snapshot_document
from eventdbx.errors import (
    AggregateNotFound,
    ContractViolation,
    EventDBXError,
    InvalidSchema,
    InvalidToken,
    Unauthorized,
)
from eventdbx.surfaces.control.administration import AdministrationRoutes
from eventdbx.surfaces.control.extensions import ExtensionRoutes
from eventdbx.surfaces.control.following import FollowRoutes
from eventdbx.surfaces.control.greeting import Greeted, greeted, opened
from eventdbx.surfaces.control.integrity import IntegrityRoutes
from eventdbx.surfaces.control.pages import (
    aggregate_query,
    aggregates_page,
    bounded_take,
    event_query,
    events_page,
    outbox_page,
)
from eventdbx.surfaces.control.plugins import PluginRoutes
from eventdbx.surfaces.control.recording import Recording
from eventdbx.surfaces.control.references import ReferenceRoutes
from eventdbx.surfaces.control.schemas import SchemaRoutes
from eventdbx.surfaces.control.staging import StagingRoutes
from eventdbx.surfaces.control.tenants import TenantRoutes, managed_tenant
from eventdbx.surfaces.control.writes import WriteRoutes
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.events import HelloReceived

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a plain function on another thread; the reads that may scan go through it."""

_log = Logger()


class Settings(NamedTuple):
    """What the configuration says about answers."""

    list_page_size: int
    page_limit: int
    verbose_responses: bool
    no_noise: bool
    reference_default_depth: int = 2
    reference_max_depth: int = 5


class Session(NamedTuple):
    """An accepted hello: whose token opened it, and the domain that it works on.

    ``owner`` marks the operator who works on the store's own files: no token is asked for, and
    what is written names nobody. Only to an owner ``include_hidden`` may show what schemas hide.
    ``address`` is the peer's.
    """

    grant: Grant
    domain: Domain
    owner: bool = False
    include_hidden: bool = False
    address: str = ""

    def reader(self) -> Reader:
        """Return a reader of everything that is durable now and shown in the session."""
        return self.domain.reader(include_hidden=self.include_hidden)

    def seen(self) -> Seen:
        """Return what is seen in the session of what was just written."""
        return self.domain.seen(include_hidden=self.include_hidden)


def failed(error: Failure | BaseException) -> rs.Failed:
    """Return the response for an error; what is not ours is logged and not shown."""
    cause = error.value if isinstance(error, Failure) else error
    if isinstance(cause, EventDBXError):
        text = str(cause)
        if len(text) > limits.ERROR_CHARACTERS_MAX:
            text = text[: limits.ERROR_CHARACTERS_MAX] + "…"
        answer = rs.Failed(cause.code, text)
        details: dict[str, Any] = {}
        if cause.write is not None:
            answer = answer._replace(details=dump({"write": cause.write}))
            details["write"] = cause.write
        if isinstance(cause, ContractViolation):
            details["violations"] = list(cause.violations)
            detailed = answer._replace(details=dump(details))
            return detailed if rs.fits(detailed) else answer
        return answer
    failure = error if isinstance(error, Failure) else Failure(error)
    _log.failure("unexpected error while answering a request", failure=failure)
    return rs.Failed("storage", "storage error: internal error, see the server's log")


class Routes:
    """All operations of the control protocol on the domains of one installation."""

    def __init__(
        self,
        *,
        admission: Admission | None,
        open_domain: Callable[[str | None], Domain],
        name_of: Callable[[str | None], str],
        settings: Settings,
        run_slowly: RunSlowly,
        status: Callable[[], Mapping[str, Any]],
        clock: IReactorTime | None = None,
        opened: Callable[[], Iterable[Domain]] = tuple,
        trail: Trail | None = None,
    ) -> None:
        self.admission = admission
        self._open_domain = open_domain
        self._name_of = name_of
        self.settings = settings
        self._run_slowly = run_slowly
        self.recording = Recording(trail)
        self._extensions = ExtensionRoutes(self, run_slowly, status)
        self.rehearsals = Rehearsals(run_slowly, clock, opened)
        self._schemas = SchemaRoutes(self, run_slowly, self.rehearsals)
        self.references = ReferenceRoutes(self, run_slowly, open_domain)
        self.administration = AdministrationRoutes(self)
        self.tenants = TenantRoutes(self)
        self._table: dict[type, Callable[[Session, Any], Any]] = {
            rq.ListAggregates: self._list_aggregates,
            rq.GetAggregate: self._get_aggregate,
            rq.ListEvents: self._list_events,
            rq.VerifyAggregate: self._verify_aggregate,
            rq.SelectAggregate: self._select_aggregate,
            rq.ListSnapshots: self._list_snapshots,
            rq.GetSnapshot: self._get_snapshot,
            rq.ReadOutbox: self._read_outbox,
            rq.Unreadable: self._unreadable,
            **WriteRoutes(self, run_slowly).table(),
            **self._schemas.table(),
            **self.tenants.table(),
            **self.references.table(),
            **self._extensions.table(),
            **PluginRoutes(self).table(),
            **self.administration.table(),
            **IntegrityRoutes(self, run_slowly).table(),
            **StagingRoutes(self).table(),
            **FollowRoutes(self, run_slowly, clock).table(),
        }

    @property
    def blank(self) -> bool:
        """True when writes are answered with an empty text."""
        return not self.settings.verbose_responses

    @property
    def plaintext_allowed(self) -> bool:
        """True when the configuration allows sessions without encryption."""
        return self.settings.no_noise

    def greet(self, hello: HelloReceived, address: str = "") -> Greeted:
        """Return what a hello may open, or raise with the message that rejects it."""
        assert self.admission is not None, "offline sessions have no hello"
        return greeted(self.admission, self._name_of, hello, address)

    def open(self, hello: Greeted, address: str = "") -> Session:
        """Return the session of a hello whose token is proven; raise ConfigError."""
        return Session(hello.grant, opened(self._open_domain, hello.tenant), address=address)

    def unproven(self, address: str) -> None:
        """Count a peer that could not prove the token of its hello."""
        assert self.admission is not None
        self.admission.unproven(address)

    def counts(self, grant: Grant) -> bool:
        """Tell whether the token of a hello is neither ended nor revoked since."""
        return self.admission is None or self.admission.still_counts(grant)

    def left_s(self, grant: Grant) -> float:
        """Return for how many seconds a session with the token of a hello may last."""
        return inf if self.admission is None else self.admission.left_s(grant)

    def answer(self, session: Session, request: Any) -> Any:
        """Return the response to a request, or a Deferred of it. Never raises."""
        try:
            return self._table[type(request)](session, request)
        except Exception as error:
            return failed(error)

    def grant(self, session: Session, token: str) -> Grant:
        """Return what a request's own token allows in the session's domain.

        Raises the errors of verification, and Unauthorized for a token of another tenant.
        """
        if session.owner:
            return session.grant
        token = token.strip()
        if not token:
            raise InvalidToken()
        assert self.admission is not None
        grant = self.admission.cached(token) or self.admission.verify(token, session.address)
        if not grant.allows_tenant(session.domain.name):
            raise Unauthorized()
        return grant

    def administered(self, session: Session, grant: Grant, tenant: str) -> Domain:
        """Return the domain of a tenant that a grant may administer.

        Raises ConfigError for a malformed or unknown name, Unauthorized.
        """
        name = managed_tenant(grant, tenant)
        return session.domain if name == session.domain.name else self._open_domain(name)

    def require(
        self, session: Session, token: str, action: str, aggregate_type: str, aggregate_id: str
    ) -> Grant:
        """Return the grant of a token that allows an action on one aggregate."""
        grant = self.grant(session, token)
        grant.require(action, f"aggregate:{aggregate_type}:{aggregate_id}")
        return grant

    # Reads

    def _list_aggregates(self, session: Session, request: rq.ListAggregates) -> Any:
        query = aggregate_query(request, self.settings)
        grant = self.grant(session, request.token)
        grant.require("aggregate.read")
        if query.take == 0:
            return rs.AggregatesPage(b"[]", None, None)
        reader, visible = session.reader(), seeing(grant)
        if request.resolve:
            depth = self.references.depth(request.resolve_depth)

            def resolved_page(resolver: Resolver) -> rs.AggregatesPage:
                form = partial(resolver.form, depth=depth)
                return aggregates_page(reader, query, visible, resolved_form=form)

            return self.references.resolving(session, grant, reader, resolved_page)
        quick = grant.sees_everything and session.domain.folding.settled
        if query.filter or query.sort or not quick:
            return self._run_slowly(lambda: aggregates_page(reader, query, visible))
        return aggregates_page(reader, query, visible)

    def _get_aggregate(self, session: Session, request: rq.GetAggregate) -> Any:
        names = request.aggregate_type, request.aggregate_id
        grant = self.require(session, request.token, "aggregate.read", *names)
        if not session.domain.folding.settled:
            return self._run_slowly(lambda: self._found(session, grant, request))
        return self._found(session, grant, request)

    def _found(self, session: Session, grant: Grant, request: rq.GetAggregate) -> Any:
        reader = session.reader()
        head = reader.aggregate(request.aggregate_type, request.aggregate_id)
        if head is None:
            return rs.AggregateFound(None, None)
        document = aggregate_document(head)
        if not request.resolve:
            return rs.AggregateFound(document, None)
        depth = self.references.depth(request.resolve_depth)

        def both(resolver: Resolver) -> rs.AggregateFound:
            found = rs.AggregateFound(document, resolver.form(head, document, depth=depth))
            return found if rs.fits(found) else rs.AggregateFound(document, None)

        return self.references.resolving(session, grant, reader, both)

    def _select_aggregate(self, session: Session, request: rq.SelectAggregate) -> Any:
        names = request.aggregate_type, request.aggregate_id
        self.require(session, request.token, "aggregate.read", *names)
        fields = [field.strip() for field in request.fields]
        reader = session.reader()

        def select() -> rs.Selection:
            found = reader.select(*names, [field for field in fields if field])
            return rs.Selection(None if found is None else dump(found[1]))

        return select() if session.domain.folding.settled else self._run_slowly(select)

    def _list_events(self, session: Session, request: rq.ListEvents) -> Any:
        query = event_query(request, self.settings)
        names = request.aggregate_type, request.aggregate_id
        self.require(session, request.token, "aggregate.read", *names)
        if not session.seen().shows(names[0]):
            raise AggregateNotFound()
        reader, must_exist = session.reader(), request.skip is not None
        if query.filter is not None:
            return self._run_slowly(lambda: events_page(reader, query, must_exist=must_exist))
        return events_page(reader, query, must_exist=must_exist)

    def _verify_aggregate(self, session: Session, request: rq.VerifyAggregate) -> Any:
        names = request.aggregate_type, request.aggregate_id
        if self.admission is not None:
            self.admission.verifier.check(session.grant)
        session.grant.require("aggregate.read", f"aggregate:{names[0]}:{names[1]}")
        if not session.seen().shows(names[0]):
            raise AggregateNotFound()
        view = session.domain.store.view()
        fold = session.domain.schemas.in_force.views.fold(names[0])
        return self._run_slowly(
            lambda: rs.VerifyReply(verify_aggregate(view, *names, fold).merkle_root.hex())
        )

    def _list_snapshots(self, session: Session, request: rq.ListSnapshots) -> Any:
        names = request.aggregate_type, request.aggregate_id
        if names[0] is not None:
            check_aggregate_type(names[0])
        if names[1] is not None:
            check_aggregate_id(names[1])
            if names[0] is None:
                raise InvalidSchema("aggregate type is required when providing aggregate id")
        grant = self.grant(session, request.token)
        one = None if None in names else f"aggregate:{names[0]}:{names[1]}"
        grant.require("aggregate.read", one)
        reader = session.reader()

        def collect() -> rs.SnapshotsReply:
            documents = [
                snapshot_document(snapshot)
                for snapshot in reader.snapshots(*names, request.version)
                if grant.allows(
                    "aggregate.read",
                    f"aggregate:{snapshot.aggregate_type}:{snapshot.aggregate_id}",
                )
            ]
            return rs.SnapshotsReply(b"[" + b",".join(documents) + b"]")

        return self._run_slowly(collect)

    def _get_snapshot(self, session: Session, request: rq.GetSnapshot) -> rs.SnapshotFound:
        grant = self.grant(session, request.token)
        grant.require("aggregate.read")
        snapshot = session.reader().snapshot(request.snapshot_id)
        # Whose aggregate an id belongs to is not for everyone to know, nor that there is one.
        if snapshot is None or not seeing(grant)(snapshot.aggregate_type, snapshot.aggregate_id):
            return rs.SnapshotFound(None)
        return rs.SnapshotFound(snapshot_document(snapshot))

    def _read_outbox(self, session: Session, request: rq.ReadOutbox) -> Any:
        sizes = self.settings
        take = bounded_take(request.take, sizes.list_page_size, sizes.page_limit)
        grant = self.grant(session, request.token)
        grant.require("aggregate.read")
        if take == 0:
            return rs.OutboxPage(b"[]", None)
        reader, after = session.reader(), request.after_event_id or 0
        if grant.sees_everything:
            return outbox_page(reader, after, take, seeing(grant))
        return self._run_slowly(lambda: outbox_page(reader, after, take, seeing(grant)))

    # What is not there

    def _unreadable(self, _session: Session, request: rq.Unreadable) -> rs.Failed:
        return failed(request.error)


def seeing(grant: Grant) -> Visible:
    """Return which aggregates a grant may read."""

    def visible(aggregate_type: str, aggregate_id: str) -> bool:
        return grant.allows("aggregate.read", f"aggregate:{aggregate_type}:{aggregate_id}")

    return visible
