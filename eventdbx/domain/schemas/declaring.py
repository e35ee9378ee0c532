"""What may be declared: what no event could ever satisfy, and what is too much.

People are refused it when they declare it (:func:`check`); what comes from files and peers is taken
over as far as it can be, with a warning (:func:`repair`). Limits hold for both. What a declaration
makes of an event is in ``contract``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from eventdbx import limits
from eventdbx.domain.identifiers import AUDIT_TYPE, ERASED_TYPE, WHITE_SPACE, check_domain_name
from eventdbx.domain.schemas.columns import RANGED, Comparable, bound_fault, parse_bound
from eventdbx.domain.schemas.model import (
    REFERENCE,
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Rename,
)
from eventdbx.domain.schemas.names import name_warnings
from eventdbx.domain.schemas.patterns import compile_pattern, patterns_weight
from eventdbx.domain.schemas.upcasting import pointer_path
from eventdbx.errors import ConfigError, InvalidSchema


def complaints(schema: AggregateSchema) -> list[str]:
    """Return everything in a schema that is over a limit or that no event can satisfy.

    Limits come first, then columns in the order in which they are checked, then events.
    """
    return [*_excesses(schema), *_impossibilities(schema)]


def check(schema: AggregateSchema) -> None:
    """Raise InvalidSchema with the first complaint about a schema."""
    for complaint in _excesses(schema):
        raise InvalidSchema(complaint)
    for complaint in _impossibilities(schema):
        raise InvalidSchema(complaint)


def repair(schema: AggregateSchema) -> tuple[AggregateSchema, list[str]]:
    """Return a schema of a file or peer as it is taken over, and warnings about it.

    Reference rules get the format that they need; what is impossible stays as it is, and appends
    to its columns fail. Raises InvalidSchema when a limit is exceeded.
    """
    for complaint in _excesses(schema):
        raise InvalidSchema(complaint)
    warnings: list[str] = []
    columns = _with_formats(schema.column_types, "", warnings)
    if columns is not schema.column_types:
        schema = replace(schema, column_types=columns)
    warnings += _impossibilities(schema)
    return schema, [
        *(f"schema {schema.aggregate}: {warning}" for warning in warnings),
        *name_warnings(None, schema),
    ]


def _with_formats(
    columns: Mapping[str, Column], parent: str, warnings: list[str]
) -> Mapping[str, Column]:
    """Return columns with the format where there are reference rules; the same if all have it."""
    changed: dict[str, Column] = {}
    for name, column in columns.items():
        path = parent + name
        properties = _with_formats(column.properties, f"{path}.", warnings)
        new = column
        if properties is not column.properties:
            new = replace(new, properties=properties)
        if column.reference is not None and column.format != REFERENCE and _is_text(column):
            warnings.append(
                f"field {path} specifies reference rules without reference format, which is added"
            )
            new = replace(new, format=REFERENCE)
        if new is not column:
            changed[name] = new
    return {**columns, **changed} if changed else columns


# --- limits


def _longer(text: str, bytes_max: int) -> bool:
    return len(text) > bytes_max or len(text.encode("utf-8", "surrogatepass")) > bytes_max


def _excesses(schema: AggregateSchema) -> Iterator[str]:
    """Yield what is over a limit."""
    yield from _name_excess("aggregate name", "must be provided", schema.aggregate)
    if schema.aggregate == AUDIT_TYPE:
        yield f"aggregate {AUDIT_TYPE} is the server's own audit trail and takes no schema"
    for name, rule in schema.events.items():
        if name.replace(".", "_") == ERASED_TYPE:
            yield f"event {ERASED_TYPE} is written by erasures alone and takes no schema"
        yield from _name_excess("event names", "cannot be empty", name)
        yield from _upcast_excess(name, rule)
    fields = {*schema.field_locks, *schema.hidden_fields}
    fields.update(*(rule.fields for rule in schema.events.values()))
    for name in sorted(fields):
        yield from _name_excess("field names", "cannot be empty", name)
    for noun, count, count_max in (
        ("events", len(schema.events), limits.SCHEMA_EVENTS_MAX),
        ("columns", _count(schema.column_types), limits.SCHEMA_COLUMNS_MAX),
    ):
        if count > count_max:
            yield f"aggregate {schema.aggregate} cannot have more than {count_max} {noun}"
    yield from _column_excesses(schema.column_types, "", 0)
    weight_max = limits.PATTERNS_COMPILED_BYTES_MAX
    if patterns_weight(schema.column_types, weight_max) > weight_max:
        yield (
            f"aggregate {schema.aggregate} has patterns that are larger than {weight_max} bytes "
            "when compiled"
        )


def _count(columns: Mapping[str, Column]) -> int:
    """Return how many columns there are, nested ones too."""
    return len(columns) + sum(_count(column.properties) for column in columns.values())


def _name_excess(noun: str, absent: str, name: str) -> Iterator[str]:
    if not name:
        yield f"{noun} {absent}"
    elif _longer(name, limits.SCHEMA_NAME_BYTES_MAX):
        yield f"{noun} cannot exceed {limits.SCHEMA_NAME_BYTES_MAX} bytes"


def _upcast_excess(name: str, rule: EventRule) -> Iterator[str]:
    if sum(max(1, len(steps)) for steps in rule.upcast) > limits.UPCAST_STEPS_MAX:
        yield f"event {name} cannot have more than {limits.UPCAST_STEPS_MAX} upcasters"


def _column_excesses(columns: Mapping[str, Column], parent: str, depth: int) -> Iterator[str]:
    if columns and depth > limits.SCHEMA_DEPTH_MAX:
        path = parent.removesuffix(".")
        yield f"field {path} cannot nest properties deeper than {limits.SCHEMA_DEPTH_MAX}"
        return
    for name, column in columns.items():
        yield from _name_excess("field names", "cannot be empty", name)
        path = parent + name
        for rule, texts in _texts(column):
            entries_max, bytes_max = limits.RULE_ENTRIES_MAX, limits.RULE_TEXT_BYTES_MAX
            if len(texts) > entries_max:
                yield f"field {path} cannot have more than {entries_max} {rule} entries"
            if any(_longer(text, bytes_max) for text in texts):
                yield f"field {path} {rule} entries cannot exceed {bytes_max} bytes"
        yield from _column_excesses(column.properties, f"{path}.", depth + 1)


def _texts(column: Column) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "contains", column.contains
    yield "does_not_contain", column.does_not_contain
    yield "regex", column.regex
    bounds = column.range or Bounds()
    yield "range", tuple(text for text in bounds if text is not None)


# --- impossibilities


def _impossibilities(schema: AggregateSchema) -> Iterator[str]:
    """Yield what could never be met, and names that are blank."""
    if not schema.aggregate.strip(WHITE_SPACE):
        yield "aggregate name must be provided"
    for name in sorted(schema.column_types):
        yield from column_complaints(schema.column_types[name], name)
    if any(not name.strip(WHITE_SPACE) for name in schema.column_types):
        yield "field names cannot be empty"
    yield from _event_complaints(schema)


def _event_complaints(schema: AggregateSchema) -> Iterator[str]:
    normalised: dict[str, str] = {}
    for name, rule in schema.events.items():
        other = normalised.setdefault(name.replace(".", "_"), name)
        if other != name:
            yield f"events {other} and {name} are one event: dots count as underscores"
        yield from event_complaints(rule, name)


def event_complaints(rule: EventRule, name: str) -> Iterator[str]:
    """Yield what an event declares in vain, its limits not among it."""
    if not name.strip(WHITE_SPACE):
        yield "event names cannot be empty"
    characters_max = limits.NOTE_CHARACTERS_MAX
    if rule.notes is not None and len(rule.notes) > characters_max:
        yield f"default note for event {name} cannot exceed {characters_max} characters"
    if any(not field.strip(WHITE_SPACE) for field in rule.fields):
        yield "field names cannot be empty"
    yield from _upcast_complaints(name, rule)


def _upcast_complaints(event: str, rule: EventRule) -> Iterator[str]:
    for revision, steps in enumerate(rule.upcast, 1):
        for number, step in enumerate(steps, 1):
            paths = (step.source, step.target) if isinstance(step, Rename) else (step.path,)
            for path in paths:
                keys = pointer_path(path)
                if keys:
                    continue
                why = "is the whole payload" if keys == () else "is not a JSON Pointer"
                yield f"event {event} upcaster {number} of revision {revision}: '{path}' {why}"


def column_complaints(column: Column, path: str) -> Iterator[str]:
    """Yield, in the order in which a value is checked, what no value of a column can pass.

    ``path`` is the dotted one of messages. Limits are not looked at.
    """
    for words in _rule_complaints(column):
        yield f"field {path} {words}"
    if column.type.name == "object":
        for name in sorted(column.properties):
            yield from column_complaints(column.properties[name], f"{path}.{name}")


def _is_text(column: Column) -> bool:
    return column.type.name == "text"


def _rule_complaints(column: Column) -> Iterator[str]:
    kind = column.type
    yield from _reference_complaints(column)
    yield from _decimal_complaints(kind)
    if not _is_text(column) and _asks_for_text(column):
        yield "must be a string"
    for text in column.regex:
        try:
            compile_pattern(text)
        except ValueError as error:
            yield f"has invalid regex '{text}': {error}"
    if column.length is not None:
        if kind.name not in ("text", "binary"):
            yield "does not support length validation"
        low, high = column.length
        if low is not None and high is not None and low > high:
            yield "length minimum cannot exceed its maximum"
    if column.range is not None:
        if kind.name not in RANGED:
            yield "does not support range validation"
        else:
            yield from _range_complaints(kind, column.range)
    if column.properties and kind.name not in ("object", "json"):
        yield "cannot define nested properties on non-object type"


def _asks_for_text(column: Column) -> bool:
    if column.contains or column.does_not_contain or column.regex:
        return True
    if column.format in (None, REFERENCE):
        return False
    # The format of a timestamp is this one anyway.
    return not (column.type.name == "timestamp" and column.format == "iso8601")


def _reference_complaints(column: Column) -> Iterator[str]:
    if column.format == REFERENCE and not _is_text(column):
        yield "uses reference format but must be a text column"
    if column.reference is None:
        return
    if column.format != REFERENCE:
        yield "specifies reference rules without reference format"
    if column.reference.tenant is not None:
        try:
            check_domain_name(column.reference.tenant, noun="reference tenant")
        except ConfigError as error:
            yield error.detail
    aggregate_type = column.reference.aggregate_type
    if aggregate_type is not None and _longer(aggregate_type, limits.AGGREGATE_TYPE_BYTES_MAX):
        yield f"reference aggregate_type cannot exceed {limits.AGGREGATE_TYPE_BYTES_MAX} characters"


def _decimal_complaints(kind: ColumnType) -> Iterator[str]:
    if kind.name != "decimal":
        return
    if not 1 <= kind.precision <= limits.DECIMAL_PRECISION_MAX:
        yield f"decimal precision must be between 1 and {limits.DECIMAL_PRECISION_MAX}"
    elif kind.scale > kind.precision:
        yield "decimal scale cannot exceed its precision"


def _range_complaints(kind: ColumnType, bounds: Bounds) -> Iterator[str]:
    ends: list[Comparable] = []
    for which, text in (("minimum", bounds.min), ("maximum", bounds.max)):
        if text is None:
            continue
        end = parse_bound(kind, text)
        if end is None:
            yield bound_fault(kind, which, text)
        ends.append(end)
    if len(ends) == 2 and None not in ends and ends[0] > ends[1]:
        yield "range minimum cannot exceed its maximum"
