"""Becoming a daemon, and telling the command that started it how that went.

The parent waits on a pipe: the daemon writes one line into it when its listeners answer, or the
reason why they never will. Nothing here imports Twisted; the daemon does, after the fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

from eventdbx.errors import IoError

UMASK = 0o077


class Outcome(NamedTuple):
    """How the start of a daemon went: its process id, and the reason if it failed."""

    pid: int
    reason: str | None


Body = Callable[[Callable[[str | None], None]], int]
"""The daemon's work: gets the callable that tells the parent, returns the exit status."""


def start_daemon(body: Body) -> Outcome:
    """Run ``body`` in a process of its own session, and return as soon as it has told how it went.

    The daemon has no terminal, works in ``/`` and creates files for its owner alone. If it ends
    without a word the reason says how it ended. Raises IoError if no process can be made.
    """
    sys.path[:] = [os.path.abspath(entry) for entry in sys.path]
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        raise IoError(f"cannot start a process: {error.strerror}") from None
    if child == 0:
        os.close(reading)
        _detach(writing, body)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(child, 0)
    return _outcome(lines)


def _outcome(lines: list[bytes]) -> Outcome:
    """Take the daemon's process id, then what it told or how its own parent saw it end."""
    pid = int(lines[0]) if lines else 0
    for line in lines[1:]:
        return Outcome(pid, json.loads(line))
    return Outcome(pid, "process terminated unexpectedly")


def _detach(writing: int, body: Body) -> None:
    """Leave the caller's session, fork again so that no terminal can be had, and work."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(writing, b"%d\n" % os.getpid())
        os.chdir("/")
        os.umask(UMASK)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _close_standard_streams()
        os._exit(body(_teller(writing)))
    except BaseException as error:  # There is nobody above to whom this could be raised.
        _teller(writing)(f"{type(error).__name__}: {error}")
        os._exit(1)


def _close_standard_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _teller(writing: int) -> Callable[[str | None], None]:
    def tell(reason: str | None) -> None:
        try:
            os.write(writing, json.dumps(reason).encode() + b"\n")
            os.close(writing)
        except OSError:
            pass  # Told before, or the command that started us was killed meanwhile.

    return tell
