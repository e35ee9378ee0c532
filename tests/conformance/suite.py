"""All cases, and the schema set that holds a schema for each of them."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import orjson

from tests.conformance import event_cases, format_tables, rule_tables, type_tables
from tests.conformance.case import Case, cases_of


class Placed(NamedTuple):
    """A case, the aggregate type that stands for its schema, and the message with its name."""

    case: Case
    aggregate: str
    expected: str | None


@cache
def placed_cases() -> tuple[Placed, ...]:
    """Return every case; those with the same schema share an aggregate type."""
    tables = type_tables.TABLES + rule_tables.TABLES + format_tables.TABLES
    names: dict[bytes, str] = {}
    placed = []
    for case in (*cases_of(tables), *event_cases.CASES):
        key = orjson.dumps(case.schema)
        aggregate = names.setdefault(key, f"thing_{len(names):03d}")
        expected = case.expected
        if expected is not None:
            expected = expected.replace("{A}", aggregate)
        placed.append(Placed(case, aggregate, expected))
    return tuple(placed)


def schema_document(restrict: str) -> dict[str, Any]:
    """Return the schemas, by aggregate type, of the cases of one mode of restriction."""
    return {
        placed.aggregate: {
            "aggregate": placed.aggregate,
            "locked": False,
            "field_locks": [],
            **placed.case.schema,
        }
        for placed in placed_cases()
        if placed.case.restrict == restrict
    }
