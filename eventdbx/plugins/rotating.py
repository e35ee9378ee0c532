"""Files that grow by lines and are put aside when they are large: ``x``, ``x.1``, ``x.2``.

Used for what children write and by ``log`` plugins with a path. What a line is belongs there.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from eventdbx import limits

_MODE = 0o640


class RotatingFile:
    """Appends whole lines, from any thread; opened with the first of them."""

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int = limits.PLUGIN_LOG_BYTES_MAX,
        files: int = limits.PLUGIN_LOG_FILES,
    ) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._files = files
        self._lock = Lock()
        self._descriptor: int | None = None
        self._size = 0

    def append(self, lines: bytes) -> None:
        """Write lines, all or none of them; raises OSError."""
        with self._lock:
            if self._descriptor is None:
                self._open()
            if self._size and self._size + len(lines) > self._bytes_max:
                self._rotate()
            self._write(lines)

    def _write(self, lines: bytes) -> None:
        descriptor = self._descriptor
        assert descriptor is not None
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            # Half a line would spoil the next one too.
            os.ftruncate(descriptor, self._size)
            raise
        self._size += len(lines)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _MODE)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self._close()
        for number in range(self._files - 1, 0, -1):
            older = self._named(number - 1)
            if older.exists():
                older.replace(self._named(number))
        if self._files == 1:
            self.path.unlink()
        self._open()

    def _named(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
