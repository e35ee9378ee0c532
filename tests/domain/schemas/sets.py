"""Random sets of schemas that may be declared: whatever their JSON and their source can say."""

from __future__ import annotations

from hypothesis import strategies as st

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import (
    FORMATS,
    REFERENCE,
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    Default,
    EventRule,
    Length,
    MapValues,
    ReferenceRule,
    Rename,
    SchemaSet,
    TypeName,
)

# Drawn from lists rather than made of characters: sets are large, and must be made quickly.
NAMES = st.sampled_from(
    (
        "order", "status", "a.b", "a_b", "log-written", "field", "event", "true", "Größe", "#x",
        "//", "/x", "a b", "{", "}", "=", "a=1", '"', '"a"', "\\", "a\u00a0b", "a\nb", "\U0001f600",
        "a#b", "a//b", "ümlaut", "\u0000", "\ufeff", "x" * 128,
    )
)  # fmt: skip
TEXTS = st.sampled_from(
    ("", "a", " ", '"', "\\", "}", "# no comment", "é\u2028", "\U0001f600", "\n\t")
)
PATTERNS = st.sampled_from(["^a+$", "[{}]", r"\d{1,3}", '"', "é"])
BOUNDS: dict[TypeName, list[str]] = {
    "integer": ["-5", "0", " 7 ", "9223372036854775807"],
    "float": ["-1.5", "0", "2e3"],
    "decimal": ["-1.50", "0.00", "12"],
    "timestamp": ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00+02:00"],
    "date": ["2020-01-01", "2030-01-01"],
}
VALUES: st.SearchStrategy[JSON] = st.sampled_from(
    (
        None,
        True,
        False,
        0,
        1,
        -5,
        1.0,
        0.1,
        1e30,
        2**63,
        "",
        "}",
        [],
        {},
        [1, [{"a": None}]],
        {"": 1.5},
    )
)
TYPES = st.one_of(
    st.sampled_from(
        [
            ColumnType(name)
            for name in ("integer", "float", "boolean", "text", "text", "text", "timestamp",
                         "date", "json", "binary", "object", "object")
        ]
    ),
    st.tuples(st.integers(1, 38), st.integers(0, 38))
    .filter(lambda sizes: sizes[1] <= sizes[0])
    .map(lambda sizes: ColumnType("decimal", *sizes)),
)  # fmt: skip
RULES = st.sampled_from(
    (
        ReferenceRule(),
        ReferenceRule("weak"),
        ReferenceRule("strong", "t-1", "order", "restrict"),
        ReferenceRule("strong", None, "person", "nullify"),
    )
)


@st.composite
def columns(draw: st.DrawFn, depth: int = 2) -> Column:
    """Return a column with rules that its type takes."""
    kind = draw(TYPES)
    needles = st.lists(TEXTS, max_size=2).map(tuple)
    column = Column(type=kind, required=draw(st.booleans()))
    rules: dict[str, object] = {}
    if kind.name == "text":
        name = draw(st.none() | st.sampled_from(FORMATS))
        rules = {
            "contains": draw(needles),
            "does_not_contain": draw(needles),
            "regex": draw(st.lists(PATTERNS, max_size=2).map(tuple)),
            "format": name,
            "reference": draw(st.none() | RULES) if name == REFERENCE else None,
        }
    if kind.name == "timestamp":
        rules["format"] = draw(st.sampled_from([None, "iso8601"]))
    if kind.name in ("text", "binary"):
        rules["length"] = draw(
            st.sampled_from([None, Length(), Length(1), Length(None, 2**64 - 1), Length(2, 2)])
        )
    if kind.name in BOUNDS:
        low, *_, high = BOUNDS[kind.name]
        rules["range"] = draw(
            st.sampled_from([None, Bounds(), Bounds(low), Bounds(None, high), Bounds(low, high)])
        )
    if kind.name in ("object", "json") and depth:
        rules["properties"] = draw(columns_by_name(depth - 1))
    return Column(type=kind, required=column.required, **rules)  # type: ignore[arg-type]


def columns_by_name(depth: int = 2) -> st.SearchStrategy[dict[str, Column]]:
    """Return columns by ascending names."""
    found = st.dictionaries(NAMES, columns(depth), max_size=3)
    return found.map(lambda some: dict(sorted(some.items())))


POINTERS = st.lists(st.sampled_from(["a", "b", "~0", "~1", ""]), min_size=1, max_size=3).map(
    lambda keys: "".join(f"/{key}" for key in keys)
)
_TABLES = st.dictionaries(TEXTS, VALUES, max_size=2)
STEPS = st.one_of(
    st.tuples(POINTERS, POINTERS).map(lambda parts: Rename(*parts)),
    st.tuples(POINTERS, VALUES).map(lambda parts: Default(*parts)),
    st.tuples(POINTERS, _TABLES).map(lambda parts: MapValues(*parts)),
    st.tuples(POINTERS, _TABLES, st.just(True), VALUES).map(lambda parts: MapValues(*parts)),
)
EVENTS = st.builds(
    EventRule,
    fields=st.sets(NAMES, max_size=3).map(lambda names: tuple(sorted(names))),
    notes=st.none() | TEXTS | st.just("é" * 128),
    upcast=st.lists(st.lists(STEPS, max_size=2).map(tuple), max_size=2).map(tuple),
)


@st.composite
def schemas(draw: st.DrawFn, name: str) -> AggregateSchema:
    """Return a schema of that name; two of its events are never one to appends."""
    events: dict[str, EventRule] = {}
    for event, rule in draw(st.dictionaries(NAMES, EVENTS, min_size=1, max_size=3)).items():
        if event.replace(".", "_") not in [other.replace(".", "_") for other in events]:
            events[event] = rule
    names = st.sets(NAMES, max_size=3).map(lambda some: tuple(sorted(some)))
    return AggregateSchema(
        aggregate=name,
        snapshot_threshold=draw(st.none() | st.integers(0, 2**64 - 1)),
        locked=draw(st.booleans()),
        field_locks=draw(names),
        hidden=draw(st.booleans()),
        hidden_fields=draw(names),
        column_types=draw(columns_by_name()),
        events=dict(sorted(events.items())),
        created_at=draw(st.integers(0, 2**62)),
        updated_at=draw(st.integers(0, 2**62)),
    )


@st.composite
def schema_sets(draw: st.DrawFn) -> SchemaSet:
    """Return a set of schemas, names ascending."""
    names = sorted(draw(st.sets(NAMES, max_size=3)))
    return {name: draw(schemas(name)) for name in names}
