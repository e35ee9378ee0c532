"""``dbx scrub``: the verification of everything in the background."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.session import database

Document = dict[str, Any]


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group("scrub", examples=("dbx scrub status", "dbx scrub start"))
    def scrub() -> None:
        """Check all records in the background, and show what was found

        A running server reads its whole store again and again, every integrity.scrub_interval_hours
        and no faster than integrity.scrub_kib_per_s, and checks what `dbx verify` checks.
        """

    @scrub.command("status", examples=("dbx scrub status", "dbx scrub status --json"))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def status(context: click.Context, token: str | None, as_json: bool) -> None:
        """Show how far it is, and what it has found; exits with 1 if that is anything"""
        found = _ask(context, token, "status")
        _print(found, as_json=as_json)
        if found["problems"]:
            raise Failure(f"{found['problems']} damaged record(s) found", code="storage")

    @scrub.command("start", examples=("dbx scrub start",))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def start(context: click.Context, token: str | None, as_json: bool) -> None:
        """Begin a pass now, or go on with the one that was stopped"""
        _print(_ask(context, token, "start"), as_json=as_json)

    @scrub.command("stop", examples=("dbx scrub stop",))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def stop(context: click.Context, token: str | None, as_json: bool) -> None:
        """Stop, and begin nothing until it is started again"""
        _print(_ask(context, token, "stop"), as_json=as_json)


def _ask(context: click.Context, token: str | None, action: str) -> Document:
    asked = {"do": "scrub", "action": action}
    with database(context, token=token, doing=f"{action} the scrub") as (way, calls):
        found: Document = way.call(calls.integrity(asked))
    return found


def _print(found: Document, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    line = f"scrub: {found['status']}"
    if found["stage"]:
        line += f", stage {found['stage'][0]} of {found['stage'][1]}"
    print_line(line)
    for name in ("running", "last"):
        one = found[name]
        if one is None:
            continue
        until = f" until {one['ended_at']}" if one["ended_at"] else ""
        print_line(
            f"{name}: since {one['started_at']}{until}, {one['aggregates']} aggregate(s), "
            f"{one['events']} event(s), {one['bytes']} bytes, {one['problems']} problem(s)"
        )
        for finding in one["findings"]:
            print_line(f"  {finding['message']}")
    if found["trouble"]:
        print_line(f"trouble: {found['trouble']}")
