"""Which event of a plugin goes next: order per aggregate, batches, priorities, the cursor.

The events between the cursor and the end of the window stand in lanes, one for each aggregate. A
lane whose event is in flight waits, so versions of an aggregate never overtake each other, while
other lanes go on. The cursor is the first position that is not settled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

RANKS = {"high": 0, "normal": 1, "low": 2}
"""Priorities as numbers; the lowest goes first."""

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """One event in its lane; ``size`` in bytes, ``since`` the time at which it was offered."""

    position: int
    lane: bytes
    version: int
    rank: int
    size: int
    since: float
    item: T


class Lanes(Generic[T]):
    """The window of one plugin, from ``cursor`` (not settled) to ``scanned`` (not looked at)."""

    def __init__(self, cursor: int) -> None:
        self.scanned = cursor
        self.size = 0
        """The bytes of all that waits or is in flight."""
        self.in_flight = 0
        """How many events are in flight."""
        self._lanes: dict[bytes, deque[Waiting[T]]] = {}
        self._busy: set[bytes] = set()
        self._ready: list[tuple[int, int, bytes]] = []  # May hold stale entries.
        self._order: deque[int] = deque()  # Positions of the window that were offered.
        self._settled: set[int] = set()  # Of these, and of ones offered before a reset.
        self._count = 0

    @property
    def cursor(self) -> int:
        """Return the first position that is not settled."""
        return self._order[0] if self._order else self.scanned

    @property
    def waiting(self) -> int:
        """Return how many events wait and are not in flight."""
        return self._count - self.in_flight

    @property
    def span(self) -> int:
        """Return how many events were offered from the cursor on, settled or not."""
        return len(self._order)

    @property
    def depth(self) -> int:
        """Return how many events wait or are in flight."""
        return self._count

    def oldest(self) -> Waiting[T] | None:
        """Return the event that goes next, or None."""
        while self._ready:
            rank, position, lane = self._ready[0]
            first = self._head(lane)
            if first is not None and first.position == position:
                return first
            heappop(self._ready)
        return None

    def offer(self, waiting: Waiting[T]) -> bool:
        """Add an event at or behind the end of the window; False if it was settled before."""
        self.scanned = waiting.position + 1
        if waiting.position in self._settled:
            self._order.append(waiting.position)
            self._shrink()
            return False
        self._order.append(waiting.position)
        lane = self._lanes.setdefault(waiting.lane, deque())
        lane.append(waiting)
        self._count += 1
        self.size += waiting.size
        if len(lane) == 1:
            heappush(self._ready, (waiting.rank, waiting.position, waiting.lane))
        return True

    def pass_over(self, until: int) -> None:
        """Count every position before ``until`` as looked at; what was not offered is settled."""
        self.scanned = max(self.scanned, until)

    def take(self, items_max: int, bytes_max: int) -> list[Waiting[T]]:
        """Take the events of the next delivery, in the order in which they are sent.

        The first always fits. Several versions of one aggregate may be in one delivery.
        """
        taken: list[Waiting[T]] = []
        size = 0
        while len(taken) < items_max:
            first = self.oldest()
            if first is None or (taken and size + first.size > bytes_max):
                break
            heappop(self._ready)
            lane = self._lanes[first.lane]
            lane.popleft()
            taken.append(first)
            size += first.size
            if lane:
                heappush(self._ready, (lane[0].rank, lane[0].position, first.lane))
        for one in taken:
            self._busy.add(one.lane)
        self.in_flight += len(taken)
        return taken

    def settle(self, taken: list[Waiting[T]], accepted: int) -> None:
        """End a delivery: the first ``accepted`` are settled, the others wait again."""
        self.in_flight -= len(taken)
        for one in taken[:accepted]:
            self._settled.add(one.position)
            self._count -= 1
            self.size -= one.size
        for one in reversed(taken[accepted:]):
            self._lanes.setdefault(one.lane, deque()).appendleft(one)
        for name in {one.lane for one in taken}:
            self._busy.discard(name)
            lane = self._lanes.get(name)
            if lane:
                heappush(self._ready, (lane[0].rank, lane[0].position, name))
            else:
                self._lanes.pop(name, None)
        self._shrink()

    def withdraw(self, name: bytes, versions: int | None = None) -> list[Waiting[T]]:
        """Settle what waits in a lane (its first ``versions``): somebody else sees to it."""
        assert name not in self._busy, "a lane in flight cannot be withdrawn"
        lane = self._lanes.get(name)
        if lane is None:
            return []
        count = len(lane) if versions is None else min(versions, len(lane))
        gone = [lane.popleft() for _ in range(count)]
        for one in gone:
            self._settled.add(one.position)
            self._count -= 1
            self.size -= one.size
        if lane:
            heappush(self._ready, (lane[0].rank, lane[0].position, name))
        else:
            del self._lanes[name]
        self._shrink()
        return gone

    def age(self, before: float) -> None:
        """Let whatever was offered before a time go first."""
        for name, lane in self._lanes.items():
            if lane and name not in self._busy and lane[0].rank and lane[0].since < before:
                lane[0] = lane[0]._replace(rank=0)
                heappush(self._ready, (0, lane[0].position, name))

    def reset(self) -> None:
        """Forget what waits, to be offered anew from the cursor. Nothing may be in flight."""
        assert not self.in_flight
        self.scanned = self.cursor
        self._lanes.clear()
        self._ready.clear()
        self._order.clear()
        self._count = self.size = 0

    def __iter__(self) -> Iterator[Waiting[T]]:
        """Yield what waits, lane by lane."""
        for lane in self._lanes.values():
            yield from lane

    def _head(self, name: bytes) -> Waiting[T] | None:
        # A lane taken from already in this delivery is not busy yet, and may be taken from again.
        if name in self._busy:
            return None
        lane = self._lanes.get(name)
        return lane[0] if lane else None

    def _shrink(self) -> None:
        order, settled = self._order, self._settled
        while order and order[0] in settled:
            settled.discard(order.popleft())
