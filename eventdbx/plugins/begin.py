"""The program that becomes a plugin's program: it runs between the server's spawn and its exec.

It takes the child into a session and process group of its own and sets what the operating system
shall hold it to. A server with threads and an open store had better not fork to do that itself.
Run by path, with JSON of ``cwd``, ``user``, ``memory_mb`` and ``open_files`` as the first
argument and the program's own arguments behind it; imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

CANNOT_RUN = 126


def main() -> None:
    """Become the program."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    program = sys.argv[2]
    os.setsid()
    # Python ignores the signal, and programs inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        if wanted["memory_mb"] is not None:
            _limit(resource.RLIMIT_AS, wanted["memory_mb"] << 20)
        if wanted["open_files"] is not None:
            _limit(resource.RLIMIT_NOFILE, wanted["open_files"])
    except (OSError, ValueError) as error:
        fail(f"limits cannot be set: {error}")
    if wanted["user"] is not None:
        _become(wanted["user"])
    try:
        os.chdir(wanted["cwd"])
    except OSError as error:
        fail(f"working directory {wanted['cwd']}: {error.strerror}")
    try:
        os.execv(program, sys.argv[2:])
    except OSError as error:
        fail(f"{program}: {error.strerror}")


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _become(name: str) -> None:
    import pwd

    try:
        user = pwd.getpwnam(name)
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError:
        fail(f"there is no user '{name}'")
    except OSError as error:
        fail(f"cannot become user '{name}': {error.strerror}")


def fail(reason: str) -> NoReturn:
    """Say why the program could not be started, where the server reads it."""
    os.write(2, f"cannot start: {reason}\n".encode("utf-8", "replace"))
    os._exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
