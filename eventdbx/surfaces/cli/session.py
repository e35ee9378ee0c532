"""How a command reaches its data: through the daemon that owns the store, or directly.

Both ways carry out the same calls (:mod:`eventdbx.surfaces.control.calls`) and answer with the
same documents: a daemon over its socket, a store without a daemon through the very routes that
a daemon would use. Reads are unfiltered and uncapped either way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from eventdbx.config import split_address
from eventdbx.errors import ConfigError, EventDBXError, IoError
from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.cli.options import includes_hidden
from eventdbx.surfaces.cli.output import note

if TYPE_CHECKING:
    from eventdbx.services.offline import OfflineStore
    from eventdbx.surfaces.control.blocking import BlockingClient
    from eventdbx.surfaces.control.calls import Call, Calls, Listed

T = TypeVar("T")

PAGE_ITEMS = 1_000
"""Items asked for at once, however many a command prints: memory stays that of one page."""

FALLBACK_TTL_S = 120
_OPENED = "eventdbx.opened"


class Database(Protocol):
    """Whatever carries out calls."""

    def call(self, call: Call[T]) -> T:
        """Return the result of a call, or raise an EventDBXError."""


def opened(context: click.Context) -> Opened:
    """Return the workspace that the command line and the environment name; read only once."""
    root = context.find_root()
    known: Opened | None = root.meta.get(_OPENED)
    if known is None:
        known = root.meta[_OPENED] = places.opened(context)
    return known


@contextmanager
def database(
    context: click.Context,
    *,
    token: str | None = None,
    doing: str | None = None,
    writes: bool = False,
) -> Iterator[tuple[Database, Calls]]:
    """Open the way to the data; yields what carries out calls, and the calls to carry out.

    ``doing`` ("append event") is said when the server refuses; without it a refusal reads as it
    would without a server. ``writes`` takes the store's exclusive lock when there is no server.
    """
    # Not before it is needed: help and usage errors come without the wire and the store.
    from eventdbx.surfaces.control.calls import Calls

    place = opened(context)
    address = server_address(context, place)
    hidden = includes_hidden(context)
    if address is None:
        from eventdbx.services.offline import OfflineStore

        store: OfflineStore = OfflineStore(
            place, place.config.domain, writes=writes, include_hidden=hidden
        )
        try:
            yield store, Calls("")
        finally:
            store.close()
        return
    if hidden:
        raise Failure(
            f"--include-hidden reads the store itself, which the server at {address} has open",
            hint="stop the server first; only who owns the store's files sees what schemas hide",
        )
    where = f"via running server socket {address}"
    text = chosen_token(place, token)
    given = context.find_root().params.get("socket") is not None
    tenant = None if given and not place.config.tenants.multi_tenant else place.config.domain
    failing = f"failed to {doing or 'reach the database'} {where}"
    client = _connect(address, text, tenant, place.config.no_noise, failing)
    try:
        yield client, Calls(text)
    except IoError as error:
        raise Failure(failing, error.detail, code=UNREACHABLE) from None
    except EventDBXError as error:
        if doing is None:
            raise
        cause = f"server returned {error.code}: {error}"
        raise Failure(failing, cause, code=error.code) from None
    finally:
        client.close()


def server_address(context: click.Context, place: Opened) -> str | None:
    """Return where the server listens that owns the data, or None when there is none."""
    given: str | None = context.find_root().params.get("socket")
    if given is not None:
        return given
    return place.config.socket.bind_addr if places.daemon_runs(place) else None


def chosen_token(place: Opened, given: str | None) -> str:
    """Return the token for the server: the option, the environment, else the operator's own."""
    for text in (given, os.environ.get("EVENTDBX_TOKEN")):
        if text and text.strip():
            return text.strip()
    try:
        return ensure_cli_token(place)
    except IoError as error:
        note(f"warning: {error.detail}; using a token for {FALLBACK_TTL_S} seconds")
        return _fresh_token(place)


def _fresh_token(place: Opened) -> str:
    import time
    import uuid

    from eventdbx.application.tokens import issue, signing_key

    auth = place.config.auth
    user = os.environ.get("USER") or os.environ.get("USERNAME") or "local"
    return issue(
        signing_key(auth),
        issuer=auth.issuer,
        audience=auth.audience,
        jti=str(uuid.uuid4()),
        now_s=int(time.time()),
        ttl_s=FALLBACK_TTL_S,
        subject=f"cli:{user}",
        group="cli",
        user=user,
        actions=["*.*"],
        resources=["*"],
        issued_by="cli",
    )


def _connect(
    address: str, token: str, tenant: str | None, no_noise: bool, failing: str
) -> BlockingClient:
    from eventdbx.surfaces.control.blocking import BlockingClient

    try:
        host, port = split_address(address)
    except ValueError:
        raise ConfigError(f"'{address}' is no address to connect to") from None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        return BlockingClient(host, port, token, tenant=tenant, no_noise=no_noise)
    except IoError as error:
        raise Failure(
            failing,
            f"failed to connect to CLI proxy at {address}",
            error.detail,
            hint="see `dbx status`; after `dbx stop` commands work on the store directly",
            code=UNREACHABLE,
        ) from None
    except EventDBXError as error:
        code = "invalid_token" if "token" in error.detail else error.code
        raise Failure(failing, error.detail, code=code) from None


class Pages:
    """Items of as many pages as ``take`` needs (None: all there are), one page in memory.

    ``page`` is called with (cursor, skip, take) and returns the call for a page. After the last
    item ``next_cursor`` says where to go on, None at the end of the list. Sorted lists have no
    cursor: their next page is reached by skipping.
    """

    def __init__(
        self,
        way: Database,
        page: Callable[[str | None, int, int], Call[Listed]],
        *,
        take: int | None,
        cursor: str | None = None,
        skip: int = 0,
        by_skipping: bool = False,
    ) -> None:
        self._way = way
        self._page = page
        self._take = take
        self._cursor = cursor
        self._skip = skip
        self._by_skipping = by_skipping
        self.next_cursor: str | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cursor, skip, left = self._cursor, self._skip, self._take
        while left is None or left > 0:
            wanted = PAGE_ITEMS if left is None else min(left, PAGE_ITEMS)
            listed = self._way.call(self._page(cursor, skip, wanted))
            yield from listed.items
            cursor = self.next_cursor = listed.next_cursor
            got = len(listed.items)
            left = None if left is None else left - got
            if self._by_skipping:
                skip += got
                if got == 0:
                    return
            else:
                skip = 0
                if cursor is None:
                    return
