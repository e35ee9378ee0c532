"""``dbx snapshots``: list, create, get."""

from __future__ import annotations

import re

import click

from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import (
    AGGREGATE,
    AS_JSON,
    DOCUMENT,
    INCLUDE_HIDDEN,
    MAYBE_AGGREGATE,
    TOKEN,
    argument,
    option,
)
from eventdbx.surfaces.cli.output import pretty, print_json, print_line, print_listing, say_empty
from eventdbx.surfaces.cli.session import database
from eventdbx.surfaces.cli.values import U64

_U64_MAX = (1 << 64) - 1


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "snapshots",
        help="Manage snapshots",
        examples=("dbx snapshots create order o-1 --comment audit", "dbx snapshots list order"),
    )
    def snapshots() -> None:
        """Manage snapshots"""

    _register(snapshots)


def _register(group: click.Group) -> None:
    @group.command(
        "list",
        examples=("dbx snapshots list order o-1 --version 2 --json",),
        columns=(
            "snapshot_id",
            "aggregate_type",
            "aggregate_id",
            "version",
            "created_at",
            "comment",
        ),
    )
    @MAYBE_AGGREGATE
    @option("--version", type=U64, metavar="VERSION", help="Only snapshots of this version")
    @INCLUDE_HIDDEN
    @TOKEN
    @DOCUMENT
    @click.pass_context
    def list_snapshots(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        version: int | None,
        token: str | None,
    ) -> None:
        """List snapshots with optional aggregate filters"""
        with database(context, token=token, doing="list snapshots") as (way, calls):
            found = way.call(calls.snapshots(aggregate, aggregate_id, version))
        if not print_listing(found, documents.snapshot_line, empty="no snapshots found"):
            names = " ".join(one for one in (aggregate, aggregate_id) if one is not None)
            looked_for = f"no snapshots of {names}" if names else "no snapshots"
            say_empty(looked_for, f"dbx snapshots create {names or 'TYPE ID'}")

    @group.command("create", examples=("dbx snapshots create order o-1 --comment 'year end'",))
    @AGGREGATE
    @option("--comment", metavar="COMMENT", help="Kept with the snapshot")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def create(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        comment: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Create a snapshot of an aggregate state"""
        with database(context, token=token, doing="create snapshot", writes=True) as (way, calls):
            print_json(way.call(calls.snapshot(aggregate, aggregate_id, comment)))

    @group.command("get", examples=("dbx snapshots get 133859581091672069 --json",))
    @argument("snapshot_id", help="Id of the snapshot")
    @INCLUDE_HIDDEN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def get(context: click.Context, snapshot_id: str, token: str | None, as_json: bool) -> None:
        """Fetch a snapshot by id"""
        number = _number(snapshot_id)
        with database(context, token=token, doing="fetch snapshot") as (way, calls):
            found = way.call(calls.snapshot_get(number))
        if found is None:
            raise Failure(f"snapshot {number} not found", code="aggregate_not_found")
        if as_json:
            print_json(found)
            return
        print_line(documents.snapshot_line(found))
        print_line(f"state={pretty(found['state'])}")
        print_line(f"merkle_root={found['merkle_root']}")


def _number(text: str) -> int:
    reason = None
    if not re.fullmatch(r"[0-9]+", text, re.ASCII):
        reason = "invalid digit found in string"
    elif len(text) > 20 or int(text) > _U64_MAX:
        reason = "number too large to fit in target type"
    if reason is not None:
        raise Failure(f"snapshot_id {text} is not a valid snowflake", reason, code="invalid_schema")
    return int(text)
