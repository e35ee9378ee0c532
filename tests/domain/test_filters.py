"""The filter language: the documented examples, its grammar, and what it cannot be made to do."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.filters import aggregate_lookup, event_lookup, parse_filter
from eventdbx.errors import InvalidSchema


class Order(NamedTuple):
    """As much of an aggregate as a filter can see."""

    state: dict[str, JSON]
    aggregate_type: str = "order"
    aggregate_id: str = "o-1"
    version: int = 7
    extensions: dict[str, JSON] = {"@trace": {"id": "t-1"}}
    merkle_root: bytes = b"\xab" * 32
    created_at: int | None = 1_767_225_600_000_999_999
    updated_at: int | None = None
    archived: bool = False


class Who(NamedTuple):
    """The one who issued an event."""

    group: str
    user: str


class Fact(NamedTuple):
    """As much of an event as a filter can see."""

    payload: bytes
    extensions: bytes | None = None
    note: str | None = None
    issued_by: Who | None = None
    aggregate_type: str = "order"
    aggregate_id: str = "o-1"
    event_type: str = "order_paid"
    event_id: int = 42
    created_at: int = 1_767_225_600_000_000_000
    version: int = 3
    hash: bytes = b"\x01" * 32
    merkle_root: bytes = b"\x02" * 32


TYPED = Order(
    {
        "status": "paid",
        "total": 120.5,
        "zip": 97201,
        "zip_text": "97201",
        "code": "007",
        "gone": None,
        "flag": True,
        "flag_text": " true ",
        "tags": ["a", {"n": 2}],
        "name": {"first": "Ada", "zip": 9},
        "extensions": "hidden",
        "version": 99,
    }
)
TEXTS = Order({"gone": "", "spaced": " 12 ", "exact": "1e3", "huge": "1e999"})

# Numbers in comments are those of the worked examples of the language's description.
TYPED_TABLE = (
    ("status = paid AND total > 100", True),  # 1
    ('status="paid"AND(total>1)', True),  # 2
    ("x = 1 OR status = paid AND total < 1", False),  # 3
    ("NOT status = x AND total > 1", True),  # 4
    ("zip = 97201", True),  # 5
    ('zip = "97201"', True),
    ('zip LIKE "97%"', True),
    ("code = 007", False),  # 6
    ('code = "007"', True),
    ('code LIKE "0*"', True),
    ("gone = null", True),  # 7, where the store knows that it is null
    ('gone = ""', True),
    ("gone != null", False),
    ("nope = null", False),  # 8
    ("nope != null", True),
    ('nope != "x"', False),
    ('NOT nope = "x"', True),
    ("flag = true", True),  # 9
    ('flag = "true"', True),
    ("tags.1.n = 2 AND tags.0 = 'a'", True),  # 10
    ('tags = "x"', False),  # 11
    ('tags != "x"', True),
    ('name.first LIKE "A_a"', True),  # 12
    ('name.first LIKE "ada"', False),
    ('status IN ["new", paid,]', True),  # 13
    ("status IN []", False),
    ('status NOT IN ["new"]', True),
    ("created_at > 1767225599999", True),  # 14
    ('created_at = "2026-01-01T00:00:00Z"', False),
    ("updated_at = null", True),
    ('extensions.@trace.id = "t-1"', True),  # 15
    ('@trace.id = "t-1"', True),
    ("state.status = paid", False),
    ("total >= 100", True),  # 16
    ("total >= 120.5 and total <= 120.5", True),
    ("total >= 120.6 or total <= 120.4", False),
    # what the state shows as text can be compared as text, and text as what it reads as
    ("zip_text = 97201", True),
    ("zip_text != 97201", False),
    ("zip_text > 97200 AND zip_text <= 97201", True),
    ("zip_text IN [1, 97201]", True),
    ('zip IN ["97201"]', True),
    ('zip != "97201"', False),
    ("flag_text = true", True),
    ("flag_text = false", False),
    ('total = "120.5"', True),
    ('total > "100"', False),
    ('gone LIKE "%"', True),
    ('tags LIKE "%"', False),
    # only the state itself, not what is inside its objects, nor the record
    ('name.zip = "9"', False),
    ("name.zip = 9", True),
    ('version = "7"', False),
    ('archived = "false"', False),
    # names of the record hide state keys
    ("version = 7", True),
    ("aggregateType = order AND aggregateId = 'o-1'", True),
    ("createdAt = 1767225600000 AND updatedAt = null AND archived = false", True),
    (f"merkleRoot = '{'ab' * 32}' AND merkle_root LIKE 'ab%'", True),
    ("extensions = hidden", True),
    ("Version = 7", False),
    # kinds
    ("flag = 1", False),
    ("zip = true", False),
    ("status = null", False),
    ("status != 5", True),
    ("status LIKE 5", False),
    ("status > aaa", False),
    ("total > null", False),
    ("total = 120.50000000000000001", True),
    ("NOT NOT status = paid", True),
    ("status NOT = paid", False),
    ("NOT status NOT = paid", True),
    ("status not like 'x%'", True),
    ("nope NOT > 1", True),
    ("nope IN [null]", False),
    ("nope LIKE '%'", False),
    ("(((status = paid)))", True),
    ("status = paid AND (nope = 1 OR total > 1)", True),
    ("total > -5 AND total > -.5 AND total < 1000.", True),
)

TEXT_TABLE = (
    ("gone = null", False),  # 7, in data from before kinds were kept
    ('gone = ""', True),
    ("gone != null", True),
    ("spaced = 12", True),
    ('spaced = " 12 "', True),
    ("exact = 1000", True),
    ("huge > 1", False),
    ("huge = 'x'", False),
)

FACT = Fact(b'{"note":"in","zip":"97201"}', b'{"@source":"web","@createdBy":"x"}')
NOTED = Fact(b"7", None, "in", Who("ops", "kim"))
EVENT_TABLE = (
    (FACT, "payload.zip = 97201", False),  # 17
    (FACT, 'payload.zip LIKE "97%"', True),
    (FACT, 'note = "in"', False),
    (FACT, "note != null", True),
    (FACT, 'payload.note = "in"', True),
    (FACT, 'event_id = "42"', True),  # 18
    (FACT, "event_id = 42", False),
    (FACT, "metadata.@source = web", False),
    (FACT, "@source = web", True),
    (FACT, "extensions.@source = web", True),
    (FACT, "@createdBy = x AND extensions.@createdBy = x", True),
    (FACT, "extensions.@created_by = x", False),
    (FACT, 'zip = "97201"', True),
    (FACT, "issued_by.user = kim", False),
    (NOTED, 'note = "in" AND metadata.note = "in"', True),
    (NOTED, "issued_by.user = kim AND metadata.issuedBy.group = ops", True),
    (NOTED, "metadata.eventId = '42' AND metadata.created_at = 1767225600000", True),
    (NOTED, "created_at = 1767225600000 AND createdAt > 1 AND version = 3", True),
    (NOTED, "eventType = order_paid AND event_type = order_paid", True),
    (NOTED, "aggregate_type = order AND aggregateId = 'o-1'", True),
    (NOTED, f"hash = '{'01' * 32}' AND merkleRoot = '{'02' * 32}'", True),
    (NOTED, "payload.x = 1 OR payload = 7 OR x = 1 OR @source = web", False),
)

FAULTS = (
    ("", "filter cannot be empty"),
    (" \n\u3000", "filter cannot be empty"),
    ("= 1", "expected field name in comparison"),
    ("'a' = 1", "expected field name in comparison"),
    ("and = 1", "expected field name in comparison"),
    ("a = 1 OR OR b = 1", "expected field name in comparison"),
    ("x y", "expected comparison operator"),
    ("status IS NULL", "expected comparison operator"),
    ("a NOT NOT = 1", "expected comparison operator"),
    ("a (", "expected comparison operator"),
    ("a BETWEEN 1 AND 2", "expected comparison operator"),
    ("a", "unexpected end of filter"),
    ("a =", "unexpected end of filter"),
    ("a = 1 AND", "unexpected end of filter"),
    ("NOT", "unexpected end of filter"),
    ("(", "unexpected end of filter"),
    ("a IN [", "unexpected end of filter"),
    ("a IN ['x',", "unexpected end of filter"),
    ("a IN ('x')", "expected '['"),
    ("a IN", "expected '['"),
    ("a IN [1 2]", "expected ']'"),
    ("a IN [1", "expected ']'"),
    ("(a = 1", "expected ')'"),
    ("(a = 1]", "expected ')'"),
    ("a == 1", "invalid value literal"),
    ("a <> 1", "invalid value literal"),
    ("a > = 1", "invalid value literal"),
    ("a = and", "invalid value literal"),
    ("payload.note = in", "invalid value literal"),
    ("a IN [,]", "invalid value literal"),
    ("a IN [1,,]", "invalid value literal"),
    ("a = 1 b = 2", "unexpected tokens after expression"),
    ("a = 1)", "unexpected tokens after expression"),
    ("total = 1e2", "unexpected tokens after expression"),
    ("total > .5", "unexpected character '.'"),
    ("a = \u00e9", "unexpected character '\u00e9'"),
    ("a = 1;", "unexpected character ';'"),
    ("a + b", "unexpected character '+'"),
    ("a-b = 1", "invalid number: invalid float literal"),
    ("a ! = 1", "expected '=' after '!'"),
    ("a !", "expected '=' after '!'"),
    ("a = 'x", "unterminated string literal"),
    ("a = \"x'", "unterminated string literal"),
    ("a = 'x\\'", "unterminated string literal"),
    ("a = '", "unterminated string literal"),
    ("a = 'x\\", "unterminated escape sequence"),
    ("a = '\\", "unterminated escape sequence"),
    ("a = -", "invalid number: invalid float literal"),
    ("a = 1.2.3", "invalid number: invalid float literal"),
    ("a = -.", "invalid number: invalid float literal"),
    ("a = --1", "invalid number: invalid float literal"),
)

LANGUAGE = st.lists(
    st.sampled_from(
        "a status @x.y and OR not IN LIKE true FALSE null ( ) [ ] , = != >= <= > < ! "
        '1 -2.5 - 1. \'x\' "y\\"z" \' " \\ . \u00e9'.split(" ")
    ),
    max_size=20,
).map(" ".join)


class ExampleTests(SynchronousTestCase):
    """The documented examples."""

    def test_aggregates(self) -> None:
        """Filters on aggregates decide as documented."""
        for text, expected in TYPED_TABLE:
            self.assertIs(parse_filter(text).matches(aggregate_lookup(TYPED)), expected, text)

    def test_state_of_unknown_kind(self) -> None:
        """State that came as texts is compared as text or as what it reads as."""
        for text, expected in TEXT_TABLE:
            self.assertIs(parse_filter(text).matches(aggregate_lookup(TEXTS)), expected, text)

    def test_events(self) -> None:
        """Filters on events see the payload with its exact kinds."""
        for fact, text, expected in EVENT_TABLE:
            self.assertIs(parse_filter(text).matches(event_lookup(fact)), expected, text)

    def test_literals(self) -> None:
        """A backslash in a string takes the next character as it is."""
        table: tuple[tuple[str, JSON], ...] = (
            ("'it\\'s'", "it's"),
            ('"a\\\\b"', "a\\b"),
            ('"\\n"', "n"),
            ("'\"'", '"'),
            ("'line\nfeed'", "line\nfeed"),
            ("bare.word$@_1", "bare.word$@_1"),
            ("TRUE", True),
            ("-0.5", -0.5),
            ("007", 7),
            ("Null", None),
        )
        for text, value in table:
            lookup = aggregate_lookup(Order({"f": [value]}))
            self.assertTrue(parse_filter(f"f.0 = {text}").matches(lookup), text)


class GrammarTests(SynchronousTestCase):
    """What is and what is not a filter."""

    def test_faults(self) -> None:
        """A refusal says what was expected."""
        for text, message in FAULTS:
            error = self.assertRaises(InvalidSchema, parse_filter, text)
            self.assertEqual(error.detail, f"invalid filter expression: {message}", text)

    def test_depth(self) -> None:
        """Parentheses and NOT may be 127 deep together, however they are mixed."""
        fits = ("(" * 127 + "a = 1" + ")" * 127, "NOT " * 127 + "a = 1")
        mixed = "NOT (a = 2 OR a = 3 AND " * 63 + "(a = 1" + ")" * 64
        for text in (*fits, mixed, "(a = 1) AND " * 500 + "NOT a = 1"):
            parse_filter(text).matches(aggregate_lookup(TYPED))
        for text in ("(" * 128 + "a = 1" + ")" * 128, "NOT " * 128 + "a = 1", "(NOT " * 64 + "a"):
            error = self.assertRaises(InvalidSchema, parse_filter, text)
            self.assertIn("cannot nest deeper than 127 levels", error.detail)

    def test_length(self) -> None:
        """A filter is no longer than a frame, and any that fits is read."""
        long = "a = 1 OR " * 7_000 + "version = 7"
        self.assertTrue(parse_filter(long).matches(aggregate_lookup(TYPED)))
        self.assertRaises(InvalidSchema, parse_filter, " " * (limits.FILTER_CHARACTERS_MAX + 1))
        self.assertRaises(InvalidSchema, parse_filter, "(" * 60_000)

    def test_mentions(self) -> None:
        """A filter knows which fields it names, whatever their case, but not its values."""
        found = parse_filter("x = archived OR NOT (Archived = true AND created_at > 1)")
        self.assertTrue(found.mentions("archived"))
        self.assertTrue(found.mentions("created_at"))
        self.assertFalse(parse_filter("x = archived").mentions("archived"))

    @given(st.text() | LANGUAGE)
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives, it is a filter that decides or it is refused."""
        try:
            found = parse_filter(text)
        except InvalidSchema as error:
            self.assertTrue(error.detail.startswith("invalid filter expression: "))
            return
        for lookup in (aggregate_lookup(TYPED), event_lookup(FACT), event_lookup(NOTED)):
            self.assertIsInstance(found.matches(lookup), bool)
            self.assertIs(parse_filter(f"NOT ({text})").matches(lookup), not found.matches(lookup))
