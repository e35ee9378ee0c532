"""What validation adds to an append: ten typical columns, in process, no disk, no network.

``python -m bench.validation`` prints microseconds of processor time: the whole check of an event
that fits (what every append pays), of the exact check (what an event pays at which the quick one
hesitates), of a refusal, of compiling (once per version), of reading the same payload's JSON for
comparison, and of a whole append with and without the schema (writer, records, group commit, a
store in memory; rounds of the two take turns). The least of many rounds is printed: on a shared
machine everything above it is somebody else's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.canonical import parse
from eventdbx.domain.commands import Write
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.services.stores import pooled_entropy
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous

ROUNDS = 200
CALLS = 500
EVENT = "order_placed"

SCHEMA: dict[str, Any] = {
    "column_types": {
        "address": {
            "type": "object",
            "properties": {
                "city": {"type": "text", "required": True, "length": {"min": 1, "max": 80}},
                "country": {"type": "text", "format": "country_code"},
            },
        },
        "amount": {"type": "decimal(12,2)", "range": {"min": "0", "max": "1000000"}},
        "coupon": {"type": "text", "regex": ["^[A-Z]{3}[0-9]{4}$"]},
        "delivery": "date",
        "email": {"type": "text", "required": True, "format": "email"},
        "gift": "boolean",
        "number": {"type": "text", "length": {"min": 4, "max": 20}, "does_not_contain": [" "]},
        "placed": {"type": "timestamp", "required": True},
        "quantity": {"type": "integer", "range": {"min": "1", "max": "1000"}},
        "weight": {"type": "float", "range": {"min": "0", "max": None}},
    },
}
PAYLOAD = orjson.dumps(
    {
        "address": {"city": "Bonn", "country": "DE", "street": "Am Hof 1"},
        "amount": 149.95,
        "coupon": "ABC1234",
        "delivery": "2026-03-01",
        "email": "jane.doe@example.com",
        "gift": False,
        "number": "2026-000817",
        "placed": "2026-02-27T09:15:00.123Z",
        "quantity": 3,
        "weight": 1.25,
    }
)


def contract(fields: list[str]) -> Contract:
    """Return the contract of ten columns; ``fields`` is the event's list."""
    document = SCHEMA | {"events": {EVENT: {"fields": fields}}}
    return compile_schema(read_schema(document, "order", now_ns=0))


def least_us(work: Callable[[], object], rounds: int, calls: int = CALLS) -> float:
    """Return the least processor time of one call, in microseconds, over some rounds."""
    least = sys.maxsize
    for _round in range(rounds):
        begun = time.process_time_ns()
        for _call in range(calls):
            work()
        least = min(least, time.process_time_ns() - begun)
    return least / calls / 1000


def costs(rounds: int = ROUNDS) -> dict[str, float]:
    """Return what each thing costs, in microseconds."""
    payload = parse(PAYLOAD)
    assert isinstance(payload, dict)
    listed, anyhow = contract(sorted(payload)), contract([])
    wrong = payload | {"weight": -1}
    assert listed.refuse(EVENT, payload) is None and anyhow.refuse(EVENT, payload) is None
    assert listed.refuse(EVENT, wrong) == "field weight must be >= 0"
    found = {
        "an event with a list of its ten fields": lambda: listed.refuse(EVENT, payload),
        "an event without a list": lambda: anyhow.refuse(EVENT, payload),
        "the exact check alone": lambda: listed.violations(EVENT, payload),
        "a refusal by the last column": lambda: listed.refuse(EVENT, wrong),
        "reading the payload (orjson)": lambda: orjson.loads(PAYLOAD),
    }
    result = {what: least_us(work, rounds) for what, work in found.items()}
    result["compiling the schema"] = least_us(lambda: contract([]), max(3, rounds // 20), 10)
    return result


class Appends:
    """A writer on a store in memory that appends the payload to one aggregate after another."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        store = Store(MemoryStore(), hop=synchronous())
        catalogue = Catalogue(store, clock_ns=time.time_ns)
        catalogue.replace(catalogue.prepare(orjson.dumps(schemas)))
        entropy = pooled_entropy()
        self._writer = Writer(
            store,
            clock_ns=time.time_ns,
            entropy=entropy,
            rules=catalogue.rules,
            cache_entries=1_000,
        )
        self._count = 0

    def append(self) -> None:
        """Append one event to an aggregate that is in the cache."""
        self._count += 1
        name = f"o-{self._count % 500}"
        write = Write("append", "order", name, EVENT, PAYLOAD.decode(), None, None, ())
        done: list[object] = []
        self._writer.write((write,), actor=None, render=len).addBoth(done.append)
        assert done == [1], done


def append_costs(rounds: int) -> tuple[float, float]:
    """Return what an append costs without and with the schema, in microseconds."""
    fields = sorted(orjson.loads(PAYLOAD))
    schema = SCHEMA | {"events": {EVENT: {"fields": fields}}}
    sides = Appends({}), Appends({"order": schema})
    least = [float(sys.maxsize)] * 2
    for _round in range(rounds):
        for number, side in enumerate(sides):
            least[number] = min(least[number], least_us(side.append, 1))
    return least[0], least[1]


def main() -> None:
    """Print the costs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = options.parse_args().rounds
    found = costs(rounds)
    for what, cost in found.items():
        print(f"{cost:9.2f} µs  {what}")
    names = list(found)
    print(f"{found[names[0]] / found[names[4]]:9.2f} ×   validation to reading the JSON")
    without, with_schema = append_costs(max(3, rounds // 4))
    print(f"{without:9.2f} µs  a whole append without a schema")
    print(f"{with_schema:9.2f} µs  a whole append with it")
    print(f"{with_schema - without:9.2f} µs  what the schema adds")


if __name__ == "__main__":
    main()
