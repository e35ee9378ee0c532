"""What a line of CSV asks for: the header names the fields, a line has the cells of one event.

``aggregate_type``, ``aggregate_id``, ``event_type``, ``note``, ``expect_version`` and
``idempotency_key`` mean the same as in NDJSON, columns that begin with ``@`` are metadata, all
others fields of the payload. ``name`` holds texts, ``name:=`` JSON values.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from eventdbx import limits
from eventdbx.domain.canonical import JSON, parse
from eventdbx.errors import EventDBXError, InvalidSchema
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing.lines import Lines, too_long
from eventdbx.surfaces.cli.importing.rows import (
    REFUSED,
    Asked,
    Bad,
    Checks,
    Row,
    optional_text,
    text_field,
    version_field,
)

TYPED = ":="
EXPORTED_ID = "__aggregate_id"
"""The column in which an export has the ids."""

_OWN = ("aggregate_type", "aggregate_id", "event_type", "note", "expect_version",
        "idempotency_key")  # fmt: skip


class Options(NamedTuple):
    """What the command line says about all lines of a CSV file.

    ``empty`` keeps empty cells as empty texts; they are no fields otherwise.
    """

    aggregate_type: str | None = None
    event_type: str | None = None
    id_column: str | None = None
    empty: bool = False


class _Column(NamedTuple):
    """A column: the field that it is, where that belongs, and whether its cells are JSON."""

    name: str
    place: str
    typed: bool


class CsvRows:
    """The rows of a CSV file; the header is read at once. Raises Failure if that is wrong."""

    def __init__(self, lines: Lines, checks: Checks, options: Options, name: str) -> None:
        self._lines = lines
        self._checks = checks
        self._options = options
        self._name = name
        header = next(iter(lines), None)
        if header is None or not header.text.strip():
            raise self._wrong("has no header; its first line must name the columns")
        try:
            cells = next(csv.reader([header.text.decode().rstrip("\r\n")], strict=True))
        except UnicodeDecodeError:
            raise self._wrong("line 1 is not UTF-8 text") from None
        except csv.Error as error:
            raise self._wrong(f"line 1: {_no_csv(error)}") from None
        self._columns = self._header(cells)

    def _wrong(self, why: str) -> Failure:
        return Failure(f"{self._name} {why}", code=InvalidSchema.code)

    def _header(self, cells: Sequence[str]) -> list[_Column]:
        """Return the columns. Raises Failure when they are not one event's fields."""
        options = self._options
        columns = [self._column(cell) for cell in cells]
        names: set[tuple[str, str]] = set()
        for name, place, _typed in columns:
            if (place, name) in names:
                raise self._wrong(f"line 1: there are several columns '{name}'")
            names.add((place, name))
        own = {one.name for one in columns if one.place == "own"}
        for field, given, flag in (
            ("aggregate_type", options.aggregate_type, "--type"),
            ("event_type", options.event_type, "--event"),
        ):
            if given is not None and field in own:
                raise self._wrong(f"line 1: there is a column '{field}' beside {flag}")
            if given is None and field not in own:
                raise self._wrong(f"line 1: there is no column '{field}', and no {flag}")
        if "aggregate_id" not in own:
            wanted = options.id_column or "aggregate_id"
            raise self._wrong(f"line 1: there is no column '{wanted}'; --id-column names another")
        return columns

    def _column(self, cell: str) -> _Column:
        typed = cell.endswith(TYPED)
        name = cell.removesuffix(TYPED).strip()
        if not name:
            raise self._wrong("line 1: a column has no name")
        chosen = self._options.id_column
        if name == chosen or (chosen is None and name == EXPORTED_ID):
            return _Column("aggregate_id", "own", False)
        if name.startswith("@"):
            return _Column(name, "metadata", typed)
        if name in _OWN and not (name == "aggregate_id" and chosen is not None):
            return _Column(name, "own", typed or name == "expect_version")
        return _Column(name, "payload", typed)

    def __iter__(self) -> Iterator[Row | Bad]:
        csv.field_size_limit(limits.IMPORT_LINE_BYTES_MAX)
        record = _Record(self._lines)
        reader = csv.reader(record, strict=True)
        width = len(self._columns)
        while True:
            record.begin()
            try:
                cells = next(reader, None)
                if cells is None:
                    return
                if record.undecodable:
                    raise InvalidSchema("not UTF-8 text")
                if not cells:
                    continue
                if len(cells) != width:
                    raise InvalidSchema(f"the line has {len(cells)} cells, the header {width}")
                write = self._checks.write(self._asked(cells))
                yield Row(record.number, self._lines.number, self._lines.offset, write)
            except csv.Error as wrong:
                yield self._bad(record, InvalidSchema(f"no CSV: {_no_csv(wrong)}"))
            except REFUSED as refused:
                yield self._bad(record, refused)

    def _bad(self, record: _Record, error: EventDBXError) -> Bad:
        return Bad(record.number, self._lines.number, self._lines.offset, error, record.text)

    def _asked(self, cells: Sequence[str]) -> Asked:
        options = self._options
        parts: dict[str, dict[str, JSON]] = {"own": {}, "metadata": {}, "payload": {}}
        for (name, place, typed), cell in zip(self._columns, cells, strict=True):
            if cell:
                parts[place][name] = _value(name, cell) if typed else cell
            elif options.empty and not typed and place == "payload":
                parts[place][name] = ""
        own = parts["own"]
        return Asked(
            options.aggregate_type or text_field(own, "aggregate_type"),
            text_field(own, "aggregate_id"),
            options.event_type or text_field(own, "event_type"),
            parts["payload"],
            parts["metadata"] or None,
            optional_text(own, "note"),
            version_field(own),
            optional_text(own, "idempotency_key"),
        )


class _Record:
    """The lines of one record, for a reader of CSV: values may go over several lines."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._each = iter(lines)
        self.begin()

    def begin(self) -> None:
        """From here on it is the next record."""
        self.number = self._lines.number + 1
        self._parts: list[bytes] = []
        self._size = 0
        self.undecodable = False

    @property
    def text(self) -> bytes:
        """The record as far as it was read."""
        return b"".join(self._parts).rstrip()

    def __iter__(self) -> _Record:
        return self

    def __next__(self) -> str:
        line = next(self._each)
        self._size += len(line.text)
        if not line.whole or self._size > limits.IMPORT_LINE_BYTES_MAX:
            self._parts = []
            raise too_long()
        self._parts.append(line.text)
        try:
            return line.text.decode()
        except UnicodeDecodeError:
            # Where the record ends is seen all the same: what follows in its quotes is no record.
            self.undecodable = True
            return line.text.decode(errors="replace")


def _no_csv(error: csv.Error) -> str:
    """Return what is wrong, in words about the file."""
    if "new-line character" in str(error):
        return "a carriage return stands alone outside of quotes; lines end with LF or CRLF"
    return str(error)


def _value(name: str, cell: str) -> JSON:
    try:
        return parse(cell)
    except ValueError as error:
        raise InvalidSchema(f"column '{name}' must be JSON: {error}") from None
