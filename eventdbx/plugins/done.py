"""How much a plugin was served lately: counters by the hour, for operators."""

from __future__ import annotations

from collections.abc import Iterable

from eventdbx.storage.outbox import done_key, encode_count

HOUR_MS = 3_600_000


class Done:
    """Deliveries of one plugin in the last ``ttl_s`` seconds; at most ``jobs_max`` are told.

    ``ttl_s`` 0 keeps them for ever, unless ``jobs_max`` is 0, too.
    """

    def __init__(
        self, plugin: str, counts: Iterable[tuple[int, int]], *, ttl_s: int, jobs_max: int | None
    ) -> None:
        self._plugin = plugin
        self._counts = dict(counts)
        self.keep(ttl_s, jobs_max)
        self._changed: set[int] = set()

    def keep(self, ttl_s: int, jobs_max: int | None) -> None:
        """Keep deliveries for so long from now on."""
        self._ttl_s = ttl_s
        self._jobs_max = jobs_max

    @property
    def changed(self) -> bool:
        """Say whether there are changes to take."""
        return bool(self._changed)

    def total(self, now_ms: int) -> int:
        """Return how many deliveries count."""
        self._prune(now_ms)
        total = sum(self._counts.values())
        if self._jobs_max is None or (self._jobs_max == 0 and self._ttl_s == 0):
            return total
        return min(total, self._jobs_max)

    def add(self, now_ms: int, count: int) -> None:
        """Count deliveries."""
        if count:
            hour = now_ms // HOUR_MS
            self._counts[hour] = self._counts.get(hour, 0) + count
            self._changed.add(hour)

    def clear(self, before_ms: int) -> int:
        """Forget deliveries of hours that were over before a time; return how many."""
        return sum(self._forget(hour) for hour in self._before(before_ms))

    def count(self, before_ms: int) -> int:
        """Return how many deliveries :meth:`clear` would forget."""
        return sum(self._counts[hour] for hour in self._before(before_ms))

    def _before(self, before_ms: int) -> list[int]:
        return [hour for hour in self._counts if (hour + 1) * HOUR_MS <= before_ms]

    def take_changes(self, now_ms: int) -> dict[bytes, bytes | None]:
        """Return the rows that changed since this was last asked."""
        self._prune(now_ms)
        rows: dict[bytes, bytes | None] = {}
        for hour in self._changed:
            count = self._counts.get(hour)
            rows[done_key(self._plugin, hour)] = None if count is None else encode_count(count)
        self._changed.clear()
        return rows

    def _prune(self, now_ms: int) -> None:
        if self._ttl_s:
            self.clear(now_ms - self._ttl_s * 1000)

    def _forget(self, hour: int) -> int:
        self._changed.add(hour)
        return self._counts.pop(hour)
