"""The component schemas of everything about schemas."""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx.domain.canonical import JSON

_NAME: JSON = {"type": "string"}
_NAMES: JSON = {"type": "array", "items": {"type": "string"}}
_COUNT_MAX = (1 << 64) - 1
_THRESHOLD: dict[str, JSON] = {
    "type": ["integer", "null"],
    "minimum": 0,
    "maximum": _COUNT_MAX,
    "description": "A snapshot is taken every so many versions; null: never.",
}
_FLAG: JSON = {"type": ["boolean", "null"]}
_FIELDS_BY_EVENT: JSON = {
    "type": ["object", "null"],
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
_UPCAST: JSON = {
    "type": "array",
    "description": "Lists of steps, one for each revision of the event.",
    "items": {"type": "array", "items": {"type": "object"}},
}
_COLUMN: dict[str, JSON] = {
    "description": "The name of a type, or an object with `type` and the rules of the column.",
    "type": ["string", "object"],
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "required": {"type": "boolean"},
        "contains": _NAMES,
        "does_not_contain": _NAMES,
        "regex": _NAMES,
        "length": {"type": ["object", "null"]},
        "range": {"type": ["object", "null"]},
        "format": {"type": ["string", "null"]},
        "reference": {"type": ["object", "null"]},
        "properties": {"type": "object", "additionalProperties": {"type": ["string", "object"]}},
    },
}


def _schema(*, given: bool) -> dict[str, JSON]:
    """Return the shape of a schema: as it is answered, or as it is given."""
    properties: dict[str, JSON] = {
        "aggregate": _NAME,
        "snapshot_threshold": _THRESHOLD,
        "locked": {"type": "boolean"},
        "field_locks": _NAMES,
        "hidden": {"type": "boolean"},
        "hidden_fields": _NAMES,
        "column_types": {
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/Column"},
        },
        "events": {
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/EventRule"},
        },
        "created_at": {"type": "string"},
        "updated_at": {"type": "string"},
    }
    if given:
        return {
            "type": "object",
            "description": "Any member may be missing, but not all of them.",
            "minProperties": 1,
            "properties": properties,
        }
    required: list[JSON] = [*properties]
    return {"type": "object", "required": required, "properties": properties}


SET: dict[str, JSON] = {
    "description": "Schemas as the list answers them, or by name as `schemas.json` has them.",
    # One object for both, not a choice of two: what is wrong is found one by one, and not all
    # of it at once for each choice.
    "type": ["array", "object"],
    "items": {"$ref": "#/components/schemas/SchemaDocument", "required": ["aggregate"]},
    "additionalProperties": {"$ref": "#/components/schemas/SchemaDocument"},
}

SCHEMAS: Mapping[str, JSON] = {
    "Column": _COLUMN,
    "EventRule": {
        "type": "object",
        "properties": {
            "fields": _NAMES,
            "notes": {"type": ["string", "null"]},
            "upcast": _UPCAST,
        },
    },
    "AggregateSchema": _schema(given=False),
    "SchemaDocument": _schema(given=True),
    "SchemaSet": SET,
    "CreateSchemaRequest": {
        "type": "object",
        "required": ["aggregate", "events"],
        "properties": {
            "aggregate": _NAME,
            "events": _NAMES,
            "snapshot_threshold": {
                **_THRESHOLD,
                "description": "null or left out: the configured one.",
            },
        },
    },
    "AddEventsRequest": {
        "type": "object",
        "required": ["events"],
        "properties": {"events": _NAMES},
    },
    "UpdateSchemaRequest": {
        "type": "object",
        "description": "All or nothing, in the order of the members here. Null says nothing, "
        "but for the threshold, which it clears, and for columns and notes, which it removes.",
        "properties": {
            "snapshot_threshold": _THRESHOLD,
            "locked": _FLAG,
            "field_lock": {
                "type": ["object", "null"],
                "required": ["field", "lock"],
                "properties": {"field": _NAME, "lock": {"type": "boolean"}},
            },
            "hidden": _FLAG,
            "hidden_field": {
                "type": ["object", "null"],
                "required": ["field", "hide"],
                "properties": {"field": _NAME, "hide": {"type": "boolean"}},
            },
            "column_types": {
                "type": ["object", "null"],
                "additionalProperties": {**_COLUMN, "type": ["string", "object", "null"]},
            },
            "set_fields": _FIELDS_BY_EVENT,
            "add_fields": _FIELDS_BY_EVENT,
            "remove_fields": _FIELDS_BY_EVENT,
            "event_notes": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "null"]},
            },
        },
    },
    "ValidateRequest": {
        "type": "object",
        "required": ["event", "payload"],
        "properties": {"event": _NAME, "payload": {"description": "The payload of the event."}},
    },
    "Violation": {
        "type": "object",
        "required": ["step", "pointer", "rule", "message"],
        "properties": {
            "step": {"type": "string"},
            "pointer": {"type": "string"},
            "rule": {"type": "string"},
            "message": {"type": "string"},
        },
    },
    "Validation": {
        "type": "object",
        "required": ["valid", "aggregate", "event", "restrict", "errors"],
        "properties": {
            "valid": {"type": "boolean"},
            "aggregate": _NAME,
            "event": _NAME,
            "restrict": {"enum": ["off", "default", "strict"]},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Violation"}},
        },
    },
}
