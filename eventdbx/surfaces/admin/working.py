"""What handlers of schemas, plugins and the queue share: their domain, conditions, refusals."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eventdbx.application.domains import Domain
from eventdbx.application.schema_work import Origin
from eventdbx.domain.schemas.edits import LastEvent, UndeclaredEvent
from eventdbx.errors import NameTaken, StillInUse, UnknownName
from eventdbx.surfaces.admin.conditions import check_match
from eventdbx.surfaces.admin.table import Answer, Call, Handler, Installation, Problem

Work = Callable[[Call], Coroutine[Deferred[Any], Any, Answer]]


class Workplace:
    """Where handlers work: the installation, and what it says about each request."""

    def __init__(self, installation: Installation) -> None:
        self.run_slowly = installation.run_slowly
        self._installation = installation

    def domain(self, call: Call) -> Domain:
        """Return the domain that a request is about. Raises UnknownName, ConfigError."""
        return self._installation.open_domain(call.domain)

    def check_match(self, call: Call, current: str | None) -> None:
        """Raise Problem unless the conditions of a change fit the entity tag of what is there."""
        required = self._installation.config().admin.require_if_match
        check_match(call.headers, current, required=required)


def answering(work: Work) -> Handler:
    """Return the handler of a row whose work is a coroutine; refusals get their status."""

    def handle(call: Call) -> Deferred[Answer]:
        done: Deferred[Answer] = Deferred.fromCoroutine(work(call))
        return done.addCallbacks(lambda answer: _with_domain(call, answer), _refused)

    return handle


def _with_domain(call: Call, answer: Answer) -> Answer:
    """Let the audit trail, which is that of the active domain, say which one was changed."""
    if call.domain is None:
        return answer
    return replace(answer, details={**(answer.details or {}), "domain": call.domain})


def _refused(failure: Failure) -> Failure:
    """Give refusals that are about names a status of their own; others keep that of their code."""
    error = failure.value
    if isinstance(error, UnknownName):
        raise Problem(404, error.detail, error.code) from None
    if isinstance(error, UndeclaredEvent):
        raise Problem(404, str(error), error.code) from None
    if isinstance(error, NameTaken | StillInUse):
        raise Problem(409, error.detail, error.code) from None
    if isinstance(error, LastEvent):
        raise Problem(409, str(error), error.code) from None
    return failure


def origin_of(call: Call, reason: str | None = None) -> Origin:
    """Return who changes schemas, and why, as the history keeps it."""
    actor = call.grant.actor
    return Origin(call.grant.subject if actor is None else actor.user, reason)


def place(*names: str) -> str:
    """Return the path of something below ``/admin``."""
    return "/".join(["/admin", *(quote(name, safe="") for name in names)])
