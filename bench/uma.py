"""UmaDB: its server as the Python package brings it, started, filled, weighed, restarted.

Two servers, because one option of theirs is a matter of the load: the first has the defaults, the
second does not write zeroes ahead of its data, which is quicker for batches on some disks. Both
sync each commit before they acknowledge it (two ``fdatasync``). How clients use them is in
:mod:`bench.uma_threads`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import umadb

from bench import workload
from bench.machine import folder_bytes, free_port, proportional_bytes
from bench.sides import PeerMissing

PROGRAM = (sys.executable, "-c", "from umadb.umadb_server_cli import main; main()")
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "unfilled": ("--zero-fill-pages", "false"),
}
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0


def tag_of(identifier: str) -> str:
    """Return the tag that marks the events of an aggregate."""
    return f"{workload.AGGREGATE_TYPE}:{identifier}"


def query_of(identifier: str) -> umadb.Query:
    """Return the query that finds the events of an aggregate."""
    return umadb.Query([umadb.QueryItem(tags=[tag_of(identifier)])])


def event_of(identifier: str, data: bytes) -> umadb.Event:
    """Return an event of an aggregate, with the metadata that every side stores."""
    return umadb.Event(
        workload.EVENT_TYPE, data, tags=[tag_of(identifier)], metadata=workload.METADATA_PAIRS
    )


class Store:
    """One server in a folder of its own, from ``start`` to ``close``."""

    def __init__(self, settings: str = "default") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-umadb-"))
        self.port = free_port()
        self._settings = SETTINGS[settings]
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process number of the running server."""
        assert self._server is not None, "the server does not run"
        return self._server.pid

    def start(self) -> float:
        """Start the server and return the seconds until the first answer."""
        before = time.perf_counter()
        with (self.folder / "server.log").open("ab") as output:
            self._server = subprocess.Popen(
                [*PROGRAM, "--listen", f"127.0.0.1:{self.port}",
                 "--db-path", str(self.folder / "uma.db"), *self._settings],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        while True:
            try:
                umadb.Client(self.url).head()
                return time.perf_counter() - before
            except Exception as error:
                late = time.perf_counter() - before > START_TIMEOUT_S
                if late or self._server.poll() is not None:
                    raise PeerMissing(f"the server of umadb does not start: {error}") from None
                time.sleep(0.005)

    def fill(self, long_events: int) -> None:
        """Write everything that exists before the clock starts, a thousand events in a batch."""
        bodies = [workload.text_of(value).encode() for value in workload.payloads()]
        client = umadb.Client(self.url)
        batch: list[umadb.Event] = []
        for identifier, events in workload.histories(long_events).items():
            batch += (event_of(identifier, bodies[n % len(bodies)]) for n in range(events))
            if len(batch) >= 1_000:
                client.append(batch)
                batch = []
        if batch:
            client.append(batch)

    def memory_bytes(self) -> int:
        """Return what the server holds."""
        return proportional_bytes(self.pid)

    def disk(self) -> tuple[int, int]:
        """Return the bytes of its file, those reserved ahead included, and the events in it."""
        return folder_bytes(self.folder), umadb.Client(self.url).head() or 0

    def restart(self) -> float:
        """Stop the server in order, start it, and return the seconds of the start."""
        self._stop()
        return self.start()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)
