"""``plugins.json``: the entries of plugins, shared with commands that run beside the server.

What the text says is in :mod:`eventdbx.domain.delivery.reading`. Values like ``env:NAME`` are not
resolved here: that is for whoever delivers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import Entry
from eventdbx.domain.delivery.reading import parse_entry, read_entries
from eventdbx.domain.delivery.writing import entries_text
from eventdbx.errors import SerializationError
from eventdbx.services.files import locked_directory, make_directory, read_text, replace_text

_LOOK_EVERY_S = 1.0

_Stamp = tuple[int, int, int]


class PluginFile:
    """One ``plugins.json``, readable by its owner alone: headers hold credentials.

    ``seconds`` is a clock that never goes back.
    """

    def __init__(self, path: Path, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._seconds = seconds
        self._stamp: _Stamp | None = None
        self._looked_at = -_LOOK_EVERY_S

    def load(self) -> list[Entry]:
        """Return the entries, none without a file; raises SerializationError or IoError."""
        found = self._found()
        text = read_text(self.path)
        self._stamp = (
            found  # What cannot be read is tried again, what is no JSON only when changed.
        )
        try:
            return read_entries(text)
        except SerializationError as error:
            raise SerializationError(f"{error.detail} (in {self.path})") from None

    def save(self, entries: Sequence[Entry]) -> None:
        """Put these in place of all in one step; raises IoError."""
        make_directory(self.path.parent)
        replace_text(self.path, entries_text(entries))
        self._stamp = self._found()

    def changed(self, *, now: bool = False) -> bool:
        """Say whether the file is another than that last loaded or saved.

        Looks at the file at most once a second, unless ``now``.
        """
        at = self._seconds()
        if not now and at - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = at
        return self._found() != self._stamp

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder of the file against other processes that change files there."""
        make_directory(self.path.parent)
        return locked_directory(self.path.parent)

    def _found(self) -> _Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return None  # Whether it is missing or out of reach, loading tells.
        return found.st_mtime_ns, found.st_size, found.st_ino


def adopt_tables(tables: Sequence[JSON], path: Path) -> None:
    """Put the entries of an old configuration into the file, unless that has some already.

    Raises IoError, and SerializationError when the file cannot be read.
    """
    file = PluginFile(path)
    with file.locked():
        if not file.load():
            file.save([parse_entry(table) for table in tables])
