"""A process that appends and advances the head map beside it, until it is killed."""

from __future__ import annotations

import sys
import time

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from eventdbx import limits
from eventdbx.application.mapping import HeadMap
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.commands import Write
from eventdbx.storage import eventlog
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, threaded

AGGREGATES = 200


async def append(store: Store, number: int) -> None:
    """Append to one aggregate after the other, for ever."""
    schemas = Catalogue(store, clock_ns=time.time_ns)
    writer = Writer(
        store, clock_ns=time.time_ns, entropy=lambda count: bytes(count), rules=schemas.rules
    )
    while True:
        number = (number + 7) % AGGREGATES
        write = Write("append", "order", f"o-{number}", "paid", "{}")
        await writer.write([write], actor=None, idempotency_key=None, render=len)


async def advance(store: Store) -> None:
    """Advance the map for ever; print each place that is durable."""
    heads = HeadMap(store, deferToThread)
    while True:
        await heads.advance()
        print(heads.place.position, heads.place.root.hex(), flush=True)
        await deferToThread(time.sleep, 0.001 if not heads.behind else 0)


def main(path: str) -> None:
    """Work on the store at ``path``."""
    from twisted.internet import reactor

    limits.MAP_STEP_EVENTS = 20
    store = Store(RocksStore.open(path), hop=threaded(reactor))  # type: ignore[arg-type]
    Deferred.fromCoroutine(append(store, eventlog.end_position(store.view(), 0)))
    Deferred.fromCoroutine(advance(store))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
