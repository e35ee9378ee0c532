"""Children for tests: small real programs, the surroundings to run them in, and events for them.

A program is a few lines of Python over ``read`` (the next message: its kind, its sequence, whether
another event of the delivery follows), ``ack`` and ``refuse``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from eventdbx.domain.delivery.entries import PluginEntry, ProcessConfig
from eventdbx.domain.delivery.parts import Item, Parts
from eventdbx.errors import ConfigError
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.process import ProcessDelivery
from eventdbx.plugins.surroundings import Installation, Surroundings
from tests.wire.test_plugin_messages import parts

PRELUDE = """\
import os, signal, struct, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
def read():
    table = sys.stdin.buffer.read(8)
    if len(table) < 8:
        raise SystemExit(0)
    body = sys.stdin.buffer.read(8 * struct.unpack("<II", table)[1])
    kind = body[8]
    if kind == 0:
        return 0, 0, False
    sequence, = struct.unpack_from("<Q", body, 24)
    purpose, flags = struct.unpack_from("<HH", body, 168)
    return kind, sequence, bool(flags & 1)
def answer(raw):
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()
def ack(sequence):
    answer(struct.pack("<IIQQQQ", 0, 4, 1 << 48 | 1 << 32, 2, 1 << 32, sequence))
def refuse(sequence, text):
    raw = text.encode()
    words = len(raw) // 8 + 1
    answer(struct.pack("<IIQQQQQ", 0, 5 + words, 1 << 48 | 1 << 32, 3, 1 << 48 | 1 << 32,
        sequence, len(raw) + 1 << 35 | 2 << 32 | 1) + raw.ljust(8 * words, b"\\0"))
def note(text):
    with open(os.path.join(HERE, "notes"), "a") as out:
        out.write(text + "\\n")
"""

ACKING = """
while True:
    kind, sequence, more = read()
    note(f"{kind} {sequence} {more}")
    if kind == 1 and not more:
        ack(sequence)
"""

READING = """
while True:
    kind, sequence, more = read()
    note(f"{kind} {sequence} {more}")
"""


class QuickReactor:
    """The reactor on a day that passes fast: what takes a second takes ``1 / speed``.

    With ``ageing`` off only waiting is quick, and children live as long as they really do.
    """

    def __init__(self, speed: float, *, ageing: bool) -> None:
        self._speed = speed
        self._ageing = ageing

    def seconds(self) -> float:
        """Return the time on the quick clock."""
        return time.monotonic() * (self._speed if self._ageing else 1.0)

    def callLater(self, delay_s: float, *call: Any, **keywords: Any) -> Any:
        """Call sooner; the call tells its time on the quick clock."""
        later: Any = reactor.callLater(delay_s / self._speed, *call, **keywords)
        at = self.seconds() + delay_s
        later.getTime = lambda: at
        return later

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class ChildCase(TestCase):
    """A test with process plugins in a folder of its own."""

    timeout = 30.0

    def setUp(self) -> None:
        """Make the folder."""
        self.root = Path(self.mktemp()).resolve()
        self.root.mkdir()
        self.installed = True
        self.environ: dict[str, str] = {"PATH": "/usr/bin:/bin"}

    def notes(self) -> list[str]:
        """Return what the child has noted."""
        path = self.root / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def output(self, name: str = "relay") -> str:
        """Return the log of the child."""
        path = self.root / "logs" / "plugins" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def surroundings(
        self, speed: float = 1.0, domain: str = "default", *, ageing: bool = True
    ) -> Surroundings:
        """Return the surroundings of a delivery."""
        return Surroundings(
            reactor=reactor if speed == 1.0 else QuickReactor(speed, ageing=ageing),
            domain=domain,
            data_root=self.root,
            run_dir=self.root / "run",
            log_dir=self.root / "logs",
            control_address="127.0.0.1:6363",
            environ=self.environ,
            installation=self._installation,
        )

    def _installation(self, name: str, version: str) -> Installation:
        if not self.installed:
            raise ConfigError(f"plugin {name}@{version} is not installed for target t")
        return Installation(name, version, "linux-x86_64", self.root / "program", self.root)

    def process(
        self,
        program: str,
        *,
        speed: float = 1.0,
        ageing: bool = True,
        domain: str = "default",
        timeout_s: float | None = None,
        **config: Any,
    ) -> ProcessDelivery:
        """Return the delivery to a program; it is closed when the test ends."""
        path = self.root / "program"
        path.write_text(f"#!{sys.executable} -SE\n{PRELUDE}{program}")
        path.chmod(0o755)
        entry = PluginEntry(
            enabled=True,
            name="relay",
            timeout_s=timeout_s,
            config=ProcessConfig(name="dbx_relay", version="1.0.0", **config),
        )
        delivery = ProcessDelivery(entry, self.surroundings(speed, domain, ageing=ageing))
        self.addCleanup(delivery.close)
        return delivery

    async def until(self, condition: Any) -> None:
        """Wait for what a child does; the limit is that of the test."""
        while not condition():
            await deferLater(reactor, 0.01)


async def failure_of(delivered: Deferred[None]) -> DeliveryFailed:
    """Return how a delivery failed."""
    try:
        await delivered
    except DeliveryFailed as failed:
        return failed
    raise AssertionError("the delivery was accepted")


def items(delivery: ProcessDelivery, count: int, size: int = 0) -> list[Item]:
    """Return some events, with a state of some size."""
    whole: Parts = parts()
    if size:
        assert whole.head is not None
        whole = whole._replace(head=whole.head._replace(state={"text": "x" * size}))
    return [Item(whole, delivery.encode(whole))] * count


def send(delivery: ProcessDelivery, count: int = 1, size: int = 0) -> Deferred[None]:
    """Deliver some events."""
    return delivery.deliver(items(delivery, count, size), attempt=1, purpose="live")
