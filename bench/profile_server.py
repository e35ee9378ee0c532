"""Where the microseconds of an operation go: our daemon under a profiler, with a real client.

``python bench/profile_server.py --how twisted --clients 64``. Sampling (the default) looks at the
stack after every millisecond of processor time and disturbs little; ``--exact`` counts every call
with cProfile, which makes small functions look more expensive than they are. Commits are timed
one by one in both.
"""

from __future__ import annotations

import argparse
import atexit
import cProfile
import io
import json
import os
import pstats
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

SAMPLE_S = 0.001
OUTPUT = "BENCH_PROFILE_OUTPUT"
EXACT = "BENCH_PROFILE_EXACT"


def place_of(code: Any) -> str:
    """Return where a function is: its file inside the package, or the package it is of."""
    path: str = code.co_filename
    for mark in ("/eventdbx/", "/twisted/", "/zope/", "/bench/"):
        if mark in path:
            return mark.strip("/") + "/" + path.rsplit(mark, 1)[1]
    return path.rsplit("/", 1)[-1]


def room_of(place: str) -> str:
    """Return the part of the program that a place belongs to."""
    parts = place.split("/")
    if parts[0] != "eventdbx":
        return parts[0]
    if parts[1] == "wire":
        return place.removesuffix(".py")
    return "/".join(parts[:2]).removesuffix(".py")


class Sampler:
    """Counts stacks of the main thread, one for each bit of processor time."""

    def __init__(self) -> None:
        self.leaves: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.samples = 0

    def start(self) -> None:
        """Begin; the timer counts the processor time of the whole process."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        self.samples += 1
        leaf = True
        seen = set()
        while frame is not None:
            code = frame.f_code
            place = place_of(code)
            name = f"{place}:{code.co_qualname}"
            if leaf:
                self.leaves[room_of(place)] += 1
                self.lines[name] += 1
                leaf = False
            if name not in seen:
                seen.add(name)
                self.within[name] += 1
            frame = frame.f_back

    def document(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "samples": self.samples,
            "rooms": self.leaves.most_common(),
            "functions": self.lines.most_common(45),
            "within": self.within.most_common(60),
        }


class Commits:
    """Times every write and sync of the store."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float]] = []

    def watch(self) -> None:
        """Put a stopwatch around the RocksDB adapter's ``write``."""
        from eventdbx.storage import rocks

        original = rocks.RocksStore.write
        found = self.found

        def write(self: rocks.RocksStore, changes: Any, *, sync: bool) -> None:
            before = time.perf_counter()
            original(self, changes, sync=sync)
            found.append((len(changes), time.perf_counter() - before))

        rocks.RocksStore.write = write  # type: ignore[method-assign]


def inside() -> None:
    """Be the daemon, watched; the findings are written when it ends or at SIGUSR2."""
    commits = Commits()
    commits.watch()
    sampler, exact = Sampler(), cProfile.Profile()
    is_exact = os.environ.get(EXACT) == "1"

    def begin(_number: int, _frame: FrameType | None) -> None:
        commits.found.clear()
        if is_exact:
            exact.enable()
        else:
            sampler.start()

    def end() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        document = sampler.document()
        if is_exact:
            exact.disable()
            text = io.StringIO()
            pstats.Stats(exact, stream=text).sort_stats("tottime").print_stats(45)
            document = {"text": text.getvalue()}
        document["commits"] = commits.found
        Path(os.environ[OUTPUT]).write_text(json.dumps(document), encoding="utf-8")

    signal.signal(signal.SIGUSR2, begin)
    atexit.register(end)
    from eventdbx.surfaces.cli.main import main as dbx

    sys.exit(dbx())


def processor_s(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="profile_server")
    parser.add_argument(
        "--work", default="append", choices=["append", "batch", "get", "select", "list", "events"]
    )
    parser.add_argument("--how", default="twisted", choices=["blocking", "twisted"])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--depth", type=int, default=1, help="calls on their way per connection")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--exact", action="store_true", help="cProfile instead of sampling")
    parser.add_argument("--plain", action="store_true", help="without encryption")
    parser.add_argument("--functions", type=int, default=30, help="lines of each table")
    return parser.parse_args(arguments)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Profile one kind of work and print where the time went."""
    from bench import loading
    from bench.client import ClientProcess
    from bench.daemon import Daemon
    from bench.machine import pin_to_cores

    options = parse(arguments)
    pin_to_cores()
    daemon = Daemon(
        settings=("--no-noise",) if options.plain else (),
        command=[sys.executable, __file__, "--inside"],
        environment={EXACT: "1" if options.exact else "0"},
    )
    output = daemon.folder / "profile.json"
    daemon.environment[OUTPUT] = str(output)
    try:
        daemon.start()
        loading.load_histories(daemon, 1_000)
        settings = {"port": daemon.port, "token": daemon.token, "plain": options.plain}
        client = ClientProcess("ours", settings)
        job = {
            "work": options.work, "mode": "ours", "how": options.how, "clients": options.clients,
            "depth": options.depth, "seconds": 0.2, "options": {},
        }  # fmt: skip
        client.send(job)
        client.receive()
        os.kill(daemon.pid, signal.SIGUSR2)
        before = processor_s(daemon.pid), processor_s(client.pid)
        client.send({**job, "seconds": options.seconds})
        outcome = client.receive()
        used = processor_s(daemon.pid) - before[0], processor_s(client.pid) - before[1]
        client.close()
        daemon.stop()
        show(json.loads(output.read_text()), outcome.operations, outcome.rate, used, options)
    finally:
        daemon.close()
    return 0


def show(
    found: dict[str, Any],
    operations: int,
    rate: float,
    used: tuple[float, float],
    options: argparse.Namespace,
) -> None:
    """Print the findings, in microseconds of the daemon for one operation."""
    each = used[0] / max(operations, 1) * 1e6
    print(
        f"{options.work}, {options.how}, {options.clients} clients, {options.depth} deep:"
        f" {rate:,.0f}/s; processor µs per operation: daemon {each:.1f},"
        f" client {used[1] / max(operations, 1) * 1e6:.1f}"
    )
    commits = found["commits"]
    if commits:
        total = sum(seconds for _keys, seconds in commits)
        keys = sum(count for count, _seconds in commits)
        print(
            f"{len(commits)} commits, {operations / len(commits):.1f} operations and"
            f" {keys / len(commits):.1f} keys each, {total / len(commits) * 1e3:.2f} ms each"
        )
    if "text" in found:
        print(found["text"])
        return
    samples = max(found["samples"], 1)
    for title, key in (
        ("by part, own time", "rooms"),
        ("by function, own time", "functions"),
        ("by function, with what it calls", "within"),
    ):
        print(f"\n{title} (µs per operation, share)")
        # Frames that are in every sample say nothing.
        telling = [each for each in found[key] if each[1] < samples * 0.96]
        for name, count in telling[: options.functions]:
            print(f"{count / samples * each:8.1f}  {count / samples:6.1%}  {name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        del sys.argv[1]
        inside()
    sys.exit(main())
