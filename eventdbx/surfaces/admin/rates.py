"""Token buckets: how many requests each peer and each token may send."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from eventdbx import limits


class Rate(NamedTuple):
    """What one request left over: the whole bucket, what is in it, seconds until one more."""

    limit: int
    remaining: int
    wait_s: int
    admitted: bool

    def headers(self) -> dict[str, str]:
        """Return what tells a client how it stands."""
        shown = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.wait_s),
        }
        return shown if self.admitted else {**shown, "Retry-After": str(max(self.wait_s, 1))}


class Buckets:
    """One bucket for each key, filled ``per_second``, at most ``burst`` in it.

    Both are asked for at every request, so that a change of the configuration counts at once.
    The key that was not seen for longest is forgotten first: its bucket is likely full anyway.
    """

    def __init__(self, clock: Callable[[], float], terms: Callable[[], tuple[int, int]]) -> None:
        self._clock = clock
        self._terms = terms
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._levels)

    def take(self, key: str) -> Rate:
        """Take one from a bucket, if there is one."""
        per_second, burst = self._terms()
        now = self._clock()
        level, seen = self._levels.pop(key, (float(burst), now))
        # A clock that is set back must not empty the buckets of everybody.
        level = min(float(burst), level + max(0.0, now - seen) * per_second)
        admitted = level >= 1.0
        if admitted:
            level -= 1.0
        self._levels[key] = (level, now)
        if len(self._levels) > limits.HTTP_BUCKETS_MAX:
            self._levels.popitem(last=False)
        missing = 0.0 if level >= 1.0 else (1.0 - level) / per_second
        return Rate(burst, int(level), int(missing + 0.999), admitted)
