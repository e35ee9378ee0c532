"""Proofs, checkpoints and what stands behind them on the control protocol: a JSON document each.

docs/protocol.md, "Integrity", lists what there is to ``do`` and which right each needs. One row of
the table below is one operation; what it does lives in the module that the row names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from twisted.internet.defer import Deferred

from eventdbx.errors import ConfigError
from eventdbx.surfaces.control import (
    checkpoints,
    erasing,
    exporting,
    headmaps,
    proofs,
    scrubs,
    verifying,
)
from eventdbx.surfaces.control.asked import Asked, read_asked
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.recording import Recording
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

ROOT = "*.*"
"""The right to what has none of its own."""


class Work(NamedTuple):
    """What an operation has: who asks for what, and where.

    ``run_slowly`` takes what may read much off the reactor; ``recording`` records a change.
    """

    session: Session
    asked: Asked
    grant: Grant
    run_slowly: RunSlowly
    recording: Recording


Answer = dict[str, Any] | bytes
"""A document, or its JSON text."""


class Operation(NamedTuple):
    """One row: the action that a token must allow at all, and what carries the operation out.

    An operation on one aggregate asks ``grant.require`` for its resource itself, before anything
    that tells whether there is such an aggregate.
    """

    right: str
    carry_out: Callable[[Work], Answer | Deferred[dict[str, Any]] | Deferred[bytes]]


OPERATIONS: dict[str, Operation] = {
    "event_proof": Operation("aggregate.read", proofs.event_proof),
    "aggregate_event_proof": Operation("aggregate.read", proofs.aggregate_event_proof),
    "aggregate_proof": Operation("aggregate.read", proofs.aggregate_proof),
    "aggregate_consistency": Operation("aggregate.read", proofs.aggregate_consistency),
    "log_consistency": Operation("aggregate.read", proofs.log_consistency),
    "evidence": Operation("aggregate.read", exporting.evidence),
    "checkpoint": Operation("aggregate.read", checkpoints.checkpoint),
    "head_map": Operation(headmaps.READS, headmaps.head_map),
    "scrub": Operation(scrubs.READS, scrubs.scrub),
    "erase": Operation(erasing.ERASES, erasing.erase),
    "verify": Operation("aggregate.read", verifying.verify_store),
}


class IntegrityRoutes:
    """The method of the operation; the table is joined with that of Routes."""

    def __init__(self, routes: Routes, run_slowly: RunSlowly) -> None:
        self._routes = routes
        self._run_slowly = run_slowly

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {rq.IntegrityOperation: self._operate}

    def _operate(self, session: Session, request: rq.IntegrityOperation) -> Any:
        grant = self._routes.grant(session, request.token)
        asked = read_asked(request.json, "an integrity operation", ConfigError)
        do = asked.required("do")
        operation = OPERATIONS.get(do)
        grant.require(ROOT if operation is None else operation.right)
        if operation is None:
            raise ConfigError(f"unknown integrity operation '{do[:64]}'")
        work = Work(session, asked, grant, self._run_slowly, self._routes.recording)
        answer = operation.carry_out(work)
        return answer.addCallback(_answer) if isinstance(answer, Deferred) else _answer(answer)


def _answer(answer: Answer) -> rs.Extension:
    return rs.Extension(answer if isinstance(answer, bytes) else orjson.dumps(answer))
