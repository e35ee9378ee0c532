"""What the commands of ``dbx plugin`` and ``dbx queue`` have in common: operations and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from eventdbx.domain.delivery.entries import PAYLOAD_MODES
from eventdbx.domain.timestamps import format_offset
from eventdbx.errors import ConfigError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import argument
from eventdbx.surfaces.cli.session import Database, database, opened, server_address

if TYPE_CHECKING:
    from eventdbx.surfaces.control.calls import Calls

Document = dict[str, Any]

NOT_FOUND = "aggregate_not_found"
"""The code of names that are not configured: with fine exit codes they end with 4."""

CLOSED_MODES = click.Choice(list(PAYLOAD_MODES))
TRUE_FALSE = click.Choice(["true", "false"])
NAME = argument("name", help="Name of the plugin, or its kind when it has no name")

_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")
_UNKNOWN = re.compile(r"no .*plugin named '")
_NS_PER_MS = 1_000_000


class Asking:
    """One way to the data, over which operations are carried out one after another.

    ``alone`` says that no server runs: what goes on does so only while an operation is waited for.
    """

    def __init__(self, way: Database, calls: Calls, *, alone: bool) -> None:
        self._way = way
        self._calls = calls
        self.alone = alone

    def do(self, operation: Document) -> Document:
        """Carry out one operation; return its answer. Raises Failure for what the plugins refuse,
        in the words that scripts know."""
        try:
            answer: Document = self._way.call(self._calls.plugins(operation))
        except ConfigError as error:
            code = NOT_FOUND if _UNKNOWN.match(error.detail) else error.code
            raise Failure(error.detail, code=code) from None
        return answer

    def entries(self) -> list[Document]:
        """Return every configured plugin, in the order of the file."""
        plugins: list[Document] = self.do({"do": "list"})["plugins"]
        return plugins

    def entry(self, name: str, noun: str = "plugin") -> Document:
        """Return one plugin. Raises Failure when there is none of that name."""
        for one in self.entries():
            if key_of(one) == name and (noun == "plugin" or one["config"]["type"] == "process"):
                return one
        raise unknown(name, noun)


@contextmanager
def asking(context: click.Context, *, writes: bool = False) -> Iterator[Asking]:
    """Open the way to the data; ``writes`` is for what changes or delivers something."""
    alone = server_address(context, opened(context)) is None
    with database(context, writes=writes) as (way, calls):
        yield Asking(way, calls, alone=alone)


def operate(context: click.Context, operation: Document, *, writes: bool = False) -> Document:
    """Carry out one operation; return its answer."""
    with asking(context, writes=writes) as plugins:
        return plugins.do(operation)


def unknown(name: str, noun: str = "plugin") -> Failure:
    """Return the failure for a name that no plugin has."""
    return Failure(
        f"no {noun} named '{name}' is configured",
        hint="`dbx plugin list` shows those that are",
        code=NOT_FOUND,
    )


def key_of(entry: Document) -> str:
    """Return what a listed plugin answers to."""
    key: str = entry["name"] or entry["config"]["type"]
    return key


def one_line(text: str) -> str:
    """Return a text without line ends: records take a line each."""
    return _LINE_ENDS.sub(" ", text)


def moment(ms: int | None) -> str:
    """Return a time in milliseconds as text records show it."""
    return "-" if ms is None else format_offset(ms * _NS_PER_MS)
