"""``dbx schema field``: types, rules, references, locks, and what cannot be declared."""

from __future__ import annotations

from typing import Any

from tests.surfaces.command_line import CommandLineCase, Ended


class FieldCase(CommandLineCase):
    """A home with a schema for ``order``."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "--events", "order_created")

    def field(self, name: str, *options: str) -> Ended:
        """Change a field."""
        return self.dbx("schema", "field", "order", name, *options)

    def refused(self, name: str, *options: str) -> str:
        """Try a change that must fail; return what was said, without its beginning."""
        before = self.dbx("schema", "order").document
        said = self.failed("schema", "field", "order", name, *options)
        self.assertEqual(self.dbx("schema", "order").document, before)
        return said.removeprefix("Error: ").removesuffix("\n")

    def column(self, name: str) -> Any:
        """Return a column, None without it."""
        return self.dbx("schema", "order").document["column_types"].get(name)


class Rules(FieldCase):
    """Every rule, set, kept and cleared."""

    def test_what_is_said(self) -> None:
        """The parts that changed are named in their order."""
        for options, said in (
            (("--type", "NUMERIC( 12 , 2 )"), "type=decimal(12,2)"),
            (("--range-min", "0.50"), "rules=updated"),
            (("--lock",), "locked=true"),
            (("--type", "text", "--required", "--unlock"),
             "type=text rules=updated locked=false"),
            (("--type", "text", "--clear-rules", "--lock"),
             "type=text rules=cleared locked=true"),
            (("--clear-rules",), "rules=cleared"),
            (("--rules", '{"length":{"max":3}}'), "rules=updated"),
            (("--type", "ref"), "type=reference rules=reference"),
            (("--type", "Reference", "--required"), "type=reference rules=updated"),
            (("--format", "reference"), "rules=updated"),
            (("--clear-type", "--unlock"), "type=cleared locked=false"),
        ):  # fmt: skip
            if said == "type=text rules=updated locked=false":
                self.field("x", "--clear-range")
            self.assertEqual(
                self.field("x", *options).stdout, f"aggregate=order field=x {said}\n", options
            )

    def test_all_rules(self) -> None:
        """Every option lands in its place, and its opposite takes it away."""
        self.field(
            "x", "--type", "text", "--required", "--format", "snake_case",
            "--contains", "a,f(b,c)", "--contains", r"d\,e", "--does-not-contain", "z",
            "--regex", "^a{1,3}", "--regex", "b$", "--length-min", "2", "--length-max", "64",
        )  # fmt: skip
        self.assertEqual(
            self.column("x"),
            {
                "type": "text",
                "required": True,
                "contains": ["a", "f(b,c)", "d,e"],
                "does_not_contain": ["z"],
                "regex": ["^a{1,3}", "b$"],
                "length": {"min": 2, "max": 64},
                "format": "snake_case",
            },
        )
        self.field("x", "--length-min", "3")
        self.assertEqual(self.column("x")["length"], {"min": 3, "max": 64})
        self.field(
            "x", "--not-required", "--clear-format", "--clear-contains",
            "--clear-does-not-contain", "--clear-regex", "--clear-length",
        )  # fmt: skip
        self.assertEqual(self.column("x"), "text")
        self.field("n", "--type", "int", "--range-min=-5", "--range-max", "5")
        self.assertEqual(self.column("n"), {"type": "integer", "range": {"min": "-5", "max": "5"}})
        self.field("n", "--clear-range")
        self.assertEqual(self.column("n"), "integer")

    def test_iso_8601(self) -> None:
        """Both spellings are taken; a timestamp may have it."""
        for word in ("iso_8601", "iso8601"):
            self.field("at", "--type", "timestamp", "--format", word)
            self.assertEqual(self.column("at"), {"type": "timestamp", "format": "iso8601"})
        said = self.misused("schema", "field", "order", "at", "--format", "iso")
        self.assertIn("possible values: email,", said)

    def test_rules_document(self) -> None:
        """Rules come from the line, a file or stdin; bounds keep their digits."""
        path = self.home / "rules.json"
        path.write_text('{"range":{"min":0.10,"max":100000000000000000000000}}', encoding="utf-8")
        self.field("p", "--type", "decimal(30,2)", "--rules", f"@{path}")
        self.assertEqual(
            self.column("p")["range"], {"min": "0.10", "max": "100000000000000000000000"}
        )
        done = self.dbx(
            "schema", "field", "order", "p", "--rules", "-", stdin='{"rules":{"required":true}}'
        )
        self.assertIn("rules=updated", done.stdout)
        self.assertEqual(self.column("p"), {"type": "decimal(30,2)", "required": True})
        done = self.attempt("schema", "field", "order", "p", "--rules", '{"requierd":true}')
        self.assertEqual(done.status, 0)
        self.assertIn("requierd", done.stderr)

    def test_properties(self) -> None:
        """Nested columns outlive other rules until they are cleared."""
        self.field("o", "--type", "object", "--properties", '{"city":{"type":"text"},"zip":"int"}')
        self.assertEqual(self.column("o")["properties"], {"city": "text", "zip": "integer"})
        self.field("o", "--rules", '{"required":true}')
        self.assertEqual(list(self.column("o")), ["type", "required", "properties"])
        self.field("o", "--clear-properties")
        self.assertEqual(self.column("o"), {"type": "object", "required": True})

    def test_references(self) -> None:
        """Reference rules are kept, cleared with blanks, and go with the format."""
        self.field(
            "c", "--type", "aggregate_ref", "--required", "--reference-aggregate", " customer ",
            "--reference-tenant", "geo", "--reference-cascade", "nullify",
        )  # fmt: skip
        block = {
            "integrity": "strong", "tenant": "geo", "aggregate_type": "customer",
            "cascade": "nullify",
        }  # fmt: skip
        self.assertEqual(
            self.column("c"),
            {"type": "text", "required": True, "format": "reference", "reference": block},
        )
        self.field("c", "--reference-tenant", "", "--reference-integrity", "weak")
        self.assertEqual(
            self.column("c")["reference"],
            {"integrity": "weak", "aggregate_type": "customer", "cascade": "nullify"},
        )
        self.field("c", "--clear-format")
        self.assertEqual(self.column("c"), {"type": "text", "required": True})
        said = self.misused("schema", "field", "order", "c", "--reference-cascade", "all")
        self.assertIn("[possible values: none, restrict, nullify]", said)


class Refusals(FieldCase):
    """What is not done."""

    def test_nothing_to_do(self) -> None:
        """A line without a change, and changes that need a column."""
        self.assertEqual(
            self.refused("x"),
            "no changes requested; pass --type, --rules, or at least one rule flag",
        )
        self.assertEqual(
            self.refused("x", "--required"),
            "field x has no column type; set --type before editing rules",
        )
        self.assertEqual(self.refused("x", "--clear-rules"), "field x does not have rules to clear")
        self.assertIn(
            "--clear-type cannot be combined with rule changes; ",
            self.refused("x", "--clear-type", "--required"),
        )

    def test_texts(self) -> None:
        """Types, JSON, files and lists that are not good."""
        self.assertEqual(
            self.refused("x", "--type", "varchar"),
            "invalid column type: invalid column type 'varchar'",
        )
        self.assertEqual(
            self.refused("x", "--type", "text", "--rules", "{bad"),
            "failed to parse rules JSON: {bad\n\nCaused by:\n"
            "    key must be a string at line 1 column 2",
        )
        for rules in ('{"length":{"min":"two"}}', "[1]", '{"format":"mail"}', '{"regex":1}'):
            self.assertIn(
                f"failed to parse rules JSON: {rules}\n\nCaused by:",
                self.refused("x", "--type", "text", "--rules", rules),
            )
        self.assertIn(
            "failed to parse properties JSON: {",
            self.refused("x", "--type", "object", "--properties", "{"),
        )
        self.assertIn(
            "failed to read rules from gone.json\n\nCaused by:\n    No such file",
            self.refused("x", "--type", "text", "--rules", "@gone.json"),
        )
        for option, name in (
            ("--contains", "contains"),
            ("--does-not-contain", "does-not-contain"),
            ("--regex", "regex"),
        ):
            self.assertEqual(
                self.refused("x", "--type", "text", option, "a,,b"),
                f"{name} entries cannot be empty",
            )

    def test_impossible(self) -> None:
        """Columns that no event could satisfy are refused when they are declared."""
        for options, said in (
            (("--type", "integer", "--regex", "a"), "field x must be a string"),
            (("--type", "boolean", "--length-min", "1"),
             "field x does not support length validation"),
            (("--type", "text", "--range-min", "1"), "field x does not support range validation"),
            (("--type", "text", "--properties", '{"a":"text"}'),
             "field x cannot define nested properties on non-object type"),
            (("--type", "integer", "--reference-integrity", "weak", "--format", "reference"),
             "field x uses reference format but must be a text column"),
        ):  # fmt: skip
            self.assertEqual(self.refused("x", *options), said)
        others: tuple[tuple[str, ...], ...] = (
            ("--type", "text", "--regex", "(a"),
            ("--type", "text", "--regex", "(?=a)"),
            ("--type", "integer", "--range-min", "soon"),
            ("--type", "integer", "--range-min", "2", "--range-max", "1"),
            ("--type", "text", "--length-min", "2", "--length-max", "1"),
            ("--type", "decimal(39,0)"),
            ("--type", "decimal(2,3)"),
            ("--type", "text", "--contains", "n" * 1025),
        )
        for other in others:
            self.assertIn("x", self.refused("x", *other))

    def test_usage(self) -> None:
        """Options that exclude each other."""
        for options in (
            ("--rules", "{}", "--required"),
            ("--rules", "{}", "--clear-rules"),
            ("--rules", "{}", "--clear-length"),
            ("--type", "text", "--clear-type"),
            ("--required", "--not-required"),
            ("--lock", "--unlock"),
            ("--format", "email", "--clear-format"),
            ("--length-min", "1", "--clear-length"),
            ("--range-max", "1", "--clear-range"),
            ("--contains", "a", "--clear-contains"),
        ):
            self.assertIn(
                "cannot be used with", self.misused("schema", "field", "order", "x", *options)
            )
        others: tuple[tuple[str, ...], ...] = (
            ("--length-min", "x"),
            ("--length-max", "-1"),
            ("--type",),
        )
        for other in others:
            self.misused("schema", "field", "order", "x", *other)
