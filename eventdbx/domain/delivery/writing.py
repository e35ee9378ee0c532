"""Entries as documents and as the text of ``plugins.json``.

The order of members is that of the file; what is at its default is left out where older readers
do not know it (spelled as they do where they do).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import (
    Config,
    Entry,
    HttpConfig,
    LogConfig,
    PluginEntry,
    ProcessConfig,
    SocketConfig,
)

Document = dict[str, Any]


def entries_text(entries: Iterable[Entry]) -> str:
    """Return the text of the file: a JSON array, two spaces deep."""
    documents = [entry_document(entry) for entry in entries]
    return orjson.dumps(documents, option=orjson.OPT_INDENT_2).decode()


def entry_document(entry: Entry) -> JSON:
    """Return an entry as it stands in the file, an unavailable one as it was read."""
    return entry.document if not isinstance(entry, PluginEntry) else plugin_document(entry)


def plugin_document(entry: PluginEntry) -> Document:
    """Return a usable entry as it stands in the file."""
    backoff, batch = entry.backoff, entry.batch
    optional: Document = {
        "order": _unless(entry.order, "aggregate"),
        "on_dead": _unless(entry.on_dead, "hold"),
        "concurrency": _unless(entry.concurrency, 1),
        "max_attempts": entry.max_attempts,
        "backoff": None
        if backoff is None
        else {
            "first_secs": _number(backoff.first_s),
            "factor": _number(backoff.factor),
            "max_secs": _number(backoff.max_s),
        },
        "give_up": _unless(entry.give_up, "attempts"),
        "timeout_secs": _number(entry.timeout_s),
        "filter": entry.filter,
        "aggregates": list(entry.aggregates) or None,
        "events": list(entry.events) or None,
        "domains": list(entry.domains) or None,
        "include_hidden": entry.include_hidden or None,
        "include_imported": entry.include_imported or None,
        "paused": entry.paused or None,
        "batch": None
        if batch is None
        else {
            "max_events": batch.max_events,
            "max_bytes": batch.max_bytes,
            "linger_ms": batch.linger_ms,
        },
        "rate_limit": _number(entry.rate_limit),
    }
    return {
        "enabled": entry.enabled,
        "emit_events": entry.emit_events,
        "name": entry.name,
        "payload_mode": entry.payload_mode,
        "config": {**_config_document(entry.config), **entry.config_extra},
        **_given(optional),
        **entry.extra,
    }


def _config_document(config: Config) -> Document:
    if isinstance(config, HttpConfig):
        return _http(config)
    if isinstance(config, SocketConfig):
        return _socket(config)
    if isinstance(config, LogConfig):
        return _log(config)
    return _process(config)


def _http(config: HttpConfig) -> Document:
    secrets = config.secrets
    return {
        "type": config.kind,
        "endpoint": config.endpoint,
        "headers": dict(config.headers),
        "https": config.https,
        **_given(
            {
                "secret": secrets[0] if len(secrets) == 1 else None,
                "secrets": list(secrets) if len(secrets) > 1 else None,
                "format": _unless(config.format, "eventdbx"),
                "structured": config.structured or None,
                "ca_file": config.ca_file,
                "client_cert": config.client_cert,
                "client_key": config.client_key,
                "allow_private": _unless(config.allow_private, True),
                "allow_link_local": config.allow_link_local or None,
            }
        ),
    }


def _socket(config: SocketConfig) -> Document:
    return {
        "type": config.kind,
        "host": config.host,
        "port": config.port,
        **_given(
            {
                "tls": config.tls or None,
                "ca_file": config.ca_file,
                "client_cert": config.client_cert,
                "client_key": config.client_key,
                "persistent": config.persistent or None,
            }
        ),
    }


def _log(config: LogConfig) -> Document:
    return {
        "type": config.kind,
        "level": config.level,
        "template": config.template,
        **_given({"detail": _unless(config.detail, "full"), "path": config.path}),
    }


def _process(config: ProcessConfig) -> Document:
    return {
        "type": config.kind,
        "name": config.name,
        "version": config.version,
        "args": list(config.args),
        "env": dict(config.env),
        "working_dir": config.working_dir,
        **_given(
            {
                "ack": config.ack or None,
                "max_in_flight": _unless(config.max_in_flight, 16),
                "user": config.user,
                "memory_mb": config.memory_mb,
                "open_files": config.open_files,
            }
        ),
    }


def _given(members: Mapping[str, Any]) -> Document:
    return {name: value for name, value in members.items() if value is not None}


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value


def _number(value: float | None) -> float | int | None:
    return int(value) if isinstance(value, float) and value.is_integer() else value
