"""Proofs over HTTP: the operations of the control protocol, in the caller's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Parameter, Row
from eventdbx.surfaces.control import proofs
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.integrity import Work
from eventdbx.surfaces.control.routes import Session

_HASHES = {"type": "array", "items": {"type": "string"}}
_OF_AGGREGATE: Mapping[str, Any] = {
    "format": {"type": "string", "const": "eventdbx-proof/1"},
    "kind": {"type": "string"},
    "aggregate_type": {"type": "string"},
    "aggregate_id": {"type": "string"},
    "size": {"type": "integer", "minimum": 1},
    "root": {"type": "string"},
    "heads": _HASHES,
    "checkpoint": {"type": "string"},
}

SCHEMAS: Mapping[str, Any] = {
    "EventProof": {
        "type": "object",
        "description": "An event in the log: `proof` is the text of a C2SP tlog-proof. With "
        "`in=aggregate` it is the document of the kind `aggregate-event` instead.",
        "properties": {
            "proof": {"type": "string"},
            "index": {"type": "integer", "minimum": 0},
            **_OF_AGGREGATE,
            "version": {"type": "integer", "minimum": 1},
            "leaf": {"type": "string"},
            "salt": {"type": "string"},
            "hashes": _HASHES,
        },
    },
    "AggregateProof": {
        "type": "object",
        "description": "These events, by their leaf hashes, are all of the aggregate.",
        "required": [*_OF_AGGREGATE, "events"],
        "properties": {**_OF_AGGREGATE, "events": _HASHES},
    },
    "AggregateConsistency": {
        "type": "object",
        "description": "A version of the aggregate is the beginning of what it is now, or of the "
        "version `second`, which is a beginning of it, too.",
        "required": [*_OF_AGGREGATE, "first", "hashes"],
        "properties": {
            **_OF_AGGREGATE,
            "first": {"type": "object"},
            "hashes": _HASHES,
            "second": {"type": "object"},
            "onward": _HASHES,
        },
    },
    "LogConsistency": {
        "type": "object",
        "description": "The log of one checkpoint is the beginning of that of another.",
        "required": ["format", "kind", "first", "second", "hashes"],
        "properties": {
            "format": {"type": "string"},
            "kind": {"type": "string"},
            "first": {"type": "string"},
            "second": {"type": "string"},
            "hashes": _HASHES,
        },
    },
}

_COUNT: Mapping[str, JSON] = {"type": "integer", "minimum": 1, "maximum": (1 << 63) - 1}
_IN = Parameter(
    "in",
    {"type": "string", "enum": ["log", "aggregate"]},
    "Where to prove it: in the log unless something else is said.",
)
_SIZE = Parameter("size", _COUNT, "Under the stored checkpoint of this size; else the newest.")
_VERSION = Parameter("first", _COUNT, "The earlier version.", required=True)
_LATER = Parameter("second", _COUNT, "The later version; else the newest.")
_FIRST = Parameter("first", _COUNT, "The size of the earlier checkpoint.", required=True)
_SECOND = Parameter("second", _COUNT, "The size of the later checkpoint; else the newest.")

Operation = Callable[[Work], "Deferred[dict[str, Any]]"]


class _ProofRoutes:
    """The work of the routes. Rights on the aggregate are looked at by the operations."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def event(self, call: Call) -> Deferred[Answer]:
        """Prove one event."""
        version = call.params["version"]
        # What is no version is none that there is.
        known = version.isascii() and version.isdecimal() and len(version) < 20
        asked: dict[str, JSON] = {**_named(call), "version": int(version) if known else 0}
        if call.query.get("in") == "aggregate":
            return self._ask(call, proofs.aggregate_event_proof, asked)
        return self._ask(call, proofs.event_proof, asked | _numbers(call, "size"))

    def aggregate(self, call: Call) -> Deferred[Answer]:
        """Prove which events are all of an aggregate."""
        return self._ask(call, proofs.aggregate_proof, _named(call))

    def growth(self, call: Call) -> Deferred[Answer]:
        """Prove a version the beginning of an aggregate."""
        asked = _named(call) | _numbers(call, "first", "second")
        return self._ask(call, proofs.aggregate_consistency, asked)

    def log(self, call: Call) -> Deferred[Answer]:
        """Prove one checkpoint the beginning of another."""
        return self._ask(call, proofs.log_consistency, _numbers(call, "first", "second"))

    def _ask(self, call: Call, prove: Operation, asked: dict[str, JSON]) -> Deferred[Answer]:
        domain = self._installation.open_domain(call.domain)
        # The caller was let in already: no token is asked for, but its rights are looked at.
        session, control = Session(call.grant, domain, owner=True), self._installation.control
        work = Work(
            session,
            Asked(asked, ConfigError),
            control.grant(session, ""),
            self._installation.run_slowly,
            control.recording,
        )
        proving: Deferred[Any] = maybeDeferred(partial(prove, work))
        return proving.addCallback(lambda document: Answer(document=document))


def _named(call: Call) -> dict[str, JSON]:
    return {"aggregate_type": call.params["type"], "aggregate_id": call.params["id"]}


def _numbers(call: Call, *names: str) -> dict[str, JSON]:
    """Return the parameters that were given, which have been found to be numbers."""
    return {name: int(call.query[name]) for name in names if name in call.query}


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _ProofRoutes(installation)
    reading: dict[str, Any] = {"method": "GET", "tag": "proofs", "action": "aggregate.read"}
    one = "/admin/aggregates/{type}/{id}"
    return (
        Row(
            path=one + "/events/{version}/proof",
            operation="getEventProof",
            summary="The proof that an event is in the log, or in its aggregate",
            handle=routes.event,
            answers={200: "EventProof", 404: "Error"},
            query=(_IN, _SIZE, DOMAIN),
            **reading,
        ),
        Row(
            path=one + "/proof",
            operation="getAggregateProof",
            summary="The proof of which events are all of an aggregate",
            handle=routes.aggregate,
            answers={200: "AggregateProof", 404: "Error"},
            query=(DOMAIN,),
            **reading,
        ),
        Row(
            path=one + "/consistency",
            operation="getAggregateConsistency",
            summary="The proof that a version of an aggregate is the beginning of a later one",
            handle=routes.growth,
            answers={200: "AggregateConsistency", 404: "Error"},
            query=(_VERSION, _LATER, DOMAIN),
            **reading,
        ),
        Row(
            path="/admin/integrity/consistency",
            operation="getLogConsistency",
            summary="The proof that the log of a checkpoint is the beginning of a later one's",
            handle=routes.log,
            answers={200: "LogConsistency", 404: "Error"},
            query=(_FIRST, _SECOND, DOMAIN),
            **reading,
        ),
    )
