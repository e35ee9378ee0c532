"""What a running server says of itself, for ``dbx status``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import EventDBXError
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import note

if TYPE_CHECKING:
    from eventdbx.surfaces.control.blocking import BlockingClient
    from eventdbx.surfaces.control.calls import Calls

ANSWER_S = 3.0
"""A server that takes longer to say how it is, is not well."""


def present_token(place: Opened) -> str | None:
    """Return the token that is there already, of the environment or in ``cli.token``."""
    from eventdbx.surfaces.cli.dialling import token_of_environment

    given = token_of_environment()
    if given is not None:
        return given
    try:
        return place.workspace.token_path.read_text().strip() or None
    except OSError:
        return None


@contextmanager
def impatiently(
    context: click.Context, place: Opened, token: str
) -> Iterator[tuple[BlockingClient, Calls]]:
    """Open a session with the server of a place, which has to answer soon; raises Failure."""
    from eventdbx.surfaces.cli.dialling import connect
    from eventdbx.surfaces.control.calls import Calls

    client, text = connect(
        context.find_root().params,
        place,
        place.config.socket.bind_addr,
        token,
        tenant=place.config.domain,
        failing="the server does not answer",
        timeout_s=ANSWER_S,
    )
    try:
        yield client, Calls(text)
    finally:
        client.close()


def live_status(context: click.Context, place: Opened) -> dict[str, Any] | None:
    """Return the server's own report; None, with a note, when it cannot be asked."""
    token = present_token(place)
    if token is None:
        return None
    try:
        with impatiently(context, place, token) as (client, calls):
            return client.call(calls.administer({"do": "status"}))
    except Failure as failure:
        note(f"warning: {str(failure).splitlines()[0]}; `dbx doctor` says more")
    except EventDBXError as error:
        note(f"warning: the server does not say how it is: {error}; shown is what the file says")
    return None


def begin_anew(*, as_json: bool) -> None:
    """Begin to show a status once more: on a terminal in the place of the last one."""
    if sys.stdout.isatty() and not as_json:
        sys.stdout.write("\x1b[H\x1b[J" + time.strftime("%H:%M:%S\n"))
        sys.stdout.flush()


def live_lines(live: dict[str, Any]) -> Iterator[str]:
    """Yield what a person may want to know besides."""
    yield f"version {live['version']}, {live['connections']} connections"
    for name, domain in live["domains"].items():
        waiting = [one for one in domain["plugins"] if one["lag"] or one["paused"]]
        for plugin in waiting:
            state = f", paused: {plugin['paused']}" if plugin["paused"] else ""
            yield (
                f"{name}: plugin {plugin['label']} is {plugin['lag']} events "
                f"({plugin['oldest_s']:.0f} s) behind{state}"
            )
    for key in live["restart_required"]:
        yield f"{key} was changed and waits for a restart"
