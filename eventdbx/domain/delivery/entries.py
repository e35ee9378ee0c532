"""What one plugin is configured to be: an entry of ``plugins.json`` as a value.

Reading and writing the file's text is in ``domain.delivery.reading``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from eventdbx.domain.canonical import JSON

PayloadMode = Literal[
    "all", "event-only", "state-only", "schema-only", "event-and-schema", "extensions-only"
]
Priority = Literal["high", "normal", "low"]
Kind = Literal["http", "tcp", "capnp", "log", "process"]
Order = Literal["aggregate", "strict", "none"]
OnDead = Literal["hold", "continue"]
Detail = Literal["summary", "full"]

PAYLOAD_MODES: tuple[PayloadMode, ...] = get_args(PayloadMode)
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """One POST for each delivery. ``secrets`` sign it (Standard Webhooks)."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)
    https: bool = False
    secrets: tuple[str, ...] = ()
    format: Literal["eventdbx", "cloudevents"] = "eventdbx"
    structured: bool = False
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    allow_private: bool = True
    allow_link_local: bool = False
    kind: Kind = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketConfig:
    """JSON lines (``tcp``) or Cap'n Proto messages (``capnp``) to a host and port."""

    kind: Kind
    host: str
    port: int
    tls: bool = False
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    persistent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Lines in the server's log, or in a file of its own (``path``: NDJSON, rotated by size)."""

    level: str = "info"
    template: str | None = None
    detail: Detail = "full"
    path: str | None = None
    kind: Kind = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """A child process that reads Cap'n Proto messages from its standard input."""

    name: str
    version: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    ack: bool = False
    max_in_flight: int = 16
    user: str | None = None
    memory_mb: int | None = None
    open_files: int | None = None
    kind: Kind = "process"


Config: TypeAlias = HttpConfig | SocketConfig | LogConfig | ProcessConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The delay after attempt n: ``first_s`` times ``factor`` to the n - 1, up to ``max_s``."""

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 10.0


DOCUMENTED_BACKOFF_S = (1.0, 2.0, 4.0, 10.0)
"""The delays of an entry without ``backoff``; the last one repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How many events may travel in one delivery, and how long the first may wait for others."""

    max_events: int = 100
    max_bytes: int = 1 << 20
    linger_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """One configured plugin.

    ``extra`` are members of the file that we do not know and keep, ``config_extra`` those of its
    ``config``. ``rate_limit`` is in events per second. Options that are None or at their default
    are not written to the file.
    """

    enabled: bool
    config: Config
    emit_events: bool = True
    name: str | None = None
    payload_mode: PayloadMode = "all"
    order: Order = "aggregate"
    on_dead: OnDead = "hold"
    concurrency: int = 1
    max_attempts: int | None = None
    backoff: Backoff | None = None
    give_up: Literal["attempts", "never"] = "attempts"
    timeout_s: float | None = None
    filter: str | None = None
    aggregates: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    include_hidden: bool = False
    include_imported: bool = False
    paused: bool = False
    batch: Batch | None = None
    rate_limit: float | None = None
    extra: Mapping[str, JSON] = field(default_factory=dict)
    config_extra: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Return the kind of the plugin."""
        return self.config.kind

    @property
    def key(self) -> str:
        """Return what the plugin answers to, and what its durable rows are kept under."""
        return self.name or self.config.kind

    @property
    def label(self) -> str:
        """Return ``<kind> (<name>)``, or the kind of a nameless one."""
        return f"{self.kind} ({self.name})" if self.name else self.kind

    @property
    def emits(self) -> bool:
        """Say whether events are meant for it: enabled, and with event delivery."""
        return self.enabled and self.emit_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """An entry that cannot be used, kept in the file as it stands.

    ``label`` is ``<type> (<name>)``, ``reason`` says what is wrong with it.
    """

    name: str | None
    type: str
    reason: str
    document: JSON

    @property
    def label(self) -> str:
        """Return ``<type> (<name>)``, or the type of a nameless one."""
        return f"{self.type} ({self.name})" if self.name else self.type


Entry: TypeAlias = PluginEntry | Unavailable
