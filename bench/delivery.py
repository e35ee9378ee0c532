"""How fast committed events reach plugins.

``python -m bench.delivery`` prints what an event costs until it is bytes, in one process: reading
it from the log, making its parts with the state as of it, writing the document. Once with short
aggregates that grow side by side, once with long ones.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from bench import workload
from bench.daemon import Daemon
from bench.loading import write_of
from bench.machine import description
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.schema_work import EMPTY
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.events import Event
from eventdbx.services.offline import OfflineStore
from eventdbx.services.workspace import open_workspace
from eventdbx.storage import eventlog, records
from eventdbx.storage.rocks import RocksStore
from eventdbx.surfaces.control.calls import Calls

BATCH = 1_000
SHORT, LONG = 5, 10_000
"""Events of an aggregate."""


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
    store = RocksStore.open(str(place.workspace.store_path(place.config.domain)), read_only=True)
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


def main() -> None:
    """Fill, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
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
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
