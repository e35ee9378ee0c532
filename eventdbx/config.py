"""The text of ``config.toml``: read into frozen values, changed in place, and shown.

Pure: nothing here opens a file or looks at the clock. The values, every key with its default and
its range, are in :mod:`eventdbx.settings`; where the file stands and how it is created and saved
is in :mod:`eventdbx.services.workspace`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from eventdbx.errors import ConfigError, SerializationError
from eventdbx.formats import decode_data_key, split_address
from eventdbx.keys import (
    ALIASES,
    QUIET,
    Declared,
    changed_from_default,
    check_admin_place,
    checked_value,
    declared,
    environment_names,
    key_at,
    meant,
    rows,
    unknown_keys,
)
from eventdbx.settings import (
    LEGACY_ADDRESSES,
    RESTRICT_MODES,
    Admin,
    Auth,
    Config,
    Http,
    Integrity,
    Limits,
    Log,
    PluginQueue,
    PreviousKey,
    Prune,
    Remote,
    Replication,
    Socket,
    Tenants,
    Value,
    parse_restrict,
)

__all__ = [
    "HIDDEN",
    "Admin",
    "Auth",
    "Config",
    "Http",
    "Integrity",
    "Limits",
    "Log",
    "PluginQueue",
    "PreviousKey",
    "Prune",
    "Remote",
    "Replication",
    "Socket",
    "Tenants",
    "Value",
    "changed_from_default",
    "check_changes",
    "decode_data_key",
    "document_as_text",
    "environment_names",
    "fresh_text",
    "parse_config",
    "parse_restrict",
    "plugin_tables",
    "shown_document",
    "shown_text",
    "text_as_document",
    "split_address",
    "updated_text",
    "value_from_text",
    "with_remote",
]

HIDDEN = "<hidden>"
_LISTS = frozenset(key.path for key in declared() if key.many is not None and not key.named)


class _Reading(NamedTuple):
    """What one parse carries along: where values come from, and what to tell the operator."""

    origin: str
    environ: Mapping[str, str]
    overrides: Mapping[str, Value]
    warnings: list[str]

    def wrong(self, path: str, reason: str, source: str | None = None) -> ConfigError:
        error = ConfigError(f"{path} {reason} in {source or self.origin}")
        error.key = path
        return error


def parse_config(
    text: str,
    *,
    origin: str,
    environ: Mapping[str, str],
    overrides: Mapping[str, Value] | None = None,
) -> Config:
    """Read a configuration; ``overrides`` (dotted path to value) beat environment, file, default.

    Raises SerializationError if the text is not TOML, and ConfigError naming the key and
    ``origin`` (the path of the file) or the environment variable if a value does not fit.
    Unknown keys are passed over with a warning.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", str(error))
        reason, place = (match[1], match[2]) if match else (str(error), "unknown place")
        # Scripts look for the first line; people need the second.
        raise SerializationError(f"TOML parse error at {place}\n  in {origin}: {reason}") from None
    reading = _Reading(origin, environ, overrides or {}, [])
    for path in unknown_keys(document):
        reading.warnings.append(f"unknown configuration key '{path}' in {origin}{meant(path)}")
    values = _read_table(Config, document, "", reading)
    if values["list_page_size"] > values["page_limit"]:
        raise reading.wrong("list_page_size", f"must not exceed page_limit {values['page_limit']}")
    # The reference never went above five, and a default above the maximum is the maximum.
    values["reference_default_depth"] = min(
        values["reference_default_depth"], values["reference_max_depth"]
    )
    config = Config(**values, warnings=tuple(reading.warnings))
    check_admin_place(config)
    return config


def _read_table(
    kind: type, source: Mapping[str, Any], prefix: str, reading: _Reading
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in fields(kind):
        if not item.metadata:
            continue
        path = prefix + item.name
        found = source.get(item.name, source.get(ALIASES.get(item.name, item.name)))
        if "table" in item.metadata:
            inner = item.metadata["table"]
            if not isinstance(found or {}, Mapping):
                raise reading.wrong(path, "must be a table")
            values[item.name] = inner(**_read_table(inner, found or {}, path + ".", reading))
        elif "many" in item.metadata:
            values[item.name] = tuple(_read_many(item.metadata["many"], found, path, reading))
        else:
            values[item.name] = _read_key(item, found, path, reading)
    return values


def _read_many(kind: type, found: Any, path: str, reading: _Reading) -> Iterator[Any]:
    """Read ``[[path]]`` entries, or ``[path.NAME]`` tables whose name becomes ``name``."""
    named = found.items() if isinstance(found, Mapping) else enumerate(found or ())
    for name, entry in named:
        inner = f"{path}.{name}."
        if not isinstance(entry, Mapping):
            raise reading.wrong(f"{path}.{name}", "must be a table")
        if isinstance(found, Mapping):
            entry = {**entry, "name": name}
        yield kind(**_read_table(kind, entry, inner, reading._replace(environ={}, overrides={})))


def _read_key(item: Any, found: Any, path: str, reading: _Reading) -> Any:
    source: str | None = None
    for name in environment_names(path):
        given = reading.environ.get(name, "").strip()
        # Kubernetes sets EVENTDBX_PORT=tcp://... in every pod beside a service of that name.
        if given and not given.startswith("tcp://"):
            found, source = value_from_text(given, str(item.type)), name
            break
    if path in reading.overrides:
        found, source = reading.overrides[path], "the command line"
    if found is None:
        return item.default
    if path == "restrict":
        return _read_restrict(found, source, reading)
    if path == "log.level" and source == "RUST_LOG" and found not in ("off", "error", "warn"):
        found = found if found in ("debug", "trace") else "info"
    if path == "socket.bind_addr" and isinstance(found, str):
        found = LEGACY_ADDRESSES.get(found, found)
    try:
        return checked_value(item, found)
    except ValueError as error:
        raise reading.wrong(path, str(error), source) from None


def value_from_text(text: str, kind: str) -> Any:
    """Return what a text from outside the file means for a key of a type; a list is separated by
    commas or written as in TOML. What does not fit comes back as it is, for the check to refuse.
    """
    if kind.startswith("tuple"):
        if text.startswith("["):
            try:
                return tomllib.loads(f"list = {text}")["list"]
            except tomllib.TOMLDecodeError:
                return text
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind.startswith("bool"):
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind.startswith("int") and re.fullmatch(r"[+-]?\d{1,20}", text):
        return int(text)
    return text


def _read_restrict(found: Any, source: str | None, reading: _Reading) -> str:
    if isinstance(found, bool):
        return "default" if found else "off"
    if not isinstance(found, str):
        raise reading.wrong("restrict", "must be off, default or strict", source)
    if source is not None and found == "dev":
        return "off"
    if found not in RESTRICT_MODES:
        reading.warnings.append(
            f"restrict = '{found}' in {source or reading.origin} is unknown; using default"
        )
    return RESTRICT_MODES.get(found, "default")


def check_changes(changes: Mapping[str, Value]) -> dict[str, Value]:
    """Return the changes as they will be stored; raise ConfigError naming the first wrong key.

    Stricter than reading: a spelling of ``restrict`` that reading replaces is refused here.
    """
    checked: dict[str, Value] = {}
    for path, value in changes.items():
        key = key_at(path)
        item = key.item
        if key.many is not None:
            checked[path] = _checked_tables(key, value)
            continue
        if path == "restrict" and isinstance(value, str):
            value = parse_restrict(value)
        try:
            checked[path] = None if value is None else checked_value(item, value)
        except ValueError as error:
            raise ConfigError(f"{path} {error}") from None
    return checked


def _checked_tables(key: Declared, value: Value) -> Value:
    """Return a list of tables that reads back; raise ConfigError otherwise."""
    if value is None:
        return None
    if not isinstance(value, tuple):
        raise ConfigError(f"{key.path} must be a list of tables")
    tuple(_read_many(key.many, value, key.path, _Reading("the change", {}, {}, [])))
    return value


def updated_text(text: str, changes: Mapping[str, Value]) -> str:
    """Return the text with these keys (dotted paths) set, or removed where the value is None.

    Comments, unknown keys and the order of everything else stay as they are. The values are
    not checked: see :func:`check_changes`.
    """
    import tomlkit  # Reading a configuration does not need it, and every command reads one.

    document = tomlkit.parse(text)
    for path, value in changes.items():
        *tables, name = path.split(".")
        place: Any = document
        for step in tables:
            if step not in place:
                if value is None:
                    break
                place[step] = tomlkit.table()
            place = place[step]
        else:
            if value is not None:
                place[name] = list(value) if isinstance(value, tuple) else value
            elif name in place:
                del place[name]
    return tomlkit.dumps(document)


def with_remote(text: str, name: str, members: Mapping[str, str] | None) -> str:
    """Return the text with one remote, or without it; everything else stays as it is."""
    import tomlkit

    document = tomlkit.parse(text)
    remotes: Any = document.get("remotes")
    if isinstance(remotes, list):
        # [[remotes]] with names inside: read as well, though no version writes it.
        entries = [entry for entry in remotes if entry.get("name") != name]
        remotes = tomlkit.table(is_super_table=True)
        for entry in entries:
            remotes[str(entry.get("name", ""))] = {
                key: value for key, value in entry.items() if key != "name"
            }
        document["remotes"] = remotes
    elif remotes is None:
        if members is None:
            return text
        remotes = document["remotes"] = tomlkit.table(is_super_table=True)
    if members is None:
        remotes.pop(name, None)
    else:
        table = tomlkit.table()
        table.update(members)
        remotes[name] = table
    return tomlkit.dumps(document)


def plugin_tables(text: str) -> list[Any]:
    """Return the ``[[plugins]]`` tables of a configuration; old versions kept plugins there."""
    tables = tomllib.loads(text).get("plugins")
    return tables if isinstance(tables, list) else []


def text_as_document(text: str) -> dict[str, Any]:
    """Return what stands in the text of a configuration, as nested tables."""
    return tomllib.loads(text)


def document_as_text(document: Mapping[str, Any]) -> str:
    """Return a configuration as text; nulls count as absent. Raises ConfigError."""
    import tomlkit

    try:
        return tomlkit.dumps(_without_nulls(document))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the configuration cannot be written: {error}") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        there = [(key, _without_nulls(one)) for key, one in value.items() if one is not None]
        # Tables last: what follows one in the text belongs to it.
        return dict(sorted(there, key=lambda pair: isinstance(pair[1], dict | list)))
    if isinstance(value, list):
        return [_without_nulls(one) for one in value if one is not None]
    return value


def fresh_text(*, data_dir: str, created_at: str) -> str:
    """Return the text of a new configuration, still without keys; the time is RFC 3339.

    Whole lines of it (``restrict = "default"``, ``port = 7070``) are edited by scripts.
    """
    given: dict[str, Value] = {
        "data_dir": data_dir,
        "created_at": created_at,
        "updated_at": created_at,
    }
    written = ("plugin_queue", "socket", "tenants", "auth")
    listed = [
        (path, given.get(path, value))
        for path, value, item in rows(Config())
        if path.split(".")[0] in written or "." not in path
    ]
    unwritten = {
        "durability",
        "interval_ms",
        "auth.bootstrap_ttl_secs",
        "auth.failures_per_minute",
    }
    return _toml([row for row in listed if row[0] not in unwritten])


def shown_text(
    config: Config, *, everything: bool = False, secrets: bool = False, table: str = ""
) -> str:
    """Return the configuration in effect as TOML, for people to read.

    Shows the keys that everybody asks about and all that differ from their default, or really
    ``everything``; secrets only if ``secrets``, else as ``"<hidden>"``. With ``table``, only that.
    """
    listed: list[tuple[str, Any]] = []
    for path, value, item in rows(config):
        if not path.startswith(table and table + "."):
            continue
        asked = everything or table or path not in QUIET
        if everything or item.metadata["lean"] or (asked and value != item.default):
            hide = item.metadata["secret"] and value and not secrets
            listed.append((path, HIDDEN if hide else value))
    return _toml(listed)


def shown_document(
    config: Config, *, everything: bool = False, secrets: bool = False
) -> dict[str, Any]:
    """Return what :func:`shown_text` shows as one value."""
    return tomllib.loads(shown_text(config, everything=everything, secrets=secrets))


def _toml(rows: list[tuple[str, Any]]) -> str:
    lines: list[str] = []
    table = ""
    for path, value in rows:
        if value is None or value == ():
            continue
        head, _, name = path.rpartition(".")
        if head != table:
            lines += ["", _table_head(head)]
            table = head
        lines.append(f"{name} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def _table_head(path: str) -> str:
    """Return the line that begins a table; entries of a list have a number for a name."""
    above = path.rpartition(".")[0]
    return f"[[{above}]]" if above in _LISTS else f"[{path}]"


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()
