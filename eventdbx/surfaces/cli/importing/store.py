"""Whether an import that goes on has before it the store with which it was begun.

Names do not tell: behind the same folder or address may be another store by now, one that was made
anew or restored from a backup. What was noted as written has to be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventdbx.errors import AggregateNotFound, InvalidCursor, Unauthorized
from eventdbx.surfaces.cli import contexts
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.session import Database, opened

if TYPE_CHECKING:
    from eventdbx.surfaces.cli.importing.state import State
    from eventdbx.surfaces.control.calls import Calls


def store_name(context: click.Context) -> str:
    """Return what tells the store of an import from others: its folder, or its server."""
    chosen = contexts.chosen(context)
    given = context.find_root().params.get("socket") or (chosen.server if chosen else None)
    return str(given or opened(context).workspace.data_dir)


def end_of(way: Database, calls: Calls) -> str | None:
    """Return the place behind everything that is written now, None if it may not be seen."""
    try:
        return way.call(calls.follow("end")).next
    except Unauthorized:
        return None


def check_store(way: Database, calls: Calls, state: State) -> None:
    """Raise Failure unless what the state tells was written is there.

    A token that may not read leaves that open.
    """
    try:
        if state.place is not None:
            way.call(calls.follow(state.place, take=1))
    except InvalidCursor:
        raise _another(state) from None
    except Unauthorized:
        state.place = None
    if state.last is not None and not _is_there(way, calls, *state.last):
        raise _another(state)


def place_of(state: State) -> str:
    """Return a place in the log before what may be written. Raises Failure."""
    if state.place is None:
        raise Failure(
            "the import was interrupted so long ago that the store may have forgotten its last "
            "batch, and the token cannot read the log to look for it",
            hint=f"look whether the events behind line {state.line} are there",
        )
    return state.place


def _another(state: State) -> Failure:
    return Failure(
        "the import was begun with another store than this one",
        f"the {state.events:,} events up to line {state.line:,} are not in it",
        hint="--restart writes the whole file to this one",
    )


def _is_there(
    way: Database, calls: Calls, event_id: str, aggregate_type: str, aggregate_id: str
) -> bool:
    """Say whether an event is there, or cannot be seen even if it is."""
    try:
        if way.call(calls.scan_events(event_id=int(event_id), take=1)).items:
            return True
        # By its id there is nothing, too, of an aggregate that the token may not read.
        way.call(calls.events(aggregate_type, aggregate_id, take=1))
    except Unauthorized:
        return True
    except AggregateNotFound:
        pass
    return _is_hidden(way, calls, aggregate_type)


def _is_hidden(way: Database, calls: Calls, aggregate_type: str) -> bool:
    try:
        schemas = way.call(calls.schema({"do": "list"}))["schemas"]
    except Unauthorized:
        return False
    return bool(schemas.get(aggregate_type, {}).get("hidden"))
