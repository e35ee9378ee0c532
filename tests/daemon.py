"""A database in a folder of its own with a real daemon, for tests that need the whole program.

Everything goes through the ``dbx`` command, as it would for a user. What a test checks is not here.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.05

CHECKOUT_DBX = (
    sys.executable,
    "-c",
    "from eventdbx.surfaces.cli.main import main; raise SystemExit(main())",
)
"""The command of this checkout, whether or not it is installed."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def outside() -> dict[str, str]:
    """Return the environment without the import path that trial hands to its workers."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@cache
def running() -> Workspace:
    """Return one daemon for all tests of a process; it ends with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = Workspace(Path(folder.name) / "database")
    workspace.start()
    atexit.register(workspace.stop)
    return workspace


class Workspace:
    """A new database: ``dbx`` is the command to use, ``folder`` is made and must not exist."""

    def __init__(self, folder: Path, dbx: Sequence[str | Path] = CHECKOUT_DBX) -> None:
        self.folder = folder
        self.port = free_port()
        self._dbx = [str(part) for part in dbx]
        self._server: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._environment = {
            key: value for key, value in outside().items() if not key.startswith("EVENTDBX_")
        }
        self._environment |= {
            "HOME": str(folder),
            "EVENTDBX_LOG_DIR": str(folder / "logs"),
            "DBX_NO_UPGRADE_CHECK": "1",
        }
        if self._dbx[0] == sys.executable:
            self._environment["PYTHONPATH"] = str(ROOT)
        self.run("init")
        self.run("config", "--bind-addr", f"127.0.0.1:{self.port}", "--port", "0")

    @property
    def token(self) -> str:
        """The bootstrap token of this database."""
        return (self.folder / ".dbx" / "cli.token").read_text().strip()

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def process_id(self) -> int:
        """The id of the server's process."""
        assert self._server is not None, "the server does not run"
        return self._server.pid

    def attempt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one command, with more variables in its environment, and return how it ended."""
        return subprocess.run(
            [*self._dbx, *arguments],
            cwd=self.folder,
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def run(self, *arguments: str, **environment: str) -> str:
        """Run one command that must succeed and return what it printed."""
        done = self.attempt(*arguments, **environment)
        if done.returncode:
            command = " ".join(("dbx", *arguments))
            raise AssertionError(
                f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def spawn(self, *program: str, stdin: IO[str] | None = None) -> subprocess.Popen[str]:
        """Begin a program in the folder and the environment of this database."""
        return subprocess.Popen(
            program,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, *ports: int) -> None:
        """Start the server in the foreground and return when it takes connections.

        ``ports`` are others, at which it has to take some, too.
        """
        with (self.folder / "server.log").open("ab") as output:
            self._server = server = subprocess.Popen(
                [*self._dbx, "start", "--foreground"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        for _attempt in range(int(START_TIMEOUT_S / POLL_S)):
            try:
                for port in (self.port, *ports):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                pass
            try:
                # The pause between two attempts also notices a server that has given up.
                status = server.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the server ended with {status}\n{self.log}")
        server.kill()
        raise AssertionError(f"the server does not listen\n{self.log}")

    def send_signal(self, number: signal.Signals) -> None:
        """Send the server a signal that does not end it."""
        assert self._server is not None
        self._server.send_signal(number)

    def wait_for_log(self, part: str, *, times: int = 1) -> None:
        """Return when the server has written a text so often."""
        for _attempt in range(int(COMMAND_TIMEOUT_S / POLL_S)):
            if self.log.count(part) >= times:
                return
            time.sleep(POLL_S)
        raise AssertionError(f"{part!r} is not in the log\n{self.log}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server with a signal and return its exit status."""
        server, self._server = self._server, None
        if server is None:
            return 0
        server.send_signal(number)
        try:
            return server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            raise AssertionError(f"the server does not stop\n{self.log}") from None
