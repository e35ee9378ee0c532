"""What strangers with wrong tokens cost good clients: latencies and memory of a running server.

``python -m bench.strangers --rate 1000 --seconds 10`` starts a server, lets some clients append one
event after the other, first alone, then while another process shows so many wrong tokens a second,
half of them in hellos of new connections and half in requests of open sessions, and then alone
again. All come from one address. It prints the latencies of the good clients in each part, how many
wrong tokens were answered, and what the server took of a core and of memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.daemon import Daemon
from bench.loading import connect
from bench.machine import description, processor_s, resident_bytes
from eventdbx.errors import EventDBXError
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from eventdbx.wire.codec_hello import encode_hello
from eventdbx.wire.framing import framed

HOST = "127.0.0.1"
CLIENTS = 4
THINK_S = 0.005
"""Good clients leave the server some room: a server without any is slow for everybody."""


def wrong_token(token: str, number: int) -> str:
    """Return a token whose claims are good and whose signature is not; each is another one."""
    head, body, signature = token.split(".")
    return f"{head}.{body}.{number:08d}{signature[8:]}"


class Good(threading.Thread):
    """A client that appends, and notes how long each took."""

    def __init__(self, daemon: Daemon, name: str, until: float) -> None:
        super().__init__(daemon=True)
        self._server = daemon
        self._name = name
        self._until = until
        self.seconds: list[float] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Append until the time is over."""
        try:
            with connect(self._server) as client:
                while (began := time.perf_counter()) < self._until:
                    client.append("stranger", self._name, "seen", {"n": 1})
                    self.seconds.append(time.perf_counter() - began)
                    time.sleep(THINK_S)
        except BaseException as error:
            self.error = error


def attack(port: int, token: str, rate: float, seconds: float, told: Any) -> None:
    """Show wrong tokens at a rate: every other one in the hello of a new connection."""
    began = time.perf_counter()
    session = BlockingClient(HOST, port, token)
    shown = refused = 0
    while (now := time.perf_counter()) < began + seconds:
        ahead = shown / rate - (now - began)
        if ahead > 0:
            time.sleep(ahead)
        text = wrong_token(token, shown)
        shown += 1
        if shown % 2:
            refused += _hello(port, text)
            continue
        try:
            session.call(Calls(text).get("stranger", "nobody"))
        except EventDBXError:
            refused += 1
    session.close()
    told.put((shown, refused, time.perf_counter() - began))


def _hello(port: int, text: str) -> bool:
    """Tell whether a hello with this token is answered and the connection closed."""
    with socket.create_connection((HOST, port), 10) as one:
        one.sendall(framed(encode_hello(text, None, no_noise=False)))
        answer = b""
        while data := one.recv(4096):
            answer += data
    return b"too many failed attempts" in answer or b"invalid control token" in answer


def part(daemon: Daemon, seconds: float) -> dict[str, float]:
    """Let the good clients work for some time; return what it took them."""
    until = time.perf_counter() + seconds
    used_s = processor_s(daemon.pid)
    clients = [Good(daemon, f"s-{number}", until) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        if client.error is not None:
            raise client.error
    taken = [one for client in clients for one in client.seconds]
    used_s = processor_s(daemon.pid) - used_s
    cuts = statistics.quantiles(taken, n=1000)
    return {
        "appends": len(taken),
        "p50_ms": round(cuts[499] * 1e3, 3),
        "p99_ms": round(cuts[989] * 1e3, 3),
        "p99.9_ms": round(cuts[998] * 1e3, 3),
        "processor_of_server": round(used_s / seconds, 3),
        "resident_mb": round(resident_bytes(daemon.pid) / 1e6, 1),
    }


def measure(daemon: Daemon, rate: float, seconds: float) -> dict[str, Any]:
    """Return the three parts, and what the strangers were told."""
    found: dict[str, Any] = {}
    part(daemon, 2.0)
    found["alone"] = part(daemon, seconds)
    told: Any = multiprocessing.Queue()
    stranger = multiprocessing.Process(
        target=attack, args=(daemon.port, daemon.token, rate, seconds + 1, told), daemon=True
    )
    stranger.start()
    time.sleep(0.5)
    found["with strangers"] = part(daemon, seconds)
    shown, refused, took = told.get(timeout=60)
    stranger.join()
    found["strangers"] = {"shown": shown, "refused": refused, "per_second": round(shown / took)}
    found["alone again"] = part(daemon, seconds)
    return found


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1_000.0, help="wrong tokens a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder) / "database")
        daemon.start()
        try:
            found = measure(daemon, given.rate, given.seconds)
        finally:
            daemon.stop()
    json.dump({"machine": description(), **found}, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
