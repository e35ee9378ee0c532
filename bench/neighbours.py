"""What writers pay for plugins that are ill: their p99 beside a dead and a hanging one.

``python -m bench.neighbours --rounds 9``. The real server; a process of clients appends in
interleaved rounds without, again without, and with the two; which comes first changes. With one
client that waits and with many at once; first with no other plugin, then beside one that is well
and follows. Nobody is killed here, and the second after each change is not measured. On a machine
that others use single rounds differ much: the medians are what counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.loading import connect
from bench.machine import description
from bench.measure import Outcome, percentile
from bench.rehearsal import append
from bench.soak_targets import Hook, fast_hook, sick_hooks
from eventdbx.client import BlockingClient

STYLES = (("waiting", "blocking", 1), ("concurrent", "twisted", 16))
"""One client that waits for each answer, and many at once: how they are called."""

ARMS = ("without", "again", "with")
"""``again`` is without, too: how much it differs is the machine's doing."""

P99 = 0.99
WARM_S = 1.0


def present(client: BlockingClient, sick: list[Hook], is_present: bool) -> None:
    """Let the sick plugins be there, or not."""
    do = "enable" if is_present else "disable"
    for hook in sick:
        client.plugins({"do": do, "name": hook.name, "check": False})


def compare(
    process: ClientProcess,
    daemon: Daemon,
    client: BlockingClient,
    sick: list[Hook],
    style: tuple[str, int],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Append with and without, round by round; return medians."""
    how, clients = style
    found: dict[str, list[Outcome]] = {arm: [] for arm in ARMS}
    for number in range(options.rounds):
        first = number % len(ARMS)
        for arm in (*ARMS[first:], *ARMS[:first]):
            present(client, sick, arm == "with")
            append(process, daemon.pid, how, clients, WARM_S, options.rounds + number + 1)
            outcome = append(process, daemon.pid, how, clients, options.seconds, number + 1)
            found[arm].append(outcome)
    present(client, sick, False)
    figures: dict[str, Any] = {}
    base = [percentile(one.latencies_ms, P99) for one in found["without"]]
    for arm, rounds in found.items():
        p99 = [percentile(one.latencies_ms, P99) for one in rounds]
        costs = [one.server_s / one.operations * 1e6 for one in rounds]
        ratios = [each / without for each, without in zip(p99, base, strict=True)]
        figures[arm] = {
            "p99_ms": round(statistics.median(p99), 3),
            "ratio_of_medians": round(statistics.median(p99) / statistics.median(base), 3),
            "median_of_ratios": round(statistics.median(ratios), 3),
            "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
            "per_s": round(statistics.median(one.rate for one in rounds)),
            "server_us": round(statistics.median(costs), 1),
        }
    return figures


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of all styles, and complaints of the server's log."""
    hooks, sick = [fast_hook()], sick_hooks()
    daemon = Daemon()
    figures: dict[str, Any] = {}
    try:
        for hook in (*hooks, *sick):
            hook.ready()
        daemon.start()
        process = ClientProcess("ours", {"port": daemon.port, "token": daemon.token})
        with connect(daemon) as client:
            for hook in sick:
                client.plugins({"do": "configure", "entry": {**hook.entry(), "enabled": False}})
            for place in options.places:
                if place == "beside":
                    client.plugins({"do": "configure", "entry": hooks[0].entry()})
                for name, how, clients in STYLES:
                    row = compare(process, daemon, client, sick, (how, clients), options)
                    figures[f"{place} {name}"] = row
                    print(json.dumps({f"{place} {name}": row}), flush=True)
        process.close()
        daemon.stop()
        return figures, daemon.complaints()
    finally:
        for hook in (*hooks, *sick):
            hook.close()
        daemon.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--places", nargs="*", default=["alone", "beside"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    figures, complaints = measure(options)
    if options.json is not None:
        document = {"machine": description(), **figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
