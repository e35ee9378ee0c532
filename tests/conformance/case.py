"""How the tables of the suite are read.

A :class:`Table` declares one column, ``f``, of an otherwise open schema; each of its rows is the
JSON text of a value of ``f`` with the whole message of the refusal, or None where it is accepted.
A :class:`Case` declares a whole schema. In messages ``{A}`` stands for the aggregate's type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

EVENT = "written"


class Table(NamedTuple):
    """Values of one column."""

    title: str
    column: Any
    rows: tuple[tuple[str, str | None], ...]


class Case(NamedTuple):
    """One event: ``payload`` is a JSON text, ``expected`` the message of its refusal.

    With ``state``, the JSON text of an object that the aggregate holds already, ``payload`` is a
    JSON Patch. The parts of ``schema`` that are left out have their defaults.
    """

    title: str
    schema: dict[str, Any]
    event: str
    payload: str
    expected: str | None
    restrict: str = "default"
    state: str | None = None


def cases_of(tables: tuple[Table, ...]) -> Iterator[Case]:
    """Yield a case for each row of the tables."""
    for table in tables:
        schema = {"column_types": {"f": table.column}, "events": {EVENT: {"fields": []}}}
        for value, expected in table.rows:
            title = f"{table.title}: {value}"
            yield Case(title, schema, EVENT, f'{{"f":{value}}}', expected)
