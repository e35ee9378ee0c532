"""What is measured: the rows of the table, the ways in which each database may do them, sizes.

Only values; running them is in :mod:`bench.run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.workload import BATCH_EVENTS


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and how large; ``pages`` are the aggregates of the paging stores.

    ``scout_share`` of a measurement's length is what trying out a style takes, before the rounds;
    at 0.0 the first round tries them all.
    """

    seconds: float
    rounds: int
    long_events: int
    pages: tuple[int, ...]
    scout_share: float = 0.0


SIZES = {
    "small": Sizes(0.2, 3, 5_000, (1_000, 10_000)),
    "medium": Sizes(1.0, 5, 100_000, (1_000, 100_000)),
    "full": Sizes(2.0, 7, 100_000, (1_000, 100_000, 1_000_000)),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a kind of work with so many clients."""

    key: str
    title: str
    work: str
    clients: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    peers: tuple[str, ...] = ("ours", "tx", "fn", "sqlite")

    @property
    def events_each(self) -> int:
        """Events that one operation writes."""
        return BATCH_EVENTS if self.work == "batch" else 1


ROWS = (
    Row("append-1", "append, one waiting client", "append"),
    Row("append-16", "append, 16 clients", "append", 16),
    Row("append-64", "append, 64 clients", "append", 64),
    Row("pipelined", "append, pipelined on 4 connections", "append", 4, {"pipelined": True},
        ("ours", "fn")),
    Row("batch-1", "batches of 100 on one aggregate, 1 client", "batch", 1, {"spread": 1},
        ("ours", "fn", "sqlite")),
    Row("batch-4", "batches of 100 on one aggregate, 4 clients", "batch", 4, {"spread": 1},
        ("ours", "fn", "sqlite")),
    Row("spread-1", "batches of 100 on 10 aggregates, 1 client", "batch", 1, {"spread": 10},
        ("ours", "fn", "sqlite")),
    Row("spread-4", "batches of 100 on 10 aggregates, 4 clients", "batch", 4, {"spread": 10},
        ("ours", "fn", "sqlite")),
    Row("short-1", "append to aggregates of 10 events, 1 client", "append_to", 1,
        {"among": "short"}, ("ours", "fn", "sqlite")),
    Row("long-1", "append to an aggregate with a long history, 1 client", "append_to", 1,
        {"among": "long"}, ("ours", "fn", "sqlite")),
    Row("short-16", "append to aggregates of 10 events, 16 clients", "append_to", 16,
        {"among": "short"}, ("ours",)),
    Row("long-16", "append to an aggregate with a long history, 16 clients", "append_to", 16,
        {"among": "long"}, ("ours",)),
    Row("get-1", "get, one waiting client", "get", peers=("ours", "fn", "sqlite")),
    Row("get-16", "get, 16 clients", "get", 16, peers=("ours", "fn", "sqlite")),
    Row("select", "select of three fields, one waiting client", "select",
        peers=("ours", "fn", "sqlite")),
    Row("list", "list page of 50, one waiting client", "list", peers=("ours", "fn", "sqlite")),
    Row("events", "events page of 50, one waiting client", "events",
        peers=("ours", "fn", "sqlite")),
)  # fmt: skip

PEER_SIZES = Sizes(1.0, 3, 10, (), 0.25)
EVERYONE = ("ours", "uma", "tx", "fn", "sqlite")
READERS = ("ours", "uma", "fn", "sqlite")

PEER_ROWS = (
    Row("append-1", "append, 1 client", "append", 1, {"every": True}, EVERYONE),
    Row("append-16", "append, 16 clients", "append", 16, {"every": True}, EVERYONE),
    Row("append-64", "append, 64 clients", "append", 64, {"every": True}, EVERYONE),
    Row("batch-1", "batches of 100, 1 client", "batch", 1, {"spread": 1, "every": True}, READERS),
    Row("batch-4", "batches of 100, 4 clients", "batch", 4, {"spread": 1, "every": True}, READERS),
    Row("ten-1", "read ten events of an aggregate, 1 client", "ten", 1, {"every": True}, READERS),
    Row("ten-16", "read ten events of an aggregate, 16 clients", "ten", 16, {"every": True},
        READERS),
)  # fmt: skip
"""The rows of ``--plan peers``; every client that we have is tried for ours."""

PLANS = {"all": ROWS, "peers": PEER_ROWS}


@dataclass(frozen=True, slots=True)
class Style:
    """One way for clients to do a row's work."""

    name: str
    how: str
    transport: str = "tcp"
    processes: int = 1
    depth: int = 0
    usual: bool = True
    """Whether ordinary users of the library write it so; libpq by hand and unix sockets are not.

    In ``--plan peers`` for EventDBX and UmaDB: whether each caller has a connection of its own.
    """


OURS_WAITING = (Style("blocking client", "blocking"),)
OURS_CONCURRENT = (Style("Twisted client", "twisted"),)
OURS_EVERY = (
    Style("Twisted client", "twisted"),
    Style("Twisted client, 1 connection", "shared", usual=False),
    Style("Twisted client, 2 processes", "twisted", processes=2),
    Style("Twisted client, 1 connection, 2 processes", "shared", processes=2, usual=False),
    Style("blocking client, threads", "blocking"),
    Style("blocking client, threads, 2 processes", "blocking", processes=2),
)
UMA_WAITING = (Style("its client", "own", "default"),)
UMA_CONCURRENT = (
    Style("threads, 1 connection", "shared", "default", usual=False),
    Style("threads, a connection each", "own", "default"),
    Style("threads, 1 connection, 2 processes", "shared", "default", 2, usual=False),
)
UMA_BATCHES = (Style("no zero-fill, 1 connection", "shared", "unfilled", usual=False),)
OURS_PIPELINED = tuple(
    Style(f"Twisted client, {depth} in flight each", "twisted", depth=depth) for depth in (16, 64)
)


def styles(peer: str, row: Row) -> tuple[Style, ...]:
    """Return the ways that are tried for this row; the best of them counts."""
    if peer == "uma":
        found = UMA_WAITING if row.clients == 1 else UMA_CONCURRENT
        return found + UMA_BATCHES if row.work == "batch" else found
    if peer == "ours":
        if row.options.get("pipelined"):
            return OURS_PIPELINED
        every = row.options.get("every")
        if row.clients == 1:
            return OURS_WAITING + OURS_CONCURRENT if every else OURS_WAITING
        return OURS_EVERY if every else OURS_CONCURRENT
    if peer == "sqlite":
        return (Style("in process", "embedded"),)
    if row.options.get("pipelined"):
        return tuple(
            Style(f"libpq pipeline, {depth} in flight each", "pipeline", "unix", 1, depth, False)
            for depth in (4, 16)
        )
    if row.clients == 1:
        return (
            Style("psycopg", "waiting"),
            Style("psycopg, unix socket", "waiting", "unix", usual=False),
        )
    if row.work == "batch":
        return (
            Style("psycopg threads", "threads"),
            Style("psycopg threads, unix socket", "threads", "unix", usual=False),
            Style("psycopg threads, 2 processes", "threads", processes=2),
        )
    ways = [
        Style("psycopg threads", "threads"),
        Style("psycopg asyncio", "asyncio"),
        Style("psycopg threads, 2 processes", "threads", processes=2),
        Style("psycopg threads, unix socket", "threads", "unix", usual=False),
        Style("libpq loop, unix socket", "loop", "unix", usual=False),
    ]
    if row.work == "append" and peer == "fn":
        ways.append(
            Style("libpq pipeline on 4 connections, unix socket", "pipeline", "unix", 1,
                  row.clients // 4, False)
        )  # fmt: skip
    return tuple(ways)
