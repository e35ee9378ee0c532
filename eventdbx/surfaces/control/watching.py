"""What is noted of every hello and request: what it was, what became of it, how long it took.

Noted once the answer is handed to the wire. Labels are names of operations and codes of errors,
never anything that a client chose.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from eventdbx.errors import (
    AttemptsExceeded,
    EventDBXError,
    InvalidToken,
    TokenExpired,
    TokenLimitReached,
)
from eventdbx.measures import Measures, Series
from eventdbx.wire import requests as rq
from eventdbx.wire.responses import Failed

SURFACE = "control"
_OF_TOKENS = {InvalidToken.code, TokenExpired.code, TokenLimitReached.code}
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")

OPERATIONS: dict[type, str] = {
    kind: _WORDS.sub("_", name).lower()
    for name, kind in vars(rq).items()
    if isinstance(kind, type) and kind.__module__ == rq.__name__ and hasattr(kind, "_fields")
} | {rq.Unreadable: "parse"}
"""The label of each request: the name of its class."""

_OF_ONE: dict[str, type] = {
    "create": rq.CreateAggregate,
    "append": rq.AppendEvent,
    "apply": rq.AppendEvent,
    "patch": rq.PatchEvent,
}
"""Under which request a commit of one write is counted: clients send either."""

_TRACED = (rq.AppendEvent, rq.PatchEvent, rq.CreateAggregate, rq.CommitBatch)


class Spans(Protocol):
    """Where requests go that somebody traces; see :mod:`eventdbx.services.tracing`."""

    def request(self, operation: str, status: str, metadata: Any, seconds: float) -> None:
        """Take a request that has just been answered, with the metadata of its first event."""


class Watch:
    """Notes the requests of one listener in the measures, and those that carry a trace in spans."""

    def __init__(self, measures: Measures, spans: Spans | None = None) -> None:
        self.clock = measures.clock
        self._measures = measures
        self._control = measures.control
        self._spans = spans
        self._fine: dict[type, Series] = {}

    def greeted(self, began: float, error: EventDBXError | None) -> None:
        """Note a hello that was accepted, or rejected because of an error."""
        now = self.clock()
        self._control.add(("hello", "rejected" if error else "accepted"), now - began, now)
        if error is not None:
            # What the peer is told names no cause; the error behind it does.
            cause = error.__cause__ or error.__context__ or error
            exceeded = isinstance(cause, AttemptsExceeded)
            reason = "rate_limited" if exceeded else getattr(cause, "code", error.code)
            self._measures.auth_failures.add(SURFACE, reason)

    def unproven(self) -> None:
        """Note a peer that named a token and could not prove that it has it."""
        self._measures.auth_failures.add(SURFACE, "unproven")

    def proxied(self) -> None:
        """Note a command line for the CLI proxy, which is never run."""
        self._measures.cli_proxy.add(("other", "spawn_error", "n/a"), 0.0, self.clock())

    def answered(self, began: float, request: Any, response: Any) -> None:
        """Note a request that is answered."""
        now = self.clock()
        kind = type(request)
        if kind is rq.CommitBatch and len(request.writes) == 1:
            kind = _OF_ONE[request.writes[0].kind]
        status = "ok"
        if type(response) is Failed:
            status = response.code
            if status in _OF_TOKENS:
                self._measures.auth_failures.add(SURFACE, status)
            elif response.message.startswith(AttemptsExceeded.beginning):
                # It has the code of a missing right, which is no failure to prove who one is.
                self._measures.auth_failures.add(SURFACE, "rate_limited")
            self._control.add((OPERATIONS[kind], status), now - began, now)
        else:
            series = self._fine.get(kind)
            if series is None:
                series = self._fine[kind] = self._control.begin((OPERATIONS[kind], status))
            series.add(now - began, now)
        if self._spans is not None and kind in _TRACED:
            writes = getattr(request, "writes", (request,))
            metadata = writes[0].metadata if writes else None
            if metadata:
                self._spans.request(OPERATIONS[kind], status, metadata, now - began)
