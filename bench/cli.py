"""How long a command of one line takes, as a whole process, start of the interpreter included.

``python -m bench.cli`` runs each command twenty times in turn, those that want one through a daemon
of their own, and prints the medians beside that of an interpreter that does nothing.
It ends with status 1 when a median is over the bound that the command line has set itself for a
machine with two cores; on another machine the ratio to the empty interpreter says more.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.machine import description
from tests.daemon import CHECKOUT_DBX, Workspace

ROUNDS = 20


class Timed(NamedTuple):
    """A command line and the most milliseconds that its median may take; None for no bound."""

    words: tuple[str, ...]
    bound_ms: float | None


COMMANDS = (
    Timed(("--version",), 80.0),
    Timed(("aggregate", "get", "order", "o-1"), 200.0),
    Timed(("aggregate", "apply", "order", "o-1", "order_paid", "--field", "paid=yes"), 200.0),
    Timed(("events", "order", "o-1"), 200.0),
    Timed(("aggregate", "--help"), None),
    Timed(("config",), None),
)


def measured(space: Workspace, call: Sequence[str]) -> float:
    """Return how many milliseconds a process took that must succeed."""
    began = time.perf_counter()
    process = space.spawn(*call)
    said = process.communicate()
    taken = (time.perf_counter() - began) * 1000
    if process.returncode:
        raise AssertionError(f"{call} ended with {process.returncode}: {said}")
    return taken


def main() -> int:
    """Measure, print, and tell whether the bounds hold."""
    print(description())
    with TemporaryDirectory() as name:
        space = Workspace(Path(name) / "database")
        space.start()
        try:
            space.run("aggregate", "create", "order", "o-1", "--event", "order_created")
            lines: dict[tuple[str, ...], list[str]] = {(): [sys.executable, "-c", "pass"]}
            lines |= {one.words: [*CHECKOUT_DBX, *one.words] for one in COMMANDS}
            taken: dict[tuple[str, ...], list[float]] = {words: [] for words in lines}
            for _round in range(ROUNDS):
                for words, call in lines.items():
                    taken[words].append(measured(space, call))
        finally:
            space.stop()
    return report(taken)


def report(taken: dict[tuple[str, ...], list[float]]) -> int:
    """Print the medians; return 1 if one is over its bound."""
    idle = statistics.median(taken.pop(()))
    print(f"{'python -c pass':<60} {idle:6.0f} ms")
    bounds = {one.words: one.bound_ms for one in COMMANDS}
    over = 0
    for words, times in taken.items():
        median, bound = statistics.median(times), bounds[words]
        said = "" if bound is None else f"  (bound {bound:.0f} ms)"
        print(f"{'dbx ' + ' '.join(words):<60} {median:6.0f} ms  {median / idle:4.1f} x{said}")
        over += bound is not None and median > bound
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
