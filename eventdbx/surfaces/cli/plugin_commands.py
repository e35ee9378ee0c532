"""``dbx plugin``: the group. Its commands are in the other ``plugin_`` modules."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.options import DOCUMENT, argument

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "install": (_HERE + "plugin_install", "Install a plugin binary into the local registry"),
    "uninstall": (
        _HERE + "plugin_install",
        "Remove an installed plugin binary that no plugin is configured to run",
    ),
    "config": (_HERE + "plugin_config", "Configure plugins"),
    "set": (
        _HERE + "plugin_config",
        "Change options of a plugin, and leave everything else as it is",
    ),
    "list": (_HERE + "plugin_listing", "List enabled plugins"),
    "show": (
        _HERE + "plugin_listing",
        "Show the configuration of one plugin as JSON, with secrets masked",
    ),
    "enable": (_HERE + "plugin_marks", "Enable a configured plugin"),
    "disable": (_HERE + "plugin_marks", "Disable a configured plugin"),
    "pause": (_HERE + "plugin_marks", "Stop delivery to a plugin for a while; nothing is skipped"),
    "resume": (_HERE + "plugin_marks", "Go on with delivery to a plugin where it was paused"),
    "remove": (_HERE + "plugin_marks", "Remove a configured plugin"),
    "rename": (
        _HERE + "plugin_marks",
        "Give a plugin another name; it keeps its place in the log and its jobs",
    ),
    "switch": (
        _HERE + "plugin_marks",
        "Let another plugin take the place and the name of this one",
    ),
    "start": (_HERE + "plugin_process", "Start a managed process plugin worker"),
    "stop": (_HERE + "plugin_process", "Stop a managed process plugin worker"),
    "status": (_HERE + "plugin_process", "Show the status of a managed process plugin worker"),
    "logs": (_HERE + "plugin_process", "Show what the program of a process plugin has written"),
    "test": (_HERE + "plugin_test", "Send a sample event to all enabled plugins"),
    "replay": (_HERE + "plugin_replay", "Replay stored events through a plugin"),
    "lag": (_HERE + "plugin_positions", "Show how far plugins are behind, and what keeps them"),
    "wait": (_HERE + "plugin_positions", "Wait until a plugin has processed an event"),
    "seek": (_HERE + "plugin_positions", "Move a plugin to another place in the log"),
    "rebuild": (
        _HERE + "plugin_positions",
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
        from eventdbx.surfaces.cli.queue_commands import show_queue

        show_queue(context, name)
