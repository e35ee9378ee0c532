"""When the head maps are advanced unasked: one domain after the other, every so many seconds.

What the map is, and how it is advanced, is in :mod:`eventdbx.application.mapping`. Proofs advance
it on demand; with an interval of 0 nothing else does, and a domain of which no proof is asked for
never reads its map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from eventdbx.application.domains import Domain

PAUSE_S = 0.02
"""Between two steps of a map that is far behind, which may take as long: requests come first."""

BUSY_PAUSES = 9
"""While events are written, a step is followed by a pause that many times as long as it took: the
map of new aggregates costs as much as writing them, and can wait until they are written."""


class MappingService(Service):
    """Advances the maps of all domains that were added, ``interval_s`` after the last time.

    What goes wrong is in the log, once for each reason, and tried again.
    """

    log = Logger()

    def __init__(
        self,
        interval_s: float,
        *,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
    ) -> None:
        self._interval_s = interval_s
        self._run_slowly = run_slowly
        self._clock = clock
        self._domains: list[Domain] = []
        self._timer: IDelayedCall | None = None
        self._pausing: Deferred[None] = succeed(None)
        self._turn: Deferred[None] | None = None
        self._troubles: dict[str, str] = {}

    def add(self, domain: Domain) -> None:
        """Advance the map of a domain, too, from the next time on, and time its exports."""
        domain.heads.start(self._run_slowly)
        domain.exports.start(self._clock)
        self._domains.append(domain)

    def take_up(self, interval_s: float) -> None:
        """Wait for another time from now on; 0: advance no map unasked."""
        if interval_s != self._interval_s:
            self._interval_s = interval_s
            self._wait()

    def startService(self) -> None:
        """Begin to wait."""
        super().startService()  # type: ignore[no-untyped-call]
        self._wait()

    def stopService(self) -> Deferred[None]:
        """Begin nothing more; fires when the steps under way are over."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._wait()
        self._pausing.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for domain in self._domains:
            domain.exports.clear()
            await domain.heads.stop()
        if self._turn is not None:
            await self._turn

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.running and self._interval_s and self._turn is None:
            self._timer = self._clock.callLater(self._interval_s, self._due)

    def _due(self) -> None:
        self._timer = None
        turn = self._turn = Deferred()
        Deferred.fromCoroutine(self._advance_all()).addErrback(
            lambda failure: self.log.failure("head maps could not be advanced", failure=failure)
        ).addBoth(lambda _none: self._over(turn))

    def _over(self, turn: Deferred[None]) -> None:
        self._turn = None
        self._wait()
        turn.callback(None)

    async def _advance_all(self) -> None:
        for domain in tuple(self._domains):
            try:
                while self.running:
                    end, began = domain.heads.end, self._clock.seconds()
                    if not await domain.heads.advance():
                        break
                    pause_s = PAUSE_S
                    if domain.heads.end != end:
                        pause_s = max(pause_s, BUSY_PAUSES * (self._clock.seconds() - began))
                    self._pausing = deferLater(self._clock, pause_s)
                    await self._pausing
                self._troubles.pop(domain.name, None)
            except CancelledError:
                return
            except Exception as error:
                self._tell(domain.name, str(error))

    def _tell(self, name: str, reason: str) -> None:
        if self.running and self._troubles.get(name) != reason:
            self._troubles[name] = reason
            self.log.error(
                "{name}: the head map could not be advanced: {reason}", name=name, reason=reason
            )
