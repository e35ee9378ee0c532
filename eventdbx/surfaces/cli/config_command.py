"""``dbx config``: the configuration shown, checked and changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import click

from eventdbx.config import Config, Value, shown_document, shown_text, value_from_text
from eventdbx.domain.canonical import dump
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.keys import GENERATED, environment_names, key_at, meant
from eventdbx.services.auditspool import spool_action
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, all_of, argument, option
from eventdbx.surfaces.cli.output import (
    format_wanted,
    note,
    note_on_terminal,
    print_json,
    print_line,
)
from eventdbx.surfaces.cli.session import database, opened, server_address
from eventdbx.surfaces.cli.values import U16, U32, U64

_DATA_KEY = "data_encryption_key"
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
    Setting(("--port",), "port", U16, "Port for health and metrics; 0: none"),
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
            "dbx config --set auth.default_ttl_secs=900 --unset log.dir",
            "dbx config auth.default_ttl_secs",
            "dbx config --reload",
        ),
    )
    @argument("key", required=False, help="Show this key or table alone: auth.key_id, log")
    @CHANGES
    @option("--set", "assigned", multiple=True, metavar="KEY=VALUE", help="Set any key")
    @option("--unset", "removed", multiple=True, metavar="KEY", help="Go back to the default")
    @option("--check", is_flag=True, help="Only say whether the configuration is valid")
    @option("--reload", "again", is_flag=True, help="Let the server read its configuration again")
    @option("--all", "everything", is_flag=True, help="Show the keys with default values, too")
    @option("--show-secrets", "secrets", is_flag=True, help="Show keys and tokens in clear")
    @AS_JSON
    @click.pass_context
    def config(
        context: click.Context,
        /,
        key: str | None,
        assigned: tuple[str, ...],
        removed: tuple[str, ...],
        check: bool,
        again: bool,
        everything: bool,
        secrets: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        """Update system configuration

        Without options that change something, shows the configuration in effect. A running
        server takes up what it can at once; what counts at its next start is said.
        """
        wanted = _wanted(given, _assignments(assigned, removed))
        place = _opened(context, wanted)
        changes = _changes(place, given, wanted)
        if check:
            _check(place, changes, as_json=as_json)
        elif changes or again:
            _carry_out(context, place, changes, again=again, as_json=as_json)
        elif key is not None:
            _show_key(place, key, secrets=secrets, as_json=as_json)
        elif as_json:
            print_json(shown_document(_placed(place), everything=everything, secrets=secrets))
        else:
            print_line(shown_text(_placed(place), everything=everything, secrets=secrets))


def _placed(place: Opened) -> Config:
    """Return the configuration with the data directory that is really used."""
    return replace(place.config, data_dir=str(place.workspace.data_dir))


def _assignments(assigned: Sequence[str], removed: Sequence[str]) -> dict[str, Value]:
    """Return what ``--set`` and ``--unset`` ask for; raise ConfigError for keys there are not."""
    changes: dict[str, Value] = {}
    for text in assigned:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals:
            raise ConfigError(f"'{text}' is not KEY=VALUE")
        key = key_at(path)
        if key.many is not None:
            raise ConfigError(f"{path} holds tables: edit the file, or use the command for them")
        changes[path] = value_from_text(value, str(key.item.type))
    for path in removed:
        key_at(path)
        if path in GENERATED:
            raise ConfigError(f"{path} cannot be unset: a new one would be made in its place")
        if path in changes:
            raise ConfigError(f"{path} is to be set and unset")
        changes[path] = None
    return changes


def _opened(context: click.Context, wanted: Mapping[str, Value]) -> Opened:
    """Return the workspace; what is wrong in its file may be just what is to be changed."""
    try:
        return opened(context)
    except ConfigError:
        if not wanted or "data_encryption_key" in wanted:
            raise
        return places.opened(context, overrides=wanted)


def _wanted(given: Mapping[str, Any], assigned: Mapping[str, Value]) -> dict[str, Value]:
    """Return the keys that options and assignments name; an option without a value names none."""
    changes: dict[str, Value] = dict(assigned)
    for one in SETTINGS:
        value = given[one.name]
        if value is None or value == "":
            continue
        changes[one.path] = value == "true" if one.kind is WORD else value
    if given["clear_snapshot_threshold"]:
        changes["snapshot_threshold"] = None
    return changes


def _changes(
    place: Opened, given: Mapping[str, Any], wanted: Mapping[str, Value]
) -> dict[str, Value]:
    """Return the keys to be changed; options that say nothing new count as not given."""
    changes = dict(wanted)
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
    key, old = changes.get(_DATA_KEY), place.config.data_encryption_key
    given = any(place.workspace.environ.get(name) for name in environment_names(_DATA_KEY))
    if key is not None and old is not None and key != old and not given:
        # What was written under the old key stays readable.
        older = tuple(one for one in place.config.data_encryption_keys if one != key)
        changes["data_encryption_keys"] = (old, *older)
    return changes


def _save(place: Opened, changes: Mapping[str, Value]) -> None:
    """Save the changes, and leave word of which keys they are for the audit trail."""
    workspace = place.workspace
    before = _digest(workspace.read())
    workspace.save(changes)
    keys = ", ".join(sorted(changes))
    try:
        spool_action(
            workspace.data_dir,
            "config",
            "config_changed",
            keys,
            "dbx config",
            before=before,
            after=_digest(workspace.read()),
        )
    except EventDBXError as error:
        note(f"warning: not in the audit trail: {error}")


def _tell_what_beats_the_file(changes: Mapping[str, Value]) -> None:
    for path in changes:
        for name in environment_names(path):
            if os.environ.get(name, "").strip():
                note(f"warning: {name} is set here and beats {path} of the file")


def _digest(config: Config) -> str:
    """Return the digest of what may be shown of a configuration."""
    return hashlib.sha256(dump(shown_document(config, everything=True))).hexdigest()


def _show_key(place: Opened, path: str, *, secrets: bool, as_json: bool) -> None:
    """Print one value, bare for scripts, or one table."""
    found: Any = shown_document(_placed(place), everything=True, secrets=secrets)
    *tables, name = path.split(".")
    for step in tables:
        found = found.get(step, {})
        if not isinstance(found, dict):
            break
    value = found.get(name) if isinstance(found, dict) else None
    if value is None and not _declares(path):
        raise ConfigError(f"unknown configuration key '{path}'{meant(path)}")
    if as_json:
        print_json(value)
    elif isinstance(value, dict) or _are_tables(value):
        text = shown_text(_placed(place), everything=True, secrets=secrets, table=path)
        print_line(text.strip())
    elif isinstance(value, list):
        print_line(", ".join(map(str, value)))
    else:
        print_line(
            "" if value is None else str(value).lower() if value in (True, False) else str(value)
        )


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _declares(path: str) -> bool:
    try:
        key_at(path)
    except ConfigError:
        return path in ("remotes", "auth.previous_keys")
    return True


def _check(place: Opened, changes: Mapping[str, Value], *, as_json: bool) -> None:
    """Say whether the configuration, with the changes, is valid. An unknown key is an error."""
    config = place.workspace.read(changes)
    _check_deeply(config)
    warnings = config.warnings
    unknown = [one for one in warnings if one.startswith("unknown configuration key")]
    if as_json:
        print_json({"valid": not unknown, "errors": unknown, "warnings": _others(warnings)})
    for warning in _others(warnings):
        note(f"warning: {warning}")
    if unknown:
        raise Failure(unknown[0], *unknown[1:])
    if not as_json:
        print_line(f"{place.workspace.config_path} is valid")


def _check_deeply(config: Config) -> None:
    """Raise ConfigError for what only a start would show: names, keys, places that exclude each
    other. Nothing is bound or opened."""
    from eventdbx.domain.identifiers import check_domain_name
    from eventdbx.services.keyring import token_terms
    from eventdbx.services.web import wanted_listeners

    try:
        check_domain_name(config.domain)
    except EventDBXError as error:
        raise ConfigError(f"domain cannot be '{config.domain}': {error.detail}") from None
    token_terms(config)
    wanted_listeners(config, main=True)


def _others(warnings: Sequence[str]) -> list[str]:
    return [one for one in warnings if not one.startswith("unknown configuration key")]


def _keep_keys_in_use(place: Opened, changes: Mapping[str, Value]) -> None:
    """Refuse to let go of a data key that something is still encrypted with."""
    if not changes.keys() & {_DATA_KEY, "data_encryption_keys"}:
        return
    from eventdbx.services.keyuse import lost

    files = lost(place.workspace, place.config, place.workspace.read(changes))
    if files:
        raise ConfigError(
            f"a key that would be removed is still needed to read {', '.join(files)}; "
            "`dbx keys status` says when it is not"
        )


def _carry_out(
    context: click.Context,
    place: Opened,
    changes: Mapping[str, Value],
    *,
    again: bool,
    as_json: bool,
) -> None:
    """Save the changes, and let a running server take them up."""
    address = server_address(context, place)
    if again and address is None:
        raise Failure("no server runs that could reload its configuration", hint="dbx start")
    if changes:
        _keep_keys_in_use(place, changes)
        _save(place, changes)
        _tell_what_beats_the_file(changes)
        note_on_terminal(f"Configuration saved to {place.workspace.config_path}")
    saved = {"saved": sorted(changes), "file": str(place.workspace.config_path)}
    if address is None:
        if format_wanted() is not None:
            print_json({**saved, "changed": [], "restart_required": []})
        return
    try:
        with database(context, doing="reload the configuration") as (way, calls):
            reloaded = way.call(calls.administer({"do": "reload"}))
    except (Failure, EventDBXError) as failure:
        if again and not changes:
            raise
        if failure.code == ConfigError.code:
            causes = failure.causes if isinstance(failure, Failure) else (str(failure),)
            raise Failure("saved, but the running server refuses it", *causes) from None
        note(f"warning: {failure}")
        note(f"restart required for: {', '.join(sorted(changes))}")
        if format_wanted() is not None:
            print_json({**saved, "changed": [], "restart_required": sorted(changes)})
        return
    if as_json:
        print_json(reloaded if format_wanted() is None else {**saved, **reloaded})
    elif again:
        print_line(f"in force now: {', '.join(reloaded['changed']) or 'what was'}")
    waiting = reloaded["restart_required"]
    if waiting:
        note(f"restart required for: {', '.join(waiting)}")
