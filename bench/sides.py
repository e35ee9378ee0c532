"""The databases of one run: started, filled, given jobs, weighed, restarted, removed.

Each side keeps its client processes. What jobs there are is in :mod:`bench.plan`.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol

from bench import loading
from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.embedded import Embedded
from bench.measure import Outcome, joined
from bench.plan import Row, Style


class PostgresMissing(Exception):
    """PostgreSQL, or the library to reach it, is not on this machine."""


class Weight(NamedTuple):
    """What a database occupies after the run."""

    memory_bytes: int
    disk_bytes: int
    events: int
    restart_s: float
    recovery_s: float | None
    """The start after a kill -9; None where it was not tried."""


class Side(Protocol):
    """One database with its clients."""

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once."""
        ...

    def weigh(self) -> Weight:
        """Return what it occupies; it is restarted by this."""
        ...

    def close(self) -> None:
        """Stop it and remove its files."""
        ...


def job_of(row: Row, style: Style, mode: str, seconds: float, seed: int) -> dict[str, Any]:
    """Return the job for one client process."""
    return {
        "work": row.work,
        "mode": mode,
        "how": style.how,
        "transport": style.transport,
        "clients": row.clients // style.processes,
        "depth": style.depth,
        "seconds": seconds,
        "options": {**row.options, "seed": seed},
    }


class OurSide:
    """Our daemon and one client process."""

    def __init__(self, long_events: int, *, plain: bool) -> None:
        self._daemon = Daemon(settings=("--no-noise",) if plain else ())
        self._daemon.start()
        loading.load_histories(self._daemon, long_events)
        settings = {"port": self._daemon.port, "token": self._daemon.token, "plain": plain}
        self._client = ClientProcess("ours", settings)

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once."""
        self._client.send(job_of(row, style, mode, seconds, seed))
        return self._client.receive()

    def weigh(self) -> Weight:
        """Return what it occupies; stopped once in order and killed once by this."""
        memory = self._daemon.memory_bytes()
        events = loading.count_events(self._daemon)
        self._daemon.stop()
        disk = self._daemon.disk_bytes()
        restart = self._daemon.start()
        loading.append_some(self._daemon, 1_000)
        self._daemon.kill()
        recovery = self._daemon.start()
        return Weight(memory, disk, events, restart, recovery)

    def close(self) -> None:
        """Stop the daemon and remove its workspace."""
        self._client.close()
        self._daemon.close()


class PostgresSide:
    """A PostgreSQL cluster and two client processes."""

    def __init__(self, long_events: int) -> None:
        try:
            from bench.postgres import Cluster
        except ImportError as error:
            raise PostgresMissing(f"{error} (pip install 'psycopg[binary]')") from None
        self._cluster = Cluster()
        self._clients: list[ClientProcess] = []
        try:
            self._cluster.start()
            self._cluster.create_tables(long_events)
        except BaseException:
            self._cluster.close()
            raise
        settings = {"unix": self._cluster.socket_dsn, "tcp": self._cluster.tcp_dsn}
        self._clients = [ClientProcess("postgres", settings) for _process in range(2)]

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once, in as many processes as the style wants."""
        chosen = self._clients[: style.processes]
        for index, client in enumerate(chosen):
            client.send(job_of(row, style, mode, seconds, seed * 2 + index))
        return joined([client.receive() for client in chosen])

    def weigh(self) -> Weight:
        """Return what it occupies; it is restarted by this."""
        memory = self._cluster.memory_bytes()
        disk, events = self._cluster.disk()
        return Weight(memory, disk, events, self._cluster.restart(), None)

    def close(self) -> None:
        """Stop the cluster and remove its files."""
        for client in self._clients:
            client.close()
        self._cluster.close()


class SqliteSide:
    """An SQLite file, filled here and then used by one client process."""

    def __init__(self, long_events: int) -> None:
        self._database = Embedded()
        self._database.create_tables(long_events)
        self._client = ClientProcess("sqlite", {"folder": str(self._database.folder)})

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once."""
        self._client.send(job_of(row, style, mode, seconds, seed))
        return self._client.receive()

    def weigh(self) -> Weight:
        """Return what it occupies; its memory is that of its client and not counted."""
        self._client.close()
        disk, events = self._database.disk()
        before = time.perf_counter()
        self._database.restart()
        return Weight(0, disk, events, time.perf_counter() - before, None)

    def close(self) -> None:
        """Remove the file."""
        self._client.close()
        self._database.close()
