"""From the text of ``plugins.json`` to entries, one by one: a bad one harms no other.

Writing is in ``domain.delivery.writing``, which entries count in ``domain.delivery.cleaning``.
"""

from __future__ import annotations

from eventdbx import limits
from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.delivery.cleaning import wrong_name
from eventdbx.domain.delivery.entries import (
    PAYLOAD_MODES,
    Backoff,
    Batch,
    Config,
    Entry,
    HttpConfig,
    Kind,
    LogConfig,
    PluginEntry,
    ProcessConfig,
    SocketConfig,
    Unavailable,
)
from eventdbx.domain.delivery.members import Members
from eventdbx.domain.filters import parse_filter
from eventdbx.errors import InvalidSchema, SerializationError

LEGACY_KINDS = ("json", "csv", "postgres", "sqlite", "grpc")
"""Kinds of versions before 3.9."""


def read_entries(text: str | None) -> list[Entry]:
    """Return the entries of a file, none of a blank or missing one.

    Raises SerializationError when the text as a whole is not a JSON array.
    """
    if text is None or not text.strip():
        return []
    try:
        documents = parse(text)
    except ValueError as error:
        raise SerializationError(str(error)) from None
    if not isinstance(documents, list):
        raise SerializationError("the entries of plugins must be an array")
    return [parse_entry(document) for document in documents]


def parse_entry(document: JSON) -> Entry:
    """Return the entry of a document; one that cannot be used says why."""
    if not isinstance(document, dict):
        return _unavailable({}, "an entry must be an object", document)
    try:
        return _plugin(Members(document))
    except ValueError as error:
        return _unavailable(document, str(error), document)


def removed_kind(kind: str) -> str | None:
    """Return the hint for a kind that older versions had, None for any other."""
    if kind in LEGACY_KINDS:
        return f"kind '{kind}' was removed; use http or process"
    return None


def _unavailable(members: dict[str, JSON], reason: str, document: JSON) -> Unavailable:
    name, config = members.get("name"), members.get("config")
    kind = config.get("type") if isinstance(config, dict) else None
    return Unavailable(
        name=name.strip() or None if isinstance(name, str) else None,
        type=kind if isinstance(kind, str) else "unknown",
        reason=reason,
        document=document,
    )


def _plugin(members: Members) -> PluginEntry:
    """Read an entry; raises ValueError for the first member that is wrong."""
    inner = members.inner("config")
    if inner is None:
        raise ValueError("missing field 'config'")
    config = _config(inner)
    members.need("enabled", keep=True)
    name = members.text("name")
    reason = None if name is None else wrong_name(name.strip())
    if reason is not None:
        raise ValueError(reason)
    timeout_max = limits.PLUGIN_TIMEOUT_S_MAX[config.kind]
    return PluginEntry(
        enabled=members.flag("enabled", True),
        emit_events=members.flag("emit_events", True),
        name=name,
        payload_mode=members.choice("payload_mode", PAYLOAD_MODES, "all"),
        config=config,
        order=members.choice("order", ("aggregate", "strict", "none"), "aggregate"),
        on_dead=members.choice("on_dead", ("hold", "continue"), "hold"),
        concurrency=members.integer("concurrency", 1, limits.PLUGIN_CONCURRENCY_MAX) or 1,
        max_attempts=members.integer("max_attempts", 1, limits.PLUGIN_ATTEMPTS_MAX),
        backoff=_backoff(members.inner("backoff")),
        give_up=members.choice("give_up", ("attempts", "never"), "attempts"),
        timeout_s=members.number("timeout_secs", 0.01, timeout_max),
        filter=_filter(members),
        aggregates=members.texts("aggregates"),
        events=members.texts("events"),
        domains=members.texts("domains"),
        include_hidden=members.flag("include_hidden", False),
        include_imported=members.flag("include_imported", False),
        paused=members.flag("paused", False),
        batch=_batch(members.inner("batch")),
        rate_limit=members.number("rate_limit", 0.001, 1e6),
        extra=members.rest,
        config_extra=inner.rest,
    )


def _filter(members: Members) -> str | None:
    text = members.text("filter")
    if text is not None:
        try:
            parse_filter(text)
        except InvalidSchema as error:
            raise members.wrong("filter", f"is none: {error.detail}") from None
    return text


def _backoff(members: Members | None) -> Backoff | None:
    if members is None:
        return None
    longest = limits.PLUGIN_BACKOFF_S_MAX
    given = Backoff()
    first = members.number("first_secs", 0.01, longest)
    factor = members.number("factor", 1, 100)
    most = members.number("max_secs", 0.01, longest)
    return Backoff(
        first_s=given.first_s if first is None else first,
        factor=given.factor if factor is None else factor,
        max_s=given.max_s if most is None else most,
    )


def _batch(members: Members | None) -> Batch | None:
    if members is None:
        return None
    given = Batch()
    linger = members.integer("linger_ms", 0, limits.PLUGIN_LINGER_MS_MAX)
    return Batch(
        max_events=members.integer("max_events", 1, limits.PLUGIN_BATCH_EVENTS_MAX)
        or given.max_events,
        max_bytes=members.integer("max_bytes", 1, limits.DOCUMENT_BYTES_MAX) or given.max_bytes,
        linger_ms=given.linger_ms if linger is None else linger,
    )


def _config(members: Members) -> Config:
    kind = members.needed_text("type")
    if kind == "http":
        return _http(members)
    if kind in ("tcp", "capnp"):
        return _socket(members, "tcp" if kind == "tcp" else "capnp")
    if kind == "log":
        return LogConfig(
            level=members.text("level") or "info",
            template=members.text("template"),
            detail=members.choice("detail", ("summary", "full"), "full"),
            path=members.text("path"),
        )
    if kind == "process":
        return _process(members)
    raise ValueError(removed_kind(kind) or f"unknown kind '{kind[:64]}'")


def _http(members: Members) -> HttpConfig:
    single, several = members.text("secret"), members.texts("secrets")
    return HttpConfig(
        endpoint=members.needed_text("endpoint"),
        headers=members.text_map("headers"),
        https=members.flag("https", False),
        secrets=several if single is None or single in several else (single, *several),
        format=members.choice("format", ("eventdbx", "cloudevents"), "eventdbx"),
        structured=members.flag("structured", False),
        ca_file=members.text("ca_file"),
        client_cert=members.text("client_cert"),
        client_key=members.text("client_key"),
        allow_private=members.flag("allow_private", True),
        allow_link_local=members.flag("allow_link_local", False),
    )


def _socket(members: Members, kind: Kind) -> SocketConfig:
    host = members.needed_text("host")
    members.need("port", keep=True)
    return SocketConfig(
        kind=kind,
        host=host,
        port=members.integer("port", 0, 65_535) or 0,
        tls=members.flag("tls", False),
        ca_file=members.text("ca_file"),
        client_cert=members.text("client_cert"),
        client_key=members.text("client_key"),
        persistent=members.flag("persistent", False),
    )


def _process(members: Members) -> ProcessConfig:
    return ProcessConfig(
        name=members.needed_text("name"),
        version=members.needed_text("version"),
        args=members.texts("args"),
        env=members.text_map("env"),
        working_dir=members.text("working_dir"),
        ack=members.flag("ack", False),
        max_in_flight=members.integer("max_in_flight", 1, limits.PLUGIN_IN_FLIGHT_MAX) or 16,
        user=members.text("user"),
        memory_mb=members.integer("memory_mb", 1, 1 << 24),
        open_files=members.integer("open_files", 16, 1 << 20),
    )
