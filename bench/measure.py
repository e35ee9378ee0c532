"""Timing and statistics: what one measurement yields, and medians of several.

Which work is timed is not known here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.machine import processor_s

LATENCIES_KEPT = 20_000


class Outcome(NamedTuple):
    """One measurement: operations, the seconds they took, and how long single ones waited.

    The processor seconds of server and clients are 0.0 where nobody looked.
    """

    operations: int
    seconds: float
    latencies_ms: list[float]
    server_s: float = 0.0
    client_s: float = 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds else 0.0

    def scaled(self, factor: int) -> Outcome:
        """Return the outcome in events where each operation wrote ``factor`` of them."""
        return self._replace(operations=self.operations * factor)

    def document(self) -> dict[str, Any]:
        """Return what travels between processes."""
        return {
            "operations": self.operations,
            "seconds": self.seconds,
            "server_s": self.server_s,
            "client_s": self.client_s,
            "latencies_ms": [round(value, 4) for value in thinned(self.latencies_ms, 500)],
        }


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return several simultaneous measurements as one: the rates add up."""
    rate = sum(outcome.rate for outcome in outcomes)
    operations = sum(outcome.operations for outcome in outcomes)
    latencies = [value for outcome in outcomes for value in outcome.latencies_ms]
    # Each process sees all that the server does, but only its own clients.
    server_s = max((outcome.server_s for outcome in outcomes), default=0.0)
    client_s = sum(outcome.client_s for outcome in outcomes)
    seconds = operations / rate if rate else 0.0
    return Outcome(operations, seconds, latencies, server_s, client_s)


class Metered:
    """Processor time from now on: of this process, and of servers given by their numbers."""

    def __init__(self, servers: Sequence[int]) -> None:
        self._servers = servers
        self._server_s = sum(map(processor_s, servers))
        self._client_s = time.process_time()

    def on(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the processor time that it took until now."""
        server_s = sum(map(processor_s, self._servers)) - self._server_s
        return outcome._replace(server_s=server_s, client_s=time.process_time() - self._client_s)


def thinned(values: Sequence[float], keep: int) -> list[float]:
    """Return at most so many of the values, evenly chosen from their sorted order."""
    ordered = sorted(values)
    if len(ordered) <= keep:
        return ordered
    return [ordered[index * (len(ordered) - 1) // (keep - 1)] for index in range(keep)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies; 0.0 for none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Summary(NamedTuple):
    """The rounds of one measurement together."""

    median: float
    low: float
    high: float
    p50_ms: float
    p99_ms: float
    rounds: int
    server_us: float = 0.0
    client_us: float = 0.0
    """Processor time for one operation; 0.0 where nobody looked."""


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Return the median rate of the rounds, its range, and the latencies of all of them."""
    rates = [outcome.rate for outcome in outcomes]
    latencies = [value for outcome in outcomes for value in outcome.latencies_ms]
    return Summary(
        median=statistics.median(rates),
        low=min(rates),
        high=max(rates),
        p50_ms=percentile(latencies, 0.50),
        p99_ms=percentile(latencies, 0.99),
        rounds=len(rates),
        server_us=statistics.median(each.server_s * 1e6 / each.operations for each in outcomes),
        client_us=statistics.median(each.client_s * 1e6 / each.operations for each in outcomes),
    )


def repeat(call: Callable[[], object], seconds: float) -> Outcome:
    """Call one after the other until the time is up, timing each call."""
    latencies: list[float] = []
    clock = time.perf_counter
    start = before = clock()
    deadline = start + seconds
    operations = 0
    while before < deadline:
        call()
        after = clock()
        operations += 1
        if operations <= LATENCIES_KEPT:
            latencies.append((after - before) * 1e3)
        before = after
    return Outcome(operations, before - start, latencies)
