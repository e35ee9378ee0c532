"""The examples of docs/schema-reference.md, each run through the validator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.identifiers import normalise_event_type
from eventdbx.domain.schemas.contract import compile_schema
from eventdbx.domain.schemas.declaring import repair
from eventdbx.domain.schemas.model import FORMATS, TypeName
from eventdbx.domain.schemas.reading import read_schema
from tests.daemon import ROOT

DOCUMENT = ROOT / "docs" / "schema-reference.md"
CELL = re.compile(r"(?<!\\)\|")
RULES = (
    "required", "contains", "does_not_contain", "regex", "format", "length", "range", "properties",
)  # fmt: skip
EXAMPLES_MIN = 120


def tables() -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the header and the rows of each table, cells without their code quotes."""
    header: list[str] = []
    rows: list[list[str]] = []
    for line in [*DOCUMENT.read_text(encoding="utf-8").splitlines(), ""]:
        if not line.startswith("|"):
            if header:
                yield header, rows
            header, rows = [], []
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in CELL.split(line)[1:-1]]
        if not header:
            header = cells
        elif set(line) != set("|-"):
            rows.append([cell.removeprefix("`").removesuffix("`") for cell in cells])


def examples() -> Iterator[tuple[dict[str, JSON], str, str, str]]:
    """Yield schema, event, payload and outcome of every example."""
    for header, rows in tables():
        if header == ["column", "value", "outcome"]:
            for column, value, outcome in rows:
                schema: dict[str, JSON] = {
                    "column_types": {"f": parse(column)},
                    "events": {"opened": {"fields": []}},
                }
                yield schema, "opened", f'{{"f": {value}}}', outcome
        elif header == ["schema", "event", "payload", "outcome"]:
            for text, event, payload, outcome in rows:
                whole = parse(text)
                assert isinstance(whole, dict)
                yield whole, event, payload, outcome


class ReferenceTests(SynchronousTestCase):
    """The document and the validator say the same."""

    def test_examples(self) -> None:
        """Each example of the document comes out as it says there."""
        wrong = []
        for document, event, payload, outcome in examples():
            schema, _warnings = repair(read_schema(document, "order", now_ns=0))
            contract = compile_schema(schema)
            told = contract.refuse(normalise_event_type(event), parse(payload))
            if (told or "accepted") != outcome:
                wrong.append((document, payload, told, outcome))
        self.assertEqual(wrong, [])

    def test_nothing_is_left_out(self) -> None:
        """There are examples of each type, format and rule, accepted ones and refused ones."""
        self.assertGreaterEqual(len(list(examples())), EXAMPLES_MIN)
        names = {*get_args(TypeName), *FORMATS, *RULES}
        for refused in (True, False):
            seen: set[str] = set()
            for document, _event, _payload, outcome in examples():
                if (outcome != "accepted") is refused:
                    for column in read_schema(document, "order", now_ns=0).column_types.values():
                        seen |= {column.type.name, column.format or ""}
                        seen |= {rule for rule in RULES if getattr(column, rule)}
            self.assertEqual(names - seen, set())

    def test_limits(self) -> None:
        """The limits that the document names are those that hold."""
        found = next(dict(rows) for header, rows in tables() if header == ["what", "at most"])
        self.assertEqual(
            list(found.values()),
            [
                f"{limits.SCHEMA_NAME_BYTES_MAX} bytes",
                f"{limits.SCHEMA_COLUMNS_MAX:,}",
                str(limits.SCHEMA_DEPTH_MAX),
                f"{limits.RULE_ENTRIES_MAX}, of {limits.RULE_TEXT_BYTES_MAX:,} bytes each",
                f"{limits.PATTERN_COMPILED_BYTES_MAX >> 20} MiB",
                f"{limits.PATTERNS_COMPILED_BYTES_MAX >> 20} MiB",
                f"{limits.SCHEMA_SET_BYTES_MAX >> 20} MiB",
                f"{limits.SCHEMA_TEXT_BYTES_MAX >> 20} MiB",
            ],
        )
        self.assertEqual(limits.SCHEMA_EVENTS_MAX, limits.SCHEMA_COLUMNS_MAX)
