"""``dbx plugin list`` and ``show``: what is configured, and what is installed."""

from __future__ import annotations

import sys

import click

from eventdbx.domain.delivery.masking import masked_document
from eventdbx.domain.delivery.reading import parse_entry
from eventdbx.surfaces.cli.options import DOCUMENT, option
from eventdbx.surfaces.cli.output import (
    documents_wanted,
    print_json,
    print_line,
    print_listing,
    say_empty,
)
from eventdbx.surfaces.cli.plugin.calls import NAME, Document, asking, key_of, one_line
from eventdbx.surfaces.cli.session import opened

_OURS = ("label", "process")


def register(group: click.Group) -> None:
    """Add the commands to the group."""

    @group.command(
        "list",
        examples=("dbx plugin list", "dbx plugin list --json"),
        columns=(
            "name",
            "config.type",
            "enabled",
            "emit_events",
            "payload_mode",
            "runtime.state",
            "unavailable",
            "paused_reason",
        ),
    )
    @DOCUMENT
    @option("--available", is_flag=True, help="Show the programs that are installed, too")
    @click.pass_context
    def list_plugins(context: click.Context, available: bool) -> None:
        """List enabled plugins

        All that are configured, disabled ones too. The JSON form is what plugins.json says, with
        secrets in clear; `plugin show` masks them.
        """
        with asking(context) as plugins:
            entries = plugins.entries()
        if not entries:
            say_empty("no plugins are configured", "dbx plugin config --help")
        if documents_wanted() or sys.stdout.isatty() and not available:
            print_listing([document_of(one) for one in entries], entry_line, sort=True)
            return
        if available:
            _print_installed(context)
        if not entries:
            print_line("(no plugins configured)")
            return
        print_line("Configured plugins:")
        for one in entries:
            print_line(f"  - {entry_line(one)}")

    @group.command("show", examples=("dbx plugin show hook", "dbx plugin show hook --show-secrets"))
    @NAME
    @option("--show-secrets", "secrets", is_flag=True, help="Show secrets in clear")
    @DOCUMENT
    @click.pass_context
    def show(context: click.Context, name: str, secrets: bool) -> None:
        """Show the configuration of one plugin as JSON, with secrets masked"""
        with asking(context) as plugins:
            entry = plugins.entry(name)
        document = document_of(entry)
        if not secrets:
            document |= masked(entry)
        print_json(document, sort=True)


def document_of(entry: Document) -> Document:
    """Return a listed plugin as the JSON form shows it: its entry, and how its process is."""
    document = {key: value for key, value in entry.items() if key not in _OURS}
    for optional in ("unavailable", "paused_reason"):
        if document.get(optional) is None:
            document.pop(optional, None)
    if (entry.get("config") or {}).get("type") == "process":
        document["runtime"] = runtime_of(entry.get("process"))
    return document


def masked(entry: Document) -> Document:
    """Return the config of a listed plugin without the secrets in it."""
    config = masked_document(parse_entry({**entry, "unavailable": None}))
    return {"config": config["config"]} if isinstance(config, dict) else {}


def runtime_of(process: Document | None) -> Document:
    """Return the state of a process in the words that scripts know."""
    if process is None or not process["running"]:
        return {"state": "stopped"}
    if process["pid"] is None:
        return {"state": "unknown"}
    return {"state": "running", "pid": process["pid"]}


def entry_line(entry: Document) -> str:
    """Return the line of one plugin."""
    label, name = entry["label"], key_of(entry)
    if entry.get("unavailable") is not None:
        return f"{label} - unavailable ({one_line(entry['unavailable'])})"
    if entry["enabled"]:
        line = f"{label} - enabled (disable with plugin disable {name})"
    else:
        line = f"{label} - disabled (enable with plugin enable {name})"
    runtime = runtime_of(entry.get("process"))
    if "pid" in runtime:
        line += f"; process running (pid {runtime['pid']})"
    if not entry["emit_events"]:
        line += "; event delivery disabled"
    if entry.get("paused_reason") is not None:
        line += f"; paused ({one_line(entry['paused_reason'])})"
    elif entry.get("paused"):
        line += "; paused"
    return line


def _print_installed(context: click.Context) -> None:
    """Print what is installed here, if anything, and an empty line."""
    from eventdbx.domain.delivery.bundles import sorted_versions
    from eventdbx.services.bundles import read_installed

    versions: dict[str, set[str]] = {}
    for one in read_installed(opened(context).workspace.data_dir).records:
        versions.setdefault(one.name, set()).add(one.version)
    if not versions:
        return
    print_line("Available plugins:")
    for name in sorted(versions):
        found = sorted_versions(versions[name])
        print_line(f"  - {name} (latest {found[-1]}, installed {', '.join(found)})")
    print_line("")
