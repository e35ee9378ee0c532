"""What a change of schemas means for events, told from the two sets alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.columns import parse_type
from eventdbx.domain.schemas.comparing import compatibility, fulfils, same, total
from eventdbx.domain.schemas.comparing_columns import Verdict
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    Default,
    EventRule,
    Length,
    ReferenceRule,
    Rename,
)
from eventdbx.settings import Restrict

BOTH_WAYS: dict[Verdict, Verdict] = {
    "full": "full",
    "backward": "forward",
    "forward": "backward",
    "breaking": "breaking",
}


def schema(**parts: Any) -> AggregateSchema:
    """Return a schema of orders with one open event and a column beside the one in question."""
    values: dict[str, Any] = {
        "events": {"order_created": EventRule()},
        "column_types": {"other": Column(type=parse_type("text"))},
        **parts,
    }
    return AggregateSchema(aggregate="order", **values)


def column(kind: str, **rules: Any) -> Column:
    """Return a column of a type with rules."""
    return Column(type=parse_type(kind), **rules)


def listing(*fields: str, **parts: Any) -> AggregateSchema:
    """Return a schema whose one event lists fields."""
    return schema(events={"order_created": EventRule(fields=fields)}, **parts)


def reference(required: bool = False, **rules: Any) -> Column:
    """Return a column of references."""
    rule = ReferenceRule(**rules) if rules else None
    return column("text", format="reference", reference=rule, required=required)


SCHEMAS: list[tuple[str, AggregateSchema, AggregateSchema, Verdict]] = [
    ("nothing", schema(), schema(created_at=1, updated_at=2), "full"),
    ("lock", schema(), schema(locked=True), "forward"),
    ("field lock", schema(), schema(field_locks=("a",)), "forward"),
    ("other field lock", schema(field_locks=("a",)), schema(field_locks=("b",)), "breaking"),
    ("hidden", schema(), schema(hidden=True), "full"),
    ("hidden field", schema(), schema(hidden_fields=("a",)), "full"),
    ("threshold", schema(), schema(snapshot_threshold=5), "full"),
    ("event", schema(), schema(events={"order_created": EventRule(), "b": EventRule()}),
     "backward"),
    ("spelling", schema(events={"order.created": EventRule()}), schema(), "full"),
    ("note", schema(), schema(events={"order_created": EventRule(notes="x")}), "full"),
    ("list", schema(), listing("a"), "forward"),
    ("longer list", listing("a"), listing("a", "b"), "breaking"),
    ("first column", schema(column_types={}), schema(), "forward"),
    ("first free column", schema(column_types={}),
     schema(column_types={"a": column("json")}), "forward"),
    ("column", schema(), schema(column_types={**schema().column_types, "a": column("text")}),
     "forward"),
    ("free column", schema(),
     schema(column_types={**schema().column_types, "a": column("json")}), "full"),
    ("upcaster", schema(),
     schema(events={"order_created": EventRule(upcast=((Rename("/a", "/b"),),))}), "full"),
    ("changed upcaster",
     schema(events={"order_created": EventRule(upcast=((Default("/a", 1),),))}),
     schema(events={"order_created": EventRule(upcast=((Default("/a", True),),))}), "breaking"),
    ("required beside lists", listing("b", column_types={"a": column("text")}),
     listing("b", column_types={"a": column("text", required=True)}), "full"),
    ("list without a required column", schema(column_types={"a": column("text", required=True)}),
     listing("b", column_types={"a": column("text", required=True)}), "breaking"),
    ("list with a required column", schema(column_types={"a": column("text", required=True)}),
     listing("a", column_types={"a": column("text", required=True)}), "forward"),
]  # fmt: skip

COLUMNS: list[tuple[Column, Column, Verdict]] = [
    (column("text"), column("text", required=True), "forward"),
    (column("integer"), column("float"), "backward"),
    (column("integer"), column("json"), "backward"),
    (column("integer"), column("decimal(18,0)"), "breaking"),
    (column("integer"), column("decimal(21,2)"), "backward"),
    (column("integer"), column("text"), "breaking"),
    (column("integer"), column("boolean"), "breaking"),
    (column("float"), column("decimal(30,10)"), "breaking"),
    (column("decimal(5,2)"), column("decimal(7,2)"), "backward"),
    (column("decimal(5,2)"), column("decimal(7,1)"), "breaking"),
    (column("decimal(5,2)"), column("float"), "breaking"),
    (column("timestamp"), column("text"), "backward"),
    (column("date"), column("text"), "backward"),
    (column("binary"), column("text"), "backward"),
    (column("date"), column("timestamp"), "breaking"),
    (column("timestamp"), column("text", format="iso8601"), "full"),
    (column("timestamp"), column("text", format="email"), "breaking"),
    (column("object"), column("json"), "backward"),
    (column("object"), column("text"), "breaking"),
    (column("text", contains=("a",)), column("text", contains=("a", "b")), "forward"),
    (column("text", contains=("a",)), column("text", contains=("b",)), "breaking"),
    (column("text", contains=("abc",)), column("text", contains=("b",)), "backward"),
    (column("text"), column("text", contains=("",)), "full"),
    (column("text", does_not_contain=("b",)), column("text", does_not_contain=("abc",)),
     "backward"),
    (column("text"), column("text", regex=("^a",)), "forward"),
    (column("text", regex=("^a",)), column("text", regex=("^b",)), "breaking"),
    (column("text"), column("text", format="email"), "forward"),
    (column("text", format="url"), column("text", format="email"), "breaking"),
    (column("text"), column("text", length=Length(1)), "forward"),
    (column("text", length=Length(1, 5)), column("text", length=Length(0, 9)), "backward"),
    (column("text", length=Length(1, 5)), column("text", length=Length(2, 9)), "breaking"),
    (column("binary", length=Length(1, 5)), column("text", length=Length(1, 5)), "breaking"),
    (column("binary", length=Length(1, 5)), column("text"), "backward"),
    (column("integer", range=Bounds("1", "10")), column("integer", range=Bounds("01", "9")),
     "forward"),
    (column("integer", range=Bounds("9")), column("integer", range=Bounds("10")), "forward"),
    (column("integer", range=Bounds("1", "9")), column("float", range=Bounds("0.5", "9.5")),
     "backward"),
    (column("integer", range=Bounds("1", "9")), column("float", range=Bounds("1.5")), "breaking"),
    (column("decimal(9,2)", range=Bounds("1")), column("decimal(9,2)", range=Bounds("1.00")),
     "full"),
    (column("date", range=Bounds("2024-1-5")), column("date", range=Bounds("2024-01-06")),
     "forward"),
    (column("timestamp", range=Bounds("2024-01-01T00:00:00Z")),
     column("timestamp", range=Bounds("2024-01-01T01:00:00+02:00")), "backward"),
    (column("integer", range=Bounds("x")), column("integer", range=Bounds("y")), "breaking"),
    (column("integer", regex=("a",)), column("integer"), "breaking"),
    (column("object"), column("object", properties={"a": column("json")}), "full"),
    (column("object"), column("object", properties={"a": column("text")}), "forward"),
    (column("object", properties={"a": column("integer")}),
     column("object", properties={"a": column("float")}), "backward"),
    (column("object", properties={"a": column("text")}),
     column("object", properties={"a": column("text", required=True)}), "forward"),
    (column("json"), column("json", properties={"a": column("text", required=True)}), "full"),
    (column("text"), reference(), "breaking"),
    (column("text"), reference(required=True), "forward"),
    (column("text", required=True), reference(required=True), "forward"),
    (reference(), reference(required=True), "forward"),
    (reference(), reference(integrity="weak"), "backward"),
    (reference(), reference(cascade="restrict"), "full"),
    (reference(), reference(tenant="geo"), "forward"),
    (reference(tenant="geo"), reference(tenant="GEO"), "full"),
    (reference(tenant="geo"), reference(tenant="eu"), "breaking"),
    (reference(aggregate_type="a"), reference(aggregate_type="b"), "breaking"),
    (reference(), column("json"), "backward"),
]  # fmt: skip


def verdict(old: Any, new: Any, restrict: Restrict = "default") -> Verdict:
    """Return the verdict of one schema becoming another; None is no schema."""
    before = {} if old is None else {"order": old}
    after = {} if new is None else {"order": new}
    return total(compatibility(before, after, restrict=restrict))


class Verdicts(SynchronousTestCase):
    """One change at a time."""

    def test_changes_of_schemas(self) -> None:
        """Each change has its verdict, and its reversal the reversed one."""
        for name, old, new, expected in SCHEMAS:
            self.assertEqual(verdict(old, new), expected, name)
            if name != "upcaster":
                self.assertEqual(verdict(new, old), BOTH_WAYS[expected], name)

    def test_lost_upcasters_break(self) -> None:
        """Stored events name revisions, so a revision may be added and never taken away."""
        kept = EventRule(upcast=((Rename("/a", "/b"),),))
        old = schema(events={"order_created": kept})
        modes: tuple[Restrict, ...] = ("off", "default", "strict")
        for restrict in modes:
            self.assertEqual(verdict(old, schema(), restrict), "breaking")

    def test_changes_of_columns(self) -> None:
        """Each change has its verdict, and its reversal the reversed one."""
        for old, new, expected in COLUMNS:
            before, after = schema(column_types={"a": old}), schema(column_types={"a": new})
            self.assertEqual(verdict(before, after), expected, (old, new))
            self.assertEqual(verdict(after, before), BOTH_WAYS[expected], (new, old))

    def test_columns_in_columns_have_the_same_verdicts(self) -> None:
        """A property of an object column is compared as a column is."""
        for old, new, expected in COLUMNS:
            before, after = (
                schema(column_types={"o": column("object", properties={"a": one})})
                for one in (old, new)
            )
            self.assertEqual(verdict(before, after), expected, (old, new))

    def test_the_mode_decides_what_no_schema_means(self) -> None:
        """Without a schema everything is accepted, in strict mode nothing."""
        self.assertEqual(verdict(None, schema()), "forward")
        self.assertEqual(verdict(schema(), None), "backward")
        self.assertEqual(verdict(None, schema(), "strict"), "backward")
        self.assertEqual(verdict(schema(), None, "strict"), "forward")
        self.assertEqual(verdict(None, schema(), "off"), "full")

    def test_off_looks_at_locks_only(self) -> None:
        """What is not enforced cannot break anything."""
        self.assertEqual(verdict(schema(), listing("a"), "off"), "full")
        self.assertEqual(verdict(schema(), schema(locked=True), "off"), "forward")
        self.assertEqual(verdict(None, schema(locked=True), "off"), "forward")

    def test_changes_add_up_to_the_worst_of_each_direction(self) -> None:
        """A backward and a forward change together are breaking; each keeps its own verdict."""
        old = schema(column_types={"a": column("integer"), "b": column("text")})
        new = schema(column_types={"a": column("float"), "b": column("text", format="email")})
        changes = compatibility({"order": old}, {"order": new})
        self.assertEqual(
            [(change.sentence, change.verdict) for change in changes],
            [
                ("column a is float instead of integer, which accepts that, too", "backward"),
                ("column b has the format email now", "forward"),
            ],
        )
        self.assertEqual(total(changes), "breaking")
        self.assertEqual(total([]), "full")

    def test_a_demand_is_fulfilled_by_what_is_at_least_as_good(self) -> None:
        """full fulfils every demand, and everything fulfils breaking."""
        good = {
            "full": {"full"},
            "backward": {"full", "backward"},
            "forward": {"full", "forward"},
            "breaking": set(BOTH_WAYS),
        }
        for demanded in BOTH_WAYS:
            found = {one for one in BOTH_WAYS if fulfils(one, demanded)}
            self.assertEqual(found, good[demanded], demanded)


class Sameness(SynchronousTestCase):
    """Equal but for times."""

    def test_times_do_not_count(self) -> None:
        """Everything else does, upcasters to the letter."""
        one = schema()
        self.assertTrue(same({"order": one}, {"order": replace(one, updated_at=9)}))
        self.assertFalse(same(one, replace(one, locked=True)))
        self.assertFalse(same({"order": one}, {}))
        values = [
            schema(events={"e": EventRule(upcast=((Default("/a", value),),))})
            for value in (1, True, 1.0)
        ]
        for place, value in enumerate(values):
            self.assertEqual([same(value, other) for other in values].index(True), place)
