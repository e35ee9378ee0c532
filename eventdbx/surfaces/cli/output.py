"""What goes to stdout and stderr: JSON documents, lines, notes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import orjson

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
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


def print_line(text: str, *, coloured: bool = False) -> None:
    """Print one line of results; ``coloured`` when it has escape sequences of our own.

    On a terminal the control characters that stored texts may hold are shown, not obeyed.
    """
    if not coloured and sys.stdout.isatty():
        text = without_controls(text)
    sys.stdout.write(text + "\n")


def without_controls(text: str) -> str:
    """Return a text in which control characters, but for tabs and line ends, are written out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def note(text: str) -> None:
    """Say something that is no result: on stderr, so that stdout stays parseable."""
    sys.stderr.write(text + "\n")


def warn_of_visible(instead: str) -> None:
    """Tell a person that the token on their command line was there for others to read."""
    note_on_terminal(
        f"warning: others on this machine can read a token on a command line; use {instead}"
    )


def note_on_terminal(text: str) -> None:
    """Say something that only helps a person: on stderr, and only if it is a terminal."""
    if sys.stderr.isatty():
        note(text)
