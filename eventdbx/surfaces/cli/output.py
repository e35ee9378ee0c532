"""What goes to stdout and stderr: JSON documents, lines, notes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import orjson

_PLUS = re.compile(rb'"(?:[^"\\]|\\.)*+"|(e)\+', re.DOTALL)


def pretty(value: Any, *, sort: bool = False) -> str:
    """Return a JSON document with two spaces of indent, numbers in their canonical form."""
    option = orjson.OPT_INDENT_2 | (orjson.OPT_SORT_KEYS if sort else 0)
    text = orjson.dumps(value, option=option)
    if b"e+" in text:
        text = _PLUS.sub(lambda found: found[0] if found[1] is None else b"e", text)
    return text.decode()


def print_json(value: Any, *, sort: bool = False) -> None:
    """Print one JSON document and a newline."""
    sys.stdout.write(pretty(value, sort=sort) + "\n")


def print_array(values: Iterable[Any], *, sort: bool = False) -> None:
    """Print a JSON array whose items come one at a time; memory stays that of one item."""
    write = sys.stdout.write
    empty = True
    for value in values:
        text = pretty(value, sort=sort)
        write(("[\n" if empty else ",\n") + "\n".join(f"  {line}" for line in text.split("\n")))
        empty = False
    write("[]\n" if empty else "\n]\n")


def print_line(text: str) -> None:
    """Print one line of results."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Say something that is no result: on stderr, so that stdout stays parseable."""
    sys.stderr.write(text + "\n")


def note_on_terminal(text: str) -> None:
    """Say something that only helps a person: on stderr, and only if it is a terminal."""
    if sys.stderr.isatty():
        note(text)
