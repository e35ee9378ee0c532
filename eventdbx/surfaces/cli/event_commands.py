"""``dbx events``: events in a list, or one of them closely."""

from __future__ import annotations

import re
from typing import Any

import click

from eventdbx.domain.cursors import parse_event_cursor
from eventdbx.errors import InvalidCursor
from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.event_following import follow_events
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.listing import page_size, print_pages
from eventdbx.surfaces.cli.options import (
    AS_JSON,
    ENVELOPE,
    INCLUDE_HIDDEN,
    PAGE,
    SCOPE,
    argument,
    checked_filter,
    checked_sort,
    checked_take,
    option,
    scope_of,
)
from eventdbx.surfaces.cli.output import print_json, print_line, say_empty
from eventdbx.surfaces.cli.session import Pages, database, opened

_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_LISTING = ("skip", "cursor", "take", "expression", "sort", "envelope")
_U64_MAX = (1 << 64) - 1


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "events",
        examples=(
            "dbx events",
            "dbx events order o-1 --take 100",
            "dbx events --filter 'payload.amount > 5' --sort created_at:desc --json",
            "dbx events --event 133859581091672069",
            "dbx events 133859581091672069 --raw",
            "dbx events order --follow --from start --json",
            "dbx events order --all -o ndjson",
        ),
        columns=documents.EVENT_COLUMNS,
    )
    @argument(
        "target",
        spelled="--aggregate",
        required=False,
        help="Aggregate type, or the id of one event",
    )
    @argument("aggregate_id", spelled="--aggregate-id", required=False, help="Aggregate identifier")
    @option("-e", "--event", metavar="EVENT_ID", help="Show one event, by its id")
    @PAGE
    @SCOPE
    @option("--raw", is_flag=True, help="Payloads as they were written, with their schemas")
    @option(
        "-f",
        "--follow",
        is_flag=True,
        conflicts=("event", "sort", "cursor", "skip", "archived_only", "everything", "envelope"),
        help="Print events as they are committed, of archived aggregates, too",
    )
    @option("--from", "start", metavar="WHERE", requires=("follow",),
            help="Begin at start, end (the default), or after this position")  # fmt: skip
    @INCLUDE_HIDDEN
    @ENVELOPE
    @AS_JSON
    @click.pass_context
    def events(context: click.Context, /, **given: Any) -> None:
        """List events in the store or inspect a specific event"""
        if given["follow"]:
            follow_events(context, given)
            return
        target, aggregate_id = given["target"], given["aggregate_id"]
        listing = [given[one] for one in _LISTING]
        narrowed = (
            any(one is not None for one in listing)
            or given["include_archived"]
            or given["archived_only"]
            or given["everything"]
        )
        if given["event"] is not None:
            if target is not None or aggregate_id is not None:
                raise Failure("aggregate filters cannot be combined with --event")
            if narrowed:
                raise Failure("listing options cannot be combined with --event")
            _show_event(context, given["event"], given["raw"], given["as_json"])
        elif target is not None and aggregate_id is None and _is_id(target):
            if narrowed:
                raise Failure("event inspection cannot be combined with listing filters")
            _show_event(context, target, given["raw"], given["as_json"])
        else:
            _list_events(context, given)


def _is_id(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) <= _U64_MAX


def _show_event(context: click.Context, text: str, raw: bool, as_json: bool) -> None:
    if not _is_id(text):
        reason = "number too large to fit in target type"
        if not text:
            reason = "cannot parse integer from empty string"
        elif not text.isascii() or not text.isdigit():
            reason = "invalid digit found in string"
        raise Failure(f"invalid snowflake id '{text}'", reason, code="invalid_schema")
    with database(context) as (way, calls):
        found = way.call(calls.scan_events(event_id=int(text), take=1, raw=raw)).items
    if not found:
        raise Failure(f"event {text} not found", code="aggregate_not_found")
    if as_json:
        print_json(documents.event_view(found[0]), sort=True)
    else:
        print_line(documents.event_block(found[0]))


def _list_events(context: click.Context, given: dict[str, Any]) -> None:
    take = checked_take(given["take"])
    checked_filter(given["expression"])
    sort = checked_sort(given["sort"], events=True)
    _check_cursor(given["cursor"], sorted_too=bool(sort))
    place = opened(context)
    with database(context) as (way, calls):
        pages = Pages(
            way,
            lambda cursor, skip, size: calls.scan_events(
                aggregate_type=given["target"],
                aggregate_id=given["aggregate_id"],
                cursor=cursor,
                skip=skip,
                take=size,
                filter=given["expression"],
                sort=given["sort"],
                scope=scope_of(given["include_archived"], given["archived_only"]),
                raw=given["raw"],
            ),
            take=page_size(given, take, place.config.list_page_size),
            cursor=given["cursor"],
            skip=given["skip"] or 0,
            by_skipping=bool(sort),
        )
        found = print_pages(
            pages,
            documents.event_line,
            view=documents.event_view,
            envelope=bool(given["envelope"]),
            sort=True,
            empty="no events",
        )
    if not found:
        _say_none(given)


def _say_none(given: dict[str, Any]) -> None:
    names = [one for one in (given["target"], given["aggregate_id"]) if one is not None]
    words = ["dbx events", *names]
    looked_for = " ".join(["no events of", *names] if names else ["no events"])
    if given["expression"] is not None:
        say_empty(f"{looked_for} match the filter", " ".join(words))
    elif not given["include_archived"] and not given["archived_only"]:
        say_empty(looked_for, " ".join([*words, "--include-archived"]))
    else:
        say_empty(looked_for, "dbx aggregate list --include-archived")


def _check_cursor(text: str | None, *, sorted_too: bool) -> None:
    if text is None:
        return
    if sorted_too:
        raise Failure("--cursor cannot be combined with --sort", code=InvalidCursor.code)
    try:
        parse_event_cursor(text)
    except InvalidCursor as error:
        raise Failure(
            f"invalid cursor '{text}'; expected format a:aggregate_type:aggregate_id:version",
            str(error),
            code=error.code,
        ) from None
