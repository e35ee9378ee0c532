"""The published client ``eventdbx`` 0.1.8 from PyPI in a process of its own, and servers for it.

It lives in ``build/interop``, made on the first run. What it must see is in the tests.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import venv
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.daemon import ROOT, Workspace, outside
from tests.interop.servers import set_up

VERSION = "0.1.8"
HOME = ROOT / "build" / "interop" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def client_python() -> Path:
    """Return the interpreter that has the published client, installing it when needed.

    Only one process of a parallel run installs; the others wait for it.
    """
    python = HOME / "bin" / "python"
    ready = HOME / f"ready-{VERSION}"
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with (HOME.parent / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not ready.exists():
            venv.create(HOME, clear=True, with_pip=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", f"eventdbx=={VERSION}"],
                env=outside(),
                check=True,
            )
            ready.touch()
    return python


class Refused(Exception):
    """The client raised: its exception class, error code and message."""

    def __init__(self, kind: str, code: str, message: str) -> None:
        super().__init__(kind, code, message)
        self.kind, self.code, self.message = kind, code, message


class Client:
    """The published client in its own process; driver.py says what it can be asked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [client_python(), "-W", "ignore", Path(__file__).with_name("driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Call a method and return its result; raise Refused with the exception it raised."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"call": method, "with": arguments}), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(*answer["error"])
        return answer["ok"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@cache
def running(mode: str, tests: str) -> Workspace:
    """Return the server that all tests of this name share; it ends with the test process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = set_up(mode, Path(folder.name) / "database")
    workspace.start()
    atexit.register(workspace.stop)
    return workspace


@cache
def client() -> Client:
    """Return the client process that all tests share."""
    process = Client()
    atexit.register(process.close)
    return process
