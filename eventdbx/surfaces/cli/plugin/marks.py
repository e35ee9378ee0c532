"""``dbx plugin``: enable, disable, pause, resume, remove, rename, switch."""

from __future__ import annotations

from collections.abc import Sequence

import click

from eventdbx.errors import StorageError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import note, print_result
from eventdbx.surfaces.cli.plugin.calls import NAME, Asking, asking, operate
from eventdbx.surfaces.cli.queue.export import export_jobs


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_enable(group)
    _register_pause(group)
    _register_remove(group)
    _register_rename(group)


def _register_enable(group: click.Group) -> None:
    @group.command("enable", examples=("dbx plugin enable hook",))
    @NAME
    @option("--no-check", is_flag=True, help="Enable it even if its target cannot be reached now")
    @DOCUMENT
    @click.pass_context
    def enable(context: click.Context, name: str, no_check: bool) -> None:
        """Enable a configured plugin

        Its target must be there: an http plugin answers HEAD with 2xx (or does not know HEAD),
        tcp and capnp accept a connection. Delivery goes on with what was committed before
        `plugin disable` and not delivered yet, then with what is committed from now on.
        """
        try:
            answer = operate(
                context, {"do": "enable", "name": name, "check": not no_check}, writes=True
            )
        except StorageError as error:
            raise Failure(
                f"failed to establish connection for '{name}'",
                str(error),
                hint="--no-check enables it all the same",
                code=error.code,
            ) from None
        print_result(
            {"plugin": name, "enabled": True, "changed": answer["changed"]},
            f"Plugin '{name}' {'enabled' if answer['changed'] else 'is already enabled'}",
        )

    @group.command("disable", examples=("dbx plugin disable hook",))
    @NAME
    @DOCUMENT
    @click.pass_context
    def disable(context: click.Context, name: str) -> None:
        """Disable a configured plugin

        It gets nothing of what is committed while it is disabled, also later. `plugin pause`
        keeps its place instead.
        """
        answer = operate(context, {"do": "disable", "name": name}, writes=True)
        print_result(
            {"plugin": name, "enabled": False, "changed": answer["changed"]},
            f"Plugin '{name}' {'disabled' if answer['changed'] else 'is already disabled'}",
        )


def _register_pause(group: click.Group) -> None:
    @group.command("pause", examples=("dbx plugin pause hook",))
    @NAME
    @DOCUMENT
    @click.pass_context
    def pause(context: click.Context, name: str) -> None:
        """Stop delivery to a plugin for a while; nothing is skipped"""
        with asking(context, writes=True) as plugins:
            pause_or_resume(plugins, "pause", [name])

    @group.command("resume", examples=("dbx plugin resume hook",))
    @NAME
    @DOCUMENT
    @click.pass_context
    def resume(context: click.Context, name: str) -> None:
        """Go on with delivery to a plugin where it was paused"""
        with asking(context, writes=True) as plugins:
            pause_or_resume(plugins, "resume", [name])


def pause_or_resume(plugins: Asking, do: str, names: Sequence[str]) -> None:
    """Pause or resume plugins, and say so."""
    for name in names:
        plugins.do({"do": do, "name": name})
    print_result(
        {"plugins": list(names), "paused": do == "pause"},
        *(f"Plugin '{name}' {'paused' if do == 'pause' else 'resumed'}" for name in names),
    )


def _register_remove(group: click.Group) -> None:
    @group.command(
        "remove",
        examples=(
            "dbx plugin remove hook --disable",
            "dbx plugin remove hook --disable --keep-jobs left.ndjson",
        ),
    )
    @NAME
    @option("--disable", is_flag=True, help="Disable it first if it is enabled")
    @option(
        "--keep-jobs",
        metavar="FILE",
        help="Write what was not delivered to this file (NDJSON) before it is forgotten",
    )
    @DOCUMENT
    @click.pass_context
    def remove(context: click.Context, name: str, disable: bool, keep_jobs: str | None) -> None:
        """Remove a configured plugin

        Its place in the log, its dead jobs and everything else about it are forgotten.
        """
        with asking(context, writes=True) as plugins:
            entry = plugins.entry(name)
            if keep_jobs is not None and (disable or not entry["enabled"]):
                kept = export_jobs(plugins, name, keep_jobs)
                note(f"wrote {kept} job(s) to {keep_jobs}")
            answer = plugins.do({"do": "remove", "name": name, "disable": disable})
        lines = [f"Plugin '{name}' disabled"] if answer["disabled"] else []
        done = {"plugin": name, "removed": True, "undelivered": answer["dropped"]}
        print_result(done, *lines, f"Plugin '{name}' removed")
        if answer["dropped"]:
            note(f"{answer['dropped']} undelivered event(s) of '{name}' will not be delivered")


def _register_rename(group: click.Group) -> None:
    @group.command("rename", examples=("dbx plugin rename hook orders-hook",))
    @NAME
    @argument("to", help="Its new name")
    @DOCUMENT
    @click.pass_context
    def rename(context: click.Context, name: str, to: str) -> None:
        """Give a plugin another name; it keeps its place in the log and its jobs

        Deliveries carry the name in their idempotency keys: what is sent again afterwards has
        another key.
        """
        to = new_name(to)
        operate(context, {"do": "rename", "name": name, "to": to}, writes=True)
        print_result({"plugin": to, "renamed_from": name}, f"Plugin '{name}' renamed to '{to}'")

    @group.command(
        "switch",
        examples=("dbx plugin switch search --with search-new",),
    )
    @NAME
    @option("--with", "other", required=True, metavar="OTHER", help="What takes its place")
    @DOCUMENT
    @click.pass_context
    def switch(context: click.Context, name: str, other: str) -> None:
        """Let another plugin take the place and the name of this one

        The last step of a rebuild beside the running one: OTHER, with its configuration and its
        place in the log, is called NAME from now on; what NAME was is removed.
        """
        operate(context, {"do": "switch", "name": name, "with": other}, writes=True)
        print_result(
            {"plugin": name, "replaced_by": other}, f"Plugin '{other}' took the place of '{name}'"
        )


def new_name(text: str) -> str:
    """Return a name, trimmed. Raises Failure if nothing is left of it."""
    name = text.strip()
    if not name:
        raise Failure("plugin name cannot be empty")
    return name
