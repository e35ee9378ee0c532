"""``dbx erase``: the content of events, gone for good."""

from __future__ import annotations

import sys
from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure, shown
from eventdbx.surfaces.cli.options import AGGREGATE, AS_JSON, TOKEN, argument, option
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.session import database

Document = dict[str, Any]

REASON = option("--reason", required=True, metavar="TEXT",
                help="Why; it stays readable in the history")  # fmt: skip
YES = option("--yes", is_flag=True, help="Do not ask")
DRY_RUN = option("--dry-run", is_flag=True, help="Only show how much would go")


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "erase",
        examples=(
            "dbx erase aggregate customer c-1 --reason 'asked for on 2026-01-05'",
            "dbx erase subject anna@example.org --reason 'asked for' --dry-run",
        ),
    )
    def erase() -> None:
        """Erase the content of events for good, the history stays

        That there were events, when, of which type and by whom, stays readable and provable; what
        was in them does not, and no copy of an encrypted store brings it back.
        """

    _register_aggregate(erase)
    _register_subject(erase)


def _register_aggregate(group: click.Group) -> None:
    @group.command(
        "aggregate",
        examples=(
            "dbx erase aggregate customer c-1 --reason 'asked for on 2026-01-05'",
            "dbx erase aggregate customer c-1 --reason test --dry-run --json",
        ),
    )
    @AGGREGATE
    @REASON
    @YES
    @DRY_RUN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def aggregate(context: click.Context, /, **given: Any) -> None:
        """Erase the content of all events that an aggregate has now

        Its snapshots and archive notes go, too. Later events go on from an empty state.
        """
        names = given["aggregate"], given["aggregate_id"]
        asked = {"aggregate_type": names[0], "aggregate_id": names[1]}
        _erase(context, asked, "::".join(names), names[1], given)


def _register_subject(group: click.Group) -> None:
    @group.command(
        "subject",
        examples=(
            "dbx erase subject anna@example.org --reason 'asked for on 2026-01-05'",
            "dbx erase subject anna@example.org --reason test --dry-run",
        ),
    )
    @argument("name", help="What the metadata key @subject of the events says")
    @REASON
    @YES
    @DRY_RUN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def subject(context: click.Context, /, **given: Any) -> None:
        """Erase the content of all events about somebody, in all aggregates

        States and snapshots of the aggregates are as if these events had not been.
        """
        name = given["name"]
        _erase(context, {"subject": name}, "all events about this subject", name, given)


def _erase(
    context: click.Context, asked: Document, what: str, word: str, given: dict[str, Any]
) -> None:
    dry_run = given["dry_run"]
    if not dry_run and not given["yes"] and not _confirmed(what, word):
        raise Failure("nothing was erased: it was not confirmed (--yes confirms it in scripts)")
    asked = {"do": "erase", **asked, "reason": given["reason"], "dry_run": dry_run}
    with database(context, token=given["token"], doing="erase", writes=True) as (way, calls):
        done: Document = way.call(calls.integrity(asked))
    if given["as_json"]:
        print_json(done)
        return
    verb = "would erase" if dry_run else "erased"
    counts = " ".join(f"{name}={done[name]}" for name in _SHOWN)
    if done["staged"]:
        counts += f" staged={done['staged']}"
    print_line(f"{verb} {counts}")
    if done["older_copies_readable"]:
        print_line("Copies of the store from before still show it: they were not encrypted with "
                   "keys of their own")  # fmt: skip


_SHOWN = ("aggregates", "events", "snapshots", "notes")


def _confirmed(what: str, word: str) -> bool:
    sys.stderr.write(shown(f"This erases {what} for good. Type '{word}' to confirm: "))
    sys.stderr.flush()
    return sys.stdin.readline().strip() == word
