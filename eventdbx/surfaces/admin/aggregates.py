"""Aggregates over HTTP, to be read: lists, one, its events, its proof.

The answers are those of the control protocol, and so are the checks: what a token may not read,
and what schemas hide, is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from twisted.internet.defer import Deferred, maybeDeferred

from eventdbx.errors import AggregateNotFound
from eventdbx.surfaces.admin.paging import CURSOR, LIMIT, page_size
from eventdbx.surfaces.admin.problems import problem_of_code
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Parameter, Row
from eventdbx.surfaces.control.routes import Session
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

SCHEMAS: Mapping[str, Any] = {
    "Aggregate": {
        "type": "object",
        "required": ["aggregate_type", "aggregate_id", "version", "state", "merkle_root"],
        "properties": {
            "aggregate_type": {"type": "string"},
            "aggregate_id": {"type": "string"},
            "version": {"type": "integer", "minimum": 0},
            "state": {"type": "object"},
            "merkle_root": {"type": "string"},
            "created_at": {"type": "string"},
            "updated_at": {"type": "string"},
            "archived": {"type": "boolean"},
        },
    },
    "Event": {
        "type": "object",
        "required": ["aggregate_type", "aggregate_id", "event_type", "payload", "version", "hash"],
        "properties": {
            "aggregate_type": {"type": "string"},
            "aggregate_id": {"type": "string"},
            "event_type": {"type": "string"},
            "payload": {"description": "Null where the content was erased."},
            "erased": {"type": "boolean"},
            "metadata": {"type": "object"},
            "version": {"type": "integer", "minimum": 1},
            "hash": {"type": "string"},
            "merkle_root": {"type": "string"},
        },
    },
    "Proof": {
        "type": "object",
        "description": "Everything was hashed again, and it fits.",
        "required": ["merkle_root"],
        "properties": {"merkle_root": {"type": "string"}},
    },
}

_FILTER = Parameter("filter", {"type": "string", "maxLength": 16_384}, "An expression to fit.")
_SORT = Parameter("sort", {"type": "string", "maxLength": 1024}, "Fields to sort by.")
_SCOPE = Parameter(
    "scope",
    {"type": "string", "enum": ["active", "archived", "all"]},
    "Which aggregates: active ones unless something else is said.",
)


class _AggregateRoutes:
    """The work of the routes: requests of the control protocol, in the caller's name."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def list(self, call: Call) -> Deferred[Answer]:
        """List the aggregates that the caller may read."""
        scope = call.query.get("scope", "active")
        request = rq.ListAggregates(
            cursor=call.query.get("cursor"),
            take=self._take(call),
            filter=call.query.get("filter"),
            sort=call.query.get("sort"),
            include_archived=scope == "all",
            archived_only=scope == "archived",
        )
        return self._ask(call, request).addCallback(_page)

    def find(self, call: Call) -> Deferred[Answer]:
        """Show one aggregate."""
        return self._ask(call, rq.GetAggregate("", *_names(call))).addCallback(_found)

    def events(self, call: Call) -> Deferred[Answer]:
        """List the events of one aggregate, oldest first."""
        cursor, names = call.query.get("cursor"), _names(call)
        request = rq.ListEvents(
            "",
            *names,
            cursor=cursor,
            take=self._take(call),
            filter=call.query.get("filter"),
            # The protocol's first generation is told of an aggregate that is not there.
            skip=0 if cursor is None else None,
        )
        return self._ask(call, request).addCallback(_page)

    def verify(self, call: Call) -> Deferred[Answer]:
        """Hash everything of one aggregate again."""
        asking = self._ask(call, rq.VerifyAggregate(*_names(call)))
        return asking.addCallback(lambda reply: Answer(document={"merkle_root": reply.root}))

    def _take(self, call: Call) -> int:
        config = self._installation.config()
        default = config.list_page_size
        return page_size(call.query, config.page_limit) if "limit" in call.query else default

    def _ask(self, call: Call, request: Any) -> Deferred[Any]:
        domain = self._installation.open_domain(call.domain)
        # The caller was let in already: no token is asked for, but its rights are looked at.
        session = Session(call.grant, domain, owner=True)
        answering: Deferred[Any] = maybeDeferred(
            partial(self._installation.control.answer, session, request)
        )
        return answering.addCallback(_unless_failed)


def _names(call: Call) -> tuple[str, str]:
    return call.params["type"], call.params["id"]


def _unless_failed(reply: Any) -> Any:
    if isinstance(reply, rs.Failed):
        raise problem_of_code(reply.code, reply.message)
    return reply


def _page(page: rs.AggregatesPage | rs.EventsPage) -> Answer:
    return Answer(document=_as_it_is(page.json), next_cursor=page.next_cursor)


def _found(found: rs.AggregateFound) -> Answer:
    if found.json is None:
        raise AggregateNotFound()
    document = orjson.loads(found.json)
    etag = f'"{document["version"]}-{document["merkle_root"][:16]}"'
    return Answer(document=_as_it_is(found.json), etag=etag)


def _as_it_is(text: bytes) -> Any:
    return orjson.Fragment(text)


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _AggregateRoutes(installation)
    reading: dict[str, Any] = {"method": "GET", "tag": "aggregates", "action": "aggregate.read"}
    one = "/admin/aggregates/{type}/{id}"
    return (
        Row(
            path="/admin/aggregates",
            operation="listAggregates",
            summary="A page of the aggregates that the token may read",
            handle=routes.list,
            answers={200: "[Aggregate]"},
            query=(_SCOPE, _FILTER, _SORT, DOMAIN, LIMIT, CURSOR),
            **reading,
        ),
        Row(
            path=one,
            operation="getAggregate",
            summary="One aggregate as it is now",
            handle=routes.find,
            answers={200: "Aggregate", 404: "Error"},
            query=(DOMAIN,),
            **reading,
        ),
        Row(
            path=one + "/events",
            operation="listEvents",
            summary="A page of the events of one aggregate, oldest first",
            handle=routes.events,
            answers={200: "[Event]", 404: "Error"},
            query=(_FILTER, DOMAIN, LIMIT, CURSOR),
            **reading,
        ),
        Row(
            path=one + "/verify",
            operation="verifyAggregate",
            summary="Hash everything of one aggregate again",
            handle=routes.verify,
            answers={200: "Proof", 404: "Error"},
            query=(DOMAIN,),
            **reading,
        ),
    )
