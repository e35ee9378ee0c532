"""Everything that can be asked, on a store with aggregates whose names are each other's prefix."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventdbx import errors
from eventdbx.application.reader import Reader, aggregate_cursor
from eventdbx.application.schema_work import EMPTY
from eventdbx.domain.aggregate import Head
from eventdbx.domain.cursors import (
    ShortTimestampCursor,
    parse_aggregate_cursor,
    parse_event_cursor,
)
from eventdbx.domain.filters import parse_filter
from eventdbx.domain.queries import AggregateQuery, EventQuery
from eventdbx.domain.sorting import parse_aggregate_sort, parse_event_sort
from tests.application.test_writer import ALICE, WriterCase

NAMES = ("o-1", "o-10", "o-1a", "o-2", "o-20", "o-3")


class ReaderCase(WriterCase):
    """Six orders with one to six events; the last two are archived."""

    def setUp(self) -> None:
        super().setUp()
        for count, name in enumerate(NAMES, 1):
            for number in range(count):
                self.clock.now += 1_000_000_000
                self.write(self.append(name, {"n": number, "zip": "97201", "count": count}))
        for name in NAMES[-2:]:
            self.clock.now += 1_000_000_000
            self.successResultOf(
                self.writer.archive(
                    "order", name, archived=True, comment=None, actor=ALICE, render=lambda one: one
                )
            )

    @property
    def reader(self) -> Reader:
        """Return a reader of what is committed."""
        return Reader(self.store.view(), EMPTY)

    def ids(self, query: AggregateQuery) -> list[str]:
        """Return the ids of one page."""
        return [head.aggregate_id for head in self.reader.list_aggregates(query).items]

    def all_pages(self, query: AggregateQuery) -> list[Head]:
        """Follow the cursors to the end."""
        found: list[Head] = []
        while True:
            page = self.reader.list_aggregates(query)
            found += page.items
            if page.next_cursor is None:
                return found
            query = query._replace(cursor=parse_aggregate_cursor(page.next_cursor))


class AggregateListTests(ReaderCase):
    """Lists of aggregates."""

    def test_scopes(self) -> None:
        """Active ones by default; archived ones alone, or after the active ones."""
        self.assertEqual(self.ids(AggregateQuery(10)), list(NAMES[:4]))
        self.assertEqual(self.ids(AggregateQuery(10, scope="archived")), list(NAMES[4:]))
        self.assertEqual(self.ids(AggregateQuery(10, scope="all")), list(NAMES))

    def test_pages_of_every_size(self) -> None:
        """Pages follow each other without a gap or a repetition, in every order with a cursor."""
        for sort in ("", "created_at", "created_at:desc", "updated_at", "updated_at:desc"):
            keys = parse_aggregate_sort(sort) if sort else ()
            for scope in ("active", "archived", "all"):
                whole = self.ids(AggregateQuery(100, sort=keys, scope=scope))
                for take in (1, 2, 3, 4, 7):
                    query = AggregateQuery(take, sort=keys, scope=scope)
                    found = [head.aggregate_id for head in self.all_pages(query)]
                    self.assertEqual(found, whole, (sort, scope, take))

    def test_time_orders(self) -> None:
        """A time order is the order of the times, archived ones merged in."""
        keys = parse_aggregate_sort("updated_at:desc")
        heads = self.reader.list_aggregates(AggregateQuery(10, sort=keys, scope="all")).items
        times = [head.updated_at for head in heads]
        self.assertEqual(times, sorted(times, key=lambda at: -(at or 0)))
        self.assertEqual(heads[0].aggregate_id, "o-3")

    def test_short_cursor(self) -> None:
        """A short timestamp cursor is filled in from the aggregate it names."""
        keys = parse_aggregate_sort("created_at")
        query = AggregateQuery(10, cursor=ShortTimestampCursor("order", "o-10"), sort=keys)
        self.assertEqual(self.ids(query), ["o-1a", "o-2"])
        missing = query._replace(cursor=ShortTimestampCursor("order", "none"))
        error = self.assertRaises(errors.InvalidCursor, self.ids, missing)
        self.assertIn("references unknown aggregate 'order:none'", str(error))

    def test_filter_widens_and_skips(self) -> None:
        """A filter that mentions the archive flag looks at archived ones; skip counts matches."""
        archived = parse_filter("archived = true")
        self.assertEqual(self.ids(AggregateQuery(10, filter=archived)), list(NAMES[4:]))
        many = parse_filter("count > 1")
        self.assertEqual(self.ids(AggregateQuery(2, skip=1, filter=many)), ["o-1a", "o-2"])

    def test_other_sorts(self) -> None:
        """Any field sorts, in bounded memory."""
        keys = parse_aggregate_sort("version:desc")
        self.assertEqual(self.ids(AggregateQuery(2, sort=keys)), ["o-2", "o-1a"])

    def test_sorted_by_name_with_archived_ones(self) -> None:
        """Sorted by name, archived aggregates stand among the active ones; there is no cursor."""
        keys = parse_aggregate_sort("aggregate_type,aggregate_id")
        for name in NAMES[:2]:
            self.successResultOf(
                self.writer.archive(
                    "order", name, archived=True, comment=None, actor=ALICE, render=lambda one: one
                )
            )
        page = self.reader.list_aggregates(AggregateQuery(6, sort=keys, scope="all"))
        self.assertEqual([head.aggregate_id for head in page.items], sorted(NAMES))
        self.assertIsNone(page.next_cursor)
        self.assertEqual(self.ids(AggregateQuery(6, sort=keys)), ["o-1a", "o-2"])

    def test_hidden_ones_are_left_out(self) -> None:
        """What the caller may not see does not count towards the page."""
        page = self.reader.list_aggregates(
            AggregateQuery(2), visible=lambda _type, identifier: identifier != "o-1"
        )
        self.assertEqual([head.aggregate_id for head in page.items], ["o-10", "o-1a"])

    def test_cursor_of_a_head(self) -> None:
        """The cursor of any item is the token that a page ending there would carry."""
        head = self.reader.aggregate("order", "o-1")
        assert head is not None
        self.assertEqual(aggregate_cursor(head, ()), "a:order:o-1")


class EventListTests(ReaderCase):
    """Lists of events."""

    def test_one_aggregate_ends_where_it_ends(self) -> None:
        """The events of ``o-1`` never run on into those of ``o-10``."""
        page = self.reader.list_events(EventQuery(100, "order", "o-1"))
        self.assertEqual([event.aggregate_id for event in page.items], ["o-1"])

    def test_pages_over_everything(self) -> None:
        """Event pages follow each other without a gap, over aggregates and scopes."""
        for scope, total in (("active", 10), ("archived", 11), ("all", 21)):
            for take in (1, 3, 4, 50):
                query = EventQuery(take, scope=scope)  # type: ignore[arg-type]
                found = []
                while True:
                    page = self.reader.list_events(query)
                    found += [(event.aggregate_id, event.version) for event in page.items]
                    if page.next_cursor is None:
                        break
                    query = query._replace(cursor=parse_event_cursor(page.next_cursor))
                self.assertEqual(len(found), total)
                self.assertEqual(len(set(found)), total)

    def test_filter_and_sort(self) -> None:
        """Events are filtered by payload and sorted by any field."""
        wanted = parse_filter("payload.count = 3 AND version > 1")
        events = self.reader.list_events(EventQuery(10, filter=wanted)).items
        self.assertEqual([event.version for event in events], [2, 3])
        newest = self.reader.list_events(
            EventQuery(1, sort=parse_event_sort("event_id:desc"))
        ).items
        self.assertEqual((newest[0].aggregate_id, newest[0].version), ("o-2", 4))

    def test_by_id(self) -> None:
        """Every event is found by its id, and nothing by another number."""
        for name in NAMES:
            for event in self.reader.list_events(EventQuery(9, "order", name, scope="all")).items:
                self.assertEqual(self.reader.event_by_id(event.event_id), event)
                self.assertIsNone(self.reader.event_by_id(event.event_id + 1))
        for number in (0, -1, 2**64):
            self.assertIsNone(self.reader.event_by_id(number))

    def test_log(self) -> None:
        """The commit log holds all events in commit order, from any id on."""
        entries = list(self.reader.log())
        self.assertEqual([entry[0] for entry in entries], list(range(21)))
        self.assertEqual(list(self.reader.log(after_id=entries[7][1])), entries[8:])
        self.assertEqual(list(self.reader.log(after_id=2**64 - 1)), [])


class HistoryTests(ReaderCase):
    """States of the past."""

    def test_at_version(self) -> None:
        """Replay gives the state, root and times of any version, also of archived aggregates."""
        for name in NAMES:
            events = self.reader.list_events(EventQuery(9, "order", name, scope="all")).items
            for event in events:
                head = self.reader.aggregate_at("order", name, version=event.version)
                assert head is not None
                self.assertEqual(head.merkle_root, event.merkle_root)
                self.assertEqual(head.state["n"], event.version - 1)
                self.assertEqual(head.updated_at, event.created_at)
        none = self.reader.aggregate_at("order", "o-2", version=0)
        assert none is not None
        self.assertEqual((none.version, none.state), (0, {}))
        beyond = self.reader.aggregate_at("order", "o-2", version=2**63)
        assert beyond is not None
        self.assertEqual(beyond.version, 4)
        self.assertIsNone(self.reader.aggregate_at("order", "none", version=1))

    def test_at_time(self) -> None:
        """The state at a time is that of the newest event not after it."""
        events = self.reader.list_events(EventQuery(9, "order", "o-2")).items
        for event in events:
            for at, version in (
                (event.created_at, event.version),
                (event.created_at - 1, event.version - 1),
            ):
                head = self.reader.aggregate_at("order", "o-2", at_ns=at)
                assert head is not None
                self.assertEqual(head.version, version)

    def test_select(self) -> None:
        """Selected values keep their types; what is not there is null."""
        found = self.reader.select("order", "o-2", ["n", "zip", "none.x"])
        assert found is not None
        self.assertEqual(found[1], {"n": 3, "zip": "97201", "none.x": None})

    @given(st.text(max_size=12))
    def test_any_name_is_just_missing(self, name: str) -> None:
        """No name, however odd, reads something else or breaks."""
        if name in NAMES:
            return
        self.assertIsNone(self.reader.aggregate("order", name))
