"""The three streams of the process, made such that a command can rely on them.

A stream that is closed is opened on nothing: otherwise the next file, perhaps one of the store,
would get its number, and everything that is printed. What cannot be said on stderr is lost, and
changes neither what the command does nor how it ends.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO, cast

_LAST = 2


class _Lenient:
    """Stderr, whose reader may have gone or whose disk may be full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or lose it."""
        try:
            return self._stream.write(text)
        except OSError:
            self._lose()
            return len(text)

    def flush(self) -> None:
        """Write what is held, or lose it."""
        try:
            self._stream.flush()
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Let everything from now on, also what is still held, go nowhere."""
        lose(self._stream)


def prepare() -> None:
    """See to the streams of this process; those that a test puts in their place are left alone."""
    _open_closed()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    elif sys.stderr is sys.__stderr__:
        sys.stderr = cast(TextIO, _Lenient(cast(TextIO, sys.stderr)))


def lose(stream: TextIO) -> None:
    """Let the interpreter flush a stream into nothing instead of complaining."""
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
    except (OSError, ValueError):
        pass


def _open_closed() -> None:
    """Open nothing under each of the first three numbers that is free."""
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > _LAST:
            os.close(number)
            return
        os.set_inheritable(number, True)
