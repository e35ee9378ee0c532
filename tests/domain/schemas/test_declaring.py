"""Declarations that cannot be: what people are refused, and what machines bring all the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.schemas.declaring import check, complaints, repair
from eventdbx.domain.schemas.model import AggregateSchema, SchemaSet
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.domain.schemas.writing import column_value
from eventdbx.errors import InvalidSchema
from tests.domain.schemas.sets import schema_sets

E1 = "field c must be a string"
E2 = "field c does not support length validation"
E3 = "field c does not support range validation"
E4 = "field c cannot define nested properties on non-object type"
NOT_REFERENCE = "field c specifies reference rules without reference format"
OTHER_TYPES = (
    "integer", "float", "decimal(4,2)", "timestamp", "date", "boolean", "binary", "json", "object",
)  # fmt: skip
RANGED = ("integer", "float", "decimal(4,2)", "timestamp", "date")

# A column, and what is wrong with it.
IMPOSSIBLE: tuple[tuple[Any, str], ...] = (
    *(({"type": kind, "contains": ["a"]}, E1) for kind in OTHER_TYPES),
    *(({"type": kind, "does_not_contain": ["a"]}, E1) for kind in OTHER_TYPES),
    *(({"type": kind, "regex": ["a"]}, E1) for kind in OTHER_TYPES),
    *(({"type": kind, "format": "email"}, E1) for kind in OTHER_TYPES),
    ({"type": "date", "format": "iso8601"}, E1),
    *(({"type": kind, "length": {"min": 1}}, E2) for kind in OTHER_TYPES if kind != "binary"),
    *(
        ({"type": kind, "range": {"min": "1"}}, E3)
        for kind in ("text", *OTHER_TYPES)
        if kind not in RANGED
    ),
    *(
        ({"type": kind, "properties": {"a": "text"}}, E4)
        for kind in ("text", *OTHER_TYPES)
        if kind not in ("json", "object")
    ),
    (
        {"type": "text", "length": {"min": 2, "max": 1}},
        "field c length minimum cannot exceed its maximum",
    ),
    (
        {"type": "integer", "range": {"min": "10", "max": "9"}},
        "field c range minimum cannot exceed its maximum",
    ),
    (
        {"type": "integer", "range": {"min": "1.5"}},
        "field c range minimum '1.5' is not a valid integer",
    ),
    (
        {"type": "float", "range": {"max": "nan"}},
        "field c range maximum 'nan' is not a valid float",
    ),
    (
        {"type": "decimal(4,2)", "range": {"max": "x"}},
        "field c range maximum 'x' is not a valid decimal",
    ),
    (
        {"type": "date", "range": {"min": "now"}},
        "field c range boundary 'now' is not a valid date (YYYY-MM-DD)",
    ),
    (
        {"type": "timestamp", "range": {"min": "2026-01-01"}},
        "field c range boundary '2026-01-01' is not a valid RFC3339 timestamp",
    ),
    ("decimal(0,0)", "field c decimal precision must be between 1 and 38"),
    ("decimal(39,2)", "field c decimal precision must be between 1 and 38"),
    ("decimal(2,3)", "field c decimal scale cannot exceed its precision"),
    (
        {"type": "int", "format": "reference"},
        "field c uses reference format but must be a text column",
    ),
    ({"type": "text", "reference": {"cascade": "restrict"}}, NOT_REFERENCE),
    ({"type": "text", "format": "email", "reference": {}}, NOT_REFERENCE),
    (
        {"type": "ref", "reference": {"tenant": "-a"}},
        "field c reference tenant must begin with an ASCII letter or digit",
    ),
    (
        {"type": "object", "properties": {"d": {"type": "int", "regex": ["a"]}}},
        "field c.d must be a string",
    ),
)

POSSIBLE: tuple[Any, ...] = (
    {"type": "timestamp", "format": "iso8601"},
    {"type": "json", "properties": {"a": {"type": "int", "regex": ["a"]}}},
    {"type": "binary", "length": {"min": 1, "max": 1}},
    {"type": "integer", "range": {"min": " 9 ", "max": "10"}},
    {
        "type": "timestamp",
        "range": {"min": "2026-01-01T01:00:00+01:00", "max": "2026-01-01T00:00:00Z"},
    },
    "decimal(38,38)",
    {"type": "ref", "reference": {"tenant": "geo", "aggregate_type": "any thing"}},
)

# Something of a schema, and what is wrong with it.
ODD_EVENTS: tuple[tuple[Any, str], ...] = (
    ({"": {}}, "event names cannot be empty"),
    ({" ": {}}, "event names cannot be empty"),
    ({"a.b": {}, "a_b": {}}, "events a.b and a_b are one event: dots count as underscores"),
    ({"a": {"notes": "é" * 129}}, "default note for event a cannot exceed 128 characters"),
    ({"a": {"fields": [" "]}}, "field names cannot be empty"),
    (
        {"a": {"upcast": [[], [{"op": "rename", "from": "/a", "to": "b"}]]}},
        "event a upcaster 1 of revision 2: 'b' is not a JSON Pointer",
    ),
    (
        {"a": {"upcast": [[{"op": "default", "path": "/~2", "value": 1}]]}},
        "event a upcaster 1 of revision 1: '/~2' is not a JSON Pointer",
    ),
    (
        {"a": {"upcast": [[{"op": "map", "path": "", "values": {}}]]}},
        "event a upcaster 1 of revision 1: '' is the whole payload",
    ),
)

HEAVY = r"[^x]{900}\p{L}{50}%d"
LONG = "x" * (limits.SCHEMA_NAME_BYTES_MAX + 1)


def nested(depth: int) -> Any:
    """Return a column whose innermost properties are that many levels below it."""
    return "text" if depth == 0 else {"type": "object", "properties": {"a": nested(depth - 1)}}


# What not even a machine may bring.
TOO_MUCH: tuple[tuple[dict[str, Any], str], ...] = (
    ({"events": {LONG: {}}}, "event names cannot exceed 128 bytes"),
    ({"events": {"é" * 65: {}}}, "event names cannot exceed 128 bytes"),
    ({"column_types": {LONG: "text"}}, "field names cannot exceed 128 bytes"),
    ({"column_types": {"": "text"}}, "field names cannot be empty"),
    (
        {"column_types": {"a": {"type": "json", "properties": {LONG: "text"}}}},
        "field names cannot exceed 128 bytes",
    ),
    ({"field_locks": [LONG]}, "field names cannot exceed 128 bytes"),
    ({"hidden_fields": [LONG]}, "field names cannot exceed 128 bytes"),
    ({"events": {"a": {"fields": [LONG]}}}, "field names cannot exceed 128 bytes"),
    (
        {"events": {f"e{n}": {} for n in range(1001)}},
        "aggregate a cannot have more than 1000 events",
    ),
    (
        {"column_types": {f"c{n}": "text" for n in range(1001)}},
        "aggregate a cannot have more than 1000 columns",
    ),
    (
        {"column_types": {"c": nested(17)}},
        f"field c{'.a' * 16} cannot nest properties deeper than 16",
    ),
    (
        {"column_types": {"c": {"type": "text", "contains": ["a"] * 65}}},
        "field c cannot have more than 64 contains entries",
    ),
    (
        {"column_types": {"c": {"type": "text", "regex": ["a" * 1025]}}},
        "field c regex entries cannot exceed 1024 bytes",
    ),
    (
        {"column_types": {"c": {"type": "text", "does_not_contain": ["é" * 513]}}},
        "field c does_not_contain entries cannot exceed 1024 bytes",
    ),
    (
        {"column_types": {f"c{n}": {"type": "text", "regex": [HEAVY % n]} for n in range(400)}},
        "aggregate a has patterns that are larger than 268435456 bytes when compiled",
    ),
    ({"events": {"a": {"upcast": [[]] * 1001}}}, "event a cannot have more than 1000 upcasters"),
)


def schema_of(**members: Any) -> AggregateSchema:
    """Return a schema with some members of its JSON."""
    return read_schema(members, "a", now_ns=0)


def column_of(column: Any) -> AggregateSchema:
    """Return a schema with one column, ``c``."""
    return schema_of(column_types={"c": column})


class Declaring(SynchronousTestCase):
    """What is refused, and to whom."""

    def refused(self, schema: AggregateSchema) -> str:
        """Return why a person is refused a schema."""
        with self.assertRaises(InvalidSchema) as caught:
            check(schema)
        self.assertEqual(caught.exception.detail, complaints(schema)[0])
        return str(caught.exception.detail)

    def test_impossible_columns_are_refused(self) -> None:
        """A column that no value can pass is refused in the words of the refusal to append."""
        for column, reason in IMPOSSIBLE:
            self.assertEqual(self.refused(column_of(column)), reason, column)

    def test_patterns_are_compiled(self) -> None:
        """A pattern that is none is refused with the reason."""
        reason = self.refused(column_of({"type": "text", "regex": ["a", "(b"]}))
        self.assertRegex(reason, r"^field c has invalid regex '\(b': .")

    def test_possible_columns_are_accepted(self) -> None:
        """What looks odd but can be met is nobody's business."""
        for column in POSSIBLE:
            self.assertEqual(complaints(column_of(column)), [], column)

    def test_odd_events_are_refused(self) -> None:
        """Events that cannot be met, and upcasters that lead nowhere."""
        for events, reason in ODD_EVENTS:
            self.assertIn(reason, complaints(schema_of(events=events)))

    def test_all_complaints_are_gathered(self) -> None:
        """Whoever asks gets everything, by column."""
        schema = schema_of(
            column_types={
                "b": {"type": "int", "length": {"min": 2, "max": 1}, "format": "email"},
                "a": "decimal(0,1)",
            }
        )
        self.assertEqual(
            complaints(schema),
            [
                "field a decimal precision must be between 1 and 38",
                "field b must be a string",
                "field b does not support length validation",
                "field b length minimum cannot exceed its maximum",
            ],
        )

    def test_limits_hold_for_everybody(self) -> None:
        """What is too much is refused to people and to machines."""
        for members, reason in TOO_MUCH:
            schema = schema_of(**members)
            self.assertEqual(self.refused(schema), reason)
            with self.assertRaises(InvalidSchema) as caught:
                repair(schema)
            self.assertEqual(caught.exception.detail, reason)
        for name, reason in (("", "must be provided"), (LONG, "cannot exceed 128 bytes")):
            with self.assertRaises(InvalidSchema) as caught:
                repair(AggregateSchema(aggregate=name))
            self.assertEqual(caught.exception.detail, f"aggregate name {reason}")

    def test_the_largest_is_accepted(self) -> None:
        """Each limit itself is allowed."""
        schema = schema_of(
            events={f"e{n:0127}": {} for n in range(1000)},
            column_types={
                "c": nested(16),
                "d": {"type": "text", "contains": ["a" * 1024] * 64},
                **{f"c{n}": "text" for n in range(1000 - 18)},
            },
        )
        self.assertEqual(complaints(schema), [])

    def test_machines_may_bring_the_impossible(self) -> None:
        """What a file holds is taken over with a warning."""
        for column, reason in IMPOSSIBLE:
            if reason == NOT_REFERENCE:
                continue
            schema = column_of(column)
            repaired, warnings = repair(schema)
            self.assertEqual((repaired, warnings), (schema, [f"schema a: {reason}"]))

    def test_a_missing_reference_format_is_added(self) -> None:
        """Reference rules make a reference, nested ones too."""
        column = {
            "type": "object",
            "properties": {
                "d": {"type": "text", "format": "email", "reference": {"integrity": "weak"}}
            },
        }
        schema, warnings = repair(column_of(column))
        self.assertEqual(
            column_value(schema.column_types["c"].properties["d"]),
            {
                "type": "text",
                "format": "reference",
                "reference": {"integrity": "weak", "cascade": "none"},
            },
        )
        self.assertEqual(
            warnings,
            [
                "schema a: field c.d specifies reference rules without reference format, "
                "which is added"
            ],
        )
        self.assertEqual(complaints(schema), [])

    def test_names_that_no_event_has_are_said(self) -> None:
        """Names with hyphens are accepted, and the better name is said."""
        _, warnings = repair(schema_of(events={"patient-added": {}, "log.written": {}}))
        self.assertEqual(
            warnings,
            [
                "event 'patient-added' can never match an event: event types are snake_case; "
                "call it 'patient_added'"
            ],
        )

    @given(schema_sets())
    def test_sets_that_may_be_declared_are(self, schemas: SchemaSet) -> None:
        """Nothing is said against columns whose rules fit their types."""
        for schema in schemas.values():
            self.assertEqual(complaints(schema), [])
            self.assertEqual(repair(schema)[0], schema)
