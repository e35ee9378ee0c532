"""A domain whose plugins are served under a clock, with targets that answer as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from eventdbx.application.domains import Domain
from eventdbx.application.plugins import EntriesInMemory, Plugins
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.entries import LogConfig, PluginEntry
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.plugins.desk import Desk
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.outlet import Outlet
from eventdbx.plugins.watching import DeliveryWatch
from eventdbx.settings import Config
from tests.application.test_writer import WriterCase
from tests.plugins.targets import surroundings

Answer = Callable[[Sequence[Item]], "DeliveryFailed | Deferred[None] | None"]


def place(item: Item) -> str:
    """Return an event as tests write it: ``o-1.2``."""
    return f"{item.parts.aggregate_id}.{item.parts.version}"


@implementer(IDelivery)
class Scripted:
    """A target. ``answer`` says what becomes of a delivery: None accepts it."""

    def __init__(self) -> None:
        self.tried: list[list[str]] = []
        self.accepted: list[str] = []
        self.attempts: list[int] = []
        self.modes: set[str] = set()
        self.closed = 0
        self.answer: Answer = lambda _items: None

    def encode(self, parts: Parts) -> bytes:
        self.modes.add(parts.mode)
        return b"{}"

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        places = [place(item) for item in items]
        self.tried.append(places)
        self.attempts.append(attempt)
        answer = self.answer(items)
        if isinstance(answer, Deferred):
            answer.addCallback(lambda _none: self.accepted.extend(places))
            return answer
        if answer is not None:
            self.accepted += places[: answer.accepted]
            return fail(answer)
        self.accepted += places
        return succeed(None)

    def check(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.closed += 1
        return succeed(None)


class Edited(EntriesInMemory):
    """A file that was edited whenever somebody looks."""

    def changed(self, *, now: bool = False) -> bool:
        return True


def hook(name: str = "hook", **options: Any) -> PluginEntry:
    """Return an entry."""
    return PluginEntry(enabled=True, name=name, config=LogConfig(), **options)


def refusing(*places: str, unavailable: bool = False) -> Any:
    """Return an answer that refuses every delivery with one of these events."""

    def answer(items: Sequence[Item]) -> DeliveryFailed | None:
        if any(place(item) in places for item in items):
            return DeliveryFailed("no", unavailable=unavailable)
        return None

    return answer


class DrainingCase(WriterCase):
    """Orders that are written, and plugins that get them."""

    max_attempts = 10
    watch: DeliveryWatch | None = None

    def setUp(self) -> None:
        super().setUp()
        self.time = Clock()
        self.time.advance(1_000_000)
        self.targets: dict[str, Scripted] = {}
        self.file = Edited()
        self.open()

    def open(self) -> None:
        """Open the domain as after a start of the server."""
        schemas = Catalogue(self.store, clock_ns=self.clock)
        self.plugins = Plugins(self.file, domain="default")
        self.writer = Writer(
            self.store,
            clock_ns=self.clock,
            entropy=lambda count: bytes(count),
            rules=schemas.rules,
            check_targets=self.plugins.check_targets,
            before_targets=self.plugins.look,
        )
        self.domain = Domain("default", self.store, self.writer, schemas, plugins=self.plugins)
        self.drainer = self.make_drainer()
        self.desk = Desk(self.drainer)
        self.drainer.start()
        self.drainer.serve()

    def make_drainer(self) -> Drainer:
        """Return the drainer of the domain; targets live on from one to the next."""

        def run_slowly(work: Callable[[], Any]) -> Deferred[Any]:
            return succeed(None).addCallback(lambda _none: work())

        return Drainer(
            self.domain,
            clock=self.time,
            run_slowly=run_slowly,
            surroundings=surroundings(used=self.time),
            config=Config(plugin_max_attempts=self.max_attempts),
            chance=lambda: 0.5,
            make=lambda entry, _surroundings: self.target(entry.key),
            watch=self.watch,
        )

    def target(self, name: str = "hook") -> Scripted:
        """Return the target of a plugin."""
        return self.targets.setdefault(name, Scripted())

    def outlet(self, name: str = "hook") -> Outlet:
        """Return the outlet of a plugin that gets events."""
        outlet = self.drainer.outlet(name)
        assert outlet is not None
        return outlet

    def put(self, *entries: PluginEntry) -> None:
        """Put entries in force, as if the file was edited."""
        self.file.save(entries)
        self.plugins.refresh(now=True)
        self.drainer.reconcile()

    def order(self, name: str = "o-1", *publish: PublishTarget) -> None:
        """Write an event of an order."""
        self.write(Write("append", "order", name, "paid", "{}", publish_targets=publish))

    def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, with a turn each second."""
        passed = 0.0
        while passed < seconds - 1e-9:
            self.time.advance(step)
            passed += step
            if round(passed / step) % round(1 / step) == 0:
                self.drainer.turn()

    def stop(self) -> None:
        """Stop the drainer in order."""
        self.successResultOf(self.drainer.stop())

    def crash(self) -> None:
        """Let the server die: nothing more is put."""
        self.drainer.outbox.put = lambda *_args: Deferred()  # type: ignore[method-assign]
        self.drainer.stop()
        self.open()

    def queue(self) -> dict[str, Any]:
        """Return what the queue shows."""
        return self.successResultOf(self.desk.queue(None, 100))

    def counts(self) -> tuple[int, int, int, int]:
        """Return pending, processing, done and dead."""
        shown = self.queue()
        return shown["pending"], shown["processing"], shown["done"], shown["dead"]
