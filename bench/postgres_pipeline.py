"""PostgreSQL through libpq itself: one loop over many connections, and pipelined calls.

The leanest client that Python allows: no cursors, no adaptation, an epoll loop. Each call is a
transaction of its own, also when several are on their way on one connection.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Generator
from functools import partial
from typing import Any

from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from bench.measure import LATENCIES_KEPT, Outcome
from bench.postgres_threads import CALL, GET, INSERT, LOCK, TEN, UPSERT
from bench.workload import (
    ACTOR_GROUP,
    ACTOR_USER,
    AGGREGATE_TYPE,
    EVENT_TYPE,
    METADATA,
    Choice,
    text_of,
)

Query = tuple[bytes, list[bytes]]
Steps = Generator[Query, PGresult, None]

STATEMENTS = {b"call": CALL, b"lock": LOCK, b"insert": INSERT, b"upsert": UPSERT, b"get": GET,
              b"ten": TEN}  # fmt: skip
TYPE, EVENT, GROUP, USER = (
    text.encode() for text in (AGGREGATE_TYPE, EVENT_TYPE, ACTOR_GROUP, ACTOR_USER)
)


def numbered(query: str) -> bytes:
    """Return a query with ``$1`` in the place of ``%s``."""
    parts = query.split("%s")
    text = parts[0] + "".join(f"${index}{part}" for index, part in enumerate(parts[1:], 1))
    return text.encode()


def connect(dsn: str) -> PGconn:
    """Return a connection with every statement prepared, set not to block."""
    connection = pq.PGconn.connect(dsn.encode())
    if connection.status != pq.ConnStatus.OK:
        raise RuntimeError(connection.get_error_message())
    for name, query in STATEMENTS.items():
        checked(connection.prepare(name, numbered(query)))
    checked(connection.prepare(b"begin", b"begin"))
    checked(connection.prepare(b"commit", b"commit"))
    connection.nonblocking = 1
    return connection


def checked(result: PGresult) -> PGresult:
    """Return a result that is not an error; raise otherwise."""
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise RuntimeError(result.get_error_message())
    return result


def call_steps(choice: Choice) -> Steps:
    """``fn``: one call per append."""
    for identifier, body in choice.appends():
        text = text_of(body).encode()
        yield b"call", [TYPE, identifier.encode(), EVENT, text, METADATA, GROUP, USER]


def transaction_steps(choice: Choice) -> Steps:
    """``tx``: begin, lock, insert, upsert, commit."""
    for identifier, body in choice.appends():
        text, name = text_of(body).encode(), identifier.encode()
        yield b"begin", []
        found = yield b"lock", [TYPE, name]
        value = found.get_value(0, 0) if found.ntuples else b"0"
        version = b"%d" % (int(value or 0) + 1)
        yield b"insert", [TYPE, name, version, EVENT, text, METADATA, GROUP, USER]
        yield b"upsert", [TYPE, name, version, text]
        yield b"commit", []


def read_steps(choice: Choice, work: str) -> Steps:
    """One head, or ten events, per step."""
    for identifier in choice.names(work):
        yield work.encode(), [TYPE, identifier.encode()]


class _Client:
    """One connection and what it is about to do."""

    def __init__(self, connection: PGconn, steps: Steps, last: bytes) -> None:
        self.connection = connection
        self.steps = steps
        self.last = last
        self.sent = 0.0
        self.query: Query = next(steps)

    def send(self) -> None:
        self.connection.send_query_prepared(*self.query)

    def receive(self) -> bool:
        """Take an answer if it is complete and return whether one operation ended with it."""
        connection = self.connection
        connection.consume_input()
        if connection.is_busy():
            return False
        result = connection.get_result()
        while (following := connection.get_result()) is not None:
            result = following
        assert result is not None
        ended = self.query[0] == self.last
        self.query = self.steps.send(checked(result))
        return ended


def looped(
    dsn: str, work: str, mode: str, clients: int, seconds: float, options: dict[str, Any]
) -> Outcome:
    """So many connections in one epoll loop, each waiting for its answer."""
    if work == "append":
        make, last = (transaction_steps, b"commit") if mode == "tx" else (call_steps, b"call")
    else:
        make, last = partial(read_steps, work=work), work.encode()
    base = options.get("seed", 0) * 1_000
    table = {}
    poll = select.epoll()
    for index in range(clients):
        client = _Client(connect(dsn), make(Choice(base + index)), last)
        table[client.connection.socket] = client
        poll.register(client.connection.socket, select.EPOLLIN)
    _loop(poll, table, 0.05)
    outcome = _loop(poll, table, seconds)
    poll.close()
    for client in table.values():
        client.connection.finish()
    return outcome


def _loop(poll: select.epoll, table: dict[int, _Client], seconds: float) -> Outcome:
    clock = time.perf_counter
    latencies: list[float] = []
    operations, waiting = 0, len(table)
    start = clock()
    until = start + seconds
    for client in table.values():
        client.sent = start
        client.send()
    while waiting:
        for number, _events in poll.poll():
            client = table[number]
            before = client.query
            ended = client.receive()
            if client.query is before:
                continue
            now = clock()
            if ended:
                operations += 1
                if operations <= LATENCIES_KEPT:
                    latencies.append((now - client.sent) * 1e3)
                client.sent = now
                if now >= until:
                    waiting -= 1
                    continue
            client.send()
    return Outcome(operations, clock() - start, latencies)


def pipelined(
    dsn: str, clients: int, depth: int, seconds: float, options: dict[str, Any]
) -> Outcome:
    """Function calls on few connections, so many on their way on each, each its own transaction."""
    base = options.get("seed", 0) * 1_000
    poll = select.epoll()
    table: dict[int, tuple[PGconn, Steps, deque[float]]] = {}
    for index in range(clients):
        connection = connect(dsn)
        connection.enter_pipeline_mode()
        table[connection.socket] = (connection, call_steps(Choice(base + index)), deque())
        poll.register(connection.socket, select.EPOLLIN)
    _pump(poll, table, depth, 0.05)
    outcome = _pump(poll, table, depth, seconds)
    poll.close()
    for connection, _steps, _sent in table.values():
        connection.finish()
    return outcome


def _pump(
    poll: select.epoll,
    table: dict[int, tuple[PGconn, Steps, deque[float]]],
    depth: int,
    seconds: float,
) -> Outcome:
    clock = time.perf_counter
    latencies: list[float] = []
    operations = 0
    start = clock()
    until = start + seconds

    def fill(connection: PGconn, steps: Steps, sent: deque[float], now: float) -> None:
        while len(sent) < depth:
            connection.send_query_prepared(*next(steps))
            connection.pipeline_sync()
            sent.append(now)
        while connection.flush():
            select.select([], [connection.socket], [])

    for connection, steps, sent in table.values():
        fill(connection, steps, sent, start)
    while any(sent for _connection, _steps, sent in table.values()):
        for number, _events in poll.poll():
            connection, steps, sent = table[number]
            connection.consume_input()
            now = clock()
            while sent and not connection.is_busy():
                result = connection.get_result()
                if result is None or result.status == pq.ExecStatus.PIPELINE_SYNC:
                    continue
                checked(result)
                operations += 1
                if operations <= LATENCIES_KEPT:
                    latencies.append((now - sent[0]) * 1e3)
                sent.popleft()
            if now < until:
                fill(connection, steps, sent, now)
    return Outcome(operations, clock() - start, latencies)
