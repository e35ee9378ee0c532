"""HTTP/1.1 with bounds: what both HTTP listeners speak, before any route is looked at.

A request is read whole before it is worked on, so its parts are bounded while they arrive: the
lines of its head, its body, and the time that all of it may take. Nothing here logs a request:
paths may hold tokens.
"""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, parse_qs
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from eventdbx import limits

_LINGER_S = 1.0


class BoundedRequest(Request):
    """A request whose body is kept up to a limit; the rest is read and thrown away.

    ``too_large`` says that there was a rest: the body is no good then, but its answer can still
    reach a client that writes first and reads afterwards.
    """

    too_large = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: it is bounded."""
        self.content = BytesIO()
        self.too_large = (length or 0) > limits.HTTP_BODY_BYTES_MAX

    def handleContentChunk(self, data: bytes) -> None:
        """Take one piece of the body, or let it fall."""
        self._received += len(data)
        if self._received > limits.HTTP_BODY_BYTES_MAX:
            self.too_large = True
        if self._received > limits.HTTP_DISCARDED_BYTES_MAX:
            self.channel.forceAbortClient()
        elif not self.too_large:
            assert self.content is not None
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin with the work; forms are not read, no route takes any."""
        assert self.content is not None
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, arguments = path.partition(b"?")
        self.args = parse_qs(arguments, True)
        self.process()  # type: ignore[no-untyped-call]

    def getRequestHostname(self) -> bytes:
        """Return a name for the router; no route depends on that which the client sent, and names
        that are none would end in its errors. ``Host`` is looked at elsewhere."""
        return b"localhost"

    def setHeader(self, name: Any, value: Any) -> None:
        """Set a header of the answer; the name of the server is ours, without a version."""
        if name == b"Server":
            value = b"EventDBX"
        super().setHeader(name, value)  # type: ignore[no-untyped-call]


class BoundedChannel(HTTPChannel):
    """A connection; whoever takes too long to send a whole request loses it."""

    MAX_LENGTH = limits.HTTP_HEAD_BYTES_MAX
    totalHeadersSize = limits.HTTP_HEAD_BYTES_MAX
    maxHeaders = limits.HTTP_HEADERS_MAX
    site: BoundedSite
    _deadline: IDelayedCall | None = None
    is_refused = False

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; the first of a request start its clock."""
        if self.is_refused:
            return
        if self._deadline is None and not self.is_answering:
            self._deadline = self.site.clock.callLater(limits.HTTP_REQUEST_S, self._give_up)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head, unless it makes the head too large."""
        if self.is_refused:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.lineLengthExceeded(line)
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a head that is too large: its first line, or its headers."""
        self._refuse(431 if self.requests else 414)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400)

    def _refuse(self, status: int) -> None:
        """Answer before there is a request, then close.

        What still arrives is thrown away for a moment: closing at once would take the answer
        from a client that is still sending.
        """
        self.is_refused = True
        phrase = HTTPStatus(status).phrase
        body = b'{"message":"%b","code":"invalid_request"}' % phrase.lower().encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert self.transport is not None
        self.transport.write(head.encode() + body)
        self._stop_clock()
        self._deadline = self.site.clock.callLater(_LINGER_S, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _stop_clock(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def allContentReceived(self) -> None:
        """Stop the clock of the sender: from now on it is ours that runs."""
        self._stop_clock()
        super().allContentReceived()  # type: ignore[no-untyped-call]

    @property
    def is_answering(self) -> bool:
        """True from the end of a request to the end of its answer."""
        return bool(self._handlingRequest)

    def close_after_answer(self) -> None:
        """Close the connection, now or after the answer that it waits for."""
        self.persistent = 0
        if not self.is_answering:
            self.loseConnection()  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:
        """Cut a connection that has been idle for too long; that is nothing to log."""
        self.forceAbortClient()

    def forceAbortClient(self) -> None:
        """Cut the connection, whatever it is doing."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection."""
        self._stop_clock()
        self.site.forget(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class BoundedSite(Site):
    """What listens for HTTP: so many connections at once, and one resource."""

    protocol = BoundedChannel  # type: ignore[assignment]
    noisy = False

    def __init__(self, resource: IResource, clock: IReactorTime) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            resource, requestFactory=BoundedRequest, timeout=limits.HTTP_IDLE_S, reactor=clock
        )
        self.displayTracebacks = False
        self.clock = clock
        self._channels: dict[BoundedChannel, None] = {}
        self._drained: Deferred[None] | None = None

    def startFactory(self) -> None:
        """Do without the log of requests: their paths may hold tokens."""

    def stopFactory(self) -> None:
        """Nothing to close."""

    def log(self, request: Any) -> None:
        """Write nothing: see above."""

    def buildProtocol(self, addr: Any) -> Any:
        """Return a channel, or None to close a connection too many at once.

        When there is no room, the oldest connection on which no request is at work makes some:
        whoever holds connections open without asking keeps nobody else out.
        """
        if len(self._channels) >= limits.HTTP_CONNECTIONS_MAX:
            idle = next((one for one in self._channels if not one.is_answering), None)
            if idle is None:
                return None
            self.forget(idle)
            idle.forceAbortClient()
        channel = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        self._channels[channel] = None
        return channel

    def forget(self, channel: BoundedChannel) -> None:
        """Take note of a connection that has ended."""
        self._channels.pop(channel, None)
        if self._drained is not None and not self._channels and not self._drained.called:
            self._drained.callback(None)

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._channels)

    @property
    def busy(self) -> int:
        """Connections on which a request waits for its answer."""
        return sum(channel.is_answering for channel in self._channels)

    @property
    def refusing(self) -> int:
        """Connections that were refused before there was a request, and are not closed yet."""
        return sum(channel.is_refused for channel in self._channels)

    def let_go(self) -> None:
        """Close every connection, those with a request under way after its answer."""
        for channel in list(self._channels):
            channel.close_after_answer()

    def drain(self, limit_s: float) -> Deferred[None]:
        """Close every connection, those with a request under way after its answer; fires when
        all are closed, at the latest after ``limit_s`` seconds, when the rest is cut."""
        drained: Deferred[None] = Deferred()
        self._drained = drained
        self.let_go()
        if not self._channels:
            drained.callback(None)
            return drained
        limit = self.clock.callLater(limit_s, self.abort)

        def stop_clock(_nothing: None) -> None:
            if limit.active():
                limit.cancel()

        return drained.addCallback(stop_clock)

    def abort(self) -> None:
        """Cut every connection."""
        for channel in list(self._channels):
            channel.forceAbortClient()
