"""What appends pay while a rehearsal runs over a long history.

``python -m bench.rehearsal --events 1000000`` fills a store through the writer, starts the real
server, and appends in interleaved rounds with and without a rehearsal, from another process: with
one waiting client and with many at once. Then it lets a rehearsal run to its end with nobody else
about, and cancels another.

On a machine that others use single rounds differ: the medians of the ratios of neighbouring rounds
are what counts. ``ratio`` is that of the rates; ``by_processor`` that of the processor time which
the server took for each append, rehearsal included: what a server at its limit would lose.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import workload
from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.loading import connect, write_of
from bench.machine import description
from bench.measure import Outcome
from eventdbx.client import BlockingClient
from eventdbx.services.offline import OfflineStore
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.calls import Calls

BATCH = 1_000
PER_AGGREGATE = 50
LOOK_S = 1.0
STYLES = (("waiting", "blocking", 1), ("concurrent", "twisted", 64))
"""One client that waits for each answer, and many at once: how they are called."""

CANDIDATE: dict[str, Any] = {
    workload.AGGREGATE_TYPE: {
        "column_types": {
            "status": {"type": "text", "regex": ["^(placed|paid|packed|shipped)$"]},
            "customer": {"type": "text", "required": True, "length": {"min": 3, "max": 20}},
            "amount_cents": {"type": "integer", "range": {"min": "0", "max": "90000"}},
            "currency": {"type": "text", "contains": ["EUR"]},
            "items": {"type": "integer", "range": {"min": "1", "max": "6"}},
            "express": "boolean",
            "weight_kg": {"type": "float", "range": {"min": "0"}},
            "address": {"type": "text", "length": {"min": 1, "max": 200}},
            "city": {"type": "text", "required": True},
            "updated_by": {"type": "text", "does_not_contain": [" "]},
        },
        "events": {workload.EVENT_TYPE: {}},
    }
}
"""Ten columns with a rule each; two of the rules are broken by some of the payloads."""


def fill(folder: Path, events: int) -> float:
    """Write the history into the stopped server's store; return events per second."""
    place = open_workspace(str(folder / ".dbx" / "config.toml"))
    bodies = [workload.text_of(value) for value in workload.payloads()]

    def writes() -> Iterator[Any]:
        for number in range(events):
            identifier = f"h-{number // PER_AGGREGATE:07d}"
            yield write_of(identifier, bodies[number % len(bodies)])

    before = time.perf_counter()
    store = OfflineStore(place, place.config.domain)
    calls, source = Calls(""), writes()
    try:
        for start in range(0, events, BATCH):
            batch = [next(source) for _ in range(min(BATCH, events - start))]
            store.call(calls.commit_batch(batch, answer="receipts"))
    finally:
        store.close()
    return events / (time.perf_counter() - before)


class Rehearsed:
    """A rehearsal of the candidate that runs as long as the block; told what became of it."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client
        self.found: dict[str, Any] = {}

    def __enter__(self) -> Rehearsed:
        answer = self._client.schema({"do": "rehearse", "schemas": CANDIDATE})
        self._job = answer["job"]
        return self

    def look(self) -> dict[str, Any]:
        """Return the report so far."""
        self.found = self._client.schema({"do": "rehearsal", "job": self._job})
        return self.found

    def __exit__(self, *_error: object) -> None:
        self.look()
        self.cancelled = self._client.schema({"do": "cancel_rehearsal", "job": self._job})


def append(
    process: ClientProcess, server: int, how: str, clients: int, seconds: float, seed: int
) -> Outcome:
    """Append for so long; return what came of it."""
    process.send(
        {
            "work": "append",
            "mode": "ours",
            "how": how,
            "clients": clients,
            "depth": 1,
            "seconds": seconds,
            "options": {"seed": seed},
            "servers": [server],
        }
    )
    return process.receive()


def compare(
    process: ClientProcess, server: int, client: BlockingClient, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Append with and without a rehearsal, round by round; which comes first changes."""
    rows = []
    for name, how, clients in STYLES:
        append(process, server, how, clients, 1.0, 0)
        ratios: list[float] = []
        rates: dict[bool, list[float]] = {False: [], True: []}
        costs: list[float] = []
        shares: list[float] = []
        for number in range(options.rounds):
            pair: dict[bool, Outcome] = {}
            for rehearsing in (number % 2 == 0, number % 2 == 1):
                if rehearsing:
                    with Rehearsed(client) as job:
                        outcome = append(process, server, how, clients, options.seconds, number + 1)
                    if job.found["state"] != "running":
                        raise RuntimeError("the history is too short: the rehearsal has ended")
                    shares.append(job.found["done"] / job.found["elapsed_s"])
                else:
                    outcome = append(process, server, how, clients, options.seconds, number + 1)
                pair[rehearsing] = outcome
                rates[rehearsing].append(outcome.rate)
            ratios.append(pair[True].rate / pair[False].rate)
            costs.append(_server_us(pair[False]) / _server_us(pair[True]))
        rows.append(
            {
                "clients": name,
                "without_per_s": round(statistics.median(rates[False])),
                "with_per_s": round(statistics.median(rates[True])),
                "ratio": round(statistics.median(ratios), 4),
                "by_processor": round(statistics.median(costs), 4),
                "ratios": [round(one, 3) for one in ratios],
                "rehearsed_per_s": round(statistics.median(shares)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _server_us(outcome: Outcome) -> float:
    """Return the processor time that an append took of the server, with all that it did beside."""
    return outcome.server_s / outcome.operations * 1e6


def alone(client: BlockingClient) -> dict[str, Any]:
    """Run a rehearsal to its end with nobody else about, showing its progress."""
    with Rehearsed(client) as job:
        while True:
            found = job.look()
            print(
                f"{found['state']}: {found['done']} of {found['total']} events, "
                f"{found['rate']:.0f}/s, {found['refused']} refused",
                flush=True,
            )
            if found["state"] != "running":
                break
            time.sleep(LOOK_S)
    for rule in found["rules"]:
        print(f"  {rule['count']} x {rule['event']}: {rule['message']}")
    return {key: found[key] for key in ("state", "done", "refused", "elapsed_s", "rate")}


def cancel(client: BlockingClient) -> dict[str, Any]:
    """Cancel a rehearsal that runs; return where it was and how long the answer took."""
    with Rehearsed(client):
        time.sleep(LOOK_S / 2)
        before = time.perf_counter()
        with Rehearsed(client) as second:
            waiting = second.look()["state"]
        took_s = time.perf_counter() - before
    done = client.schema({"do": "rehearsals"})["rehearsals"][-2:]
    return {
        "behind_it": waiting,
        "answers_s": round(took_s, 4),
        "states": [one["state"] for one in done],
        "done": [one["done"] for one in done],
    }


def main() -> None:
    """Fill, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    daemon = Daemon()
    try:
        rate = fill(daemon.folder, options.events)
        print(f"filled {options.events} events at {rate:.0f}/s", flush=True)
        daemon.start()
        process = ClientProcess("ours", {"port": daemon.port, "token": daemon.token})
        with connect(daemon) as client:
            figures = {
                "machine": description(),
                "events": options.events,
                "appends": compare(process, daemon.pid, client, options),
                "alone": alone(client),
                "cancel": cancel(client),
            }
        process.close()
        daemon.stop()
        complaints = daemon.complaints()
    finally:
        daemon.close()
    print(json.dumps({key: figures[key] for key in ("alone", "cancel")}))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
