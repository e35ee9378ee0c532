"""Ways across: where the store waits for the disk while its caller goes on.

Implementations of :class:`eventdbx.storage.interfaces.IHop`. The stepper that tests use to
choose interleavings lives with the tests.

What was measured for the way of the server: steps per second over sockets with 30 us of work a
step; one client waiting each time, 16, 64, and four connections with 64 steps in flight each.
Two cores shared with other work, so each is the best of five interleaved runs; differences
below a tenth mean nothing. "0.5 ms": with ``sys.setswitchinterval(0.0005)``.

====================================================  =====  ======  ======  ======
a thread; the first step of a turn departs at once    2.0k    9.0k   11.7k   18.2k
same, 0.5 ms                                          2.1k    6.9k   10.1k   18.0k
a thread, departing at the end of the turn, 0.5 ms    2.7k   11.1k   13.1k   21.5k
same, a lone step synced on the reactor's thread      2.4k    9.9k   12.8k   21.3k
same with logs prepared (``RocksStore.open``)         3.0k    9.1k   10.5k   19.6k
same with logs prepared, 5 ms                         3.1k    9.9k   11.2k   18.3k
everything on the reactor's thread (two runs, 5 ms)   1.9k    1.9k    2.1k    2.4k
====================================================  =====  ======  ======  ======

So steps depart at the end of the turn. The last line synced each step by itself; a group that was
gathered at the end of the turn and is synced in place costs less than with a thread: 166 instead
of 204 us of processor time a step with 64 clients. So that is done while the disk is quick. The
switch interval is left alone: the thread needs the interpreter only to start and to end a sync,
and its effect was within the noise. A wake-up of our own (eventfd) was not built:
``callFromThread`` costs one byte through a pipe per batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from zope.interface import implementer

from eventdbx import limits
from eventdbx.storage.interfaces import IHop


class ThreadedReactor(IReactorFromThreads, IReactorTime):
    """What the threaded hop needs of a reactor."""


@implementer(IHop)
class _Synchronous:
    """No way at all: for offline use and tests, where every Deferred fires at once."""

    def gather(self, depart: Callable[[], None]) -> None:
        """See :class:`IHop`."""
        depart()

    def quick(self) -> bool:
        """See :class:`IHop`."""
        return True

    def run(self, work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        """See :class:`IHop`."""
        work()
        done()

    def stop(self) -> None:
        """See :class:`IHop`."""


@implementer(IHop)
class _Threaded:
    """One daemon thread that waits for the disk, unless the disk is quick.

    A sync on the reactor's thread spares four changes of the thread that holds the interpreter,
    which cost more than the sync itself; but it holds up everybody else, so it is done only
    while syncs of late took less than ``IN_PLACE_SYNC_S_MAX``.
    """

    def __init__(self, reactor: ThreadedReactor, monotonic: Callable[[], float]) -> None:
        self._reactor = reactor
        self._monotonic = monotonic
        self._errands: SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None] = (
            SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._underway = 0
        self._sync_s = limits.IN_PLACE_SYNC_S_MAX

    def gather(self, depart: Callable[[], None]) -> None:
        """See :class:`IHop`. Everything read in this turn of the reactor travels together."""
        self._reactor.callLater(0, depart)

    def quick(self) -> bool:
        """See :class:`IHop`."""
        return not self._underway and self._sync_s < limits.IN_PLACE_SYNC_S_MAX

    def run(self, work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        """See :class:`IHop`."""
        if brief and self.quick():
            self._timed(work)
            done()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="store-sync", daemon=True)
            self._thread.start()
        self._underway += 1
        self._errands.put((work, done))

    def stop(self) -> None:
        """See :class:`IHop`."""
        if self._thread is not None:
            self._errands.put(None)

    def _timed(self, work: Callable[[], None]) -> None:
        began = self._monotonic()
        work()
        self._sync_s += (self._monotonic() - began - self._sync_s) / 8

    def _wait(self) -> None:
        while (errand := self._errands.get()) is not None:
            self._timed(errand[0])
            self._reactor.callFromThread(self._arrived, errand[1])

    def _arrived(self, done: Callable[[], None]) -> None:
        self._underway -= 1
        done()


def synchronous() -> IHop:
    """Commits on the caller's thread, before ``run`` returns."""
    return _Synchronous()


def threaded(reactor: ThreadedReactor, *, monotonic: Callable[[], float] = time.monotonic) -> IHop:
    """Commits on a thread of their own, answers on the thread of ``reactor``."""
    return _Threaded(reactor, monotonic)
