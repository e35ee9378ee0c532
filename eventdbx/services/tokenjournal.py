"""The journal of the ledger: changes that are not in its two files yet, one sealed line each.

A line is a whole change, so nothing is ever half done; a line without its end was never finished
and counts for nothing. Whoever writes holds the lock on the folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eventdbx.application.sealing import seal, unseal
from eventdbx.application.token_records import Change, read_change
from eventdbx.errors import IoError
from eventdbx.services.files import PRIVATE, sync_path

JOURNAL_NAME = "tokens.journal"


class Journal:
    """The file ``tokens.journal`` of a folder; without changes there is none."""

    def __init__(self, folder: Path, data_keys: Sequence[str]) -> None:
        self.path = folder / JOURNAL_NAME
        self._data_keys = data_keys

    def identity(self) -> tuple[int, int] | None:
        """Return inode and size, None without a file: they tell whether it has changed."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_size

    def read(self, offset: int = 0) -> tuple[list[Change], int]:
        """Return the changes from an offset on, and where the last one ends.

        Raises ConfigError without the key of a sealed line, StorageError with a wrong one,
        SerializationError for a line that is none, IoError.
        """
        try:
            with open(self.path, "rb") as reading:
                reading.seek(offset)
                content = reading.read()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise IoError(f"cannot read {self.path}: {error.strerror}") from None
        lines = content.split(b"\n")
        torn = lines.pop()
        origin = os.fspath(self.path)
        changes = [
            read_change(unseal(line.decode("utf-8", "replace"), self._data_keys, "tokens"), origin)
            for line in lines
        ]
        return changes, offset + len(content) - len(torn)

    def append(self, change: Change) -> None:
        """Write a change down; it is on disk when this returns. Raises IoError."""
        text = change.text()
        if self._data_keys:
            text = seal(text, self._data_keys[0], os.urandom(12))
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, PRIVATE)
            try:
                size = os.fstat(descriptor).st_size
                os.fchmod(descriptor, PRIVATE)
                size = _cut_torn_line(descriptor, size)
                try:
                    _write_all(descriptor, text.encode() + b"\n")
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)  # What is reported as failed has not happened.
                    raise
            finally:
                os.close(descriptor)
            if not size:
                sync_path(self.path.parent)
        except OSError as error:
            raise IoError(f"cannot write {self.path}: {error.strerror}") from None

    def clear(self) -> None:
        """Remove the file: the ledger's two files hold everything. Raises IoError."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise IoError(f"cannot remove {self.path}: {error.strerror}") from None


def goes_on(read: tuple[int, int] | None, found: tuple[int, int] | None) -> bool:
    """Tell whether what was read of a journal, as its identity said, is the beginning of what is
    there now. A shorter one is another: its last change could not be written after all."""
    return read is None or (found is not None and found[0] == read[0] and found[1] >= read[1])


def _cut_torn_line(descriptor: int, size: int) -> int:
    """Take away what a process left that was killed while it wrote; return the size then."""
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    size = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    os.ftruncate(descriptor, size)
    return size


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
