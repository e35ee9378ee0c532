"""The tree of commands, read from the program itself."""

from __future__ import annotations

from collections.abc import Iterator

import click

from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield the path of every visible command and group (``aggregate get``), and the command."""
    root = root_command(MODULES, EPILOG)
    yield from _below(root, click.Context(root, info_name="dbx"), "")


def _below(
    command: click.Command, context: click.Context, path: str
) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            below = click.Context(inner, info_name=name, parent=context)
            yield from _below(inner, below, f"{path} {name}".strip())
