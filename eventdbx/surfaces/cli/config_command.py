"""``dbx config``: the configuration shown, checked and changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from eventdbx.config import Config, Value, shown_document, shown_text
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.options import AS_JSON, all_of, option
from eventdbx.surfaces.cli.output import note, note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.places import daemon_runs, opened
from eventdbx.surfaces.cli.values import U16, U32, U64

WORD = click.Choice(["true", "false"])


class Setting(NamedTuple):
    """An option that sets one key; ``kind`` is click's type of the value."""

    flags: tuple[str, ...]
    path: str
    kind: Any
    help: str

    @property
    def name(self) -> str:
        """The parameter that click passes."""
        return self.path.replace(".", "_")


SETTINGS = (
    Setting(("--port",), "port", U16, "Port for health and metrics; 0 picks a free one"),
    Setting(("--data-dir",), "data_dir", str, "Directory of the data"),
    Setting(("--bind-addr",), "socket.bind_addr", str, "HOST:PORT of the control listener"),
    Setting(("--cache-threshold",), "cache_threshold", U32, "Aggregates kept in memory"),
    Setting(
        ("--data-encryption-key", "--dek"),
        "data_encryption_key",
        str,
        "Key for data at rest: 32 bytes as base64",
    ),
    Setting(("--list-page-size",), "list_page_size", U32, "Items of a page by default"),
    Setting(("--page-limit",), "page_limit", U32, "Items of a page at most"),
    Setting(("--snowflake-worker-id",), "snowflake_worker_id", U16, "Number in event ids, to 1023"),
    Setting(
        ("--restrict",),
        "restrict",
        str,
        "Schema mode: off, default or strict",
    ),
    Setting(
        ("--durability",),
        "durability",
        click.Choice(["always", "interval", "never"]),
        "When an acknowledged write is on disk",
    ),
    Setting(("--interval-ms",), "interval_ms", U32, "Pause between syncs, for interval"),
    Setting(("--verbose-responses",), "verbose_responses", WORD, "Answer writes with documents"),
    Setting(("--plugin-max-attempts",), "plugin_max_attempts", U32, "Deliveries tried of a job"),
    Setting(("--snapshot-threshold",), "snapshot_threshold", U64, "Events between snapshots"),
    Setting(("--admin-enabled",), "admin.enabled", WORD, "Serve the Admin API"),
    Setting(("--admin-bind",), "admin.bind_addr", str, "Address of the Admin API"),
    Setting(("--admin-port",), "admin.port", U16, "Port of the Admin API; 0 shares --port"),
    Setting(("--multi-tenant",), "tenants.multi_tenant", WORD, "Serve several tenants"),
    Setting(("--shard-count",), "tenants.shard_count", U16, "Shards of the tenants"),
    Setting(("--shard-map-path",), "tenants.shard_map_path", str, "File of the shard map"),
    Setting(
        ("--reference-default-depth",),
        "reference_default_depth",
        U32,
        "References followed by default, to 5",
    ),
    Setting(
        ("--reference-max-depth",), "reference_max_depth", U32, "References followed at most, to 5"
    ),
)

_EXCLUDES = {"snapshot_threshold": ("clear_snapshot_threshold",)}

CHANGES = all_of(
    *(
        option(
            *one.flags,
            one.name,
            type=one.kind,
            metavar=one.flags[0].removeprefix("--").replace("-", "_").upper(),
            help=one.help,
            conflicts=_EXCLUDES.get(one.path, ()),
        )
        for one in SETTINGS
    ),
    option("--clear-snapshot-threshold", is_flag=True, help="Take no snapshots by themselves"),
    option("--no-noise", is_flag=True, conflicts=("noise",), help="Allow plaintext sessions"),
    option("--noise", is_flag=True, help="Allow encrypted sessions only"),
)


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "config",
        examples=(
            "dbx config",
            "dbx config --bind-addr 0.0.0.0:6363 --page-limit 500",
            "dbx config --all --show-secrets",
        ),
    )
    @CHANGES
    @option("--check", is_flag=True, help="Only say whether the configuration is valid")
    @option("--all", "everything", is_flag=True, help="Show the keys with default values, too")
    @option("--show-secrets", "secrets", is_flag=True, help="Show keys and tokens in clear")
    @AS_JSON
    @click.pass_context
    def config(
        context: click.Context,
        /,
        check: bool,
        everything: bool,
        secrets: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        """Update system configuration

        Without options that change something, shows the configuration in effect. A running
        server takes changes up at its next start.
        """
        place = opened(context)
        changes = _changes(place, given)
        if changes:
            _save(place, changes)
        elif check:
            for warning in place.config.warnings:
                note(f"warning: {warning}")
            print_line(f"{place.workspace.config_path} is valid")
        elif as_json:
            print_json(shown_document(_placed(place), everything=everything, secrets=secrets))
        else:
            print_line(shown_text(_placed(place), everything=everything, secrets=secrets))


def _placed(place: Opened) -> Config:
    """Return the configuration with the data directory that is really used."""
    from dataclasses import replace

    return replace(place.config, data_dir=str(place.workspace.data_dir))


def _changes(place: Opened, given: dict[str, Any]) -> dict[str, Value]:
    """Return the keys to be changed; options that say nothing new count as not given."""
    changes: dict[str, Value] = {}
    for one in SETTINGS:
        value = given[one.name]
        if value is None or value == "":
            continue
        changes[one.path] = value == "true" if one.kind is WORD else value
    if given["clear_snapshot_threshold"]:
        changes["snapshot_threshold"] = None
    if given["no_noise"] != given["noise"] and given["no_noise"] != place.config.no_noise:
        changes["no_noise"] = given["no_noise"]
    return _adjusted(place, changes)


def _adjusted(place: Opened, changes: dict[str, Value]) -> dict[str, Value]:
    depth = changes.get("reference_default_depth")
    if isinstance(depth, int):
        changes["reference_default_depth"] = depth = min(depth, 5)
    most = changes.get("reference_max_depth")
    if isinstance(most, int):
        least = depth if isinstance(depth, int) else place.config.reference_default_depth
        changes["reference_max_depth"] = max(most, least)
    key, old = changes.get("data_encryption_key"), place.config.data_encryption_key
    if key is not None and old is not None and key != old:
        # What was written under the old key stays readable.
        changes["data_encryption_keys"] = (*place.config.data_encryption_keys, old)
    return changes


def _save(place: Opened, changes: dict[str, Value]) -> None:
    running = daemon_runs(place)
    place.workspace.save(changes)
    note_on_terminal(f"Configuration saved to {place.workspace.config_path}")
    if running:
        note(f"restart required for: {', '.join(sorted(changes))}")
