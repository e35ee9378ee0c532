"""The routes of the health and metrics port.

``/health`` says that the process answers, whatever its state: scripts poll it. ``/health/live``
says that its loop turns, ``/health/ready`` that it can do its work.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import MethodNotAllowed

from eventdbx import __version__
from eventdbx.domain.canonical import dump
from eventdbx.measures import Family, Measures
from eventdbx.surfaces.http.health import Check, readiness
from eventdbx.surfaces.http.metrics import (
    CONTENT_TYPES,
    Exposition,
    Form,
    chosen_form,
    compressed,
    takes_gzip,
)
from eventdbx.surfaces.http.tlog import Tlog, route_of

PATHS = frozenset((b"/health", b"/health/live", b"/health/ready", b"/metrics", b"/version"))
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
UNMATCHED = "unmatched"

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
_Waiting = tuple[Form, bool]


def count_request(measures: Measures, method: str, path: str, status: int, seconds: float) -> None:
    """Count an HTTP request; ``path`` is the pattern of its route, "" when it has none."""
    labels = (method if method in METHODS else "other", path or UNMATCHED, str(status))
    measures.http.add(labels, max(seconds, 0.0), measures.clock())


class HttpApi:
    """The resource of the port. ``gather`` reads every number that is shown beside the counts of
    ``measures``; ``metrics_token`` is asked at every scrape, None lets everybody scrape; ``tlog``
    serves what is below ``/tlog``."""

    def __init__(
        self,
        *,
        measures: Measures,
        gather: Callable[[], Deferred[list[Family]]],
        checks: Mapping[str, Check],
        metrics_token: Callable[[], str | None],
        run_slowly: RunSlowly,
        tlog: Tlog | None = None,
    ) -> None:
        self._measures = measures
        self._gather = gather
        self._checks = checks
        self._metrics_token = metrics_token
        self._run_slowly = run_slowly
        self._exposition = Exposition()
        self._scraping: dict[_Waiting, list[Deferred[bytes]]] = {}
        app = Klein()
        app.route("/health", methods=["GET"])(self._health)
        app.route("/health/live", methods=["GET"])(self._health)
        app.route("/health/ready", methods=["GET"])(self._ready)
        app.route("/version", methods=["GET"])(self._version)
        app.route("/metrics", methods=["GET"])(self._metrics)
        app.handle_errors(MethodNotAllowed)(self._refused)
        self.resource: IResource = _Counted(app.resource(), measures, tlog)

    def _health(self, request: Any) -> bytes:
        return _json(request, {"status": "ok"})

    def _ready(self, request: Any) -> bytes:
        found = readiness(self._checks)
        if not found.ready:
            request.setResponseCode(503)
        request.setHeader("Cache-Control", "no-store")
        return _json(request, found.document())

    def _version(self, request: Any) -> bytes:
        return _json(
            request,
            {"name": "eventdbx", "version": __version__, "python": platform.python_version()},
        )

    def _refused(self, request: Any, failure: Failure) -> bytes:
        error: Any = failure.value
        request.setHeader("Allow", ",".join(sorted(error.valid_methods or ())))
        return _nothing(request, 405)

    def _metrics(self, request: Any) -> Any:
        if not self._may_scrape(request):
            self._measures.auth_failures.add("http", "metrics_token")
            request.setResponseCode(401)
            request.setHeader("WWW-Authenticate", "Bearer")
            return _json(request, {"message": "unauthorized", "code": "unauthorized"})
        form = chosen_form(request.getHeader("accept"))
        packed = takes_gzip(request.getHeader("accept-encoding"))

        def write(body: bytes) -> bytes:
            request.setHeader("Content-Type", CONTENT_TYPES[form])
            request.setHeader("Vary", "Accept, Accept-Encoding")
            if packed:
                request.setHeader("Content-Encoding", "gzip")
            request.setHeader("Content-Length", str(len(body)))
            return body

        return self._scraped((form, packed)).addCallback(write)

    def _may_scrape(self, request: Any) -> bool:
        wanted = self._metrics_token()
        if not wanted:
            return True
        scheme, _, given = (request.getHeader("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), wanted.encode()
        )

    def _scraped(self, asked: _Waiting) -> Deferred[bytes]:
        """Return the body; whoever comes while one like it is being made gets the same."""
        done: Deferred[bytes] = Deferred()
        waiting = self._scraping.get(asked)
        if waiting is not None:
            waiting.append(done)
            return done
        self._scraping[asked] = [done]

        def rendered(families: list[Family]) -> Deferred[bytes]:
            return self._run_slowly(lambda: self._render(families, *asked))

        def tell(outcome: bytes | Failure) -> None:
            for one in self._scraping.pop(asked):
                one.callback(outcome)

        self._gather().addCallback(rendered).addBoth(tell)
        return done

    def _render(self, families: list[Family], form: Form, packed: bool) -> bytes:
        body = self._exposition.render([*self._measures.families(), *families], form)
        return compressed(body) if packed else body


def _json(request: Any, document: Mapping[str, object]) -> bytes:
    body = dump(document)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Content-Length", str(len(body)))
    return body


def _nothing(request: Any, status: int) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Length", "0")
    return b""


class _Counted(Resource):
    """Counts each request with how long it took once it is over."""

    isLeaf = True

    def __init__(self, inner: IResource, measures: Measures, tlog: Tlog | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._tlog = tlog
        self._measures = measures

    def render(self, request: Any) -> Any:
        """Let Klein route what is a path of ours to the letter."""
        clock = self._measures.clock
        began, method = clock(), request.method.decode("latin-1")
        path = request.path.decode("latin-1") if request.path in PATHS else ""
        of_tlog = "" if self._tlog is None else route_of(request.path)

        def over(_outcome: Any) -> None:
            count_request(self._measures, method, path or of_tlog, request.code, clock() - began)

        request.notifyFinish().addBoth(over)
        if self._tlog is not None and of_tlog:
            return self._tlog.render(request)
        if not path:
            return _nothing(request, 404)
        request.prepath, request.postpath = [], request.path[1:].split(b"/")
        return self._inner.render(request)
