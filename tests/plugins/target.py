"""A target of deliveries in memory: whatever a test wants it to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.plugins.interfaces import IDelivery

Answer = Callable[[Sequence[Item]], "Deferred[None] | None"]


@implementer(IDelivery)
class Target:
    """A target in memory; ``answer`` says what becomes of a delivery, None: it arrives."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.attempts: list[int] = []
        self.answer: Answer = lambda items: None

    def encode(self, parts: Parts) -> bytes:
        """Return the document."""
        return json_body(parts)

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Keep what is delivered, also when it is refused."""
        assert purpose == "replay" and items
        self.batches.append([orjson.loads(item.content) for item in items])
        self.attempts.append(attempt)
        return self.answer(items) or succeed(None)

    def check(self) -> Deferred[None]:
        """Be there."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Go."""
        return succeed(None)

    @property
    def sizes(self) -> list[int]:
        """Return how many documents each delivery had."""
        return [len(batch) for batch in self.batches]

    @property
    def versions(self) -> list[tuple[str, int]]:
        """Return ids and versions of all events that came."""
        events = [one["event"] for batch in self.batches for one in batch]
        return [(event["aggregate_id"], event["version"]) for event in events]
