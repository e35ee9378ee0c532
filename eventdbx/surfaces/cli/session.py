"""How a command reaches its data: through the daemon that owns the store, or directly.

Both ways carry out the same calls (:mod:`eventdbx.surfaces.control.calls`) and answer with the
same documents: a daemon over its socket, a store without a daemon through the very routes that
a daemon would use. Reads are unfiltered and uncapped either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from eventdbx.errors import EventDBXError, IoError
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import contexts, dialling, places
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.cli.options import includes_hidden

if TYPE_CHECKING:
    from eventdbx.services.offline import OfflineStore
    from eventdbx.surfaces.control.calls import Call, Calls, Listed

T = TypeVar("T")

PAGE_ITEMS = 1_000
"""Items asked for at once, however many a command prints: memory stays that of one page."""

_OPENED = "eventdbx.opened"


def known_place(context: click.Context) -> Opened | None:
    """Return the workspace that a command has opened, None if it needed none."""
    found: Opened | None = context.find_root().meta.get(_OPENED)
    return found


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
    domain: str | None = None,
) -> Iterator[tuple[Database, Calls]]:
    """Open the way to the data; yields what carries out calls, and the calls to carry out.

    ``domain`` is one that exists, by default that in use.
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
            place, domain or place.config.domain, writes=writes, include_hidden=hidden
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
    options, chosen = context.find_root().params, contexts.chosen(context)
    failing = f"failed to {doing or 'reach the database'} {where}"
    client, text = dialling.connect(
        options,
        place,
        address,
        dialling.token_of_line(options, token),
        chosen=chosen,
        tenant=domain or tenant_of(options, place, chosen),
        failing=failing,
    )
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
    chosen = contexts.chosen(context)
    if chosen is not None:
        return chosen.server
    return place.config.socket.bind_addr if places.server_to_ask(place) else None


def tenant_in_use(context: click.Context) -> str | None:
    """Return the domain that a command works in; None is that which is active at the server."""
    return tenant_of(context.find_root().params, opened(context), contexts.chosen(context))


def tenant_of(
    options: Mapping[str, Any], place: Opened, chosen: contexts.ServerContext | None
) -> str | None:
    """Return the domain to ask for; None leaves it to a server that is not of this machine."""
    if options.get("domain") is not None:
        return place.config.domain
    if chosen is not None:
        return chosen.domain
    if options.get("socket") is not None and not place.config.tenants.multi_tenant:
        return None
    return place.config.domain


class Pages:
    """Items of as many pages as ``take`` needs (None: all there are), one page in memory.

    ``page`` is called with (cursor, skip, take) and returns the call for a page. After the last
    item ``next_cursor`` says where to go on, None at the end of the list. Sorted lists have no
    cursor: their next page is reached by skipping ``skips_on``, if that many items were taken.
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
        self.skips_on: int | None = None

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
                self.skips_on = skip if left == 0 else None
            else:
                skip = 0
                if cursor is None:
                    return
