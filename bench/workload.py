"""What is written and read in every comparison: the same names and payloads for each database.

Pure values from a seed. How a database stores them is in the module of that database.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

AGGREGATE_TYPE = "order"
EVENT_TYPE = "order_changed"
METADATA = b'{"@source":"bench","@trace":"5f0c9a1b"}'
METADATA_TEXT = METADATA.decode()
METADATA_PAIRS: dict[str, str] = orjson.loads(METADATA)
ACTOR_GROUP = "bench"
ACTOR_USER = "client"

AGGREGATES = 1_000
"""Appends spread over this many aggregates, all of them created before the clock starts."""

BATCH_EVENTS = 100
PAGE_ITEMS = 50
PAYLOADS = 97
"""Variants of the payload; a prime, so that they do not fall in step with the aggregates."""

SHORT_EVENTS = 10
SHORT_AGGREGATES = 2_000
"""So many that the appends of one run leave them short."""

SELECTED = ("status", "amount_cents", "customer")
TIMELINES = 100
"""Aggregates of a paging store whose events are paged through."""
TIMELINE_EVENTS = 60


def payload(number: int) -> dict[str, Any]:
    """Return the object of ten fields, about 200 bytes of JSON, with this number."""
    return {
        "status": ("placed", "paid", "packed", "shipped")[number % 4],
        "customer": f"c-{number % 9973:06d}",
        "amount_cents": 1_000 + number * 37 % 90_000,
        "currency": "EUR",
        "items": number % 7 + 1,
        "express": number % 3 == 0,
        "weight_kg": (number % 400) / 16,
        "address": f"{number % 240 + 1} Harbour Street",
        "city": "Rotterdam",
        "updated_by": f"clerk-{number % 40}",
    }


def payloads(seed: int = 0) -> list[dict[str, Any]]:
    """Return the payloads that one client cycles through."""
    return [payload(seed * 1_009 + index) for index in range(PAYLOADS)]


def aggregate_id(number: int) -> str:
    """Return the identifier of the aggregate with this number."""
    return f"o-{number:07d}"


def short_id(number: int) -> str:
    """Return the identifier of a short aggregate that a long one is compared with."""
    return f"short-{number:05d}"


def timeline_id(number: int) -> str:
    """Return the identifier of an aggregate whose events are paged through."""
    return f"timeline-{number:04d}"


def histories(long_events: int) -> dict[str, int]:
    """Return every aggregate that exists before the clock starts, with its number of events."""
    found = {aggregate_id(number): 1 for number in range(AGGREGATES)}
    found |= {timeline_id(number): TIMELINE_EVENTS for number in range(TIMELINES)}
    found |= {short_id(number): SHORT_EVENTS for number in range(SHORT_AGGREGATES)}
    return found | {LONG_ID: long_events}


LONG_ID = "long"
"""The aggregate with a long history."""


def lengths(among: str, seed: int) -> list[str]:
    """Return the aggregates whose length is compared: the long one, or all that are short."""
    if among == "long":
        return [LONG_ID]
    return [short_id((seed * 37 + number) % SHORT_AGGREGATES) for number in range(SHORT_AGGREGATES)]


@dataclass(frozen=True, slots=True)
class Choice:
    """One client's endless, repeatable sequence of aggregates and payloads."""

    seed: int
    aggregates: int = AGGREGATES
    part: tuple[int, int] = (0, 1)
    """Which of so many parts of the aggregates: clients may have to keep out of each other's."""

    def appends(self, among: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield an identifier and a payload for each append."""
        rng = random.Random(self.seed)
        variants = payloads(self.seed)
        index = 0
        if among is not None:
            for identifier in itertools.cycle(lengths(among, self.seed)):
                index = (index + 1) % PAYLOADS
                yield identifier, variants[index]
        ids = [aggregate_id(number) for number in self._numbers()]
        count = len(ids)
        while True:
            index = (index + 1) % PAYLOADS
            yield ids[int(rng.random() * count)], variants[index]

    def _numbers(self) -> range:
        first, parts = self.part
        return range(first, self.aggregates, parts)

    def batches(self, spread: int) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """Yield the appends of one batch, spread evenly over so many different aggregates."""
        rng = random.Random(self.seed)
        variants = payloads(self.seed)
        index = 0
        while True:
            chosen = [aggregate_id(number) for number in rng.sample(self._numbers(), spread)]
            batch = []
            for position in range(BATCH_EVENTS):
                index = (index + 1) % PAYLOADS
                batch.append((chosen[position * spread // BATCH_EVENTS], variants[index]))
            yield batch

    def timelines(self) -> Iterator[str]:
        """Yield the identifiers of the aggregates whose events are paged through."""
        for number in itertools.count(self.seed):
            yield timeline_id(number % TIMELINES)

    def shorts(self) -> Iterator[str]:
        """Yield the identifiers of the short aggregates, which are read whole."""
        return itertools.cycle(lengths("short", self.seed))

    def names(self, work: str) -> Iterator[str]:
        """Yield the identifiers that a kind of reading goes through."""
        if work == "events":
            return self.timelines()
        return self.shorts() if work == "ten" else self.ids()

    def ids(self) -> Iterator[str]:
        """Yield the identifiers to be read."""
        rng = random.Random(self.seed)
        while True:
            yield aggregate_id(int(rng.random() * self.aggregates))


def text_of(value: dict[str, Any]) -> str:
    """Return the JSON text of a payload, by the same library on every side."""
    return orjson.dumps(value).decode()
