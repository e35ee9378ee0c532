"""``dbx plugin replay``: stored events once more, beside live delivery."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, Time, argument, option
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.plugin.calls import (
    CLOSED_MODES,
    NOT_FOUND,
    Asking,
    Document,
    asking,
    key_of,
)

LOOK_S = 0.1
"""Between two looks at what a server does."""

_VERSION = re.compile(r"[0-9]{1,18}", re.ASCII)


class Bound(click.ParamType):  # type: ignore[type-arg]
    """A version of an aggregate, or a time."""

    name = "bound"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return which of both, and the number; raises WrongValue."""
        if isinstance(value, tuple):
            return value
        if _VERSION.fullmatch(value):
            return "version", int(value)
        return "time", Time().convert(value, param, ctx)


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "replay",
        examples=(
            "dbx plugin replay hook order o-1",
            "dbx plugin replay hook order --from 2026-01-01T00:00:00Z --payload-mode event-only",
        ),
    )
    @argument("plugin", help="Name of the plugin, or its kind when it has no name")
    @argument("aggregate", help="Aggregate type")
    @argument("aggregate_id", required=False, help="Aggregate identifier [default: all]")
    @option("--payload-mode", "--payload_mode", "mode", type=CLOSED_MODES, metavar="PAYLOAD",
            help="Send this of each event instead of what the plugin gets")  # fmt: skip
    @option(
        "--from", "start", type=Bound(), metavar="VERSION|TIME", help="Leave out what is before"
    )
    @option("--to", "end", type=Bound(), metavar="VERSION|TIME", help="Leave out what is after")
    @option("--include-archived", is_flag=True, help="Replay archived aggregates, too")
    @option(
        "--queue", "retry", is_flag=True,
        help="Try failed events again, as live delivery does, instead of ending with the first",
    )  # fmt: skip
    @AS_JSON
    @click.pass_context
    def replay(context: click.Context, /, **given: Any) -> None:
        """Replay stored events through a plugin

        Goes on beside live delivery and changes nothing about it. Each aggregate's events are sent
        in the order of their versions, with the state as of each and the same idempotency keys.
        """
        with asking(context, writes=True) as plugins:
            entry = _entry(plugins, given["plugin"])
            found = _run(context, plugins, _operation(given))
        if given["as_json"]:
            print_json(found)
        if found["state"] == "failed":
            raise Failure(str(found["error"]), code="storage")
        if found["state"] == "cancelled":
            raise Failure(f"the replay was cancelled after {found['delivered']} event(s)")
        if not given["as_json"]:
            print_line(_summary(entry, found, given))


def _entry(plugins: Asking, name: str) -> Document:
    """Return an enabled plugin that takes events. Raises Failure."""
    for one in plugins.entries():
        if key_of(one) != name or one.get("unavailable") is not None or not one["enabled"]:
            continue
        if not one["emit_events"]:
            raise Failure(
                f"plugin '{name}' is configured with emit_events=false; "
                "enable event delivery to replay events"
            )
        return one
    raise Failure(f"no enabled plugin named '{name}' is configured", code=NOT_FOUND)


def _operation(given: Document) -> Document:
    operation: Document = {
        "do": "replay",
        "name": given["plugin"],
        "aggregate_type": given["aggregate"],
        "aggregate_id": given["aggregate_id"],
        "mode": given["mode"],
        "include_archived": given["include_archived"],
        "retry": given["retry"],
    }
    for option_name, side in (("start", "from"), ("end", "to")):
        if given[option_name] is not None:
            kind, number = given[option_name]
            operation[f"{side}_{kind}"] = number
    return operation


def _run(context: click.Context, plugins: Asking, operation: Document) -> Document:
    """Run a replay to its end, with progress on a terminal; a keyboard interrupt cancels it."""
    job = plugins.do(operation)["job"]
    progress = Progress("replaying")
    try:
        while True:
            found = plugins.do({"do": "replay_progress", "job": job})
            progress.show(found["delivered"], found["total"], found.get("current"))
            if found["state"] != "running":
                progress.end()
                return found
            if not plugins.alone:
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        progress.end()
        if not plugins.alone:
            # On a new connection: the other one may be in the middle of an answer.
            with asking(context) as others:
                others.do({"do": "cancel_replay", "job": job})
        raise


def _summary(entry: Document, found: Document, given: Document) -> str:
    kind, one = given["aggregate"], given["aggregate_id"]
    if one is not None and found["delivered"]:
        said = f"replayed {found['delivered']} event(s) for {kind}::{one}"
    elif one is not None:
        said = f"no events replayed for {kind}::{one}"
    elif found["aggregates"]:
        said = (
            f"replayed {found['delivered']} event(s) across {found['aggregates']} aggregate(s) "
            f"for '{kind}'"
        )
    else:
        said = f"no aggregates found for '{kind}'"
    mode = given["mode"] or entry["payload_mode"]
    return f"{said} via plugin {entry['label']} (payload={mode})"


class Progress:
    """One line on a terminal that says how far something is; nothing elsewhere."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._shown = False

    def show(self, done: int, total: int | None, current: str | None = None) -> None:
        """Show how much is done."""
        if not sys.stderr.isatty():
            return
        line = f"{self._doing}: {done}"
        if total:
            line += f" of {total} events ({100 * done // total} %)"
        else:
            line += " events"
        if current:
            line += f", {current}"
        # Each line covers the one before, which may have been longer.
        sys.stderr.write(f"\r{line[:100]:<100}")
        sys.stderr.flush()
        self._shown = True

    def end(self) -> None:
        """Leave the line as it is."""
        if self._shown:
            sys.stderr.write("\n")
