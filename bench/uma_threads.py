"""UmaDB through its Python client: one waiting client, or threads in one process.

The package has one client, which blocks; its native part releases the interpreter while it waits,
so threads are how many callers use it. They share one connection, or have one each: both are
tried. An append is what an event-sourced program does: one event with the tag of its aggregate,
on the condition that no event with this tag came after the last position that the caller knows.
No two clients write to the same aggregate, so that a condition never fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import umadb

from bench.measure import Metered, Outcome, joined, repeat
from bench.uma import event_of, query_of
from bench.workload import SHORT_EVENTS, Choice, text_of

Step = Callable[[], None]


def one_step(client: umadb.Client, work: str, options: dict[str, Any], choice: Choice) -> Step:
    """Return the function that performs one operation of this work."""
    if work == "ten":
        return _reading(client, choice)
    known: dict[str, int] = {}
    head = client.head()

    def append(identifier: str, events: list[umadb.Event]) -> None:
        condition = umadb.AppendCondition(query_of(identifier), known.get(identifier, head))
        known[identifier] = client.append(events, condition)

    if work == "batch":
        batches = choice.batches(options.get("spread", 1))

        def write_batch() -> None:
            batch = next(batches)
            events = [event_of(name, text_of(body).encode()) for name, body in batch]
            append(batch[0][0], events)

        return write_batch
    appends = choice.appends()

    def write() -> None:
        identifier, body = next(appends)
        append(identifier, [event_of(identifier, text_of(body).encode())])

    return write


def _reading(client: umadb.Client, choice: Choice) -> Step:
    names = choice.shorts()

    def read() -> None:
        found = list(client.read(query_of(next(names)), limit=SHORT_EVENTS))
        assert len([each.event.data for each in found]) == SHORT_EVENTS

    return read


def threads(
    url: str,
    work: str,
    clients: int,
    seconds: float,
    options: dict[str, Any],
    *,
    shared: bool,
    servers: list[int],
) -> Outcome:
    """So many threads in this one process, with one connection together or one each."""
    outcomes: list[Outcome] = []
    ready = threading.Barrier(clients + 1)
    common = umadb.Client(url)
    base = options.get("seed", 0) * 1_000
    process, processes = options.get("process", (0, 1))

    def run(number: int) -> None:
        client = common if shared else umadb.Client(url)
        part = (process * clients + number, processes * clients)
        step = one_step(client, work, options, Choice(base + number, part=part))
        try:
            for _warm in range(8):
                step()
        except BaseException:
            ready.abort()
            raise
        ready.wait()
        outcomes.append(repeat(step, seconds))

    started = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in started:
        thread.start()
    ready.wait()
    metered = Metered(servers)
    for thread in started:
        thread.join()
    if len(outcomes) != clients:
        raise RuntimeError("a client failed")
    return metered.on(joined(outcomes))
