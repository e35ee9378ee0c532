"""How fast committed events reach plugins: a web hook in batches, a process that uses the SDK.

``python -m bench.delivery --events 50000`` fills a store, starts the real server, and sends each
plugin the whole log from its start, several times: what a plugin does that was away for long. Then
it appends from another process while both plugins follow, and says how far behind they were at the
end. Before, it prints what an event costs until it is bytes, in one process: reading it from the
log, making its parts with the state as of it, writing the document; once with short aggregates that
grow side by side, once with long ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import workload
from bench.client import ClientProcess
from bench.daemon import ROOT, Daemon
from bench.loading import connect, write_of
from bench.machine import description, processor_s
from bench.measure import Outcome
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.schema_work import EMPTY
from eventdbx.client import BlockingClient
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.events import Event
from eventdbx.services.offline import OfflineStore
from eventdbx.services.stores import open_configured
from eventdbx.services.workspace import open_workspace
from eventdbx.storage import eventlog, records
from eventdbx.surfaces.control.calls import Calls

BATCH = 1_000
SHORT, LONG = 5, 10_000
"""Events of an aggregate."""

SENT = 500
"""Events in one delivery."""

LOOK_S = 0.02
DRAIN_S_MAX = 300.0


def fill(folder: Path, events: int, per_aggregate: int) -> None:
    """Write a history into the store of a server that does not run.

    Aggregates grow side by side, a hundred at a time, as they do in life.
    """
    place = open_workspace(str(folder / ".dbx" / "config.toml"))
    bodies = [workload.text_of(value) for value in workload.payloads()]
    store = OfflineStore(place, place.config.domain)
    calls, abreast = Calls(""), min(100, max(1, events // per_aggregate))
    try:
        for start in range(0, events, BATCH):
            numbers = range(start, min(start + BATCH, events))
            names = [f"d-{n // (abreast * per_aggregate)}-{n % abreast}" for n in numbers]
            writes = [
                write_of(name, bodies[number % len(bodies)])
                for name, number in zip(names, numbers, strict=True)
            ]
            store.call(calls.commit_batch(writes, answer="receipts"))
    finally:
        store.close()


def costs(folder: Path, rounds: int) -> dict[str, float]:
    """Return what an event costs until it is bytes, in microseconds of processor time."""
    place = open_workspace(str(folder / ".dbx" / "config.toml"))
    store = open_configured(
        place.workspace.store_path(place.config.domain), place.config, read_only=True
    )
    least: dict[str, float] = {}
    try:
        view = store.view()

        def load() -> list[tuple[int, Event]]:
            found = []
            for position, entry in eventlog.log_entries(view, 0, start=0):
                record = view.get(entry.event_key)
                assert record is not None
                found.append((position, records.decode_event(record)))
            return found

        def build() -> list[Parts]:
            builder = PartsBuilder("default")
            made = [builder.build(view, EMPTY, event, place, "all") for place, event in events]
            return [parts for parts in made if parts is not None]

        def document() -> list[bytes]:
            return [json_body(one) for one in parts]

        events, parts = load(), list[Parts]()
        for _round in range(rounds):
            for name, work in (("load", load), ("parts", build), ("document", document)):
                began = time.process_time()
                made: Any = work()
                spent = (time.process_time() - began) / len(events) * 1e6
                least[name] = min(least.get(name, spent), spent)
                if work is build:
                    parts = made
    finally:
        store.close()
    return {name: round(value, 2) for name, value in least.items()}


PROGRAM = """#!{python}
import os, sys
sys.path.insert(0, {root!r})
from eventdbx.plugin import projection, run

place = os.open(os.environ["COUNTED"], os.O_RDWR)
count = int.from_bytes(os.pread(place, 8, 0), "big")

@projection(batch={batch})
def counted(events):
    global count
    for event in events:
        assert event.payload is not None and event.state is not None
    count += len(events)
    os.pwrite(place, count.to_bytes(8, "big"), 0)

run(counted)
"""
"""Looks at payload and state of every event, so that their JSON is read, and counts."""


class Counter:
    """A process plugin that counts, made with the SDK; ``received`` is how many have come."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "counted"
        self.place.write_bytes(bytes(8))
        self.program = folder / "counter"
        text = PROGRAM.format(python=sys.executable, root=str(ROOT), batch=SENT)
        self.program.write_text(text)
        self.program.chmod(0o755)

    def received(self) -> int:
        """Return how many events have come so far."""
        return int.from_bytes(self.place.read_bytes(), "big")


class Hook:
    """A web hook in a process of its own (:mod:`bench.sinks`), which reads every document."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sinks", "--port", "0"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline().rsplit(" ", 1)[1])
        self.endpoint = f"http://127.0.0.1:{self._port}/events"

    def received(self) -> int:
        """Return how many events have come so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/counts") as answer:
            return int(json.load(answer)["events"])

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def configure(client: BlockingClient, document: dict[str, Any]) -> None:
    """Configure a plugin with batches."""
    entry = {"enabled": True, "payload_mode": "all", "batch": {"max_events": SENT}, **document}
    client.plugins({"do": "configure", "entry": entry})


def drain(
    daemon: Daemon, client: BlockingClient, name: str, received: Callable[[], int], events: int
) -> Outcome:
    """Send a plugin the whole log, and wait until it has it."""
    before, spent = received(), processor_s(daemon.pid)
    began = time.perf_counter()
    client.plugins({"do": "resume", "name": name})
    client.plugins({"do": "seek", "name": name, "to": "start"})
    while received() - before < events:
        if time.perf_counter() - began > DRAIN_S_MAX:
            raise RuntimeError(f"{name} got {received() - before} of {events} events")
        time.sleep(LOOK_S)
    took = time.perf_counter() - began
    outcome = Outcome(events, took, [], processor_s(daemon.pid) - spent)
    client.plugins({"do": "pause", "name": name})
    return outcome


def drains(
    daemon: Daemon,
    client: BlockingClient,
    targets: dict[str, Callable[[], int]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Drain the log into each plugin in turns; return the medians."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in targets}
    for _round in range(options.rounds):
        for name, received in targets.items():
            outcomes[name].append(drain(daemon, client, name, received, options.events))
    figures = {}
    for name, found in outcomes.items():
        figures[name] = {
            "per_s": round(statistics.median(one.rate for one in found)),
            "rounds": [round(one.rate) for one in found],
            "server_us": round(
                statistics.median(one.server_s / one.operations for one in found) * 1e6, 1
            ),
        }
        print(json.dumps({name: figures[name]}), flush=True)
    return figures


def behind(client: BlockingClient) -> dict[str, int]:
    """Return how many events each plugin is behind."""
    return {one["name"]: one["lag"] for one in client.plugins({"do": "lag"})["plugins"]}


def follow(
    daemon: Daemon,
    client: BlockingClient,
    targets: dict[str, Callable[[], int]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Append for a while without and with plugins that follow; say when they had everything."""
    process = ClientProcess("ours", {"port": daemon.port, "token": daemon.token})
    figures: dict[str, Any] = {}
    try:
        for plugins in (False, True):
            before = {name: received() for name, received in targets.items()}
            for name in targets:
                client.plugins({"do": "seek", "name": name, "to": "end"})
                if plugins:
                    client.plugins({"do": "resume", "name": name})
            job = {
                "work": "append", "mode": "ours", "how": "twisted", "clients": 64, "depth": 1,
                "seconds": options.seconds, "options": {"seed": 1 + plugins},
                "servers": [daemon.pid],
            }  # fmt: skip
            process.send(job)
            outcome = process.receive()
            found = figures["with" if plugins else "without"] = {
                "appends_per_s": round(outcome.rate),
                "server_us": round(outcome.server_s / outcome.operations * 1e6, 1),
            }
            if plugins:
                found["behind"] = behind(client)
                ended = time.perf_counter()
                while any(behind(client).values()):
                    if time.perf_counter() - ended > DRAIN_S_MAX:
                        raise RuntimeError(f"still behind: {behind(client)}")
                    time.sleep(LOOK_S)
                found["caught_up_s"] = round(time.perf_counter() - ended, 2)
                found["received"] = {
                    name: received() - before[name] for name, received in targets.items()
                }
    finally:
        process.close()
    return figures


def served(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Start the server with the plugins and measure; return figures and complaints of its log."""
    daemon = Daemon()
    sink = Hook()
    try:
        fill(daemon.folder, options.events, SHORT)
        counter = Counter(daemon.folder)
        daemon.run("plugin", "install", "counter", "1.0.0", "--source", str(counter.program))
        daemon.start()
        targets: dict[str, Callable[[], int]] = {}
        with connect(daemon) as client:
            if "http" in options.kinds:
                targets["http"] = sink.received
                http = {"type": "http", "endpoint": sink.endpoint}
                configure(client, {"name": "http", "paused": True, "config": http})
            if "process" in options.kinds:
                targets["process"] = counter.received
                process = {
                    "type": "process",
                    "name": "counter",
                    "version": "1.0.0",
                    "env": {"COUNTED": str(counter.place)},
                    "ack": True,
                    "max_in_flight": SENT,
                }
                configure(client, {"name": "process", "paused": True, "config": process})
            figures = {"drained": drains(daemon, client, targets, options)}
            figures["following"] = follow(daemon, client, targets, options)
            print(json.dumps({"following": figures["following"]}), flush=True)
        daemon.stop()
        return figures, daemon.complaints()
    finally:
        sink.close()
        daemon.close()


def main() -> None:
    """Fill, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of appends")
    parser.add_argument("--kinds", nargs="*", default=["http", "process"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": description(), "events": options.events}
    for name, per_aggregate in (("short", SHORT), ("long", LONG)):
        daemon = Daemon()
        try:
            fill(daemon.folder, options.events, per_aggregate)
            figures[name] = costs(daemon.folder, options.rounds)
        finally:
            daemon.close()
        print(json.dumps({name: figures[name]}), flush=True)
    found, complaints = served(options)
    figures |= found
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
