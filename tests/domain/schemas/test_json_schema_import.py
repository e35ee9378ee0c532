"""Reading JSON Schema: our own documents lose nothing, others' are taken or refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.schemas.json_schema import document, export
from eventdbx.domain.schemas.json_schema_import import import_document
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Column,
    Default,
    EventRule,
    MapValues,
    Rename,
)
from eventdbx.domain.schemas.reading import read_column
from eventdbx.domain.schemas.writing import column_value, schema_value, without_times
from eventdbx.errors import InvalidSchema, SerializationError
from tests.domain.schemas.strategies import schemas

EVERYTHING = AggregateSchema(
    aggregate="order",
    snapshot_threshold=10,
    locked=True,
    field_locks=("id",),
    hidden=True,
    hidden_fields=("secret",),
    column_types={"total": read_column({"type": "decimal(12,2)", "required": True})},
    events={
        "order.paid": EventRule(
            fields=("id", "total"),
            notes="money",
            upcast=(
                (Rename("/a", "/b"), Default("/c", {"d": [1, None]})),
                (MapValues("/s", {"0": "open"}, True, None),),
            ),
        ),
        "order_seen": EventRule(),
    },
    created_at=1,
    updated_at=2,
)


def properties(column: JSON, **more: JSON) -> dict[str, JSON]:
    """Return a document of one property."""
    return {"type": "object", "properties": {"f": column}, **more}


# A fragment, and the column that it becomes.
COLUMNS: tuple[tuple[JSON, JSON], ...] = (
    (True, "json"),
    ({}, "json"),
    ({"type": "string"}, "text"),
    ({"type": "integer"}, "integer"),
    ({"type": "number"}, "float"),
    ({"type": ["integer", "number"]}, "float"),
    ({"type": "boolean"}, "boolean"),
    ({"type": "object"}, "object"),
    ({"type": "array"}, "json"),
    ({"type": ["string", "integer"]}, "json"),
    ({"type": "string", "format": "date-time"}, "timestamp"),
    ({"type": "string", "format": "date"}, "date"),
    ({"type": "string", "format": "email"}, {"type": "text", "format": "email"}),
    ({"type": "string", "format": "uri"}, {"type": "text", "format": "url"}),
    ({"type": "string", "format": "url"}, {"type": "text", "format": "url"}),
    ({"type": "string", "contentEncoding": "base64"}, "binary"),
    (
        {"type": "string", "minLength": 1, "maxLength": 3},
        {"type": "text", "length": {"min": 1, "max": 3}},
    ),
    ({"type": "string", "pattern": r"^\d+$"}, {"type": "text", "regex": [r"^\d+$"]}),
    ({"enum": ["a.b", "c"]}, {"type": "text", "regex": [r"^(?:a\.b|c)$"]}),
    ({"type": "string", "const": ""}, {"type": "text", "regex": ["^(?:)$"]}),
    (
        {"type": "integer", "minimum": 1, "maximum": 3},
        {"type": "integer", "range": {"min": "1", "max": "3"}},
    ),
    (
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
        {"type": "integer", "range": {"min": "2", "max": "2"}},
    ),
    ({"type": "integer", "minimum": 0.5}, {"type": "integer", "range": {"min": "1"}}),
    ({"type": "integer", "minimum": -1e30}, "integer"),
    ({"type": "number", "minimum": -0.5}, {"type": "float", "range": {"min": "-0.5"}}),
    (
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}},
        {
            "type": "object",
            "properties": {
                "a": {"type": "text", "required": True},
                "b": {"type": "json", "required": True},
            },
        },
    ),
    (
        {"allOf": [{"type": "string", "minLength": 2}, {"minLength": 1, "pattern": "a"}]},
        {"type": "text", "regex": ["a"], "length": {"min": 2}},
    ),
    ({"$ref": "#/$defs/name"}, {"type": "text", "length": {"max": 9}}),
    (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}},
                {"properties": {"a": {"minLength": 1}}, "required": ["a"]},
            ]
        },
        {
            "type": "object",
            "properties": {"a": {"type": "text", "required": True, "length": {"min": 1}}},
        },
    ),
    ({"type": "string", "title": "T", "examples": ["x"], "x-other": 1, "deprecated": True}, "text"),
    ({"type": "string", "x-dbx-column": "decimal(4,1)"}, "decimal(4,1)"),
)

# A fragment, where in it the keyword stands that cannot be kept, the keyword, and the reason.
REFUSED: tuple[tuple[JSON, str, str, str], ...] = (
    ({"oneOf": []}, "", "oneOf", ""),
    ({"anyOf": []}, "", "anyOf", ""),
    ({"not": {}}, "", "not", ""),
    ({"if": {}}, "", "if", ""),
    ({"dependentRequired": {}}, "", "dependentRequired", ""),
    ({"unevaluatedItems": False}, "", "unevaluatedItems", ""),
    ({"type": "object", "patternProperties": {}}, "", "patternProperties", ""),
    ({"type": "array", "prefixItems": []}, "", "prefixItems", ""),
    ({"type": "array", "items": {}}, "", "items", ""),
    ({"type": "array", "contains": {}}, "", "contains", ""),
    ({"type": "number", "multipleOf": 2}, "", "multipleOf", ""),
    ({"type": "string", "minLenght": 2}, "", "minLenght", ""),
    ({"type": "object", "properties": {"a/b": {"oneOf": []}}}, "/properties/a~1b", "oneOf", ""),
    (
        {"type": "object", "additionalProperties": {"type": "string"}},
        "",
        "additionalProperties",
        "",
    ),
    ({"allOf": [{"oneOf": []}]}, "/allOf/0", "oneOf", ""),
    (
        {"$ref": "http://127.0.0.1:9/x"},
        "",
        "$ref",
        "only places in this document can be referred to",
    ),
    ({"$ref": "#name"}, "", "$ref", "only places in this document can be referred to"),
    ({"$ref": "#/$defs/none"}, "", "$ref", "there is no such place"),
    ({"$ref": "#/$defs/tree"}, "/properties/child", "$ref", "it leads back to itself"),
    ({"type": "string", "pattern": "(?=a)"}, "", "pattern", "look-around is not supported"),
    ({"enum": [1]}, "", "enum", "only texts can be listed"),
    ({"const": None}, "", "const", "only texts can be listed"),
    (
        {"type": "number", "exclusiveMinimum": 1},
        "",
        "exclusiveMinimum",
        "only integers have a next one",
    ),
    (
        {"type": ["string", "integer"], "maxLength": 1},
        "",
        "maxLength",
        "the column has no single type",
    ),
    ({"minimum": 1}, "", "minimum", "the column has no single type"),
    (
        {"type": "string", "format": "date", "minLength": 3},
        "",
        "minLength",
        "a column of type date has no such rule",
    ),
    (
        {"allOf": [{"type": "string", "format": "email"}, {"format": "uri"}]},
        "/allOf/0",
        "format",
        "a column has only one",
    ),
    (
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        "/allOf/0",
        "type",
        "no value is of all the types at once",
    ),
)

# A fragment, whether it is required, the column that it becomes, and what is warned of.
WARNED: tuple[tuple[JSON, bool, JSON, str], ...] = (
    ({"type": ["string", "null"]}, True, "text",
     "null is refused, so that the column is not required at /properties/f"),
    ({"type": "string", "format": "uuid"}, False, "text",
     "format 'uuid' is not checked at /properties/f"),
    ({"type": "string", "contentEncoding": "base32"}, False, "text",
     "contentEncoding 'base32' is not checked at /properties/f"),
    ({"type": "object", "additionalProperties": False}, False, "object",
     "other members are allowed nevertheless at /properties/f/additionalProperties"),
    ({"properties": {"a": True}}, False, {"type": "object", "properties": {"a": "json"}},
     "taken for an object at /properties/f"),
)  # fmt: skip

DEFINITIONS: dict[str, JSON] = {
    "name": {"type": "string", "maxLength": 9},
    "tree": {"type": "object", "properties": {"child": {"$ref": "#/$defs/tree"}}},
}


class OwnDocumentTests(SynchronousTestCase):
    """From a schema to a document and back."""

    def returned(self, found: dict[str, Any], **more: Any) -> AggregateSchema:
        """Return what comes back from a document that has been a file."""
        schema, warnings = import_document(
            parse(orjson.dumps(found)), found_name(found), now_ns=7, **more
        )
        self.assertEqual(warnings, [])
        return schema

    def assert_same(self, found: AggregateSchema, expected: AggregateSchema) -> None:
        """Fail unless both say the same, times aside."""
        self.assertEqual(without_times(found), without_times(expected))

    def test_nothing_is_lost(self) -> None:
        """Everything that a schema says comes back, of all of it and of one event."""
        self.assert_same(self.returned(export(EVERYTHING, domain="d")), EVERYTHING)
        one = self.returned(document(EVERYTHING, "order.paid", domain="d"))
        only = {"order.paid": EVERYTHING.events["order.paid"]}
        self.assert_same(one, replace(EVERYTHING, events=only))

    @settings(max_examples=300, deadline=None)
    @given(schemas())
    def test_nothing_is_lost_of_any_schema(self, schema: AggregateSchema) -> None:
        """The same of random schemas."""
        self.assert_same(self.returned(export(schema, domain="d")), schema)
        for name, rule in schema.events.items():
            found = self.returned(document(schema, name, domain="d"))
            self.assert_same(found, replace(schema, events={name: rule}))

    def test_an_event_joins_the_stored_ones(self) -> None:
        """A document of one event leaves the others as they are."""
        found = document(EVERYTHING, "order.paid", domain="d")
        stored = replace(EVERYTHING, events={"order_seen": EventRule(fields=("x",))})
        back = self.returned(found, stored=stored)
        self.assertEqual(back.events["order_seen"].fields, ("x",))
        self.assertEqual(back.events["order.paid"], EVERYTHING.events["order.paid"])

    def test_times_are_those_of_the_store(self) -> None:
        """What was there keeps the time of its making."""
        back = self.returned(export(EVERYTHING, domain="d"), stored=EVERYTHING)
        self.assertEqual(back.created_at, EVERYTHING.created_at)

    def test_a_bad_exact_keyword(self) -> None:
        """What cannot be read is named by its place."""
        found = export(EVERYTHING, domain="d")
        found["properties"]["total"]["x-dbx-column"] = "txt"
        error = self.assertRaises(SerializationError, import_document, found, "order", now_ns=0)
        self.assertEqual(
            error.detail, "invalid column type 'txt' at /properties/total/x-dbx-column"
        )


def found_name(found: dict[str, Any]) -> str:
    """Return the aggregate type that a document of ours is of."""
    name: str = (found.get("x-dbx-aggregate") or found["x-dbx-event"])["aggregate"]
    return name


class OtherDocumentTests(SynchronousTestCase):
    """Documents that other tools have written."""

    def read(self, found: JSON, **more: Any) -> tuple[AggregateSchema, list[str]]:
        """Import a document for an event."""
        return import_document(found, "order", now_ns=7, **{"event": "order_paid", **more})

    def test_what_becomes_of_each_keyword(self) -> None:
        """Each fragment is a column, without a warning."""
        for fragment, expected in COLUMNS:
            schema, warnings = self.read(properties(fragment, **{"$defs": DEFINITIONS}))
            column = column_value(schema.column_types["f"])
            self.assertEqual(
                (column, warnings), (column_value(read_column(expected)), []), fragment
            )

    def test_what_no_column_can_say(self) -> None:
        """It is refused by keyword and place; leniently, only that column takes anything."""
        for fragment, inside, keyword, why in REFUSED:
            found = properties(fragment, **{"$defs": DEFINITIONS})
            place = f"{'/$defs/tree' if 'child' in inside else '/properties/f'}{inside}/{keyword}"
            reason = f"unsupported keyword '{keyword}' at {place}{why and ': '}{why}"
            error = self.assertRaises(InvalidSchema, self.read, found)
            self.assertEqual(error.detail, reason)
            schema, warnings = self.read(found, lenient=True)
            self.assertEqual(warnings, [f"{reason}; the column takes any value"])
            self.assertIn("json", str(schema_value(schema)["column_types"]))

    def test_only_the_innermost_column_gives_way(self) -> None:
        """Its neighbours keep their types."""
        nested: JSON = {
            "type": "object",
            "properties": {"a": {"oneOf": []}, "b": {"type": "string"}},
        }
        schema, _warnings = self.read(properties(nested, required=["f"]), lenient=True)
        self.assertEqual(
            column_value(schema.column_types["f"]),
            {"type": "object", "required": True, "properties": {"a": "json", "b": "text"}},
        )

    def test_what_is_only_warned_of(self) -> None:
        """Losses that leave the contract wider, or say nothing, do not stop an import."""
        for fragment, required, column, warning in WARNED:
            schema, warnings = self.read(properties(fragment, required=["f"] if required else []))
            self.assertEqual(column_value(schema.column_types["f"]), column, fragment)
            self.assertEqual(warnings, [warning])

    def test_a_closed_document_is_the_list_of_an_event(self) -> None:
        """Its properties are the list; the description is the note."""
        for closing in (
            {"additionalProperties": False},
            {"propertyNames": {"enum": ["f", "g"]}, "additionalProperties": False},
            {"propertyNames": {"enum": ["f"]}},
        ):
            found = properties(True, required=["f"], description="paid", **closing)
            schema, warnings = self.read(found)
            self.assertEqual(schema.events, {"order_paid": EventRule(fields=("f",), notes="paid")})
            self.assertEqual(warnings, [])
        _schema, warnings = self.read(properties(True, additionalProperties=False))
        self.assertEqual(
            warnings, ["event order_paid requires every field of its list, also f, at /"]
        )

    def test_the_stored_schema_keeps_the_rest(self) -> None:
        """Without an event only columns change; events, locks and times stay."""
        schema, warnings = self.read(
            properties({"type": "string"}, additionalProperties=False),
            event=None,
            stored=EVERYTHING,
        )
        text = {"f": read_column("text")}
        self.assertEqual(schema, replace(EVERYTHING, column_types=text, updated_at=7))
        self.assertEqual(warnings, ["the list of fields is for an event: name one to keep it at /"])

    def test_no_event_at_all(self) -> None:
        """Nothing could ever be appended, so that it is refused."""
        error = self.assertRaises(InvalidSchema, self.read, properties(True), event=None)
        self.assertIn("names no event", error.detail)

    def test_marks_are_taken_on_request(self) -> None:
        """Fields are locked for readOnly, hidden for writeOnly, and not unless asked."""
        fragment: JSON = {"allOf": [{"readOnly": True}], "writeOnly": True}
        found = properties(fragment)
        schema, _warnings = self.read(found)
        self.assertEqual((schema.field_locks, schema.hidden_fields), ((), ()))
        schema, _warnings = self.read(found, marks=True)
        self.assertEqual((schema.field_locks, schema.hidden_fields), (("f",), ("f",)))

    def test_roots_that_are_no_payload(self) -> None:
        """The root must be an object whose keywords are known, too."""
        for root, reason in (
            ({"type": "array"}, "unsupported keyword 'type' at /type: a payload is an object"),
            ({"oneOf": []}, "unsupported keyword 'oneOf' at /oneOf"),
            ({"properties": {"f": False}}, "unsupported schema 'false' at /properties/f"),
            ({"propertyNames": {"pattern": "a"}},
             "unsupported keyword 'propertyNames' at /propertyNames"),
            ({"additionalProperties": {"type": "string"}},
             "unsupported keyword 'additionalProperties' at /additionalProperties"),
        ):  # fmt: skip
            error = self.assertRaises(InvalidSchema, self.read, root)
            self.assertEqual(error.detail, reason)
        wrong: tuple[JSON, ...] = (True, [], {"properties": []}, {"required": "f"})
        for other in (*wrong, properties({"minLength": "1"})):
            self.assertRaises(SerializationError, self.read, other)
        _schema, warnings = self.read(properties(True, oneOf=[]), lenient=True)
        self.assertEqual(warnings, ["unsupported keyword 'oneOf' at /oneOf; it is not checked"])

    def test_documents_that_multiply(self) -> None:
        """References that double at each level are stopped."""
        levels: dict[str, JSON] = {
            f"l{at}": {"allOf": [{"$ref": f"#/$defs/l{at + 1}"}] * 2} for at in range(40)
        }
        levels["l40"] = {"type": "string"}
        found = properties({"$ref": "#/$defs/l0"}, **{"$defs": levels})
        error = self.assertRaises(InvalidSchema, self.read, found)
        self.assertEqual(error.detail, "the document has too many parts")

    def test_columns_are_plain_values(self) -> None:
        """What comes out is a value like any other schema's."""
        schema, _warnings = self.read(properties({"type": "string"}))
        self.assertEqual(schema.column_types, {"f": Column(type=read_column("text").type)})
