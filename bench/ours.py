"""Our own clients at work: the blocking one when one caller waits, the Twisted one otherwise.

One process, as for the peers; the reactor runs in a thread of its own because jobs arrive on
stdin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint

from bench.loading import write_of
from bench.measure import LATENCIES_KEPT, Metered, Outcome, joined, repeat
from bench.workload import (
    AGGREGATE_TYPE,
    AGGREGATES,
    EVENT_TYPE,
    METADATA_TEXT,
    PAGE_ITEMS,
    SELECTED,
    SHORT_EVENTS,
    Choice,
    text_of,
)
from eventdbx.client import BlockingClient, Client
from eventdbx.domain.cursors import AggregateCursor

reactor = cast(Any, _reactor)
HOST = "127.0.0.1"
Call = Callable[[Any], Any]


def calls(work: str, options: dict[str, Any], seed: int) -> Iterator[Call]:
    """Yield functions that perform one operation on a client, blocking or not."""
    choice = Choice(seed, options.get("aggregates", AGGREGATES))
    if work == "batch":
        return (_batch(batch) for batch in choice.batches(options.get("spread", 1)))
    if work in ("append", "append_to"):
        return (_append(*each) for each in choice.appends(options.get("among")))
    read = {"get": _get, "select": _select, "list": _list, "events": _events, "ten": _ten}[work]
    return (read(name) for name in choice.names(work))


def _batch(batch: list[tuple[str, dict[str, Any]]]) -> Call:
    writes = [write_of(name, text_of(body)) for name, body in batch]
    return lambda client: client.commit_batch(writes)


def _append(name: str, body: dict[str, Any]) -> Call:
    return lambda client: client.append(
        AGGREGATE_TYPE, name, EVENT_TYPE, body, metadata=METADATA_TEXT
    )


def _get(name: str) -> Call:
    return lambda client: client.get(AGGREGATE_TYPE, name)


def _select(name: str) -> Call:
    return lambda client: client.select(AGGREGATE_TYPE, name, *SELECTED)


def _list(name: str) -> Call:
    cursor = AggregateCursor(False, AGGREGATE_TYPE, name).token()
    return lambda client: client.list(cursor=cursor, take=PAGE_ITEMS)


def _events(name: str) -> Call:
    return lambda client: client.events(AGGREGATE_TYPE, name, take=PAGE_ITEMS)


def _ten(name: str) -> Call:
    return lambda client: client.events(AGGREGATE_TYPE, name, take=SHORT_EVENTS)


class Clients:
    """Does jobs against one daemon."""

    def __init__(self, port: int, token: str, *, plain: bool = False) -> None:
        self._port = port
        self._token = token
        self._plain = plain
        self._servers: list[int] = []
        self._started = False

    def blocking(self) -> BlockingClient:
        """Return a connected blocking client."""
        return BlockingClient(HOST, self._port, self._token, no_noise=self._plain)

    def work(self, job: dict[str, Any]) -> Outcome:
        """Do one job."""
        kind, seconds, options = job["work"], job["seconds"], job["options"]
        self._servers = job.get("servers", [])
        if job["how"] == "blocking":
            return self._threads(kind, job["clients"], seconds, options)
        if not self._started:
            self._started = True
            threading.Thread(
                target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True
            ).start()
        clients, depth = job["clients"], job["depth"] or 1
        if job["how"] == "shared":
            # As many callers, each waiting for its own answers, on one connection.
            clients, depth = 1, clients

        def start() -> Deferred[Outcome]:
            return Deferred.fromCoroutine(self._concurrent(kind, clients, depth, seconds, options))

        return cast(Outcome, threads.blockingCallFromThread(reactor, cast(Any, start)))

    def _threads(self, kind: str, clients: int, seconds: float, options: dict[str, Any]) -> Outcome:
        base = options.get("seed", 0) * (1 if clients == 1 else 1_000)
        outcomes: list[Outcome] = []
        ready = threading.Barrier(clients + 1)

        def run(number: int) -> None:
            steps = calls(kind, options, base + number)
            with self.blocking() as client:
                try:
                    for _warm in range(8):
                        next(steps)(client)
                except BaseException:
                    ready.abort()
                    raise
                ready.wait()
                outcomes.append(repeat(lambda: next(steps)(client), seconds))

        started = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in started:
            thread.start()
        ready.wait()
        metered = Metered(self._servers)
        for thread in started:
            thread.join()
        if len(outcomes) != clients:
            raise RuntimeError("a client failed")
        return metered.on(joined(outcomes))

    async def _concurrent(
        self, kind: str, clients: int, depth: int, seconds: float, options: dict[str, Any]
    ) -> Outcome:
        base = options.get("seed", 0) * 1_000
        connected = []
        for _client in range(clients):
            endpoint = HostnameEndpoint(reactor, HOST, self._port)
            connected.append(await Client.connect(endpoint, self._token, no_noise=self._plain))
        lanes = [
            (client, calls(kind, options, base + index * depth + lane))
            for index, client in enumerate(connected)
            for lane in range(depth)
        ]
        await run_lanes(lanes, 0.05)
        metered = Metered(self._servers)
        outcome = metered.on(await run_lanes(lanes, seconds))
        for client in connected:
            await client.close()
        return outcome


def run_lanes(lanes: list[tuple[Any, Iterator[Call]]], seconds: float) -> Deferred[Outcome]:
    """Keep one call of every lane on its way until the time is up."""
    clock = time.perf_counter
    latencies: list[float] = []
    finished: Deferred[Outcome] = Deferred()
    start = clock()
    until = start + seconds
    operations, running = 0, len(lanes)

    def launch(client: Any, steps: Iterator[Call], now: float) -> None:
        answer = next(steps)(client)
        answer.addCallbacks(landed, failed, callbackArgs=(client, steps, now))

    def landed(_answer: Any, client: Any, steps: Iterator[Call], sent: float) -> None:
        nonlocal operations, running
        now = clock()
        operations += 1
        if operations <= LATENCIES_KEPT:
            latencies.append((now - sent) * 1e3)
        if now < until:
            launch(client, steps, now)
            return
        running -= 1
        if not running and not finished.called:
            finished.callback(Outcome(operations, now - start, latencies))

    def failed(failure: Any) -> None:
        if not finished.called:
            finished.errback(failure)

    for client, steps in lanes:
        launch(client, steps, start)
    return finished
