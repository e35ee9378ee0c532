"""Delivery as lines, files that rotate, and lines of children."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from eventdbx.domain.delivery.entries import LogConfig, PluginEntry
from eventdbx.domain.delivery.parts import Item, Parts
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.log import LogDelivery
from eventdbx.plugins.output import Lines
from eventdbx.plugins.rotating import RotatingFile
from tests.plugins.children import ChildCase, failure_of
from tests.wire.test_plugin_messages import parts


class LogCase(ChildCase):
    """Deliveries of the ``log`` kind."""

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "eventdbx.plugin.log":
                self.lines.append(f"{event['log_level'].name} {event['line']}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def log(self, **config: Any) -> LogDelivery:
        """Return the delivery of an entry."""
        entry = PluginEntry(enabled=True, config=LogConfig(**config))
        return LogDelivery(entry, self.surroundings())

    async def send(self, delivery: LogDelivery, *sent: Parts) -> None:
        """Deliver some events."""
        items = [Item(one, delivery.encode(one)) for one in sent]
        await delivery.deliver(items, attempt=1, purpose="live")

    async def test_a_line_for_each_part(self) -> None:
        """Event, state and schema have a line each, at the level of the entry."""
        await self.send(self.log(level="WARN"), parts())
        self.assertEqual(
            self.lines,
            [
                'warn aggregate=order id=o-1 event=order_paid payload={"total":12}',
                'warn aggregate=order id=o-1 state={"status":"open","total":"12"}',
                'warn schema=order payload={"aggregate":"order"}',
            ],
        )

    async def test_summaries(self) -> None:
        """A summary has no content."""
        await self.send(self.log(detail="summary"), parts())
        self.assertEqual(
            self.lines,
            [
                "info aggregate=order id=o-1 event=order_paid",
                "info aggregate=order id=o-1 state=present",
                "info schema=order",
            ],
        )

    async def test_templates(self) -> None:
        """A template is the line of the event; braces that mean nothing stay."""
        delivery = self.log(template="{event} of {aggregate}/{id} {x} {}")
        await self.send(delivery, parts(head=None, schema=None))
        self.assertEqual(self.lines, ["info order_paid of order/o-1 {x} {}"])

    async def test_unknown_levels(self) -> None:
        """A level that does not exist fails checks and deliveries alike."""
        delivery = self.log(level="loud")
        for attempt in (delivery.check(), self.send(delivery, parts())):
            with self.assertRaises(DeliveryFailed) as caught:
                await attempt
            self.assertEqual(
                caught.exception.reason, "configuration error: unsupported log level 'loud'"
            )

    async def test_nothing_to_log(self) -> None:
        """An event without parts is told."""
        delivery = self.log()
        empty = Item(parts(), b"")
        failed = await failure_of(delivery.deliver([empty], attempt=1, purpose="live"))
        self.assertEqual(failed.reason, "plugin job contained no data")

    async def test_a_file_of_its_own(self) -> None:
        """With a path, each event is a line of JSON in that file and the log stays quiet."""
        delivery = self.log(path="events.ndjson")
        await gatherResults([_deferred(self.send(delivery, parts(), parts())) for _ in range(5)])
        lines = (self.root / "events.ndjson").read_text().splitlines()
        self.assertEqual(len(lines), 10)
        document = orjson.loads(lines[0])
        self.assertEqual(document["event"]["payload"], {"total": 12})
        self.assertEqual(sorted(document), ["event", "schema", "state"])
        self.assertEqual(self.lines, [])
        await delivery.close()

    async def test_a_file_that_cannot_be_written(self) -> None:
        """The reason names the file."""
        delivery = self.log(path="file/events.ndjson")
        (self.root / "file").touch()
        with self.assertRaises(DeliveryFailed) as caught:
            await self.send(delivery, parts())
        self.assertIn("file/events.ndjson", caught.exception.reason)
        self.assertTrue(caught.exception.unavailable)


def _deferred(work: Any) -> Any:
    return Deferred.fromCoroutine(work)


class Files(SynchronousTestCase):
    """Files that rotate."""

    def setUp(self) -> None:
        """Make a folder."""
        self.path = Path(self.mktemp()) / "deep" / "x.log"

    def test_old_lines_are_put_aside_and_dropped(self) -> None:
        """A file never exceeds its size, and only so many are kept."""
        file = RotatingFile(self.path, bytes_max=22, files=3)
        for number in range(10):
            file.append(b"line %d...\n" % number)
        file.close()
        texts = [self.path.with_name(name).read_text() for name in ("x.log", "x.log.1", "x.log.2")]
        self.assertEqual(texts, [f"line {n}...\nline {n + 1}...\n" for n in (8, 6, 4)])
        self.assertEqual(len(list(self.path.parent.iterdir())), 3)

    def test_a_file_goes_on_after_a_restart(self) -> None:
        """What is there counts."""
        for _ in range(2):
            file = RotatingFile(self.path, bytes_max=20, files=2)
            file.append(b"0123456789\n")
            file.close()
        self.assertEqual(self.path.with_name("x.log.1").read_bytes(), b"0123456789\n")

    def test_a_full_disk_leaves_no_half_lines(self) -> None:
        """What could not be written as a whole is taken back."""
        if not os.path.exists("/dev/full"):
            return
        file = RotatingFile(Path("/dev/full"))
        with self.assertRaises(OSError):
            file.append(b"line\n")


class LineCutting(SynchronousTestCase):
    """Output of children as lines."""

    def test_lines_are_put_together(self) -> None:
        """Lines come whole, however they were written; blank ones do not count."""
        lines = Lines()
        found = [one for piece in (b"a", b"b\n\n \nc\r\nd", b"\n") for one in lines.feed(piece)]
        self.assertEqual(found, [b"ab", b"c", b"d"])
        self.assertEqual(lines.feed(b"left") + lines.rest(), [b"left"])

    def test_long_lines_are_cut(self) -> None:
        """The rest of a long line is dropped as it comes; the next line is whole again."""
        lines = Lines(bytes_max=10)
        found = []
        for piece in (b"0123456789ab", b"cdef" * 1000, b"ghi\nnext\n"):
            found += lines.feed(piece)
        self.assertEqual(found, [b"0123456789 ... (cut)", b"next"])
        self.assertEqual(lines.feed(b"0123456789abc\n"), [b"0123456789 ... (cut)"])
