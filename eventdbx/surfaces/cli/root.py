"""The root of the command tree, with the options that every command takes."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.arguments import Option
from eventdbx.surfaces.cli.commands import LazyGroup

OPTIONS = (
    Option(
        ["--config", "config"],
        metavar="CONFIG",
        help="Configuration file to use, created where missing "
        "(default: the nearest .dbx/config.toml upward, else ~/.eventdbx/config.toml)",
    ),
    Option(["--data-dir", "data_dir"], metavar="PATH", help="Use this data directory"),
    Option(
        ["--socket", "socket"],
        metavar="ADDR",
        help="Talk to the server at HOST:PORT, or tls://HOST:PORT, instead of the local store",
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


def _show_version(ctx: click.Context) -> None:
    from eventdbx import __version__

    click.echo(f"eventdbx version {__version__}")
    ctx.exit(0)


def root_command(modules: dict[str, tuple[str, str]], epilog: str) -> LazyGroup:
    """Return a fresh command tree."""

    def begin(**_options: object) -> None:
        """Do nothing: the options stay in the context, and commands ask for them there."""

    return LazyGroup(
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
