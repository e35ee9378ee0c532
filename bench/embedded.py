"""SQLite in the client's own process: write-ahead log, every commit synced.

Several clients are threads that share one connection under a lock, which is faster than a
connection each: SQLite has one writer at a time and its waiting is by polling.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import Outcome, joined, repeat
from bench.workload import (
    ACTOR_GROUP,
    ACTOR_USER,
    AGGREGATE_TYPE,
    EVENT_TYPE,
    METADATA_TEXT,
    PAGE_ITEMS,
    SELECTED,
    SHORT_EVENTS,
    Choice,
    aggregate_id,
    histories,
    payloads,
    text_of,
)

TABLES = """
create table heads (
    aggregate_type text not null, aggregate_id text not null, version integer not null,
    state text not null, created_at real not null, updated_at real not null,
    primary key (aggregate_type, aggregate_id)
) without rowid;
create table events (
    event_id integer primary key autoincrement,
    aggregate_type text not null, aggregate_id text not null, version integer not null,
    event_type text not null, payload text not null, metadata text, created_at real not null,
    actor_group text, actor_user text,
    unique (aggregate_type, aggregate_id, version)
);
"""
VERSION = "select version from heads where aggregate_type = ? and aggregate_id = ?"
INSERT = (
    "insert into events (aggregate_type, aggregate_id, version, event_type, payload, metadata,"
    " created_at, actor_group, actor_user) values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPSERT = (
    "insert into heads values (?, ?, ?, ?, ?, ?) on conflict (aggregate_type, aggregate_id)"
    " do update set version = excluded.version, state = json_patch(state, excluded.state),"
    " updated_at = excluded.updated_at"
)
EVENTS = (
    "select event_id, version, event_type, payload, metadata, created_at, actor_group,"
    " actor_user from events where aggregate_type = ? and aggregate_id = ? order by version limit "
)
READS = {
    "get": (
        "select version, state, created_at, updated_at from heads"
        " where aggregate_type = ? and aggregate_id = ?"
    ),
    "select": (
        "select " + ", ".join(f"json_extract(state, '$.{name}')" for name in SELECTED)
        + " from heads where aggregate_type = ? and aggregate_id = ?"
    ),
    "list": (
        "select aggregate_type, aggregate_id, version, state, created_at, updated_at from heads"
        " where (aggregate_type, aggregate_id) > (?, ?)"
        f" order by aggregate_type, aggregate_id limit {PAGE_ITEMS}"
    ),
    "events": f"{EVENTS}{PAGE_ITEMS}",
    "ten": f"{EVENTS}{SHORT_EVENTS}",
}  # fmt: skip


class Embedded:
    """One database file in a folder of its own."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="bench-sqlite-"))
        self.path = self.folder / "events.sqlite"
        self._lock = threading.Lock()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        return connection

    def create_tables(self, long_events: int) -> None:
        """Make the tables and everything that is read or compared."""
        self._connection.executescript(TABLES)
        with self._lock:
            self._connection.execute("begin immediate")
            self._load(histories(long_events))
            self._connection.execute("commit")
        self._connection.execute("pragma wal_checkpoint(truncate)")

    def _load(self, wanted: dict[str, int]) -> None:
        bodies = payloads()
        for identifier, events in wanted.items():
            for index in range(events):
                self._append(identifier, bodies[index % len(bodies)])

    def _append(self, identifier: str, body: dict[str, Any]) -> None:
        connection = self._connection
        text, now = text_of(body), time.time()
        row = connection.execute(VERSION, (AGGREGATE_TYPE, identifier)).fetchone()
        version = row[0] + 1 if row else 1
        connection.execute(
            INSERT,
            (AGGREGATE_TYPE, identifier, version, EVENT_TYPE, text, METADATA_TEXT, now,
             ACTOR_GROUP, ACTOR_USER),
        )  # fmt: skip
        connection.execute(UPSERT, (AGGREGATE_TYPE, identifier, version, text, now, now))

    def _step(self, work: str, options: dict[str, Any], seed: int) -> Callable[[], None]:
        choice = Choice(seed)
        if work in READS:
            return self._read(work, choice)
        appends = choice.appends(options.get("among"))
        batches = choice.batches(options.get("spread", 1))

        def write() -> None:
            if work == "batch":
                batch = next(batches)
            else:
                batch = [next(appends)]
            with self._lock:
                self._connection.execute("begin immediate")
                for identifier, body in batch:
                    self._append(identifier, body)
                self._connection.execute("commit")

        return write

    def _read(self, work: str, choice: Choice) -> Callable[[], None]:
        names = choice.names(work)
        query = READS[work]

        def read() -> None:
            with self._lock:
                rows = self._connection.execute(query, (AGGREGATE_TYPE, next(names))).fetchall()
            assert rows

        return read

    def run(self, work: str, clients: int, seconds: float, options: dict[str, Any]) -> Outcome:
        """Do one kind of work with so many threads, each waiting for its own call."""
        seed = options.get("seed", 0) * 1_000
        if clients == 1:
            return repeat(self._step(work, options, seed), seconds)
        outcomes: list[Outcome] = []
        ready = threading.Barrier(clients)

        def client(number: int) -> None:
            step = self._step(work, options, number)
            ready.wait()
            outcomes.append(repeat(step, seconds))

        started = [threading.Thread(target=client, args=(seed + n,)) for n in range(clients)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        return joined(outcomes)

    def disk(self) -> tuple[int, int]:
        """Return the bytes of the file after a checkpoint, and the number of events."""
        self._connection.execute("pragma wal_checkpoint(truncate)")
        (events,) = self._connection.execute("select count(*) from events").fetchone()
        return self.path.stat().st_size, int(events)

    def restart(self) -> float:
        """Close the file, open it again, and return the seconds until the first answer."""
        self._connection.close()
        before = time.perf_counter()
        self._connection = self._open()
        self._connection.execute(READS["get"], (AGGREGATE_TYPE, aggregate_id(0))).fetchone()
        return time.perf_counter() - before

    def close(self) -> None:
        """Close the file and remove it."""
        self._connection.close()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
