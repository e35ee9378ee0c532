"""A replay as in the server: RocksDB, a thread, the reactor, and appends meanwhile."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, cast

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from eventdbx.application.delivering import ReplayAsked
from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import Write
from eventdbx.domain.delivery.entries import Batch, LogConfig, PluginEntry
from eventdbx.plugins.interfaces import IDelivery
from eventdbx.plugins.replays import Replays, RunSlowly
from eventdbx.storage.hops import threaded
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store
from tests.application.test_writer import ALICE
from tests.plugins.target import Target

reactor: Any = installed


class ServerTests(TestCase):
    """Replays that have to share."""

    def setUp(self) -> None:
        self.store = Store(RocksStore.open(self.mktemp()), hop=threaded(reactor))
        self.addCleanup(self.store.close)
        self.schemas = Catalogue(self.store, clock_ns=time.time_ns)
        self.writer = Writer(
            self.store,
            clock_ns=time.time_ns,
            entropy=lambda count: bytes(count),
            rules=self.schemas.rules,
        )
        self.domain = Domain("default", self.store, self.writer, self.schemas)

    def append(self, events: int) -> Deferred[int]:
        """Append events to twenty orders in turns, in one commit."""
        writes = [
            Write("append", "order", f"o-{number % 20:02d}", "order_paid", f'{{"n":{number}}}')
            for number in range(events)
        ]
        return self.writer.write(writes, actor=ALICE, render=len)

    async def replayed(self, run_slowly: RunSlowly | None) -> tuple[Target, dict[str, JSON]]:
        """Carry out a replay in batches of 64 while appends go on."""
        target = Target()
        replays = Replays(reactor, self.domain, run_slowly)
        entry = PluginEntry(enabled=True, config=LogConfig(), batch=Batch(max_events=64))
        job = replays.start(
            entry, cast(IDelivery, target), ReplayAsked("log", "order", None, mode="all")
        )
        while True:
            progress = replays.progress(job)
            assert progress is not None
            if progress["state"] != "running":
                await replays.stop()
                return target, dict(progress)
            await self.append(20)

    @inlineCallbacks
    def test_beside_appends(self) -> Generator[Any, Any, None]:
        """Every event that was there arrives once, in order, with the state of its moment, from a
        thread and from the reactor's."""
        yield self.append(1_000)
        for run_slowly in (deferToThread, None):
            target, progress = yield Deferred.fromCoroutine(self.replayed(run_slowly))
            self.assertEqual((progress["state"], progress["error"]), ("done", None))
            self.assertEqual(progress["delivered"], progress["total"])
            self.assertEqual(sum(target.sizes), progress["delivered"])
            seen: dict[str, int] = {}
            for document in (one for batch in target.batches for one in batch):
                event, state = document["event"], document["state"]
                name = event["aggregate_id"]
                seen[name] = seen.get(name, 0) + 1
                self.assertEqual(event["version"], seen[name])
                self.assertEqual((state["version"], state["aggregate_id"]), (seen[name], name))
                self.assertEqual(state["state"], {"n": str(event["payload"]["n"])})
            self.assertEqual(len(seen), 20)
            self.assertGreaterEqual(min(seen.values()), 50)
