"""``dbx head-map``: how far the map is that proofs of whole timelines are made from."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, option
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.session import database


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command("head-map", examples=("dbx head-map", "dbx head-map --again"))
    @option("--again", is_flag=True, help="Drop the map, so that it is made anew from the log")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def head_map(context: click.Context, again: bool, token: str | None, as_json: bool) -> None:
        """Show how far along the log the map of all aggregates is

        Checkpoints name its root, and proofs that a timeline is whole lead to it. A server advances
        it every integrity.heads_interval_secs, a proof when it is made. A map that `dbx verify`
        finds damaged is made again from the log with --again.
        """
        doing = "drop the head map" if again else "read the head map"
        with database(context, token=token, doing=doing, writes=again) as (way, calls):
            found: dict[str, Any] = way.call(calls.integrity({"do": "head_map", "again": again}))
        if as_json:
            print_json(found)
            return
        print_line(
            f"head map: position {found['position']}, {found['behind']} event(s) behind, "
            f"{found['aggregates']} aggregate(s), root {found['root']}"
        )
