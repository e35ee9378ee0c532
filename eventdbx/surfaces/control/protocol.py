"""The control protocol on a Twisted transport: bytes in, routes called, bytes out.

What the bytes mean is decided in :mod:`eventdbx.wire`, what a request does in
:mod:`eventdbx.surfaces.control.routes`. Here live the things that only a connection has: order
of answers, pauses, time limits, and the end.

Requests of one connection are answered in order. Writes that follow each other share a group
commit; a read waits until the writes before it are durable, so a pipelining client always reads
what it wrote.
"""

from __future__ import annotations

import socket
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from eventdbx.domain.grants import Grant
from eventdbx.errors import (
    AttemptsExceeded,
    EventDBXError,
    InvalidToken,
    TokenExpired,
    Unauthorized,
)
from eventdbx.surfaces.control.greeting import Greeted
from eventdbx.surfaces.control.routes import Session, failed
from eventdbx.surfaces.control.waiting import Waiting
from eventdbx.wire.connection import ProtocolError, ServerConnection
from eventdbx.wire.events import (
    CliRequestReceived,
    Closed,
    HelloReceived,
    Proven,
    RequestReceived,
    Unproven,
)
from eventdbx.wire.requests import WRITES
from eventdbx.wire.responses import BLANKABLE

if TYPE_CHECKING:
    from eventdbx.surfaces.control.factory import ControlFactory

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


@implementer(IPushProducer)
class ControlProtocol(Protocol):
    """One connection on port 6363."""

    log = Logger()

    def __init__(self, factory: ControlFactory, peer: str) -> None:
        self._factory = factory
        self.peer = peer
        self._wire = ServerConnection(plaintext_allowed=factory.routes.plaintext_allowed)
        self._greeted: Greeted | None = None
        self._session: Session | None = None
        self._waiting: deque[RequestReceived] = deque()
        self._writing = 0
        self._reading: Deferred[Any] | None = None
        self._blocked = False
        self._paused = False
        self._closing = False
        self._flushing = False
        self._finishing = False
        self._hello_timer: IDelayedCall | None = None
        self.active_at = 0.0
        self.lasts_until = inf

    def connectionMade(self) -> None:
        """Set the socket up, and close at once when there are too many connections."""
        if not self._factory.admit(self):
            self._closing = True
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.active_at = self._factory.clock.seconds()
        self._hello_timer = self._factory.clock.callLater(
            self._factory.bounds.hello_timeout_secs, self._hello_timed_out
        )

    def dataReceived(self, data: bytes) -> None:
        """Feed the wire and act on what it understood."""
        if self._closing:
            return
        try:
            for event in self._wire.receive_data(data):
                self._act(event)
        except ProtocolError as error:
            self.log.info("control connection closed: {reason}", reason=str(error), peer=self.peer)
            self.close()
            return
        if self._wire.inside_frame:
            self._acknowledge()
        self._pump()
        self._flush()

    def _acknowledge(self) -> None:
        """Acknowledge a partial frame at once: its sender may be waiting for just that.

        A peer that writes length and body apart, without TCP_NODELAY, would otherwise be held up
        by our delayed acknowledgement, 40 ms for every request.
        """
        handle = getattr(self.transport, "socket", None)
        if handle is not None and _QUICKACK is not None:
            handle.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _act(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            if self._hello_timer is not None:
                self._established()
            self._waiting.append(event)
        elif isinstance(event, HelloReceived):
            self._greet(event)
        elif isinstance(event, CliRequestReceived):
            self._wire.send_cli_response(-1, "", "CLI proxy is disabled")
            if self._factory.watch is not None:
                self._factory.watch.proxied()
        elif isinstance(event, Proven):
            self._proven()
        elif isinstance(event, Unproven):
            self._unproven()
        elif isinstance(event, Closed):
            self.close()

    def _greet(self, hello: HelloReceived) -> None:
        """Accept or reject a hello; the wire holds back what follows until then."""
        watch = self._factory.watch
        began = 0.0 if watch is None else watch.clock()
        try:
            greeted = self._factory.routes.greet(hello, self.peer)
            if greeted.key is None:
                self._open(greeted)
        except EventDBXError as error:
            if watch is not None:
                watch.greeted(began, error)
            # Whoever has used up the budget has been told of in the log, budget times.
            told = self.log.debug if isinstance(error, AttemptsExceeded) else self.log.warn
            told("control handshake rejected: {reason}", reason=error.detail, peer=self.peer)
            cause = error.__context__
            if isinstance(cause, InvalidToken | TokenExpired | Unauthorized):
                # The peer is not told it, and operators look for this text.
                text = "control handshake rejected due to invalid token: {cause}"
                self.log.warn(text, cause=str(cause), peer=self.peer)
            self._wire.reject_hello(error.detail)
            self.close()
            return
        if watch is not None:
            watch.greeted(began, None)
        self._greeted = greeted
        # A wall clock that is set back does not make the token of an open session last longer.
        left_s = self._factory.routes.left_s(greeted.grant)
        self.lasts_until = self._factory.clock.seconds() + left_s
        for event in self._wire.accept_hello(key=greeted.key):
            self._act(event)

    def _open(self, greeted: Greeted) -> None:
        """Open the session of a token that was sent or proven. Raises ConfigError."""
        session = self._session = self._factory.routes.open(greeted, self.peer)
        self.log.info(
            "control handshake accepted for token subject {subject} (tenant={tenant})",
            subject=session.grant.subject,
            tenant=session.domain.name,
            peer=self.peer,
        )

    def _proven(self) -> None:
        assert self._greeted is not None
        try:
            self._open(self._greeted)
        except EventDBXError as error:
            self.log.warn("control session closed: {reason}", reason=error.detail, peer=self.peer)
            self.close()

    def _unproven(self) -> None:
        self.log.warn(
            "control session closed: the peer does not hold the token that it named",
            peer=self.peer,
        )
        self._factory.routes.unproven(self.peer)
        if self._factory.watch is not None:
            self._factory.watch.unproven()
        self.close()

    def _established(self) -> None:
        assert self._hello_timer is not None
        if self._hello_timer.active():
            self._hello_timer.cancel()
        self._hello_timer = None

    def _hello_timed_out(self) -> None:
        self.log.info("control connection closed: no request in time", peer=self.peer)
        self._hello_timer = None
        self.close()

    def _pump(self) -> None:
        """Start as many of the waiting requests as their order allows."""
        waiting = self._waiting
        while waiting and self._reading is None and not self._closing:
            if type(waiting[0].request) in WRITES:
                self._start_write(waiting.popleft())
            elif self._writing:
                break
            else:
                self._start_read(waiting.popleft())
        if waiting and isinstance(self._reading, Waiting) and self._reading.gives_way:
            self._reading.hurry()
        self._regulate()

    def _start_write(self, received: RequestReceived) -> None:
        self._writing += 1
        session, factory = self._session, self._factory
        assert session is not None
        began = 0.0 if factory.watch is None else factory.watch.clock()
        answer = factory.routes.answer(session, received.request)
        if isinstance(answer, Deferred):
            told = (received, began)
            answer.addCallbacks(
                self._written, self._write_failed, callbackArgs=told, errbackArgs=told
            )
        else:
            self._written(answer, received, began)

    def _written(self, response: Any, received: RequestReceived, began: float) -> None:
        self._writing -= 1
        self._reply(received, response, began)
        if not self._writing:
            self._pump()
        if not self._flushing:
            # Answers of one commit leave in one segment.
            assert self._session is not None
            self._flushing = self._session.domain.store.when_told(self._flush)

    def _write_failed(self, failure: Failure, received: RequestReceived, began: float) -> None:
        self._written(failed(failure), received, began)

    def _start_read(self, received: RequestReceived) -> None:
        session, factory = self._session, self._factory
        assert session is not None
        began = 0.0 if factory.watch is None else factory.watch.clock()
        answer = factory.routes.answer(session, received.request)
        if not isinstance(answer, Deferred):
            self._reply(received, answer, began)
            return
        self._reading = answer
        told = (received, began)
        answer.addCallbacks(self._read, self._read_failed, callbackArgs=told, errbackArgs=told)

    def _read_failed(self, failure: Failure, received: RequestReceived, began: float) -> None:
        # Cancelled: the connection is gone, and with it who wanted to know.
        if failure.check(CancelledError) is None:
            self._read(failed(failure), received, began)

    def _read(self, response: Any, received: RequestReceived, began: float) -> None:
        self._reading = None
        self._reply(received, response, began)
        self._pump()
        self._flush()

    def _reply(self, received: RequestReceived, response: Any, began: float) -> None:
        if not self._closing:
            self.active_at = self._factory.clock.seconds()
            try:
                self._wire.send_response(received, response)
            except EventDBXError as error:
                # A write that is committed must not be answered with an error: the client would
                # repeat it. It gets the blank text that verbose_responses=false gives.
                blank = type(response) in BLANKABLE
                response = type(response)(b"") if blank else failed(error)
                self._wire.send_response(received, response)
        if self._factory.watch is not None:
            self._factory.watch.answered(began, received.request, response)

    def _flush(self) -> None:
        self._flushing = False
        data = self._wire.data_to_send()
        if data and self.transport is not None:
            self.transport.write(data)

    def _regulate(self) -> None:
        """Stop reading while more is in flight than one connection may hold."""
        if self._finishing:
            if self.idle:
                self.close()
            return
        load = len(self._waiting) + self._writing
        too_much = load >= self._factory.bounds.requests_in_flight_max or self._blocked
        if too_much and not self._paused:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[union-attr]
        elif self._paused and not too_much and not self._closing:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        if self._session is not None and self._session.domain.store.saturated:
            self._hold()

    def _hold(self) -> None:
        if self._blocked or self._session is None:
            return
        self._blocked = True
        self._session.domain.store.when_drained().addCallback(self._released)

    def _released(self, _nothing: None) -> None:
        self._blocked = False
        self._pump()
        self._flush()

    # IPushProducer: the transport asks for silence when the peer does not read its answers.

    def pauseProducing(self) -> None:
        """Stop reading requests: their answers would only pile up."""
        self._blocked = True
        self._regulate()

    def resumeProducing(self) -> None:
        """Read requests again."""
        self._blocked = False
        self._pump()
        self._flush()

    def stopProducing(self) -> None:
        """Nothing to do: the connection is going away."""

    @property
    def idle(self) -> bool:
        """True when nothing was asked that is not answered."""
        return not self._waiting and not self._writing and self._reading is None

    def finish(self) -> None:
        """Take no more requests; answer those that are in flight, then close."""
        self._finishing = True
        if self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        if isinstance(self._reading, Waiting):
            self._reading.hurry()
        self._regulate()

    @property
    def grant(self) -> Grant | None:
        """What the token of the hello allows, None before it was accepted."""
        return None if self._greeted is None else self._greeted.grant

    def expire(self) -> None:
        """End a session whose token counts no more: answer what is in flight, then close.

        The second call does not wait for it.
        """
        if self._finishing:
            self.close()
            return
        self.log.info("control session closed: its token has ended", peer=self.peer)
        self.finish()

    def close(self) -> None:
        """Close once everything queued has been sent."""
        if self._closing:
            return
        self._closing = True
        self._waiting.clear()
        self._flush()
        if self.transport is not None:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection; writes in flight are committed all the same."""
        self._closing = True
        self._waiting.clear()
        if self._hello_timer is not None:
            self._established()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        self._factory.forget(self)
