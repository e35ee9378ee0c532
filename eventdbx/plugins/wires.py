"""One connection to a plugin that only sends, and knows when what it sends has left."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IHandshakeListener, IPullProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

_DONE = Failure(ConnectionDone())


@implementer(IPullProducer, IHandshakeListener)
class Wire(Protocol):
    """A connection without answers: what the other side sends is thrown away.

    The transport asks for more when it has handed everything to the kernel. ``known`` holds the
    connection for as long as it lasts.
    """

    transport: Any

    def __init__(self, known: set[Wire], *, secured: bool) -> None:
        self.is_open = False
        self._known = known
        self._ready: Deferred[None] | None = Deferred() if secured else None
        self._gone: list[Deferred[BaseException]] = []
        self._queue: deque[tuple[bytes, Deferred[None]]] = deque()
        self._leaving: Deferred[None] | None = None
        self._asked = False

    def connectionMade(self) -> None:
        """Called by the framework."""
        self.is_open = True
        self._known.add(self)

    def handshakeCompleted(self) -> None:
        """Called by the framework, with TLS only."""
        self._shaken(None)

    def ready(self) -> Deferred[None]:
        """Fire when data can be sent: with TLS after the handshake."""
        ready: Deferred[None] = Deferred()
        if self._ready is None:
            ready.callback(None)
        else:
            self._ready.chainDeferred(ready)
        return ready

    def send(self, data: bytes) -> Deferred[None]:
        """Send behind everything else; fires when the kernel has taken it."""
        sent: Deferred[None] = Deferred()
        if not self.is_open:
            sent.errback(ConnectionLost())
            return sent
        self._queue.append((data, sent))
        if not self._asked:
            self._asked = True
            self.transport.registerProducer(self, False)
        return sent

    def resumeProducing(self) -> None:
        """Called by the transport when nothing is left."""
        if not self.is_open:
            return
        sent, self._leaving = self._leaving, None
        if self._queue:
            data, self._leaving = self._queue.popleft()
            self.transport.write(data)
        elif self._asked:
            self._asked = False
            self.transport.unregisterProducer()
        if sent is not None and not sent.called:
            sent.callback(None)

    def stopProducing(self) -> None:
        """Called by a transport that is gone; connectionLost says so, too."""

    def hang_up(self) -> Deferred[BaseException]:
        """Close; fires with the reason when the connection is gone."""
        gone: Deferred[BaseException] = Deferred()
        if self.is_open:
            self._gone.append(gone)
            self.transport.loseConnection()
        else:
            gone.callback(ConnectionDone())
        return gone

    def cut(self) -> None:
        """End the connection now, whatever is still to be sent."""
        if self.is_open:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = _DONE) -> None:
        """Called by the framework."""
        self.is_open = False
        self._known.discard(self)
        # Whoever still waits is told of a loss, also when the other side closed in order.
        loss = Failure(ConnectionLost()) if reason.check(ConnectionDone) else reason
        self._shaken(loss)
        unsent = [self._leaving, *(sent for _, sent in self._queue)]
        self._leaving = None
        self._queue.clear()
        for sent in unsent:
            if sent is not None and not sent.called:
                sent.errback(loss)
        gone, self._gone = self._gone, []
        for waiter in gone:
            if not waiter.called:
                waiter.callback(reason.value or ConnectionDone())

    def _shaken(self, loss: Failure | None) -> None:
        ready, self._ready = self._ready, None
        if ready is None or ready.called:
            return
        if loss is None:
            ready.callback(None)
        else:
            ready.errback(loss)
            ready.addErrback(_seen)


def _seen(failure: Failure) -> None:
    """Take note of a loss that nobody waits for."""


class WireFactory(Factory):
    """Makes the connections of one plugin, which ``known`` holds."""

    noisy = False

    def __init__(self, known: set[Wire], *, secured: bool) -> None:
        self._known = known
        self._secured = secured

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        """Called by the framework."""
        return Wire(self._known, secured=self._secured)
