"""Who waits until a plugin has been served an event."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed

from eventdbx.domain.delivery.lanes import Lanes
from eventdbx.plugins.holding import Holding
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import decode_log


class _Waiter(NamedTuple):
    position: int
    name: bytes
    version: int
    result: Deferred[tuple[str, str]]


class Waiters:
    """Those who wait for one plugin."""

    def __init__(self, lanes: Lanes[Any], holding: Holding) -> None:
        self._lanes = lanes
        self._holding = holding
        self._waiters: list[_Waiter] = []

    def add(self, view: IReadView, position: int) -> Deferred[tuple[str, str]]:
        """Fire with (delivered or dead, reason) once the event at a position is settled, and
        every one before it is settled or held back."""
        record = view.get(keys.log(0, position))
        if record is None:
            return succeed(("delivered", ""))
        entry = decode_log(record)
        result: Deferred[tuple[str, str]] = Deferred(lambda _deferred: None)
        name, version = entry.event_key[1:-8], keys.event_version(entry.event_key)
        self._waiters.append(_Waiter(position, name, version, result))
        self.tell()
        return result

    def tell(self) -> None:
        """Tell those whose events are settled by now; forget those who gave up."""
        left, told = [], []
        for waiter in self._waiters:
            if waiter.result.called:
                continue
            held = self._holding.blocking(waiter.name, waiter.version)
            if waiter.position >= self._lanes.cursor or (held is not None and not held.dead):
                left.append(waiter)
            else:
                told.append((waiter.result, held))
        self._waiters = left
        for result, held in told:  # Who is told may wait again, or give up for others.
            if not result.called:
                result.callback(
                    ("delivered", "") if held is None else ("dead", held.last_error or "")
                )

    def stop(self) -> None:
        """Tell everyone that nothing is delivered for now."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.result.called:
                waiter.result.callback(("timeout", "the plugin was changed"))
