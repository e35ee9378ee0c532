"""Where the threaded hop works and where it reports."""

from __future__ import annotations

import threading
from functools import partial
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from eventdbx.storage.hops import ThreadedReactor, threaded
from eventdbx.storage.interfaces import IHop

LONG_S = 0.01
SHORT_S = 0.0001


class ThreadedTests(TestCase):
    """The hop of a daemon, on the real reactor."""

    def setUp(self) -> None:
        self.now = 0.0
        self.hop: IHop = threaded(cast(ThreadedReactor, reactor), monotonic=lambda: self.now)
        self.addCleanup(self.hop.stop)
        self.order: list[int] = []

    async def work(self, *, brief: bool, lasting: float = SHORT_S) -> bool:
        """Run one errand; true if the work was done on this thread."""
        threads: list[threading.Thread] = []
        reported: Deferred[None] = Deferred()

        def work() -> None:
            threads.append(threading.current_thread())
            self.now += lasting

        def done() -> None:
            threads.append(threading.current_thread())
            reported.callback(None)

        self.hop.run(work, done, brief=brief)
        await reported
        self.assertIs(threads[1], threading.current_thread())
        return threads[0] is threading.current_thread()

    async def test_elsewhere(self) -> None:
        """Work that may take long is done on another thread and reported on this one."""
        self.assertFalse(await self.work(brief=False))
        self.assertFalse(await self.work(brief=False))

    async def test_a_quick_disk(self) -> None:
        """Once the disk has shown itself quick, a sync is done on the spot."""
        self.assertFalse(await self.work(brief=True))
        self.assertTrue(self.hop.quick())
        self.assertTrue(await self.work(brief=True))
        self.assertFalse(await self.work(brief=False))

    async def test_a_slow_disk(self) -> None:
        """A disk that has become slow never holds up the reactor, until it has recovered."""
        await self.work(brief=True)
        await self.work(brief=False, lasting=LONG_S)
        self.assertFalse(await self.work(brief=True))
        for _ in range(100):
            await self.work(brief=False)
        self.assertTrue(await self.work(brief=True))

    async def test_order(self) -> None:
        """Errands are done one at a time in order, a brief one is no exception."""
        await self.work(brief=True)
        finished: Deferred[None] = Deferred()
        for number in range(10):
            self.hop.run(lambda: None, partial(self.order.append, number), brief=number > 4)
        self.hop.run(lambda: None, lambda: finished.callback(None), brief=True)
        await finished
        self.assertEqual(self.order, list(range(10)))

    async def test_gather(self) -> None:
        """Departure waits for the end of the turn."""
        departed: Deferred[str] = Deferred()
        self.hop.gather(lambda: departed.callback("departed"))
        self.assertNoResult(departed)
        self.assertEqual(await departed, "departed")
