"""A webhook receiver for benches and tests: fast, strict about order, and badly behaved on demand.

``python -m bench.sinks --port 0`` prints ``listening on PORT`` and serves until it is ended;
``GET /counts`` tells what came, ``GET /last`` the newest version of each aggregate, ``POST
/answer?NAME`` changes how it answers, ``POST /reset`` forgets. In a test, :class:`Sink` is a
factory for the reactor that runs.

What an answer may be: a status (``200``, ``500``, ``429``, ``307`` …), ``late:MS`` (200 after so
many milliseconds), ``third`` (500 to every third delivery), ``garbage``, ``nothing``,
``huge`` (200 and a gigabyte), ``headers`` (that never end), ``slow`` (a second for each answer),
``close`` (before an answer), ``endless`` (200 and a body that never ends).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

import orjson
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

HUGE_BYTES = 1_000_000_000
SLOW_S = 1.0
PIECE = b"x" * 65_536

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]*)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Counts:
    """What came: events, their order in each aggregate, and repetitions.

    An event that comes again is a repetition; it is ``unkeyed`` when the id of its delivery is new,
    which for single deliveries must not happen. An id that comes again with other events is
    ``misused``: who trusts it would miss them. A version that is skipped is a ``gap``.
    """

    def __init__(self) -> None:
        self.deliveries = 0
        self.events = 0
        self.bytes = 0
        self.repeated = 0
        self.unkeyed = 0
        self.misused = 0
        self.gaps = 0
        self.unreadable = 0
        self.last: dict[tuple[str, str], int] = {}
        self.ids: dict[bytes, int] = {}
        """What came under each id, as a hash."""

    def take(self, id_: bytes, body: bytes) -> None:
        """Count one delivery."""
        self.deliveries += 1
        self.bytes += len(body)
        seen = id_ in self.ids
        places = []
        try:
            document = orjson.loads(body)
            for one in document if isinstance(document, list) else (document,):
                event = one.get("event") or one.get("state") or one["data"]["event"]
                aggregate = event["aggregate_type"], event["aggregate_id"]
                places.append((*aggregate, event["version"]))
                self._one(aggregate, event["version"], seen)
            content = hash(tuple(places))
            self.misused += self.ids.setdefault(id_, content) != content
        except (ValueError, KeyError, TypeError, AttributeError):
            self.unreadable += 1

    def _one(self, aggregate: tuple[str, str], version: int, seen: bool) -> None:
        self.events += 1
        last = self.last.get(aggregate, 0)
        if version <= last:
            self.repeated += 1
            self.unkeyed += not seen
            return
        self.gaps += version != last + 1
        self.last[aggregate] = version

    def document(self) -> dict[str, int]:
        """Return the numbers; ``distinct`` counts each event once."""
        return {
            "deliveries": self.deliveries,
            "events": self.events,
            "distinct": self.events - self.repeated,
            "aggregates": len(self.last),
            "bytes": self.bytes,
            "repeated": self.repeated,
            "unkeyed": self.unkeyed,
            "misused": self.misused,
            "gaps": self.gaps,
            "unreadable": self.unreadable,
        }


class _Connection(Protocol):
    """Reads requests whose bodies have a length, and answers as the sink says."""

    transport: Any

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._need = 0

    def connectionMade(self) -> None:
        """Called by the framework."""
        self._sink.open.add(self)
        self._sink.connections += 1
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Called by the framework."""
        self._sink.open.discard(self)

    def dataReceived(self, data: bytes) -> None:
        """Called by the framework."""
        self._buffer += data
        while len(self._buffer) >= self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end])
            length = _LENGTH.search(head)
            self._need = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < self._need:
                return
            body = bytes(self._buffer[end + 4 : self._need])
            del self._buffer[: self._need]
            self._need = 0
            self._sink.request(self, head, body)

    def write(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)

    def pour(self, head: bytes, count: int | None, piece: bytes = PIECE) -> None:
        """Answer with so many bytes, as fast as they are taken; without a count for ever."""
        self.transport.write(head)
        self.transport.registerProducer(_Pour(self.transport, count, piece), False)


class _Pour:
    """Gives the transport the next piece whenever it wants one."""

    def __init__(self, transport: Any, count: int | None, piece: bytes) -> None:
        self._transport = transport
        self._left = count
        self._piece = piece

    def resumeProducing(self) -> None:
        """Called by the framework."""
        if self._left is not None:
            self._left -= len(self._piece)
            if self._left <= 0:
                self._transport.unregisterProducer()
                return
        self._transport.write(self._piece)

    def stopProducing(self) -> None:
        """Called by the framework."""


class Sink(Factory):
    """Counts what comes. ``headers`` and ``body`` are added to answers that are a status."""

    noisy = False

    def __init__(self, reactor: Any, answer: str = "200", *, keep: bool = False) -> None:
        self._reactor = reactor
        self.answer = answer
        self.headers: dict[str, str] = {}
        self.body = b""
        self.counts = Counts()
        self.open: set[_Connection] = set()
        self.connections = 0
        self._posts = 0
        self.kept: list[tuple[bytes, bytes]] | None = [] if keep else None
        self._odd: dict[str, Callable[[_Connection], None]] = {
            "garbage": lambda to: to.write(b"\x00\x01 what is this\r\n\r\n"),
            "nothing": lambda to: None,
            "close": lambda to: to.transport.loseConnection(),
            "huge": lambda to: to.pour(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE_BYTES, HUGE_BYTES
            ),
            "endless": lambda to: to.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
            "headers": lambda to: to.pour(b"HTTP/1.1 200 OK\r\n", None, b"x-more: y\r\n" * 5_000),
            "slow": self._later,
        }

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        """Called by the framework."""
        return _Connection(self)

    def request(self, to: _Connection, head: bytes, body: bytes) -> None:
        """Take one request and answer it."""
        method, path = head.split(b" ", 2)[:2]
        if method == b"POST" and path.startswith(b"/answer?"):
            self.answer = path[len(b"/answer?") :].decode()
            to.write(_OK)
        elif path == b"/counts":
            self._tell(to, self.counts.document())
        elif path == b"/last":
            last = self.counts.last.items()
            self._tell(to, {f"{kind}/{name}": version for (kind, name), version in last})
        elif path == b"/reset":
            self.counts = Counts()
            to.write(_OK)
        else:
            self._delivered(to, method, head, body)

    def _tell(self, to: _Connection, document: Any) -> None:
        text = orjson.dumps(document)
        to.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    def _delivered(self, to: _Connection, method: bytes, head: bytes, body: bytes) -> None:
        if self.kept is not None:
            self.kept.append((head, body))
        odd = self._odd.get(self.answer)
        status, name = self.answer, self.answer.partition(":")[0]
        if name == "third":
            self._posts += method == b"POST"
            status = "200" if self._posts % 3 else "500"
        # A receiver that says it failed has not taken the event.
        if method == b"POST" and (status[0] == "2" or name in _TAKEN):
            id_ = _ID.search(head)
            self.counts.take(id_[1] if id_ else b"", body)
        if name == "late":
            self._later(to, int(self.answer.partition(":")[2]) / 1000)
        elif odd is not None:
            odd(to)
        elif status == "200" and not self.headers and not self.body:
            to.write(_OK)
        else:
            to.write(self._status(method, status))

    def _status(self, method: bytes, status: str) -> bytes:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        bodiless = method == b"HEAD" or status in ("204", "304")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if bodiless else self.body)

    def _later(self, to: _Connection, delay_s: float = SLOW_S) -> None:
        def answer() -> None:
            if to in self.open:
                to.write(_OK)

        self._reactor.callLater(delay_s, answer)

    def cut_all(self) -> None:
        """End all connections."""
        for connection in list(self.open):
            connection.transport.abortConnection()


_TAKEN = frozenset(("huge", "endless", "slow", "late"))


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="bench.sinks", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--answer", default="200")
    chosen = parser.parse_args()
    from twisted.internet import reactor

    used: Any = reactor
    port = used.listenTCP(chosen.port, Sink(used, chosen.answer), interface="127.0.0.1")
    print(f"listening on {port.getHost().port}", flush=True)
    used.run()


if __name__ == "__main__":
    main()
