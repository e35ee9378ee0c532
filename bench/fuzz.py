"""The wire fuzzer: very many connections that break the protocol in every way we could think of.

``python bench/fuzz.py --connections 100000``. While they come and afterwards the daemon must
answer an ordinary client, and have a set of schemas in force that somebody sent as a whole; when
they have gone it must hold no connection, no more files than before, about as much memory as after
the first half of them, and its log must tell of no fault in the program. The kinds of peers are in
:mod:`bench.fuzz_peers`, :mod:`bench.fuzz_schemas` and :mod:`bench.fuzz_plugins`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import loading
from bench.daemon import Daemon
from bench.fuzz_peers import PEERS, Peer, Recorded, Unanswered
from bench.fuzz_plugins import followers, plugin_operations
from bench.fuzz_schemas import good_set, half, huge_schemas, schema_operations
from bench.machine import descriptors
from eventdbx.errors import EventDBXError

ADDRESSES = 60
"""Peers come from so many loopback addresses: closed connections occupy ports for a minute."""

MEMORY_MAX = 256 * 2**20
"""At any time: the program, the store's write buffers and block cache, and the peers at once."""

MEMORY_GROWTH_MAX = 24 * 2**20
"""In the second half of the run, when buffers and caches have their size: no room for a leak."""

SETTLE_S = 15.0
"""Longer than the hello timeout, which ends those that say nothing."""

HALF_OPEN = 200
"""So many of the silent ones are held until the daemon closes them itself."""

BEHAVIOURS = (*PEERS, schema_operations, schema_operations, plugin_operations, followers)

HUGE_EVERY = 200
"""One of so many peers sends a set of schemas that keeps the daemon busy for a second."""

CHECKS = 20
"""How often an ordinary client looks in during the run."""


class Report(NamedTuple):
    """What was found; ``problems`` is empty when the daemon took it all."""

    connections: int
    seconds: float
    problems: list[str]
    kinds: dict[str, int]
    memory_before: int
    memory_after: int


class Fuzzer:
    """Many peers against one daemon."""

    def __init__(self, daemon: Daemon, *, seed: int, at_once: int) -> None:
        self._daemon = daemon
        self._seed = seed
        self._recorded = Recorded(daemon.token)
        self._gate = asyncio.Semaphore(at_once)
        self.kinds: Counter[str] = Counter()
        self.problems: list[str] = []

    async def run(self, first: int, count: int) -> None:
        """Let the peers with these numbers come, and wait until the last has gone."""
        running: set[asyncio.Task[None]] = set()
        for number in range(first, first + count):
            await self._gate.acquire()
            task = asyncio.create_task(self._one(number))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)

    async def _one(self, number: int) -> None:
        rng = random.Random(f"{self._seed}/{number}")
        behave = huge_schemas if number % HUGE_EVERY == 0 else rng.choice(BEHAVIOURS)
        self.kinds[behave.__name__] += 1
        try:
            peer = await Peer.connect(self._daemon.port, rng, f"127.0.{number % ADDRESSES}.2")
            try:
                await behave(peer, self._recorded)
            finally:
                peer.close()
        except Unanswered as missing:
            self.problems.append(f"{behave.__name__} {number}: {missing}")
        except (TimeoutError, OSError, EOFError):
            pass  # The daemon may close on such peers whenever it likes.
        finally:
            self._gate.release()

    async def hold_half_open(self, count: int) -> None:
        """Open connections that say nothing, or half a hello, until the daemon closes them."""
        peers = []
        for number in range(count):
            rng = random.Random(f"{self._seed}/half/{number}")
            peer = await Peer.connect(self._daemon.port, rng, f"127.0.{number % ADDRESSES}.3")
            peers.append(peer)
            if number % 2:
                peer.send(self._recorded.hello[: rng.randrange(1, len(self._recorded.hello))])
        results = await asyncio.gather(*(peer.closed_within(SETTLE_S) for peer in peers))
        left = results.count(False)
        if left:
            self.problems.append(f"{left} of {count} silent connections were never closed")
        for peer in peers:
            peer.close()


def healthy(daemon: Daemon) -> str | None:
    """Return what is wrong with the daemon for an ordinary client, None if nothing is."""
    if daemon.process is None or daemon.process.poll() is not None:
        return "the daemon has ended"
    try:
        with loading.connect(daemon) as client:
            client.append("fuzz", "health", "looked_in", {"at": time.time()})
            if client.get("fuzz", "health") is None:
                return "an aggregate is gone"
            return half(client.schema({"do": "list"})["schemas"])
    except EventDBXError as error:
        return f"an ordinary client fails: {error}"


def _connections(daemon: Daemon) -> int:
    with loading.connect(daemon) as client:
        return int(client.status()["connections"])


def _small_again(daemon: Daemon) -> None:
    """Put a small set of schemas in force: what a large one weighs is no leak."""
    if daemon.process is not None and daemon.process.poll() is None:
        with loading.connect(daemon) as client:
            client.schema({"do": "replace", "schemas": good_set(0)})


async def _settled(daemon: Daemon, files: int) -> list[str]:
    """Wait until the daemon holds nothing of the peers any more; return what it still holds."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        # The client that asks is a connection too, and its end may not be noticed yet.
        connections = await asyncio.to_thread(_connections, daemon)
        extra = descriptors(daemon.pid) - files
        if connections <= 1 and extra <= 1:
            return []
        if time.monotonic() > deadline:
            return [f"left over: {connections - 1} connections, {extra} open files"]
        await asyncio.sleep(0.2)


async def fuzz(
    daemon: Daemon, *, connections: int, seed: int, at_once: int, half_open: int, quiet: bool
) -> Report:
    """Let so many peers loose on a running daemon."""
    start = time.monotonic()
    fuzzer = Fuzzer(daemon, seed=seed, at_once=at_once)
    problem = await asyncio.to_thread(healthy, daemon)
    if problem:
        fuzzer.problems.append(problem)
    files = descriptors(daemon.pid)
    silent = asyncio.create_task(fuzzer.hold_half_open(half_open))
    step = max(connections // CHECKS, 1)
    memory = 0
    for first in range(0, connections, step):
        await fuzzer.run(first, min(step, connections - first))
        if first <= connections // 2:
            await asyncio.to_thread(_small_again, daemon)
            memory = max(memory, daemon.resident_bytes())
        problem = await asyncio.to_thread(healthy, daemon)
        if problem:
            fuzzer.problems.append(f"after {first + step} connections: {problem}")
        if not quiet:
            rate = (first + step) / (time.monotonic() - start)
            print(f"{first + step} connections, {rate:.0f}/s, {len(fuzzer.problems)} problems,"
                  f" {daemon.resident_bytes() / 1e6:.0f} MB", flush=True)  # fmt: skip
        if daemon.process is None or daemon.process.poll() is not None:
            break
    await silent
    await asyncio.to_thread(_small_again, daemon)
    if daemon.process is not None and daemon.process.poll() is None:
        fuzzer.problems += await _settled(daemon, files)
        after = daemon.resident_bytes()
        if after - memory > MEMORY_GROWTH_MAX or after > MEMORY_MAX:
            fuzzer.problems.append(f"memory grew from {memory:,} to {after:,} bytes")
    else:
        after = 0
    fuzzer.problems += [f"log: {line}" for line in daemon.complaints()[:20]]
    return Report(connections, time.monotonic() - start, fuzzer.problems, dict(fuzzer.kinds),
                  memory, after)  # fmt: skip


def run(
    *, connections: int, seed: int, at_once: int = 200, half_open: int = HALF_OPEN,
    folder: Path | None = None, quiet: bool = False,
) -> Report:  # fmt: skip
    """Start a daemon that allows plaintext as well, fuzz it, and stop it."""
    # A peer that goes away while we write is what we want, not worth a warning each.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    daemon = Daemon(folder, settings=("--no-noise",))
    try:
        daemon.start()
        report = asyncio.run(
            fuzz(daemon, connections=connections, seed=seed, at_once=at_once,
                 half_open=half_open, quiet=quiet)
        )  # fmt: skip
        with loading.connect(daemon) as client:
            found = client.verify_store()["findings"]
            schemas = client.schema({"do": "list"})
        daemon.stop()
        daemon.start()
        with loading.connect(daemon) as client:
            if client.schema({"do": "list"}) != schemas:
                found.append("other schemas are in force after a restart")
        daemon.stop()
        return report._replace(problems=report.problems + [str(each) for each in found])
    finally:
        daemon.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzzer and print what it found; exit status 1 when there is a problem."""
    parser = argparse.ArgumentParser(description=__doc__, prog="fuzz")
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=200)
    options = parser.parse_args(arguments)
    report = run(connections=options.connections, seed=options.seed, at_once=options.at_once)
    for kind, count in sorted(report.kinds.items()):
        print(f"{count:8,}  {kind}")
    for problem in report.problems[:50]:
        print(f"PROBLEM: {problem}")
    print(
        f"{report.connections:,} connections in {report.seconds:.0f} s,"
        f" {len(report.problems)} problems, memory {report.memory_before / 1e6:.0f} MB,"
        f" then {report.memory_after / 1e6:.0f} MB"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
