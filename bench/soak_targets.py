"""Where events of the soak go: web hooks of five tempers, and a read model in a process plugin.

What must hold in the end is asked of each here; when it is asked is in :mod:`bench.soak`.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.daemon import ROOT, Daemon
from bench.loading import HOST

SLOW_MS = 30
BATCH = 100
THIRD_BATCH = 20
CONCURRENCY = 32
READ_MODEL = "readmodel"

Versions = Mapping[str, int]
"""The newest version of each aggregate, by ``type/id``."""


class Broken(Exception):
    """A plugin did not get what it was promised; the message says what."""


class Hook:
    """A web hook in a process of its own (:mod:`bench.sinks`) that answers in one way.

    Without ``answer`` nobody listens, until it is revived.
    """

    def __init__(self, name: str, answer: str | None, **options: Any) -> None:
        self.name = name
        self.options = options
        self._process: subprocess.Popen[str] | None = None
        # Bound and not listening: refused, and nobody else's as long as this lives.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self._port = self._reserved.getsockname()[1]
        if answer is not None:
            self._listen(answer)

    def _listen(self, answer: str) -> None:
        self._reserved.close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sinks", "--port", str(self._port), "--answer", answer],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until it listens, if it ever will."""
        if self._process is not None:
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise Broken(f"the sink of {self.name} did not start")

    def revive(self) -> None:
        """Accept from now on whatever comes."""
        if self._process is None:
            self._listen("200")
            self.ready()
            return
        asked = urllib.request.Request(f"http://{HOST}:{self._port}/answer?200", method="POST")
        urllib.request.urlopen(asked, timeout=30).close()

    @property
    def is_single(self) -> bool:
        """Say whether each of its events comes alone."""
        return "batch" not in self.options

    def entry(self) -> dict[str, Any]:
        """Return the plugin's entry."""
        endpoint = f"http://{HOST}:{self._port}/events"
        config = {"type": "http", "endpoint": endpoint}
        return {"name": self.name, "enabled": True, "config": config, **self.options}

    def counts(self) -> dict[str, int]:
        """Return what came, nothing where nobody listens."""
        found: dict[str, int] = self._ask("counts") if self._process else {}
        return found

    def received(self) -> int:
        """Return how many different events came."""
        return self.counts().get("distinct", 0)

    def check(self, wanted: Versions) -> None:
        """Raise Broken unless it got every event, in order, and repetitions under their ids."""
        counts = self.counts()
        for fault in ("gaps", "misused", "unreadable", *(("unkeyed",) if self.is_single else ())):
            if counts[fault]:
                raise Broken(f"{self.name}: {counts[fault]} {fault}: {counts}")
        compare(self.name, self._ask("last"), wanted)

    def close(self) -> None:
        """End the process."""
        self._reserved.close()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{HOST}:{self._port}/{path}", timeout=60) as answer:
            return json.load(answer)


PROGRAM = """#!{python}
import sqlite3
import sys

sys.path.insert(0, {root!r})
from eventdbx.plugin import SqliteCheckpoint, projection, run

database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = NORMAL")
database.execute(
    "CREATE TABLE IF NOT EXISTS kept"
    " (name TEXT, version INTEGER, key TEXT UNIQUE, PRIMARY KEY (name, version))"
)


@projection(checkpoint=SqliteCheckpoint(database), batch={batch})
def keep(events):
    for event in events:
        name = event.aggregate_type + "/" + event.aggregate_id
        before = database.execute("SELECT max(version) FROM kept WHERE name = ?", (name,))
        last = before.fetchone()[0] or 0
        if event.version != last + 1:
            raise ValueError(f"version {{event.version}} of {{name}} came after {{last}}")
        database.execute("INSERT INTO kept VALUES (?, ?, ?)", (name, event.version, event.key))


run(keep)
"""
"""Refuses what is out of order or comes twice, and so would never have all."""


class ReadModel:
    """A process plugin made with the SDK, which keeps every event in SQLite."""

    name = READ_MODEL

    def __init__(self, folder: Path) -> None:
        self._database = folder / "kept.db"
        self.program = folder / READ_MODEL
        text = PROGRAM.format(python=sys.executable, root=str(ROOT), batch=BATCH)
        self.program.write_text(text)
        self.program.chmod(0o755)

    def install(self, daemon: Daemon) -> None:
        """Install the program."""
        daemon.run("plugin", "install", READ_MODEL, "1.0.0", "--source", str(self.program))

    def entry(self) -> dict[str, Any]:
        """Return the plugin's entry."""
        config = {
            "type": "process",
            "name": READ_MODEL,
            "version": "1.0.0",
            "args": [str(self._database)],
            "ack": True,
            "max_in_flight": 4 * BATCH,
        }
        options = {"batch": {"max_events": BATCH}, "max_attempts": 100}
        return {"name": self.name, "enabled": True, "config": config, **options}

    def received(self) -> int:
        """Return how many events it has kept."""
        return int(self._rows("SELECT count(*) FROM kept")[0][0])

    def check(self, wanted: Versions) -> None:
        """Raise Broken unless it has every event once."""
        found = self._rows("SELECT name, max(version), count(*) FROM kept GROUP BY name")
        for name, version, count in found:
            if version != count:
                raise Broken(f"{self.name}: {count} events of {name}, the last is {version}")
        compare(self.name, {name: version for name, version, _count in found}, wanted)

    def _rows(self, query: str) -> list[Any]:
        if not self._database.exists():
            return [(0,)]
        database = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return [(0,)]
            raise
        finally:
            database.close()


def compare(name: str, found: Versions, wanted: Versions) -> None:
    """Raise Broken unless the newest versions are those of the store."""
    wrong = {
        each: (found.get(each, 0), wanted.get(each, 0))
        for each in {*found, *wanted}
        if found.get(each, 0) != wanted.get(each, 0)
    }
    if wrong:
        shown = dict(sorted(wrong.items())[:5])
        raise Broken(f"{name}: {len(wrong)} aggregates are not whole (found, wanted): {shown}")


def fast_hook() -> Hook:
    """Start the web hook that answers at once."""
    return Hook("fast", "200", batch={"max_events": BATCH}, concurrency=2)


def healthy_hooks() -> list[Hook]:
    """Start the web hooks that accept in the end whatever is sent."""
    often = {"first_secs": 0.2, "factor": 2, "max_secs": 2}
    return [
        fast_hook(),
        Hook("slow", f"late:{SLOW_MS}", concurrency=CONCURRENCY),
        Hook(
            "third", "third", batch={"max_events": THIRD_BATCH}, concurrency=4,
            backoff=often, max_attempts=100,
        ),
    ]  # fmt: skip


def sick_hooks() -> list[Hook]:
    """Start one that hangs; nobody listens for the other."""
    batch = {"max_events": BATCH}
    return [Hook("dead", None, batch=batch), Hook("hanging", "nothing", batch=batch)]
