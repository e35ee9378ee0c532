"""The Admin API itself: from a request to the row that answers it, and back.

The order is the same for every route: host, origin, the caller's token, path and method, rights,
query, body, then the work. A row says what it needs; nothing here knows any single route.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import MethodNotAllowed, NotFound

from eventdbx import limits
from eventdbx.application.auditing import Action, Trail
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.grants import Grant
from eventdbx.settings import Config
from eventdbx.surfaces.admin.admission import Admitted, Door, Peer, may_call, peer_of, token_in
from eventdbx.surfaces.admin.answering import Reply, error_reply, reply_of
from eventdbx.surfaces.admin.bodies import Bodies, check_query
from eventdbx.surfaces.admin.openapi import parameters_of
from eventdbx.surfaces.admin.origins import check_host, is_preflight, origin_headers, preflight
from eventdbx.surfaces.admin.problems import problem_of, unauthorized
from eventdbx.surfaces.admin.repeating import Repeats
from eventdbx.surfaces.admin.table import Answer, Call, Problem, Row

ROOT = "/admin"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LARGE_BYTES = 65_536
"""A body that is longer is checked on a thread."""

_OF_ALL_DOMAINS = ("config", "keys", "remotes")
"""Areas whose changes are felt in every domain."""

_CREDENTIALS = ("authorization", "x-admin-key", "cookie")
NOBODY = Grant(jti="", subject="")
"""Whoever asks for a route that is open to all."""

Measure = Callable[[str, str, int, float], None]
"""Told of each answer: method, path of the row ("" for none), status, seconds."""


def unmeasured(_method: str, _path: str, _status: int, _seconds: float) -> None:
    """Count nothing."""


class _Asked(NamedTuple):
    """One request as it came in."""

    request: Any
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: Peer
    request_id: str


class Api:
    """All rows behind one resource. ``config`` is asked at every request: it may be reloaded."""

    def __init__(
        self,
        rows: Sequence[Row],
        schemas: Mapping[str, JSON],
        *,
        door: Door,
        config: Callable[[], Config],
        trail: Trail,
        clock: IReactorTime,
        measure: Measure = unmeasured,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]] = maybeDeferred,
    ) -> None:
        self._run_slowly = run_slowly
        self._door = door
        self._config = config
        self._trail = trail
        self._clock = clock
        self._measure = measure
        self._bodies = Bodies(schemas)
        self._repeats = Repeats(clock.seconds)
        self._literal: dict[str, set[str]] = {}
        for row in rows:
            if "{" not in row.path:
                self._literal.setdefault(row.path, set()).add(row.method)
        self._outside = {row.path for row in rows if not row.path.startswith(ROOT + "/")}
        app = Klein()
        app.url_map.merge_slashes = False
        for row in rows:
            self._add(app, row)
        app.handle_errors(NotFound, MethodNotAllowed)(self._unmatched)
        self.resource: IResource = _AsSent(app.resource(), self._turned_away)

    def owns(self, path: bytes) -> bool:
        """Tell whether a path is one of ours, for listeners that serve others, too."""
        text = path.decode("latin-1")
        return text == ROOT or text.startswith(ROOT + "/") or text in self._outside

    def _turned_away(self, request: Any) -> bytes | None:
        """Answer an address that has failed too often before anything else is done for it.

        This is what most requests of a flood of wrong tokens cost.
        """
        if request.path[:6] != b"/admin":
            return None
        get = request.requestHeaders.getRawHeaders
        names = ("x-admin-key", "authorization", "accept", "x-request-id")
        named = {name: get(name.encode(), [b""])[-1].decode("latin-1") for name in names}
        token = token_in(named)
        if not token:
            return None
        address = str(getattr(request.getClientAddress(), "host", "unix"))
        problem = self._door.turns_away(token, address)
        if problem is None:
            return None
        reply = error_reply(problem, ROOT, named)
        _set_status(request, reply.status)
        for name, value in reply.headers.items():
            request.setHeader(name, value)
        request.setHeader("X-Request-Id", _request_id(named["x-request-id"]))
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("Content-Length", str(len(reply.body)))
        self._measure(request.method.decode("latin-1"), "", reply.status, 0.0)
        return reply.body

    def _add(self, app: Klein, row: Row) -> None:
        def view(request: Any, **params: str) -> Deferred[bytes]:
            return self._answer(request, row.path, lambda asked: self._serve(asked, row, params))

        path = re.sub(r"\{(\w+)\}", r"<\1>", row.path)
        app.route(path, methods=[row.method], endpoint=row.operation)(view)

    def _unmatched(self, request: Any, failure: Failure) -> Deferred[bytes]:
        return self._answer(request, "", lambda asked: self._refuse(asked, failure.value))

    def _answer(
        self, request: Any, path: str, work: Callable[[_Asked], Deferred[Reply]]
    ) -> Deferred[bytes]:
        """Write the head of the answer that work comes to; fire with its body."""
        asked, begun = _asked(request), self._clock.seconds()

        def guarded() -> Deferred[Reply]:
            config = self._config().admin
            check_host(config.hosts, asked.headers)
            if is_preflight(config.cors_origins, asked.method, asked.headers):
                return succeed(preflight())
            if len(asked.path) > limits.HTTP_PATH_BYTES_MAX:
                raise Problem(414, "the path is longer than 16 KiB", "path_too_long")
            return work(asked)

        def failed(failure: Failure) -> Reply:
            # An error may end in a log: it does not repeat the token of a path.
            instance = path if "{token}" in path else asked.path
            return error_reply(problem_of(failure), instance, asked.headers)

        def write(reply: Reply) -> bytes:
            _set_status(request, reply.status)
            origins = origin_headers(self._config().admin.cors_origins, asked.headers)
            shown = {**reply.headers, **origins, "X-Request-Id": asked.request_id}
            for name, value in shown.items():
                request.setHeader(name, value)
            request.setHeader("X-Content-Type-Options", "nosniff")
            if reply.status not in (204, 304):
                request.setHeader("Content-Length", str(len(reply.body)))
            self._measure(asked.method, path, reply.status, self._clock.seconds() - begun)
            return reply.body

        answered: Deferred[Reply] = maybeDeferred(guarded)
        return answered.addErrback(failed).addCallback(write)

    def _refuse(self, asked: _Asked, error: Any) -> Deferred[Reply]:
        """Answer a path or method that no row has; below /admin only to those who may ask."""
        if asked.path == ROOT or asked.path.startswith(ROOT + "/"):
            self._door.admit(asked.peer, asked.headers)
        else:
            self._door.stranger(asked.peer)
        if isinstance(error, MethodNotAllowed):
            raise _wrong_method(self._literal.get(asked.path) or error.valid_methods or ())
        raise Problem(404, "not found", "not_found")

    def _serve(self, asked: _Asked, row: Row, params: Mapping[str, str]) -> Deferred[Reply]:
        admitted = self._admitted(asked, row)
        if row.path != asked.path and asked.path in self._literal:
            # A parameter never stands for the name of another route.
            raise _wrong_method(self._literal[asked.path])
        call = Call(
            grant=admitted.grant,
            token=admitted.token,
            params={name: _decoded(name, value) for name, value in params.items()},
            # Only what the row knows: a domain that it has nothing to do with must not decide
            # whose token is good for it.
            query={
                one.name: asked.query[one.name]
                for one in parameters_of(row)
                if one.name in asked.query
            },
            body=None,
            headers={
                name: value for name, value in asked.headers.items() if name not in _CREDENTIALS
            },
            peer=asked.peer.address,
            request_id=asked.request_id,
        )
        self._check_domain(row, call)
        check_query(parameters_of(row), call.query)
        shown = admitted.rate.headers() if row.action is not None else {}

        def work(body: Any) -> Deferred[Reply]:
            whole = replace(call, body=body)
            done = self._once(asked, row, whole)
            done.addTimeout(limits.HTTP_REQUEST_S, self._clock)
            page_limit = self._config().page_limit
            return done.addCallback(
                lambda answer: reply_of(row, whole, answer, asked.path, page_limit, shown)
            )

        return self._body(asked, row).addCallback(work)

    def _admitted(self, asked: _Asked, row: Row) -> Admitted:
        if row.action is None:
            return Admitted(NOBODY, "", self._door.stranger(asked.peer))
        admitted = self._door.admit(asked.peer, asked.headers)
        if not may_call(admitted.grant, row.action):
            raise unauthorized()
        return admitted

    def _check_domain(self, row: Row, call: Call) -> None:
        """Refuse a token of other tenants; what is not of one domain belongs to the active one.

        What changes all domains at once is not for tokens of only some.
        """
        if row.action is None:
            return
        shared = row.area == "plugins" and self._config().tenants.multi_tenant
        of_all = (shared or row.area in _OF_ALL_DOMAINS) and bool(call.grant.tenants)
        if of_all or not call.grant.allows_tenant(call.domain or self._config().domain):
            raise Problem(403, "unauthorized", "unauthorized")

    def _body(self, asked: _Asked, row: Row) -> Deferred[Any]:
        """Read the body that a row wants. A large one takes seconds to check: on a thread."""
        if row.body is None:
            return succeed(None)
        if asked.request.too_large:
            text = "Failed to buffer the request body: length limit exceeded"
            raise Problem(413, text, "payload_too_large")
        content = asked.request.content.read()
        kind = asked.headers.get("content-type", "")
        if len(content) <= _LARGE_BYTES:
            return succeed(self._bodies.read(row, kind, content))
        return self._run_slowly(lambda: self._bodies.read(row, kind, content))

    def _once(self, asked: _Asked, row: Row, call: Call) -> Deferred[Answer]:
        """Do the work of a request, or answer what was answered under its key.

        What changes something goes on, and is recorded, also when whoever asked for it has hung
        up or was told that it takes too long: the same key finds it again.
        """
        if row.event is None:
            return self._work(row, call)
        key = call.headers.get("idempotency-key")
        if key is None or not row.idempotent_by_key:
            return _shielded(self._work(row, call))
        content = dump([call.body, dict(call.params), dict(call.query)])
        name = (call.grant.jti, f"{row.method} {asked.path}", key)
        return _shielded(self._repeats.once(name, content, lambda: self._work(row, call)))

    def _work(self, row: Row, call: Call) -> Deferred[Answer]:
        handle: Callable[[Call], Any] = row.handle
        done: Deferred[Answer] = maybeDeferred(handle, call)
        if row.event is None:
            return done
        return done.addCallback(lambda answer: self._recorded(row, call, answer))

    def _recorded(self, row: Row, call: Call, answer: Answer) -> Deferred[Answer]:
        if not answer.changed:
            return succeed(answer)
        assert row.event is not None and row.area is not None, row.operation
        action = Action(
            area=row.area,
            event=row.event,
            resource=answer.resource or "/".join(call.params.values()),
            way=f"{row.method} {row.path}",
            actor=call.grant.actor,
            jti=call.grant.jti,
            subject=call.grant.subject,
            peer=call.peer,
            before=answer.before,
            after=answer.after,
            details=answer.details,
        )
        return self._trail.record(action).addCallback(lambda _nothing: answer)


class _AsSent(Resource):
    """Hands the path on as it was sent: whether a slash is encoded makes a difference."""

    isLeaf = True

    def __init__(self, inner: IResource, turned_away: Callable[[Any], bytes | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._turned_away = turned_away

    def render(self, request: Any) -> Any:
        """Let Klein route, unless there is an answer already."""
        answered = self._turned_away(request)
        if answered is not None:
            return answered
        sent = quote(request.path, safe="/%:@!$&'()*+,;=~ ")
        request.prepath, request.postpath = [], sent.encode().lstrip(b"/").split(b"/")
        if not sent.startswith("/") or sent.startswith("//"):
            request.postpath = [b"", b""]
        return self._inner.render(request)


def _set_status(request: Any, status: int) -> None:
    """Set the status with its phrase; Twisted has none for 422 and 428."""
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())


def _asked(request: Any) -> _Asked:
    headers = {
        name.decode("latin-1").lower(): ", ".join(value.decode("latin-1") for value in values)
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
    query = {
        name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
        for name, values in request.args.items()
    }
    return _Asked(
        request,
        request.method.decode("latin-1"),
        quote(request.path, safe="/%:@!$&'()*+,;=~"),
        query,
        headers,
        peer_of(request),
        _request_id(headers.get("x-request-id", "")),
    )


def _request_id(given: str) -> str:
    """Return the id that a client gave its request, or another one where that is none."""
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _wrong_method(methods: Iterable[str]) -> Problem:
    found = set(methods)
    if "GET" in found:
        found.add("HEAD")
    allow = ",".join(sorted(found))
    return Problem(405, "method not allowed", "method_not_allowed", headers={"Allow": allow})


def _decoded(name: str, raw: str) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        text = f"Invalid URL: Invalid UTF-8 in `{name}`"
        raise Problem(400, text, "invalid_path") from None


def _shielded(work: Deferred[Answer]) -> Deferred[Answer]:
    """Return what fires as work does; cancelling it leaves the work alone."""
    shown: Deferred[Answer] = Deferred(lambda _cancelled: None)

    def ended(result: Any) -> None:
        if shown.called:
            if isinstance(result, Failure):
                problem_of(result)  # Nobody waits any more, but what is not ours is logged.
        else:
            shown.callback(result)

    work.addBoth(ended)
    return shown
