"""The kill harness: kill -9 in the middle of concurrent writes, restart, look for what is lost.

``python bench/kill.py --cycles 200``. Every cycle: clients write for a random while (appends,
creations, patches, batches, expected versions, idempotency keys, pipelining), the daemon is
killed, started again (sometimes killed once more while it starts), and then must hold

- every event that was acknowledged, exactly as it was acknowledged,
- no event that nobody sent, none twice, no part of a batch without the rest,
- versions without gaps, trees that verify, positions without gaps,
- and for every write that was in doubt: its retry with the same idempotency key counts once.

The choices come from a seed; what is in flight at the moment of the kill does not.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import loading
from bench.daemon import Daemon
from bench.kill_clients import PipeliningClient, Retry, Sent, WaitingClient
from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError, IoError

ERA_CYCLES = 5
"""So many cycles write to the same aggregates, which are then only verified with the store."""

PAGE = 500
RUN_S = (0.03, 0.6)
KILL_AGAIN_SHARE = 0.15


class Lost(Exception):
    """The store breaks a promise; the message says which."""


class Harness:
    """One daemon, its clients, and everything that was ever sent in the present era."""

    def __init__(
        self, *, seed: int, clients: int = 8, folder: Path | None = None, quiet: bool = False
    ) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._clients = clients
        self._quiet = quiet
        self.daemon = Daemon(folder)
        self.sent: dict[str, Sent] = {}
        self.acknowledged = self.in_doubt = self.retried = self.kills = self.refused = 0
        self._cycle = 0

    def run(self, cycles: int) -> None:
        """Go through so many cycles; raises Lost at the first broken promise."""
        self.daemon.start()
        for number in range(cycles):
            self._cycle = number
            if number % ERA_CYCLES == 0:
                self.sent = {}
            self._one_cycle(f"era{number // ERA_CYCLES}")
            if number % ERA_CYCLES == ERA_CYCLES - 1 or number == cycles - 1:
                self._verify_everything()
            self._tell(number + 1, cycles)
        complaints = self.daemon.complaints()
        if complaints:
            raise Lost("the log complains: " + "\n".join(complaints[:20]))
        self.daemon.stop()

    def _tell(self, done: int, cycles: int) -> None:
        if not self._quiet and (done % 10 == 0 or done == cycles):
            print(
                f"{done} cycles, {self.kills} kills: {self.acknowledged} acknowledged,"
                f" {self.in_doubt} in doubt, {self.retried} retried, {self.refused} refused",
                flush=True,
            )

    def _one_cycle(self, era: str) -> None:
        stop = threading.Event()
        writers = [self._writer(index, era) for index in range(self._clients)]
        threads = [
            threading.Thread(target=writer.run, args=(self.daemon, stop)) for writer in writers
        ]
        for thread in threads:
            thread.start()
        # The wait is real time on purpose: the kill is to hit commits at any stage.
        stop.wait(self._random.uniform(*RUN_S))
        self.daemon.kill()
        stop.set()
        self.kills += 1
        for thread in threads:
            thread.join()
        for writer in writers:
            if writer.fault is not None:
                raise Lost(f"cycle {self._cycle}: {writer.fault}") from writer.fault
            self.refused += writer.refused
            for sent in writer.sent:
                self.sent[sent.tag] = sent
        self._restart()
        with loading.connect(self.daemon) as client:
            self._check(client, era)
            self._retry(client)
            self._check(client, era)

    def _writer(self, index: int, era: str) -> WaitingClient | PipeliningClient:
        seed = (self._seed * 10_007 + self._cycle) * 101 + index
        kind = PipeliningClient if index % 4 == 3 else WaitingClient
        return kind(seed=seed, era=era, name=f"c{self._cycle}w{index}")

    def _restart(self) -> None:
        while self._random.random() < KILL_AGAIN_SHARE:
            self.daemon.launch()
            time.sleep(self._random.uniform(0.0, 0.8))
            self.daemon.kill()
            self.kills += 1
        self.daemon.start()

    def _check(self, client: BlockingClient, era: str) -> None:
        stored: dict[str, dict[str, Any]] = {}
        versions: dict[str, list[int]] = {}
        for event in scan(client, era):
            tag = event["payload"].get("tag")
            sent = self.sent.get(tag)
            where = f"cycle {self._cycle}, {event['aggregate_id']} version {event['version']}"
            if sent is None:
                raise Lost(f"{where}: nobody sent {event['payload']}")
            if tag in stored:
                raise Lost(f"{where}: {tag} is stored twice")
            found = event["aggregate_id"], event["payload"], event.get("extensions")
            if found != (sent.aggregate_id, sent.stored_payload, sent.extensions):
                raise Lost(f"{where}: {tag} was sent as {sent}, found {found}")
            stored[tag] = event
            versions.setdefault(event["aggregate_id"], []).append(event["version"])
        self._check_acknowledged(stored)
        for name, numbers in versions.items():
            if sorted(numbers) != list(range(1, len(numbers) + 1)):
                raise Lost(f"cycle {self._cycle}, {name}: versions {sorted(numbers)}")
            head = client.get(era, name)
            if head is None or head["version"] != len(numbers):
                raise Lost(f"cycle {self._cycle}, {name}: head {head} for {len(numbers)} events")
            if client.verify(era, name) != head["merkle_root"]:
                raise Lost(f"cycle {self._cycle}, {name}: the tree does not verify")

    def _check_acknowledged(self, stored: dict[str, dict[str, Any]]) -> None:
        groups: dict[str, list[bool]] = {}
        for tag, sent in self.sent.items():
            event = stored.get(tag)
            if sent.group is not None:
                groups.setdefault(sent.group, []).append(event is not None)
            if sent.answer is None:
                continue
            if event is None:
                raise Lost(f"cycle {self._cycle}: {tag} was acknowledged and is gone")
            different = sent.different(event)
            if different:
                raise Lost(f"cycle {self._cycle}: {tag} was acknowledged otherwise: {different}")
        for group, there in groups.items():
            if any(there) and not all(there):
                raise Lost(f"cycle {self._cycle}: {sum(there)} of {len(there)} of batch {group}")
        self.acknowledged = sum(sent.answer is not None for sent in self.sent.values())
        self.in_doubt = len(self.sent) - self.acknowledged

    def _retry(self, client: BlockingClient) -> None:
        """Send again what has a key: all that is in doubt, and some that was acknowledged."""
        together: dict[Retry, list[Sent]] = {}
        for sent in self.sent.values():
            if sent.retry is not None and sent.cycle == f"c{self._cycle}":
                together.setdefault(sent.retry, []).append(sent)
        for retry, members in together.items():
            known = members[0].answer is not None
            if known and self._random.random() < 0.7:
                continue
            try:
                answer = retry(client)
            except IoError:
                raise
            except EventDBXError as error:
                raise Lost(f"the retry of {members[0].tag} was refused: {error}") from error
            self.retried += 1
            for sent in members:
                sent.settle(answer)

    def _verify_everything(self) -> None:
        events = loading.count_events(self.daemon)
        if not self._quiet:
            print(f"verified {events} events and the commit log", flush=True)


def scan(client: BlockingClient, aggregate_type: str) -> list[dict[str, Any]]:
    """Return all events of a type, in pages."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.scan_events(aggregate_type=aggregate_type, cursor=cursor, take=PAGE)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def main(arguments: list[str] | None = None) -> int:
    """Run the harness; exit status 1 when something was lost, with the workspace kept."""
    parser = argparse.ArgumentParser(description=__doc__, prog="kill")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    harness = Harness(seed=options.seed, clients=options.clients)
    try:
        harness.run(options.cycles)
    except Lost as lost:
        print(f"LOST: {lost}\nworkspace kept at {harness.daemon.folder}", file=sys.stderr)
        harness.daemon.kill()
        return 1
    harness.daemon.close()
    print(f"{options.cycles} cycles: nothing lost, nothing invented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
