"""PostgreSQL through psycopg's connections: one waiting client, threads, and asyncio.

``tx`` is what event-store libraries do, a transaction of three statements; ``fn`` is one call of
a function per append. Every statement is prepared. Raw libpq is in :mod:`bench.postgres_pipeline`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from bench.measure import LATENCIES_KEPT, Outcome, joined, repeat
from bench.workload import (
    ACTOR_GROUP,
    ACTOR_USER,
    AGGREGATE_TYPE,
    BATCH_EVENTS,
    EVENT_TYPE,
    METADATA_TEXT,
    PAGE_ITEMS,
    SELECTED,
    SHORT_EVENTS,
    Choice,
    text_of,
)

Row = tuple[Any, ...]

CALL = "select * from append_event(%s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, null)"
# Arrays travel in binary form: psycopg's text form of them costs four times the whole append.
CALL_MANY = "select * from append_events(%s, %b, %s, %b, %b, %s, %s)"
CALL_MANY_TO_ONE = "select * from append_events_to(%s, %s, %s, %b, %b, %s, %s)"
LOCK = "select version from heads where aggregate_type = %s and aggregate_id = %s for update"
INSERT = (
    "insert into events (aggregate_type, aggregate_id, version, event_type, payload, metadata,"
    " created_at, actor_group, actor_user)"
    " values (%s, %s, %s, %s, %s::jsonb, %s::jsonb, clock_timestamp(), %s, %s)"
    " returning event_id, created_at"
)
UPSERT = (
    "insert into heads as h values (%s, %s, %s, %s::jsonb, now(), now())"
    " on conflict (aggregate_type, aggregate_id) do update set version = excluded.version,"
    " state = h.state || excluded.state, updated_at = excluded.updated_at"
)
GET = (
    "select version, state::text, created_at, updated_at from heads"
    " where aggregate_type = %s and aggregate_id = %s"
)
SELECT = (
    "select " + ", ".join(f"state->>'{name}'" for name in SELECTED) + " from heads"
    " where aggregate_type = %s and aggregate_id = %s"
)
HEAD_PAGE = (
    "select aggregate_type, aggregate_id, version, state::text, created_at, updated_at from heads"
    " where (aggregate_type, aggregate_id) > (%s, %s)"
    f" order by aggregate_type, aggregate_id limit {PAGE_ITEMS}"
)
EVENTS = (
    "select event_id, version, event_type, payload::text, metadata::text, created_at, actor_group,"
    " actor_user from events where aggregate_type = %s and aggregate_id = %s and version > 0"
    " order by version limit "
)
EVENT_PAGE = f"{EVENTS}{PAGE_ITEMS}"
TEN = f"{EVENTS}{SHORT_EVENTS}"


def call_parameters(identifier: str, body: dict[str, Any]) -> Row:
    """Return the parameters of one ``append_event``."""
    return (AGGREGATE_TYPE, identifier, EVENT_TYPE, text_of(body), METADATA_TEXT, ACTOR_GROUP,
            ACTOR_USER)  # fmt: skip


def batch_call(batch: list[tuple[str, dict[str, Any]]], spread: int) -> tuple[str, Row]:
    """Return the function call that appends a batch, the leaner one if it can be used."""
    bodies = [text_of(body) for _identifier, body in batch]
    metas = [METADATA_TEXT] * len(batch)
    tail = (EVENT_TYPE, bodies, metas, ACTOR_GROUP, ACTOR_USER)
    if spread == 1:
        return CALL_MANY_TO_ONE, (AGGREGATE_TYPE, batch[0][0], *tail)
    return CALL_MANY, (AGGREGATE_TYPE, [identifier for identifier, _body in batch], *tail)


def append_by_call(connection: psycopg.Connection, identifier: str, body: dict[str, Any]) -> None:
    """Append one event with one function call (``fn``)."""
    parameters = call_parameters(identifier, body)
    row = connection.execute(CALL, parameters, prepare=True).fetchone()
    assert row is not None


def append_in_transaction(
    connection: psycopg.Connection, identifier: str, body: dict[str, Any]
) -> None:
    """Append one event as event-store libraries do (``tx``): lock, insert, upsert, commit."""
    text = text_of(body)
    with connection.transaction():
        row = connection.execute(LOCK, (AGGREGATE_TYPE, identifier), prepare=True).fetchone()
        version = row[0] + 1 if row else 1
        connection.execute(
            INSERT,
            (AGGREGATE_TYPE, identifier, version, EVENT_TYPE, text, METADATA_TEXT, ACTOR_GROUP,
             ACTOR_USER),
            prepare=True,
        ).fetchone()  # fmt: skip
        connection.execute(UPSERT, (AGGREGATE_TYPE, identifier, version, text), prepare=True)


def one_step(
    work: str, mode: str, options: dict[str, Any], seed: int
) -> Callable[[psycopg.Connection], None]:
    """Return the function that performs one operation of this work on a connection."""
    choice = Choice(seed)
    if work == "batch":
        spread = options.get("spread", 1)
        batches = choice.batches(spread)

        def write_batch(connection: psycopg.Connection) -> None:
            query, parameters = batch_call(next(batches), spread)
            rows = connection.execute(query, parameters, prepare=True).fetchall()
            assert len(rows) == BATCH_EVENTS

        return write_batch
    if work in ("append", "append_to"):
        append = append_in_transaction if mode == "tx" else append_by_call
        appends = choice.appends(options.get("among"))

        def write(connection: psycopg.Connection) -> None:
            append(connection, *next(appends))

        return write
    return _one_read(work, choice)


def _one_read(work: str, choice: Choice) -> Callable[[psycopg.Connection], None]:
    query = {"get": GET, "select": SELECT, "list": HEAD_PAGE, "events": EVENT_PAGE, "ten": TEN}[
        work
    ]
    names = choice.names(work)

    def read(connection: psycopg.Connection) -> None:
        rows = connection.execute(query, (AGGREGATE_TYPE, next(names)), prepare=True).fetchall()
        assert rows

    return read


def one_client(dsn: str, work: str, mode: str, seconds: float, options: dict[str, Any]) -> Outcome:
    """One client that waits for each answer."""
    step = one_step(work, mode, options, options.get("seed", 0))
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _warm in range(8):
            step(connection)
        return repeat(lambda: step(connection), seconds)


def threads(
    dsn: str, work: str, mode: str, clients: int, seconds: float, options: dict[str, Any]
) -> Outcome:
    """So many threads with a connection each, in this one process."""
    outcomes: list[Outcome] = []
    ready = threading.Barrier(clients)

    def run(seed: int) -> None:
        step = one_step(work, mode, options, seed)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _warm in range(8):
                step(connection)
            ready.wait()
            outcomes.append(repeat(lambda: step(connection), seconds))

    base = options.get("seed", 0) * 1_000
    started = [threading.Thread(target=run, args=(base + index,)) for index in range(clients)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if len(outcomes) != clients:
        raise RuntimeError("a client failed")
    return joined(outcomes)


def asynchronous(
    dsn: str, work: str, mode: str, clients: int, seconds: float, options: dict[str, Any]
) -> Outcome:
    """So many asyncio tasks with a connection each, in this one process."""
    return asyncio.run(_asynchronous(dsn, work, mode, clients, seconds, options))


async def _asynchronous(
    dsn: str, work: str, mode: str, clients: int, seconds: float, options: dict[str, Any]
) -> Outcome:
    connections = [
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) for _client in range(clients)
    ]
    latencies: list[float] = []
    clock = time.perf_counter
    base = options.get("seed", 0) * 1_000
    spread = options.get("spread", 1)

    async def append(
        connection: psycopg.AsyncConnection, identifier: str, body: dict[str, Any]
    ) -> None:
        if mode == "fn":
            parameters = call_parameters(identifier, body)
            await connection.execute(CALL, parameters, prepare=True)
            return
        text = text_of(body)
        async with connection.transaction():
            cursor = await connection.execute(LOCK, (AGGREGATE_TYPE, identifier), prepare=True)
            row = await cursor.fetchone()
            version = row[0] + 1 if row else 1
            parameters = (AGGREGATE_TYPE, identifier, version, EVENT_TYPE, text, METADATA_TEXT,
                          ACTOR_GROUP, ACTOR_USER)  # fmt: skip
            await connection.execute(INSERT, parameters, prepare=True)
            parameters = (AGGREGATE_TYPE, identifier, version, text)
            await connection.execute(UPSERT, parameters, prepare=True)

    async def run(index: int, connection: psycopg.AsyncConnection, until: float) -> int:
        choice = Choice(base + index)
        appends, batches, ids = choice.appends(), choice.batches(spread), choice.names(work)
        done, before = 0, clock()
        while before < until:
            if work == "append":
                await append(connection, *next(appends))
            elif work == "batch":
                await connection.execute(*batch_call(next(batches), spread), prepare=True)
            else:
                query = TEN if work == "ten" else GET
                cursor = await connection.execute(query, (AGGREGATE_TYPE, next(ids)), prepare=True)
                assert await cursor.fetchall()
            after = clock()
            done += 1
            if len(latencies) < LATENCIES_KEPT:
                latencies.append((after - before) * 1e3)
            before = after
        return done

    async def all_until(until: float) -> int:
        runs = (run(index, each, until) for index, each in enumerate(connections))
        return sum(await asyncio.gather(*runs))

    await all_until(clock() + 0.05)
    latencies.clear()
    start = clock()
    operations = await all_until(start + seconds)
    elapsed = clock() - start
    for connection in connections:
        await connection.close()
    return Outcome(operations, elapsed, latencies)
