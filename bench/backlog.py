"""A million events behind a paused plugin: how long a start takes, what the store keeps for it.

``python -m bench.backlog --events 1000000`` configures a web hook that is paused, stops the server,
writes the events, and starts it several times, the last time after a kill -9: seconds until the
port takes a connection, until a client has its first answer, and until ``dbx queue`` has printed
how many wait. Then the plugin is resumed, and some of the backlog must arrive, in order.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.daemon import Daemon
from bench.delivery import fill
from bench.loading import connect
from bench.machine import description, resident_bytes
from bench.soak_targets import Broken, Hook, fast_hook
from eventdbx.services.stores import open_configured
from eventdbx.services.workspace import open_workspace
from eventdbx.storage.outbox import rows_of

PER_AGGREGATE = 100
LOOK_S = 0.02
FLOW_S_MAX = 300.0


def rows(folder: Path, plugin: str) -> dict[str, int]:
    """Return how many rows the store has for a plugin, and their bytes."""
    place = open_workspace(str(folder / ".dbx" / "config.toml"))
    store = open_configured(
        place.workspace.store_path(place.config.domain), place.config, read_only=True
    )
    try:
        found = list(rows_of(store.view(), plugin))
    finally:
        store.close()
    size = sum(len(family) + len(key) + len(record) for family, key, record in found)
    return {"rows": len(found), "bytes": size}


def start(daemon: Daemon, hook: Hook, events: int) -> dict[str, float]:
    """Start the server; return the seconds until it and its queue answer."""
    began = time.perf_counter()
    listening = daemon.start()
    with connect(daemon) as client:
        client.plugins({"do": "lag", "name": hook.name})
        answered = time.perf_counter() - began
    before = time.perf_counter()
    shown = daemon.run("queue")
    queue = time.perf_counter() - before
    if f"pending={events} " not in shown:
        raise Broken(f"dbx queue shows {shown[:200]}")
    return {
        "listening_s": listening,
        "answered_s": answered,
        "queue_s": queue,
        "resident_mb": resident_bytes(daemon.pid) / 1e6,
    }


def flow(daemon: Daemon, hook: Hook, events: int) -> dict[str, float]:
    """Resume the plugin; return how soon events came, and how fast, and what that took."""
    began = time.perf_counter()
    first = 0.0
    with connect(daemon) as client:
        client.plugins({"do": "resume", "name": hook.name})
        while (received := hook.received()) < events:
            if received and not first:
                first = time.perf_counter() - began
            if time.perf_counter() - began > FLOW_S_MAX:
                raise Broken(f"{hook.counts()} of {events} after {FLOW_S_MAX} s")
            time.sleep(LOOK_S)
        rate = received / (time.perf_counter() - began)
        resident = resident_bytes(daemon.pid) / 1e6
        client.plugins({"do": "pause", "name": hook.name})
    counts = hook.counts()
    if counts["gaps"] or counts["misused"] or counts["unreadable"]:
        raise Broken(f"{hook.name}: {counts}")
    return {"first_s": first, "per_s": rate, "resident_mb": resident}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of starts and flow."""
    hook, daemon = fast_hook(), Daemon()
    try:
        hook.ready()
        daemon.start()
        with connect(daemon) as client:
            client.plugins({"do": "configure", "entry": {**hook.entry(), "paused": True}})
        daemon.stop()
        fill(daemon.folder, options.events, PER_AGGREGATE)
        figures: dict[str, Any] = {"events": options.events, "kept": rows(daemon.folder, hook.name)}
        starts = []
        for _round in range(options.starts):
            starts.append(start(daemon, hook, options.events))
            daemon.stop()
        daemon.start()
        daemon.kill()
        figures["start"] = {
            name: round(statistics.median(one[name] for one in starts), 2) for name in starts[0]
        }
        after_kill = start(daemon, hook, options.events)
        figures["after_kill"] = {name: round(value, 2) for name, value in after_kill.items()}
        flowing = flow(daemon, hook, min(options.flow, options.events))
        figures["flow"] = {name: round(value, 2) for name, value in flowing.items()}
        daemon.stop()
        figures["kept_after"] = rows(daemon.folder, hook.name)
        if complaints := daemon.complaints():
            raise Broken("\n".join(complaints))
        return figures
    finally:
        hook.close()
        daemon.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--flow", type=int, default=50_000, help="events to send in the end")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    try:
        figures = measure(options)
    except Broken as broken:
        sys.exit(f"BROKEN: {broken}")
    print(json.dumps(figures))
    if options.json is not None:
        document = {"machine": description(), **figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
