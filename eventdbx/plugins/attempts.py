"""Runs deliveries to an end: in time, with DeliveryFailed as the only failure, or stopped."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eventdbx.plugins.interfaces import DeliveryFailed


class TooLate(Exception):
    """The time limit of a delivery, ``limit_s``, is over."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"no answer within {limit_s:g} s")


class Attempts:
    """The deliveries of one plugin that are on their way.

    ``as_failed`` says what an exception means: TooLate, CancelledError for one that was stopped, or
    what the work raised. Work that ends well although it was told to stop ends well.
    """

    def __init__(
        self, reactor: Any, as_failed: Callable[[BaseException | None], DeliveryFailed]
    ) -> None:
        self._reactor = reactor
        self._as_failed = as_failed
        self._running: set[Deferred[None]] = set()

    def run(self, work: Coroutine[Any, Any, None], limit_s: float) -> Deferred[None]:
        """Begin; the result fires within the limit."""
        running: Deferred[None] = Deferred.fromCoroutine(work)
        self._running.add(running)
        running.addTimeout(limit_s, self._reactor, _late)

        def over(result: Any) -> Any:
            self._running.discard(running)
            if isinstance(result, Failure):
                # A fresh failure: the old one's frames hold the events.
                return Failure(self._as_failed(result.value))
            return result

        return running.addBoth(over)

    def stop(self) -> None:
        """Let all end now."""
        for running in list(self._running):
            running.cancel()


def _late(result: Any, limit_s: float) -> Any:
    if isinstance(result, Failure):
        raise TooLate(limit_s)
    return result
