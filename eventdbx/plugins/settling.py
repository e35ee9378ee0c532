"""How the state of an outlet gets into the store: a few times a second, all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from eventdbx.application.outbox import Outbox
from eventdbx.plugins.done import Done
from eventdbx.plugins.holding import Holding
from eventdbx.storage.outbox import Cursor

SETTLE_S = 0.05
"""How long settling may wait for more of it; so much is delivered again after a crash."""

ADVANCE_S = 1.0
"""The same for a cursor that only passed events which are not for the plugin."""


class Settling:
    """Puts a plugin's cursor and rows; ``cursor`` returns where it stands now."""

    def __init__(
        self,
        plugin: str,
        outbox: Outbox,
        holding: Holding,
        done: Done,
        *,
        clock: IReactorTime,
        cursor: Callable[[], Cursor],
    ) -> None:
        self._plugin = plugin
        self._outbox = outbox
        self._holding = holding
        self._done = done
        self._clock = clock
        self._cursor = cursor
        self._era = outbox.eras[plugin]
        self._call: IDelayedCall | None = None
        self._putting: Deferred[None] | None = None
        self._stopped = False

    @property
    def pending(self) -> bool:
        """Say whether something is still to be put, or is being put."""
        return self._call is not None or self._putting is not None

    def soon(self, within_s: float) -> None:
        """Put what has changed within a time."""
        if self._putting is not None or self._stopped:
            return
        if self._call is not None:
            if self._call.getTime() <= self._clock.seconds() + within_s:
                return
            self._call.cancel()
        self._call = self._clock.callLater(within_s, self._put)

    async def stop(self) -> None:
        """Put the last changes; done when they are durable."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
        if self._putting is not None:
            put: Deferred[None] = Deferred()
            self._putting.addBoth(lambda _outcome: put.callback(None))
            await put
        await self._put()

    def _put(self) -> Deferred[None]:
        self._call = None
        counters = self._done.take_changes(int(self._clock.seconds() * 1000))
        rows, self._holding.changes = self._holding.changes, {}
        rows.update(counters)
        cursor = self._cursor()
        if not rows and not self._has_moved(cursor):
            return succeed(None)
        known = self._outbox.cursors.get(self._plugin)
        held_from = self._holding.first_position if known and known.skips else None
        self._putting = self._outbox.put(self._plugin, cursor, rows, held_from, self._era)
        return self._putting.addBoth(self._was_put)

    def _has_moved(self, cursor: Cursor) -> bool:
        known = self._outbox.cursors.get(self._plugin)
        if known is None or self._outbox.eras[self._plugin] != self._era:
            return False
        return known._replace(skips=(), aliases=()) != cursor

    def _was_put(self, _outcome: Any) -> None:
        # A store that failed ends the process; until then nothing more is to be done here.
        self._putting = None
        if self._holding.changes or self._done.changed or self._has_moved(self._cursor()):
            self.soon(SETTLE_S)
