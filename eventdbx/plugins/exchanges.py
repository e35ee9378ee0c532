"""One request over HTTP and its answer, bounded in bytes; the connections of one target.

Twisted's client keeps the protocol and the pool. Added here: where to connect to, how much is read,
that nothing of a failed exchange goes on, and that everything ends with :meth:`Connections.close`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import directlyProvides, implementer, providedBy

BODY_BYTES_MAX = 65_536
"""Read of the body of an answer."""

HEAD_BYTES_MAX = 32_768
"""Read of an answer before its body begins."""

ANSWER_BYTES_MAX = HEAD_BYTES_MAX + 2 * BODY_BYTES_MAX
"""Read of an answer in all: what frames a body in chunks counts, too."""

IDLE_S = 60
"""A connection that is not used is kept for this long."""

CLOSE_S = 1.0
"""How long the other side may take to close before a connection is cut."""


_DONE = Failure(ConnectionDone())


class AnswerTooLong(Exception):
    """The headers of an answer do not end."""


class NoAnswer(Exception):
    """A connection was lost, or spoke something else; ``__cause__`` is what is known of it."""


class Answer(NamedTuple):
    """What came back: ``body`` is its begin, ``cut`` says that there was more."""

    code: int
    headers: Headers
    body: bytes
    cut: bool


class Meter(ProtocolWrapper):
    """A connection that counts what it receives, and is known as long as it lasts."""

    transport: Any
    wrappedProtocol: Any

    def __init__(self, factory: Any, wrapped: Any, known: set[Meter]) -> None:
        super().__init__(factory, wrapped)
        self.gone: Deferred[None] = Deferred()
        self.too_long = False
        self._known = known
        self._left = HEAD_BYTES_MAX

    def begin(self) -> None:
        """Count from here: a request is about to be sent."""
        self._left = HEAD_BYTES_MAX

    def allow_body(self) -> None:
        """Allow the rest of an answer, whose headers are there."""
        self._left += ANSWER_BYTES_MAX - HEAD_BYTES_MAX

    def cut(self) -> None:
        """End the connection now, whatever is still to be sent."""
        if self in self._known:
            self.transport.abortConnection()

    def makeConnection(self, transport: Any) -> None:
        """Called by the framework."""
        self._known.add(self)
        directlyProvides(self, providedBy(transport))
        self.transport = transport
        self.connected = 1
        self.wrappedProtocol.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        """Called by the framework."""
        # What came in one piece with the end of the headers is body already.
        if len(data) > self._left + BODY_BYTES_MAX or self._left <= 0:
            self.too_long = True
            self.cut()
            return
        self._left -= len(data)
        self.wrappedProtocol.dataReceived(data)

    def connectionLost(self, reason: Failure = _DONE) -> None:
        """Called by the framework."""
        self._known.discard(self)
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        wrapped.connectionLost(reason)
        self.gone.callback(None)


class _Meters(Factory):
    """Wraps connections of the client."""

    noisy = False

    def __init__(self, client: Any, known: set[Meter]) -> None:
        self._client = client
        self._known = known

    def buildProtocol(self, addr: IAddress | None) -> Meter:
        """Called by the framework."""
        return Meter(self, self._client.buildProtocol(addr), self._known)


class _Pool(HTTPConnectionPool):
    """Tells an exchange which connection it got."""

    retryAutomatically = False
    cachedConnectionTimeout = IDLE_S

    def getConnection(self, key: Any, endpoint: Any) -> Deferred[Any]:
        """Return a connection for one request."""
        return super().getConnection(key, endpoint).addCallback(endpoint.got)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Exchange:
    """One request: an endpoint of its own, so that it knows its connection."""

    def __init__(self, endpoint: IStreamClientEndpoint, known: set[Meter]) -> None:
        self._endpoint = endpoint
        self._known = known
        self.fresh = False
        self.meter: Meter | None = None

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:
        """Return where to connect to: the target is always the same."""
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Make a new connection."""
        self.fresh = True
        connecting: Deferred[Any] = self._endpoint.connect(_Meters(factory, self._known))
        return connecting.addCallback(lambda meter: meter.wrappedProtocol)

    def got(self, protocol: Any) -> Any:
        """Take note of the connection that the request travels on."""
        self.meter = protocol.transport
        protocol.transport.begin()
        return protocol

    def cut(self) -> None:
        """End the connection, if there is one."""
        if self.meter is not None:
            self.meter.cut()


@implementer(IBodyProducer)
class _Body:
    """A body that is written at once."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.length = sum(map(len, pieces))

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Called by the framework."""
        for piece in self._pieces:
            consumer.write(piece)
        return succeed(None)

    def stopProducing(self) -> None:
        """Called by the framework; nothing goes on."""

    def pauseProducing(self) -> None:
        """Called by the framework; nothing goes on."""

    def resumeProducing(self) -> None:
        """Called by the framework; nothing goes on."""


class _Reader(Protocol):
    """Keeps the begin of a body; fires with it and whether there was more."""

    def __init__(self, enough: Callable[[], None]) -> None:
        self._enough = enough
        self._pieces: list[bytes] = []
        self._left = BODY_BYTES_MAX
        self.done: Deferred[tuple[bytes, bool]] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Called by the framework."""
        self._pieces.append(data[: self._left])
        self._left -= len(data)
        if self._left < 0:
            self._fire(True)
            self._enough()

    def connectionLost(self, reason: Any = None) -> None:
        """Called by the framework at the end of the body, whatever ended it."""
        self._fire(False)

    def _fire(self, cut: bool) -> None:
        if not self.done.called:
            self.done.callback((b"".join(self._pieces), cut))
        self._pieces = []


class Connections:
    """The connections to one target."""

    def __init__(self, reactor: Any, kept: int) -> None:
        self._reactor = reactor
        self._known: set[Meter] = set()
        pool: Any = _Pool
        self._pool = pool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = kept
        self._passing = pool(reactor, persistent=False)

    async def exchange(
        self,
        endpoint: IStreamClientEndpoint,
        method: bytes,
        url: bytes,
        headers: Headers,
        body: list[bytes] | None = None,
        *,
        on_code: Callable[[int], None],
        kept: bool = True,
    ) -> Answer:
        """Send one request and return the answer.

        ``on_code`` is told the status as soon as it is known: the body may never end. Without
        ``kept`` the request has a connection of its own, which is closed after it. A connection
        that the other side closed while it was idle is replaced once. Raises what connecting
        raises, AnswerTooLong or NoAnswer; cancelled or failed, the connection is cut.
        """
        while True:
            exchange = _Exchange(endpoint, self._known)
            pool = self._pool if kept else self._passing
            agent: Any = Agent.usingEndpointFactory(self._reactor, exchange, pool)
            producer = None if body is None else _Body(body)
            try:
                response = await agent.request(method, url, headers, producer)
                on_code(response.code)
                assert exchange.meter is not None
                exchange.meter.allow_body()
                reader = _Reader(exchange.cut)
                response.deliverBody(reader)
                content, cut = await reader.done
                cut = cut or exchange.meter.too_long
                return Answer(response.code, response.headers, content, cut)
            except BaseException as error:
                exchange.cut()
                cause = _innermost(error)
                # The client wraps the cancellation of a request, too.
                if isinstance(cause, CancelledError):
                    raise cause from None
                if exchange.meter is None or not isinstance(error, Exception):
                    raise
                if exchange.meter.too_long:
                    raise AnswerTooLong from None
                if exchange.fresh or not _never_answered(error):
                    raise NoAnswer from cause

    def close(self) -> Deferred[None]:
        """Close all connections; those that do not end in time are cut."""
        gone = [meter.gone for meter in self._known]
        timer = self._reactor.callLater(CLOSE_S, self._cut_all)
        self._pool.closeCachedConnections()

        def over(_: object) -> None:
            if timer.active():
                timer.cancel()

        return gatherResults(gone).addCallback(over)

    def _cut_all(self) -> None:
        for meter in list(self._known):
            meter.cut()


def _never_answered(error: Exception) -> bool:
    """Say whether a request may go out again on another connection: not a byte came back."""
    return isinstance(error, (RequestTransmissionFailed, ResponseNeverReceived))


def _innermost(error: BaseException) -> BaseException:
    """Return what is behind an error of the client, which wraps reasons in reasons."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error
