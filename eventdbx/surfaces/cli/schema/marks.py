"""``dbx schema hide``, ``lock``, ``unlock`` and ``threshold``: marks of a whole type or field."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import print_result
from eventdbx.surfaces.cli.schema.calls import bare_errors, change, required
from eventdbx.surfaces.cli.values import U64


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_hide(group)
    for word in ("lock", "unlock"):
        _register_lock(group, word)
    _register_threshold(group)


def _register_hide(group: click.Group) -> None:
    @group.command(
        "hide",
        help="Hide or unhide a field from aggregate detail responses\n\n"
        "Hide a field from aggregate detail responses, and from everything else that is read. "
        "With --whole-type instead all aggregates of the type.",
        examples=(
            "dbx schema hide --aggregate person --field ssn",
            "dbx schema hide --aggregate person --field ssn --unhide",
            "dbx schema hide --aggregate audit --whole-type",
        ),
    )
    @option("--aggregate", required=True, metavar="AGGREGATE", help="Aggregate type")
    @option("--field", required=True, metavar="FIELD", help="Top-level field of the state")
    @option(
        "--whole-type",
        is_flag=True,
        expose_value=False,
        conflicts=("field",),
        replaces=("field",),
        help="The aggregate type with everything in it",
    )
    @option("--unhide", is_flag=True, help="Show it again")
    @option("--show", is_flag=True, hidden=True)
    @DOCUMENT
    @click.pass_context
    def hide(
        context: click.Context, aggregate: str, field: str | None, unhide: bool, show: bool
    ) -> None:
        """Hide or unhide a field"""
        aggregate = required(aggregate, "aggregate")
        hidden = not (unhide or show)
        word = "hidden" if hidden else "unhidden"
        with bare_errors():
            if field is None:
                change(context, "hide_aggregate", aggregate, hidden=hidden)
                done = {"aggregate": aggregate, "hidden": hidden}
                print_result(done, f"aggregate={aggregate} {word}")
                return
            field = required(field, "field")
            change(context, "hide_field", aggregate, field=field, hidden=hidden)
        done = {"aggregate": aggregate, "field": field, "hidden": hidden}
        print_result(done, f"aggregate={aggregate} field={field} {word}")


def _register_lock(group: click.Group, word: str) -> None:
    locked = word == "lock"
    effect = "Refuse new events of" if locked else "Accept new events of"

    @group.command(
        word,
        help=f"{effect} an aggregate type, or a field in them",
        examples=(f"dbx schema {word} order", f"dbx schema {word} order --field code"),
    )
    @argument("aggregate", spelled="--aggregate", help="Aggregate type")
    @option("--field", metavar="FIELD", help="Only this top-level field of payloads")
    @DOCUMENT
    @click.pass_context
    def lock(context: click.Context, aggregate: str, field: str | None) -> None:
        """Lock or unlock"""
        aggregate = required(aggregate, "aggregate")
        said = "true" if locked else "false"
        with bare_errors():
            if field is None:
                change(context, "lock_aggregate", aggregate, locked=locked)
                done = {"aggregate": aggregate, "locked": locked}
                print_result(done, f"aggregate={aggregate} locked={said}")
                return
            field = required(field, "field")
            change(context, "lock_field", aggregate, field=field, locked=locked)
        done = {"aggregate": aggregate, "field": field, "locked": locked}
        print_result(done, f"aggregate={aggregate} field={field} locked={said}")


def _register_threshold(group: click.Group) -> None:
    @group.command(
        "threshold",
        help="Set how many versions lie between automatic snapshots of an aggregate type",
        examples=("dbx schema threshold order 100", "dbx schema threshold order --clear"),
    )
    @argument("aggregate", spelled="--aggregate", help="Aggregate type")
    @argument("versions", spelled="--versions", required=False, type=U64, help="0 for never")
    @option("--clear", is_flag=True, conflicts=("versions",), help="Take no snapshots by itself")
    @DOCUMENT
    @click.pass_context
    def threshold(
        context: click.Context, aggregate: str, versions: int | None, clear: bool
    ) -> None:
        """Set the snapshot threshold"""
        aggregate = required(aggregate, "aggregate")
        if versions is None and not clear:
            raise Failure("either a number of versions or --clear must be given")
        with bare_errors():
            change(context, "set_threshold", aggregate, snapshot_threshold=versions)
        print_result(
            {"aggregate": aggregate, "snapshot_threshold": versions},
            f"schema={aggregate} snapshot_threshold="
            + ("None" if versions is None else f"Some({versions})"),
        )
