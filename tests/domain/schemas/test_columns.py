"""Types by themselves: their spellings, and what values compare as.

Which JSON values each takes is in the tables of the conformance suite.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.columns import (
    bound_text,
    parse_bound,
    parse_date,
    parse_decimal,
    parse_float,
    parse_integer,
    parse_timestamp,
    parse_type,
    type_fault,
)
from eventdbx.domain.schemas.model import ColumnType
from eventdbx.errors import InvalidSchema

SPELLINGS = (
    ("integer", "integer"), ("int", "integer"), ("FLOAT", "float"), ("double", "float"),
    ("boolean", "boolean"), ("Bool", "boolean"), ("text", "text"), (" string\n", "text"),
    ("timestamp", "timestamp"), ("date", "date"), ("json", "json"), ("binary", "binary"),
    ("bytes", "binary"), ("object", "object"), ("decimal(12,2)", "decimal(12,2)"),
    ("Numeric( 12 , 2 )", "decimal(12,2)"), ("decimal(255,0)", "decimal(255,0)"),
    ("decimal(007,+1)", "decimal(7,1)"), ("decimal(5,2) not null", "decimal(5,2)"),
)  # fmt: skip

NO_TYPES = (
    "", "uuid", "array", "varchar(20)", "decimal", "decimal()", "decimal(5)", "decimal(5,2,1)",
    "decimal(256,0)", "decimal(-1,0)", "decimal(5,2", "decimal (5,2)", "decimal(a,b)",
    "decimal(\u0661,0)", "reference", "in t", "object\u200b", "decimal(9999999999,1)",
)  # fmt: skip

PRINTED = (
    ("float", "1", "1"), ("float", "1.50", "1.5"), ("float", "1e-7", "0.0000001"),
    ("float", "-0.0", "-0"), ("float", "1e21", "1000000000000000000000"), ("float", "100", "100"),
    ("integer", " +010 ", "10"), ("decimal(9,3)", ".5", "0.5"), ("decimal(9,3)", "5.", "5"),
    ("decimal(9,3)", "1_000.50", "1000.50"), ("decimal(9,3)", "-1e3", "-1000"),
    ("date", " 2026-1-2", " 2026-1-2"),
    ("timestamp", "2026-01-02t00:00:00z", "2026-01-02t00:00:00z"),
)  # fmt: skip

TIMES = st.datetimes(
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
)


class TypeTests(SynchronousTestCase):
    """How types are spelled."""

    def test_spellings(self) -> None:
        """Each spelling of a type is understood, in any case, and written in one way."""
        for text, canonical in SPELLINGS:
            self.assertEqual(str(parse_type(text)), canonical)
            self.assertEqual(parse_type(canonical), parse_type(text))

    def test_no_types(self) -> None:
        """Other words are refused by name."""
        for text in NO_TYPES:
            error = self.assertRaises(InvalidSchema, parse_type, text)
            self.assertEqual(str(error), f"invalid schema: invalid column type '{text}'")

    def test_printed_bounds(self) -> None:
        """Messages print the end of a range as a plain number, or as the declared time."""
        for kind, text, printed in PRINTED:
            self.assertEqual(bound_text(parse_type(kind), text), printed)

    def test_bounds_without_an_order(self) -> None:
        """Types without an order have no ends of a range, nor do texts of another type."""
        for name in ("text", "boolean", "json", "binary", "object"):
            self.assertIsNone(parse_bound(parse_type(name), "1"))
        for name in ("integer", "float", "decimal(5,2)", "timestamp", "date"):
            self.assertIsNone(parse_bound(parse_type(name), "nan"))
        self.assertIsNone(parse_bound(parse_type("decimal(5,2)"), "1e999999999"))


class ComparableTests(SynchronousTestCase):
    """What values of a type compare as."""

    @given(TIMES, TIMES)
    def test_instants(self, first: datetime, second: datetime) -> None:
        """Timestamps are ordered as instants, whatever zone they name."""
        ours = [parse_timestamp(time.isoformat()) for time in (first, second)]
        one, other = ours
        assert one is not None and other is not None
        self.assertEqual(one < other, first < second)
        self.assertEqual(one == other, first == second)

    def test_leap_second(self) -> None:
        """A leap second lies between its neighbours."""
        texts = ("2016-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60Z",
                 "2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00Z")  # fmt: skip
        instants = [parse_timestamp(text) for text in texts]
        self.assertNotIn(None, instants)
        self.assertEqual(sorted(instants, key=lambda one: one or (0, 0)), instants)
        self.assertEqual(len(set(instants)), len(instants))

    @given(st.dates())
    def test_days(self, day: date) -> None:
        """Each day of the calendar is a date, and its midnight a timestamp."""
        self.assertEqual(parse_date(day.isoformat()), (day.year, day.month, day.day))
        midnight = parse_timestamp(f"{day.isoformat()}T00:00:00Z")
        epoch = parse_timestamp("1970-01-01T00:00:00Z")
        assert midnight is not None and epoch is not None
        since = datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(
            1970, 1, 1, tzinfo=UTC
        )
        self.assertEqual(midnight[0] - epoch[0], since.days * 86_400)

    @given(st.integers(-(10**40), 10**40), st.integers(0, 40), st.integers(-20, 20))
    def test_decimals_are_exact(self, units: int, scale: int, exponent: int) -> None:
        """A decimal's value is that of its digits, whatever their number; digits are counted."""
        digits = str(abs(units)).rjust(scale + 1, "0")
        point = len(digits) - scale
        text = f"{'-' if units < 0 else ''}{digits[:point]}.{digits[point:]}e{exponent}"
        parts = parse_decimal(text)
        assert parts is not None
        value = Fraction(units, 10**scale) * Fraction(10) ** exponent
        self.assertEqual(Fraction(parts.value), value)
        self.assertEqual(parts.scale, max(0, scale - exponent))
        whole = abs(value).__floor__()
        self.assertEqual(parts.whole, len(str(whole)) if whole else 0)

    @given(st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
           st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9),
                       max_value=10**9))  # fmt: skip
    def test_precision(self, sizes: tuple[int, int], number: object) -> None:
        """A decimal fits when its digits on each side of the point do."""
        precision, scale = sizes
        whole, _, fraction = str(number).lstrip("-").partition(".")
        fits = len(fraction) <= scale and len(whole.lstrip("0")) + len(fraction) <= precision
        fault = type_fault(ColumnType("decimal", precision, scale), str(number))
        self.assertEqual(fault is None, fits)

    @given(st.text("0123456789+-_.eE \u0661\u00a0xinfa", max_size=12))
    def test_any_text(self, text: str) -> None:
        """Whatever is taken for a number is one for Python too, which takes more."""
        for parse, python in ((parse_integer, int), (parse_float, float)):
            number = parse(text)
            if number is not None:
                self.assertEqual(number, python(text))
