"""Times as texts, to the nanosecond."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.timestamps import NS_MAX, NS_MIN, format_ns, format_offset, parse_ns

SECOND = 1_767_604_211  # 2026-01-05T09:10:11Z

TABLE = (
    (0, "1970-01-01T00:00:00Z"),
    (SECOND * 10**9, "2026-01-05T09:10:11Z"),
    (SECOND * 10**9 + 123_000_000, "2026-01-05T09:10:11.123Z"),
    (SECOND * 10**9 + 120_000_000, "2026-01-05T09:10:11.120Z"),
    (SECOND * 10**9 + 123_456_000, "2026-01-05T09:10:11.123456Z"),
    (SECOND * 10**9 + 123_456_789, "2026-01-05T09:10:11.123456789Z"),
    (SECOND * 10**9 + 1, "2026-01-05T09:10:11.000000001Z"),
    (-1, "1969-12-31T23:59:59.999999999Z"),
    (NS_MIN, "1677-09-21T00:12:43.145224192Z"),
    (NS_MAX, "2262-04-11T23:47:16.854775807Z"),
)

REFUSED = (
    "",
    "now",
    "2026-01-05",
    "2026-01-05T09:10:11",
    "2026-01-05T09:10Z",
    "2026-1-5T09:10:11Z",
    "2026-02-30T09:10:11Z",
    "2026-01-05T24:00:00Z",
    "2026-01-05T09:10:60Z",
    "2026-01-05T09:10:11.Z",
    "2026-01-05T09:10:11+0100",
    "2026-01-05T09:10:11+24:00",
    "2026-01-05T09:10:11+01:60",
    "2026-01-05T09:10:11Z\n",
    "\u0662026-01-05T09:10:11Z",
    "0000-01-01T00:00:00Z",
    "1677-09-21T00:12:43Z",
    "2262-04-11T23:47:17Z",
    "9999-12-31T23:59:59Z",
)


class TimestampTests(SynchronousTestCase):
    """RFC 3339 out and in."""

    def test_table(self) -> None:
        """Times show as many fraction digits as they need: none, 3, 6 or 9."""
        for ns, text in TABLE:
            self.assertEqual(format_ns(ns), text)
            self.assertEqual(format_offset(ns), text[:-1] + "+00:00")
            self.assertEqual(parse_ns(text), ns)

    def test_zones_and_spellings(self) -> None:
        """Other zones, small letters and a blank for the T are understood."""
        for text in (
            "2026-01-05T10:10:11+01:00",
            "2026-01-05T00:40:11-08:30",
            "2026-01-05t09:10:11z",
            "2026-01-05 09:10:11Z",
            "2026-01-05T09:10:11.0000000009Z",
        ):
            self.assertEqual(parse_ns(text), SECOND * 10**9, text)

    def test_refused(self) -> None:
        """Texts without a zone, and days that do not exist, are no times."""
        for text in REFUSED:
            self.assertRaises(ValueError, parse_ns, text)

    @given(st.integers(NS_MIN, NS_MAX))
    def test_round_trip(self, ns: int) -> None:
        """Every time comes back to the nanosecond."""
        self.assertEqual(parse_ns(format_ns(ns)), ns)
        self.assertEqual(parse_ns(format_offset(ns)), ns)

    @given(st.text() | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d\Z"))
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives, it is a time or it is refused."""
        try:
            ns = parse_ns(text)
        except ValueError:
            return
        self.assertTrue(NS_MIN <= ns <= NS_MAX)
