"""Bytes that nobody meant: requests with parts changed, cut and doubled."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.surfaces.admin.site import AdminSite
from tests.surfaces.admin.test_api import SCHEMAS, Things
from tests.surfaces.listener import token

ROUNDS = 2_000
TOKEN = f"Authorization: Bearer {token()}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
REQUESTS = (
    b"GET /admin/things HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"\r\n",
    b"POST /admin/things HTTP/1.1\r\nHost: x\r\n" + TOKEN + JSON
    + b'Content-Length: 12\r\n\r\n{"name":"a"}',
    b"POST /admin/things HTTP/1.1\r\n" + TOKEN + JSON
    + b'Transfer-Encoding: chunked\r\n\r\nc\r\n{"name":"a"}\r\n0\r\n\r\n',
    b"PUT /admin/things/a%2fb?x=%ff&limit=3 HTTP/1.0\r\nIf-Match: *\r\nContent-Length: 0\r\n"
    + TOKEN + b"\r\n",
)  # fmt: skip
PIECES = (
    b"\r\n", b"\n", b"\t", b" ", b":", b"\x00", b"\xff", b"%", b"?", b"#", b"//", b"*", b"HTTP/1.1",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: \xe9\r\n", b"Host: a..b\r\n",
)  # fmt: skip


class NoiseTests(SynchronousTestCase):
    """What such bytes come to."""

    def changed(self, chance: random.Random) -> bytes:
        """Return a request, or two, with up to four things wrong."""
        data = bytearray(b"".join(chance.choice(REQUESTS) for _ in range(chance.choice((1, 1, 2)))))
        for _change in range(chance.randint(0, 4)):
            place = chance.randrange(len(data))
            kind = chance.randrange(4)
            if kind == 0:
                data[place:place] = chance.choice(PIECES)
            elif kind == 1:
                data[place] = chance.randrange(256)
            elif kind == 2:
                del data[place : place + chance.randint(1, 20)]
            else:
                data[place:place] = chance.randbytes(5)
        return bytes(data)

    def test_nothing_breaks(self) -> None:
        """Each is answered without a 5xx, or not at all; nothing is logged as a mistake of ours."""
        wrong: list[Any] = []

        def note(event: Any) -> None:
            if event.get("log_level") in (LogLevel.error, LogLevel.critical):
                wrong.append(event)

        observer: Any = note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        site = AdminSite(Things().rows(), SCHEMAS)
        site.set(requests_per_second=1_000_000, requests_burst=1_000_000)
        chance = random.Random(20)
        statuses = set()
        for number in range(ROUNDS):
            data = self.changed(chance)
            address = IPv4Address("TCP", f"192.0.2.{number % 250}", 1)
            transport = StringTransport(peerAddress=address)
            transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
            channel = site.site.buildProtocol(address)
            channel.makeConnection(transport)
            while data:
                size = chance.randint(1, len(data))
                channel.dataReceived(data[:size])
                data = data[size:]
            statuses.add(transport.value()[9:12])
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(wrong, [])
        self.assertLessEqual({b"200", b"400", b"401", b"415"}, statuses)
        self.assertFalse([status for status in statuses if status.startswith(b"5")])
