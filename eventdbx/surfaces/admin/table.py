"""What a route of the Admin API is: one row holds its path, right, bodies and answers.

Routing, checks of rights and bodies, audit and the OpenAPI document all follow from the rows, so
none of them can be forgotten for a new route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from eventdbx.application.administering import Administration
from eventdbx.application.auditing import Trail
from eventdbx.application.backing_up import Backups
from eventdbx.application.domains import Domain
from eventdbx.application.issuing import Tokens
from eventdbx.domain.canonical import JSON
from eventdbx.domain.grants import Grant
from eventdbx.settings import Config
from eventdbx.surfaces.control.routes import Routes, RunSlowly


class Installation(NamedTuple):
    """What handlers work on.

    What touches files that other processes lock goes through ``run_on_files``, and everything else
    that takes long through ``run_slowly``: neither has to wait for the other.
    """

    config: Callable[[], Config]
    open_domain: Callable[[str | None], Domain]
    tokens: Tokens
    administration: Administration
    trail: Trail
    control: Routes
    run_slowly: RunSlowly
    run_on_files: RunSlowly
    backups: Backups


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that was let in. ``body`` fits the row's schema; ``params`` are decoded.

    ``asked_for`` is the domain that the query names (``?domain=``), None for the active one.
    """

    grant: Grant
    token: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]
    peer: str
    request_id: str

    @property
    def domain(self) -> str | None:
        return self.query.get("domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a handler returns. ``resource`` and the digests go into the audit trail."""

    status: int = 200
    document: JSON = None
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None
    resource: str | None = None
    before: str | None = None
    after: str | None = None
    details: Mapping[str, JSON] | None = None
    changed: bool = True
    """False: nothing was changed after all, so there is nothing to record."""
    next_cursor: str | None = None
    """For handlers that page by themselves: where the page after this one begins."""


class Problem(Exception):
    """An answer that is no success and no EventDBXError: its status, message and code.

    An EventDBXError that a handler raises becomes the status of its code by itself.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.code = code
        self.errors = errors
        self.headers = headers or {}
        super().__init__(message)


class Parameter(NamedTuple):
    """A query parameter: its JSON Schema and what it means."""

    name: str
    schema: Mapping[str, JSON]
    description: str
    required: bool = False


DOMAIN = Parameter(
    "domain",
    {"type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$"},
    "The domain to work on; the active one if absent.",
)

Handler = Callable[[Call], "Answer | Deferred[Answer]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One route.

    ``path`` has its parameters as ``{name}``. ``action`` is the right beside the root pair, None
    for a route that is open to all. ``body`` names a component schema, ``body_required`` whether
    it must be there. ``answers`` maps each status that the handler itself can give to a component
    schema (``[X]``: an array of X; None: no body); 401, 403, 405, 429, 500 and those of bodies are
    added by the framework.
    ``event`` is the audit event of a route that changes something, in ``area``.
    """

    method: str
    path: str
    operation: str
    summary: str
    action: str | None
    handle: Handler
    answers: Mapping[int, str | None]
    tag: str
    body: str | None = None
    body_required: bool = True
    query: tuple[Parameter, ...] = ()
    event: str | None = None
    area: str | None = None
    lists: bool = False
    """The document is an array: ``limit`` and ``cursor`` page it (by the framework)."""
    idempotent_by_key: bool = False
    """``Idempotency-Key`` is honoured."""
    secret: bool = False
    """The answer holds a secret: ``Cache-Control: no-store``."""
    conditional: bool = False
    """A change that honours ``If-Match`` and ``If-None-Match``: it may answer 412 and 428."""
