"""``dbx plugin``: lag, seek, rebuild, wait: where a plugin is in the log, and moving it."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import print_listing, print_result, say_empty
from eventdbx.surfaces.cli.plugin.calls import NAME, Asking, Document, asking, one_line, operate
from eventdbx.surfaces.cli.plugin.options import NUMBER
from eventdbx.surfaces.cli.plugin.replay import Progress
from eventdbx.surfaces.cli.values import U64

LOOK_MS = 100
"""Between two looks at how far a rebuild is."""

WAIT_MS = 2_000
"""How long one operation waits; longer waits are several, so that an interrupt ends them."""


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_lag(group)
    _register_wait(group)
    _register_seek(group)
    _register_rebuild(group)


def _register_lag(group: click.Group) -> None:
    @group.command(
        "lag",
        examples=("dbx plugin lag", "dbx plugin lag hook --json"),
        columns=(
            "name",
            "position",
            "lag",
            "oldest_s",
            "parked",
            "dead",
            "in_flight",
            "breaker_open",
            "paused",
            "last_error",
        ),
    )
    @argument("name", required=False, help="Only this plugin")
    @DOCUMENT
    @click.pass_context
    def lag(context: click.Context, name: str | None) -> None:
        """Show how far plugins are behind, and what keeps them"""
        operation = {"do": "lag"} if name is None else {"do": "lag", "name": name}
        found = operate(context, operation)["plugins"]
        if not print_listing(found, lag_line, empty="(no plugins enabled)"):
            say_empty("no plugin is enabled", "dbx plugin list")


def lag_line(lag: Document) -> str:
    """Return the line of one plugin."""
    return (
        f"plugin={lag['name']} position={lag['position'] or 'start'} lag={lag['lag']} "
        f"oldest={lag['oldest_s']:.0f}s parked={lag['parked']} dead={lag['dead']} "
        f"in_flight={lag['in_flight']} breaker={'open' if lag['breaker_open'] else 'closed'} "
        f"paused={one_line(lag['paused'] or '-')} last_error={one_line(lag['last_error'] or '-')}"
    )


def _register_wait(group: click.Group) -> None:
    @group.command(
        "wait",
        examples=(
            "dbx plugin wait view --event-id 133859581091672069",
            "dbx plugin wait view --position 0-41 --timeout 5",
        ),
    )
    @NAME
    @option("--event-id", type=U64, metavar="EVENT_ID", conflicts=("position",),
            help="Until this event is settled")  # fmt: skip
    @option("--position", metavar="TOKEN", help="Until everything up to this position is settled")
    @option(
        "--timeout", "timeout_s", type=NUMBER, default="30", metavar="SECONDS", show_default=True,
        help="Give up after so long",
    )  # fmt: skip
    @DOCUMENT
    @click.pass_context
    def wait(context: click.Context, /, **given: Any) -> None:
        """Wait until a plugin has processed an event

        Ends with 0 when it is delivered (or nothing for this plugin), with 1 when it is dead or
        the time is over. Without an event or a position: the last event committed so far. What
        failed before it, in other aggregates, may still be held back.
        """
        name = given["name"]
        operation: Document = {"do": "wait", "name": name}
        if given["event_id"] is not None:
            operation["event_id"] = given["event_id"]
        else:
            operation["position"] = given["position"] or "end"
        with asking(context, writes=True) as plugins:
            outcome, reason = _wait(plugins, operation, given["timeout_s"])
        if outcome == "dead":
            raise Failure(f"plugin '{name}' gave up on it", reason, code="storage")
        if outcome == "timeout":
            seconds = given["timeout_s"]
            causes = (reason,) if reason else ()
            raise Failure(f"plugin '{name}' is not there after {seconds} s", *causes)
        print_result({"plugin": name, "outcome": outcome}, f"Plugin '{name}' is there")


def _wait(plugins: Asking, operation: Document, timeout_s: float) -> tuple[str, str]:
    """Wait in pieces; return the outcome and a reason."""
    end = time.monotonic() + timeout_s
    while True:
        left_ms = max(0, int((end - time.monotonic()) * 1_000))
        answer = plugins.do({**operation, "timeout_ms": min(left_ms, WAIT_MS)})
        if answer["outcome"] != "timeout" or left_ms <= WAIT_MS:
            return answer["outcome"], answer["reason"] or ""


YES = option("--yes", is_flag=True, help="Do not ask")


def _register_seek(group: click.Group) -> None:
    @group.command(
        "seek",
        examples=("dbx plugin seek hook 2026-01-01T00:00:00Z", "dbx plugin seek hook end --yes"),
    )
    @NAME
    @argument("to", help="start, end, a position, or a time (RFC 3339)")
    @YES
    @DOCUMENT
    @click.pass_context
    def seek(context: click.Context, name: str, to: str, yes: bool) -> None:
        """Move a plugin to another place in the log

        Backwards, events are delivered again; forwards, those between are never delivered.
        """
        with asking(context, writes=True) as plugins:
            plugins.entry(name)
            if not yes and not _confirmed(f"This moves plugin '{name}' to {to}.", "seek"):
                print_result({"plugin": name, "cancelled": True}, "seek cancelled")
                return
            answer = plugins.do({"do": "seek", "name": name, "to": to})
        place = f"after position {answer['position']}" if answer["position"] else "at the start"
        done = {"plugin": name, "position": answer["position"]}
        print_result(done, f"Plugin '{name}' goes on {place}")


def _confirmed(question: str, word: str) -> bool:
    sys.stderr.write(f"{question} Type '{word}' to confirm: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == word


def _register_rebuild(group: click.Group) -> None:
    @group.command(
        "rebuild",
        examples=(
            "dbx plugin rebuild view --yes",
            "dbx plugin rebuild view --with view-new",
        ),
    )
    @NAME
    @option("--from", "start", default="start", metavar="WHERE", show_default=True,
            help="start, a position, or a time (RFC 3339)")  # fmt: skip
    @option("--with", "other", metavar="OTHER", help="Rebuild in this plugin, then switch to it")
    @option("--no-switch", is_flag=True, requires=("other",), help="Leave both as they are then")
    @option("--detach", is_flag=True, conflicts=("other",), help="Do not wait until it is done")
    @YES
    @DOCUMENT
    @click.pass_context
    def rebuild(context: click.Context, /, **given: Any) -> None:
        """Deliver everything again, from the start or another place

        Alone, the plugin itself goes back and its readers see it being rebuilt. With --with, a
        second plugin with a target of its own is filled while the first goes on being served; once
        it has caught up it takes the first one's place and name.
        """
        name, other = given["name"], given["other"]
        target = other or name
        with asking(context, writes=True) as plugins:
            plugins.entry(name)
            entry = plugins.entry(target)
            if not entry["enabled"] or not entry["emit_events"] or entry.get("paused"):
                raise Failure(f"plugin '{target}' gets no events now; see `dbx plugin list`")
            question = f"This delivers everything from {given['start']} on to '{target}' again."
            if not given["yes"] and not _confirmed(question, "rebuild"):
                print_result({"plugin": target, "cancelled": True}, "rebuild cancelled")
                return
            plugins.do({"do": "seek", "name": target, "to": given["start"]})
            if given["detach"]:
                print_result(
                    {"plugin": target, "state": "rebuilding"},
                    f"Plugin '{target}' is being rebuilt; see `dbx plugin lag {target}`",
                )
                return
            _catch_up(plugins, target)
            if other is None or given["no_switch"]:
                done = {"plugin": target, "state": "caught_up"}
                print_result(done, f"Plugin '{target}' has caught up")
                return
            plugins.do({"do": "switch", "name": name, "with": other})
        print_result(
            {"plugin": name, "state": "caught_up", "replaced_by": other},
            f"Plugin '{other}' took the place of '{name}'",
        )


def _catch_up(plugins: Asking, name: str) -> None:
    """Wait until nothing is left for a plugin. Raises Failure when it cannot get there."""
    progress = Progress(f"rebuilding {name}")
    total = 0
    try:
        while True:
            (found,) = plugins.do({"do": "lag", "name": name})["plugins"]
            left = found["lag"] - found["dead"]
            total = max(total, left)
            progress.show(total - left, total)
            if left == 0 and not found["dead"]:
                return
            _refuse_hopeless(plugins, found, left)
            # Without a server this is also what lets it go on.
            waiting = {"do": "wait", "name": name, "position": "end"}
            plugins.do({**waiting, "timeout_ms": LOOK_MS})
            if not plugins.alone:
                time.sleep(LOOK_MS / 1_000)
    finally:
        progress.end()


def _refuse_hopeless(plugins: Asking, lag: Document, left: int) -> None:
    """Raise Failure when a plugin will not get on, or not before somebody does something."""
    name = lag["name"]
    if lag["dead"]:
        raise Failure(
            f"plugin '{name}' gave up on {lag['dead']} event(s)",
            hint=f"see `dbx queue --plugin {name}`",
            code="storage",
        )
    if lag["paused"]:
        raise Failure(f"plugin '{name}' is paused: {lag['paused']}")
    if plugins.alone and lag["last_error"]:
        behind = f"plugin '{name}' is {left} event(s) behind"
        raise Failure(behind, lag["last_error"], code="storage")
