"""``dbx upgrade``: which versions there are, and the command that installs one of them.

Nothing is downloaded or run here by itself: the command of whatever installed this program is
printed, and run only when somebody says so.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from eventdbx.surfaces.cli.arguments import Argument
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, all_of, argument, option
from eventdbx.surfaces.cli.output import note, print_array, print_json, print_line
from eventdbx.surfaces.cli.upgrade import index as upgrade_index
from eventdbx.surfaces.cli.upgrade.tags import UpgradeState, checked_tag
from eventdbx.surfaces.cli.upgrade.ways import Way, installation, target, way_to
from eventdbx.surfaces.cli.values import U32

NEWEST = "latest"
LISTED = 20

_TO = "to"
"""The hidden subcommand that a version stands for."""

_HOW = all_of(
    option("--print-only", is_flag=True, help="Only print the command"),
    option("--yes", is_flag=True, conflicts=("print_only",), help="Run the command, do not ask"),
    option("--no-switch", is_flag=True, help="Refused: one version is installed at a time"),
    AS_JSON,
)


class _Version(Argument):
    """The version after ``upgrade``, which is not there when a subcommand is."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return nothing: subcommands have no version in front of them."""
        return []


class UpgradeGroup(DbxGroup):
    """The group: a word that is no subcommand is the version to go to."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the first word names, or what goes to that version."""
        if args[0] != "help" and self.get_command(ctx, args[0]) is None:
            return args[0], self.get_command(ctx, _TO), args
        return super().resolve_command(ctx, args)


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "upgrade",
        cls=UpgradeGroup,
        invoke_without_command=True,
        epilog="`upgrade@VERSION` is short for `upgrade VERSION`. Nothing is downloaded or "
        "run by itself.",
        examples=(
            "dbx upgrade --print-only",
            "dbx upgrade 3.20.0 --print-only",
            "dbx upgrade --suppress 3.20.0",
        ),
    )
    @click.argument(
        "version", cls=_Version, required=False, help="Version to go to [default: latest]"
    )
    @_HOW
    @option("--suppress", metavar="VERSION", help="Do not remind of this version")
    @option(
        "--clear-suppress", is_flag=True, conflicts=("suppress",), help="Remind of versions again"
    )
    @click.pass_context
    def upgrade(context: click.Context, /, **given: Any) -> None:
        """Upgrade or switch the EventDBX CLI binary

        Prints the command of the package manager that installed this program, and runs it once
        that is confirmed.
        """
        if given["suppress"] is not None:
            _suppress(given["suppress"], as_json=given["as_json"])
        elif given["clear_suppress"]:
            _remind_again(as_json=given["as_json"])
        elif not context.args:
            _go(NEWEST, given)
        else:
            context.meta[_TO] = given

    _register_others(upgrade)


def _register_others(group: click.Group) -> None:
    @group.command(_TO, hidden=True, examples=("dbx upgrade 3.20.0 --print-only",))
    @argument("version", help="Version to go to")
    @_HOW
    @click.pass_context
    def to(context: click.Context, /, version: str, **given: Any) -> None:
        """Upgrade or switch the EventDBX CLI binary"""
        before: dict[str, Any] = context.meta.get(_TO, {})
        _go(version, {key: given[key] or before.get(key) for key in given})

    @group.command("use", examples=("dbx upgrade use 3.20.0 --print-only",))
    @argument("version", help="Version to install in place of this one")
    @_HOW
    @click.pass_context
    def use(context: click.Context, /, version: str, **given: Any) -> None:
        """Activate an installed EventDBX release

        One version is installed at a time: activating another one is installing it.
        """
        before: dict[str, Any] = context.meta.get(_TO, {})
        _go(version, {key: given[key] or before.get(key) for key in given})

    @group.command(
        "list",
        examples=("dbx upgrade list --limit 5", "dbx upgrade list --json"),
        columns=("tag", "published_at", "prerelease", "active"),
    )
    @option("-n", "--limit", type=U32, default=LISTED, show_default=True, metavar="LIMIT",
            help="Show so many at most")  # fmt: skip
    @AS_JSON
    def list_(limit: int, as_json: bool) -> None:
        """List available EventDBX releases

        Asks the package index that pip is configured to use, once and only for our package.
        """
        _list(limit, as_json=as_json)

    @group.command("installed", examples=("dbx upgrade installed",))
    @AS_JSON
    def installed(as_json: bool) -> None:
        """Show locally installed EventDBX releases"""
        tag = f"v{running()}"
        if as_json:
            print_json({"versions": [tag], "active": tag, "target": target()})
        else:
            print_line(f"{tag}  [active]")


def running() -> str:
    """Return the version that runs."""
    from eventdbx import __version__

    return __version__


def state() -> UpgradeState:
    """Return what is remembered, beside the default configuration."""
    import os

    from eventdbx.services.workspace import HOME_NAME, home

    return UpgradeState(home(os.environ) / HOME_NAME)


def _list(limit: int, *, as_json: bool) -> None:
    import os

    index = upgrade_index.configured_index(os.environ)
    listed = upgrade_index.releases(index)[:limit]
    documents = [one.document(running(), index) for one in listed]
    if as_json:
        print_array(documents)
        return
    if not documents:
        note(f"no release is on {index.shown}")
    for one in documents:
        day = (one["published_at"] or "-").partition("T")[0]
        marks = [word for word in ("prerelease", "active") if one[word]]
        print_line("  ".join([one["tag"], day, *(f"[{word}]" for word in marks)]))


def _suppress(version: str, *, as_json: bool) -> None:
    if version.strip() == NEWEST:
        import os

        found = upgrade_index.newest(
            upgrade_index.releases(upgrade_index.configured_index(os.environ))
        )
        if found is None:
            raise Failure("the package index has no release")
        tag = f"v{found.version}"
    else:
        tag = checked_tag(version)
    state().change(ignored_version=tag)
    if as_json:
        print_json({"ignored_version": tag})
    else:
        print_line(f"Suppressing upgrade reminders for {tag}")


def _remind_again(*, as_json: bool) -> None:
    state().change(ignored_version=None)
    if as_json:
        print_json({"ignored_version": None})
    else:
        print_line("Upgrade reminders have been re-enabled.")


def _go(version: str, how: dict[str, Any]) -> None:
    """Print the command that installs a version, and run it if that is asked for."""
    if how["no_switch"]:
        raise Failure(
            "--no-switch is not possible: one version is installed at a time, so installing "
            "another one is switching to it",
            hint="install it in an environment of its own to have both",
        )
    tag = None if version == NEWEST else checked_tag(version)
    way = way_to(None if tag is None else tag[1:], installation())
    command = shlex.join(way.command)
    if how["yes"] and way.reason is not None:
        raise Failure(f"the command is not run: {way.reason}", hint=command)
    if how["as_json"]:
        ran = how["yes"] and _ran(way)
        print_json(_document(way, tag, ran=ran))
        return
    print_line(command)
    if way.reason is not None:
        note(f"note: {way.reason}")
    elif how["yes"] or not how["print_only"] and _confirmed():
        _ran(way)


def _document(way: Way, tag: str | None, *, ran: bool) -> dict[str, Any]:
    return {
        "tag": tag,
        "installed_with": way.installed_with,
        "command": list(way.command),
        "ran": ran,
        "reason": way.reason,
    }


def _confirmed() -> bool:
    """Ask at a terminal; without one nothing is run."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    sys.stdout.write('Type "upgrade" to run this command: ')
    sys.stdout.flush()
    if sys.stdin.readline().strip() == "upgrade":
        return True
    print_line("Upgrade cancelled.")
    return False


def _ran(way: Way) -> bool:
    """Run the command with this terminal. Raises Failure unless it ends with success."""
    import subprocess

    sys.stdout.flush()
    try:
        # Its output is for the person: results of ours are alone on stdout.
        ended = subprocess.run(way.command, stdout=sys.stderr.fileno(), check=False)
    except OSError as error:
        raise Failure(f"cannot run {way.command[0]}: {error.strerror}", code="io") from None
    if ended.returncode:
        raise Failure(f"{way.installed_with} ended with status {ended.returncode}")
    return True
