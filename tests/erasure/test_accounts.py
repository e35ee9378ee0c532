"""What erasures name, held against what is gone: as a plain look at every version says it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.integrity.erasures import Erasures
from eventdbx.domain.events import Event

NAMES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=3)
STEPS = st.lists(st.one_of(st.booleans(), NAMES), max_size=30)


def event(version: int, *, erased: bool, ranges: list[tuple[int, int]] | None = None) -> Event:
    """Return an event as verification meets it."""
    kind = "made" if ranges is None else "dbx_erased"
    payload = b"null" if erased else orjson.dumps({"events": ranges})
    return Event(
        "order", "o-1", kind, None, payload, None, version, 0, None, None, version, b"", b"", b"",
        erased=erased,
    )  # fmt: skip


class Accounts(SynchronousTestCase):
    """Timelines of any kind."""

    @given(STEPS)
    def test_as_looked_at_one_by_one(self, steps: list[bool | list[tuple[int, int]]]) -> None:
        met = Erasures()
        gone: list[int] = []
        there: list[int] = []
        named: set[int] = set()
        for version, step in enumerate(steps, 1):
            erased = step is True
            (gone if erased else there).append(version)
            if isinstance(step, list):
                met.meet(event(version, erased=False, ranges=step))
                named.update(v for low, high in step for v in range(low, high + 1) if v < version)
            else:
                met.meet(event(version, erased=erased))
        self.assertEqual(list(met.unnamed()), [v for v in gone if v not in named])
        self.assertEqual(sorted(met.remaining()), [v for v in there if v in named])

    def test_many(self) -> None:
        """It takes no longer than there are events."""
        met = Erasures()
        for version in range(1, 200_001):
            met.meet(event(version, erased=bool(version % 2)))
        ranges = [(version, version) for version in range(1, 200_001, 2)]
        met.meet(event(200_001, erased=False, ranges=ranges))
        self.assertEqual(list(met.unnamed()), [])
        self.assertEqual(list(met.remaining()), [])
