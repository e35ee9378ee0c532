"""Changing entries: what ``plugin config`` gives, and single options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.cleaning import check_name
from eventdbx.domain.delivery.entries import Entry, PluginEntry
from eventdbx.domain.delivery.reading import parse_entry, removed_kind
from eventdbx.domain.delivery.writing import plugin_document
from eventdbx.errors import ConfigError

_OPTIONS = (
    "order on_dead concurrency max_attempts backoff give_up timeout_secs filter aggregates events "
    "domains include_hidden include_imported paused batch rate_limit"
).split()

_REPLACED = {
    "http": ("endpoint", "headers", "https"),
    "tcp": ("host", "port"),
    "capnp": ("host", "port"),
    "log": ("level", "template"),
    "process": ("name", "version", "args", "env", "working_dir"),
}
"""What a configuration without a member brings back to its default."""

_KEPT = {
    "http": (
        "secret secrets format structured ca_file client_cert client_key allow_private "
        "allow_link_local"
    ).split(),
    "tcp": "tls ca_file client_cert client_key persistent".split(),
    "capnp": "tls ca_file client_cert client_key persistent".split(),
    "log": "detail path".split(),
    "process": "ack max_in_flight user memory_mb open_files".split(),
}
"""What it leaves as it is."""


def configured(
    document: Mapping[str, JSON], existing: Entry | None, given: Collection[str] | None = None
) -> PluginEntry:
    """Return what an entry becomes when it is configured; a new one for None.

    ``document`` is an entry with what was given; ``given`` names those of its members (of its
    config, too) that were, when it holds others as well. ``enabled`` is true unless it says so.
    Members of the config that 3.x knew are replaced as a whole; everything else changes only if
    given. Raises ConfigError.
    """
    config = document.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        raise ConfigError("the config of a plugin needs a type")
    kind = str(config["type"])
    if kind not in _KEPT:
        raise ConfigError(removed_kind(kind) or f"unknown kind '{kind[:64]}'")
    if "name" in document and document["name"] is not None:
        check_name(str(document["name"]))
    old: dict[str, Any] = {}
    if isinstance(existing, PluginEntry):
        old = plugin_document(existing)
    inner: dict[str, Any] = dict(old.get("config", {})) or ({} if kind != "log" else _NEW_LOG)
    inner = {name: one for name, one in inner.items() if name not in _REPLACED[kind]}
    for name, value in config.items():
        if name in _REPLACED[kind] or given is None or name in given or name == "type":
            _put(inner, name, value)
    merged = {name: one for name, one in old.items() if name != "config"}
    for name, value in document.items():
        if name not in ("config", "enabled") and (given is None or name in (*given, "name")):
            _put(merged, name, value)
    enabled = document.get("enabled", True)
    return _parsed({**merged, "enabled": enabled is not False, "config": inner})


_NEW_LOG = {"detail": "summary"}
"""Entries of older files, which lack the member, mean ``full``."""


def with_options(
    entry: PluginEntry, changes: Mapping[str, JSON], unset: Collection[str] = ()
) -> PluginEntry:
    """Return an entry with options set, and others back at their default. Raises ConfigError."""
    document = plugin_document(entry)
    config: dict[str, Any] = document["config"]
    for name in unset:
        _put(_place(document, config, name, entry.kind), name, None)
    for name, value in changes.items():
        _put(_place(document, config, name, entry.kind), name, value)
    return _parsed(document)


def option_names(kind: str) -> list[str]:
    """Return the options that a plugin of a kind has, beside what its configuration needs."""
    return sorted([*_OPTIONS, "payload_mode", "emit_events", *_KEPT.get(kind, ())])


def without_unknown(document: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return an entry as it was sent without members that its kind does not have."""
    config = document.get("config")
    inner: Mapping[str, JSON] = config if isinstance(config, dict) else {}
    kind = str(inner.get("type"))
    known = {"type", *_REPLACED.get(kind, ()), *_KEPT.get(kind, ())}
    options = {"payload_mode", "emit_events", *_OPTIONS}
    return {
        **{name: value for name, value in document.items() if name in options},
        "config": {name: value for name, value in inner.items() if name in known},
    }


def _place(
    document: dict[str, Any], config: dict[str, Any], name: str, kind: str
) -> dict[str, Any]:
    if name in _OPTIONS or name in ("payload_mode", "emit_events"):
        return document
    if name in _KEPT[kind] or name in _REPLACED[kind]:
        return config
    raise ConfigError(f"a plugin of kind {kind} has no option '{name[:64]}'")


def _put(members: dict[str, Any], name: str, value: JSON) -> None:
    """Set a member, null as its default; of ``secret`` and ``secrets`` the last one counts."""
    if name in ("secret", "secrets"):
        members.pop("secret", None)
        members.pop("secrets", None)
    members[name] = value


def _parsed(document: dict[str, Any]) -> PluginEntry:
    entry = parse_entry(document)
    if not isinstance(entry, PluginEntry):
        raise ConfigError(entry.reason)
    return entry
