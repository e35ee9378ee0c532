"""Which entries of a list count: names are trimmed and unique, and no two answer to one name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eventdbx import limits
from eventdbx.domain.delivery.entries import Entry, PluginEntry, Unavailable
from eventdbx.domain.delivery.writing import entry_document
from eventdbx.errors import ConfigError


def cleaned(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with names trimmed, blank ones None; of one name only the last stays.

    Entries that cannot be used stay as they are, and never displace one that can.
    """
    trimmed = [
        replace(entry, name=(entry.name or "").strip() or None)
        if isinstance(entry, PluginEntry)
        else entry
        for entry in entries
    ]
    last = {
        entry.name: place for place, entry in enumerate(trimmed) if isinstance(entry, PluginEntry)
    }
    return [
        entry
        for place, entry in enumerate(trimmed)
        if not isinstance(entry, PluginEntry) or entry.name is None or last[entry.name] == place
    ]


def in_force(entries: Sequence[Entry]) -> list[Entry]:
    """Return cleaned entries, with those unavailable whose key another one has.

    An entry without a name answers to its kind: of several the last one counts, and one whose name
    is that word before all.
    """
    winner: dict[str, int] = {}
    for place, entry in enumerate(entries):
        if isinstance(entry, PluginEntry):
            known = winner.get(entry.key)
            if known is None or entry.name is not None or entries[known].name is None:
                winner[entry.key] = place
    return [
        entry
        if not isinstance(entry, PluginEntry) or winner[entry.key] == place
        else Unavailable(
            name=entry.name,
            type=entry.kind,
            reason=f"another plugin answers to '{entry.key}'; give each a name",
            document=entry_document(entry),
        )
        for place, entry in enumerate(entries)
    ]


def check_name(name: str) -> str:
    """Return the trimmed name of a plugin; raise ConfigError for one that cannot be one."""
    name = name.strip()
    if not name:
        raise ConfigError("plugin name cannot be empty")
    reason = wrong_name(name)
    if reason is not None:
        raise ConfigError(f"plugin {reason}")
    return name


def wrong_name(name: str) -> str | None:
    """Say what keeps a text from naming a plugin: it is shown in lines and is part of keys."""
    if len(name.encode("utf-8", "replace")) > limits.PLUGIN_NAME_BYTES_MAX:
        return f"name cannot exceed {limits.PLUGIN_NAME_BYTES_MAX} bytes"
    if not name.isprintable():
        return "name cannot hold control characters"
    return None
