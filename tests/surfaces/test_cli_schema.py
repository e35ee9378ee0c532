"""``dbx schema``: declaring types and events, marks, upcasters, and checking a payload."""

from __future__ import annotations

from eventdbx.surfaces.cli.schema.texts import split_list
from tests.surfaces.command_line import CommandLineCase


class SchemaCase(CommandLineCase):
    """A home with a schema for ``order``."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "--events", "order_created,order_paid")


class Declaring(SchemaCase):
    """Types and events."""

    def test_lists_of_events(self) -> None:
        """Events are separated by commas, options or words; blanks around them do not count."""
        made = self.dbx("schema", "create", "item", "-e", "a, b", "-e", "a", "--json").document
        self.assertEqual(list(made["events"]), ["a", "b"])
        for words in (("c", "d,e"), ("--events", "c,d", "e"), ("--events", "c", "--events", "d,e")):
            self.assertEqual(
                self.dbx("schema", "add", "item", *words).stdout,
                "schema=item added_events=c,d,e total_events=5\n",
            )
        self.assertEqual(
            self.failed("schema", "add", "item", "c,,d"),
            "Error: invalid schema: event names cannot be empty\n",
        )
        self.assertIn("<EVENTS>...", self.misused("schema", "add", "item"))

    def test_configured_threshold(self) -> None:
        """A new schema has the configured threshold, unless it says another; 0 is one."""
        self.dbx("config", "--snapshot-threshold", "9")
        self.assertEqual(
            self.dbx("schema", "create", "a", "-e", "e").stdout,
            "schema=a events=1 snapshot_threshold=Some(9)\n",
        )
        self.assertEqual(
            self.dbx("schema", "create", "b", "-e", "e", "-s", "0").stdout,
            "schema=b events=1 snapshot_threshold=Some(0)\n",
        )
        self.assertIn("invalid digit", self.misused("schema", "create", "c", "-e", "e", "-s", "x"))

    def test_names_that_match_nothing(self) -> None:
        """They are declared, and said on stderr with the name that would fit."""
        done = self.attempt("schema", "create", "patient", "--events", "patient-added,ok")
        self.assertEqual((done.status, done.stdout.partition(" ")[0]), (0, "schema=patient"))
        self.assertIn("'patient_added'", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_every_change_shows_the_schema(self) -> None:
        """With ``--json`` each change prints the schema as it is afterwards."""
        for line in (
            ("add", "order", "order_sent"),
            ("annotate", "order", "order_sent", "--note", "gone"),
            ("alter", "order", "order_sent", "--add", "at"),
            ("field", "order", "at", "--type", "timestamp"),
            ("remove", "order", "order_paid"),
        ):
            shown = self.dbx("schema", *line, "--json").document
            self.assertEqual(shown, self.dbx("schema", "order").document)
        self.assertEqual(
            shown["events"],
            {"order_created": {"fields": []}, "order_sent": {"fields": ["at"], "notes": "gone"}},
        )

    def test_bad_names(self) -> None:
        """Blank names are refused before it is asked whether anything has that name."""
        for line, noun in (
            (("annotate", " ", "e", "--clear"), "aggregate"),
            (("annotate", "nope", " ", "--clear"), "event"),
            (("alter", "nope", "", "--clear"), "event"),
            (("field", "nope", " ", "--required"), "field"),
            (("hide", "--aggregate", "nope", "--field", ""), "field"),
            (("lock", "", "--field", "x"), "aggregate"),
            (("upcast", "nope", " "), "event"),
        ):
            self.assertEqual(
                self.failed("schema", *line), f"Error: {noun} name cannot be empty\n", line
            )
        self.assertIn("128", self.failed("schema", "create", "x" * 129, "-e", "e"))
        self.assertIn("128", self.failed("schema", "add", "order", "é" * 65))

    def test_unknown_words(self) -> None:
        """One word is an aggregate type; two are no command."""
        self.assertEqual(self.failed("schema", "crate"), "Error: schema not found\n")
        self.assertIn("unsupported schema command", self.failed("schema", "crate", "order"))
        self.assertEqual(self.attempt("schema").status, 2)
        self.assertIn("schema create", self.dbx("schema", "--help").stdout)

    def test_threshold(self) -> None:
        """The threshold of automatic snapshots can be set, turned off and cleared."""
        for words, shown, stored in (
            (("5",), "Some(5)", 5),
            (("0",), "Some(0)", 0),
            (("--clear",), "None", None),
        ):
            done = self.dbx("schema", "threshold", "order", *words)
            self.assertEqual(done.stdout, f"schema=order snapshot_threshold={shown}\n")
            self.assertEqual(self.dbx("schema", "order").document["snapshot_threshold"], stored)
        self.assertIn("--clear must be given", self.failed("schema", "threshold", "order"))
        self.assertEqual(self.attempt("schema", "threshold", "order", "x").status, 2)

    def test_a_type_named_like_a_command(self) -> None:
        """Its schema is shown by ``show``."""
        self.dbx("schema", "create", "list", "-e", "list_made")
        self.assertEqual(self.dbx("schema", "show", "list").document["aggregate"], "list")

    def test_delete(self) -> None:
        """Deleting asks for the name, or takes ``--yes``; events stay and are unchecked."""
        self.create("order", "o-1")
        done = self.attempt("schema", "delete", "order", stdin="no\n")
        self.assertEqual((done.status, done.stdout), (0, "schema deletion cancelled\n"))
        self.assertIn("order", self.dbx("schema", "list").stdout)
        done = self.attempt("schema", "delete", "order", stdin="order\n")
        self.assertEqual((done.status, done.stdout), (0, "schema=order deleted\n"))
        self.assertEqual(self.dbx("schema", "list").stdout, "")
        self.apply("order", "o-1", "whatever")
        self.assertEqual(
            self.failed("schema", "delete", "order", "--yes"), "Error: schema not found\n"
        )


class Lists(SchemaCase):
    """The fields of events."""

    def test_combined(self) -> None:
        """Fields are added and taken away in one go, several options and commas alike."""
        self.assertEqual(
            self.dbx(
                "schema", "alter", "order", "order_paid",
                "--add", "b, a", "--add", "c", "--remove", "b,zz",
            ).stdout,
            "aggregate=order event=order_paid added=b,a,c removed=b,zz\n",
        )  # fmt: skip
        self.assertEqual(
            self.dbx("schema", "order").document["events"]["order_paid"]["fields"], ["a", "c"]
        )

    def test_opening(self) -> None:
        """Who takes the last field away is told that the event is open now."""
        self.dbx("schema", "alter", "order", "order_paid", "--set", "a")
        self.assertIn("missing required field a", self.apply_refused())
        done = self.attempt("schema", "alter", "order", "order_paid", "--remove", "a")
        self.assertEqual(done.status, 0)
        self.assertIn("accepts any payload", done.stderr)
        self.apply("order", "o-1", "order_paid", "--field", "b=1")

    def apply_refused(self) -> str:
        """Create an aggregate, and try an event without fields on it."""
        self.create("order", "o-1")
        return self.failed("aggregate", "apply", "order", "o-1", "order_paid")

    def test_refused(self) -> None:
        """Options that exclude each other, blank names, unknown events."""
        alter = "schema", "alter", "order"
        self.assertIn(
            "cannot be used with", self.misused(*alter, "order_paid", "--set", "a", "--add", "b")
        )
        self.assertIn(
            "cannot be used with", self.misused(*alter, "order_paid", "--set", "a", "--clear")
        )
        for option in ("--add", "--remove", "--set"):
            self.assertEqual(
                self.failed(*alter, "order_paid", option, "a,"),
                f"Error: {option} entries cannot be empty\n",
            )
        self.assertEqual(
            self.failed(*alter, "nope", "--clear"),
            "Error: event nope is not defined for aggregate order\n",
        )


class Marks(SchemaCase):
    """Locks and visibility."""

    def test_lock(self) -> None:
        """A locked type takes no events, a locked field refuses those that have it."""
        self.create("order", "o-1")
        self.assertEqual(
            self.dbx("schema", "lock", "order").stdout, "aggregate=order locked=true\n"
        )
        self.assertEqual(
            self.failed("aggregate", "apply", "order", "o-1", "order_paid"),
            "Error: schema violation: aggregate order is locked for updates\n",
        )
        self.assertIn("locked=true", self.dbx("schema", "list").stdout)
        self.assertEqual(
            self.dbx("schema", "unlock", "--aggregate", "order").stdout,
            "aggregate=order locked=false\n",
        )
        self.assertEqual(
            self.dbx("schema", "lock", "order", "--field", "code").stdout,
            "aggregate=order field=code locked=true\n",
        )
        self.assertEqual(
            self.failed("aggregate", "apply", "order", "o-1", "order_paid", "--field", "code=1"),
            "Error: schema violation: field code is locked for aggregate order\n",
        )
        self.dbx("schema", "unlock", "order", "--field", "code")
        self.apply("order", "o-1", "order_paid", "--field", "code=1")
        self.assertEqual(self.failed("schema", "lock", "nope"), "Error: schema not found\n")

    def test_hide(self) -> None:
        """A hidden field is not read, nor is a hidden type."""
        self.create("order", "o-1", "--field", "secret=s", "--field", "open=o")
        self.dbx("schema", "hide", "--aggregate", "order", "--field", " secret ")
        get = "aggregate", "get", "order", "o-1"
        self.assertEqual(self.dbx(*get).document["state"], {"open": "o"})
        self.dbx("schema", "hide", "--aggregate", "order", "--field", "secret", "--unhide")
        self.assertEqual(self.dbx(*get).document["state"], {"open": "o", "secret": "s"})
        whole = "schema", "hide", "--aggregate", "order", "--whole-type"
        self.assertEqual(self.dbx(*whole).stdout, "aggregate=order hidden\n")
        self.assertEqual(self.dbx("aggregate", "list", "--json").document, [])
        self.assertTrue(self.dbx("schema", "order").document["hidden"])
        self.assertEqual(
            self.dbx(*whole, "--show").stdout,
            "aggregate=order unhidden\n",
        )
        self.assertEqual(len(self.dbx("aggregate", "list", "--json").document), 1)


class Upcasters(SchemaCase):
    """How payloads of earlier revisions are read."""

    def test_revisions(self) -> None:
        """Steps are added, shown, replaced and cleared; old payloads are read by them."""
        self.create("order", "o-1", "--payload", '{"name":"Ada"}')
        upcast = "schema", "upcast", "order", "order_created"
        self.assertEqual(self.dbx(*upcast).document, [])
        steps = '[{"op":"rename","from":"/name","to":"/full_name"}]'
        self.assertEqual(
            self.dbx(*upcast, "--add", steps).stdout,
            "aggregate=order event=order_created revision=2\n",
        )
        self.assertEqual(
            self.dbx("aggregate", "get", "order", "o-1").document["state"], {"full_name": "Ada"}
        )
        more = '[{"op":"default","path":"/rate","value":0.10}]'
        self.assertIn("revision=3", self.dbx(*upcast, "--add", "-", stdin=more).stdout)
        self.assertEqual(self.dbx(*upcast).document[1][0]["value"], 0.1)
        done = self.attempt(*upcast, "--set", f"[{steps}]")
        self.assertIn("from revision 3 to 2", done.stderr)
        self.assertIn("revision=2", done.stdout)
        done = self.attempt(*upcast, "--clear")
        self.assertIn("revision=1", done.stdout)
        self.assertEqual(self.dbx(*upcast).document, [])

    def test_refused(self) -> None:
        """What is no list of steps, no file, no event."""
        upcast = "schema", "upcast", "order", "order_created"
        self.assertIn("failed to parse upcast JSON: {", self.failed(*upcast, "--add", "{"))
        for steps in ("{}", '[{"op":"fly"}]', '[{"op":"rename","from":"name","to":"/a"}]', "1"):
            self.failed(*upcast, "--add", steps)
        self.assertIn("failed to read upcast from gone", self.failed(*upcast, "--set", "@gone"))
        self.assertIn("is not defined", self.failed("schema", "upcast", "order", "nope"))
        self.assertIn("cannot be used with", self.misused(*upcast, "--add", "[]", "--clear"))
        self.assertEqual(self.dbx(*upcast).document, [])


class Validating(SchemaCase):
    """Checking a payload without writing it."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "field", "order", "qty", "--type", "integer", "--range-max", "9")
        self.dbx("schema", "field", "order", "mail", "--type", "text", "--format", "email")
        self.dbx("schema", "lock", "order", "--field", "code")

    def validate(self, payload: str, *options: str, event: str = "order_paid") -> tuple[str, ...]:
        """Return the line that checks a payload."""
        return (
            "schema", "validate", "--aggregate", "order", "--event", event,
            "--payload", payload, *options,
        )  # fmt: skip

    def test_first_and_all(self) -> None:
        """The first thing wrong is said; all of them, if all are asked for, with their places."""
        wrong = '{"qty":10,"mail":"x","code":1}'
        self.assertEqual(
            self.failed(*self.validate(wrong)),
            "Error: schema violation: field code is locked for aggregate order\n",
        )
        said = self.failed(*self.validate(wrong, "--all-errors"))
        self.assertEqual(said.splitlines()[0], "Error: 3 schema violations")
        for text in ("/code ", "/qty range: field qty must be <= 9", "/mail format: "):
            self.assertIn(text, said)
        self.assertEqual(
            self.failed(*self.validate('{"qty":10}', "--all-errors")),
            "Error: schema violation: field qty must be <= 9\n",
        )

    def test_json(self) -> None:
        """The result is a document, also when it is bad news."""
        done = self.attempt(*self.validate('{"qty":10,"mail":"x"}', "--json", "--all-errors"))
        self.assertEqual((done.status, done.document["valid"]), (1, False))
        self.assertEqual(
            [(one["pointer"], one["rule"]) for one in done.document["errors"]],
            [("/mail", "format"), ("/qty", "range")],
        )
        self.assertIn("Error: 2 schema violations", done.stderr)
        good = self.dbx(*self.validate('{"qty":9}', "--json")).document
        self.assertEqual((good["valid"], good["errors"]), (True, []))

    def test_payloads(self) -> None:
        """The payload comes from the line, a file or stdin; it must be JSON."""
        path = self.home / "p.json"
        path.write_text('{"qty":10}', encoding="utf-8")
        self.assertIn("must be <= 9", self.failed(*self.validate(f"@{path}")))
        self.assertIn("must be <= 9", self.failed(*self.validate("-"), stdin='{"qty":11}'))
        self.assertIn("expected value", self.failed(*self.validate("bad")))
        self.assertIn("key must be a string", self.failed(*self.validate("{1:2}")))
        self.assertIn("failed to read payload from gone", self.failed(*self.validate("@gone")))
        self.assertNotIn("x@y", self.failed(*self.validate('{"mail":"x@y@"}')))

    def test_dotted_events(self) -> None:
        """An event is found whatever separates its words."""
        self.dbx("schema", "add", "order", "order.sent")
        for event in ("order.sent", "order_sent"):
            self.dbx(*self.validate("{}", event=event))

    def test_without_schema(self) -> None:
        """A type without schema takes anything, which is said; in strict mode nothing."""
        line = "schema", "validate", "--aggregate", "free", "--event", "e", "--payload", "{}"
        done = self.attempt(*line)
        self.assertEqual((done.status, done.stdout), (0, "aggregate=free event=e validation=ok\n"))
        self.assertIn("has no schema", done.stderr)
        config = self.home / ".eventdbx" / "config.toml"
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace('restrict = "default"', 'restrict = "strict"'))
        self.assertEqual(self.failed(*line), "Error: schema not found\n")
        config.write_text(text.replace('restrict = "default"', 'restrict = "off"'))
        self.dbx(*self.validate('{"qty":"many"}'))
        self.assertIn("is locked", self.failed(*self.validate('{"code":1}')))

    def test_half_a_line(self) -> None:
        """Some of the three options without the others is wrong usage."""
        said = self.misused("schema", "validate", "--payload", "{}")
        self.assertIn("--aggregate <AGGREGATE>\n  --event <EVENT>", said)
        self.assertIn(
            "cannot be used with",
            self.misused("schema", "validate", "--file", "x", "--aggregate", "order"),
        )


class Splitting(CommandLineCase):
    """Comma lists of patterns."""

    def test_split(self) -> None:
        """Commas in brackets and behind backslashes belong to their entry."""
        for text, parts in (
            ("a,b", ["a", "b"]),
            ("^a{1,3}$,b", ["^a{1,3}$", "b"]),
            ("(x,y),[,],z", ["(x,y)", "[,]", "z"]),
            ("[],],a", ["[],]", "a"]),
            ("[^],],a", ["[^],]", "a"]),
            (r"a\,b,c", [r"a\,b", "c"]),
            (r"\(a,b", [r"\(a", "b"]),
            ("(a,b", ["(a", "b"]),
            ("a),b", ["a)", "b"]),
            ("([)],a),b", ["([)],a)", "b"]),
            ("", [""]),
            (",", ["", ""]),
            ("\\", ["\\"]),
        ):
            self.assertEqual(split_list(text), parts, text)
