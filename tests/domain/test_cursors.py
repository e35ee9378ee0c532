"""Page tokens and the words in which bad ones are refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.cursors import (
    AggregateCursor,
    EventCursor,
    ReferrerCursor,
    ShortTimestampCursor,
    TimestampCursor,
    parse_aggregate_cursor,
    parse_event_cursor,
    parse_referrer_cursor,
)
from eventdbx.errors import InvalidCursor

AGGREGATES = (
    ("a:order:o-1", AggregateCursor(False, "order", "o-1")),
    (" active:order:o-1\n", AggregateCursor(False, "order", "o-1")),
    ("r:order:o-1", AggregateCursor(True, "order", "o-1")),
    ("archived:order:o-1", AggregateCursor(True, "order", "o-1")),
    ("ts:order:o-1", ShortTimestampCursor("order", "o-1")),
    (
        "ts:created_at:asc:a:1700000000000:order:o-1",
        TimestampCursor("created_at", False, False, 1_700_000_000_000, "order", "o-1"),
    ),
    (
        "ts:updated:desc:archived:-5:order:o-1",
        TimestampCursor("updated_at", True, True, -5, "order", "o-1"),
    ),
)

BAD_AGGREGATES = (
    ("", "cursor cannot be empty"),
    ("  ", "cursor cannot be empty"),
    ("x:order:o-1", "unknown cursor segment 'x'"),
    ("A:order:o-1", "unknown cursor segment 'A'"),
    ("bad", "unknown cursor segment 'bad'"),
    ("a", "cursor missing aggregate_type"),
    ("a:order", "cursor missing aggregate_id"),
    ("a::o-1", "cursor aggregate_type cannot be empty"),
    ("a:order:", "cursor aggregate_id cannot be empty"),
    ("a:order:o-1:3", "cursor has too many segments"),
    ("ts", "unknown cursor segment 'ts'"),
    ("ts:", "timestamp cursor missing kind"),
    ("ts::o-1", "timestamp cursor aggregate_type cannot be empty"),
    ("ts:order:", "timestamp cursor aggregate_id cannot be empty"),
    ("ts:created_at", "timestamp cursor missing order"),
    ("ts:order:asc:a", "unknown timestamp cursor kind 'order'"),
    ("ts:created:up:a", "timestamp cursor order must be 'asc' or 'desc', found 'up'"),
    ("ts:created:asc:x", "unknown cursor segment 'x'"),
    ("ts:created:asc:a", "timestamp cursor missing timestamp"),
    ("ts:created:asc:a:x:t:i", "timestamp cursor contains invalid timestamp 'x'"),
    (
        "ts:created:asc:a:9223372036854775808:t:i",
        "timestamp cursor contains invalid timestamp '9223372036854775808'",
    ),
    ("ts:created:asc:a:1", "timestamp cursor missing aggregate_type"),
    ("ts:created:asc:a:1:t", "timestamp cursor missing aggregate_id"),
    ("ts:created:asc:a:1::i", "timestamp cursor aggregate_type cannot be empty"),
    ("ts:created:asc:a:1:t:", "timestamp cursor aggregate_id cannot be empty"),
    ("ts:created:asc:a:1:t:i:x", "timestamp cursor has too many segments"),
)

BAD_EVENTS = (
    ("", "cursor cannot be empty"),
    ("x:order:o-1:1", "unknown cursor segment 'x'"),
    ("a:order:o-1", "cursor missing version"),
    ("a:order", "cursor missing aggregate_id"),
    ("a:order::1", "cursor aggregate_id cannot be empty"),
    ("a:order:o-1:x", "cursor version 'x' is not a number"),
    ("a:order:o-1:", "cursor version '' is not a number"),
    ("a:order:o-1:-1", "cursor version '-1' is not a number"),
    ("a:order:o-1:\u0661", "cursor version '\u0661' is not a number"),
    (
        "a:order:o-1:18446744073709551616",
        "cursor version '18446744073709551616' is not a number",
    ),
    ("a:order:o-1:1:2", "cursor has too many segments"),
)

NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,9}\Z")
MILLIS = st.integers(-(2**63), 2**63 - 1)


class CursorTests(SynchronousTestCase):
    """Tokens out and in."""

    def test_aggregate_tokens(self) -> None:
        """Each documented form of a token is understood."""
        for text, cursor in AGGREGATES:
            self.assertEqual(parse_aggregate_cursor(text), cursor)
            self.assertEqual(type(parse_aggregate_cursor(text)), type(cursor))

    def test_bad_aggregate_tokens(self) -> None:
        """A refusal says which part of the token is wrong."""
        for text, message in BAD_AGGREGATES:
            error = self.assertRaises(InvalidCursor, parse_aggregate_cursor, text)
            self.assertEqual(error.detail, message, text)

    def test_bad_event_tokens(self) -> None:
        """A refusal says which part of the token is wrong."""
        for text, message in BAD_EVENTS:
            error = self.assertRaises(InvalidCursor, parse_event_cursor, text)
            self.assertEqual(error.detail, message, text)

    @given(
        st.builds(AggregateCursor, st.booleans(), NAMES, NAMES)
        | st.builds(ShortTimestampCursor, NAMES, NAMES)
        | st.builds(
            TimestampCursor,
            st.sampled_from(("created_at", "updated_at")),
            st.booleans(),
            st.booleans(),
            MILLIS,
            NAMES,
            NAMES,
        )
    )
    def test_aggregate_round_trip(
        self, cursor: AggregateCursor | ShortTimestampCursor | TimestampCursor
    ) -> None:
        """A token that the server hands out brings the client back to the same place."""
        self.assertEqual(parse_aggregate_cursor(cursor.token()), cursor)

    @given(st.builds(EventCursor, st.booleans(), NAMES, NAMES, st.integers(0, 2**64 - 1)))
    def test_event_round_trip(self, cursor: EventCursor) -> None:
        """A token that the server hands out brings the client back to the same place."""
        self.assertEqual(parse_event_cursor(cursor.token()), cursor)

    @given(st.text() | st.lists(st.sampled_from(("a", "ts", "created", "asc", "1", "", "o-1"))))
    def test_any_text(self, given_text: str | list[str]) -> None:
        """Whatever text arrives as a token, it is understood or refused."""
        text = given_text if isinstance(given_text, str) else ":".join(given_text)
        for parse in (parse_aggregate_cursor, parse_event_cursor):
            try:
                parse(text)
            except InvalidCursor:
                continue


class ReferrerCursorTests(SynchronousTestCase):
    """Places in lists of referrers."""

    @given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
    def test_round_trip(self, path: str) -> None:
        """Whatever a column is called, its token leads back to it."""
        cursor = ReferrerCursor("farm", "f-1", path)
        self.assertEqual(parse_referrer_cursor(cursor.token()), cursor)

    def test_refusals(self) -> None:
        """Other texts are refused in words."""
        for text, words in (
            ("", "cursor missing aggregate_type"),
            ("farm", "cursor missing aggregate_id"),
            ("farm:f-1", "cursor missing path"),
            ("farm::x", "cursor aggregate_id cannot be empty"),
            ("farm:f-1:", "cursor path cannot be empty"),
            ("farm:f\0-1:x", "cursor cannot contain a null character"),
        ):
            error = self.assertRaises(InvalidCursor, parse_referrer_cursor, text)
            self.assertEqual(error.detail, words)
