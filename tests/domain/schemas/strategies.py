"""Random schemas, and payloads that nearly fit them: for properties of everything that validates.

Values are drawn from the tables of the conformance suite, from bounds and their neighbours, and
from both with a character changed, so that most of them are just inside or just outside of a rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.schemas.model import (
    FORMATS,
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Length,
    ReferenceRule,
)
from tests.conformance import format_tables, rule_tables, type_tables

TABLES = type_tables.TABLES + rule_tables.TABLES + format_tables.TABLES
VALUES: tuple[JSON, ...] = tuple(parse(value) for table in TABLES for value, _words in table.rows)
TEXTS = tuple(sorted({value for value in VALUES if isinstance(value, str)}))
OF_TYPE: dict[str, list[JSON]] = {}
"""Of the values of the tables of each type, those that it takes."""
for _table in type_tables.TABLES:
    _kind = str(_table.column).strip().lower()
    OF_TYPE[_kind] = [parse(value) for value, words in _table.rows if words is None]
NEEDLES = ("a", "b", "", "@", "1", "\u00eb", ".")
PATTERNS = (
    "^[a-z]+$", "[0-9]{2}", r"^\w+\d$", "a", "(?i)B", "^[A-Z]{3}[0-9]{4}$", "^[a-z0-9_-]*x$",
    "^a?b*$", "^[A-Za-z ]{2}$", "^$", r"\bab\b", "(",
)  # fmt: skip
"""The last one is no pattern: files may hold such."""

NAMES = ("a", "b", "B", "a.b", "a/b", "~", "\u00e9", "_value")
TYPES = (
    *(ColumnType(name) for name in ("integer", "float", "boolean", "text", "timestamp")),
    *(ColumnType(name) for name in ("date", "json", "binary", "object")),
    *(ColumnType("decimal", *size) for size in ((5, 2), (2, 2), (38, 4), (1, 0), (17, 3))),
)  # fmt: skip
ENDS = {
    "integer": ("0", " 5 ", "-1", "9223372036854775807", "+010", "x"),
    "float": ("0", "-1.5", "1e2", "0.1", "1e21", "nan"),
    "decimal": ("0", "0.10", "-1.005", "100", "9007199254740993", "0.30000000000000004", ""),
    "timestamp": ("2026-01-02T03:04:05Z", "2026-01-01T00:00:00+02:00", "2016-12-31T23:59:60Z", "2"),
    "date": ("2026-01-02", "2024-2-29", " 999-01-01", "-0001-01-01", "today"),
}
CHARACTERS = "aAzZ09_-+.:@# ,\n\u00a0\u0661\u00ebTe=/"


@st.composite
def nudged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Return a text with one character taken, put or changed."""
    text = draw(texts)
    at = draw(st.integers(0, len(text)))
    put: str = draw(st.sampled_from(("", *CHARACTERS)))
    return text[:at] + put + text[at + draw(st.integers(0, 1)) :]


_NUMBERS = (
    st.integers(-3, 12)
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from((2**63 - 1, 2**63, 2**64 - 1, -(2**63), 9007199254740993, -0.0))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.builds(
        lambda units, scale: units / 10**scale, st.integers(-99999, 99999), st.integers(0, 4)
    )
)
_NUMBER_TEXTS = _NUMBERS.map(str) | st.from_regex(
    r"\A[+-]?[0-9]{0,3}\.?[0-9_]{0,3}(e[+-]?[0-9]{1,2})?\Z"
)
_TEXTS = (
    st.sampled_from(TEXTS)
    | nudged(st.sampled_from(TEXTS))
    | _NUMBER_TEXTS
    | st.text("abAB1_. \u00eb", max_size=8)
    | st.sampled_from([end for ends in ENDS.values() for end in ends])
    | nudged(st.sampled_from([end for ends in ENDS.values() for end in ends]))
)
_PLAIN = st.sampled_from(VALUES) | _NUMBERS | _TEXTS | st.none() | st.booleans()


def _rarely(strategy: st.SearchStrategy[Any], otherwise: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*(st.just(otherwise) for _ in range(3)), strategy)


def _bounds(kind: str) -> st.SearchStrategy[Bounds]:
    end = st.none() | st.sampled_from(ENDS.get(kind, ("1",)))
    return st.builds(Bounds, end, end)


_LENGTHS = st.builds(
    Length, st.none() | st.integers(0, 6), st.none() | st.integers(0, 12) | st.just(10**9)
)


@st.composite
def columns(draw: st.DrawFn, depth: int = 2, *, possible: bool = False) -> Column:
    """Return a column; a ``possible`` one has only rules that its type can satisfy."""
    kind = draw(st.sampled_from(TYPES))
    odd = not possible and draw(st.integers(0, 9)) == 0
    text = odd or kind.name == "text"
    patterns = PATTERNS[:-1] if possible else PATTERNS
    some = st.lists(st.sampled_from(NEEDLES), max_size=2).map(tuple)
    format_name = draw(_rarely(st.sampled_from(FORMATS), None)) if text else None
    if kind.name == "timestamp" and not possible and draw(st.booleans()):
        format_name = "iso8601"
    nested = odd or kind.name in ("object", "json")
    ranged = odd or kind.name in ENDS
    return Column(
        type=kind,
        required=draw(st.booleans()),
        contains=draw(_rarely(some, ())) if text else (),
        does_not_contain=draw(_rarely(some, ())) if text else (),
        regex=draw(_rarely(st.lists(st.sampled_from(patterns), max_size=2).map(tuple), ()))
        if text
        else (),
        length=draw(_rarely(_LENGTHS, None)) if odd or kind.name in ("text", "binary") else None,
        range=draw(st.none() | _bounds(kind.name)) if ranged else None,
        format=format_name,
        reference=ReferenceRule("weak") if format_name == "reference" else None,
        properties=draw(_members(depth - 1, possible)) if nested and depth else {},
    )


def _members(depth: int, possible: bool) -> st.SearchStrategy[dict[str, Column]]:
    return st.dictionaries(st.sampled_from(NAMES), columns(depth, possible=possible), max_size=3)


@st.composite
def values(draw: st.DrawFn, column: Column) -> JSON:
    """Return a value that fits a column, or nearly."""
    if column.type.name == "object" and draw(st.integers(0, 4)):
        return draw(payloads(column.properties))
    if column.type.name in ("integer", "float", "decimal"):
        return draw(_NUMBERS | _NUMBERS | _NUMBER_TEXTS | _PLAIN)
    typical = OF_TYPE.get(column.type.name)
    if typical and column.type.name != "text" and draw(st.integers(0, 2)):
        value = draw(st.sampled_from(typical))
        if isinstance(value, str) and draw(st.integers(0, 2)) == 0:
            return draw(nudged(st.just(value)))
        return value
    return draw(_TEXTS | _TEXTS | _PLAIN)


@st.composite
def payloads(draw: st.DrawFn, declared: Any) -> dict[str, JSON]:
    """Return an object with most of the declared columns, and at times a key that is none."""
    payload: dict[str, JSON] = {}
    for name in draw(st.permutations(sorted(declared))):
        if draw(st.integers(0, 3)):
            payload[name] = draw(values(declared[name]))
    for name in draw(_rarely(st.lists(st.sampled_from((*NAMES, "z")), max_size=2), [])):
        payload.setdefault(name, draw(_PLAIN))
    return payload


@st.composite
def schemas(draw: st.DrawFn, *, possible: bool = False) -> AggregateSchema:
    """Return a schema with two events; a ``possible`` one has columns that can be written."""
    declared = draw(st.dictionaries(st.sampled_from(NAMES), columns(possible=possible), max_size=5))
    fields = tuple(sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=4))))
    return AggregateSchema(
        aggregate="thing",
        locked=draw(st.integers(0, 19)) == 0,
        field_locks=draw(_rarely(st.sampled_from([("a",), ("_value", "b")]), ())),
        column_types=dict(sorted(declared.items())),
        events={"listed": EventRule(fields=fields), "opened": EventRule()},
    )


class Attempt(NamedTuple):
    """An event that somebody tries to append; ``known`` is the state under a patch."""

    schema: AggregateSchema
    event: str
    payload: JSON
    known: dict[str, JSON] | None


@st.composite
def attempts(draw: st.DrawFn, *, possible: bool = False) -> Attempt:
    """Return a schema and an event for it."""
    schema = draw(schemas(possible=possible))
    event = draw(st.sampled_from(("opened", "opened", "listed", "listed", "closed")))
    payload: JSON
    if draw(st.integers(0, 19)) == 0:
        payload = draw(_PLAIN)
    else:
        listed = schema.events["listed"].fields if event == "listed" else ()
        declared = {name: Column(type=ColumnType("json")) for name in listed}
        payload = draw(payloads(declared | dict(schema.column_types)))
        if event == "listed" and draw(st.integers(0, 3)):
            payload = {name: value for name, value in payload.items() if name in listed}
            for name in listed:
                if name not in payload:
                    column = schema.column_types.get(name)
                    payload[name] = draw(_PLAIN if column is None else values(column))
    state = st.dictionaries(st.sampled_from(NAMES), st.just(None), max_size=4)
    return Attempt(schema, event, payload, draw(_rarely(state, None)))
