"""``dbx plugin``: the group. Its commands are in the other ``plugin_`` modules."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.options import DOCUMENT, argument

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "install": (_HERE + "plugin.install", "Install a plugin binary into the local registry"),
    "uninstall": (
        _HERE + "plugin.install",
        "Remove an installed plugin binary that no plugin is configured to run",
    ),
    "config": (_HERE + "plugin.config", "Configure plugins"),
    "set": (
        _HERE + "plugin.config",
        "Change options of a plugin, and leave everything else as it is",
    ),
    "list": (_HERE + "plugin.listing", "List enabled plugins"),
    "show": (
        _HERE + "plugin.listing",
        "Show the configuration of one plugin as JSON, with secrets masked",
    ),
    "enable": (_HERE + "plugin.marks", "Enable a configured plugin"),
    "disable": (_HERE + "plugin.marks", "Disable a configured plugin"),
    "pause": (_HERE + "plugin.marks", "Stop delivery to a plugin for a while; nothing is skipped"),
    "resume": (_HERE + "plugin.marks", "Go on with delivery to a plugin where it was paused"),
    "remove": (_HERE + "plugin.marks", "Remove a configured plugin"),
    "rename": (
        _HERE + "plugin.marks",
        "Give a plugin another name; it keeps its place in the log and its jobs",
    ),
    "switch": (
        _HERE + "plugin.marks",
        "Let another plugin take the place and the name of this one",
    ),
    "start": (_HERE + "plugin.process", "Start a managed process plugin worker"),
    "stop": (_HERE + "plugin.process", "Stop a managed process plugin worker"),
    "status": (_HERE + "plugin.process", "Show the status of a managed process plugin worker"),
    "logs": (_HERE + "plugin.process", "Show what the program of a process plugin has written"),
    "test": (_HERE + "plugin.test", "Send a sample event to all enabled plugins"),
    "replay": (_HERE + "plugin.replay", "Replay stored events through a plugin"),
    "lag": (_HERE + "plugin.positions", "Show how far plugins are behind, and what keeps them"),
    "wait": (_HERE + "plugin.positions", "Wait until a plugin has processed an event"),
    "seek": (_HERE + "plugin.positions", "Move a plugin to another place in the log"),
    "rebuild": (
        _HERE + "plugin.positions",
        "Deliver everything again, from the start or another place",
    ),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "plugin",
        modules=MODULES,
        examples=(
            "dbx plugin config http --name hook --endpoint https://example.org/in",
            "dbx plugin test hook",
            "dbx plugin list",
            "dbx plugin lag",
        ),
    )
    def plugin() -> None:
        """Manage plugins"""

    _register_stats(plugin)


def _register_stats(group: click.Group) -> None:
    @group.command("stats", hidden=True)
    @argument("name", help="Name of the plugin")
    @DOCUMENT
    @click.pass_context
    def stats(context: click.Context, name: str) -> None:
        """The queue of one plugin, as some documents spell it"""
        from eventdbx.surfaces.cli.queue.commands import show_queue

        show_queue(context, name)
