"""What encryption at rest costs: one server with it, one without, the same work by turns.

``python -m bench.encryption [--seconds 1] [--rounds 7]``. Both servers run all the time on the same
disk, each with a client process of its own; each round does every kind of work on both, in
alternating order. Printed are medians and the ratio of the rates, and of the processor time of the
servers per operation, which other work on the machine disturbs less. The goal is a ratio of 1.25 at
most for appends.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import NamedTuple

from bench import loading
from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.measure import Outcome
from bench.plan import Row, Style
from bench.sides import measured

GOAL = 1.25

WORK = (
    (Row("append-1", "append, 1 client", "append"), Style("", "blocking")),
    (Row("append-16", "append, 16 clients", "append", 16), Style("", "twisted")),
    (
        Row("pipelined", "append, pipelined, 64 in flight on 4 connections", "append", 4),
        Style("", "twisted", depth=64),
    ),
    (
        Row("batch", "batches of 100, 4 clients", "batch", 4, {"spread": 10}),
        Style("", "twisted"),
    ),
    (Row("get-1", "get, 1 client", "get"), Style("", "blocking")),
    (Row("get-16", "get, 16 clients", "get", 16), Style("", "twisted")),
    (Row("events", "events page of 50, 1 client", "events"), Style("", "blocking")),
)


class Side:
    """One server and its client process."""

    def __init__(self, *, encryption: bool) -> None:
        value = "true" if encryption else "false"
        self._daemon = Daemon(settings=("--set", f"encryption={value}"))
        self._daemon.start()
        loading.load_histories(self._daemon, 1_000)
        settings = {"port": self._daemon.port, "token": self._daemon.token}
        self._client = ClientProcess("ours", settings)

    def measure(self, row: Row, style: Style, seconds: float, seed: int) -> Outcome:
        """Do a kind of work for so long."""
        return measured([self._client], row, style, "ours", seconds, seed, [self._daemon.pid])

    def close(self) -> None:
        """Stop and remove both."""
        self._client.close()
        self._daemon.close()


class Compared(NamedTuple):
    """Medians of one kind of work, and how much more encryption takes."""

    title: str
    without: float
    encrypted: float
    time_ratio: float
    processor_ratio: float


def compare(seconds: float, rounds: int) -> list[Compared]:
    """Measure everything on both sides."""
    sides = [Side(encryption=False), Side(encryption=True)]
    found: dict[str, list[tuple[Outcome, Outcome]]] = {}
    try:
        for number in range(rounds):
            for row, style in WORK:
                order = (0, 1) if number % 2 else (1, 0)
                pair = {at: sides[at].measure(row, style, seconds, number) for at in order}
                found.setdefault(row.title, []).append((pair[0], pair[1]))
    finally:
        for side in sides:
            side.close()
    return [_compared(title, pairs) for title, pairs in found.items()]


def _compared(title: str, pairs: list[tuple[Outcome, Outcome]]) -> Compared:
    median = statistics.median
    each = [
        (plain.server_s / plain.operations, sealed.server_s / sealed.operations)
        for plain, sealed in pairs
    ]
    return Compared(
        title,
        median(plain.rate for plain, _sealed in pairs),
        median(sealed.rate for _plain, sealed in pairs),
        # Of each round by itself: what disturbs one round disturbs both sides of it.
        median(plain.rate / sealed.rate for plain, sealed in pairs),
        median(sealed / plain for plain, sealed in each if plain),
    )


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.encryption")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    print(f"{'':50} {'without':>9} {'with':>9} {'time x':>7} {'cpu x':>7}")
    for one in compare(options.seconds, options.rounds):
        print(
            f"{one.title:50} {one.without:9.0f} {one.encrypted:9.0f} "
            f"{one.time_ratio:7.3f} {one.processor_ratio:7.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
