"""A pager on a terminal, for what is longer than the screen.

Text is held back until it has filled the screen; only then the pager starts. It is the program
that ``PAGER`` names, else ``less`` with the options that git gives it. Pipes never come here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LESS_OPTIONS = "FRX"
"""Leave at once if one screen is enough, show colours, leave the text on the screen."""


@contextmanager
def paged(*, wanted: bool) -> Iterator[Callable[[str], None]]:
    """Give what writes text to the terminal; a reader who leaves the pager ends the block."""
    command = pager_command(os.environ) if wanted else []
    if not command:
        yield _to_terminal
        return
    pager = Pager(command)
    try:
        yield pager.write
    except BrokenPipeError:
        # Whoever read has seen enough.
        pass
    finally:
        pager.close()


def pager_command(environ: os._Environ[str] | dict[str, str]) -> list[str]:
    """Return the program to start, empty if there is none or it would change nothing."""
    if environ.get("TERM") == "dumb":
        return []
    try:
        words = shlex.split(environ.get("PAGER", "less"))
    except ValueError:
        return []
    if not words or words == ["cat"] or shutil.which(words[0]) is None:
        return []
    return words


class Pager:
    """Holds a screen of text, then hands all of it to the program."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._size = shutil.get_terminal_size()
        self._held: list[str] = []
        self._lines = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False

    def write(self, text: str) -> None:
        """Write text. Raises BrokenPipeError when the reader has left."""
        if self._failed:
            _to_terminal(text)
            return
        if self._process is None:
            self._held.append(text)
            self._lines += sum(
                1 + max(len(line) - 1, 0) // self._size.columns for line in text.splitlines()
            )
            if self._lines < self._size.lines:
                return
            text = "".join(self._held)
            self._held.clear()
            if not self._begin():
                self._failed = True
                _to_terminal(text)
                return
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def _begin(self) -> bool:
        sys.stdout.flush()
        environment = {"LESS": LESS_OPTIONS, **os.environ}
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let the reader read to the end."""
        if self._process is None:
            _to_terminal("".join(self._held))
            return
        # The pager shares our terminal: an interrupt is for it while it has the screen.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            assert self._process.stdin is not None
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
            self._process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _to_terminal(text: str) -> None:
    sys.stdout.write(text)
