"""One daemon of ours in a workspace of its own, started and stopped as an operator does.

Used by the comparison, the kill harness and the fuzzer. What they do with it is not here.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import folder_bytes, free_port, proportional_bytes, resident_bytes

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.005

DBX = (
    sys.executable,
    "-c",
    "from eventdbx.surfaces.cli.main import main; raise SystemExit(main())",
)
"""The command of this checkout, whether or not it is installed."""

BAD_LOG_LINES = ("Traceback", "Unhandled", "never retrieved", "CRITICAL", "critical")


class DaemonFailed(Exception):
    """The daemon did not start, or did not stop as it should."""


class Daemon:
    """A workspace; ``start``, ``kill``, ``stop`` as often as needed, ``close`` at the end."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: Sequence[str] = (),
        command: Sequence[str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="bench-eventdbx-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._command = list(command or DBX)
        self.process: subprocess.Popen[bytes] | None = None
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EVENTDBX_")}
        self.environment = kept | {
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]),
            "EVENTDBX_LOG_DIR": str(self.folder / "logs"),
            "DBX_NO_UPGRADE_CHECK": "1",
            **(environment or {}),
        }
        self.run("init", "--ttl", "0")
        self.run(
            "config", "--bind-addr", f"127.0.0.1:{self.port}", "--port", "0", "--page-limit",
            "1000", *settings,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        """Run one ``dbx`` command that must succeed and return what it printed."""
        done = subprocess.run(
            [*DBX, *arguments], cwd=self.folder, env=self.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            command = " ".join(("dbx", *arguments))
            raise DaemonFailed(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def token(self) -> str:
        """The bootstrap token of the workspace."""
        return (self.folder / ".dbx" / "cli.token").read_text().strip()

    @property
    def log(self) -> str:
        """Everything the daemon has written, of all its lives."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def complaints(self) -> list[str]:
        """Return the log lines that tell of a fault in the program."""
        return [line for line in self.log.splitlines() if any(w in line for w in BAD_LOG_LINES)]

    @property
    def pid(self) -> int:
        """The process number of the running daemon."""
        assert self.process is not None, "the daemon does not run"
        return self.process.pid

    def launch(self) -> None:
        """Start the process in the foreground without waiting for it."""
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*self._command, "start", "--foreground"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> float:
        """Start in the foreground; return the seconds until the port took a connection."""
        before = time.perf_counter()
        self.launch()
        process = self.process
        assert process is not None
        while time.perf_counter() - before < START_TIMEOUT_S:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return time.perf_counter() - before
            except OSError:
                if process.poll() is not None:
                    raise DaemonFailed(f"it ended with {process.returncode}\n{self.log}") from None
                time.sleep(POLL_S)
        process.kill()
        raise DaemonFailed(f"it does not listen\n{self.log}")

    def stop(self) -> float:
        """Stop with SIGTERM; return the seconds it took; a bad exit status raises."""
        process, self.process = self.process, None
        if process is None:
            return 0.0
        before = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise DaemonFailed(f"it does not stop\n{self.log[-4000:]}") from None
        if status:
            raise DaemonFailed(f"it stopped with {status}\n{self.log[-4000:]}")
        return time.perf_counter() - before

    def kill(self) -> None:
        """Kill with SIGKILL and return when it is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def memory_bytes(self) -> int:
        """Return what the daemon holds, counted as for the peers."""
        return proportional_bytes(self.pid)

    def resident_bytes(self) -> int:
        """Return the resident memory of the daemon."""
        return resident_bytes(self.pid)

    def disk_bytes(self) -> int:
        """Return what the workspace occupies, without the logs of the program."""
        return folder_bytes(self.folder / ".dbx")

    def close(self) -> None:
        """Kill what still runs and remove the workspace, unless its folder was given."""
        self.kill()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
