"""Command lines, each in a process of its own, without waiting for an interpreter to start.

One interpreter imports the program and then forks for every command line: the child gets the
standard streams, the environment and the folder, calls ``main()`` and ends. What it would have
imported first is there already; everything else is as in a new process.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tests.daemon import ROOT, outside

ANSWER_TIMEOUT_S = 60.0
BROKEN = 70
"""Exit status of a child that did not come as far as the program."""

IMPORTED = (
    "eventdbx.application.reader",
    "eventdbx.application.writer",
    "eventdbx.services.offline",
    "eventdbx.storage.rocks",
    "eventdbx.surfaces.control.blocking",
    "eventdbx.surfaces.control.routes",
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "eventdbx" / "surfaces" / "cli").rglob("[a-z]*.py"))
    ),
)


class Forks:
    """The interpreter that forks; it ends when this process does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            cwd=ROOT,
            env={**outside(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        streams: Sequence[Path],
    ) -> int:
        """Run one command line with these files as stdin, stdout, stderr; return its status."""
        request = [list(arguments), str(folder), dict(environment), [str(one) for one in streams]]
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        if not select.select([stdout], [], [], ANSWER_TIMEOUT_S)[0]:
            self._process.kill()
            raise AssertionError(f"dbx {' '.join(arguments)} does not end")
        return int(stdout.readline())


@cache
def forks() -> Forks:
    """Return the one of this process."""
    return Forks()


def serve() -> None:
    """Fork for each line of stdin, and answer with the status."""
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            _become(*json.loads(line))
        _pid, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]
) -> NoReturn:
    status = BROKEN
    try:
        flags: Any = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
        for number, path in enumerate(streams):
            opened = os.open(path, flags[number])
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        sys.argv = ["dbx", *arguments]
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        status = importlib.import_module("eventdbx.surfaces.cli.main").main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()
