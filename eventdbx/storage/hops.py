"""Ways across: where the store waits for the disk while its caller goes on.

Implementations of :class:`eventdbx.storage.interfaces.IHop`. The stepper that tests use to
choose interleavings lives with the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from eventdbx.storage.interfaces import IHop


@implementer(IHop)
class _Synchronous:
    """No way at all: for offline use and tests, where every Deferred fires at once."""

    inline = True

    def run(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """See :class:`IHop`."""
        work()
        done()

    def stop(self) -> None:
        """See :class:`IHop`."""


@implementer(IHop)
class _Threaded:
    """One daemon thread that waits for the disk."""

    inline = False

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._errands: SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None] = (
            SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """See :class:`IHop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="store-sync", daemon=True)
            self._thread.start()
        self._errands.put((work, done))

    def stop(self) -> None:
        """See :class:`IHop`."""
        if self._thread is not None:
            self._errands.put(None)

    def _wait(self) -> None:
        while (errand := self._errands.get()) is not None:
            work, done = errand
            work()
            self._reactor.callFromThread(done)


def synchronous() -> IHop:
    """Commits on the caller's thread, before ``run`` returns."""
    return _Synchronous()


def threaded(reactor: IReactorFromThreads) -> IHop:
    """Commits on a thread of their own, answers on the thread of ``reactor``."""
    return _Threaded(reactor)
