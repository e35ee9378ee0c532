"""Commands that look at aggregates: list, get, select, verify, replay."""

from __future__ import annotations

import sys
from typing import Any

import click

from eventdbx.errors import AggregateNotFound
from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.documents import EVENT_COLUMNS
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.listing import page_size, print_pages
from eventdbx.surfaces.cli.options import (
    AGGREGATE,
    AS_JSON,
    ENVELOPE,
    INCLUDE_HIDDEN,
    MAYBE_AGGREGATE,
    PAGE,
    SCOPE,
    Time,
    argument,
    check_aggregate_cursor,
    checked_filter,
    checked_sort,
    checked_take,
    option,
    scope_of,
)
from eventdbx.surfaces.cli.output import (
    format_wanted,
    pretty,
    print_array,
    print_json,
    print_line,
    say_empty,
)
from eventdbx.surfaces.cli.session import Pages, database, opened
from eventdbx.surfaces.cli.values import U32, U64

_RESOLVE = (
    option("--resolve", is_flag=True, help="Show the aggregates that are referred to, too"),
    option("--resolve-depth", type=U32, metavar="RESOLVE_DEPTH", help="How far to follow"),
)


def register(group: click.Group) -> None:
    """Add the commands to ``dbx aggregate``."""
    _register_list(group)
    _register_get(group)
    _register_select(group)
    _register_replay(group)
    _register_verify(group)


def _register_list(group: click.Group) -> None:
    @group.command(
        "list",
        examples=(
            "dbx aggregate list",
            "dbx aggregate list order --filter 'total > 10' --sort updated_at:desc --take 50",
            "dbx aggregate list --cursor a:order:o-2 --json",
            "dbx aggregate list order --all -o csv",
        ),
        columns=(
            "aggregate_type",
            "aggregate_id",
            "version",
            "archived",
            "updated_at",
            "merkle_root",
            "state",
        ),
    )
    @argument("aggregate", spelled="--aggregate", required=False, help="Only of this type")
    @PAGE
    @SCOPE
    @INCLUDE_HIDDEN
    @option("--stage", is_flag=True, help="Show staged events instead")
    @_RESOLVE[0]
    @_RESOLVE[1]
    @ENVELOPE
    @AS_JSON
    @click.pass_context
    def list_aggregates(context: click.Context, /, **given: Any) -> None:
        """List aggregates in the store"""
        if given["stage"]:
            from eventdbx.surfaces.cli.aggregate.staging import print_staged

            print_staged(context, given["aggregate"])
            return
        take = checked_take(given["take"])
        if given["resolve"] and not given["as_json"]:
            raise Failure("--resolve requires --json output for aggregate listings")
        wanted = checked_filter(given["expression"])
        sort = checked_sort(given["sort"], events=False)
        check_aggregate_cursor(given["cursor"], sort)
        scope = scope_of(given["include_archived"], given["archived_only"])
        if scope == "active" and wanted is not None and wanted.mentions("archived"):
            scope = "all"
        place = opened(context)
        envelope = _wants_envelope(given["envelope"], place.workspace.local)
        by_time = len(sort) == 1 and sort[0].field in ("created_at", "updated_at")
        with database(context) as (way, calls):
            pages = Pages(
                way,
                lambda cursor, skip, size: calls.scan_aggregates(
                    aggregate_type=given["aggregate"],
                    cursor=cursor,
                    skip=skip,
                    take=size,
                    filter=given["expression"],
                    sort=given["sort"],
                    scope=scope,
                    resolve=given["resolve"],
                    resolve_depth=given["resolve_depth"],
                ),
                take=page_size(given, take, place.config.list_page_size),
                cursor=given["cursor"],
                skip=given["skip"] or 0,
                by_skipping=bool(sort) and not by_time,
            )
            _print_aggregates(pages, given, envelope, scope)


def _wants_envelope(asked: bool | None, workspace: bool) -> bool:
    """Say whether the next cursor is printed beside the items: by default in a workspace, where
    that is the form of lines and of JSON."""
    return workspace and format_wanted() in (None, "json") if asked is None else asked


def _print_aggregates(pages: Pages, given: dict[str, Any], envelope: bool, scope: str) -> None:
    lines = not given["as_json"] and not sys.stdout.isatty()
    found = print_pages(
        pages,
        lambda one: documents.aggregate_line(one, archive_flag=scope != "active"),
        envelope=envelope,
        empty="no aggregates" if envelope else None,
        tell_more=not (envelope and lines),
    )
    if envelope and lines and pages.next_cursor is not None:
        print_line(f"next_cursor={pages.next_cursor}")
    if not found:
        _say_none(given, scope)


def _say_none(given: dict[str, Any], scope: str) -> None:
    words = ["dbx aggregate list", *([] if given["aggregate"] is None else [given["aggregate"]])]
    looked_for = "no aggregates" if scope == "all" else f"no {scope} aggregates"
    looked_for += "" if given["aggregate"] is None else f" of type {given['aggregate']}"
    if given["expression"] is not None:
        say_empty(f"{looked_for} match the filter", " ".join(words))
    elif scope == "active":
        say_empty(looked_for, " ".join([*words, "--include-archived"]))
    else:
        say_empty(looked_for, "dbx schema list")


def _register_get(group: click.Group) -> None:
    @group.command(
        "get",
        examples=(
            "dbx aggregate get order o-1",
            "dbx aggregate get order o-1 --version 3 --include-events",
            "dbx aggregate get order o-1 --at 2026-01-05T09:00:00Z",
        ),
    )
    @AGGREGATE
    @option(
        "--version",
        type=U64,
        metavar="VERSION",
        conflicts=("at",),
        help="The aggregate as it was after so many events",
    )
    @option(
        "--at", type=Time(), metavar="TIME", help="The aggregate as it was at this RFC 3339 time"
    )
    @option("--include-events", is_flag=True, help="Add the events up to there")
    @option("--raw", is_flag=True, help="Payloads of the events as they were written")
    @INCLUDE_HIDDEN
    @_RESOLVE[0]
    @_RESOLVE[1]
    @AS_JSON
    @click.pass_context
    def get(context: click.Context, /, **given: Any) -> None:
        """Retrieve the state of an aggregate"""
        with database(context) as (way, calls):
            found = way.call(
                calls.aggregate_at(
                    given["aggregate"],
                    given["aggregate_id"],
                    version=given["version"],
                    time_ns=given["at"],
                    include_events=given["include_events"],
                    raw=given["raw"],
                    resolve=given["resolve"],
                    resolve_depth=given["resolve_depth"],
                )
            )
        if found["aggregate"] is None:
            raise AggregateNotFound()
        events = found.get("events", []) if given["include_events"] else None
        view = documents.aggregate_view(found["aggregate"], events)
        if given["resolve"]:
            view["resolved"] = found["resolved"]
        print_json(view, sort=True)


def _register_select(group: click.Group) -> None:
    @group.command("select", examples=("dbx aggregate select order o-1 who.name who.tags.0",))
    @AGGREGATE
    @argument(
        "fields",
        nargs=-1,
        metavar="FIELD",
        required=False,
        help="Paths into the state: keys and list places, joined by dots",
    )
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def select(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        fields: tuple[str, ...],
        as_json: bool,
    ) -> None:
        """Select specific fields from an aggregate state"""
        with database(context) as (way, calls):
            while True:
                found = way.call(calls.get(aggregate, aggregate_id))
                chosen = way.call(calls.select(aggregate, aggregate_id, fields))
                if found is None or chosen is None:
                    raise AggregateNotFound()
                again = way.call(calls.get(aggregate, aggregate_id))
                if again is not None and again["version"] == found["version"]:
                    break
        print_json(
            {
                "aggregate_id": aggregate_id,
                "aggregate_type": aggregate,
                "selection": {field: chosen.get(field.strip()) for field in fields},
                "version": found["version"],
            },
            sort=True,
        )


def _register_replay(group: click.Group) -> None:
    @group.command(
        "replay",
        examples=("dbx aggregate replay order o-1 --skip 10 --take 5",),
        columns=EVENT_COLUMNS,
    )
    @AGGREGATE
    @option("--skip", type=U64, metavar="SKIP", help="Leave out so many events [default: 0]")
    @option("--take", type=U64, metavar="TAKE", help="Show so many events at most")
    @option("--raw", is_flag=True, help="Payloads as they were written")
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def replay(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        skip: int | None,
        take: int | None,
        raw: bool,
        as_json: bool,
    ) -> None:
        """Replay events for an aggregate instance"""
        with database(context) as (way, calls):
            if way.call(calls.get(aggregate, aggregate_id)) is None:
                raise AggregateNotFound()
            pages = Pages(
                way,
                lambda cursor, left_out, size: calls.scan_events(
                    aggregate_type=aggregate,
                    aggregate_id=aggregate_id,
                    cursor=cursor,
                    skip=left_out,
                    take=size,
                    scope="all",
                    raw=raw,
                ),
                take=take,
                skip=skip or 0,
            )
            events = (documents.event_view(one) for one in pages)
            if as_json:
                print_array(events, sort=True)
            else:
                for event in events:
                    print_line(pretty(event, sort=True))


def _register_verify(group: click.Group) -> None:
    @group.command(
        "verify",
        examples=("dbx aggregate verify order o-1", "dbx aggregate verify --all --json"),
    )
    @MAYBE_AGGREGATE
    @option("--all", "everything", is_flag=True, help="Check every aggregate of the store")
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def verify_aggregate(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        everything: bool,
        as_json: bool,
    ) -> None:
        """Verify an aggregate's Merkle root"""
        from eventdbx.surfaces.cli.verify_command import verify

        verify(context, aggregate, aggregate_id, everything=everything, as_json=as_json)
