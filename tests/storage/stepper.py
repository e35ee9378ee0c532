"""Doubles for the store: a hop that moves when told, a backend that fails when told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from zope.interface import implementer

from eventdbx.storage.interfaces import Changes, IHop
from eventdbx.storage.memory import MemoryStore


@implementer(IHop)
class Stepper:
    """Holds what is on its way until the test lets it go on, one half at a time."""

    def __init__(self, *, patient: bool = False) -> None:
        """A patient one gathers until :meth:`turn`."""
        self.patient = patient
        self.departures: list[Callable[[], None]] = []
        self.underway: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self.brief: list[bool] = []
        self.stopped = False

    def gather(self, depart: Callable[[], None]) -> None:
        self.departures.append(depart)
        if not self.patient:
            self.turn()

    def turn(self) -> None:
        """Everything that arrives together has arrived."""
        departures, self.departures = self.departures, []
        for depart in departures:
            depart()

    def quick(self) -> bool:
        return False

    def run(self, work: Callable[[], None], done: Callable[[], None], *, brief: bool) -> None:
        assert not self.stopped
        self.brief.append(brief)
        self.underway.append((work, done))

    def stop(self) -> None:
        self.stopped = True

    def step(self) -> None:
        """Let the oldest errand happen and be reported."""
        work, done = self.underway.popleft()
        work()
        done()

    def settle(self) -> None:
        """Go on until nothing is on its way."""
        while self.underway:
            self.step()


class FaultyStore(MemoryStore):
    """A store in memory that records calls and fails as its test wishes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.write_error: Exception | None = None
        self.sync_error: Exception | None = None

    def write(self, changes: Changes, *, sync: bool) -> None:
        self.calls.append(f"write {len(changes)}")
        if self.write_error is not None:
            raise self.write_error
        super().write(changes, sync=sync)

    def sync(self) -> None:
        self.calls.append("sync")
        if self.sync_error is not None:
            raise self.sync_error
        super().sync()

    def close(self) -> None:
        self.calls.append("close")
        super().close()
