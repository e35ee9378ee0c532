"""``dbx plugin test``: a sample event to plugins, at once and past the queue."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import argument
from eventdbx.surfaces.cli.output import print_line
from eventdbx.surfaces.cli.plugin_calls import operate


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command("test", examples=("dbx plugin test", "dbx plugin test hook"))
    @argument("names", nargs=-1, required=False, metavar="NAME", help="Only these plugins")
    @click.pass_context
    def test(context: click.Context, names: tuple[str, ...]) -> None:
        """Send a sample event to all enabled plugins

        Each one's target is tried first. The event is marked as a test where the kind can say so
        (http: the header eventdbx-test).
        """
        results = operate(context, {"do": "test", "names": list(names)})["results"]
        if not results:
            print_line("(no plugins enabled)")
            return
        failed = sum(one["reason"] is not None for one in results)
        for one in results:
            said = "ok" if one["reason"] is None else f"FAILED ({one['reason']})"
            print_line(f"{one['label']} - {said}")
        print_line(
            f"Tested {len(results)} plugin(s): {len(results) - failed} succeeded, {failed} failed"
        )
        if failed:
            raise Failure(f"plugin test failed for {failed} plugin(s)", code="storage")
