"""``dbx schema export`` and ``import``, through the real command line."""

from __future__ import annotations

import json
from typing import Any

from tests.surfaces.command_line import CommandLineCase


class JsonSchemaCase(CommandLineCase):
    """Contracts out as JSON Schema, and in."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "--events", "order_paid,order_seen")
        self.dbx("schema", "field", "order", "total", "--type", "decimal(12,2)", "--required")
        self.dbx("schema", "field", "order", "mail", "--type", "text", "--format", "email")
        self.dbx("schema", "alter", "order", "order_paid", "--set", "total")
        self.dbx("schema", "annotate", "order", "order_paid", "--note", "money arrived")

    def export(self, *options: str) -> dict[str, Any]:
        """Return what is exported."""
        found: dict[str, Any] = self.dbx("schema", "export", *options, "--json-schema").document
        return found

    def file(self, document: object) -> str:
        """Write a document to a file and return its path."""
        path = self.home / "document.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    def schema(self, aggregate: str = "order") -> dict[str, Any]:
        """Return a stored schema without its times."""
        found: dict[str, Any] = self.dbx("schema", aggregate).document
        del found["created_at"], found["updated_at"]
        return found

    def test_one_event(self) -> None:
        """The document says what the payload of the event must be."""
        found = self.export("order", "--event", "order_paid")
        self.assertTrue(found["$id"].startswith("urn:eventdbx:default:order:order_paid:"))
        self.assertEqual(found["required"], ["total"])
        self.assertEqual(found["propertyNames"], {"enum": ["total"]})
        self.assertEqual(found["description"], "money arrived")
        self.assertEqual(
            found["properties"]["mail"],
            {
                "type": "string",
                "format": "email",
                "$comment": "approximation: x-dbx-column says it exactly",
                "x-dbx-format": "email",
                "x-dbx-column": {"type": "text", "format": "email"},
            },
        )

    def test_everything(self) -> None:
        """Without a name all types are exported, each under its own."""
        self.dbx("schema", "create", "cart", "--events", "cart_filled")
        found = self.export()
        self.assertEqual(list(found), ["cart", "order"])
        self.assertEqual(found["order"], self.export("order"))
        self.assertNotIn("x-dbx", json.dumps(self.export("--portable")))

    def test_what_is_not_there(self) -> None:
        """Types and events that do not exist are said so."""
        self.assertEqual(
            self.failed("schema", "export", "cart", "--json-schema"), "Error: schema not found\n"
        )
        self.assertEqual(
            self.failed("schema", "export", "order", "--event", "x", "--json-schema"),
            "Error: event x is not defined for aggregate order\n",
        )
        self.assertIn(
            "--event needs an aggregate type",
            self.failed("schema", "export", "--event", "x", "--json-schema"),
        )
        self.assertIn("--json-schema", self.misused("schema", "export", "order"))

    def test_an_export_comes_back_as_it_was(self) -> None:
        """All of a type, or one event of it, is the same after it was a file."""
        before = self.schema()
        whole = self.file(self.export("order"))
        ended = self.dbx("schema", "import", "order", "--json-schema", whole)
        self.assertEqual(ended.stdout, "schema=order imported columns=2 events=2 warnings=0\n")
        self.assertEqual(self.schema(), before)
        one = self.file(self.export("order", "--event", "order_paid"))
        self.dbx("schema", "import", "order", "--json-schema", one)
        self.assertEqual(self.schema(), before)
        self.dbx("schema", "delete", "order", "--yes")
        self.dbx("schema", "import", "order", "--json-schema", one)
        del before["events"]["order_seen"]
        self.assertEqual(self.schema(), before)

    def test_another_tools_document(self) -> None:
        """It becomes a contract that refuses what the document refuses."""
        found = {
            "type": "object",
            "description": "a customer came",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "age": {"type": "integer", "minimum": 0},
                "secret": {"type": "string", "writeOnly": True},
            },
            "required": ["name"],
        }
        event = ("--event", "customer_came")
        made = self.dbx(
            "schema", "import", "customer", "--json-schema", "-", *event, "--marks", "--json",
            stdin=json.dumps(found),
        ).document  # fmt: skip
        self.assertEqual(
            made["column_types"],
            {
                "age": {"type": "integer", "range": {"min": "0", "max": None}},
                "name": {"type": "text", "required": True, "length": {"min": 1, "max": None}},
                "secret": "text",
            },
        )
        self.assertEqual(made["hidden_fields"], ["secret"])
        self.assertEqual(
            made["events"], {"customer_came": {"fields": [], "notes": "a customer came"}}
        )
        self.dbx("aggregate", "create", "customer", "c-1", *event, "--payload", '{"name":"a"}')
        self.assertIn(
            "field age must be >= 0",
            self.failed(
                "aggregate", "create", "customer", "c-2", *event,
                "--payload", '{"name":"a","age":-1}',
            ),
        )  # fmt: skip

    def test_what_is_not_understood(self) -> None:
        """It is refused by place and nothing is stored, or with --lenient it is warned of."""
        found = {"properties": {"a": {"oneOf": [True]}, "b": {"type": "string"}}}
        words = ("schema", "import", "order", "--json-schema", self.file(found))
        before = self.schema()
        self.assertEqual(
            self.failed(*words),
            "Error: invalid schema: unsupported keyword 'oneOf' at /properties/a/oneOf\n",
        )
        self.assertEqual(self.schema(), before)
        ended = self.attempt(*words, "--lenient", "--dry-run")
        warning = (
            "warning: unsupported keyword 'oneOf' at /properties/a/oneOf; "
            "the column takes any value\n"
        )
        self.assertEqual((ended.status, ended.stderr), (0, warning))
        self.assertEqual(ended.document["column_types"], {"a": "json", "b": "text"})
        self.assertEqual(self.schema(), before)
        ended = self.attempt(*words, "--lenient")
        self.assertEqual(
            (ended.status, ended.stdout, ended.stderr),
            (0, "schema=order imported columns=2 events=2 warnings=1\n", warning),
        )
        self.assertEqual(self.schema()["column_types"], {"a": "json", "b": "text"})

    def test_files_that_are_none(self) -> None:
        """What cannot be read is named with the reason."""
        words = ("schema", "import", "order", "--json-schema")
        said = self.failed(*words, str(self.home / "none.json"))
        self.assertIn("failed to read JSON Schema from", said)
        self.assertIn("No such file or directory (os error 2)", said)
        said = self.failed(*words, self.file('{"type":\n}'))
        self.assertIn("failed to parse JSON Schema from", said)
        self.assertIn("line 2 column 1", said)
        self.assertEqual(
            self.failed("schema", "import", "cart", "--json-schema", self.file({})),
            "Error: invalid schema: the document names no event, and no schema has any yet: "
            "name one\n",
        )

    def test_everything_wrong_is_explained(self) -> None:
        """A check of a payload tells all that its document finds, each with its place."""
        payload = '{"total":"1.234","mail":"x","~":1}'
        for event, expected in (
            ("order_seen", [("/mail", "format"), ("/total", "type")]),
            (
                "order_paid",
                [("/mail", "not_permitted"), ("/~0", "not_permitted")]
                + [("/mail", "format"), ("/total", "type")],
            ),
        ):
            ended = self.attempt(
                "schema", "validate", "--aggregate", "order", "--event", event,
                "--payload", payload, "--all-errors", "--json",
            )  # fmt: skip
            found = [(one["pointer"], one["rule"]) for one in ended.document["errors"]]
            self.assertEqual((ended.status, found), (1, expected))

    def test_what_can_never_be_written_is_refused(self) -> None:
        """A document of ours that says the impossible is refused as anywhere else."""
        found = self.export("order")
        found["properties"]["total"]["x-dbx-column"] = {"type": "boolean", "regex": ["a"]}
        said = self.failed("schema", "import", "order", "--json-schema", self.file(found))
        self.assertIn("field total must be a string", said)
