"""The values of the configuration: every key with its default, its range and what it means.

Reading them from the text of ``config.toml``, and changing that text, is in
:mod:`eventdbx.config`, which offers these names too.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eventdbx import limits
from eventdbx.errors import ConfigError

Value = bool | int | str | tuple[Any, ...] | None
"""What one key holds, and what ``updated_text`` accepts; None stands for an absent key."""

LOOPBACK_ADDRESS = "127.0.0.1:6363"
LEGACY_ADDRESSES = {"0.0.0.0:7443": "0.0.0.0:6363"}
"""Defaults of old versions that their files still hold, and what they mean today."""


Restrict = Literal["off", "default", "strict"]
"""How far schemas bind."""

_RESTRICT_SPELLINGS: Mapping[Restrict, tuple[str, ...]] = {
    "off": ("off", "false", "0", "no", "none", "unrestricted", "permissive"),
    "default": ("default", "true", "1", "yes", "on", "prod", "restricted", "hybrid"),
    "strict": ("strict", "all", "enforced"),
}

RESTRICT_MODES: Mapping[str, Restrict] = {
    word: mode for mode, words in _RESTRICT_SPELLINGS.items() for word in words
}
"""Every accepted spelling of a schema mode, with its meaning."""


Durability = Literal["always", "interval", "never"]
"""When a commit is synced to disk: before it is acknowledged, every so often, or by the system."""


def parse_restrict(text: str) -> Restrict:
    """Return ``off``, ``default`` or ``strict``; raise ConfigError for any other word."""
    try:
        return RESTRICT_MODES[text.strip()]
    except KeyError:
        raise ConfigError(f"restrict must be off, default or strict (got '{text}')") from None


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``; raise ValueError if malformed."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("must be host:port")
    return match[1] or match[2], int(match[3])


def decode_data_key(text: str) -> bytes:
    """Return the 32 bytes of a base64 data key; raise ConfigError with the reason otherwise."""
    if not text.strip():
        raise ConfigError("data encryption key cannot be empty")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"invalid data encryption key: {error}") from None
    if len(key) != 32:
        raise ConfigError("data encryption key must decode to 32 bytes (256 bits)")
    return key


def _address(text: str) -> None:
    split_address(text)


def _data_key(text: str) -> None:
    try:
        decode_data_key(text)
    except ConfigError as error:
        raise ValueError(f"is not usable: {error.detail}") from None


def _one_of(*words: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")

    return check


def _key(
    default: Value,
    *,
    low: int | None = None,
    high: int | None = None,
    clamp: bool = False,
    check: Callable[[str], None] | None = None,
    secret: bool = False,
    lean: bool = False,
) -> Any:
    """Declare one key. ``clamp``: values outside the range are moved into it, as always was."""
    rules = {"low": low, "high": high, "clamp": clamp, "check": check}
    return field(default=default, metadata={**rules, "secret": secret, "lean": lean})


def _table(kind: Any) -> Any:
    return field(default=kind(), metadata={"table": kind})


def _many(kind: type) -> Any:
    return field(default=(), metadata={"many": kind})


_U32 = 2**32 - 1
_U64 = 2**63 - 1
_TTL_SECS_MAX = 100 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """The control listener."""

    bind_addr: str = _key(LOOPBACK_ADDRESS, check=_address, lean=True)
    endpoints: tuple[str, ...] = _key(())
    """More listeners beside ``bind_addr``, as Twisted endpoint strings: ``ssl:6364:...``."""

    @property
    def host(self) -> str:
        return split_address(self.bind_addr)[0]

    @property
    def port(self) -> int:
        return split_address(self.bind_addr)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """The health and metrics listener; its port is the top-level ``port``."""

    bind_addr: str = _key("127.0.0.1")
    metrics_token: str | None = _key(None, secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The Admin API. Port 0, or the main port, mounts it on the main listener."""

    enabled: bool = _key(False)
    bind_addr: str = _key("127.0.0.1")
    port: int = _key(7171, low=0, high=65_535)
    endpoints: tuple[str, ...] = _key(())
    """More listeners beside the port, as Twisted endpoint strings: ``ssl:...``, ``unix:...``."""
    requests_per_second: int = _key(50, low=1, high=1_000_000)
    requests_burst: int = _key(100, low=1, high=1_000_000)
    require_if_match: bool = _key(False)
    cors_origins: tuple[str, ...] = _key(())
    hosts: tuple[str, ...] = _key(())


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousKey:
    """A retired signing key: accepted for verification until ``not_after``."""

    key_id: str | None = _key(None)
    public_key: str = _key("")
    not_after: str | None = _key(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Signing keys and the terms of tokens; ``bootstrap_ttl_secs`` 0 means no expiry."""

    issuer: str = _key("eventdbx://self", lean=True)
    audience: str = _key("eventdbx-clients", lean=True)
    private_key: str | None = _key(None, secret=True, lean=True)
    public_key: str | None = _key(None, lean=True)
    key_id: str | None = _key(None, lean=True)
    default_ttl_secs: int = _key(3600, low=60, high=_TTL_SECS_MAX, clamp=True, lean=True)
    clock_skew_secs: int = _key(30, low=0, high=300, clamp=True, lean=True)
    bootstrap_ttl_secs: int = _key(0, low=0, high=_TTL_SECS_MAX)
    failures_per_minute: int = _key(10, low=1, high=1_000_000)
    previous_keys: tuple[PreviousKey, ...] = _many(PreviousKey)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Several tenants in one server."""

    multi_tenant: bool = _key(False)
    shard_count: int = _key(16, low=1, high=65_535)
    shard_map_path: str | None = _key(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """When finished plugin jobs are forgotten."""

    done_ttl_secs: int = _key(86_400, low=0, high=_U64)
    interval_secs: int = _key(300, low=60, high=_U64, clamp=True)
    max_done_jobs: int | None = _key(None, low=0, high=_U64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginQueue:
    """The queue of plugin jobs."""

    prune: Prune = _table(Prune)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Kept for older versions, which write it; read by nothing."""

    bind_addr: str = _key(LOOPBACK_ADDRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A peer for replication; its token may be sealed, or stand in an environment variable."""

    name: str = _key("")
    endpoint: str = _key("")
    token: str | None = _key(None, secret=True)
    token_env: str | None = _key(None)
    locator: str | None = _key(None)
    remote_domain: str | None = _key(None)
    tenant: str | None = _key(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Level ``off`` to ``trace``, format ``text`` or ``json``, old files kept in ``dir``."""

    level: str = _key("info", check=_one_of("off", "error", "warn", "info", "debug", "trace"))
    format: str = _key("text", check=_one_of("text", "json"))
    dir: str | None = _key(None)
    keep: int = _key(14, low=0, high=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that an operator may move; all others are fixed in :mod:`eventdbx.limits`."""

    connections_max: int = _key(limits.CONNECTIONS_MAX, low=1, high=1_000_000)
    connections_per_peer_max: int = _key(limits.CONNECTIONS_PER_PEER_MAX, low=1, high=1_000_000)
    requests_in_flight_max: int = _key(limits.REQUESTS_IN_FLIGHT_MAX, low=1, high=65_536)
    hello_timeout_secs: int = _key(int(limits.HELLO_TIMEOUT_S), low=1, high=3600)
    idle_timeout_secs: int = _key(int(limits.IDLE_TIMEOUT_S), low=1, high=31 * 24 * 3600)
    drain_timeout_secs: int = _key(10, low=0, high=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured. ``data_dir`` "" means the default of the workspace."""

    port: int = _key(7070, low=0, high=65_535, lean=True)
    data_dir: str = _key("", lean=True)
    domain: str = _key("default")
    cache_threshold: int = _key(limits.HEAD_CACHE_ENTRIES, low=0, high=_U32, lean=True)
    snapshot_threshold: int | None = _key(None, low=1, high=_U64)
    data_encryption_key: str | None = _key(None, check=_data_key, secret=True)
    data_encryption_keys: tuple[str, ...] = _key((), check=_data_key, secret=True)
    created_at: str | None = _key(None)
    updated_at: str | None = _key(None)
    restrict: Restrict = _key("default", lean=True)
    list_page_size: int = _key(10, low=1, high=100_000, lean=True)
    page_limit: int = _key(1000, low=1, high=100_000, lean=True)
    plugin_max_attempts: int = _key(10, low=1, high=255, clamp=True)
    verbose_responses: bool = _key(True)
    reference_default_depth: int = _key(2, low=0, high=5)
    reference_max_depth: int = _key(5, low=0, high=5, clamp=True)
    reference_none_blocks: bool = _key(False)
    snowflake_worker_id: int = _key(0, low=0, high=1023, lean=True)
    no_noise: bool = _key(False, lean=True)
    durability: Durability = _key("always", check=_one_of("always", "interval", "never"))
    interval_ms: int = _key(100, low=1, high=60_000)
    plugin_queue: PluginQueue = _table(PluginQueue)
    replication: Replication = _table(Replication)
    socket: Socket = _table(Socket)
    http: Http = _table(Http)
    admin: Admin = _table(Admin)
    tenants: Tenants = _table(Tenants)
    auth: Auth = _table(Auth)
    log: Log = _table(Log)
    limits: Limits = _table(Limits)
    remotes: tuple[Remote, ...] = _many(Remote)
    warnings: tuple[str, ...] = ()
    """What the operator should know, e.g. a value that was replaced; not a key."""
