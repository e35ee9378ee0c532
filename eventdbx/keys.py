"""Every key of the configuration by its dotted path: what there is, what it takes, what differs.

The declarations are in :mod:`eventdbx.settings`; reading and changing text in
:mod:`eventdbx.config`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, replace
from ipaddress import ip_address
from typing import Any, NamedTuple

from eventdbx import limits
from eventdbx.errors import ConfigError
from eventdbx.settings import Config, Value

ALIASES = {"cache_threshold": "memory_threshold", "token": "public_key"}
"""Older names of keys, read where the present one is absent (``token``: of a remote)."""

RETIRED = frozenset(
    "api api_mode grpc column_types hidden_aggregate_types hidden_fields master_key run_mode "
    "plugins memory_threshold admin.master_key_hash replication.identity_key".split()
)
"""Keys of other versions, which stay in the file and are passed over without a word."""

GENERATED = frozenset(
    (
        "data_encryption_key",
        "auth.private_key",
        "auth.public_key",
        "integrity.origin",
        "integrity.signing_key",
    )
)
"""Keys that are made anew where they are missing."""

QUIET = frozenset(("integrity.origin", "integrity.signing_key"))
"""Those that nobody asks about: shown by name, with their table, or with everything."""

ON_FILES_ALONE = GENERATED | frozenset(
    "auth.key_id auth.previous_keys auth.issuer auth.audience data_encryption_keys data_dir domain "
    "encryption created_at updated_at log.dir tenants.shard_map_path socket.endpoints "
    "admin.endpoints".split()
)
"""Keys that nobody changes over the network: with them an installation would be handed over."""

_ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "data_dir": (),  # Naming it here would make existing volumes look empty; see workspace.
    "created_at": (),
    "updated_at": (),
    "data_encryption_key": ("EVENTDBX_DATA_ENCRYPTION_KEY", "EVENTDBX_DEK"),
    "restrict": ("EVENTDBX_RESTRICT", "EVENTDB_RESTRICT", "EVENTFUL_RESTRICT"),
    "log.level": ("EVENTDBX_LOG", "EVENTDBX_LOG_LEVEL", "RUST_LOG"),
}
"""The names of keys that do not follow the rule ``EVENTDBX_<PATH>``."""


def environment_names(path: str) -> tuple[str, ...]:
    """Return the variables that may set a key, the strongest first."""
    named = _ENVIRONMENT.get(path)
    return ("EVENTDBX_" + path.upper().replace(".", "_"),) if named is None else named


class Declared(NamedTuple):
    """A key as it is declared; a list of tables is one, and ``many`` the kind of its entries."""

    path: str
    item: Field[Any]

    @property
    def many(self) -> Any:
        """The class of the entries of a list of tables, None for a plain key."""
        return self.item.metadata.get("many")

    @property
    def named(self) -> bool:
        """True for a list of tables that is a table of named ones in TOML: ``[remotes.NAME]``."""
        return self.many is not None and any(item.name == "name" for item in fields(self.many))


def declared(kind: Any = Config, prefix: str = "") -> Iterator[Declared]:
    """Yield every key, the keys of a table after its scalars."""
    items = [item for item in fields(kind) if item.metadata]
    yield from (
        Declared(prefix + item.name, item) for item in items if "table" not in item.metadata
    )
    for item in items:
        if "table" in item.metadata:
            yield from declared(item.metadata["table"], f"{prefix}{item.name}.")


_KEYS = {one.path: one for one in declared()}


def key_at(path: str) -> Declared:
    """Return the declaration of a key; ConfigError, with the nearest name, if there is none."""
    found = _KEYS.get(path)
    if found is None:
        raise ConfigError(f"unknown configuration key '{path}'{meant(path)}")
    return found


def meant(path: str) -> str:
    """Return ``; did you mean 'page_limit'?`` for a mistyped key, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(path, _KEYS, n=1, cutoff=0.7)
    if not near:
        last = [key for key in _KEYS if key.rpartition(".")[2] == path.rpartition(".")[2]]
        near = last if len(last) == 1 else []
    return f"; did you mean '{near[0]}'?" if near else ""


def check_admin_place(config: Config) -> None:
    """Raise ConfigError for an Admin API that has no place to listen, or not an address."""
    admin = config.admin
    if not admin.enabled:
        return
    if admin.port in (0, config.port):
        if not config.port and not admin.endpoints:
            raise ConfigError("admin.port = 0 serves /admin on the main port, but port is 0, too")
        return
    try:
        ip_address(admin.bind_addr.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        place = f"{admin.bind_addr}:{admin.port}"
        text = f"invalid admin bind address {place} - invalid socket address syntax"
        raise ConfigError(text) from None


def unknown_keys(document: Mapping[str, Any], kind: Any = Config, prefix: str = "") -> list[str]:
    """Return the paths in a document that no version has a key for."""
    known = {item.name: item.metadata for item in fields(kind) if item.metadata}
    found: list[str] = []
    for name, value in document.items():
        path = prefix + name
        if path in RETIRED or prefix and ALIASES.get("token") == name:
            continue
        rules = known.get(name)
        if rules is None:
            found.append(path)
        elif "table" in rules and isinstance(value, Mapping):
            found += unknown_keys(value, rules["table"], path + ".")
        elif "many" in rules:
            entries = value.items() if isinstance(value, Mapping) else enumerate(value or ())
            for place, entry in entries:
                if isinstance(entry, Mapping):
                    found += unknown_keys(entry, rules["many"], f"{path}.{place}.")
    return found


def rows(value: Any, prefix: str = "") -> Iterator[tuple[str, Any, Field[Any]]]:
    """Yield path, value and declaration of every key, the keys of a table after its scalars."""
    items = [item for item in fields(value) if item.metadata]
    inner = [item for item in items if "table" in item.metadata or "many" in item.metadata]
    for item in items:
        if item not in inner:
            yield prefix + item.name, getattr(value, item.name), item
    for item in inner:
        found = getattr(value, item.name)
        if "table" in item.metadata:
            yield from rows(found, f"{prefix}{item.name}.")
            continue
        for place, entry in enumerate(found):
            name = getattr(entry, "name", "") or str(place)
            quoted = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
            for path, one, inner_item in rows(entry, f"{prefix}{item.name}.{quoted}."):
                if inner_item.name != "name":
                    yield path, one, inner_item


def checked_value(item: Field[Any], value: Any) -> Any:
    """Return the value in the type of its key; raise ValueError saying what it must be."""
    kind, rules = str(item.type), item.metadata
    if kind.startswith("tuple"):
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ValueError("must be a list of texts")
        if len(value) > limits.CONFIG_LIST_ITEMS_MAX:
            raise ValueError(f"must not hold more than {limits.CONFIG_LIST_ITEMS_MAX} items")
        for one in value:
            _check_length(one)
            if rules["check"] is not None:
                rules["check"](one)
        return tuple(value)
    if kind.startswith("bool"):
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false (got {value!r})")
        return value
    if kind.startswith("int"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be an integer (got {value!r})")
        return _in_range(value, rules["low"], rules["high"], rules["clamp"])
    if hasattr(value, "isoformat"):
        value = value.isoformat()
    if not isinstance(value, str):
        raise ValueError(f"must be text (got {value!r})")
    if not value.strip() and (rules["check"] is not None or kind.endswith("None")):
        # A blank text is how files and shells spell "not set".
        return item.default
    _check_length(value)
    if rules["check"] is not None:
        rules["check"](value)
    return value


def _check_length(text: str) -> None:
    if len(text) > limits.CONFIG_TEXT_CHARACTERS_MAX:
        raise ValueError(f"must not exceed {limits.CONFIG_TEXT_CHARACTERS_MAX} characters")


def _in_range(value: int, low: int | None, high: int | None, clamp: bool) -> int:
    if low is not None and high is not None and not low <= value <= high:
        if not clamp:
            raise ValueError(f"must be between {low} and {high} (got {value})")
        return min(max(value, low), high)
    return value


def value_at(config: Any, path: str) -> Any:
    """Return the value of a key."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def with_value(config: Any, path: str, value: Any) -> Any:
    """Return a configuration, or a table of one, with one other value."""
    name, _, rest = path.partition(".")
    return replace(
        config, **{name: with_value(getattr(config, name), rest, value) if rest else value}
    )


class Taken(NamedTuple):
    """What a running server makes of a configuration that was read again."""

    config: Config
    changed: tuple[str, ...]
    restart_required: tuple[str, ...]


_TOLD_OF_NOTHING = ("created_at", "updated_at")


def taken_up(now: Config, wanted: Config) -> Taken:
    """Return the configuration of a running server once it has read another.

    Live keys take their new values, others stay as they are and are named. The Admin API takes
    up all of its keys while it is off.
    """
    admin_is_on = now.admin.enabled and wanted.admin.enabled
    config, changed, waiting = now, list[str](), list[str]()
    for path, item in declared():
        value = value_at(wanted, path)
        if value == value_at(now, path):
            continue
        if item.metadata["live"] or (path.startswith("admin.") and not admin_is_on):
            config = with_value(config, path, value)
            if path not in _TOLD_OF_NOTHING:
                changed.append(path)
        else:
            waiting.append(path)
    return Taken(replace(config, warnings=wanted.warnings), tuple(changed), tuple(waiting))


def changed_from_default(config: Config) -> dict[str, Value]:
    """Return the keys (dotted paths) whose value is not the default."""
    return {path: value for path, value, item in rows(config) if value != item.default}
