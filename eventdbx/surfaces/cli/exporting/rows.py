"""What an export writes: aggregates as CSV, as a JSON array, or as one JSON object a line.

Rows come one at a time and leave one at a time, so memory stays that of one row and of the names
of the columns. Where the bytes go is in :mod:`eventdbx.surfaces.cli.exporting.files`.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple, Protocol

import orjson

ID_COLUMN = "__aggregate_id"
"""The column of the aggregate's id; a key of that name in a state gives way to it."""

COPY_BYTES = 1_048_576

_QUOTED = re.compile(r'[",\r\n]')


class Out(Protocol):
    """Whatever takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take them."""


class Row(NamedTuple):
    """One aggregate: its id, and its state as texts by key."""

    aggregate_id: str
    state: dict[str, str]


def write_rows(rows: Iterable[Row], kind: str, out: Out, *, pretty: bool, beside: Path) -> None:
    """Write rows in the format of a kind: csv, json or ndjson.

    ``beside`` is a folder on the disk that is written to; what has to wait lies there, without a
    name, so that nothing of it outlives the process.
    """
    if kind == "csv":
        _write_csv(rows, out, beside)
    elif kind == "json":
        _write_json(rows, out, pretty)
    else:
        for row in rows:
            out.write(_document(row) + b"\n")


def csv_line(cells: Sequence[str]) -> str:
    """Return a line of CSV (RFC 4180): values as they are, in quotes where that is needed."""
    line = ",".join(cells)
    # With nothing in need of quotes there are just the commas between the cells.
    if '"' not in line and "\n" not in line and "\r" not in line:
        if line.count(",") == len(cells) - 1:
            return line + "\n"
    return ",".join(map(_cell, cells)) + "\n"


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _document(row: Row) -> bytes:
    document = {**row.state, ID_COLUMN: row.aggregate_id}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _write_json(rows: Iterable[Row], out: Out, pretty: bool) -> None:
    lead = b""
    out.write(b"[")
    for row in rows:
        if pretty:
            document = {**row.state, ID_COLUMN: row.aggregate_id}
            text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
            out.write(lead + b"\n  " + text.replace(b"\n", b"\n  "))
        else:
            out.write(lead + _document(row))
        lead = b","
    out.write(b"\n]\n" if pretty and lead else b"]\n")


def _write_csv(rows: Iterable[Row], out: Out, beside: Path) -> None:
    """Write the header, which is known when the last row was seen, and then the rows."""
    with TemporaryFile(dir=beside, buffering=COPY_BYTES) as spool:
        columns, in_order = _spool(rows, spool)
        spool.seek(0)
        ordered = sorted(columns)
        out.write(csv_line([ID_COLUMN, *ordered]).encode())
        if in_order:
            shutil.copyfileobj(spool, out, COPY_BYTES)
        else:
            for line in _reordered(spool, columns, ordered):
                out.write(line.encode())


def _spool(rows: Iterable[Row], spool: IO[bytes]) -> tuple[list[str], bool]:
    """Write rows with the columns in the order in which they turned up.

    Return these columns, and whether that is what the rows of the result are to be.
    """
    columns: list[str] = []
    known = {ID_COLUMN}
    lines, growths = 0, 0
    for aggregate_id, state in rows:
        if not known.issuperset(state):
            fresh = sorted(key for key in state if key not in known)
            columns += fresh
            known.update(fresh)
            growths += lines > 0
        lines += 1
        cells = [aggregate_id, *[state.get(column, "") for column in columns]]
        spool.write(csv_line(cells).encode())
    return columns, growths == 0


def _reordered(spool: IO[bytes], columns: list[str], ordered: list[str]) -> Iterator[str]:
    """Yield spooled rows with their columns in order; the early ones lack the later columns."""
    csv.field_size_limit(sys.maxsize)
    place = {column: number for number, column in enumerate(columns, 1)}
    wanted = [0, *[place[column] for column in ordered]]
    width = len(columns) + 1
    with TextIOWrapper(spool, encoding="utf-8", newline="") as text:
        for row in csv.reader(text):
            row += [""] * (width - len(row))
            yield csv_line([row[number] for number in wanted])
