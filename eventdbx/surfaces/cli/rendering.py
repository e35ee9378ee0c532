"""Documents as text: JSON, NDJSON, YAML, CSV and aligned tables.

:func:`document` renders one document, :func:`documents` a stream of them; both yield pieces of
text, and a stream is never held whole. Where the text goes is the business of
:mod:`eventdbx.surfaces.cli.output`, aligned columns that of :mod:`eventdbx.surfaces.cli.tables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import orjson

FORMATS = ("json", "ndjson", "yaml", "table", "csv")

_PLUS = re.compile(rb'"(?:[^"\\]|\\.)*+"|(e)\+', re.DOTALL)
_NO_TEXT_IN_YAML = re.compile(r"[-+]?\.?[0-9].*|y|n|Y|N", re.DOTALL)


class Look(NamedTuple):
    """How documents are to be shown.

    ``columns`` are those of tables and CSV (empty: those that the first document suggests),
    ``width`` the cells that a line may have (None: any number), ``headings`` whether the columns
    are named, and ``bold`` how.
    """

    form: str
    columns: tuple[str, ...] = ()
    sort: bool = False
    width: int | None = None
    bold: bool = False
    headings: bool = True


def pretty(value: Any, *, sort: bool = False) -> str:
    """Return a JSON document with two spaces of indent, numbers in their canonical form."""
    return _json(value, orjson.OPT_INDENT_2 | (orjson.OPT_SORT_KEYS if sort else 0))


def compact(value: Any, *, sort: bool = False) -> str:
    """Return a JSON document on one line, numbers in their canonical form."""
    return _json(value, orjson.OPT_SORT_KEYS if sort else 0)


def _json(value: Any, option: int) -> str:
    text = orjson.dumps(value, option=option)
    if b"e+" in text:
        text = _PLUS.sub(lambda found: found[0] if found[1] is None else b"e", text)
    return text.decode()


def document(value: Any, look: Look) -> Iterator[str]:
    """Yield the text of one document."""
    if look.form == "ndjson":
        for one in value if isinstance(value, list) else (value,):
            yield compact(one, sort=look.sort) + "\n"
    elif look.form == "yaml":
        yield _yaml(value, sort=look.sort)
    elif look.form == "csv":
        yield from _csv_of_one(value, look)
    elif look.form == "table":
        from eventdbx.surfaces.cli import tables

        yield from tables.document(value, look)
    else:
        yield pretty(value, sort=look.sort) + "\n"


def documents(values: Iterable[Any], look: Look) -> Iterator[str]:
    """Yield the text of many documents, as they come."""
    if look.form == "ndjson":
        for value in values:
            yield compact(value, sort=look.sort) + "\n"
    elif look.form == "yaml":
        yield from _yaml_list(values, look)
    elif look.form == "csv":
        yield from _csv(values, look)
    elif look.form == "table":
        from eventdbx.surfaces.cli import tables

        yield from tables.documents(values, look)
    else:
        yield from _json_array(values, look.sort)
        yield "\n"


def envelope(
    values: Iterable[Any], rest: Callable[[], Mapping[str, Any]], look: Look
) -> Iterator[str]:
    """Yield the text of one document with the values as its ``items``.

    ``rest`` is asked after the last of them for what stands beside them. In NDJSON it is a line of
    its own at the end. Tables and CSV have no place for it.
    """
    if look.form == "json":
        yield '{\n  "items": '
        yield from _json_array(values, look.sort, end="\n  ")
        yield "".join(f',\n  "{key}": {compact(value)}' for key, value in rest().items()) + "\n}\n"
    elif look.form == "yaml":
        pieces = documents(values, look)
        first = next(pieces, "[]\n")
        yield "items: " if first == "[]\n" else "items:\n"
        yield from chain((first,), pieces)
        yield _yaml(dict(rest()))
    else:
        yield from documents(values, look)
        if look.form == "ndjson":
            yield compact(rest()) + "\n"


def _json_array(values: Iterable[Any], sort: bool, end: str = "\n") -> Iterator[str]:
    """Yield an array without the end of its last line; ``end`` is a line end with its indent."""
    inner = f"{end}  "
    empty = True
    for value in values:
        text = pretty(value, sort=sort).replace("\n", inner)
        yield f"{'[' if empty else ','}{inner}{text}"
        empty = False
    yield "[]" if empty else f"{end}]"


def _yaml_list(values: Iterable[Any], look: Look) -> Iterator[str]:
    empty = True
    for value in values:
        yield _yaml([value], sort=look.sort)
        empty = False
    if empty:
        yield "[]\n"


def _yaml(value: Any, *, sort: bool = False) -> str:
    import yaml

    text: str = yaml.dump(
        value,
        Dumper=_yaml_dumper(),
        sort_keys=sort,
        allow_unicode=True,
        default_flow_style=False,
        width=1_000_000,
    )
    # A document that is no list and no mapping ends with a mark that says so; nobody needs it.
    return text.removesuffix("...\n")


@cache
def _yaml_dumper() -> Any:
    """Return what writes YAML that readers of both its versions take for the same values."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        """Quotes texts such as 1e3, which only one version takes for texts."""

        def ignore_aliases(self, data: Any) -> bool:
            """Write values out wherever they stand."""
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "'" if _NO_TEXT_IN_YAML.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def value_at(value: Any, path: str) -> Any:
    """Return what a document has at a path of keys joined by dots, None where there is nothing."""
    if not isinstance(value, Mapping):
        return value if path == "value" else None
    if path in value:
        return value[path]
    found: Any = value
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def cell(value: Any) -> str:
    """Return a value as it stands in a cell: texts as they are, nothing for null, else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else compact(value)


def flattened(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a document holds, members of its members under paths of keys."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from flattened(inner, f"{before}{key}.")
        else:
            yield before + key, inner


def columns_of(first: Any, *, nested: bool) -> Sequence[str]:
    """Return the columns that a first document suggests; ``nested`` keeps objects and lists."""
    if not isinstance(first, Mapping):
        return ("value",)
    return [
        key for key, value in first.items() if nested or not isinstance(value, Mapping | list)
    ] or list(first)


def _csv_of_one(value: Any, look: Look) -> Iterator[str]:
    if isinstance(value, list):
        return _csv(value, look)
    if look.columns or not isinstance(value, Mapping):
        return _csv((value,), look)
    flat = dict(flattened(value))
    return _csv((flat,), look._replace(columns=tuple(flat)))


def _csv(values: Iterable[Any], look: Look) -> Iterator[str]:
    """Yield lines of RFC 4180, the names of the columns first."""
    import csv

    class Line:
        """Hands on what the writer of the standard library writes."""

        text = ""

        def write(self, text: str) -> None:
            self.text = text

    line = Line()
    writer = csv.writer(line)
    columns: Sequence[str] = look.columns
    if columns and look.headings:
        writer.writerow(columns)
        yield line.text
    for value in values:
        if not columns:
            columns = columns_of(value, nested=True)
            if look.headings:
                writer.writerow(columns)
                yield line.text
        writer.writerow([cell(value_at(value, path)) for path in columns])
        yield line.text
