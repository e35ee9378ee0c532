"""The root of the command tree, with the options that every command takes."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.arguments import Option
from eventdbx.surfaces.cli.commands import DbxGroup, alike
from eventdbx.surfaces.cli.failures import USAGE, Failure
from eventdbx.surfaces.cli.rendering import FORMATS

OPTIONS = (
    Option(
        ["--config", "config"],
        metavar="CONFIG",
        help="Configuration file to use, created where missing "
        "(default: the nearest .dbx/config.toml upward, else ~/.eventdbx/config.toml)",
    ),
    Option(["--data-dir", "data_dir"], metavar="PATH", help="Use this data directory"),
    Option(
        ["--domain", "domain"],
        metavar="NAME",
        help="Work in this domain, for this call alone (dbx checkout changes it for all)",
    ),
    Option(
        ["--server", "--socket", "socket"],
        metavar="ADDR",
        help="Talk to the server at HOST:PORT, or tls://HOST:PORT, instead of the local store",
    ),
    Option(
        ["--context", "context"],
        metavar="NAME",
        help="Talk to the server of this name (dbx context); local is the store of this machine",
    ),
    Option(["--token-file", "token_file"], metavar="FILE", help="Show the server this token"),
    Option(
        ["--token-stdin", "token_stdin"],
        is_flag=True,
        callback=lambda _ctx, _option, given: _token_of_stdin() if given else None,
        help="Show the server the token in the first line of stdin",
    ),
    Option(["--tls-ca", "tls_ca"], metavar="FILE", help="Trust these certificates at tls://"),
    Option(
        ["--send-token", "send_token"],
        is_flag=True,
        help="Send the token itself, for a server that did not issue it "
        "(readable on the way without TLS)",
    ),
    Option(["--no-noise", "no_noise"], is_flag=True, help="Do not encrypt the connection"),
    Option(["-v", "--verbose", "verbose"], count=True, help="Say more on stderr"),
    Option(
        ["-o", "--output", "output"],
        type=click.Choice(FORMATS),
        metavar="FORMAT",
        help="Print results in this format; with json and ndjson, errors as JSON, too",
    ),
    Option(["--json", "json"], is_flag=True, help="The same as -o json, with errors as texts"),
    Option(
        ["--columns", "columns"],
        metavar="COLUMN[,...]",
        help="Columns of tables and CSV; members of members as a.b",
    ),
    Option(
        ["-q", "--quiet", "quiet"],
        is_flag=True,
        help="Leave out notes and progress on stderr; errors stay",
    ),
    Option(
        ["--color", "color"],
        type=click.Choice(("auto", "always", "never")),
        metavar="WHEN",
        help="Use colours (default: on a terminal, unless NO_COLOR is set)",
    ),
    Option(
        ["--no-pager", "no_pager"],
        is_flag=True,
        help="Do not show what is longer than the screen in a pager",
    ),
)
"""Taken anywhere on the line; where a command has an option of the same name, that one wins."""

VERSION = Option(
    ["-V", "--version", "version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _option, wanted: _show_version(ctx) if wanted else None,
    help="Print version",
)


def _token_of_stdin() -> str:
    """Read it before the command does: the rest of stdin is for that."""
    from eventdbx.surfaces.cli.dialling import token_of_stdin

    return token_of_stdin()


def _show_version(ctx: click.Context) -> None:
    from eventdbx import __version__

    click.echo(f"eventdbx version {__version__}")
    ctx.exit(0)


class Root(DbxGroup):
    """The root, which knows ``upgrade@VERSION`` as ``upgrade VERSION``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names, and the words for it."""
        name, at, version = args[0].partition("@")
        if name == "upgrade" and at:
            if any(not word.startswith("-") for word in args[1:]):
                raise Failure(f"unexpected arguments after '{args[0]}'")
            args = [name, version, *args[1:]]
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, name: str) -> Exception:
        """An unknown command is a failure, not wrong usage: plugins may be missing."""
        close = alike(name, self.list_commands(ctx), 1, 0.75)
        hint = f"did you mean '{close[0]}'?" if close else None
        return Failure(f"unknown command '{name}'", hint=hint, code=USAGE)


def root_command(modules: dict[str, tuple[str, str]], epilog: str) -> Root:
    """Return a fresh command tree."""

    def begin(**_options: object) -> None:
        """Do nothing: the options stay in the context, and commands ask for them there."""

    return Root(
        name="dbx",
        help="EventDBX server CLI",
        modules=modules,
        params=[*OPTIONS, VERSION],
        callback=begin,
        epilog=epilog,
        aliases={"auth": "token"},  # dbx auth rotate
        examples=(
            'dbx aggregate create patient p-001 --event patient_created --field name="Jane Doe"',
            "dbx aggregate list --json",
            "dbx events patient p-001",
            "dbx verify",
        ),
    )
