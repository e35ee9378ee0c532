"""What went wrong, as an answer: the status of each code, and the one shape of all errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.errors import (
    AlreadyExists,
    AttemptsExceeded,
    ContractViolation,
    EventDBXError,
    NameTaken,
    StillInUse,
    TokenRevoked,
    UnknownName,
    VersionConflict,
    without_tokens,
)
from eventdbx.surfaces.admin.table import Problem

PROBLEM_TYPE = "application/problem+json"

_STATUS_OF_CODE: Mapping[str, int] = {
    "config": 400,
    "schema_violation": 400,
    "invalid_schema": 400,
    "invalid_cursor": 400,
    # The caller's own token was good when these are raised: they are about another token,
    # or about something that this one does not cover. 401 would make clients drop it.
    "invalid_token": 404,
    "token_expired": 409,
    "unauthorized": 403,
    "token_limit_reached": 403,
    "aggregate_archived": 403,
    "tenant_quota": 403,
    "aggregate_not_found": 404,
    "schema_not_found": 404,
    "schema_exists": 409,
    "replication_conflict": 409,
    "storage": 500,
    "serialization": 500,
    "io": 500,
}

_STATUS_OF_CLASS: tuple[tuple[type[EventDBXError], int], ...] = (
    (TokenRevoked, 409),
    (AttemptsExceeded, 429),
    (VersionConflict, 409),
    (AlreadyExists, 409),
    (UnknownName, 404),
    (NameTaken, 409),
    (StillInUse, 409),
)

log = Logger()


def unauthorized() -> Problem:
    """Return the one answer to whoever may not call a route, whatever the cause."""
    return Problem(401, "unauthorized", "unauthorized", headers={"WWW-Authenticate": "Bearer"})


def problem_of(failure: Failure) -> Problem:
    """Return the answer to a failure; what is not ours is logged and not shown."""
    error = failure.value
    if isinstance(error, Problem):
        return error
    if isinstance(error, DeferredTimeout):
        return Problem(503, "the request took too long", "timeout", headers={"Retry-After": "1"})
    if isinstance(error, CancelledError):
        # Whoever asked has hung up: nobody reads this, and it is no mistake of ours.
        return Problem(408, "the client is gone", "cancelled")
    if not isinstance(error, EventDBXError):
        log.failure("unexpected error while answering a request", failure=failure)
        return Problem(500, "storage error: internal error, see the server's log", "storage")
    status = next((status for kind, status in _STATUS_OF_CLASS if isinstance(error, kind)), None)
    text = str(error)
    if len(text) > limits.ERROR_CHARACTERS_MAX:
        text = text[: limits.ERROR_CHARACTERS_MAX] + "…"
    headers = {}
    if isinstance(error, AttemptsExceeded):
        headers["Retry-After"] = str(error.retry_after_s)
    violations = error.violations if isinstance(error, ContractViolation) else ()
    return Problem(
        status or _STATUS_OF_CODE[error.code], text, error.code, errors=violations, headers=headers
    )


def problem_of_code(code: str, message: str) -> Problem:
    """Return the answer to an error of the control protocol."""
    return Problem(_STATUS_OF_CODE[code], message, code)


def problem_document(problem: Problem, instance: str) -> dict[str, Any]:
    """Return the body: the members of the wire's errors first, then those of RFC 9457."""
    message = without_tokens(problem.message)
    document: dict[str, Any] = {
        "message": message,
        "code": problem.code,
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": message,
        "instance": without_tokens(instance),
    }
    if problem.errors:
        document["errors"] = [
            {name: without_tokens(text) for name, text in error.items()} for error in problem.errors
        ]
    return document


def invalid_body(message: str, errors: Sequence[Mapping[str, str]] = ()) -> Problem:
    """Return the answer to a body that is JSON of another shape."""
    text = f"Failed to deserialize the JSON body into the target type: {message}"
    return Problem(422, text, "invalid_body", errors=errors)
