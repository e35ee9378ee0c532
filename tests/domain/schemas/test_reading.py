"""The JSON model: what is read, what is corrected, what is refused, and how it is written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import parse
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Default,
    MapValues,
    Rename,
    SchemaSet,
)
from eventdbx.domain.schemas.reading import read_column, read_schemas, read_upcast
from eventdbx.domain.schemas.writing import (
    column_value,
    schema_document,
    schemas_document,
    schemas_text,
    upcast_value,
)
from eventdbx.errors import InvalidSchema, SerializationError
from tests.domain.schemas.sets import schema_sets

NOW = 1_700_000_000_000_000_005
WHOLE = (
    b'{"order":{"aggregate":"order","snapshot_threshold":100,"locked":false,"field_locks":["id"],'
    b'"hidden":false,"hidden_fields":["pin"],"column_types":{"email":{"type":"text","required":'
    b'true,"contains":["@"],"does_not_contain":[" "],"regex":["^a","b$"],"length":{"min":1,"max":'
    b'null},"format":"email"},"paid_at":{"type":"timestamp","range":{"min":null,"max":'
    b'"2030-01-01T00:00:00Z"}},"status":"text","total":"decimal(12,2)"},"events":{"order_created":'
    b'{"fields":["email","status"],"notes":"first"},"order_paid":{"fields":[]}},"created_at":'
    b'"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05.678Z"}}'
)

# A column as it is given, and as it is written.
COLUMNS: tuple[tuple[Any, Any], ...] = (
    ("text", "text"),
    (" STRING ", "text"),
    ("numeric( 12 , 2 )", "decimal(12,2)"),
    ({"type": "int"}, "integer"),
    ({"type": "text", "required": False, "contains": [], "length": None, "format": None}, "text"),
    ({"type": "text", "reference": {}}, "text"),
    ({"type": "text", "must_match": ["x"]}, "text"),
    ({"type": "text", "rules": {"mustMatch": "x"}}, "text"),
    ({"type": "text", "length": {}}, {"type": "text", "length": {"min": None, "max": None}}),
    (
        {"type": "text", "rules": {"length": {"min": "1", "max": "64"}}},
        {"type": "text", "length": {"min": 1, "max": 64}},
    ),
    (
        {"type": "text", "required": False, "rules": {"required": True, "contains": "a"}},
        {"type": "text", "contains": ["a"]},
    ),
    (
        {"type": "integer", "range": {"min": 1, "max": " 9 "}},
        {"type": "integer", "range": {"min": "1", "max": " 9 "}},
    ),
    (
        {"type": "text", "doesNotContain": "a", "regex": "b"},
        {"type": "text", "does_not_contain": ["a"], "regex": ["b"]},
    ),
    ({"type": "text", "format": "iso_8601"}, {"type": "text", "format": "iso8601"}),
    ({"type": "text", "format": "iso8601"}, {"type": "text", "format": "iso8601"}),
    ({"type": "text", "format": "reference"}, {"type": "text", "format": "reference"}),
    (
        "Aggregate-Reference",
        {
            "type": "text",
            "format": "reference",
            "reference": {"integrity": "strong", "cascade": "none"},
        },
    ),
    (
        {"type": "ref", "required": True, "reference": {"tenant": " GEO ", "aggregateType": "a"}},
        {
            "type": "text",
            "required": True,
            "format": "reference",
            "reference": {
                "integrity": "strong",
                "tenant": "geo",
                "aggregate_type": "a",
                "cascade": "none",
            },
        },
    ),
    (
        {"type": "text", "format": "reference", "reference": {"tenant": " ", "integrity": "weak"}},
        {
            "type": "text",
            "format": "reference",
            "reference": {"integrity": "weak", "cascade": "none"},
        },
    ),
    (
        {"type": "object", "properties": {"b": {"type": "bool"}, "a": "ref"}},
        {
            "type": "object",
            "properties": {
                "a": {
                    "type": "text",
                    "format": "reference",
                    "reference": {"integrity": "strong", "cascade": "none"},
                },
                "b": "boolean",
            },
        },
    ),
)

# A document, what is said about it; the schema is that of an empty object.
WARNED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('{"a":{"events":{}}}', ()),
    ('{"a":{"aggregate":"a","snapshotThreshold":null,"fieldLocks":[]}}', ()),
    ('{"a":{"aggregate":"b"}}', ("`aggregate` is corrected to 'a' at /a/aggregate",)),
    (
        '{"a":{"column_types":{},"columnTypes":{"b":"text"}}}',
        ("`columnTypes` is ignored beside `column_types` at /a",),
    ),
    (
        '{"a":{"colour":1,"columns":{}}}',
        ("unknown key `colour` is ignored at /a", "unknown key `columns` is ignored at /a"),
    ),
)

REFUSED: tuple[tuple[str, str], ...] = (
    ("[]", "expected an object, found an array"),
    ('{"a":{}}', "missing field `aggregate` at /a"),
    ("{", "EOF while parsing an object at line 1 column 1"),
    ('{"a":{"locked":1}}', "expected a boolean, found a number at /a/locked"),
    ('{"a":{"hidden":null}}', "expected a boolean, found null at /a/hidden"),
    ('{"a":{"aggregate":1}}', "expected a string, found a number at /a/aggregate"),
    ('{"a":{"snapshot_threshold":-1}}', "expected a non-negative integer at /a/snapshot_threshold"),
    ('{"a":{"snapshotThreshold":1.0}}', "expected a non-negative integer at /a/snapshotThreshold"),
    (
        '{"a":{"snapshot_threshold":true}}',
        "expected a non-negative integer at /a/snapshot_threshold",
    ),
    ('{"a":{"field_locks":["a",1]}}', "expected a string, found a number at /a/field_locks/1"),
    (
        '{"a":{"hidden_fields":"a"}}',
        "expected an array of strings, found a string at /a/hidden_fields",
    ),
    ('{"a":{"events":[]}}', "expected an object, found an array at /a/events"),
    ('{"a":{"events":{"b/c":"d"}}}', "expected an object, found a string at /a/events/b~1c"),
    (
        '{"a":{"events":{"b":{"notes":1}}}}',
        "expected a string, found a number at /a/events/b/notes",
    ),
    ('{"a":{"created_at":"today"}}', "'today' is not an RFC 3339 time at /a/created_at"),
    ('{"a":{"column_types":{"b":"uuid"}}}', "invalid column type 'uuid' at /a/column_types/b"),
    (
        '{"a":{"column_types":{"b":1}}}',
        "expected a type or an object, found a number at /a/column_types/b",
    ),
    ('{"a":{"column_types":{"b":{}}}}', "missing key `type` at /a/column_types/b"),
    (
        '{"a":{"column_types":{"b":{"type":"text","length":{"min":"x"}}}}}',
        "expected a non-negative integer at /a/column_types/b/length/min",
    ),
    (
        '{"a":{"column_types":{"b":{"type":"int","range":{"max":true}}}}}',
        "expected a string or a number, found a boolean at /a/column_types/b/range/max",
    ),
    (
        '{"a":{"column_types":{"b":{"type":"ref","rules":{"reference":{"cascade":"all"}}}}}}',
        "expected one of none, restrict, nullify at /a/column_types/b/rules/reference/cascade",
    ),
    (
        '{"a":{"events":{"b":{"upcast":[[{"op":"cut"}]]}}}}',
        "unknown op 'cut', expected one of rename, move, default, map at /a/events/b/upcast/0/0/op",
    ),
    (
        '{"a":{"events":{"b":{"upcast":[[{"op":"default","path":"/a"}]]}}}}',
        "missing key `value` at /a/events/b/upcast/0/0",
    ),
)


def one(document: str, *, stored: SchemaSet | None = None, now_ns: int = NOW) -> AggregateSchema:
    """Return the schema ``a`` of a document."""
    return read_schemas(document, now_ns=now_ns, stored=stored or {})[0]["a"]


class Reading(SynchronousTestCase):
    """What documents say."""

    def test_a_whole_document_comes_back_as_it_was(self) -> None:
        """Keys, their order and what is left out are those that clients know."""
        schemas, warnings = read_schemas(WHOLE, now_ns=NOW)
        self.assertEqual((schemas_document(schemas), warnings), (WHOLE, []))
        self.assertEqual(schema_document(schemas["order"]), WHOLE[len('{"order":') : -1])
        text = schemas_text(schemas)
        self.assertEqual(text, json.dumps(json.loads(WHOLE), indent=2))

    def test_columns_are_written_in_one_way(self) -> None:
        """Aliases, nested rules, digits, numbers and single strings are accepted."""
        for given_column, written in COLUMNS:
            warnings: list[str] = []
            column = read_column(given_column, (), warnings)
            self.assertEqual(column_value(column), written, given_column)
            self.assertEqual(warnings, [])
            self.assertEqual(column_value(read_column(written)), written)

    def test_numbers_of_bounds_keep_their_digits(self) -> None:
        """A bound with more digits than a double holds is not rounded."""
        for digits in ("0.10", "123456789012345678901234.5", "1e3", "18446744073709551616", "-7"):
            document = (
                f'{{"a":{{"column_types":{{"b":{{"type":"float","range":{{"min":{digits}}}}}}}}}}}'
            )
            bounds = one(document).column_types["b"].range
            assert bounds is not None
            self.assertEqual(bounds.min, digits)

    def test_what_is_odd_is_said(self) -> None:
        """Unknown keys and corrections are warnings with their place."""
        for document, expected in WARNED:
            schemas, warnings = read_schemas(document, now_ns=NOW)
            self.assertEqual(tuple(warnings), expected)
            self.assertEqual(
                schemas["a"], AggregateSchema(aggregate="a", created_at=NOW, updated_at=NOW)
            )

    def test_odd_rules_are_said(self) -> None:
        """A typo in a rule or an upcaster is not silently nothing."""
        warnings: list[str] = []
        read_column({"type": "text", "legnth": 1, "rules": {"regexp": "a"}}, ("c",), warnings)
        read_upcast([[{"op": "default", "path": "/a", "value": 1, "if": 2}]], (), warnings)
        read_column({"type": "ref", "format": "email"}, ("d",), warnings)
        self.assertEqual(
            warnings,
            [
                "unknown key `legnth` is ignored at /c",
                "unknown key `regexp` is ignored at /c/rules",
                "unknown key `if` is ignored at /0/0",
                "format 'email' gives way to 'reference' at /d",
            ],
        )

    def test_refusals_name_place_and_reason(self) -> None:
        """What cannot be read is a serialization error with a JSON Pointer."""
        for document, reason in REFUSED:
            with self.assertRaises(SerializationError) as caught:
                read_schemas(document, now_ns=NOW)
            self.assertEqual(caught.exception.detail, reason, document)

    def test_unknown_formats_name_the_known_ones(self) -> None:
        """Whoever mistypes a format sees which there are."""
        with self.assertRaises(SerializationError) as caught:
            read_column({"type": "text", "format": "mail"}, ("c",))
        self.assertRegex(
            caught.exception.detail, "^unknown format 'mail', .* email, .* at /c/format$"
        )

    def test_blank_documents_are_empty_sets(self) -> None:
        """A blank file is a domain without schemas."""
        for text in (b"", " \n", "{}"):
            self.assertEqual(read_schemas(text, now_ns=NOW), ({}, []))

    def test_documents_have_a_largest_size(self) -> None:
        """A text of schemas is at most 16 MiB, unless it was taken before."""
        text = "{}" + " " * limits.SCHEMA_TEXT_BYTES_MAX
        with self.assertRaises(InvalidSchema):
            read_schemas(text, now_ns=NOW)
        self.assertEqual(read_schemas(text, now_ns=NOW, bytes_max=len(text)), ({}, []))

    def test_times_are_kept_or_now(self) -> None:
        """Missing times are the stored ones as far as the schema says the same."""
        old = AggregateSchema(aggregate="a", locked=True, created_at=1_000, updated_at=2_000)
        same = one('{"a":{"locked":true}}', stored={"a": old})
        self.assertEqual((same.created_at, same.updated_at), (1_000, 2_000))
        other = one('{"a":{"locked":false}}', stored={"a": old})
        self.assertEqual((other.created_at, other.updated_at), (1_000, NOW))
        said = one('{"a":{"createdAt":"1970-01-01T01:00:00+01:00","updated_at":null}}')
        self.assertEqual((said.created_at, said.updated_at), (0, NOW))

    def test_steps_of_upcasters_are_read_and_written(self) -> None:
        """Rename and move are one step; its written name follows from the pointers."""
        value = parse(
            '[[{"op":"rename","from":"/name","to":"/full_name"},{"op":"move","from":"/a","to":"/b/c"},'
            '{"op":"default","path":"/currency","value":null},{"op":"map","path":"/status","values":'
            '{"0":"open"},"otherwise":null}],[{"op":"map","path":"/s","values":{}}]]'
        )
        upcast = read_upcast(value)
        self.assertEqual(
            upcast,
            (
                (
                    Rename("/name", "/full_name"),
                    Rename("/a", "/b/c"),
                    Default("/currency", None),
                    MapValues("/status", {"0": "open"}, True),
                ),
                (MapValues("/s", {}),),
            ),
        )
        self.assertEqual(upcast_value(upcast), value)

    @given(schema_sets())
    def test_what_is_written_is_read_as_the_same(self, schemas: SchemaSet) -> None:
        """Any set comes back from its compact and from its pretty text, without a warning."""
        for text in (schemas_document(schemas), schemas_text(schemas)):
            again, warnings = read_schemas(text, now_ns=NOW)
            self.assertEqual((schemas_document(again), warnings), (schemas_document(schemas), []))
            self.assertEqual(again, schemas)

    @given(st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
        | st.sampled_from(["text", "ref", "rename", "email"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["events", "column_types", "upcast", "type", "rules", "length", "min",
                             "range", "reference", "op", "from", "properties", "fields", "a"]),
            inner, max_size=4),
        max_leaves=20,
    ))  # fmt: skip
    def test_nothing_else_is_raised(self, value: Any) -> None:
        """Any JSON is read or refused with a serialization error."""
        try:
            read_schemas(json.dumps({"a": value}), now_ns=NOW)
        except SerializationError:
            pass
