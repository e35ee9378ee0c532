"""How fast one target is served: what it can take, and what its answers say about that."""

from __future__ import annotations

from eventdbx.domain.delivery.entries import Batch, PluginEntry
from eventdbx.domain.delivery.retrying import RETRY_AFTER_MAX_S, Breaker, Rate
from eventdbx.plugins.interfaces import DeliveryFailed

SINGLE = Batch(max_events=1)


class Pace:
    """The pace of one plugin. Times are those of the clock.

    ``limit`` is how many events a delivery may have now; ``not_before``: nothing is sent before
    that time.
    """

    def __init__(self, entry: PluginEntry, now: float) -> None:
        self.breaker = Breaker()
        self.batch = entry.batch or SINGLE
        self.limit = self.batch.max_events
        self.not_before = 0.0
        self._rate = None if entry.rate_limit is None else Rate(entry.rate_limit, now)
        self._narrowed: dict[bytes, int] = {}

    def room(self, now: float) -> int:
        """Return how many events may go now."""
        if now < self.not_before:
            return 0
        return self.batch.max_events if self._rate is None else self._rate.available(now)

    def spend(self, count: int) -> None:
        """Note that events go."""
        if self._rate is not None:
            self._rate.spend(count)

    def room_at(self, now: float) -> float | None:
        """Return when there is room by the rate; None without one."""
        return None if self._rate is None else now + self._rate.wait_s()

    def judge(self, failure: DeliveryFailed | None, count: int, now: float) -> bool:
        """Draw conclusions from a delivery of ``count`` events; say whether the target came
        back."""
        came_back = False
        if failure is None or not failure.unavailable:
            came_back = self.breaker.is_open
            self.breaker.answered()
        if failure is None:
            self.limit = min(self.limit * 2, self.batch.max_events)
        elif failure.unavailable:
            self.breaker.failed(now)
            if failure.retry_after_s is not None:
                until = now + min(failure.retry_after_s, RETRY_AFTER_MAX_S)
                self.not_before = max(self.not_before, until)
        elif not failure.blames:
            self.limit = max(1, (count - failure.accepted) // 2)
        return came_back

    def held_limit(self, name: bytes) -> int:
        """Return how many events a delivery of a held aggregate may have.

        It halves by itself: the limit of all others grows with their success, and would never
        let the one bad event among those of the aggregate be found.
        """
        return min(self.limit, self._narrowed.get(name, self.limit))

    def narrow(self, name: bytes, count: int) -> None:
        """Note that ``count`` events of a held aggregate were refused together."""
        self._narrowed[name] = max(1, count // 2)

    def widen(self, name: bytes) -> None:
        """Note that a held aggregate goes on, or that the bad event is known."""
        self._narrowed.pop(name, None)
