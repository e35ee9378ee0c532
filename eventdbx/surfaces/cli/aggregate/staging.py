"""``dbx aggregate commit`` and ``dbx aggregate stage``: what is staged, shown, dropped, written.

The texts of ``commit`` and of ``aggregate list --stage`` are those that scripts know; ids and all
that is new are in ``aggregate stage``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from eventdbx.errors import EventDBXError
from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, all_of, argument, option
from eventdbx.surfaces.cli.output import (
    format_wanted,
    note_on_terminal,
    pretty,
    print_json,
    print_line,
    print_listing,
    say_empty,
)
from eventdbx.surfaces.cli.session import database, opened, server_address

Document = dict[str, Any]

_USER = option(
    "--user",
    metavar="GROUP:USER",
    help="What this user has staged; for tokens that may do everything",
)
_COMPATIBLE = (
    "aggregate", "aggregate_id", "event", "event_raw", "payload", "metadata", "issued_by", "note"
)  # fmt: skip
"""What scripts know of a staged event."""

_COLUMNS = ("id", "aggregate", "aggregate_id", "event", "kind", "staged_at", "note")
_STAGE_FIRST = "dbx aggregate apply order o-1 order_paid --stage"


def register(group: click.Group) -> None:
    """Add the commands to ``dbx aggregate``."""
    _register_commit(group)

    @group.group(
        "stage",
        examples=("dbx aggregate stage list", "dbx aggregate stage drop --all --yes"),
    )
    def stage() -> None:
        """See and drop events that are staged

        Each user has their own; `dbx aggregate commit` writes them, all or none.
        """

    _register_list(stage)
    _register_show(stage)
    _register_drop(stage)


def _register_commit(group: click.Group) -> None:
    @group.command(
        "commit",
        examples=("dbx aggregate commit", "dbx aggregate commit --dry-run"),
    )
    @option("--dry-run", is_flag=True, help="Only check whether everything could be written")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def commit(context: click.Context, dry_run: bool, token: str | None, as_json: bool) -> None:
        """Commit events previously staged with `aggregate apply --stage`"""
        done: Document = {"dry_run": dry_run, "committed": 0, "events": []}
        if not _nothing_there(context):
            asked = {"do": "commit", "dry_run": dry_run}
            try:
                with database(context, token=token, writes=True) as (way, calls):
                    done = way.call(calls.staging(asked))
            except EventDBXError as error:
                raise _refused(error) from None
        found = done["items"] if dry_run else done["events"]
        _tell_of_snapshots(found)
        if as_json:
            print_json(done)
        elif not found:
            print_line("no staged events to commit")
        elif dry_run:
            for entry in found:
                print_line(_line(entry))
            print_line(f"would commit {len(found)} event(s)")
        else:
            for event in found:
                print_line(pretty(documents.event_view(event), sort=True))
            print_line(f"committed {done['committed']} event(s)")


def _tell_of_snapshots(events: Sequence[Document]) -> None:
    from eventdbx.surfaces.cli.aggregate.writing import tell_of_snapshot

    for event in events:
        if "hash" in event:
            tell_of_snapshot(event)


def _refused(error: EventDBXError) -> Exception:
    """Return what a commit fails with: the next step, if it was about an entry."""
    if not error.detail.startswith("staged event "):
        return error
    return Failure(
        str(error),
        hint="nothing was written, everything is still staged; "
        "`dbx aggregate stage drop ID` drops one, `dbx aggregate stage list` shows all",
        code=error.code,
    )


def _register_list(group: click.Group) -> None:
    @group.command(
        "list",
        columns=_COLUMNS,
        examples=("dbx aggregate stage list", "dbx aggregate stage list order --json"),
    )
    @argument("aggregate", spelled="--aggregate", required=False, help="Only of this type")
    @_USER
    @option("--all-users", is_flag=True, conflicts=("user",), help="What all users have staged")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def list_staged(context: click.Context, /, **given: Any) -> None:
        """List staged events with their ids, oldest first"""
        asked = {"aggregate_type": given["aggregate"], "all_users": given["all_users"]}
        asked |= _of_user(given["user"])
        found = _listed(context, asked, given["token"])
        empty = "no staged events"
        if not print_listing(found, _line, empty=empty):
            say_empty(empty, _STAGE_FIRST)


def print_staged(context: click.Context, aggregate: str | None) -> None:
    """Print staged events as ``dbx aggregate list --stage`` always has."""
    if format_wanted() is not None:
        command = context.find_root().command
        for name in ("aggregate", "stage", "list"):
            assert isinstance(command, click.Group), "a command in the place of a group"
            found = command.get_command(context, name)
            assert found is not None, f"there is no command {name}"
            command = found
        context.invoke(
            command, aggregate=aggregate, user=None, all_users=False, token=None, as_json=True
        )
        return
    entries = _listed(context, {"aggregate_type": aggregate}, None)
    for entry in entries:
        print_line(pretty({name: entry[name] for name in _COMPATIBLE}))
    if not entries:
        print_line("no staged events")
    else:
        note_on_terminal("`dbx aggregate stage list` shows their ids")


def _register_show(group: click.Group) -> None:
    @group.command("show", examples=("dbx aggregate stage show 133859581091672069",))
    @argument("entry", metavar="ID", help="As `dbx aggregate stage list` shows it")
    @_USER
    @TOKEN
    @AS_JSON
    @click.pass_context
    def show(
        context: click.Context, entry: str, user: str | None, token: str | None, as_json: bool
    ) -> None:
        """Show everything about one staged event"""
        asked = {"do": "show", "id": entry, **_of_user(user)}
        with database(context, token=token, writes=_has_file(context)) as (way, calls):
            print_json(way.call(calls.staging(asked))["entry"])


def _register_drop(group: click.Group) -> None:
    @group.command(
        "drop",
        examples=(
            "dbx aggregate stage drop 133859581091672069",
            "dbx aggregate stage drop --all --yes",
        ),
    )
    @argument("entries", metavar="ID", nargs=-1, help="Ids as `dbx aggregate stage list` shows")
    @option("--all", "everything", is_flag=True, help="Drop all of them")
    @all_of(option("--yes", is_flag=True, help="Do not ask"), _USER, TOKEN, AS_JSON)
    @click.pass_context
    def drop(context: click.Context, /, **given: Any) -> None:
        """Drop staged events, which are not written then"""
        ids, everything = list(given["entries"]), given["everything"]
        if bool(ids) == everything:
            raise Failure("name the ids of staged events, or give --all")
        confirmed = given["yes"] or not everything or _confirmed()
        asked = {"do": "drop", "ids": ids, "all": everything, **_of_user(given["user"])}
        done: Document = {"dropped": 0}
        if confirmed and not (everything and _nothing_there(context)):
            with database(context, token=given["token"], writes=True) as (way, calls):
                done = way.call(calls.staging(asked))
        if given["as_json"]:
            print_json(done)
        elif confirmed:
            print_line(f"dropped {done['dropped']} staged event(s)")
        else:
            print_line("nothing was dropped: it was not confirmed (--yes confirms it)")


def _confirmed() -> bool:
    sys.stderr.write("This drops everything that is staged. Type 'drop' to confirm: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "drop"


def _listed(context: click.Context, asked: Document, token: str | None) -> list[Document]:
    with database(context, token=token, writes=_has_file(context)) as (way, calls):
        found: list[Document] = way.call(calls.staging({"do": "list", **asked}))["items"]
    return found


def _of_user(text: str | None) -> Document:
    """Return the member of an operation that names a user. Raises Failure."""
    if text is None:
        return {}
    group, colon, user = text.partition(":")
    if not (group and colon and user):
        raise Failure(f"'{text}' names no user: it must be GROUP:USER")
    return {"user": {"group": group, "user": user}}


def _has_file(context: click.Context) -> bool:
    """Say whether an older program has staged something that is to be taken over first."""
    place = opened(context)
    if server_address(context, place) is not None:
        return False
    from eventdbx.services.stagedfile import STAGED_NAME

    return (place.workspace.store_path(place.config.domain).parent / STAGED_NAME).is_file()


def _nothing_there(context: click.Context) -> bool:
    """Say whether there is no store at all, and so nothing staged: none is made for that."""
    place = opened(context)
    if server_address(context, place) is not None or _has_file(context):
        return False
    return not (place.workspace.store_path(place.config.domain) / "CURRENT").is_file()


def _line(entry: Document) -> str:
    return (
        f"id={entry['id']} aggregate_type={entry['aggregate']} "
        f"aggregate_id={entry['aggregate_id']} event_type={entry['event']} kind={entry['kind']} "
        f"staged_at={entry['staged_at']}"
    )
