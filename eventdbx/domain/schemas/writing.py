"""Writing the JSON model of schemas: keys in their fixed order, what says nothing left out.

The way back is ``reading``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    Default,
    EventRule,
    Length,
    ReferenceRule,
    Rename,
    SchemaSet,
    Upcaster,
)
from eventdbx.domain.timestamps import format_ns


def schema_value(schema: AggregateSchema) -> dict[str, JSON]:
    """Return a schema as its JSON object."""
    return {
        **without_times(schema),
        "created_at": format_ns(schema.created_at),
        "updated_at": format_ns(schema.updated_at),
    }


def without_times(schema: AggregateSchema) -> dict[str, JSON]:
    """Return a schema as its JSON object without the two times.

    Two schemas say the same when the canonical texts of these are equal; the objects themselves
    do not tell 1 from 1.0 or true.
    """
    return {
        "aggregate": schema.aggregate,
        "snapshot_threshold": schema.snapshot_threshold,
        "locked": schema.locked,
        "field_locks": list(schema.field_locks),
        "hidden": schema.hidden,
        "hidden_fields": list(schema.hidden_fields),
        "column_types": columns_value(schema.column_types),
        "events": {name: event_value(rule) for name, rule in sorted(schema.events.items())},
    }


def schemas_value(schemas: SchemaSet) -> dict[str, JSON]:
    """Return a set of schemas as its JSON object."""
    return {name: schema_value(schema) for name, schema in sorted(schemas.items())}


def schema_document(schema: AggregateSchema) -> bytes:
    """Return a schema as compact JSON."""
    return orjson.dumps(schema_value(schema))


def schemas_document(schemas: SchemaSet) -> bytes:
    """Return a set of schemas as compact JSON."""
    return orjson.dumps(schemas_value(schemas))


def schemas_text(schemas: SchemaSet) -> str:
    """Return a set of schemas as people and files have it: two spaces, no final line feed."""
    return orjson.dumps(schemas_value(schemas), option=orjson.OPT_INDENT_2).decode()


def schema_text(schema: AggregateSchema) -> bytes:
    """Return a schema as it stands in the text of a set."""
    text = orjson.dumps(schema_value(schema), option=orjson.OPT_INDENT_2)
    return text.replace(b"\n", b"\n  ")  # In JSON texts a line feed is never within a string.


def set_document(documents: Mapping[str, bytes]) -> bytes:
    """Return what ``schemas_document`` does, of the documents of the schemas."""
    members = [orjson.dumps(name) + b":" + documents[name] for name in sorted(documents)]
    return b"{" + b",".join(members) + b"}"


def set_text(texts: Mapping[str, bytes]) -> bytes:
    """Return what ``schemas_text`` does, of the texts of the schemas."""
    if not texts:
        return b"{}"
    members = [b"  " + orjson.dumps(name) + b": " + texts[name] for name in sorted(texts)]
    return b"{\n" + b",\n".join(members) + b"\n}"


def event_value(rule: EventRule) -> dict[str, JSON]:
    """Return an event as its JSON object."""
    value: dict[str, JSON] = {"fields": list(rule.fields)}
    if rule.notes is not None:
        value["notes"] = rule.notes
    if rule.upcast:
        value["upcast"] = upcast_value(rule.upcast)
    return value


def upcast_value(upcast: tuple[tuple[Upcaster, ...], ...]) -> list[JSON]:
    """Return the upcasters of an event as their JSON array."""
    return [[_upcaster_value(step) for step in steps] for steps in upcast]


def _upcaster_value(step: Upcaster) -> dict[str, JSON]:
    if isinstance(step, Rename):
        stays = step.source.rpartition("/")[0] == step.target.rpartition("/")[0]
        return {"op": "rename" if stays else "move", "from": step.source, "to": step.target}
    if isinstance(step, Default):
        return {"op": "default", "path": step.path, "value": step.value}
    value: dict[str, JSON] = {
        "op": "map",
        "path": step.path,
        "values": dict(sorted(step.table.items())),
    }
    if step.has_otherwise:
        value["otherwise"] = step.otherwise
    return value


def columns_value(columns: Mapping[str, Column]) -> dict[str, JSON]:
    """Return columns by name as their JSON object."""
    return {name: column_value(column) for name, column in sorted(columns.items())}


def column_value(column: Column) -> JSON:
    """Return a column as the text of its type, or as an object when it has rules."""
    if column.reference == ReferenceRule() and not replace(column, reference=None).has_rules:
        return str(column.type)
    if not column.has_rules:
        return str(column.type)
    return {"type": str(column.type), **rules_value(column)}


def rules_value(column: Column) -> dict[str, JSON]:
    """Return the rules of a column as their JSON object; empty when it has none."""
    value: dict[str, JSON] = {}
    if column.required:
        value["required"] = True
    for name, texts in (
        ("contains", column.contains),
        ("does_not_contain", column.does_not_contain),
        ("regex", column.regex),
    ):
        if texts:
            value[name] = list(texts)
    if column.length is not None:
        value["length"] = _span_value(column.length)
    if column.range is not None:
        value["range"] = _span_value(column.range)
    if column.format is not None:
        value["format"] = column.format
    if column.reference is not None:
        value["reference"] = reference_value(column.reference)
    if column.properties:
        value["properties"] = columns_value(column.properties)
    return value


def _span_value(span: Length | Bounds) -> dict[str, JSON]:
    return {"min": span.min, "max": span.max}


def reference_value(rule: ReferenceRule) -> dict[str, JSON]:
    """Return what a column demands of references as its JSON object."""
    value: dict[str, JSON] = {"integrity": rule.integrity}
    if rule.tenant is not None:
        value["tenant"] = rule.tenant
    if rule.aggregate_type is not None:
        value["aggregate_type"] = rule.aggregate_type
    value["cascade"] = rule.cascade
    return value
