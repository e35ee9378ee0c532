"""The values of the configuration: every key with its default, its range and what it means.

Reading them from the text of ``config.toml``, and changing that text, is in
:mod:`eventdbx.config`, which offers these names too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eventdbx import limits
from eventdbx.errors import ConfigError
from eventdbx.formats import (
    check_address,
    check_data_key,
    check_endpoint,
    check_host,
    check_log_key,
    check_origin,
    check_signing_seed,
    check_witness,
    one_of,
    split_address,
)

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


def _key(
    default: Value,
    *,
    low: int | None = None,
    high: int | None = None,
    clamp: bool = False,
    check: Callable[[str], None] | None = None,
    secret: bool = False,
    lean: bool = False,
    live: bool = False,
    about: str = "",
) -> Any:
    """Declare one key.

    ``clamp``: values outside the range are moved into it, as always was. ``live``: a running
    server takes a new value up when it reads its configuration again, others at its next start.
    """
    rules = {"low": low, "high": high, "clamp": clamp, "check": check}
    told = {"secret": secret, "lean": lean, "live": live, "about": about}
    return field(default=default, metadata={**rules, **told})


def _table(kind: Any) -> Any:
    return field(default=kind(), metadata={"table": kind})


def _many(kind: type, *, about: str = "") -> Any:
    """Declare a list of tables; all there are is live."""
    return field(default=(), metadata={"many": kind, "live": True, "about": about})


_U32 = 2**32 - 1
_U64 = 2**63 - 1
_TTL_SECS_MAX = 100 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """The control listener."""

    bind_addr: str = _key(
        LOOPBACK_ADDRESS, check=check_address, lean=True, about="HOST:PORT of the control listener"
    )
    endpoints: tuple[str, ...] = _key(
        (),
        check=check_endpoint,
        about="more control listeners, as Twisted endpoint strings (`ssl:6364:…`)",
    )

    @property
    def host(self) -> str:
        return split_address(self.bind_addr)[0]

    @property
    def port(self) -> int:
        return split_address(self.bind_addr)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """The health and metrics listener; its port is the top-level ``port``."""

    bind_addr: str = _key(
        "127.0.0.1", check=check_host, about="address of the health and metrics port"
    )
    metrics_token: str | None = _key(
        None, secret=True, live=True, about="bearer token that `/metrics` asks for"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The Admin API. Port 0, or the main port, mounts it on the main listener."""

    enabled: bool = _key(False, live=True, about="serve the Admin API")
    bind_addr: str = _key("127.0.0.1", check=check_host, about="address of the Admin API")
    port: int = _key(
        7171,
        low=0,
        high=65_535,
        about="port of the Admin API; 0, or that of `port`: on the main listener",
    )
    endpoints: tuple[str, ...] = _key(
        (),
        check=check_endpoint,
        about="more Admin listeners, as Twisted endpoint strings (`ssl:…`, `unix:…`)",
    )
    requests_per_second: int = _key(
        50, low=1, high=1_000_000, live=True, about="requests a second of one token or address"
    )
    requests_burst: int = _key(
        100, low=1, high=1_000_000, live=True, about="requests at once of one token or address"
    )
    require_if_match: bool = _key(False, live=True, about="refuse changes without `If-Match`")
    cors_origins: tuple[str, ...] = _key(
        (), live=True, about="web origins that may call, exactly as written"
    )
    hosts: tuple[str, ...] = _key((), live=True, about="accepted `Host` headers; empty: any")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousKey:
    """A retired signing key: accepted for verification until ``not_after``."""

    key_id: str | None = _key(None, live=True, about="its id")
    public_key: str = _key("", live=True, about="the key, 32 bytes as base64")
    not_after: str | None = _key(
        None, live=True, about="time (RFC 3339) until which it verifies; absent: for ever"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Signing keys and the terms of tokens; ``bootstrap_ttl_secs`` 0 means no expiry."""

    issuer: str = _key("eventdbx://self", lean=True, about="`iss` of tokens")
    audience: str = _key("eventdbx-clients", lean=True, about="`aud` of tokens")
    private_key: str | None = _key(
        None,
        secret=True,
        lean=True,
        live=True,
        about="key that signs tokens; made at the first start",
    )
    public_key: str | None = _key(None, lean=True, live=True, about="its public half")
    key_id: str | None = _key(None, lean=True, live=True, about="its id, `kid` of tokens")
    default_ttl_secs: int = _key(
        3600,
        low=60,
        high=_TTL_SECS_MAX,
        clamp=True,
        lean=True,
        live=True,
        about="lifetime of tokens for which none is asked",
    )
    clock_skew_secs: int = _key(
        30, low=0, high=300, clamp=True, lean=True, live=True, about="how far clocks may differ"
    )
    bootstrap_ttl_secs: int = _key(
        0,
        low=0,
        high=_TTL_SECS_MAX,
        live=True,
        about="lifetime of the operator's token in `cli.token`; 0: no end",
    )
    failures_per_minute: int = _key(
        10,
        low=1,
        high=1_000_000,
        live=True,
        about="refused tokens of one address before it has to wait",
    )
    previous_keys: tuple[PreviousKey, ...] = _many(
        PreviousKey, about="earlier signing keys that verify still"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Several tenants in one server."""

    multi_tenant: bool = _key(False, about="serve several tenants")
    shard_count: int = _key(16, low=1, high=65_535, about="shards of the tenants")
    shard_map_path: str | None = _key(None, about="folder of the shard map")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """When finished plugin jobs are forgotten."""

    done_ttl_secs: int = _key(
        86_400,
        low=0,
        high=_U64,
        live=True,
        about="age at which finished plugin jobs are forgotten; 0: no limit",
    )
    interval_secs: int = _key(
        300,
        low=60,
        high=_U64,
        clamp=True,
        live=True,
        about="pause between two looks for finished jobs to forget, where no others finish",
    )
    max_done_jobs: int | None = _key(
        None, low=0, high=_U64, live=True, about="finished jobs that are kept at most"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginQueue:
    """The queue of plugin jobs."""

    prune: Prune = _table(Prune)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Kept for older versions, which write it; read by nothing."""

    bind_addr: str = _key(
        LOOPBACK_ADDRESS, live=True, about="kept for older versions; read by nothing"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A peer for replication; its token may be sealed, or stand in an environment variable."""

    name: str = _key("", live=True)
    endpoint: str = _key("", live=True, about="`tcp://HOST:PORT` of the peer")
    token: str | None = _key(None, secret=True, live=True, about="its token, sealed or plain")
    token_env: str | None = _key(
        None, live=True, about="variable that holds the token, and wins over `token`"
    )
    locator: str | None = _key(None, live=True, about="kept for older versions")
    remote_domain: str | None = _key(None, live=True, about="domain at the peer")
    tenant: str | None = _key(None, live=True, about="tenant at the peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Level ``off`` to ``trace``, format ``text`` or ``json``, old files kept in ``dir``."""

    level: str = _key(
        "info",
        check=one_of("off", "error", "warn", "info", "debug", "trace"),
        live=True,
        about="`off`, `error`, `warn`, `info`, `debug` or `trace`",
    )
    format: str = _key("text", check=one_of("text", "json"), about="`text` or `json`")
    dir: str | None = _key(None, about="folder of the log; absent: `~/.eventdbx/logs`")
    keep: int = _key(14, low=0, high=10_000, live=True, about="old log files that are kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that an operator may move; all others are fixed in :mod:`eventdbx.limits`."""

    connections_max: int = _key(
        limits.CONNECTIONS_MAX, low=1, high=1_000_000, live=True, about="connections at once"
    )
    connections_per_peer_max: int = _key(
        limits.CONNECTIONS_PER_PEER_MAX,
        low=1,
        high=1_000_000,
        live=True,
        about="connections of one address at once",
    )
    requests_in_flight_max: int = _key(
        limits.REQUESTS_IN_FLIGHT_MAX,
        low=1,
        high=65_536,
        live=True,
        about="requests of one connection at once",
    )
    hello_timeout_secs: int = _key(
        int(limits.HELLO_TIMEOUT_S), low=1, high=3600, live=True, about="time for the hello"
    )
    idle_timeout_secs: int = _key(
        int(limits.IDLE_TIMEOUT_S),
        low=1,
        high=31 * 24 * 3600,
        live=True,
        about="silence after which a connection is closed",
    )
    drain_timeout_secs: int = _key(
        10, low=0, high=3600, live=True, about="time for requests in flight when the server stops"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """What is signed of the log, how often, and who else vouches for it (docs/integrity.md)."""

    origin: str | None = _key(
        None, check=check_origin, about="what the logs of this installation are named after"
    )
    signing_key: str | None = _key(
        None,
        check=check_signing_seed,
        secret=True,
        about="Ed25519 key that signs checkpoints: 32 bytes as base64",
    )
    checkpoint: str = _key(
        "interval",
        check=one_of("interval", "commit"),
        about="when a checkpoint is signed: every `interval`, or with each group `commit`",
    )
    checkpoint_interval_ms: int = _key(
        1_000, low=10, high=3_600_000, live=True, about="pause between two checkpoints"
    )
    heads_interval_secs: int = _key(
        60,
        low=0,
        high=86_400,
        live=True,
        about="pause between two updates of the head map; 0: only when a proof asks for it",
    )
    witnesses: tuple[str, ...] = _key(
        (),
        check=check_witness,
        live=True,
        about="keys of the witnesses whose cosignatures count; those with a URL are asked for them",
    )
    witnessed_logs: tuple[str, ...] = _key(
        (), check=check_log_key, live=True, about="keys of the logs that are cosigned here"
    )
    publish: bool = _key(
        True, live=True, about="serve checkpoints and hashes below `/tlog` of the health port"
    )
    scrub_interval_hours: int = _key(
        24, low=0, high=8_760, live=True, about="pause between two checks of everything; 0: never"
    )
    scrub_kib_per_s: int = _key(
        1_024, low=1, high=1_048_576, live=True, about="how much is read for them at most"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured. ``data_dir`` "" means the default of the workspace."""

    port: int = _key(
        7070, low=0, high=65_535, lean=True, about="port of health and metrics; 0: none"
    )
    data_dir: str = _key("", lean=True, about="folder of the data")
    domain: str = _key("default", about="the active domain")
    cache_threshold: int = _key(
        limits.HEAD_CACHE_ENTRIES, low=0, high=_U32, lean=True, about="aggregates kept in memory"
    )
    snapshot_threshold: int | None = _key(
        None, low=1, high=_U64, live=True, about="events between snapshots, for new schemas"
    )
    data_encryption_key: str | None = _key(
        None,
        check=check_data_key,
        secret=True,
        live=True,
        about="key for data at rest: 32 bytes as base64",
    )
    data_encryption_keys: tuple[str, ...] = _key(
        (), check=check_data_key, secret=True, live=True, about="older keys that still read"
    )
    encryption: bool = _key(
        True, about="seal the stores with the data key; off: what is written from now on is plain"
    )
    created_at: str | None = _key(None, live=True, about="when the file was made")
    updated_at: str | None = _key(None, live=True, about="when it was last changed")
    restrict: Restrict = _key(
        "default", lean=True, live=True, about="how far schemas bind: `off`, `default` or `strict`"
    )
    list_page_size: int = _key(
        10, low=1, high=100_000, lean=True, live=True, about="items of a page by default"
    )
    page_limit: int = _key(
        1000, low=1, high=100_000, lean=True, live=True, about="items of a page at most"
    )
    plugin_max_attempts: int = _key(
        10,
        low=1,
        high=255,
        clamp=True,
        live=True,
        about="deliveries tried of an event, for plugins that do not say",
    )
    upgrade_reminder: bool = _key(
        False,
        live=True,
        about="tell at a terminal of newer versions; asks the package index for them",
    )
    verbose_responses: bool = _key(True, live=True, about="answer writes with documents")
    reference_default_depth: int = _key(
        2, low=0, high=5, live=True, about="references followed by default"
    )
    reference_max_depth: int = _key(
        5, low=0, high=5, clamp=True, live=True, about="references followed at most"
    )
    reference_none_blocks: bool = _key(
        False, about="references without a cascade keep their target from being archived"
    )
    snowflake_worker_id: int = _key(
        0, low=0, high=1023, lean=True, about="number of this server in event ids"
    )
    no_noise: bool = _key(False, lean=True, live=True, about="allow sessions without encryption")
    durability: Durability = _key(
        "always",
        check=one_of("always", "interval", "never"),
        about="when an acknowledged write is on disk: `always`, `interval` or `never`",
    )
    backup_dir: str | None = _key(
        None,
        live=True,
        about="where the Admin API puts backups; by default beside the data, `<data_dir>-backups`",
    )
    interval_ms: int = _key(100, low=1, high=60_000, about="pause between syncs, for `interval`")
    plugin_queue: PluginQueue = _table(PluginQueue)
    replication: Replication = _table(Replication)
    socket: Socket = _table(Socket)
    http: Http = _table(Http)
    admin: Admin = _table(Admin)
    tenants: Tenants = _table(Tenants)
    auth: Auth = _table(Auth)
    log: Log = _table(Log)
    limits: Limits = _table(Limits)
    integrity: Integrity = _table(Integrity)
    remotes: tuple[Remote, ...] = _many(Remote, about="peers for replication")
    warnings: tuple[str, ...] = ()
    """What the operator should know, e.g. a value that was replaced; not a key."""
