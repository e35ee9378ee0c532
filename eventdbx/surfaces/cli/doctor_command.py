"""``dbx doctor``: everything that can be looked at, and what to do about what is found."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import EventDBXError
from eventdbx.services.checkup import Finding, examine
from eventdbx.services.workspace import Opened, exposed_secrets
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.contexts import ContextFile
from eventdbx.surfaces.cli.failures import EXIT_FAILED, Failure, Stop
from eventdbx.surfaces.cli.live_status import impatiently, present_token
from eventdbx.surfaces.cli.options import AS_JSON
from eventdbx.surfaces.cli.output import (
    ROWS,
    coloured,
    format_wanted,
    print_array,
    print_json,
    print_line,
)
from eventdbx.surfaces.cli.session import Database, database
from eventdbx.surfaces.cli.shell import history as shell_history

if TYPE_CHECKING:
    from eventdbx.surfaces.control.calls import Calls

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}
_SLOW_S = 1.0


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "doctor",
        examples=("dbx doctor", "dbx doctor --json"),
        columns=("status", "check", "message", "advice"),
    )
    @AS_JSON
    @click.pass_context
    def doctor(context: click.Context, as_json: bool) -> None:
        """Check the installation, and say what to do about each finding

        Looks at the configuration, files and their permissions, keys, tokens, ports, disk, clock,
        log, the store, checkpoints, plugins and the queue, with a running server and without.
        Changes nothing.

        Exits with 1 when something has failed; warnings alone are no failure.
        """
        findings: list[Finding] = []
        for finding in _findings(context):
            findings.append(finding)
            if not as_json:
                _show(finding)
        failed = any(one.status == "fail" for one in findings)
        if format_wanted() in ROWS:
            print_array(one._asdict() for one in findings)
        elif as_json:
            print_json({"ok": not failed, "findings": [one._asdict() for one in findings]})
        if failed:
            raise Stop(EXIT_FAILED)


def _show(finding: Finding) -> None:
    status = f"{finding.status:<4}"
    colour = coloured()
    if colour:
        status = f"\x1b[{_COLOURS[finding.status]}m{status}\x1b[0m"
    message = finding.message.replace("\n", "\n      ")
    print_line(f"{status}  {finding.check}: {message}", coloured=colour)
    if finding.advice is not None:
        print_line(f"      → {finding.advice}")


def _findings(context: click.Context) -> Iterator[Finding]:
    try:
        place = places.opened(context, create=False)
    except EventDBXError as error:
        advice = "`dbx init`, or `dbx start`, makes one; `dbx config --check` shows what is wrong"
        yield Finding("config", "fail", str(error).partition("\n")[0], advice)
        return
    yield from examine(place)
    yield from _own_files()
    try:
        yield from _inside(context, place, runs=places.daemon_runs(place))
    except Failure as failure:
        yield Finding("server", "fail", str(failure), "see the log, then `dbx restart`")
    except EventDBXError as error:
        advice = "`dbx verify` says more; put a backup back if files are damaged"
        if error.code == "storage" and "LOCK" in str(error).upper():
            advice = "another process has the store open: end it, or wait for it"
        yield Finding("store", "fail", str(error), advice)


def _own_files() -> Iterator[Finding]:
    """Yield what there is to say of the person's own files: named servers, the shell's history."""
    file = ContextFile(os.environ)
    try:
        known = file.read()
    except Failure as failure:
        yield Finding("contexts", "fail", str(failure), failure.hint)
        return
    secret = [file.path, file.folder / shell_history.FILE_NAME]
    secret += [Path(one.token_file) for one in known.contexts.values() if one.token_file]
    sound = True
    for path in secret:
        if exposed_secrets(path):
            sound = False
            yield Finding("contexts", "fail", f"others may read {path}", f"chmod 600 {path}")
    for one in known.contexts.values():
        if one.token_file and not Path(one.token_file).is_file():
            sound = False
            message = f"the token of {one.name} is not in {one.token_file}"
            yield Finding("contexts", "warn", message, "put it there, or name another file")
    if sound:
        yield Finding("contexts", "ok", f"{len(known.contexts)} servers have a name")


def _inside(context: click.Context, place: Opened, *, runs: bool) -> Iterator[Finding]:
    """Yield what there is to say of the store, asked of whoever has it."""
    if not runs and not place.workspace.store_path(place.config.domain).exists():
        yield Finding("store", "ok", "there is none yet; the first write makes it")
        return
    token = present_token(place) if runs else None
    if runs and token is None:
        advice = "`dbx token bootstrap` makes one"
        yield Finding("server", "warn", "there is no token to ask the server with", advice)
        return
    begun = time.monotonic()
    asking: AbstractContextManager[tuple[Database, Calls]] = (
        database(context) if token is None else impatiently(context, place, token)
    )
    with asking as (way, calls):
        status: dict[str, Any] = way.call(calls.status())
        waited = time.monotonic() - begun
        if runs:
            yield _answered(status, waited)
        yield from _events(way.call(calls.scan_events(take=1, sort="created_at:desc")).items)
        yield from _plugins(way.call(calls.plugins({"do": "list"}))["plugins"])
        yield from _checkpoints(way.call(calls.integrity({"do": "checkpoint"})))
        if runs:
            yield from _scrub(way.call(calls.integrity({"do": "scrub", "action": "status"})))
        yield from _queue(way.call(calls.plugins({"do": "queue", "limit": 1})))


def _answered(status: dict[str, Any], waited: float) -> Finding:
    message = f"version {status.get('version')} answers in {waited * 1000:.0f} ms"
    if waited > _SLOW_S:
        return Finding("server", "warn", message, "see its log, and `/metrics` for what takes long")
    return Finding("server", "ok", message)


def _events(newest: list[dict[str, Any]]) -> Iterator[Finding]:
    from eventdbx.domain.timestamps import parse_ns

    yield Finding("store", "ok", "the store opens, its format is known")
    for event in newest:
        ahead_s = (parse_ns(event["metadata"]["created_at"]) - time.time_ns()) / 1e9
        if ahead_s > 5:
            message = f"the clock is {ahead_s:.0f} s behind the newest event"
            yield Finding("clock", "fail", message, "set it: tokens and times depend on it")


def _plugins(plugins: list[dict[str, Any]]) -> Iterator[Finding]:
    sound = True
    for plugin in plugins:
        name = plugin.get("name") or plugin["config"]["type"]
        if plugin.get("unavailable"):
            sound = False
            advice = f"mend its entry, or `dbx plugin remove {name}`"
            yield Finding("plugins", "fail", f"{name}: {plugin['unavailable']}", advice)
        elif plugin.get("paused") or plugin.get("paused_reason"):
            sound = False
            message = f"{name} is paused: {plugin.get('paused_reason') or 'by an operator'}"
            yield Finding("plugins", "warn", message, f"`dbx plugin resume {name}`")
    if sound:
        yield Finding("plugins", "ok", f"{len(plugins)} plugins are configured")


def _checkpoints(found: dict[str, Any]) -> Iterator[Finding]:
    if found["problem"] is not None:
        advice = 'see docs/integrity.md, "When no checkpoint is signed"'
        yield Finding("checkpoints", "fail", found["problem"], advice)
        return
    for name, reason in found["unwitnessed"].items():
        message = f"witness {name} did not cosign: {reason}"
        yield Finding("checkpoints", "warn", message, "is it there, and does it know this log?")
    if found["size"] is None:
        yield Finding("checkpoints", "ok", "none is signed yet; a server signs while it runs")
        return
    witnessed = found["witnessed_size"]
    message = f"the newest covers {found['size']} events"
    if witnessed is not None:
        message += f", witnesses have seen {witnessed} of them"
    yield Finding("checkpoints", "ok", message)


def _scrub(found: dict[str, Any]) -> Iterator[Finding]:
    last = found["last"]
    if found["trouble"]:
        yield Finding("scrub", "warn", f"records are not checked: {found['trouble']}",
                      "see the log of the server")  # fmt: skip
    elif last is not None and last["problems"]:
        message = f"{last['problems']} problems were found in records"
        yield Finding("scrub", "fail", message, "`dbx scrub status` names them")
    else:
        message = "none has ended yet" if last is None else "all records were whole"
        yield Finding("scrub", "ok", message)


def _queue(queue: dict[str, Any]) -> Iterator[Finding]:
    if queue["dead"]:
        message = f"{queue['dead']} deliveries are dead, and hold back their aggregates"
        advice = "`dbx queue` says why; `dbx queue retry` once the target answers"
        yield Finding("queue", "fail", message, advice)
    else:
        yield Finding("queue", "ok", f"{queue['pending']} deliveries wait, none is dead")
