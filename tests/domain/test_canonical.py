"""Canonical JSON: what is read, what is refused and why, and the one text of each value."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import JSON, deeper_than, dump, parse, text_of

NUMBERS = (
    ("0", "0"),
    ("-1", "-1"),
    ("1.0", "1.0"),
    ("1e2", "100.0"),
    ("1000000000000000.0", "1000000000000000.0"),
    ("1e16", "1e16"),
    ("1E+22", "1e22"),
    ("1.5e-7", "1.5e-7"),
    ("0.00001", "0.00001"),
    ("0.000001", "1e-6"),
    ("-0", "-0.0"),
    ("-0.0", "-0.0"),
    ("-0e5", "-0.0"),
    ("18446744073709551615", "18446744073709551615"),
    ("18446744073709551616", "1.8446744073709552e19"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("-9223372036854775809", "-9.223372036854776e18"),
    ("187.24158270135618", "187.24158270135618"),
    ("5e-324", "5e-324"),
    ("1e-400", "0.0"),
)

FAULTS = (
    ("", "EOF while parsing a value at line 1 column 0"),
    ("nope", "expected ident at line 1 column 2"),
    ("nul", "EOF while parsing a value at line 1 column 3"),
    ("x", "expected value at line 1 column 1"),
    ("NaN", "expected value at line 1 column 1"),
    ("\ufeff1", "expected value at line 1 column 1"),
    ("{", "EOF while parsing an object at line 1 column 1"),
    ("{x", "key must be a string at line 1 column 2"),
    ('{"a"', "EOF while parsing an object at line 1 column 4"),
    ('{"a" 1}', "expected `:` at line 1 column 6"),
    ('{"a":1', "EOF while parsing an object at line 1 column 6"),
    ('{"a":1 "b"', "expected `,` or `}` at line 1 column 8"),
    ('{"a":1,}', "trailing comma at line 1 column 8"),
    ('{"a":1,', "EOF while parsing a value at line 1 column 7"),
    ("[", "EOF while parsing a list at line 1 column 1"),
    ("[1", "EOF while parsing a list at line 1 column 2"),
    ("[1,", "EOF while parsing a value at line 1 column 3"),
    ("[1,]", "trailing comma at line 1 column 4"),
    ("[1 2]", "expected `,` or `]` at line 1 column 4"),
    ("1 2", "trailing characters at line 1 column 3"),
    ("01", "invalid number at line 1 column 2"),
    ("-01", "invalid number at line 1 column 3"),
    ("-", "EOF while parsing a value at line 1 column 1"),
    ("-x", "invalid number at line 1 column 2"),
    ("1.", "EOF while parsing a value at line 1 column 2"),
    ("1.e", "invalid number at line 1 column 3"),
    ("1e+", "EOF while parsing a value at line 1 column 3"),
    ("1e400", "number out of range at line 1 column 5"),
    ("1" * 400, "number out of range at line 1 column 400"),
    ('"a', "EOF while parsing a string at line 1 column 2"),
    ('"\\', "EOF while parsing a string at line 1 column 2"),
    ('"\\x"', "invalid escape at line 1 column 3"),
    ('"\\u12', "EOF while parsing a string at line 1 column 5"),
    ('"\\u12x4"', "invalid escape at line 1 column 7"),
    ('"\\ud800"', "unexpected end of hex escape at line 1 column 8"),
    ('"\\ud800\\u0041"', "lone leading surrogate in hex escape at line 1 column 13"),
    ('"\\udc00"', "lone leading surrogate in hex escape at line 1 column 7"),
    ("\n\n  x", "expected value at line 3 column 3"),
    ("\ud800", "invalid unicode code point at line 1 column 1"),
)

UNICODE = st.text(st.characters(codec="utf-8"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | UNICODE
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(UNICODE, inner, max_size=4),
    max_leaves=12,
)


def narrow(digits: str) -> int | float:
    """Read an integer as strict readers with 64 bits do."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


class NumberTests(SynchronousTestCase):
    """Numbers are read exactly and written in one form."""

    def test_table(self) -> None:
        """A number has one spelling in stored data, however the client wrote it."""
        for given_text, canonical in NUMBERS:
            self.assertEqual(dump(parse(given_text)).decode(), canonical, given_text)
            self.assertEqual(
                dump(parse(f'[{{"k":{given_text}}}]')), f'[{{"k":{canonical}}}]'.encode()
            )

    def test_signs_in_texts_stay(self) -> None:
        """Texts that look like unusual numbers are left alone."""
        self.assertEqual(
            dump(parse('["-0","1e+16","\\"-0 1e+16",-0,1e16]')),
            b'["-0","1e+16","\\"-0 1e+16",-0.0,1e16]',
        )

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_doubles_survive(self, number: float) -> None:
        """Every double comes back bit for bit, in a form without a plus sign."""
        text = dump(number)
        again = parse(text)
        self.assertEqual(again, number)
        self.assertEqual(math.copysign(1, float(str(again))), math.copysign(1, number))
        self.assertIs(type(again), float)
        self.assertNotIn(b"+", text)


class TextTests(SynchronousTestCase):
    """The canonical text of values."""

    def test_compact_and_sorted(self) -> None:
        """Keys are sorted by their bytes at every depth, and nothing but the data is printed."""
        text = '{ "b" : {"z":1, "a":[ 1 , {"y":2,"x":1} ]}, "\U00010000":1, "\uffff":2, "B":null }'
        self.assertEqual(
            dump(parse(text)).decode(),
            '{"B":null,"b":{"a":[1,{"x":1,"y":2}],"z":1},"\uffff":2,"\U00010000":1}',
        )

    def test_escapes(self) -> None:
        """Only quotes, backslashes and control characters are escaped."""
        self.assertEqual(
            dump('"\\/\b\t\n\f\r\x01\x1f\x7f\u00e9\u2028'),
            '"\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\u00e9\u2028"'.encode(),
        )

    def test_last_duplicate_wins(self) -> None:
        """Of two equal keys the later one counts."""
        self.assertEqual(parse('{"a":1,"b":2,"a":3}'), {"a": 3, "b": 2})

    def test_state_texts(self) -> None:
        """State shows texts as they are, null as nothing, and everything else as JSON."""
        table: tuple[tuple[JSON, str], ...] = (
            ("kim", "kim"),
            ("", ""),
            (None, ""),
            (True, "true"),
            (12, "12"),
            (1e16, "1e16"),
            (1.0, "1.0"),
            ([1, {"b": "x", "a": None}], '[1,{"a":null,"b":"x"}]'),
        )
        for value, text in table:
            self.assertEqual(text_of(value), text)

    def test_not_json(self) -> None:
        """What no JSON text stands for is refused rather than written somehow."""
        for value in ("\ud800", 2**64, object(), {1: 2}):
            self.assertRaises(ValueError, dump, value)

    @given(VALUES)
    def test_round_trip(self, value: object) -> None:
        """What is stored reads back as the same value, and its text does not change again."""
        text = dump(value)
        again = parse(text)
        self.assertEqual(again, value)
        self.assertEqual(dump(again), text)
        self.assertEqual(json.loads(text), value)


class RefusalTests(SynchronousTestCase):
    """Texts that are not JSON."""

    def test_table(self) -> None:
        """A refusal says what is wrong and where, in the words that clients know."""
        for text, message in FAULTS:
            error = self.assertRaises(ValueError, parse, text)
            self.assertEqual(str(error), message, repr(text))

    def test_bytes_that_are_not_unicode(self) -> None:
        """Bytes that are not UTF-8 are refused."""
        error = self.assertRaises(ValueError, parse, b'"ab\xff"')
        self.assertEqual(str(error), "invalid unicode code point at line 1 column 4")

    def test_columns_count_bytes(self) -> None:
        """Columns count bytes, as other readers of the protocol count them."""
        error = self.assertRaises(ValueError, parse, '"\u00e9" x')
        self.assertEqual(str(error), "trailing characters at line 1 column 6")

    def test_depth(self) -> None:
        """Documents may nest 64 containers and no more, mixed as they like."""
        limit = limits.JSON_DEPTH_MAX
        parse("[" * limit + "]" * limit)
        parse('{"a":[' * (limit // 2) + "1" + "]}" * (limit // 2))
        parse("[" + "[]," * 500 + "[]]")
        parse('["' + "[" * 500 + '"]')
        for depth in (limit + 1, 1_000, 100_000):
            for text in ("[" * depth + "]" * depth, '{"a":' * depth, "[" * depth):
                error = self.assertRaises(ValueError, parse, text)
                self.assertIn("recursion limit exceeded at line 1", str(error))
        self.assertEqual(parse("[[]]", depth_max=2), [[]])
        self.assertRaises(ValueError, parse, "[[]]", depth_max=1)

    def test_deeper_than(self) -> None:
        """Depth counts containers, not values."""
        table: tuple[tuple[JSON, int], ...] = (
            (1, 0),
            ("[[", 0),
            ([], 1),
            ({"a": [1]}, 2),
            ([{}, [[]]], 3),
        )
        for value, depth in table:
            self.assertFalse(deeper_than(value, depth))
            if depth:
                self.assertTrue(deeper_than(value, depth - 1))

    @given(st.text() | st.text(alphabet='[]{}:,"\\u0d8-+.eE truefalsn1\n'))
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives, it is read as other strict readers would, or refused."""
        try:
            value = parse(text)
        except ValueError as error:
            self.assertRegex(str(error), r"^.+ at line \d+ column \d+$")
        else:
            self.assertEqual(value, json.loads(text, parse_int=narrow))

    @given(st.binary())
    def test_any_bytes(self, raw: bytes) -> None:
        """Whatever bytes arrive, they are read or refused."""
        try:
            parse(raw)
        except ValueError as error:
            self.assertRegex(str(error), r"^.+ at line \d+ column \d+$")
