"""How a command reaches its data: through the daemon that owns the store, or directly.

Both ways carry out the same calls (:mod:`eventdbx.surfaces.control.calls`) and answer with the
same documents: a daemon over its socket, a store without a daemon through the very routes that
a daemon would use. Reads are unfiltered and uncapped either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from eventdbx.config import split_address
from eventdbx.errors import ConfigError, EventDBXError, IoError
from eventdbx.services.pidfile import read_record
from eventdbx.services.workspace import Opened, ensure_cli_token, open_workspace
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.control.calls import Call, Calls, Listed

if TYPE_CHECKING:
    from eventdbx.services.offline import OfflineStore
    from eventdbx.surfaces.control.blocking import BlockingClient

T = TypeVar("T")


class Database(Protocol):
    """Whatever carries out calls."""

    def call(self, call: Call[T]) -> T:
        """Return the result of a call, or raise an EventDBXError."""


def opened(context: click.Context) -> Opened:
    """Return the workspace that the command line and the environment name."""
    return open_workspace(context.find_root().params.get("config"))


def daemon_runs(place: Opened) -> bool:
    """Say whether a live server holds the data directory."""
    record = read_record(place.workspace.pid_path)
    return record is not None and record.alive


@contextmanager
def database(
    context: click.Context, *, token: str | None = None, domain: str | None = None
) -> Iterator[tuple[Database, Calls]]:
    """Open the way to the data; yields what carries out calls, and the calls to carry out."""
    place = opened(context)
    way: BlockingClient | OfflineStore
    if daemon_runs(place):
        text = chosen_token(place, token)
        way = _connect(place, text, domain)
        calls = Calls(text)
    else:
        from eventdbx.services.offline import OfflineStore

        way = OfflineStore(place, domain or place.config.domain)
        calls = Calls("")
    try:
        yield way, calls
    finally:
        way.close()


def chosen_token(place: Opened, given: str | None) -> str:
    """Return the token for the server: the option, the environment, else the operator's own."""
    import os

    for text in (given, os.environ.get("EVENTDBX_TOKEN")):
        if text and text.strip():
            return text.strip()
    return ensure_cli_token(place)


def _connect(place: Opened, token: str, domain: str | None) -> BlockingClient:
    from eventdbx.surfaces.control.blocking import BlockingClient

    address = place.config.socket.bind_addr
    try:
        host, port = split_address(address)
    except ValueError:
        raise ConfigError(f"socket.bind_addr '{address}' is no address to connect to") from None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        return BlockingClient(
            host,
            port,
            token,
            tenant=domain or place.config.domain,
            no_noise=place.config.no_noise,
        )
    except IoError as error:
        raise Failure(
            f"failed to connect to the running server at {address}",
            error.detail,
            hint="see `dbx status`, or stop the server and work on the store directly",
            code=UNREACHABLE,
        ) from None
    except EventDBXError as error:
        raise Failure(error.detail, code=error.code) from None


def pages(
    way: Database,
    page: Callable[[str | None, int], Call[Listed]],
    take: int | None,
    start: str | None,
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield (item, cursor after the whole page) of as many pages as ``take`` items need.

    ``take`` None means all there are.
    """
    cursor, left = start, take
    while left is None or left > 0:
        listed = way.call(page(cursor, 1_000 if left is None else min(left, 1_000)))
        for item in listed.items:
            yield item, listed.next_cursor
        cursor = listed.next_cursor
        if cursor is None:
            return
        if left is not None:
            left -= len(listed.items)
