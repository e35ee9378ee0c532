"""What it costs to bring many events in, and many aggregates out: ``dbx import`` and ``export``.

``python -m bench.transfer --events 1000000`` writes a file of events, each of its own
aggregate, imports it into a fresh database through a server and exports the aggregates again, then
the same without a server. Beside each import stands what plain batches of 1,000 and of 100 reach in
a database of their own, of the same events, made before the clock starts: ``of_appends`` is the
rate of the import, all of it with its check and its start, over that of the batches of 1,000;
``cpu_us_each`` is the processor time of all processes, which a busy machine does not change much.
``peak_mib`` is the largest resident memory of the command, ``server_peak_mib`` that of the server.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bench import workload
from bench.daemon import DBX, Daemon
from bench.loading import connect, write_of
from bench.machine import description, processor_s
from eventdbx.domain.commands import Write
from eventdbx.services.offline import OfflineStore
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.calls import Calls

SIZES = (1_000, 100)
PLAIN_EVENTS = 50_000
"""Events that plain batches write, for each of the sizes."""

LOOK_S = 0.1
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def bodies() -> list[str]:
    """Return the payloads that events have."""
    return [workload.text_of(value) for value in workload.payloads()]


def write_events(path: Path, events: int) -> None:
    """Write the file to import."""
    texts = bodies()
    with path.open("wb", 1 << 20) as file:
        for number in range(events):
            file.write(
                b'{"aggregate_type":"%b","aggregate_id":"%b","event_type":"%b","payload":%b,'
                b'"metadata":%b}\n'
                % (
                    workload.AGGREGATE_TYPE.encode(),
                    workload.aggregate_id(number).encode(),
                    workload.EVENT_TYPE.encode(),
                    texts[number % len(texts)].encode(),
                    workload.METADATA,
                )
            )


def writes(events: int) -> Iterator[Write]:
    """Yield the same events as writes."""
    texts = bodies()
    for number in range(events):
        yield write_of(workload.aggregate_id(number), texts[number % len(texts)])


class Plain(NamedTuple):
    """What plain batches reach: events a second, and processor time of all involved for each."""

    rate: float
    cpu_us: float


def plain_rate(
    events: int, size: int, commit: Callable[[list[Write]], object], server: int | None = None
) -> Plain:
    """Write batches of a size, which are ready beforehand; ``server`` is the process behind."""
    each = writes(events)
    batches = []
    while batch := list(islice(each, size)):
        batches.append(batch)
    busy, began = cpu_s(server), time.perf_counter()
    for one in batches:
        commit(one)
    took, busy = time.perf_counter() - began, cpu_s(server) - busy
    return Plain(events / took, busy / events * 1e6)


def cpu_s(server: int | None) -> float:
    """Return the processor time of this process, of its ended children, and of a server."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = time.process_time() + spent.ru_utime + spent.ru_stime
    return own + (0.0 if server is None else processor_s(server))


def peak_mib(pid: int) -> int:
    """Return the largest resident memory that a process has had, 0 when it is gone."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def command(daemon: Daemon, *words: str) -> tuple[float, int]:
    """Run a command; return its seconds and its peak of memory in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [*DBX, *words], cwd=daemon.folder, env=daemon.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_mib(process.pid))
        try:
            process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            continue
    took = time.perf_counter() - began
    _out, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"dbx {' '.join(words)} ended with {process.returncode}\n{said}")
    return took, peak


class Bench:
    """One file of events, and the databases that it goes to."""

    def __init__(self, folder: Path, events: int) -> None:
        self.folder = folder
        self.events = events
        self.file = folder / "events.ndjson"
        self.figures: dict[str, dict[str, Any]] = {}
        write_events(self.file, events)

    def home(self, name: str) -> Daemon:
        """Return a fresh database."""
        return Daemon(self.folder / name)

    def plain(self, served: bool) -> dict[int, Plain]:
        """Return the rates of plain batches by their size."""
        rates = {}
        count = min(self.events, PLAIN_EVENTS)
        for size in SIZES:
            daemon = self.home(f"plain-{served}-{size}")
            if served:
                daemon.start()
                with connect(daemon) as client:
                    rates[size] = plain_rate(count, size, client.commit_batch, daemon.pid)
                daemon.stop()
            else:
                rates[size] = self._plain_offline(daemon, count, size)
            daemon.close()
        return rates

    def _plain_offline(self, daemon: Daemon, count: int, size: int) -> Plain:
        environment = {"HOME": os.fspath(daemon.folder)}
        config = os.fspath(daemon.folder / ".dbx" / "config.toml")
        place = open_workspace(config, environ=environment)
        store, calls = OfflineStore(place, place.config.domain), Calls("")
        try:
            return plain_rate(
                count, size,
                lambda batch: store.call(calls.commit_batch(batch, answer="receipts")),
            )  # fmt: skip
        finally:
            store.close()

    def measure(self, served: bool) -> None:
        """Import and export, through a server or without."""
        rates = self.plain(served)
        daemon = self.home(f"home-{served}")
        if served:
            daemon.start()
        server = daemon.pid if served else None
        busy = cpu_s(server)
        imported, import_peak = command(daemon, "import", str(self.file))
        busy = (cpu_s(server) - busy) / self.events * 1e6
        server_peak = peak_mib(daemon.pid) if served else 0
        figures: dict[str, Any] = {
            "plain_batches_per_s": {size: round(one.rate) for size, one in rates.items()},
            "plain_batches_cpu_us_each": {
                size: round(one.cpu_us, 1) for size, one in rates.items()
            },
            "import": {
                "s": round(imported, 1),
                "events_per_s": round(self.events / imported),
                "of_appends": round(self.events / imported / rates[SIZES[0]].rate, 2),
                "cpu_us_each": round(busy, 1),
                "peak_mib": import_peak,
            },
        }
        for kind in ("csv", "ndjson"):
            path = self.folder / f"exported-{served}.{kind}"
            words = ("aggregate", "export", workload.AGGREGATE_TYPE, "--format", kind)
            exported, export_peak = command(daemon, *words, "--output", str(path))
            figures[f"export_{kind}"] = {
                "s": round(exported, 1),
                "aggregates_per_s": round(self.events / exported),
                "peak_mib": export_peak,
            }
            with path.open("rb") as file:
                lines = sum(1 for _line in file) - (kind == "csv")
            if lines != self.events:
                raise SystemExit(f"{path} has {lines} aggregates, not {self.events}")
            path.unlink()
        if served:
            figures["server_peak_mib"] = {"import": server_peak, "all": peak_mib(daemon.pid)}
            daemon.stop()
        daemon.close()
        self.figures["server" if served else "without"] = figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description="import and export of many events")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--folder", help="where files and databases are made [a temporary one]")
    parser.add_argument("--only", choices=["server", "without"])
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), given.events)
        for name, served in (("server", True), ("without", False)):
            if given.only in (None, name):
                bench.measure(served)
    figures = {"machine": description(), "events": given.events, **bench.figures}
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
