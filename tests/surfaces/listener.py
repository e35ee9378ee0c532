"""A listener in this process, with one domain and tokens of its own, for tests of the surfaces."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import succeed

from eventdbx import errors
from eventdbx.application.admission import Admission, IssuedTokens
from eventdbx.application.attempts import Attempts
from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.application.token_keys import PublicKey, SigningKey
from eventdbx.application.tokens import Verifier, issue
from eventdbx.application.writer import Writer
from eventdbx.config import Limits
from eventdbx.storage.interfaces import IHop, IOrderedStore
from eventdbx.storage.store import Store
from eventdbx.surfaces.control.factory import ControlFactory
from eventdbx.surfaces.control.routes import Routes, Settings

NOW_S = 1_767_600_000
KEY = SigningKey(bytes(range(32)), "key-1")


def token(**claims: Any) -> str:
    """Return a token of the test's issuer; root rights unless other claims are given."""
    values: dict[str, Any] = {
        "subject": "ops:kim",
        "group": "ops",
        "user": "kim",
        "actions": ["*.*"],
        "resources": ["*"],
        "issued_by": "test",
        "ttl_s": 3_600,
        "jti": "j-1",
        **claims,
    }
    return issue(
        KEY,
        issuer="eventdbx://self",
        audience="eventdbx-clients",
        now_s=NOW_S,
        **values,
    )


def listener(
    backend: IOrderedStore,
    hop: IHop,
    clock: Any,
    *,
    bounds: Limits | None = None,
    run_slowly: Any = lambda work: succeed(work()),
    now_s: Callable[[], int] = lambda: NOW_S,
    issued: IssuedTokens | None = None,
    is_revoked: Callable[[str], bool] = lambda _jti: False,
    failures_per_minute: int = 10,
    opened: Callable[[], object] = lambda: None,
    **settings: Any,
) -> tuple[ControlFactory, Domain]:
    """Return a listener and the one domain that it serves, ``default``; ``opened`` is told each
    time that one is asked for it."""
    store = Store(backend, hop=hop)
    schemas = Catalogue(store, clock_ns=lambda: NOW_S * 10**9)
    writer = Writer(
        store,
        clock_ns=lambda: NOW_S * 10**9,
        entropy=lambda count: bytes(count),
        rules=schemas.rules,
    )
    domain = Domain("default", store, writer, schemas)

    def name_of(name: str | None) -> str:
        if name not in (None, "default"):
            raise errors.ConfigError(f"domain '{name}' does not exist")
        return "default"

    def open_domain(name: str | None) -> Domain:
        name_of(name)
        opened()
        return domain

    values = {
        "list_page_size": 10,
        "page_limit": 1000,
        "verbose_responses": True,
        "no_noise": False,
        **settings,
    }
    verifier = Verifier(
        [PublicKey("key-1", b64decode(KEY.public_text))],
        "eventdbx://self",
        "eventdbx-clients",
        30,
        now_s,
        is_revoked,
    )
    routes = Routes(
        admission=Admission(verifier, Attempts(clock.seconds, failures_per_minute), issued),
        open_domain=open_domain,
        name_of=name_of,
        settings=Settings(**values),
        run_slowly=run_slowly,
        status=dict,
        clock=clock,
    )
    return ControlFactory(routes, clock, bounds or Limits()), domain
