"""What is noted of live delivery: events taken from the log, attempts, what became of them.

Only what the log brings is noted; tests and replays are somebody's wish, no jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from eventdbx.domain.delivery.parts import Item, Purpose
from eventdbx.measures import Measures
from eventdbx.plugins.interfaces import DeliveryFailed


class Spans(Protocol):
    """Where deliveries go that somebody traces; see :mod:`eventdbx.services.tracing`."""

    def delivery(self, plugin: str, outcome: str, items: Sequence[Item], seconds: float) -> None:
        """Take a delivery that has just ended."""


class DeliveryWatch:
    """Notes the deliveries of a server."""

    def __init__(self, measures: Measures, spans: Spans | None = None) -> None:
        self.clock = measures.clock
        self._measures = measures
        self._spans = spans

    def taken(self, plugin: str) -> Callable[[int], None]:
        """Return what to call, on any thread, with the number of events read for a plugin."""
        enqueued = self._measures.jobs_enqueued
        return lambda count: enqueued.add(plugin, count=count)

    def ended(
        self,
        plugin: str,
        outcome: str,
        items: Sequence[Item],
        *,
        accepted: int,
        attempt: int,
        began: float,
    ) -> None:
        """Note an attempt to deliver."""
        measures = self._measures
        now = self.clock()
        measures.deliveries.add((plugin, outcome), now - began, now)
        if attempt > 1:
            measures.retries.add(plugin, count=len(items))
        if accepted:
            measures.jobs_completed.add(plugin, count=accepted)
        if accepted < len(items):
            measures.jobs_failed.add(plugin)
        if self._spans is not None:
            self._spans.delivery(plugin, outcome, items, now - began)


class Watched:
    """A delivery whose ``deliver`` is noted; the rest is that of its kind."""

    def __init__(self, delivery: Any, plugin: str, watch: DeliveryWatch) -> None:
        self._delivery = delivery
        self._plugin = plugin
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> None:
        """See :class:`eventdbx.plugins.interfaces.IDelivery`."""
        began = self._watch.clock()
        outcome, accepted = "broken", 0
        try:
            await self._delivery.deliver(items, attempt=attempt, purpose=purpose)
            outcome, accepted = "accepted", len(items)
        except DeliveryFailed as failed:
            outcome, accepted = (
                ("unavailable" if failed.unavailable else "refused"),
                failed.accepted,
            )
            raise
        finally:
            self._watch.ended(
                self._plugin, outcome, items, accepted=accepted, attempt=attempt, began=began
            )
