"""``dbx plugin``: the group. Its commands are in the other ``plugin_`` modules."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli import (
    plugin_config,
    plugin_install,
    plugin_listing,
    plugin_marks,
    plugin_positions,
    plugin_process,
    plugin_replay,
    plugin_test,
)
from eventdbx.surfaces.cli.options import DOCUMENT, argument
from eventdbx.surfaces.cli.queue_commands import show_queue


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "plugin",
        examples=(
            "dbx plugin config http --name hook --endpoint https://example.org/in",
            "dbx plugin test hook",
            "dbx plugin list",
            "dbx plugin lag",
        ),
    )
    def plugin() -> None:
        """Manage plugins"""

    plugin_install.register(plugin)
    plugin_config.register(plugin)
    plugin_listing.register(plugin)
    plugin_marks.register(plugin)
    plugin_process.register(plugin)
    plugin_test.register(plugin)
    plugin_replay.register(plugin)
    plugin_positions.register(plugin)
    _register_stats(plugin)


def _register_stats(group: click.Group) -> None:
    @group.command("stats", hidden=True)
    @argument("name", help="Name of the plugin")
    @DOCUMENT
    @click.pass_context
    def stats(context: click.Context, name: str) -> None:
        """The queue of one plugin, as some documents spell it"""
        show_queue(context, name)
