"""The file of an import: opened, held against a second import of it, and read as rows."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing.csv import CsvRows, Options
from eventdbx.surfaces.cli.importing.lines import Lines
from eventdbx.surfaces.cli.importing.rows import Bad, Checks, Row, ndjson_rows

STDIN = "-"


class Source(NamedTuple):
    """Where rows come from: its name, its format, and whether it can be read twice."""

    name: str
    kind: str
    options: Options
    file: BinaryIO
    again: bool

    def rows(self, lines: Lines, checks: Checks) -> Iterator[Row | Bad]:
        """Return the rows of lines that begin at the start of the file.

        Raises Failure for a header that is wrong.
        """
        if self.kind == "csv":
            return iter(CsvRows(lines, checks, self.options, self.name))
        return ndjson_rows(lines, checks)

    def lines(self) -> Lines:
        """Return the lines from the start of the file."""
        if self.again:
            self.file.seek(0)
        return Lines(self.file, self.name)


def kind_of(path: str, given: str | None) -> str:
    """Return the format of a file: that which is given, or what its name says."""
    if given is not None:
        return given
    return "csv" if path.lower().endswith(".csv") else "ndjson"


@contextmanager
def opened_source(path: str, kind: str, options: Options) -> Iterator[Source]:
    """Open a file; ``-`` is stdin. Raises Failure."""
    if path == STDIN:
        yield Source("stdin", kind, options, _stdin(), False)
        return
    try:
        file = Path(path).open("rb", 1_048_576)  # noqa: SIM115
    except IsADirectoryError:
        raise Failure(
            f"{path} is a directory", hint="name one file; several are imported one by one",
            code="io",
        ) from None  # fmt: skip
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", code="io") from None
    with file:
        again = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if again:
            _hold(file, path)
        yield Source(path, kind, options, file, again)


def _stdin() -> BinaryIO:
    return sys.stdin.buffer


def _hold(file: BinaryIO, path: str) -> None:
    """Keep a second import off the file."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Not every file system has locks; where it has none, nobody is kept off.
        if error.errno == errno.EWOULDBLOCK:
            raise Failure(f"another import is reading {path}", code="io") from None
