"""What the control protocol says about references: resolved forms, and who refers to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.domains import Domain
from eventdbx.application.reader import Reader
from eventdbx.application.referrers import Referrer
from eventdbx.application.resolving import Place, Resolver
from eventdbx.domain.cursors import ReferrerCursor, parse_referrer_cursor
from eventdbx.domain.grants import Grant
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.errors import AggregateNotFound, EventDBXError
from eventdbx.surfaces.control.pages import bounded_take
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

T = TypeVar("T")


class ReferenceRoutes:
    """The reads that follow references, in either direction."""

    def __init__(
        self,
        routes: Routes,
        run_slowly: RunSlowly,
        open_domain: Callable[[str | None], Domain],
    ) -> None:
        self._routes = routes
        self._run_slowly = run_slowly
        self._open_domain = open_domain

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.ListReferrers: self._list_referrers,
            rq.ScanReferrers: self._scan_referrers,
        }

    def depth(self, asked: int | None) -> int:
        """Return how deep to go."""
        settings = self._routes.settings
        wanted = settings.reference_default_depth if asked is None else asked
        return min(wanted, settings.reference_max_depth)

    def resolving(
        self, session: Session, grant: Grant, reader: Reader, work: Callable[[Resolver], T]
    ) -> Deferred[T]:
        """Run a function that resolves aggregates of the session's domain, on a thread.

        It runs again when its references lead into domains that had to be opened first, which
        only happens here: it must do nothing but make its result.
        """
        return Deferred.fromCoroutine(self._rounds(session, grant, reader, work))

    async def _rounds(
        self, session: Session, grant: Grant, reader: Reader, work: Callable[[Resolver], T]
    ) -> T:
        home = _place(session.domain, reader, grant)
        places: dict[str, Place | None] = {}
        while True:
            resolver = Resolver(home, places)
            result: T = await self._run_slowly(lambda one=resolver: work(one))  # type: ignore[misc]
            if not resolver.missed:
                return result
            for name in resolver.missed:
                places[name] = self._elsewhere(session, grant, name)

    def _elsewhere(self, session: Session, grant: Grant, name: str) -> Place | None:
        """Return another domain, None unless it exists and the token may be used for it."""
        if session.owner or not grant.allows_tenant(name):
            return None
        try:
            domain = self._open_domain(name)
        except EventDBXError:
            return None
        return _place(domain, domain.reader(), grant)

    def _list_referrers(self, session: Session, request: rq.ListReferrers) -> Deferred[Any]:
        found = self._referrers(session, request, None)

        def collect() -> rs.ReferrersReply:
            return rs.ReferrersReply(orjson.dumps([one._asdict() for one in found]))

        return self._run_slowly(collect)

    def _scan_referrers(self, session: Session, request: rq.ScanReferrers) -> Deferred[Any]:
        sizes = self._routes.settings
        take = bounded_take(request.take or None, sizes.list_page_size, sizes.page_limit)
        cursor = None if request.cursor is None else parse_referrer_cursor(request.cursor)
        found = self._referrers(session, request, None if cursor is None else Referrer(*cursor))

        def collect() -> rs.Extension:
            page = list(islice(found, take + 1))
            more = len(page) > take
            token = ReferrerCursor(*page[take - 1]).token() if more else None
            items = [one._asdict() for one in page[:take]]
            return rs.Extension(orjson.dumps({"items": items, "next_cursor": token}))

        return self._run_slowly(collect)

    def _referrers(
        self,
        session: Session,
        request: rq.ListReferrers | rq.ScanReferrers,
        after: Referrer | None,
    ) -> Iterator[Referrer]:
        """Return who refers to an aggregate that the token may read, lazily."""
        from eventdbx.surfaces.control.routes import seeing

        names = request.aggregate_type, request.aggregate_id
        check_aggregate_type(names[0])
        check_aggregate_id(names[1])
        reader = session.reader()
        grant = self._routes.grant(session, request.token)
        if not reader.shows(names[0]):
            raise AggregateNotFound()
        grant.require("aggregate.read", f"aggregate:{names[0]}:{names[1]}")
        if reader.aggregate(*names) is None:
            raise AggregateNotFound()
        return reader.referrers(session.domain.name, *names, seeing(grant), after=after)


def _place(domain: Domain, reader: Reader, grant: Grant) -> Place:
    from eventdbx.surfaces.control.routes import seeing

    paths = domain.schemas.in_force.reference_paths
    return Place(domain.name, reader, paths, seeing(grant))
