"""Verification on the control protocol: of one aggregate, or of the store in pages.

A page says what was found and where to go on. Behind the aggregates that is a word which stands
for a place that the server keeps: keys of the store would tell names that are not for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.integrity.anchors import Kept, reached
from eventdbx.application.integrity.findings import Checked, Finding
from eventdbx.application.integrity.pages import PAGE_AGGREGATES, PAGE_BYTES, Page, read_page
from eventdbx.application.integrity.passes import REST, STAGES, START, Place, Task, aggregate
from eventdbx.domain.cursors import AggregateCursor, parse_aggregate_cursor
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.errors import AggregateNotFound, ConfigError, InvalidCursor
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.integrity import Work
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

_PREFIX = "rest:"
_EVERYTHING = "aggregate:*:*"
_KEPT = "the checkpoint that was given"


class VerifyRoutes:
    """The method of the operation; the table is joined with that of Routes."""

    def __init__(self, routes: Routes, run_slowly: RunSlowly) -> None:
        self._routes = routes
        self._run_slowly = run_slowly

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.Verify: self._verify}

    def _verify(self, session: Session, request: rq.Verify) -> Deferred[rs.Extension]:
        grant = self._routes.grant(session, request.token)
        aggregate_type, aggregate_id = request.aggregate_type, request.aggregate_id
        if aggregate_type is not None and aggregate_id is not None:
            grant.require("aggregate.read", f"aggregate:{aggregate_type}:{aggregate_id}")
            task = _task(session, grant, ())
            if not task.shows(aggregate_type):
                raise AggregateNotFound()
            view = session.domain.store.view()
            return self._run_slowly(lambda: _checked(view, (aggregate_type, aggregate_id), task))
        grant.require("aggregate.read", _EVERYTHING)
        asked = _Asked(session, grant, request.after, request.budget, None, ())
        reading = self._run_slowly(asked.prepare())
        return reading.addCallback(lambda done: rs.Extension(orjson.dumps(asked.report(*done))))


def verify_store(work: Work) -> Deferred[dict[str, Any]]:
    """Verify some of the store, at most about ``kib`` of it; against a ``checkpoint``, too."""
    work.grant.require("aggregate.read", _EVERYTHING)
    text = work.asked.text("checkpoint")
    kib = work.asked.number("kib")
    if kib is not None and kib < 1:
        raise ConfigError("`kib` must be at least 1")
    kept = () if text is None else (Kept(_KEPT, text.encode()),)
    asked = _Asked(work.session, work.grant, work.asked.text("after"), 0, kib, kept)
    return work.run_slowly(asked.prepare()).addCallback(lambda done: asked.report(*done))


class _Asked:
    """One page that was asked for."""

    def __init__(
        self,
        session: Session,
        grant: Grant,
        after: str | None,
        budget: int,
        kib: int | None,
        kept: tuple[Kept, ...],
    ) -> None:
        self._session = session
        self._place = START if after is None else _place(session, after)
        # Before the view: what is signed is never ahead of it then.
        self._task = _task(session, grant, kept)
        self._aggregates_max = min(budget or PAGE_AGGREGATES, PAGE_AGGREGATES)
        self._bytes_max = PAGE_BYTES if kib is None else min(kib << 10, PAGE_BYTES)

    def prepare(self) -> Callable[[], tuple[Page, list[dict[str, Any]] | None]]:
        """Return what reads the page, on a thread."""
        view = self._session.domain.store.view()

        def read() -> tuple[Page, list[dict[str, Any]] | None]:
            page = read_page(
                view,
                self._task,
                self._place,
                aggregates_max=self._aggregates_max,
                bytes_max=self._bytes_max,
            )
            if page.next is not None:
                return page, None
            return page, [one._asdict() for one in reached(view, self._task.anchors)]

        return read

    def report(self, page: Page, logs: list[dict[str, Any]] | None) -> dict[str, Any]:
        """Return the document of the page; at the end, how far the logs are signed."""
        # What was administered is proved along with the rest, and no aggregate of anybody's.
        shown = [one for one in page.checked if one.aggregate_type != AUDIT_TYPE]
        document = _report(page, shown)
        if logs is not None:
            document["logs"] = logs
        else:
            assert page.next is not None
            document["next"] = _token(self._session, page.next)
            document["stage"] = [page.next.stage + 1, len(STAGES)]
        return document


def _task(session: Session, grant: Grant, kept: tuple[Kept, ...]) -> Task:
    seen, audits = session.seen(), grant.allows("audit.read")

    def shows(name: str) -> bool:
        return seen.shows(name) or (audits and name == AUDIT_TYPE)

    domain = session.domain
    anchors = domain.anchors()
    anchors = anchors._replace(kept=(*anchors.kept, *kept))
    return Task(domain.schemas.in_force.views, domain.name, anchors, shows)


def _checked(view: IReadView, names: tuple[str, str], task: Task) -> rs.Extension:
    page = Page([], [], 0, None)
    for outcome in aggregate(view, names, task.views):
        if isinstance(outcome, Checked):
            page.checked.append(outcome)
        elif isinstance(outcome, Finding):
            page.findings.append(outcome)
    if not page.checked and not page.findings:
        raise AggregateNotFound()
    return rs.Extension(orjson.dumps(_report(page, page.checked)))


def _place(session: Session, token: str) -> Place:
    if token.startswith(_PREFIX):
        return session.domain.verifying.find(token)
    cursor = parse_aggregate_cursor(token)
    if not isinstance(cursor, AggregateCursor):
        raise InvalidCursor("verification goes on from an aggregate cursor")
    return Place(int(cursor.archived), keys.name(*cursor[1:3]))


def _token(session: Session, place: Place) -> str:
    if place.stage < REST and _is_name(place.key):
        return AggregateCursor(bool(place.stage), *keys.split_name(place.key)).token()
    token = _PREFIX + token_urlsafe(16)
    session.domain.verifying.keep(token, place)
    return token


def _is_name(key: bytes) -> bool:
    """Whether a place is at an aggregate: behind damage it is somewhere between two."""
    try:
        return keys.name(*keys.split_name(key)) == key
    except ValueError:
        return False


def _report(page: Page, checked: list[Checked]) -> dict[str, Any]:
    report: dict[str, Any] = {
        "checked": len(checked),
        "events": sum(one.version for one in checked),
        "findings": [one._asdict() for one in page.findings],
        "next": None,
        "bytes": page.read,
    }
    if len(checked) == 1:
        report["merkle_root"] = checked[0].merkle_root.hex()
    return report
