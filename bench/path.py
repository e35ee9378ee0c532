"""What each step of an append and a get costs, in one process and without a network.

``python -m bench.path`` feeds sealed requests of 64 sessions to the real protocol, writer and
RocksDB adapter, as they would come in one turn of the reactor, and measures the processor time of
every step. Nothing is synced and no socket is read, so what is left out is the reactor, the system
calls and the disk; ``bench/profile_server.py`` shows those. The least of many rounds is printed: on
a shared machine everything above it is somebody else's.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from zope.interface import implementer

from bench.workload import METADATA_TEXT, payload, text_of
from eventdbx.application.admission import Admission
from eventdbx.application.attempts import Attempts
from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.application.token_keys import PublicKey, SigningKey
from eventdbx.application.tokens import Verifier, issue
from eventdbx.application.writer import Writer
from eventdbx.config import Limits
from eventdbx.services.stores import pooled_entropy
from eventdbx.storage.interfaces import IHop
from eventdbx.storage.opening import open_store
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import SealedStore
from eventdbx.storage.store import Store
from eventdbx.surfaces.control.factory import ControlFactory
from eventdbx.surfaces.control.protocol import ControlProtocol
from eventdbx.surfaces.control.routes import Routes, Settings
from eventdbx.wire.client_connection import ClientConnection
from eventdbx.wire.connection import ServerConnection
from eventdbx.wire.requests import AppendEvent, GetAggregate

now = time.process_time_ns


@implementer(IHop)
class _Turns:
    """Lets what arrived depart when the turn is ended by hand."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def gather(self, depart: Callable[[], None]) -> None:
        self.waiting.append(depart)

    def quick(self) -> bool:
        return True

    def run(self, work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        work()
        done()

    def stop(self) -> None:
        pass

    def end(self) -> None:
        """End the turn."""
        waiting, self.waiting = self.waiting, []
        for depart in waiting:
            depart()


class _Nowhere:
    """A transport that counts what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.disconnecting = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def setTcpNoDelay(self, _on: bool) -> None:
        pass

    def registerProducer(self, _producer: object, _streaming: bool) -> None:
        pass


class Bench:
    """A server and the clients' ends of its sessions."""

    def __init__(self, folder: str, sessions: int, *, seal: bool) -> None:
        key = SigningKey(bytes(range(32)))
        self.token = issue(
            key, issuer="i", audience="a", jti="j", now_s=int(time.time()), ttl_s=None,
            group="ops", user="kim", actions=["*.*"],
        )  # fmt: skip
        self.hop = _Turns()
        self.backend = open_store(f"{folder}/store", data_keys=[bytes(32)], seal=seal)
        self.store = Store(self.backend, hop=self.hop, durability="never")
        schemas = Catalogue(self.store, clock_ns=time.time_ns)
        writer = Writer(
            self.store,
            clock_ns=time.time_ns,
            entropy=pooled_entropy(),
            rules=schemas.rules,
            new_slot=self.backend.seals.new_slot,
        )
        domain = Domain("default", self.store, writer, schemas)
        self.routes = Routes(
            admission=Admission(
                Verifier(
                    [PublicKey(None, key.public)], "i", "a", 30, time.time, lambda _jti: False
                ),
                Attempts(time.monotonic, 10),
            ),
            open_domain=lambda _name: domain,
            name_of=lambda _name: "default",
            settings=Settings(10, 1_000, True, False),
            run_slowly=lambda _work: fail(NotImplementedError()),
            status=dict,
        )
        bounds = Limits(connections_max=sessions, connections_per_peer_max=sessions)
        factory = ControlFactory(self.routes, Clock(), bounds)
        self.sessions = [self._session(factory) for _ in range(sessions)]

    def _session(
        self, factory: ControlFactory
    ) -> tuple[ClientConnection, ControlProtocol, _Nowhere]:
        client = ClientConnection(self.token, send_token=True)
        protocol = factory.buildProtocol(None)
        transport = _Nowhere()
        protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        while data := client.data_to_send():
            protocol.dataReceived(data)
            client.receive_data(b"".join(transport.written))
            transport.written.clear()
        return client, protocol, transport

    def requests(self, make: Callable[[int], Any]) -> list[bytes]:
        """Return one sealed request for each session."""
        frames = []
        for number, (client, _protocol, _transport) in enumerate(self.sessions):
            client.send_request(make(number))
            frames.append(client.data_to_send())
        return frames

    def settle(self) -> None:
        """Let the clients read their answers, so that the sessions stay in step."""
        for client, _protocol, transport in self.sessions:
            client.receive_data(b"".join(transport.written))
            transport.written.clear()

    def turn(self, frames: list[bytes]) -> int:
        """Carry out a turn; return its processor time in nanoseconds."""
        began = now()
        for (_client, protocol, _transport), frame in zip(self.sessions, frames, strict=True):
            protocol.dataReceived(frame)
        self.hop.end()
        return now() - began


STEPS: tuple[tuple[type, str, str], ...] = (
    (ControlProtocol, "dataReceived", "1-5   a request, until its answer waits for the commit"),
    (ServerConnection, "receive_data", "2     frame, decryption, decoding"),
    (Routes, "answer", "3-5   route, grant, step"),
    (Routes, "grant", "3     token and grant"),
    (Store, "transact", "5     step and the store's bookkeeping"),
    (Writer, "_commit", "5     step: checks, event, hashes, records"),
    (Routes, "_event_reply", "5     answer as JSON"),
    (Store, "_depart", "6-7   write, and the answers of all"),
    (SealedStore, "write", "6     seal, and write"),
    (RocksStore, "write", "6     one batch to RocksDB"),
    (ControlProtocol, "_reply", "7     encoding, encryption"),
    (ControlProtocol, "_flush", "7     to the transport"),
)
"""What is watched, by the steps of the path of a write (docs/performance.md)."""


class Stopwatch:
    """Adds up the time inside methods, by name; the time of inner ones is not taken off."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = defaultdict(int)

    def watch(self, target: Any, method: str, name: str) -> None:
        """Put the stopwatch around a method of a class or object."""
        original, spent = getattr(target, method), self.spent

        def timed(*args: Any, **keywords: Any) -> Any:
            began = now()
            try:
                return original(*args, **keywords)
            finally:
                spent[name] += now() - began

        setattr(target, method, timed)


def measure(
    folder: str, sessions: int, rounds: int, kind: str, detail: bool, seal: bool
) -> dict[str, float]:
    """Return microseconds per operation: the whole, and with ``detail`` some of its parts."""
    bench = Bench(folder, sessions, seal=seal)
    watch = Stopwatch()
    text = text_of(payload(1))

    def make(number: int) -> Any:
        if kind == "get":
            return GetAggregate(bench.token, "order", f"o-{number}")
        return AppendEvent(
            bench.token, "order", f"o-{number}", "order_paid", text, None, METADATA_TEXT
        )

    bench.turn(
        bench.requests(lambda n: AppendEvent(bench.token, "order", f"o-{n}", "order_paid", text))
    )
    bench.settle()
    if detail:
        for target, method, name in STEPS:
            watch.watch(target, method, name)
    best: dict[str, float] = {}
    for _ in range(rounds):
        frames = bench.requests(make)
        watch.spent.clear()
        found = {"whole": bench.turn(frames), **watch.spent}
        bench.settle()
        for name, spent in found.items():
            each = spent / sessions / 1_000
            best[name] = min(each, best.get(name, each))
    bench.store.close()
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--kind", choices=("append", "get"), default="append")
    parser.add_argument("--detail", action="store_true", help="each step; adds 0.5 µs to it")
    parser.add_argument("--plain", action="store_true", help="without encryption")
    options = parser.parse_args()
    if options.detail and not inspect.isfunction(Writer.write):
        parser.error("compiled methods cannot be watched; make clean, then measure the sources")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            folder,
            options.sessions,
            options.rounds,
            options.kind,
            options.detail,
            not options.plain,
        )
    for name, each in sorted(found.items()):
        print(f"{each:8.1f} µs  {name}")


if __name__ == "__main__":
    main()
