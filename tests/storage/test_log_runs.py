"""Logs in which ids begin to grow anew: events are found by their ids all the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain import merkle
from eventdbx.domain.events import Event, leaf_data
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.memory import MemoryStore

RUNS = st.lists(
    st.sets(st.integers(1, 60), min_size=1, max_size=12).map(sorted), min_size=1, max_size=4
)
NOTHING = bytes(32)


def an_event(place: int, event_id: int) -> Event:
    """Return the event at a place: the first of an aggregate of its own."""
    name = ("order", f"o-{place}", "made")
    leaf = leaf_data(*name, None, event_id, 0, None, 1, NOTHING, None)
    return Event(
        *name, None, b"{}", None, event_id, 0, None, None, 1, bytes(16), merkle.leaf_hash(leaf),
        NOTHING, leaf,
    )  # fmt: skip


class LogRuns(SynchronousTestCase):
    """Any runs of ids, equal ones in different runs too."""

    def log(self, runs: list[list[int]]) -> tuple[IReadView, list[Event]]:
        """Return a store with such a log, and its events in order."""
        store = MemoryStore()
        events: list[Event] = []
        changes: dict[bytes, bytes | None] = {}
        for run in runs:
            if events:
                changes[keys.log_run(0, len(events))] = b""
            for event_id in run:
                event = an_event(len(events), event_id)
                key = keys.event(keys.name("order", event.aggregate_id), 1)
                changes[key] = records.encode_event(event)
                entry = records.LogEntry(event_id, key, event.hash)
                changes[keys.log(0, len(events))] = records.encode_log(entry)
                events.append(event)
        last_id = max(event.event_id for event in events)
        changes[keys.tail(0)] = records.encode_tail(records.Tail(len(events), last_id))
        store.write(changes, sync=False)
        return store.view(), events

    @settings(max_examples=150, deadline=None)
    @given(RUNS)
    def test_found(self, runs: list[list[int]]) -> None:
        """Each is found with its key; by its id alone, the first that has it; others are not."""
        view, events = self.log(runs)
        first: dict[int, int] = {}
        for place, event in enumerate(events):
            self.assertEqual(eventlog.place_of(view, 0, event), place)
            first.setdefault(event.event_id, place)
        for event_id in range(62):
            self.assertEqual(eventlog.position_of(view, 0, event_id), first.get(event_id))
        stranger = an_event(len(events), 7)
        self.assertRaises(StorageError, eventlog.place_of, view, 0, stranger)

    @settings(max_examples=150, deadline=None)
    @given(RUNS)
    def test_in_front(self, runs: list[list[int]]) -> None:
        """What stands in front of each position is told apart from what stands behind it."""
        view, events = self.log(runs)
        for position in range(len(events) + 1):
            before = eventlog.Before(view, 0, position)
            for place, event in enumerate(events):
                key = keys.event(keys.name("order", event.aggregate_id), 1)
                record = view.get(key)
                assert record is not None
                self.assertEqual(before(key, record), place < position)
            ids = [event.event_id for event in events[:position]]
            self.assertEqual(eventlog.greatest_id(view, 0, position), max(ids, default=0))
        self.assertRaises(StorageError, eventlog.Before, view, 0, len(events) + 1)

    @settings(max_examples=150, deadline=None)
    @given(RUNS, st.integers(0, 61))
    def test_going_on(self, runs: list[list[int]], event_id: int) -> None:
        """Who has read up to an event goes on behind it."""
        view, events = self.log(runs)
        places = [place for place, event in enumerate(events) if event.event_id == event_id]
        found = eventlog.position_after_id(view, 0, event_id)
        if places:
            self.assertEqual(found, places[0] + 1)
        else:
            begin = len(events) - len(runs[-1])
            self.assertEqual(found, begin + sum(one <= event_id for one in runs[-1]))
