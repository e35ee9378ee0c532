"""Following events on the control protocol: pages of the log, and the wait for what comes next.

A request with nothing to answer waits: for a commit that has something for it, for its time to be
over, or for another request of its connection. So a connection has one that waits at most, and
whoever asks sets the pace. What is read, and how pages are cut, is in ``application.following``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from eventdbx import limits
from eventdbx.application.following import Followed, Wanted, follow, place_of, token_of
from eventdbx.application.reader import PARTITION
from eventdbx.domain.identifiers import check_aggregate_id, check_aggregate_type
from eventdbx.errors import InvalidSchema
from eventdbx.storage import eventlog
from eventdbx.surfaces.control.pages import array, bounded_take, optional_filter
from eventdbx.surfaces.control.waiting import Waiting
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

GATHER_S = 0.005
"""How long commits are gathered before those who wait look at them: a look for each commit would
cost as much as the commits."""


class FollowRoutes:
    """The method of the request; the table is joined with that of Routes.

    Without a ``clock`` nothing waits.
    """

    def __init__(self, routes: Routes, run_slowly: RunSlowly, clock: IReactorTime | None) -> None:
        self._routes = routes
        self._run_slowly = run_slowly
        self._clock = clock

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.Follow: self._follow}

    def _follow(self, session: Session, request: rq.Follow) -> Waiting:
        self.wanted(session, request)
        place = place_of(session.domain.store.view(), request.after)
        return _Poll(self, session, request, place, self._run_slowly, self._clock).answer

    def take(self, request: rq.Follow) -> int:
        """Return how many events the answer to a request may have."""
        limit = self._routes.settings.page_limit
        return max(1, bounded_take(request.take or None, limits.FOLLOW_EVENTS, limit))

    def wanted(self, session: Session, request: rq.Follow) -> Wanted:
        """Return what a request's token lets it follow now. Raises EventDBXError."""
        from eventdbx.surfaces.control.routes import seeing

        grant = self._routes.grant(session, request.token)
        one = None
        if request.aggregate_type is not None:
            check_aggregate_type(request.aggregate_type)
        if request.aggregate_id is not None:
            check_aggregate_id(request.aggregate_id)
            if request.aggregate_type is None:
                raise InvalidSchema("aggregate type is required when providing aggregate id")
            one = f"aggregate:{request.aggregate_type}:{request.aggregate_id}"
        grant.require("aggregate.read", one)
        return Wanted(
            request.aggregate_type,
            request.aggregate_id,
            optional_filter(request.filter),
            None if grant.sees_everything else seeing(grant),
            request.raw,
        )


class _Poll:
    """One request on its way to its answer."""

    def __init__(
        self,
        routes: FollowRoutes,
        session: Session,
        request: rq.Follow,
        place: int,
        run_slowly: RunSlowly,
        clock: IReactorTime | None,
    ) -> None:
        self._routes = routes
        self._session = session
        self._request = request
        self._place = place
        self._run_slowly = run_slowly
        self._clock = clock
        self._looking = False
        self._hurried = clock is None or not request.wait_ms
        self._soon: IDelayedCall | None = None
        self._late: IDelayedCall | None = None
        self.answer = Waiting(self._hurry, gives_way=True)
        self._look()

    def _look(self) -> None:
        """Read what there is, on a thread. The token may have been revoked while it waited."""
        self._soon = None
        self._looking = True
        try:
            wanted = self._routes.wanted(self._session, self._request)
            view, seen = self._session.domain.store.view(), self._session.seen()
        except Exception as error:
            self._failed(error)
            return
        place, take = self._place, self._routes.take(self._request)
        reading = self._run_slowly(
            lambda: follow(view, seen, wanted, place, take=take, size=limits.FOLLOW_PAGE_BYTES_MAX)
        )
        reading.addCallback(self._looked).addErrback(self._failed)

    def _looked(self, page: Followed) -> None:
        self._looking = False
        self._place = page.place
        if page.documents or page.more or self._hurried:
            self._reply(page)
        elif self._goes_on():
            self._look()
        elif self._late is None:
            assert self._clock is not None
            wait_s = min(self._request.wait_ms, limits.FOLLOW_WAIT_MS_MAX) / 1000
            self._late = self._clock.callLater(wait_s, self._hurry)
            self._session.domain.store.on_commit.append(self._told)

    def _goes_on(self) -> bool:
        """Say whether there is more in the log than was looked at."""
        view = self._session.domain.store.view()
        return eventlog.end_position(view, PARTITION) > self._place + 1

    def _told(self) -> None:
        """Look at what was committed, soon; whoever is reading finds out by itself."""
        if self._looking or self._soon is not None or self.answer.called:
            return
        if self._goes_on():
            assert self._clock is not None
            self._soon = self._clock.callLater(GATHER_S, self._look)

    def _hurry(self) -> None:
        self._hurried = True
        if not self._looking:
            self._reply(Followed([], self._place, False))

    def _reply(self, page: Followed) -> None:
        self._end()
        if not self.answer.called:
            self.answer.callback(
                rs.Extension(
                    b'{"events":%b,"next":%b,"more":%b}'
                    % (
                        array(page.documents),
                        orjson.dumps(token_of(page.place)),
                        b"true" if page.more else b"false",
                    )
                )
            )

    def _failed(self, failure: Any) -> None:
        self._looking = False
        self._end()
        if not self.answer.called:
            self.answer.errback(failure)

    def _end(self) -> None:
        for timer in (self._soon, self._late):
            if timer is not None and timer.active():
                timer.cancel()
        told = self._session.domain.store.on_commit
        if self._told in told:
            told.remove(self._told)
