"""The databases of one run: started, filled, given jobs, weighed, restarted, removed.

Each side keeps its client processes. What jobs there are is in :mod:`bench.plan`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from bench import loading
from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.embedded import Embedded
from bench.measure import Outcome, joined
from bench.plan import Row, Style


class PeerMissing(Exception):
    """A database, or the library to reach it, is not on this machine."""


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


def job_of(
    row: Row, style: Style, mode: str, seconds: float, seed: int, process: int = 0
) -> dict[str, Any]:
    """Return the job for one client process, the given one of those that do it."""
    return {
        "work": row.work,
        "mode": mode,
        "how": style.how,
        "transport": style.transport,
        "clients": row.clients // style.processes,
        "depth": style.depth,
        "seconds": seconds,
        "options": {
            **row.options,
            "seed": seed * style.processes + process,
            "process": (process, style.processes),
        },
    }


def measured(
    clients: Sequence[ClientProcess],
    row: Row,
    style: Style,
    mode: str,
    seconds: float,
    seed: int,
    servers: Sequence[int] = (),
) -> Outcome:
    """Do a row's work once, in as many processes as the style wants; ``servers`` are metered."""
    chosen = clients[: style.processes]
    for index, client in enumerate(chosen):
        job = job_of(row, style, mode, seconds, seed, index)
        client.send(job | {"servers": list(servers)})
    return joined([client.receive() for client in chosen])


class OurSide:
    """Our daemon and its client processes."""

    def __init__(self, long_events: int, *, plain: bool) -> None:
        self._daemon = Daemon(settings=("--no-noise",) if plain else ())
        self._daemon.start()
        loading.load_histories(self._daemon, long_events)
        settings = {"port": self._daemon.port, "token": self._daemon.token, "plain": plain}
        self._clients = [ClientProcess("ours", settings) for _process in range(2)]

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once, in as many processes as the style wants."""
        return measured(self._clients, row, style, mode, seconds, seed, [self._daemon.pid])

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
        for client in self._clients:
            client.close()
        self._daemon.close()


class PostgresSide:
    """A PostgreSQL cluster and two client processes."""

    def __init__(self, long_events: int) -> None:
        try:
            from bench.postgres import Cluster
        except ImportError as error:
            raise PeerMissing(f"{error} (pip install 'psycopg[binary]')") from None
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
        return measured(self._clients, row, style, mode, seconds, seed)

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


class UmaSide:
    """UmaDB's servers, one for each of their settings, and two client processes."""

    def __init__(self, long_events: int) -> None:
        try:
            from bench import uma
        except ImportError as error:
            raise PeerMissing(f"{error} (pip install umadb)") from None
        self._stores = {name: uma.Store(name) for name in uma.SETTINGS}
        self._clients: list[ClientProcess] = []
        try:
            for store in self._stores.values():
                store.start()
                store.fill(long_events)
        except BaseException:
            self.close()
            raise
        settings = {name: store.url for name, store in self._stores.items()}
        self._clients = [ClientProcess("uma", settings) for _process in range(2)]

    def measure(self, row: Row, style: Style, mode: str, seconds: float, seed: int) -> Outcome:
        """Do a row's work once; the style's transport names the server."""
        server = self._stores[style.transport].pid
        return measured(self._clients, row, style, mode, seconds, seed, [server])

    def weigh(self) -> Weight:
        """Return what the server with the default settings occupies; it is restarted by this."""
        store = self._stores["default"]
        memory = store.memory_bytes()
        disk, events = store.disk()
        return Weight(memory, disk, events, store.restart(), None)

    def close(self) -> None:
        """Stop the servers and remove their files."""
        for client in self._clients:
            client.close()
        for store in self._stores.values():
            store.close()


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
