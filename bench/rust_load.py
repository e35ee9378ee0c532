"""Load on our daemon through the published Rust client, unmodified.

``python bench/rust_load.py --seconds 2``. Builds the program in ``tests/interop/rust`` in release
mode, starts a daemon that syncs every write, fills it, and prints calls a second as a table and,
with ``--json``, into a file; beside them the daemon's processor time for one call, which says more
when the machine has other things to do. Needs cargo and the Cap'n Proto compiler; says so when they
are missing. What one load does is in ``tests/interop/rust/src/load.rs``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from bisect import bisect
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import loading, machine, workload
from bench.daemon import Daemon
from tests.interop.rust_program import ToolMissing, build

Line = dict[str, Any]

AT_LEAST = {("get", 1): 2_500, ("get", 16): 6_000, ("append", 1): 1_200}
"""Calls a second that are asked for, by load and clients."""

SAMPLE_S = 0.05
"""How often the daemon's processor time is looked at."""

SLOWER_AT_MOST = 1.1
"""How much slower the last fifth of the writes to one aggregate may be than the first."""


def fill(daemon: Daemon) -> None:
    """Write the aggregates that the loads read and append to."""
    wanted = {workload.aggregate_id(number): 1 for number in range(workload.AGGREGATES)}
    for number in range(workload.SHORT_AGGREGATES):
        wanted[workload.short_id(number)] = workload.SHORT_EVENTS
    with loading.connect(daemon) as client:
        loading.fill(client, wanted.items())


def run_once(program: Path, daemon: Daemon, short_s: float, long_s: float) -> list[Line]:
    """Run every load once and return what the program printed; raises when a load fails."""
    with CpuTime(daemon.pid) as used:
        done = subprocess.run(
            [program, "load", str(short_s), str(long_s)],
            env={
                **os.environ,
                "INTEROP_PORT": str(daemon.port),
                "INTEROP_MODE": "defaults",
                "INTEROP_ROOT": daemon.token,
                "INTEROP_READER": daemon.token,
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        time.sleep(2 * SAMPLE_S)
    lines: list[Line] = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        add_processor_time(line, used)
    return lines


class CpuTime:
    """Samples how much processor time a process has used, to be asked for any moment later."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._samples: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> CpuTime:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._samples.append((time.time(), machine.processor_s(self._pid)))

    def between(self, begin: float, end: float) -> float:
        """Return the seconds used between two times of the clock."""
        times = [when for when, _used in self._samples]
        first, last = (self._samples[bisect(times, when) - 1] for when in (begin, end))
        # Samples are a little late: what is measured is spread over the time that was meant.
        return (last[1] - first[1]) * (end - begin) / max(last[0] - first[0], SAMPLE_S)


def add_processor_time(line: Line, used: CpuTime) -> None:
    """Add the daemon's microseconds for a call, and those of each fifth where there are fifths."""
    began, seconds = line["began_unix_s"], line["seconds"]
    line["server_us"] = round(used.between(began, began + seconds) / max(line["calls"], 1) * 1e6)
    fifths = line.get("fifths_per_second", [])
    line["fifths_server_us"] = [
        round(used.between(began + seconds * number / 5, began + seconds * (number + 1) / 5)
              / max(rate * seconds / 5, 1) * 1e6)
        for number, rate in enumerate(fifths)
    ]  # fmt: skip


def middle(rounds: list[list[Line]]) -> list[Line]:
    """Return each load of all rounds once: the run whose rate is the median of its rounds."""
    found: dict[tuple[str, int], list[Line]] = {}
    for line in (line for lines in rounds for line in lines):
        found.setdefault((line["load"], line["clients"]), []).append(line)
    chosen = []
    for lines in found.values():
        wanted = median(line["per_second"] for line in lines)
        chosen.append(min(lines, key=lambda line: abs(line["per_second"] - wanted)))
    return chosen


def verdict(line: Line) -> str:
    """Return what was asked of a load and whether it is met; empty when nothing was asked."""
    least = AT_LEAST.get((line["load"], line["clients"]))
    if least is not None:
        return f">= {least:,}: {'met' if line['per_second'] >= least else 'MISSED'}"
    slower = line.get("slower_at_the_end")
    if slower is None:
        return ""
    rates, costs = line["fifths_per_second"], line["fifths_server_us"]
    words = f"first fifth {rates[0]:,.0f}/s ({costs[0]} µs), last {rates[-1]:,.0f}/s"
    words += f" ({costs[-1]} µs): {slower:.2f} x slower"
    return f"{words}; <= {SLOWER_AT_MOST}: {'met' if slower <= SLOWER_AT_MOST else 'MISSED'}"


def table(lines: list[Line]) -> str:
    """Return the results as a table in Markdown."""
    rows = ["| load | clients | per second | median | p99 | server | asked for |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    rows += [
        f"| {line['load']} | {line['clients']} | {line['per_second']:,.0f} | {line['median_us']} µs"
        f" | {line['p99_us']} µs | {line['server_us']} µs | {verdict(line)} |"
        for line in lines
    ]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Build, measure, print; exit status 1 when the program cannot be built or a load fails."""
    parser = argparse.ArgumentParser(description=__doc__, prog="rust_load")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each load")
    parser.add_argument("--long-seconds", type=float, default=15.0,
                        help="length of the load on one aggregate; 0 leaves it out")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    parser.add_argument("--json", type=Path, help="write the results into this file too")
    options = parser.parse_args(arguments)
    try:
        program = build(release=True)
    except ToolMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("the program in tests/interop/rust does not build", file=sys.stderr)
        return 1
    machine.pin_to_cores()
    daemon = Daemon()
    try:
        daemon.start()
        fill(daemon)
        rounds = []
        for number in range(options.rounds):
            last = number == options.rounds - 1
            long_s = options.long_seconds if last else 0.0
            rounds.append(run_once(program, daemon, options.seconds, long_s))
        daemon.stop()
    except subprocess.CalledProcessError:
        return 1
    finally:
        daemon.close()
    lines = middle(rounds)
    print(table(lines))
    if options.json is not None:
        results = {"machine": machine.description(), "loads": lines, "rounds": rounds}
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
