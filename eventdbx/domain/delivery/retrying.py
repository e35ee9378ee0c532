"""When something that failed is tried again, and when it never is."""

from __future__ import annotations

from collections.abc import Callable

from eventdbx.domain.delivery.entries import DOCUMENTED_BACKOFF_S, Backoff

JITTER = 0.2
"""Delays differ by up to this part, so that what failed together does not return together."""

RETRY_AFTER_MAX_S = 3600.0
BREAKER_FAILURES = 5
"""So many failures in a row that are the target's own open the breaker."""

BREAKER_FIRST_S = 5.0
BREAKER_MAX_S = 300.0


def delay_s(attempts: int, backoff: Backoff | None, chance: Callable[[], float]) -> float:
    """Return how long to wait after ``attempts`` failures (at least one).

    ``chance`` returns a number from 0 to 1.
    """
    if backoff is None:
        delay = DOCUMENTED_BACKOFF_S[min(attempts, len(DOCUMENTED_BACKOFF_S)) - 1]
    else:
        delay = backoff.first_s
        for _ in range(attempts - 1):
            delay *= backoff.factor
            if delay >= backoff.max_s:
                break
        delay = min(delay, backoff.max_s)
    return delay * (1 + JITTER * (2 * chance() - 1))


class Breaker:
    """Keeps a target that is not there from using up the attempts of a whole backlog.

    Open, it lets one delivery pass at a time, at growing intervals; the first that arrives
    closes it.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._probe_at = 0.0
        self._interval_s = BREAKER_FIRST_S

    @property
    def is_open(self) -> bool:
        """Say whether only probes may pass."""
        return self._failures >= BREAKER_FAILURES

    @property
    def probe_at(self) -> float:
        """Return when the next probe may pass."""
        return self._probe_at

    def failed(self, now: float) -> None:
        """Note a failure that was the target's own.

        One that comes before the next probe may pass was under way when the breaker opened, and
        says nothing new.
        """
        was_open = self.is_open
        if was_open and now < self._probe_at:
            return
        self._failures += 1
        if self.is_open:
            if was_open:
                self._interval_s = min(self._interval_s * 2, BREAKER_MAX_S)
            self._probe_at = now + self._interval_s

    def hurry(self, now: float) -> None:
        """Let the next probe pass at once: somebody says that the target is there again."""
        self._probe_at = min(self._probe_at, now)

    def answered(self) -> None:
        """Note that the target is there."""
        self._failures = 0
        self._interval_s = BREAKER_FIRST_S


class Rate:
    """At most so many events a second, with bursts of a second's worth."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._burst = max(per_second, 1.0)
        self._allowance = self._burst
        self._at = now

    def available(self, now: float) -> int:
        """Return how many events may go now."""
        self._allowance = min(
            self._burst, self._allowance + max(now - self._at, 0.0) * self._per_second
        )
        self._at = now
        return int(self._allowance + 1e-9)

    def spend(self, count: int) -> None:
        """Note that events went."""
        self._allowance -= count

    def wait_s(self) -> float:
        """Return how long until another event may go."""
        return max(0.0, (1 - self._allowance) / self._per_second)
