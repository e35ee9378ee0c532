"""What goes to stdout and stderr: documents in the format asked for, lines, notes.

The root options ``--output``, ``--quiet``, ``--color`` and ``--no-pager`` are obeyed here, so that
a command has two things to say only: its documents, and the lines that scripts know.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from eventdbx.surfaces.cli import rendering
from eventdbx.surfaces.cli.rendering import Look, pretty

__all__ = [
    "DOCUMENTS",
    "ROWS",
    "coloured",
    "complain",
    "documents_wanted",
    "escaped",
    "format_wanted",
    "note",
    "note_on_terminal",
    "pretty",
    "print_array",
    "print_envelope",
    "print_json",
    "print_line",
    "print_more",
    "print_listing",
    "print_result",
    "say_empty",
    "say_more",
    "warn_of_visible",
    "without_controls",
]

DOCUMENTS = "eventdbx.documents"
"""Where the context of click keeps that documents are wanted."""

ROWS = ("ndjson", "table", "csv")
"""Formats that show a list as rows of their own, not as a member of a document."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNSAFE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")


def print_json(value: Any, *, sort: bool = False) -> None:
    """Print one document: JSON, or what ``--output`` says."""
    look = _look(sort)
    _write(rendering.document(value, look), harmless=look.form == "table")


def print_array(
    values: Iterable[Any], *, sort: bool = False, columns: tuple[str, ...] = ()
) -> None:
    """Print documents that come one at a time; memory stays that of one (a table: of a page).

    ``columns`` take the place of those that the command declares.
    """
    look = _look(sort)
    if columns and _root_option("columns") is None:
        look = look._replace(columns=columns)
    pieces = rendering.documents(values, look)
    _write(pieces, harmless=look.form == "table")


def print_more(values: Iterable[Any], *, first: bool, sort: bool = False) -> None:
    """Print documents of a list that has no end: of JSON one in each line, never in a pager."""
    look = _look(sort)._replace(headings=first)
    form = "ndjson" if look.form == "json" else look.form
    raw = form == "table" or not sys.stdout.isatty()
    for piece in rendering.documents(values, look._replace(form=form)):
        sys.stdout.write(piece if raw else escaped(piece))


def print_envelope(
    values: Iterable[Any], rest: Callable[[], Mapping[str, Any]], *, sort: bool = False
) -> None:
    """Print one document with ``items``, and beside them what ``rest`` says after the last."""
    _write(rendering.envelope(values, rest, _look(sort)))


def print_listing(
    values: Iterable[Any],
    line: Callable[[Any], str],
    *,
    empty: str | None = None,
    sort: bool = False,
) -> bool:
    """Print a list: documents, a table for a person, or the lines that scripts know.

    ``empty`` is the line of an empty list, where scripts know one. Returns whether there was any.
    """
    seen = Seen(values)
    if documents_wanted():
        print_array(seen, sort=sort)
    elif sys.stdout.isatty() and _columns():
        _write(rendering.documents(seen, _look(sort, form="table")), harmless=True)
    else:
        texts = map(line, seen)
        shown = map(without_controls, texts) if sys.stdout.isatty() else texts
        _write((f"{text}\n" for text in shown), harmless=True)
        if not seen.count and empty is not None and not sys.stdout.isatty():
            print_line(empty)
    return seen.count > 0


def print_result(value: Any, *lines: str, sort: bool = False) -> None:
    """Print what a command has done: a document if one is asked for, else lines."""
    if documents_wanted():
        print_json(value, sort=sort)
    else:
        for line in lines:
            print_line(line)


class Seen:
    """Passes values on, and counts them."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = values
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            self.count += 1
            yield value


def print_line(text: str, *, coloured: bool = False) -> None:
    """Print one line of results; ``coloured`` when it has escape sequences of our own.

    On a terminal the control characters that stored texts may hold are shown, not obeyed.
    """
    if not coloured and sys.stdout.isatty():
        text = without_controls(text)
    sys.stdout.write(text + "\n")


def without_controls(text: str) -> str:
    """Return a text in which control characters, but for tabs and line ends, are written out.

    So are the characters that turn the direction of a line.
    """
    return _CONTROL.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def note(text: str) -> None:
    """Say something that is no result: on stderr, so that stdout stays parseable."""
    if not _root_option("quiet"):
        sys.stderr.write(text + "\n")


def complain(text: str) -> None:
    """Say what has gone wrong with one of many things: an error, which ``--quiet`` leaves."""
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


def say_empty(looked_for: str, then: str) -> None:
    """Tell a person that there was nothing: what was looked for, and what to try next."""
    note_on_terminal(f"{looked_for}; try `{then}`")


def say_more(cursor: str | int | None, flag: str = "--cursor") -> None:
    """Say where the next page begins, if there is one: on stderr, to whom stdout does not say it.

    A person is told with any output. A script that asked for a format has asked for a new
    contract, and is told, too; without a format its stderr stays as it always was.
    """
    if cursor is None:
        return
    if sys.stderr.isatty():
        note(f"more: {flag} {cursor}, or --all")
    elif format_wanted() is not None:
        note(f"next_{flag.lstrip('-')}={cursor}")


def format_wanted() -> str | None:
    """Return the format that ``--output`` names, None without it."""
    wanted: str | None = _root_option("output")
    return wanted


def documents_wanted() -> bool:
    """Say whether ``--json`` or ``--output`` asks for documents instead of lines."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(DOCUMENTS))


def coloured(stream: Any = None, *, wanted: str | None = None) -> bool:
    """Say whether a stream (stdout) gets colours: ``--color``, NO_COLOR, whether it shows them.

    ``wanted`` is what a command has been told itself.
    """
    wanted = wanted or _root_option("color") or "auto"
    if wanted != "auto":
        return bool(wanted == "always")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool((stream or sys.stdout).isatty())


def _root_option(name: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.find_root().params.get(name)


def _columns() -> tuple[str, ...]:
    """Return the columns that the command line names, else those that the command declares."""
    wanted: str | None = _root_option("columns")
    if wanted is not None:
        return tuple(one.strip() for one in wanted.split(",") if one.strip())
    context = click.get_current_context(silent=True)
    return () if context is None else getattr(context.command, "columns", ())


def _look(sort: bool, form: str | None = None) -> Look:
    width = None
    if sys.stdout.isatty():
        import shutil

        width = shutil.get_terminal_size().columns
    form = form or format_wanted() or "json"
    return Look(form, _columns(), sort, width, bold=form == "table" and coloured())


def _write(pieces: Iterable[str], *, harmless: bool = False) -> None:
    """Write pieces of text to stdout, on a terminal through the pager.

    Nothing that a terminal would obey gets there; ``harmless`` text has been seen to.
    """
    if not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.write(piece)
        return
    from eventdbx.surfaces.cli.paging import paged

    with paged(wanted=not _root_option("no_pager")) as write:
        for piece in pieces:
            write(piece if harmless else escaped(piece))


def escaped(text: str) -> str:
    """Return what is the same to whoever reads JSON, and harmless to a terminal."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
