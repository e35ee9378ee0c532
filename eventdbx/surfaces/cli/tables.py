"""Documents in aligned columns, for people.

Widths are those of the first page of rows, so that a list of any length is shown as it comes: a
later cell that is wider pushes its line aside. Where the lines have a width, the widest columns
give way. Characters that a terminal would obey are written out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from eventdbx.surfaces.cli.rendering import Look, cell, columns_of, flattened, value_at

PAGE_ROWS = 1_000
"""Rows whose cells are measured before the first line is shown."""
GAP = "  "
NARROWEST = 8
"""Cells that a column keeps, however narrow the terminal is."""

Row = Sequence[str]


def document(value: Any, look: Look) -> Iterator[str]:
    """Yield one document as two columns, names and values; members of members have long names."""
    if isinstance(value, list):
        yield from documents(value, look)
    elif isinstance(value, Mapping):
        rows = [(name, shown(cell(inner))) for name, inner in flattened(value)]
        width = max((cells(name) for name, _text in rows), default=0)
        for name, text in rows:
            yield f"{shown(name)}{' ' * (width - cells(name))}{GAP}{text}".rstrip() + "\n"
    else:
        yield shown(cell(value)) + "\n"


def documents(values: Iterable[Any], look: Look) -> Iterator[str]:
    """Yield documents as a table with a line of headings; nothing if there are none."""
    rest = iter(values)
    page = list(islice(rest, PAGE_ROWS))
    if not page:
        return
    columns = look.columns or columns_of(page[0], nested=False)
    headings = [path.rpartition(".")[2].upper() for path in columns]
    rows = [row_of(value, columns) for value in page]
    widths = [max(map(cells, column)) for column in zip(headings, *rows, strict=True)]
    if look.width is not None:
        give_way(widths, look.width)
    right = [
        all(value is None or _is_number(value) for value in (value_at(one, path) for one in page))
        for path in columns
    ]
    if look.headings:
        first = line_of(headings, widths, right)
        yield f"\x1b[1m{first}\x1b[0m\n" if look.bold else first + "\n"
    del page
    for row in chain(rows, (row_of(value, columns) for value in rest)):
        yield line_of(row if look.width is None else fitted(row, widths), widths, right) + "\n"


def row_of(value: Any, columns: Sequence[str]) -> Row:
    """Return the cells of a document."""
    return [shown(cell(value_at(value, path))) for path in columns]


def line_of(row: Row, widths: Sequence[int], right: Sequence[bool]) -> str:
    """Return the line of a row, numbers to the right."""
    parts = []
    for text, width, to_right in zip(row, widths, right, strict=True):
        space = " " * (width - cells(text))
        parts.append(space + text if to_right else text + space)
    return GAP.join(parts).rstrip()


def give_way(widths: list[int], width: int) -> None:
    """Make the widest columns narrower until a line has the width, as far as that goes."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        second = max([NARROWEST, *(one for one in widths if one < widths[widest])])
        taken = min(over, widths[widest] - second)
        widths[widest] -= taken
        over -= taken


def fitted(row: Row, widths: Sequence[int]) -> Row:
    """Return a row whose cells have their widths; what is cut off ends in an ellipsis."""
    return [
        text if cells(text) <= width else _cut(text, width - 1) + "…"
        for text, width in zip(row, widths, strict=True)
    ]


def _cut(text: str, width: int) -> str:
    taken = 0
    for place, character in enumerate(text):
        taken += cells(character)
        if taken > width:
            return text[:place]
    return text


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of_one, text))


def _cells_of_one(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def shown(text: str) -> str:
    """Return a text of one line in which control characters are written out."""
    if text.isprintable():
        return text
    return "".join(one if one == " " or one.isprintable() else _written_out(one) for one in text)


def _written_out(character: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if known is not None:
        return known
    code = ord(character)
    if unicodedata.category(character) == "Zs":
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
