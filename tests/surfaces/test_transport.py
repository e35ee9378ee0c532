"""How answers and acknowledgements travel: no peer is kept waiting, no system call is wasted."""

from __future__ import annotations

import socket
import time
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.services.listening import ControlService, Listener
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from eventdbx.surfaces.control.factory import ControlFactory
from eventdbx.surfaces.control.protocol import ControlProtocol
from eventdbx.surfaces.control.transport import PromptServer
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import AnswerReceived, ClientConnection, Established
from tests.daemon import running
from tests.surfaces.listener import listener, token

CALLS = 100


class PlainSocket:
    """A session on a bare socket, without TCP_NODELAY."""

    def __init__(self, port: int, bearer: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.wire = ClientConnection(bearer, send_token=True)
        established = False
        while not established:
            self.socket.sendall(self.wire.data_to_send())
            events = self.wire.receive_data(self.socket.recv(65_536))
            established = any(isinstance(event, Established) for event in events)

    def call(self, request: Any, *, apart: bool) -> None:
        """Send one request, its length and body in two writes if ``apart``; await the answer."""
        self.wire.send_request(request)
        data = self.wire.data_to_send()
        if apart:
            self.socket.sendall(data[:4])
            data = data[4:]
        self.socket.sendall(data)
        while True:
            events = self.wire.receive_data(self.socket.recv(65_536))
            if any(isinstance(event, AnswerReceived) for event in events):
                return


class NoStallTests(SynchronousTestCase):
    """Clients that write the length and the body of a frame apart, as several do."""

    def test_length_and_body_apart(self) -> None:
        """A hundred calls take less than a second: a partial frame is acknowledged at once.

        Otherwise each waits 40 ms for our delayed acknowledgement, four seconds in all.
        """
        space = running()
        session = PlainSocket(space.port, space.token)
        self.addCleanup(session.socket.close)
        began = time.monotonic()
        for _ in range(CALLS):
            session.call(rq.GetAggregate(space.token, "order", "none"), apart=True)
        self.assertLess(time.monotonic() - began, 1.0)


class CountingSocket:
    """A socket that notes which of its methods are called."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name == "fileno":
            return found

        def counted(*arguments: Any) -> Any:
            self.calls.append(name)
            return found(*arguments)

        return counted


class SystemCallTests(TestCase):
    """The real transport on the real reactor, its socket watched."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Listen; a commit lands at once."""
        self.protocols: list[ControlProtocol] = []
        factory, _domain = listener(MemoryStore(), synchronous(), reactor)
        build = factory.buildProtocol

        def remembering(addr: Any) -> ControlProtocol:
            self.protocols.append(build(addr))
            return self.protocols[-1]

        factory.buildProtocol = remembering  # type: ignore[method-assign]
        self.service = self.listen(factory)
        port = await self.service.listening
        self.addCleanup(self.service.stopService)
        self.session: PlainSocket = await deferToThread(
            PlainSocket, cast(Any, port.getHost()).port, token()
        )
        self.addCleanup(self.session.socket.close)

    def listen(self, factory: ControlFactory) -> ControlService:
        """Return a running service on a free port."""
        service = ControlService(
            [Listener("127.0.0.1", TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))],
            factory,
            clock=reactor,
            drain_s=1.0,
        )
        service.startService()
        return service

    def watched(self) -> tuple[Any, CountingSocket]:
        """Return the server's end of the session, and its socket, watched from now on."""
        transport: Any = self.protocols[0].transport
        self.assertIsInstance(transport, PromptServer)
        counting = CountingSocket(transport.socket)
        transport.socket = counting
        return transport, counting

    async def test_whole_frames(self) -> None:
        """A request that comes whole costs one read and one write, and no acknowledgement."""
        _transport, counting = self.watched()
        for request in (
            rq.AppendEvent(token(), "order", "o-1", "order_placed", "{}"),
            rq.GetAggregate(token(), "order", "o-1"),
        ):
            counting.calls.clear()
            await deferToThread(self.session.call, request, apart=False)
            self.assertEqual(counting.calls, ["recv", "send"])

    async def test_partial_frames(self) -> None:
        """A request in two pieces costs one acknowledgement more than its two reads."""
        _transport, counting = self.watched()
        # The peer's first piece leaves alone even if it would rather collect them.
        self.session.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session.wire.send_request(rq.GetAggregate(token(), "order", "o-1"))
        data = self.session.wire.data_to_send()
        await deferToThread(self.session.socket.sendall, data[:4])
        while not counting.calls:
            await deferToThread(time.sleep, 0.001)
        self.assertEqual(counting.calls, ["recv", "setsockopt"])
        await deferToThread(self.session.socket.sendall, data[4:])
        await deferToThread(self.session.socket.recv, 65_536)
        self.assertEqual(counting.calls, ["recv", "setsockopt", "recv", "send"])

    async def test_a_full_socket(self) -> None:
        """What the socket does not take is queued, in order, and arrives."""
        transport, _counting = self.watched()
        pieces = [bytes((number,)) * 500_000 for number in range(20)]
        for piece in pieces:
            transport.write(piece)

        def read() -> bytes:
            received = bytearray()
            while len(received) < 10_000_000:
                received += self.session.socket.recv(1 << 20)
            return bytes(received)

        received: bytes = await deferToThread(read)
        self.assertEqual(received, b"".join(pieces))
