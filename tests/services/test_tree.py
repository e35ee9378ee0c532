"""What the service tree promises: work on threads that can be called off."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from eventdbx.services.listening import endpoint_string
from eventdbx.services.tree import run_on_pool


class SlowReadTests(TestCase):
    """Reads on the pool of threads."""

    def setUp(self) -> None:
        self.pool = ThreadPool(1, 1)
        self.pool.start()
        self.addCleanup(self.pool.stop)

    async def test_result_and_failure(self) -> None:
        """What the work returns or raises reaches who waits."""
        self.assertEqual(await run_on_pool(reactor, self.pool, lambda: 5), 5)
        with self.assertRaises(ZeroDivisionError):
            await run_on_pool(reactor, self.pool, lambda: 1 // 0)

    async def test_called_off(self) -> None:
        """Work that nobody waits for any more, and that has not begun, is never done."""
        go_on = threading.Event()
        done: list[Any] = []
        first = run_on_pool(reactor, self.pool, go_on.wait)
        second = run_on_pool(reactor, self.pool, lambda: done.append(2))
        third = run_on_pool(reactor, self.pool, lambda: done.append(3))
        second.cancel()
        go_on.set()
        with self.assertRaises(CancelledError):
            await second
        await first
        await third
        self.assertEqual(done, [3])


class EndpointTests(TestCase):
    """Addresses to listen on."""

    def test_addresses_and_strings(self) -> None:
        """A host and port become an endpoint; an endpoint string is taken as it is."""
        for given, wanted in (
            ("127.0.0.1:6363", "tcp:6363:interface=127.0.0.1:backlog=511"),
            ("[::1]:6363", "tcp6:6363:interface=\\:\\:1:backlog=511"),
            ("ssl:6363:privateKey=a.pem", "ssl:6363:privateKey=a.pem"),
        ):
            self.assertEqual(endpoint_string(given), wanted)
