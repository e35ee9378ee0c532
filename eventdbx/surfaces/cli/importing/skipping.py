"""The file of lines that an import left out, each with the reason."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import orjson

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing.rows import Bad, reason


class Skipped:
    """A new file for its owner alone, or one that goes on behind so many bytes."""

    def __init__(self, path: Path, at: int | None = None) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | (os.O_EXCL if at is None else 0), 0o600)
        except FileExistsError:
            raise Failure(
                f"{path} exists already", hint="name another file for --errors", code="io"
            ) from None
        except OSError as error:
            raise Failure(f"cannot write {path}: {error.strerror}", code="io") from None
        self._file = os.fdopen(descriptor, "wb")
        if os.fstat(descriptor).st_size < (at or 0):
            self._file.close()
            raise Failure(
                f"{path} has lost lines that were in it when the import was interrupted",
                hint="name another file for --errors",
                code="io",
            )
        # What was written after the state that is gone on with comes once more.
        self._file.truncate(at or 0)
        self._file.seek(0, os.SEEK_END)

    def add(self, bads: list[Bad]) -> int:
        """Write lines down; return how long the file is then."""
        lines: list[bytes] = []
        for line, _last, _end, error, text in bads:
            document = {
                "line": line,
                "code": error.code,
                "reason": reason(error),
                "text": text.decode(errors="replace"),
            }
            lines.append(orjson.dumps(document) + b"\n")
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise Failure(f"cannot write {self._path}: {error.strerror}", code="io") from None
        return self._file.tell()

    def close(self) -> None:
        """Close the file; what could not be written was told before."""
        with suppress(OSError):
            self._file.close()
