"""The formats of results, the errors that go with them, and where a list goes on."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli import rendering, tables
from eventdbx.surfaces.cli.rendering import Look
from tests.surfaces.command_line import CommandLineCase

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "1e3",
        "0o17",
        "no",
        "~",
        "null",
        "2026-01-05",
        "y",
        " a",
        "a: b",
        "- a",
        "#",
        "\x85",
        "\x1b[31m",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=4)


def rendered(values: list[Any], look: Look) -> str:
    """Return the text of a list."""
    return "".join(rendering.documents(values, look))


class Rendering(SynchronousTestCase):
    """Documents and their texts."""

    @settings(max_examples=80, deadline=None)
    @given(DOCUMENTS)
    def test_read_back(self, values: list[Any]) -> None:
        """JSON, NDJSON and YAML say the same, and readers get back what was written."""
        self.assertEqual(json.loads(rendered(values, Look("json"))), values)
        lines = rendered(values, Look("ndjson")).split("\n")
        self.assertEqual([json.loads(line) for line in lines[:-1]], values)
        self.assertEqual(yaml.safe_load(rendered(values, Look("yaml"))), values)
        whole = "".join(rendering.document(values, Look("yaml")))
        self.assertEqual(yaml.safe_load(whole), values)

    def test_texts_of_both_yamls(self) -> None:
        """Texts that one version of YAML takes for numbers or truth values are quoted."""
        shown = rendered(
            [{"a": "1e3", "b": "0o17", "c": "y", "d": "no", "e": "plain"}], Look("yaml")
        )
        self.assertEqual(shown, "- a: '1e3'\n  b: '0o17'\n  c: 'y'\n  d: 'no'\n  e: plain\n")

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
    def test_csv(self, rows: list[tuple[str, str]]) -> None:
        """CSV is that of RFC 4180: names first, CRLF, texts quoted where they must be."""
        shown = rendered([{"a": a, "b": b} for a, b in rows], Look("csv", ("a", "b")))
        self.assertTrue(shown.startswith("a,b\r\n"))
        read = list(csv.reader(io.StringIO(shown, newline=""), strict=True))
        self.assertEqual(read[1:], [list(row) for row in rows])

    def test_cells(self) -> None:
        """Nested values are JSON in a cell, missing ones nothing, members are reached by paths."""
        values = [{"a": {"b": 1, "c.d": 2}, "x": None}, {"a": [1, True]}]
        shown = rendered(values, Look("csv", ("a", "a.b", "x", "gone")))
        self.assertEqual(shown.split("\r\n")[1:3], ['"{""b"":1,""c.d"":2}",1,,', '"[1,true]",,,'])

    def test_one_document(self) -> None:
        """One document is a row of CSV with all that it holds, and two columns of a table."""
        value = {"name": "o-1", "state": {"total": 3, "tags": ["a"]}, "gone": None}
        shown = "".join(rendering.document(value, Look("csv")))
        self.assertEqual(shown, 'name,state.total,state.tags,gone\r\no-1,3,"[""a""]",\r\n')
        shown = "".join(rendering.document(value, Look("table")))
        self.assertEqual(shown, 'name         o-1\nstate.total  3\nstate.tags   ["a"]\ngone\n')

    def test_table(self) -> None:
        """Columns are aligned by the cells that texts take, numbers to the right."""
        values = [
            {"name": "漢字", "n": 1},
            {"name": "e\u0301te", "n": 100},
            {"name": "abcdef", "n": 20},
        ]
        shown = rendered(values, Look("table"))
        self.assertEqual(
            shown.splitlines(),
            ["NAME      N", "漢字      1", "e\u0301te     100", "abcdef   20"],
        )

    def test_table_of_a_width(self) -> None:
        """Where lines have a width the widest column gives way; what is cut ends in an ellipsis."""
        values = [{"id": "o-1", "note": "x" * 100}, {"id": "o-2", "note": "漢" * 50}]
        lines = rendered(values, Look("table", width=30)).splitlines()
        self.assertEqual(lines[1], "o-1  " + "x" * 24 + "…")
        self.assertEqual(max(map(tables.cells, lines)), 30)
        self.assertTrue(lines[2].endswith("漢…"))

    def test_controls(self) -> None:
        """What a terminal would obey is written out in tables, line ends too."""
        shown = rendered([{"a": "x\x1b[2J\n\u202ey\x9b"}], Look("table"))
        self.assertEqual(shown, "A\nx\\x1b[2J\\n\\u202ey\\x9b\n")

    def test_rows_come_at_once(self) -> None:
        """Rows are written as they come; a table looks at one page before."""
        for form, ahead in (("json", 1), ("ndjson", 1), ("yaml", 1), ("csv", 1), ("table", 1_000)):
            taken: list[int] = []

            def endless(taken: list[int] = taken) -> Any:
                while True:
                    taken.append(1)
                    yield {"a": "x"}

            pieces = rendering.documents(endless(), Look(form))
            for _ in range(3):
                next(pieces)
            self.assertLessEqual(len(taken), max(3, ahead), form)


class Formats(CommandLineCase):
    """The same list in every format."""

    def setUp(self) -> None:
        super().setUp()
        for number in (1, 2, 3):
            self.create("order", f"o-{number}", "--field", f"total:={number}")

    def test_lists(self) -> None:
        """Each format holds the same events; -o is taken before the command and after it."""
        plain = self.dbx("events", "--json").document
        self.assertEqual(self.dbx("-o", "json", "events").document, plain)
        self.assertEqual(self.dbx("--json", "events").document, plain)
        lines = self.dbx("events", "-o", "ndjson").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in lines], plain)
        self.assertEqual(yaml.safe_load(self.dbx("events", "-oyaml").stdout), plain)
        rows = list(csv.DictReader(io.StringIO(self.dbx("events", "--output=csv").stdout)))
        self.assertEqual([row["aggregate_id"] for row in rows], ["o-1", "o-2", "o-3"])
        self.assertEqual(
            [json.loads(row["payload"]) for row in rows], [e["payload"] for e in plain]
        )
        table = self.dbx("events", "-o", "table").stdout.splitlines()
        self.assertEqual(table[0].split()[:3], ["AGGREGATE_TYPE", "AGGREGATE_ID", "VERSION"])
        self.assertEqual([line.split()[1] for line in table[1:]], ["o-1", "o-2", "o-3"])

    def test_lines_stay(self) -> None:
        """Without a format the lines are those that scripts know."""
        line = self.dbx("aggregate", "list").stdout.splitlines()[0]
        self.assertTrue(line.startswith("aggregate_type=order aggregate_id=o-1 version=1 "))

    def test_columns(self) -> None:
        """--columns chooses what tables and CSV show."""
        shown = self.dbx("aggregate", "list", "-o", "csv", "--columns", "aggregate_id,state.total")
        self.assertEqual(shown.stdout, "aggregate_id,state.total\r\no-1,1\r\no-2,2\r\no-3,3\r\n")

    def test_one_document(self) -> None:
        """A command that prints one document prints it in every format."""
        plain = self.dbx("aggregate", "get", "order", "o-1").document
        for form in ("json", "ndjson"):
            self.assertEqual(
                self.dbx("aggregate", "get", "order", "o-1", "-o", form).document, plain
            )
        shown = self.dbx("aggregate", "get", "order", "o-1", "-o", "ndjson").stdout
        self.assertEqual(shown.count("\n"), 1)
        shown = self.dbx("aggregate", "get", "order", "o-1", "-o", "yaml").stdout
        self.assertEqual(yaml.safe_load(shown), plain)
        self.assertIn("state.total     1\n", self.dbx(
            "aggregate", "get", "order", "o-1", "-o", "table").stdout)  # fmt: skip

    def test_results(self) -> None:
        """A command that only says what it did says it as a document, too."""
        shown = self.dbx("schema", "create", "order", "-e", "order_created", "-o", "json").document
        self.assertEqual(shown["aggregate"], "order")
        done = self.dbx("schema", "lock", "order", "-o", "json").document
        self.assertEqual(done, {"aggregate": "order", "locked": True})
        done = self.dbx("plugin", "config", "log", "--name", "l", "-o", "ndjson").document
        self.assertEqual(done, {"plugin": "l", "kind": "log", "enabled": True})
        done = self.dbx("plugin", "disable", "l", "--json").document
        self.assertEqual(done, {"plugin": "l", "enabled": False, "changed": True})
        self.assertEqual(self.dbx("stop", "-o", "json").document["stopped"], False)

    def test_pages(self) -> None:
        """A full page names the next cursor; --envelope puts it beside the items, --all goes on."""
        page = self.attempt("events", "--take", "2", "-o", "json")
        self.assertEqual(page.stderr, "next_cursor=a:order:o-2:1\n")
        self.assertEqual(self.attempt("events", "--take", "2", "--json").stderr, "")
        boxed = self.attempt("events", "--take", "2", "-o", "json", "--envelope")
        self.assertEqual(boxed.document["next_cursor"], "a:order:o-2:1")
        self.assertEqual(boxed.document["items"], page.document)
        rest = self.dbx("events", "--cursor", "a:order:o-2:1", "-o", "yaml", "--envelope").stdout
        self.assertEqual(yaml.safe_load(rest)["next_cursor"], None)
        self.assertEqual(len(yaml.safe_load(rest)["items"]), 1)
        none = self.dbx("events", "nothing", "-o", "json", "--envelope").document
        self.assertEqual(none, {"items": [], "next_cursor": None})
        self.dbx("config", "--list-page-size", "1")
        self.assertEqual(len(self.dbx("events").stdout.splitlines()), 1)
        self.assertEqual(len(self.dbx("events", "--all").stdout.splitlines()), 3)
        self.assertEqual(len(self.dbx("aggregate", "list", "--all").stdout.splitlines()), 3)
        self.assertIn("cannot be used with", self.misused("events", "--all", "--take", "2"))

    def test_two_formats(self) -> None:
        """--json beside another format is a mistake, and so is a format that there is not."""
        for words in (("events", "--json", "-o", "csv"), ("-o", "yaml", "events", "--json")):
            self.assertIn("'--json' cannot be used with '--output", self.misused(*words))
        self.assertIn("[possible values: json, ndjson, yaml, table, csv]",
                      self.misused("events", "-o", "xml"))  # fmt: skip


class Errors(CommandLineCase):
    """What goes wrong, for programs."""

    def error(self, status: int, *words: str) -> dict[str, Any]:
        """Return the error of a command line as -o json has it."""
        ended = self.attempt(*words)
        self.assertEqual((ended.status, ended.stdout), (status, ""))
        self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
        document = json.loads(ended.stderr)
        self.assertEqual(list(document), ["error"])
        error: dict[str, Any] = document["error"]
        self.assertEqual(list(error), ["code", "message", "hint", "causes"])
        return error

    def test_failure(self) -> None:
        """A failure has its code, its message and what led to it; hints are always there."""
        found = self.error(1, "aggregate", "get", "order", "o-1", "-o", "json")
        self.assertEqual((found["code"], found["message"]),
                         ("aggregate_not_found", "aggregate not found"))  # fmt: skip
        found = self.error(1, "events", "--cursor", "x", "-o", "ndjson")
        self.assertEqual(found["code"], "invalid_cursor")
        self.assertEqual(len(found["causes"]), 1)
        self.assertIn("did you mean", self.error(1, "-o", "json", "evnts")["hint"])

    def test_usage(self) -> None:
        """Wrong usage has the code usage and exits with 2."""
        for words in (
            ("events", "--nope", "-ojson"),
            ("aggregate", "get", "--output=json"),
            ("events", "--nope", "-qo", "json"),
            ("events", "--nope", "-vo=json"),
        ):
            self.assertEqual(self.error(2, *words)["code"], "usage")

    def test_texts_stay(self) -> None:
        """Without -o json, also with --json alone, errors are the texts that scripts know."""
        self.assertEqual(self.failed("aggregate", "get", "order", "o-1", "--json"),
                         "Error: aggregate not found\n")  # fmt: skip
        self.assertTrue(
            self.failed("aggregate", "get", "a", "b", "-o", "csv").startswith("Error: ")
        )

    def test_fine_statuses(self) -> None:
        """The statuses are those of texts."""
        import os

        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        self.error(4, "aggregate", "get", "order", "o-1", "-o", "json")
