"""Where an export goes: which files, and how each gets its name only when it is whole."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from eventdbx.services.files import sync_path
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import escaped

WRITE_BYTES = 1_048_576
"""Bytes that are collected before a file is written to."""

_PRIVATE = 0o600
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


class Printed:
    """Stdout as a file of bytes: what is UTF-8 goes there as text, wherever it is cut.

    What a terminal would obey is written out there, as with everything that is printed.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def write(self, data: bytes, /) -> None:
        """Print the characters that end in these bytes."""
        text = self._decode(data)
        sys.stdout.write(escaped(text) if sys.stdout.isatty() else text)


class Unfinished:
    """A file on its way: beside its place and for its owner alone until it is whole.

    As a context manager it gets its name at the end, or vanishes with an error. What a killed
    export left of the same file is removed when the next one begins.
    """

    def __init__(self, path: Path) -> None:
        self._final = real_path(path)  # A link to the file stays a link.
        _sweep(self._final)
        self._name = self._final.parent / f".{self._final.name}.{secrets.token_hex(4)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._name, flags, _PRIVATE)
        # Whoever sweeps can tell by the lock that somebody is at work here.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.file: BinaryIO = os.fdopen(descriptor, "w+b", WRITE_BYTES)

    def __enter__(self) -> BinaryIO:
        return self.file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(OSError):
                self.file.close()
            self._name.unlink(missing_ok=True)

    def _finish(self) -> None:
        self.file.flush()
        os.fchmod(self.file.fileno(), _mode_of(self._final))
        os.fsync(self.file.fileno())
        os.replace(self._name, self._final)
        sync_path(self._final.parent)


def real_path(path: Path) -> Path:
    """Return the file that a path leads to; a link that leads to itself is the file."""
    return Path(os.path.realpath(path))


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Name the file in failures to write it."""
    try:
        yield
    except BrokenPipeError:
        raise  # Whoever reads the pipe has seen enough.
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}", code="io") from None


def _mode_of(path: Path) -> int:
    """Return the mode of a file: that which it has, or that of any new one."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sweep(final: Path) -> None:
    """Remove what exports of this file left when they were killed."""
    leftover = re.compile(re.escape(f".{final.name}.") + r"[0-9a-f]{8}\.part")
    for left in final.parent.iterdir():
        if leftover.fullmatch(left.name):
            with suppress(OSError):
                descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
                finally:
                    os.close(descriptor)


def safe_name(aggregate_type: str) -> str:
    """Return a type as the name of a file."""
    return _UNSAFE.sub("_", aggregate_type)


def member_name(aggregate_type: str, kind: str) -> str:
    """Return the name of the file of a type."""
    return f"{safe_name(aggregate_type)}.{kind}"


def plain_places(output: Path, types: Sequence[str], kind: str) -> dict[str, Path]:
    """Return the file of each type; makes the folder that they go to. Raises Failure."""
    if len(types) == 1 and _is_file(output, kind):
        _make_folder(output.parent)
        return {types[0]: output}
    if output.exists() and not output.is_dir():
        raise Failure("output path must be a directory when exporting multiple aggregate types")
    _make_folder(output)
    return {one: output / member_name(one, kind) for one in types}


def _is_file(output: Path, kind: str) -> bool:
    if output.is_dir():
        return False
    return output.exists() or output.suffix.lower() == f".{kind}"


def archive_place(output: Path, types: Sequence[str], kind: str) -> Path:
    """Return the zip archive that the types go to; makes the folder that it lies in."""
    if output.is_dir():
        name = safe_name(types[0]) if len(types) == 1 else "aggregates"
        return output / f"{name}_{kind}.zip"
    place = output.with_suffix(".zip")
    _make_folder(place.parent)
    return place


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot create {path}: {error.strerror}", code="io") from None
