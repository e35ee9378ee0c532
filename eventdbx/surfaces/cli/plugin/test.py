"""``dbx plugin test``: a sample event to plugins, at once and past the queue."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument
from eventdbx.surfaces.cli.output import documents_wanted, print_line, print_listing, say_empty
from eventdbx.surfaces.cli.plugin.calls import Document, operate


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "test",
        examples=("dbx plugin test", "dbx plugin test hook"),
        columns=("name", "label", "ok", "reason"),
    )
    @argument("names", nargs=-1, required=False, metavar="NAME", help="Only these plugins")
    @DOCUMENT
    @click.pass_context
    def test(context: click.Context, names: tuple[str, ...]) -> None:
        """Send a sample event to all enabled plugins

        Each one's target is tried first. The event is marked as a test where the kind can say so
        (http: the header eventdbx-test).
        """
        results = operate(context, {"do": "test", "names": list(names)})["results"]
        shown = [{**one, "ok": one["reason"] is None} for one in results]
        if not print_listing(shown, _line, empty="(no plugins enabled)"):
            say_empty("no plugin is enabled", "dbx plugin list")
            return
        failed = sum(not one["ok"] for one in shown)
        if not documents_wanted():
            done = len(shown) - failed
            print_line(f"Tested {len(shown)} plugin(s): {done} succeeded, {failed} failed")
        if failed:
            raise Failure(f"plugin test failed for {failed} plugin(s)", code="storage")


def _line(tested: Document) -> str:
    said = "ok" if tested["ok"] else f"FAILED ({tested['reason']})"
    return f"{tested['label']} - {said}"
