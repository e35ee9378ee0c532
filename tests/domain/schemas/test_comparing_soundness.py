"""Whatever a verdict claims holds for every event: random schemas, random changes, many events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.comparing import compatibility, fulfils, total
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Length,
    ReferenceRule,
    TypeName,
)
from eventdbx.settings import Restrict

# Values on both sides of every border between types and rules that the columns below draw from.
VALUES: list[JSON] = [
    None, True, False, 0, 1, 2, 5, 7, 10, -1, 1.0, 1.5, 2.25, -0.0, 1e16, 1e-7, 2**53 + 1,
    2**63 - 1, -(2**63), 2**63, 2**64 - 1, "", " ", "a", "b", "abc", "xabcx", "aa", "ab", "A", "AB",
    "0", "1", " 1 ", "+5", "-5", "007", "5.", ".5", "1.5", "1.50", "2.250", "1_0", "1e3", "1e-3",
    "inf", "nan", "true", " FALSE ", "9223372036854775807", "9223372036854775808", "12345678901",
    "0.05", "2024-01-05", "2024-1-5", "2024-01-06", " 2024-01-06", "2024-13-01",
    "2024-01-05T00:00:00Z", "2024-01-05 00:00:00.5+01:00", "2024-01-06t00:00:60z", "2024-01-05T00",
    "YQ==", "YWI=", "YWJj", "YQ", "a@b.c", "ann@example.com", "http://a.b/", "US", "DE", "XX",
    "order#o-1", "#o-1", "geo#order#o-1", "order#", "1.0,2.0", "snake_case", "kebab-case",
    "camelCase", "PascalCase", "UPPER_CASE", "4539571147647251", "\u00e9", "\u00e9\u00e9\u00e9",
    [], [1], {}, {"p": 1}, {"p": "a", "q": 2}, {"p": None}, {"q": "1.5"}, {"p": {"p": 1}},
]  # fmt: skip

NAMES: tuple[TypeName, ...] = (
    "integer", "float", "boolean", "timestamp", "date", "json", "binary", "object",
    "text", "text", "text", "text", "text", "text", "text", "text",
)  # fmt: skip
DECIMALS = ((3, 1), (3, 2), (5, 2), (18, 0), (19, 0), (30, 8))
TYPES = st.sampled_from(
    (*(ColumnType(name) for name in NAMES), *(ColumnType("decimal", *one) for one in DECIMALS))
)
TEXTS = st.lists(st.sampled_from(("", "a", "b", "abc", "1", "-")), max_size=2, unique=True)
PATTERNS = st.lists(st.sampled_from(("^a", "b$", "[0-9]", "^[^a]*$", "(")), max_size=2, unique=True)
FORMATS = st.sampled_from(
    (*(None,) * 8, "email", "url", "country_code", "iso8601", "snake_case",
     "upper_case_snake_case", "reference", "reference")
)  # fmt: skip
LENGTHS = st.none() | st.builds(
    Length, st.sampled_from((None, 0, 1, 2, 3)), st.sampled_from((None, 1, 2, 3, 9))
)
NUMBERS = st.sampled_from((None, "1", "2", "1.5", "-5", "007", "9007199254740992", "x"))
DAYS = st.sampled_from((None, "2024-01-05", "2024-1-6", "2024-13-01"))
STAMPS = st.sampled_from((None, "2024-01-05T00:00:00Z", "2024-01-06T01:00:00+01:00", "then"))
REFERENCES = st.none() | st.builds(
    ReferenceRule,
    st.sampled_from(("strong", "weak")),
    st.sampled_from((None, "geo", "GEO")),
    st.sampled_from((None, "order")),
    st.sampled_from(("none", "restrict")),
)
PARTS: dict[str, tuple[str, ...]] = {
    "text": (
        "contains", "does_not_contain", "does_not_contain", "regex", "format", "format", "length",
        "reference",
    ),
    "binary": ("length",),
    "object": ("properties",),
    "json": ("properties",),
}  # fmt: skip
SOMETIMES = st.sampled_from((False, False, True))


@st.composite
def columns(draw: st.DrawFn, depth: int = 1) -> Column:
    """Draw a column; most have rules that fit their type, some have rules that cannot be met."""
    kind = draw(TYPES)
    odd = draw(st.integers(0, 19)) == 0
    parts: dict[str, Any] = {"required": draw(SOMETIMES)}
    if kind.name == "text" or odd:
        if draw(SOMETIMES):
            parts["contains"] = tuple(draw(TEXTS))
            parts["does_not_contain"] = tuple(draw(TEXTS))
        if draw(SOMETIMES):
            parts["regex"] = tuple(draw(PATTERNS))
        parts["format"] = draw(FORMATS)
    if parts.get("format") == "reference" or odd:
        parts["reference"] = draw(REFERENCES)
    if kind.name in ("text", "binary") or odd:
        parts["length"] = draw(LENGTHS)
    bounds = {"date": DAYS, "timestamp": STAMPS}.get(kind.name, NUMBERS)
    if kind.name in ("integer", "float", "decimal", "date", "timestamp") or odd:
        parts["range"] = draw(st.none() | st.builds(Bounds, bounds, bounds))
    if depth and (kind.name in ("object", "json") or odd):
        names = st.sampled_from(("p", "q"))
        parts["properties"] = draw(st.dictionaries(names, columns(depth - 1), max_size=2))
    return Column(type=kind, **parts)


RULES: dict[str, st.SearchStrategy[Any]] = {
    "contains": TEXTS.map(tuple),
    "does_not_contain": TEXTS.map(tuple),
    "regex": PATTERNS.map(tuple),
    "format": FORMATS,
    "length": LENGTHS,
    "reference": REFERENCES,
    "range": st.builds(Bounds, NUMBERS, NUMBERS) | st.builds(Bounds, DAYS, DAYS),
    "properties": st.dictionaries(st.sampled_from(("p", "q")), columns(0), max_size=2),
}


@st.composite
def changed_column(draw: st.DrawFn, column: Column) -> Column:
    """Draw a column that differs from another in one part, or in all."""
    name = column.type.name
    part = draw(st.sampled_from(("all", "type", "required", *PARTS.get(name, ("range",)))))
    if part == "all":
        return draw(columns())
    if part == "type":
        return replace(column, type=draw(TYPES))
    if part == "required":
        return replace(column, required=not column.required)
    return replace(column, **{part: draw(RULES[part])})


FIELDS = ("a", "b", "c")
LISTS = st.lists(st.sampled_from(FIELDS), max_size=2, unique=True).map(sorted).map(tuple)
EVENTS = st.dictionaries(
    st.sampled_from(("made", "paid.now", "paid_now")),
    st.builds(lambda fields: EventRule(fields=fields), LISTS),
    max_size=2,
)
LOCKS = st.sampled_from(((), (), (), ("a",), ("b",), ("_value",)))


@st.composite
def schemas(draw: st.DrawFn) -> AggregateSchema:
    """Draw a schema with few columns, so that events meet all of them."""
    return AggregateSchema(
        aggregate="order",
        locked=draw(st.integers(0, 9)) == 0,
        field_locks=draw(LOCKS),
        column_types=draw(st.dictionaries(st.sampled_from(FIELDS), columns(), max_size=2)),
        events={"made": draw(st.builds(lambda fields: EventRule(fields=fields), LISTS)),
                **draw(EVENTS)},
    )  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> tuple[AggregateSchema, AggregateSchema]:
    """Draw a schema and one that it could become."""
    old = draw(schemas())
    other = draw(schemas())
    part = draw(st.sampled_from(("all", "locked", "field_locks", "events", "column", "columns")))
    if part == "all":
        return old, other
    if part == "columns":
        return old, replace(old, column_types=other.column_types)
    if part == "column" and old.column_types:
        name = draw(st.sampled_from(sorted(old.column_types)))
        column = draw(changed_column(old.column_types[name]))
        return old, replace(old, column_types={**old.column_types, name: column})
    if part == "column":
        return old, old
    return old, replace(old, **{part: getattr(other, part)})


PAYLOADS = st.one_of(
    st.dictionaries(st.sampled_from((*FIELDS, "d")), st.sampled_from(VALUES), max_size=3),
    st.sampled_from(VALUES),
)


def accepts(contract: Contract, kind: str, payload: JSON, known: Any, off: bool) -> bool:
    """Say whether a contract accepts an event."""
    return contract.refuse(kind, payload, known, off=off) is None


class Soundness(SynchronousTestCase):
    """Nothing is claimed that an event contradicts."""

    @given(columns().flatmap(lambda one: st.tuples(st.just(one), changed_column(one))))
    @settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_columns(self, pair: tuple[Column, Column]) -> None:
        """A column accepts each value, and its absence, that the verdict says it accepts."""
        base = AggregateSchema(aggregate="order", events={"made": EventRule()})
        old, new = (replace(base, column_types={"a": one}) for one in pair)
        payloads: list[dict[str, JSON]] = [{}, *({"a": value} for value in VALUES)]
        self._check(old, new, [("made", payload, None) for payload in payloads])

    @given(pairs(), st.lists(st.tuples(st.sampled_from(("made", "paid_now", "lost")), PAYLOADS,
           st.sampled_from((None, ("a",), ("a", "b", "c")))), max_size=30))  # fmt: skip
    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_schemas(
        self,
        pair: tuple[AggregateSchema, AggregateSchema],
        events: list[tuple[str, JSON, tuple[str, ...] | None]],
    ) -> None:
        """Appends and patches are accepted where the verdict says so, in each mode."""
        old, new = pair
        for kind in ("made", "paid_now"):
            for count in range(len(FIELDS) + 1):
                for names in combinations(FIELDS, count):
                    events.append((kind, dict.fromkeys(names, "a"), None))
        self._check(old, new, events)

    def _check(
        self,
        old: AggregateSchema,
        new: AggregateSchema,
        events: list[tuple[str, JSON, tuple[str, ...] | None]],
    ) -> None:
        before, after = compile_schema(old), compile_schema(new)
        modes: tuple[Restrict, ...] = ("default", "off")
        for restrict in modes:
            off = restrict == "off"
            changes = compatibility({"order": old}, {"order": new}, restrict=restrict)
            verdict = total(changes)
            event(f"{restrict}: {verdict}")
            self.assertTrue(all(change.sentence for change in changes))
            for kind, payload, known in events:
                was = accepts(before, kind, payload, known, off)
                now = accepts(after, kind, payload, known, off)
                where = (kind, payload, known, changes)
                if fulfils(verdict, "backward") and was:
                    self.assertTrue(now, where)
                if fulfils(verdict, "forward") and now:
                    self.assertTrue(was, where)

    @given(schemas(), st.lists(st.tuples(st.sampled_from(("made", "lost")), PAYLOADS), max_size=9))
    @settings(max_examples=60, deadline=None)
    def test_types_that_come_and_go(
        self, schema: AggregateSchema, events: list[tuple[str, JSON]]
    ) -> None:
        """What no schema means depends on the mode, and the verdict follows it."""
        contract = compile_schema(schema)
        sets: tuple[Mapping[str, AggregateSchema], ...] = ({}, {"order": schema})
        modes: tuple[Restrict, ...] = ("off", "default", "strict")
        for restrict in modes:
            verdict = total(compatibility(*sets, restrict=restrict))
            back = total(compatibility(*reversed(sets), restrict=restrict))
            for kind, payload in events:
                now = accepts(contract, kind, payload, None, restrict == "off")
                was = restrict != "strict"
                for good, left, right in ((verdict, was, now), (back, now, was)):
                    self.assertFalse(fulfils(good, "backward") and left and not right)
                    self.assertFalse(fulfils(good, "forward") and right and not left)
