"""What one plugin holds back: failed events, and behind each its aggregate.

A mirror of the rows in the store, and the changes that are to be put there next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

from eventdbx.application.feed import Offer
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.retrying import RETRY_AFTER_MAX_S, delay_s
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.storage import keys
from eventdbx.storage.outbox import Held, encode_held, held_key

HELD_MAX = 10_000
"""Rows of a plugin; with more, nothing new is sent to it: it is not working at all."""

ERROR_BYTES_MAX = 1_024


class Holding:
    """The held rows of one plugin."""

    def __init__(
        self,
        entry: PluginEntry,
        rows: Iterable[Held],
        *,
        max_attempts: int,
        chance: Callable[[], float],
    ) -> None:
        self._entry = entry
        self.allow(max_attempts)
        self._chance = chance
        self._rows: dict[bytes, Held] = {held_key(entry.key, row): row for row in rows}
        self._names = {row.name: row for row in self._rows.values() if not row.loose}
        self._passed: dict[bytes, int] = {}  # The newest version passed, since this was made.
        self._alive = {key for key, row in self._rows.items() if not row.dead}
        self._busy: set[bytes] = set()
        self._put_off: dict[bytes, int] = {}  # What could not be read, and until when.
        self._due = [(row.next_retry_at, row.position, key) for key, row in self._rows.items()]
        heapify(self._due)
        self.changes: dict[bytes, bytes | None] = {}
        """Rows to put, and None for those to delete, since this was last emptied."""

    def allow(self, max_attempts: int) -> None:
        """Try a delivery so often from now on, unless the entry says how often."""
        self._max_attempts = self._entry.max_attempts or max_attempts

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._rows.values()))

    @property
    def first_position(self) -> int | None:
        """Return a position before which nothing is held back, None when nothing is at all."""
        return min((row.position for row in self._rows.values()), default=None)

    @property
    def all_dead(self) -> bool:
        """Say whether nothing will be tried again by itself."""
        return not self._alive

    @property
    def dead(self) -> int:
        """Return how many are not tried any more."""
        return len(self._rows) - len(self._alive)

    def is_busy(self, held: Held) -> bool:
        """Say whether a row is being worked on."""
        return held_key(self._entry.key, held) in self._busy

    def of(self, name: bytes) -> Held | None:
        """Return the row behind which the events of an aggregate wait."""
        return self._names.get(name)

    def blocking(self, name: bytes, version: int) -> Held | None:
        """Return the row because of which an event is not delivered, or None."""
        held = self._names.get(name)
        if held is not None and held.version <= version:
            return held
        key = keys.of_plugin(keys.PLUGIN_HELD, self._entry.key) + name
        return self._rows.get(key + version.to_bytes(8, "big"))

    def current(self, held: Held) -> Held | None:
        """Return a row as it is by now, or None when it is gone."""
        return self._rows.get(held_key(self._entry.key, held))

    def pass_over(self, name: bytes, version: int) -> None:
        """Note that the cursor passes a later event of a held aggregate."""
        self._passed[name] = max(version, self._passed.get(name, 0))

    def take_due(self, now_ms: int) -> Held | None:
        """Return a row to try now, which is busy until it is released or removed."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _position, key = heappop(self._due)
            row = self._rows.get(key)
            if row is None or row.dead or key in self._busy or row.next_retry_at != due_ms:
                continue
            self._busy.add(key)
            return row
        return None

    def take_oldest(self, now_ms: int) -> Held | None:
        """Return the row that has waited longest, due or not, as :meth:`take_due` does."""
        self._put_off = {key: at for key, at in self._put_off.items() if at > now_ms}
        alive = [
            (self._rows[key].position, key)
            for key in self._alive
            if key not in self._busy and key not in self._put_off
        ]
        if not alive:
            return None
        _position, key = min(alive)
        self._busy.add(key)
        return self._rows[key]

    def next_due_ms(self) -> int | None:
        """Return when the next row is to be tried."""
        while self._due:
            due_ms, _position, key = self._due[0]
            row = self._rows.get(key)
            if row is not None and not row.dead and key not in self._busy:
                if row.next_retry_at == due_ms:
                    return due_ms
            heappop(self._due)
        return None

    def hold(
        self,
        offer: Offer,
        failure: DeliveryFailed,
        now_ms: int,
        *,
        attempts: int,
        loose: bool,
        final: bool = False,
    ) -> Held:
        """Hold an event back that failed for the ``attempts``-th time; dead if that was enough.

        With ``on_dead: continue`` a dead one stands alone, and its aggregate goes on.
        """
        forgiven = self._entry.give_up == "never" and failure.unavailable
        dead = final or (attempts >= self._max_attempts and not forgiven)
        delay = delay_s(attempts, self._entry.backoff, self._chance)
        if failure.retry_after_s is not None:
            delay = max(delay, min(failure.retry_after_s, RETRY_AFTER_MAX_S))
        reason = failure.reason.encode()[:ERROR_BYTES_MAX].decode(errors="ignore")
        held = Held(
            offer.name,
            offer.version,
            offer.position,
            offer.event_id,
            offer.event_type,
            attempts=attempts,
            next_retry_at=0 if dead else now_ms + int(delay * 1000),
            last_error=reason,
            since=now_ms,
            dead=dead,
            loose=loose or (dead and self._entry.on_dead == "continue"),
            mode=offer.mode,
            rank=offer.rank,
            unavailable=failure.unavailable,
        )
        if held.loose and not loose:
            self.go_on(held._replace(loose=False), offer.version + 1, now_ms)
            self.pass_over(offer.name, offer.version)
        self._put(held)
        return held

    def go_on(self, held: Held, version: int, now_ms: int) -> None:
        """Let the aggregate of a row go on with a version at once."""
        if held.loose:
            self.remove(held)
            return
        self._put(
            held._replace(
                version=version,
                attempts=0,
                next_retry_at=now_ms,
                last_error=None,
                dead=False,
                mode=None,
                unavailable=False,
            )
        )

    def finish(self, held: Held, looked_at: int, now_ms: int) -> None:
        """End a row whose aggregate was looked at up to a version, unless the cursor has passed
        more of it meanwhile."""
        if held.loose or self._passed.get(held.name, 0) <= looked_at:
            self.remove(held)
        else:
            self.go_on(held, looked_at + 1, now_ms)

    def release(self, held: Held, at_ms: int) -> None:
        """Let go of a busy row as it is; it is tried again at a time, not even as a probe before.

        Only what failed is put off by the row itself: this was not the event's fault, nor the
        target's.
        """
        row = self.current(held)
        if row is not None:
            self._put(row._replace(next_retry_at=at_ms))
            self._put_off[held_key(self._entry.key, held)] = at_ms

    def revive(self, held: Held, now_ms: int) -> None:
        """Try a dead row again, as if it had never failed."""
        self._put(held._replace(dead=False, attempts=0, next_retry_at=now_ms))

    def hurry(self, now_ms: int) -> None:
        """Let everything that waits only because the target was not there be tried at once."""
        for key, row in tuple(self._rows.items()):
            if row.unavailable and not row.dead and key not in self._busy:
                self._put(row._replace(next_retry_at=now_ms, unavailable=False))

    def forget_errors(self, name: bytes) -> None:
        """Take away what the target answered to events of an aggregate that has been erased."""
        for key, row in tuple(self._rows.items()):
            if row.name == name and row.last_error is not None:
                self._rows[key] = row = row._replace(last_error=None)
                if not row.loose:
                    self._names[name] = row
                self.changes[key] = encode_held(row)

    def remove(self, held: Held) -> None:
        """End a row."""
        key = held_key(self._entry.key, held)
        self._rows.pop(key, None)
        self._alive.discard(key)
        self._busy.discard(key)
        if not held.loose:
            self._names.pop(held.name, None)
            self._passed.pop(held.name, None)
        self.changes[key] = None

    def _put(self, held: Held) -> None:
        key = held_key(self._entry.key, held)
        self._rows[key] = held
        self._busy.discard(key)
        if not held.loose:
            self._names[held.name] = held
        if held.dead:
            self._alive.discard(key)
        else:
            self._alive.add(key)
            heappush(self._due, (held.next_retry_at, held.position, key))
        self.changes[key] = encode_held(held)
