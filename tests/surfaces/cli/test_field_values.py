"""``--field``: texts, values, values from files, objects within objects."""

from __future__ import annotations

import json
from typing import Any

from tests.surfaces.command_line import CommandLineCase


class Fields(CommandLineCase):
    """What fields come to in the payload of an event."""

    number = 0

    def payload(self, *fields: str, stdin: str = "") -> Any:
        """Return the payload of an event with these fields."""
        self.number += 1
        one = f"o-{self.number}"
        words = [word for field in fields for word in ("--field", field)]
        self.dbx("aggregate", "create", "order", one, "--event", "order_created", *words,
                 stdin=stdin)  # fmt: skip
        return self.dbx("events", "order", one, "--json").document[0]["payload"]

    def refused(self, *fields: str) -> str:
        """Return what is said of fields that cannot be; nothing is written."""
        words = [word for field in fields for word in ("--field", field)]
        text = self.failed("aggregate", "create", "order", "no", "--event", "order_created", *words)
        self.assertEqual(self.attempt("aggregate", "get", "order", "no").status, 1)
        return text

    def test_objects(self) -> None:
        """A dot leads into an object; the last value of a name counts; a dot can be of a name."""
        self.assertEqual(
            self.payload("who.name=Ada", "who.age:=36", "who.at.city=Paris", "n=1", "n=2"),
            {"who": {"name": "Ada", "age": 36, "at": {"city": "Paris"}}, "n": "2"},
        )
        self.assertEqual(self.payload(r"a\.b=1", r"c.d\.e:=2"), {"a.b": "1", "c": {"d.e": 2}})
        self.assertEqual(self.payload('who:={"name":"Ada"}', "who.age:=36"),
                         {"who": {"name": "Ada", "age": 36}})  # fmt: skip

    def test_elsewhere(self) -> None:
        """A value may be in a file or on stdin; a text that begins with @ is a text."""
        path = self.home / "tags.json"
        path.write_text('["a", "b"]')
        self.assertEqual(self.payload(f"tags:=@{path}", "by=@ada"),
                         {"tags": ["a", "b"], "by": "@ada"})  # fmt: skip
        self.assertEqual(self.payload("n:=-", stdin="[1]"), {"n": [1]})

    def test_refused(self) -> None:
        """What has no place, no name or no sense is refused, and nothing is written."""
        self.assertIn("field 'a.b' cannot be inside 'a', which has a value",
                      self.refused("a=1", "a.b=2"))  # fmt: skip
        self.assertIn("field 'a..b' has an empty name in it", self.refused("a..b=1"))
        self.assertIn("field '.a' has an empty name in it", self.refused(".a=1"))
        self.assertIn("cannot read none.json given to --field", self.refused("a:=@none.json"))
        self.assertIn("failed to parse JSON value of 'a.b' provided via --field",
                      self.refused("a.b:=x"))  # fmt: skip


class Texts(CommandLineCase):
    """Every option that takes JSON takes it from a file and from stdin, too."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "-e", "order_created,order_paid")
        self.create("order", "o-1", "--field", "n:=1")

    def test_each(self) -> None:
        """Commands with such an option, each with the text, a file and stdin."""
        patch = [{"op": "add", "path": "/t", "value": "x"}]
        steps = [{"op": "default", "path": "/n", "value": 1}]
        apply = ("aggregate", "apply", "order", "o-1", "order_paid")
        checked = ("--aggregate", "order", "--event", "order_paid")
        for words, option, document in (
            (apply, "--payload", {"n": 2}),
            (apply, "--metadata", {"@by": "x"}),
            (("aggregate", "patch", "order", "o-1", "order_paid"), "--patch", patch),
            (("schema", "field", "order", "who", "--type", "text"), "--rules", {"required": False}),
            (("schema", "field", "order", "at", "--type", "object"), "--properties",
             {"city": {"type": "text"}}),
            (("schema", "validate", *checked), "--payload", {"n": 2}),
            (("schema", "upcast", "order", "order_paid"), "--add", steps),
            (("schema", "upcast", "order", "order_paid"), "--set", [steps]),
        ):  # fmt: skip
            text = json.dumps(document)
            path = self.home / "value.json"
            path.write_text(text)
            for given, stdin in ((text, ""), (f"@{path}", ""), ("-", text)):
                ended = self.attempt(*words, option, given, stdin=stdin)
                self.assertEqual(ended.status, 0, ended)
            for wrong in ("@none.json", f"@{self.home}"):
                said = self.failed(*words, option, wrong)
                self.assertIn(wrong[1:], said, (words, option))
