"""The page about the schema language says what the language does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.source import compile_source, parse_source
from eventdbx.domain.schemas.source_scanning import PROPERTIES
from eventdbx.domain.schemas.writing import without_times
from eventdbx.errors import InvalidSchema

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "schema-source.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MISTAKE = re.compile(r"^\| `([^`]*)` \| (`{1,2})(.*)\2 \|$", re.MULTILINE)


class Page(SynchronousTestCase):
    """What the page shows."""

    def test_sources_of_all_pages_compile(self) -> None:
        """Whoever copies an example gets no warning."""
        sources = [
            body
            for page in sorted(DOCS.glob("*.md"))
            for language, body in BLOCK.findall(page.read_text(encoding="utf-8"))
            if language == "dbx" and "aggregate " in body
        ]
        self.assertGreater(len(sources), 2)
        for source in sources:
            self.assertEqual(compile_source(source, now_ns=0).warnings, [])

    def test_the_example_means_its_json(self) -> None:
        """The first example, and the JSON below it."""
        (_, source), (language, document), *_ = BLOCK.findall(PAGE)
        self.assertEqual(language, "json")
        schemas = parse_source(source, now_ns=0)
        meant = {name: without_times(schema) for name, schema in schemas.items()}
        self.assertEqual(json.dumps(meant), json.dumps(json.loads(document)))

    def test_the_grammar_names_every_property(self) -> None:
        """Grammar and table have each property of each block."""
        grammar = dict(BLOCK.findall(PAGE))["ebnf"]
        for kind, names in PROPERTIES.items():
            for name in (kind, *names):
                self.assertIn(f'"{name}"', grammar)
        table = PAGE.partition("## What may be said")[2].partition("\n## ")[0]
        for names in PROPERTIES.values():
            for name in names:
                self.assertIn(f"`{name}`", table)

    def test_mistakes_are_told_as_shown(self) -> None:
        """Each row of the tables of mistakes."""
        rows = MISTAKE.findall(PAGE.partition("## Mistakes")[2])
        self.assertGreater(len(rows), 10)
        for text, _, message in rows:
            with self.assertRaises(InvalidSchema) as caught:
                parse_source(text, now_ns=0)
            self.assertEqual(caught.exception.detail, message)
