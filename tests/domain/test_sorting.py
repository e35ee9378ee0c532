"""Sort directives and the orders that they stand for."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.sorting import (
    SortKey,
    parse_aggregate_sort,
    parse_event_sort,
    sort_aggregates,
    sort_events,
)
from eventdbx.errors import InvalidSchema


class Row(NamedTuple):
    """As much of an aggregate as can be sorted by."""

    aggregate_type: str = "order"
    aggregate_id: str = "o-1"
    version: int = 1
    merkle_root: bytes = b""
    archived: bool = False
    created_at: int | None = None
    updated_at: int | None = None


class Fact(NamedTuple):
    """As much of an event as can be sorted by."""

    aggregate_type: str = "order"
    aggregate_id: str = "o-1"
    event_type: str = "e"
    version: int = 1
    event_id: int = 1
    created_at: int = 1
    merkle_root: bytes = b""
    hash: bytes = b""


FAULTS = (
    ("", "sort specification cannot be empty"),
    (" ", "sort specification cannot be empty"),
    (",", "sort segments cannot be empty"),
    ("version,", "sort segments cannot be empty"),
    ("version,,archived", "sort segments cannot be empty"),
    (":asc", "sort field cannot be empty"),
    (" : ", "sort field cannot be empty"),
    ("nope", "unsupported {} sort field 'nope'"),
    ("Nope:up", "unsupported {} sort field 'Nope'"),
    ("version:up", "invalid sort order 'up' (expected 'asc' or 'desc')"),
    ("version:", "invalid sort order '' (expected 'asc' or 'desc')"),
    ("version:asc:x", "sort specification contains too many ':' separators"),
)

KEYS = st.lists(
    st.builds(
        SortKey,
        st.sampled_from(("aggregate_id", "version", "archived", "updated_at", "merkle_root")),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
ROWS = st.lists(
    st.builds(
        Row,
        aggregate_id=st.sampled_from(("o-1", "o-10", "o-2", "O")),
        version=st.integers(1, 3),
        merkle_root=st.binary(max_size=1),
        archived=st.booleans(),
        updated_at=st.none() | st.integers(-1, 1),
    )
)


class DirectiveTests(SynchronousTestCase):
    """From text to directives."""

    def test_spellings(self) -> None:
        """Case and underscores do not matter, and ascending is the default."""
        self.assertEqual(
            parse_aggregate_sort(" createdAt:DESC , Aggregate_Type:asc,version "),
            (
                SortKey("created_at", True),
                SortKey("aggregate_type", False),
                SortKey("version", False),
            ),
        )
        self.assertEqual(
            parse_event_sort("EVENT_ID:desc,hash"),
            (SortKey("event_id", True), SortKey("hash", False)),
        )

    def test_all_fields(self) -> None:
        """Every documented field can be sorted by."""
        for field in Row._fields:
            self.assertEqual(parse_aggregate_sort(field), (SortKey(field, False),))
        for field in Fact._fields:
            self.assertEqual(parse_event_sort(field), (SortKey(field, False),))

    def test_repeated_fields(self) -> None:
        """Only the first directive for a field counts."""
        self.assertEqual(
            parse_event_sort("version:desc,version" + ",hash" * 1000),
            (SortKey("version", True), SortKey("hash", False)),
        )

    def test_faults(self) -> None:
        """A refusal says what is wrong with the specification."""
        for text, message in FAULTS:
            for noun, parse in (("aggregate", parse_aggregate_sort), ("event", parse_event_sort)):
                error = self.assertRaises(InvalidSchema, parse, text)
                self.assertEqual(
                    error.detail, f"invalid sort specification: {message.format(noun)}", text
                )
        self.assertRaises(InvalidSchema, parse_aggregate_sort, "event_type")
        self.assertRaises(InvalidSchema, parse_event_sort, "archived")

    @given(st.text() | st.text(alphabet="version:,asc "))
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives, it is understood or refused."""
        for parse in (parse_aggregate_sort, parse_event_sort):
            try:
                parse(text)
            except InvalidSchema:
                continue


class OrderTests(SynchronousTestCase):
    """From directives to an order."""

    def test_absent_times(self) -> None:
        """Aggregates without a time come first, and last when the order is turned round."""
        rows = [Row(created_at=5), Row(created_at=None), Row(created_at=-5)]
        for descending, times in ((False, [None, -5, 5]), (True, [5, -5, None])):
            found = sort_aggregates(rows, (SortKey("created_at", descending),), None)
            self.assertEqual([row.created_at for row in found], times)

    def test_ties(self) -> None:
        """Among equals the natural order stays, ascending or descending."""
        rows = [Row(aggregate_id=name, version=1) for name in ("b", "a", "c")]
        for descending in (False, True):
            for limit in (None, 2, 5):
                found = sort_aggregates(iter(rows), (SortKey("version", descending),), limit)
                self.assertEqual(found, rows[:limit])

    def test_mixed_directions(self) -> None:
        """Each field has a direction of its own."""
        facts = [Fact(aggregate_id=name, version=v) for name in "ab" for v in (1, 2)]
        found = sort_events(facts, parse_event_sort("version:desc,aggregate_id"), None)
        self.assertEqual(
            [(one.aggregate_id, one.version) for one in found],
            [("a", 2), ("b", 2), ("a", 1), ("b", 1)],
        )

    def test_event_ids_are_numbers(self) -> None:
        """Event ids sort by their value, not by their digits."""
        facts = [Fact(event_id=number) for number in (10, 9, 100)]
        found = sort_events(facts, (SortKey("event_id", False),), 2)
        self.assertEqual([one.event_id for one in found], [9, 10])

    @given(ROWS, KEYS, st.integers(0, 5))
    def test_against_stable_sorts(
        self, rows: list[Row], keys: tuple[SortKey, ...], limit: int
    ) -> None:
        """Many keys give what sorting by each of them in turn gives, and a limit cuts it off."""
        expected = list(enumerate(rows))
        for key in reversed(keys):
            # Turning the list round before and after keeps ties in their order.
            if key.descending:
                expected.reverse()
            expected.sort(key=lambda pair: _comparable(pair[1], key.field))  # noqa: B023
            if key.descending:
                expected.reverse()
        order = [row for _, row in expected]
        self.assertEqual(sort_aggregates(rows, keys, None), order)
        self.assertEqual(sort_aggregates(iter(rows), keys, limit), order[:limit])


def _comparable(row: Row, field: str) -> tuple[bool, object]:
    value = getattr(row, field)
    return value is not None, 0 if value is None else value
