"""The port of a plugin: what every kind of delivery does.

Each configured plugin has one delivery object while the server runs; it lives until its entry
changes. ``encode`` runs on any thread, everything else on the reactor's.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from eventdbx.domain.delivery.parts import Item, Parts, Purpose


class DeliveryFailed(Exception):
    """A delivery that was not accepted; its text becomes ``last_error`` (cut to 1 KiB).

    ``unavailable`` says that the plugin, not the event, is the reason (no connection, no answer in
    time, 429, 502, 503, 504): the event may well be fine. ``accepted`` is how many items, from the
    first on, were taken nevertheless; with ``blames`` the item behind them is the one refused,
    without it nobody knows which. ``retry_after_s`` is what the target asks for. ``gone`` says that
    it will never accept anything again (410).
    """

    def __init__(
        self,
        reason: str,
        *,
        unavailable: bool = False,
        accepted: int = 0,
        blames: bool = False,
        retry_after_s: float | None = None,
        gone: bool = False,
    ) -> None:
        super().__init__(reason)
        # A target's own words may hold what no text can: it must fit into rows and answers.
        self.reason = reason.encode(errors="replace").decode()
        self.unavailable = unavailable
        self.accepted = accepted
        self.blames = blames
        self.retry_after_s = retry_after_s
        self.gone = gone


class IDelivery(Interface):
    """One target of events."""

    def encode(parts: Parts) -> bytes:
        """Return what is sent of one event that has something to send. Pure; any thread."""

    def deliver(items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Send the items in order; fires when all are accepted, fails with DeliveryFailed only.

        Always fires within the plugin's time limit. ``attempt`` counts from 1. The caller never
        gives more items than the entry's batch allows (one without), nor an empty sequence.
        Several deliveries may be in flight up to the entry's ``concurrency``.
        """

    def check() -> Deferred[None]:
        """Try whether the target is there, without an event; fails with DeliveryFailed."""

    def close() -> Deferred[None]:
        """Let go of connections and children, gracefully; fires when they are gone. No call
        follows."""
