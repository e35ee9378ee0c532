"""What the head map costs: to build, to advance, to prove, to check and to verify.

``python -m bench.headmap --aggregates 1000000`` fills a store through the writer, one event each,
lets the map take up all of it, then appends to some aggregates at random and lets it
take up those. All on one thread, as commands without a server do it; a server does what is
``prepare`` on another thread, and ``commit_ms`` is what its appends wait for.

``of_appends`` is the time that the map takes for the appended events, over the time that it took to
append them in batches of 1,000: what a server at its limit would lose if each event touched another
aggregate.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bench.machine import description
from eventdbx.application.headchecks import Fault, verify_head_map
from eventdbx.application.mapping import HeadMap
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.commands import Write
from eventdbx.domain.headmap import check_head
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import Changes
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, synchronous

BATCH = 1_000
PROOFS = 2_000

T = TypeVar("T")


COMMITS: list[float] = []
"""How long each commit held its thread."""


class Timed(RocksStore):
    """A store that notes its commits."""

    def write(self, changes: Changes, *, sync: bool) -> None:
        """See :class:`IOrderedStore`."""
        began = time.perf_counter()
        super().write(changes, sync=sync)
        COMMITS.append(time.perf_counter() - began)


def done(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine comes to, which waits for nothing."""
    outcome: list[T] = []
    Deferred.fromCoroutine(work).addCallback(outcome.append).addErrback(Failure.raiseException)
    return outcome[0]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return how long a call takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


class Bench:
    """One store, filled and measured."""

    def __init__(self, path: str, aggregates: int, touched: int) -> None:
        self.aggregates = aggregates
        self.touched = touched
        self.backend = Timed.open(path)
        self.store = Store(self.backend, hop=synchronous())
        self.figures: dict[str, Any] = {"aggregates": aggregates, "touched": touched}

    def append(self, numbers: Iterator[int]) -> None:
        """Append an event to each of some aggregates, in batches."""
        schemas = Catalogue(self.store, clock_ns=time.time_ns)
        writer = Writer(self.store, clock_ns=time.time_ns, entropy=os.urandom, rules=schemas.rules)
        while batch := list(islice(numbers, BATCH)):
            writes = [Write("append", "order", f"o-{n}", "paid", '{"total":1}') for n in batch]
            writer.write(writes, actor=None, idempotency_key=None, render=len)

    def advance(self, heads: HeadMap, name: str, count: int) -> float:
        """Advance the map to the end of the log, and keep the figures under a name."""
        COMMITS.clear()
        end = eventlog.end_position(self.store.view(), 0)
        took, _place = timed(lambda: done(heads.advance_to(end)))
        commits = sorted(COMMITS)
        self.figures[name] = {
            "us_each": round(took / count * 1e6, 1),
            "steps": len(commits),
            "commit_ms": round(commits[len(commits) // 2] * 1e3, 2),
            "commit_ms_p99": round(commits[len(commits) * 99 // 100] * 1e3, 2),
        }
        return took

    def build(self) -> None:
        """Fill the store, and make the map from the beginning."""
        self.append(iter(range(self.aggregates)))
        self.advance(HeadMap(self.store), "build", self.aggregates)
        stored = self.store.view().scan(keys.MAP_BUCKET, keys.after(keys.MAP_BUCKET))
        size = sum(len(key) + len(record) for key, record in stored)
        self.figures["bytes_each"] = round(size / self.aggregates, 1)

    def touch(self) -> None:
        """Advance a map that has just been read by aggregates at random."""
        heads = HeadMap(self.store)
        took, _proof = timed(lambda: done(heads.prove(keys.name("order", "o-0"))))
        self.figures["load_s"] = round(took, 2)
        touched = random.Random(7).sample(range(self.aggregates), self.touched)
        appending, _none = timed(lambda: self.append(iter(touched)))
        mapping = self.advance(heads, "advance", self.touched)
        self.figures["of_appends"] = round(mapping / appending, 2)

    def prove(self) -> None:
        """Make and check proofs, half of them of aggregates that are not there."""
        heads = HeadMap(self.store)
        names = [f"o-{number * self.aggregates // PROOFS * 2}" for number in range(PROOFS)]
        done(heads.prove(b""))
        made, proofs = timed(
            lambda: [done(heads.prove(keys.name("order", name))) for name in names]
        )
        place = heads.place

        def check() -> None:
            for name, proof in zip(names, proofs, strict=True):
                check_head("order", name, proof, place.position, place.root)

        self.figures["prove_us"] = round(made / PROOFS * 1e6, 1)
        self.figures["check_us"] = round(timed(check)[0] / PROOFS * 1e6, 1)
        self.figures["siblings_max"] = max(len(proof.siblings) for proof in proofs)

    def verify(self) -> None:
        """Compute the map again."""
        took, said = timed(
            lambda: [one for one in verify_head_map(self.store.view()) if isinstance(one, Fault)]
        )
        assert not said, said[0]
        self.figures["verify_us_each"] = round(took / self.aggregates * 1e6, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.figures["memory_mib_max"] = peak // 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description="what the head map costs")
    parser.add_argument("--aggregates", type=int, default=100_000)
    parser.add_argument("--touched", type=int, default=10_000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, given.aggregates, min(given.touched, given.aggregates))
        bench.build()
        bench.touch()
        bench.prove()
        bench.verify()
        done_closing = bench.store.close()
        assert done_closing.called
    print(json.dumps({"machine": description(), **bench.figures}, indent=1))


if __name__ == "__main__":
    main()
