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
