"""Files with proofs: written once, read within bounds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from eventdbx.surfaces.cli.failures import Failure

FILE_BYTES_MAX = 16 << 20
"""What is read of a file before anything in it is believed."""


def check_new(path: str) -> None:
    """Raise Failure where a file is already: no proof takes the place of another."""
    if Path(path).exists():
        raise Failure(f"{path} is there already", code="io")


def write_file(path: str, text: str) -> None:
    """Write a new file. Raises Failure; an existing one is not touched."""
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"cannot write {path}", str(error.strerror), code="io") from None


def read_file(path: str) -> bytes:
    """Return what is in a file, ``-`` for stdin. Raises Failure, also for too large ones."""
    try:
        if path == "-":
            return _bounded(sys.stdin.buffer, "stdin")
        with open(path, "rb") as file:
            return _bounded(file, path)
    except OSError as error:
        raise Failure(f"cannot read {path}", str(error.strerror), code="io") from None


def _bounded(file: BinaryIO, name: str) -> bytes:
    raw = file.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise Failure(f"{name} is no proof: it exceeds {FILE_BYTES_MAX} bytes", code="io")
    return raw
