"""The component schemas of plugins: their definitions, and what is asked about their deliveries."""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import KINDS, PAYLOAD_MODES

Shape = dict[str, JSON]

_TEXT: Shape = {"type": "string"}
_TEXT_OR_NULL: Shape = {"type": ["string", "null"]}
_FLAG_OR_NULL: Shape = {"type": ["boolean", "null"]}
_COUNT_OR_NULL: Shape = {"type": ["integer", "null"], "minimum": 0}
_NUMBER_OR_NULL: Shape = {"type": ["number", "null"], "minimum": 0}
_TEXTS_OR_NULL: Shape = {"type": ["array", "null"], "items": _TEXT}
_TEXT_MAP: Shape = {"type": ["object", "null"], "additionalProperties": _TEXT}
_PORT: Shape = {"type": "integer", "minimum": 0, "maximum": 65_535}
_FILES: Shape = dict.fromkeys(("ca_file", "client_cert", "client_key"), _TEXT_OR_NULL)

_MEMBERS: Mapping[str, Shape] = {
    "http": {
        "endpoint": _TEXT,
        "headers": _TEXT_MAP,
        "https": _FLAG_OR_NULL,
        "secret": _TEXT_OR_NULL,
        "secrets": _TEXTS_OR_NULL,
        "format": {"enum": ["eventdbx", "cloudevents", None]},
        "structured": _FLAG_OR_NULL,
        **_FILES,
        "allow_private": _FLAG_OR_NULL,
        "allow_link_local": _FLAG_OR_NULL,
    },
    "tcp": {
        "host": _TEXT,
        "port": _PORT,
        "tls": _FLAG_OR_NULL,
        **_FILES,
        "persistent": _FLAG_OR_NULL,
    },
    "log": {
        "level": _TEXT_OR_NULL,
        "template": _TEXT_OR_NULL,
        "detail": {"enum": ["summary", "full", None]},
        "path": _TEXT_OR_NULL,
    },
    "process": {
        "name": _TEXT,
        "version": _TEXT,
        "args": _TEXTS_OR_NULL,
        "env": _TEXT_MAP,
        "working_dir": _TEXT_OR_NULL,
        "ack": _FLAG_OR_NULL,
        "max_in_flight": _COUNT_OR_NULL,
        "user": _TEXT_OR_NULL,
        "memory_mb": _COUNT_OR_NULL,
        "open_files": _COUNT_OR_NULL,
    },
}
_REQUIRED = {
    "http": ["endpoint"],
    "tcp": ["host", "port"],
    "capnp": ["host", "port"],
    "log": [],
    "process": ["name", "version"],
}
_OPTIONS: Shape = {
    "enabled": _FLAG_OR_NULL,
    "emit_events": _FLAG_OR_NULL,
    "payload_mode": {"enum": [*PAYLOAD_MODES, None]},
    "order": {"enum": ["aggregate", "strict", "none", None]},
    "on_dead": {"enum": ["hold", "continue", None]},
    "concurrency": _COUNT_OR_NULL,
    "max_attempts": _COUNT_OR_NULL,
    "backoff": {
        "type": ["object", "null"],
        "properties": {
            "first_secs": _NUMBER_OR_NULL,
            "factor": _NUMBER_OR_NULL,
            "max_secs": _NUMBER_OR_NULL,
        },
    },
    "give_up": {"enum": ["attempts", "never", None]},
    "timeout_secs": _NUMBER_OR_NULL,
    "filter": _TEXT_OR_NULL,
    "aggregates": _TEXTS_OR_NULL,
    "events": _TEXTS_OR_NULL,
    "domains": _TEXTS_OR_NULL,
    "include_hidden": _FLAG_OR_NULL,
    "include_imported": _FLAG_OR_NULL,
    "paused": _FLAG_OR_NULL,
    "batch": {
        "type": ["object", "null"],
        "properties": {
            "max_events": _COUNT_OR_NULL,
            "max_bytes": _COUNT_OR_NULL,
            "linger_ms": _COUNT_OR_NULL,
        },
    },
    "rate_limit": _NUMBER_OR_NULL,
}
_NAME: Shape = {**_TEXT_OR_NULL, "description": "Must be the name in the path, if any."}


def _config(kind: str) -> Shape:
    """Return the shape of a whole config of a kind."""
    members = _MEMBERS["tcp" if kind == "capnp" else kind]
    return {
        "type": "object",
        "required": ["type", *_REQUIRED[kind]],
        "properties": {"type": {"const": kind}, **members},
    }


def _every_member() -> Shape:
    """Return the shapes of the members of all kinds; those of one name are the same."""
    return {name: shape for members in _MEMBERS.values() for name, shape in members.items()}


def _config_changes() -> Shape:
    """Return the shape of members of a config that are to change, of whatever kind."""
    texts: Shape = {"type": ["object", "null"], "additionalProperties": _TEXT_OR_NULL}
    return {
        "type": "object",
        "description": "What is left out stays. Of headers and env a null removes one.",
        "properties": {
            "type": {"enum": [*KINDS]},
            **_every_member(),
            "headers": texts,
            "env": texts,
        },
    }


def _object(required: list[JSON], properties: Shape, **more: JSON) -> Shape:
    return {"type": "object", "required": required, "properties": properties, **more}


_LAG: Shape = {
    "name": _TEXT,
    "label": _TEXT,
    "position": _TEXT,
    "lag": {"type": "integer", "minimum": 0},
    "oldest_s": {"type": "number", "minimum": 0},
    "parked": {"type": "integer", "minimum": 0},
    "dead": {"type": "integer", "minimum": 0},
    "in_flight": {"type": "integer", "minimum": 0},
    "paused": _TEXT_OR_NULL,
    "breaker_open": {"type": "boolean"},
    "last_error": _TEXT_OR_NULL,
}
_PROCESS: Shape = {
    "name": _TEXT,
    "label": _TEXT,
    "running": {"type": "boolean"},
    "pid": {"type": ["integer", "null"]},
    "restarts": {"type": "integer", "minimum": 0},
    "stopped": {"type": "boolean"},
    "reason": _TEXT_OR_NULL,
}
_REPLAY: Shape = {
    "aggregate_type": _TEXT_OR_NULL,
    "aggregate_id": _TEXT_OR_NULL,
    "payload_mode": {"enum": [*PAYLOAD_MODES, None]},
    "from_version": _COUNT_OR_NULL,
    "to_version": _COUNT_OR_NULL,
    "from_time": {**_TEXT_OR_NULL, "description": "RFC 3339"},
    "to_time": {**_TEXT_OR_NULL, "description": "RFC 3339"},
    "include_archived": _FLAG_OR_NULL,
    "retry": _FLAG_OR_NULL,
}

SCHEMAS: Mapping[str, JSON] = {
    "PluginDefinition": _object(
        ["enabled", "emit_events", "name", "payload_mode", "config"],
        {
            "enabled": {"type": "boolean"},
            "emit_events": {"type": "boolean"},
            "name": _TEXT_OR_NULL,
            "payload_mode": _TEXT,
            "config": _object(["type"], {"type": _TEXT}),
            "unavailable": {**_TEXT, "description": "Why an entry of the file cannot be used."},
        },
        description="Credentials are shown as `***`; options at their default are left out.",
    ),
    "PluginUpsert": _object(
        ["config"],
        {
            **_OPTIONS,
            "enabled": {**_FLAG_OR_NULL, "description": "Left out: on, untested. True: tested."},
            "name": _NAME,
            # The members first: what is wrong with one is said by its name, and a thousand faults
            # are not looked for once for each kind.
            "config": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": [*KINDS]}, **_every_member()},
                "oneOf": [_config(kind) for kind in KINDS],
            },
        },
        description="Options that are left out stay as they are; `***` keeps a credential.",
    ),
    "PluginPatch": {
        "type": "object",
        "description": "What is left out stays, null is the default, `***` keeps a credential.",
        "properties": {**_OPTIONS, "name": _NAME, "config": _config_changes()},
    },
    "PluginRename": _object(["to"], {"to": {**_TEXT, "maxLength": limits.PLUGIN_NAME_BYTES_MAX}}),
    "PluginSwitch": _object(["with"], {"with": _TEXT}),
}

OF_DELIVERIES: Mapping[str, JSON] = {
    "PluginLag": _object([*_LAG], _LAG),
    "PluginTest": _object(
        ["label", "ok", "reason"],
        {"label": _TEXT, "ok": {"type": "boolean"}, "reason": _TEXT_OR_NULL},
    ),
    "SeekRequest": _object(
        ["to"],
        {"to": {**_TEXT, "description": "start, end, a position, or a time (RFC 3339)"}},
    ),
    "PluginPosition": _object(["position"], {"position": _TEXT}),
    "PluginProcess": _object([*_PROCESS], _PROCESS),
    "ReplayRequest": {"type": "object", "properties": _REPLAY},
    "ReplayStarted": _object(["job"], {"job": _TEXT}),
    "ReplayProgress": _object(
        ["state"],
        {
            "state": {"enum": ["running", "done", "failed", "cancelled"]},
            "delivered": {"type": "integer", "minimum": 0},
            "total": {"type": ["integer", "null"]},
            "error": _TEXT_OR_NULL,
        },
    ),
}
