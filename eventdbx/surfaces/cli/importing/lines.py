"""The lines of a file that is imported: where each ends, and which of them cannot be read.

One line is in memory at a time, however long the file or a line of it is. What a line means is in
:mod:`eventdbx.surfaces.cli.importing.rows` and :mod:`eventdbx.surfaces.cli.importing.csv`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

from eventdbx import limits
from eventdbx.errors import InvalidSchema
from eventdbx.surfaces.cli.failures import Failure

BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_READ_BYTES = 1_048_576


class Line(NamedTuple):
    """A line with its end: its number from 1, the offset behind it, whether it is whole."""

    number: int
    end: int
    text: bytes
    whole: bool = True


class Mark(NamedTuple):
    """A place in a file, and the digest of everything before it, which can go on from there."""

    offset: int
    digest: Any


class Lines:
    """The lines of a file from a place on: ``offset`` bytes and ``number`` lines are behind it.

    ``digest`` is that of everything before the next line.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._digest = sha256()
        self.offset = 0
        self.number = 0

    def skip(self, offset: int, number: int) -> None:
        """Go to a place behind whole lines, reading everything before it."""
        while self.offset < offset:
            data = self._file.read(min(_READ_BYTES, offset - self.offset))
            if not data:
                break
            self._digest.update(data)
            self.offset += len(data)
        self.number = number

    def digest(self) -> str:
        """Return the digest of everything before the next line."""
        return self._digest.copy().hexdigest()

    def mark(self) -> Mark:
        """Return the place before the next line."""
        return Mark(self.offset, self._digest.copy())

    def mark_behind(self, mark: Mark, end: int) -> Mark:
        """Return a place behind a mark, in a file that can be read again.

        The next line stays the next one.
        """
        digest, offset = mark.digest.copy(), mark.offset
        while offset < end:
            data = os.pread(self._file.fileno(), min(_READ_BYTES, end - offset), offset)
            if not data:
                break
            digest.update(data)
            offset += len(data)
        return Mark(offset, digest)

    def __iter__(self) -> Iterator[Line]:
        longest = limits.IMPORT_LINE_BYTES_MAX
        while raw := self._file.readline(longest + 1):
            self.offset += len(raw)
            self.number += 1
            self._digest.update(raw)
            whole = len(raw) <= longest
            if not whole and not raw.endswith(b"\n"):
                self._pass_over()
            if self.number == 1:
                raw = self._without_bom(raw)
            yield Line(self.number, self.offset, raw, whole)

    def _pass_over(self) -> None:
        """Read the rest of a line that is too long."""
        while part := self._file.readline(_READ_BYTES):
            self.offset += len(part)
            self._digest.update(part)
            if part.endswith(b"\n"):
                return

    def _without_bom(self, raw: bytes) -> bytes:
        if raw.startswith(_OTHER_BOMS):
            raise Failure(
                f"{self._name} is UTF-16, not UTF-8",
                hint="convert it first: iconv -f UTF-16 -t UTF-8",
                code=InvalidSchema.code,
            )
        return raw.removeprefix(BOM)


def too_long() -> InvalidSchema:
    """Return what is wrong with a line that is not whole."""
    return InvalidSchema(f"the line is longer than {limits.IMPORT_LINE_BYTES_MAX:,} bytes")
