"""The writers of the soak: they go on through kills, and send again under the same key."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

from bench import loading, workload
from bench.daemon import Daemon
from eventdbx.client import BlockingClient, Write
from eventdbx.errors import IoError

AGGREGATES = 200
BATCHES = (1, 1, 2, 10, 40)
"""How many events are sent at once."""

PATIENCE_S = 120.0
GONE = (IoError, OSError)


class Written:
    """What all writers share: how many events are left to write, what was acknowledged."""

    def __init__(self, events: int) -> None:
        self._lock = threading.Lock()
        self._left = events
        self._places: set[tuple[str, int]] = set()
        self.sent_again = 0
        self.fault: Exception | None = None

    def claim(self, wanted: int) -> int:
        """Return how many events to write next, at most so many; 0 when all are."""
        with self._lock:
            count = 0 if self.fault else min(wanted, self._left)
            self._left -= count
            return count

    def acknowledged(self, names: list[str], answers: list[dict[str, Any]]) -> None:
        """Note events that were answered; no place may be given to two of them."""
        with self._lock:
            for name, answer in zip(names, answers, strict=True):
                place = name, int(answer["version"])
                if place in self._places:
                    raise AssertionError(f"version {place[1]} of {name} was acknowledged twice")
                self._places.add(place)

    def versions(self) -> dict[str, int]:
        """Return the newest version of each aggregate; they have no gaps."""
        newest: dict[str, int] = {}
        counts: dict[str, int] = {}
        for name, version in self._places:
            newest[name] = max(version, newest.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
        if newest != counts:
            raise AssertionError("acknowledged versions have gaps")
        return {f"{workload.AGGREGATE_TYPE}/{name}": version for name, version in newest.items()}

    def __len__(self) -> int:
        return len(self._places)


class Writer(threading.Thread):
    """Writes until nothing is left; each write under a key of its own."""

    def __init__(self, daemon: Daemon, written: Written, seed: int) -> None:
        super().__init__(name=f"writer-{seed}", daemon=True)
        self._daemon = daemon
        self._written = written
        self._random = random.Random(seed)
        self._name = f"w{seed}"
        self._bodies = [workload.text_of(value) for value in workload.payloads(seed)]
        self._client: BlockingClient | None = None

    def run(self) -> None:
        """Called by the framework."""
        number = 0
        try:
            while count := self._written.claim(self._random.choice(BATCHES)):
                number += 1
                names = [f"s-{self._random.randrange(AGGREGATES):04d}" for _ in range(count)]
                self._written.acknowledged(names, self._surely(self._write(names, number)))
        except Exception as error:
            self._written.fault = error
        finally:
            self._leave()

    def _write(self, names: list[str], number: int) -> Callable[[BlockingClient], Any]:
        key = f"{self._name}-{number}"
        bodies = [self._bodies[(number + index) % len(self._bodies)] for index in range(len(names))]
        if len(names) == 1:
            kind, event, body = (
                workload.AGGREGATE_TYPE,
                workload.EVENT_TYPE,
                orjson.loads(bodies[0]),
            )
            return lambda client: [client.append(kind, names[0], event, body, idempotency_key=key)]
        writes: list[Write] = [loading.write_of(*pair) for pair in zip(names, bodies, strict=True)]
        return lambda client: client.commit_batch(writes, idempotency_key=key)

    def _surely(self, write: Callable[[BlockingClient], Any]) -> Any:
        """Return the answer to a write, however often it must be sent."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._client is None:
                    self._client = loading.connect(self._daemon)
                return write(self._client)
            except GONE:
                self._leave()
                self._written.sent_again += 1
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except GONE:
                pass
