"""The quick yes: one small function for each column, made once per schema version.

Such a function may only say yes where the exact check of ``rules`` finds nothing; its no means
"look closely". So it knows the plain forms of values alone: numbers as numbers, times without
oddities. Nothing here decides that a value is wrong.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.columns import (
    INTEGER_MAX,
    INTEGER_MIN,
    Comparable,
    parse_base64,
    parse_bound,
    parse_timestamp,
)
from eventdbx.domain.schemas.formats import CASES, COUNTRY_CODES, format_fault
from eventdbx.domain.schemas.model import REFERENCE, Column
from eventdbx.domain.schemas.patterns import compile_pattern
from eventdbx.domain.schemas.references import notation_fault
from eventdbx.domain.schemas.rules import declaration_fault

Accept = Callable[[JSON], object]
"""Something true only for values in which the exact check finds nothing."""

TextTest = Callable[[str], object]
"""Something true only for texts that pass."""

_DAYS = (
    r"(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
    r"(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    r"02-(?:0[1-9]|1[0-9]|2[0-8])"
)
_DATE = re.compile(rf"[0-9]{{4}}-(?:{_DAYS})").fullmatch
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIMESTAMP = re.compile(
    rf"[0-9]{{4}}-(?:{_DAYS})T{_CLOCK}:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-]{_CLOCK})"
).fullmatch
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[A-Za-z0-9._+-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*").fullmatch
_EMAIL_CHARACTERS_MAX = 255

# Patterns that mean the same in every dialect, whose repeats cannot multiply each other.
_SIMPLE_ATOM = r"(?:\[(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9_.@ ])+-?\]|[A-Za-z0-9_@ -])"
_SIMPLE_PATTERN = re.compile(rf"\^(?:{_SIMPLE_ATOM}(?:\{{[0-9]{{1,2}}\}})?|{_SIMPLE_ATOM}[*+?])*\$")
_SIMPLE_REPEAT = re.compile(r"\][*+?]|[A-Za-z0-9_@ -][*+?]")
_SIMPLE_PATTERN_CHARACTERS_MAX = 64
_SIMPLE_TEXT_CHARACTERS_MAX = 256


def anything(_value: JSON) -> bool:
    """Accept every value."""
    return True


def nothing(_value: JSON) -> bool:
    """Leave every value to the exact check."""
    return False


class _Impossible(Exception):
    """The column holds a rule that no value satisfies."""


def accepting(column: Column) -> Accept:
    """Return the quick check of a column's present values."""
    if declaration_fault(column) is not None:
        return nothing
    try:
        return _BY_TYPE[column.type.name](column)
    except _Impossible:
        return nothing


def certain_members(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Return the required ones of columns, sorted."""
    return tuple(sorted(name for name, column in columns.items() if column.required))


def _only(column: Column, *rules: str) -> None:
    """Raise _Impossible when a column has rules that its type cannot satisfy."""
    present = {
        "text": bool(column.contains or column.does_not_contain or column.regex),
        "format": column.format is not None,
        "length": column.length is not None,
        "range": column.range is not None,
        "properties": bool(column.properties),
    }
    if any(there and rule not in rules for rule, there in present.items()):
        raise _Impossible


def _ends(column: Column, lowest: Comparable, highest: Comparable) -> tuple[Comparable, Comparable]:
    """Return the ends of a column's range, given those that its type has anyway."""
    ends = [lowest, highest]
    for place, text in enumerate(column.range or ()):
        if text is not None:
            ends[place] = parse_bound(column.type, text)
            if ends[place] is None:
                raise _Impossible
    return max(lowest, ends[0]), min(highest, ends[1])


def _integer(column: Column) -> Accept:
    _only(column, "range")
    lowest, highest = _ends(column, INTEGER_MIN, INTEGER_MAX)

    def accept(value: JSON) -> bool:
        return type(value) is int and lowest <= value <= highest

    return accept


def _float(column: Column) -> Accept:
    _only(column, "range")
    lowest, highest = _ends(column, -sys.float_info.max, sys.float_info.max)

    def accept(value: JSON) -> bool:
        return (type(value) is float or type(value) is int) and lowest <= value <= highest

    return accept


def _decimal(column: Column) -> Accept:
    _only(column, "range")
    precision, scale = column.type.precision, column.type.scale
    whole = precision - scale
    if whole < 1:
        return nothing
    fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
    plain = re.compile(rf"-?[0-9]{{1,{whole}}}{fraction}").fullmatch
    beyond = Decimal(10) ** whole
    lowest, highest = _ends(column, -beyond, beyond)

    def accept(value: JSON) -> bool:
        if type(value) is str:
            return plain(value) is not None
        if type(value) is int or type(value) is float:
            # Where this differs from the canonical text there is an exponent, and no match.
            return plain(repr(value)) is not None
        return False

    # A float is printed as the shortest of the decimals that are read as it: if it lies between
    # the ends as they are read, that decimal lies between the ends themselves.
    low, high = float(lowest), float(highest)
    low_int, high_int = math.ceil(lowest), math.floor(highest)

    def accept_within(value: JSON) -> bool:
        if type(value) is float:
            return low < value < high and plain(repr(value)) is not None
        if type(value) is int:
            return low_int <= value <= high_int and plain(repr(value)) is not None
        return (
            type(value) is str and plain(value) is not None and lowest <= Decimal(value) <= highest
        )

    return accept if column.range is None else accept_within


def _boolean(column: Column) -> Accept:
    _only(column)

    def accept(value: JSON) -> bool:
        return value is True or value is False

    return accept


def _timestamp(column: Column) -> Accept:
    _only(column, "range", *(("format",) if column.format == "iso8601" else ()))
    always = ((-(2**63), 0), (2**63, 0))
    lowest, highest = _ends(column, *always)

    def accept(value: JSON) -> bool:
        return type(value) is str and _TIMESTAMP(value) is not None

    def accept_within(value: JSON) -> bool:
        if type(value) is not str:
            return False
        instant = parse_timestamp(value)
        return instant is not None and lowest <= instant <= highest

    return accept if column.range is None else accept_within


def _date(column: Column) -> Accept:
    _only(column, "range")
    lowest, highest = _ends(column, (0, 1, 1), (9999, 12, 31))
    # Texts of this form compare as the days that they name.
    first, last = ("{:04d}-{:02d}-{:02d}".format(*day) for day in (lowest, highest))
    if highest < (0, 1, 1):
        return nothing

    def accept(value: JSON) -> bool:
        return type(value) is str and first <= value <= last and _DATE(value) is not None

    return accept


def _binary(column: Column) -> Accept:
    _only(column, "length")
    if column.length is None:
        return _of_text([_is_base64])
    lowest, highest = column.length.min or 0, column.length.max

    def accept(value: JSON) -> bool:
        raw = parse_base64(value) if type(value) is str else None
        return raw is not None and lowest <= len(raw) and (highest is None or len(raw) <= highest)

    return accept


def _is_base64(text: str) -> bool:
    return parse_base64(text) is not None


def _json(column: Column) -> Accept:
    _only(column, "properties")
    return anything


def _object(column: Column) -> Accept:
    _only(column, "properties")
    nested = {name: accepting(inner) for name, inner in column.properties.items()}
    if any(declaration_fault(inner) is not None for inner in column.properties.values()):
        return nothing
    required = certain_members(column.properties)

    def accept(value: JSON) -> bool:
        if type(value) is not dict:
            return False
        for name, member in value.items():
            test = nested.get(name)
            if test is not None and not test(member):
                return False
        for name in required:
            if name not in value:
                return False
        return True

    return accept


def _text(column: Column) -> Accept:
    _only(column, "text", "format", "length")
    tests = list(_text_tests(column))
    accept = _of_text(tests)
    length = column.length
    if length is not None:
        accept = _of_length(length.min or 0, length.max, tests)
    if column.format == REFERENCE and not column.required:
        return _or_null(accept)
    return accept


def _text_tests(column: Column) -> list[TextTest]:
    tests: list[TextTest] = []
    if column.contains:
        tests.append(partial(_has_all, column.contains))
    if column.does_not_contain:
        tests.append(partial(_has_none, column.does_not_contain))
    for text in column.regex:
        try:
            pattern = compile_pattern(text)
        except ValueError:
            raise _Impossible from None
        tests.append(_simple_search(text) or pattern.search)
    if column.format is not None:
        tests.append(_FORMATS.get(column.format) or partial(_has_format, column.format))
    return tests


def _has_all(needles: tuple[str, ...], text: str) -> bool:
    return all(needle in text for needle in needles)


def _has_none(needles: tuple[str, ...], text: str) -> bool:
    return all(needle not in text for needle in needles)


def _has_format(name: str, text: str) -> bool:
    return format_fault(name, text) is None


def _is_notation(text: str) -> bool:
    return notation_fault(text) is None


def _is_plain_email(text: str) -> bool:
    return len(text) <= _EMAIL_CHARACTERS_MAX and _EMAIL(text) is not None


_FORMATS: dict[str, TextTest] = {
    REFERENCE: _is_notation,
    "email": _is_plain_email,
    "country_code": COUNTRY_CODES.__contains__,
    "iso8601": _TIMESTAMP,
    **{name: re.compile(pattern).fullmatch for name, pattern in CASES.items()},
}


def _simple_search(text: str) -> TextTest | None:
    """Return a quicker search for a good pattern that is simple enough, else None.

    Such a pattern is anchored at both ends and has no choices and no groups; only one of its
    repeats has no fixed count, so that a search never takes long.
    """
    if len(text) > _SIMPLE_PATTERN_CHARACTERS_MAX or _SIMPLE_PATTERN.fullmatch(text) is None:
        return None
    if len(_SIMPLE_REPEAT.findall(text)) > 1:
        return None
    match = re.compile(text[1:-1]).fullmatch

    def search(value: str) -> bool:
        return len(value) <= _SIMPLE_TEXT_CHARACTERS_MAX and match(value) is not None

    return search


def _of_text(tests: list[TextTest]) -> Accept:
    """Return the check of texts that pass all tests; the usual numbers of tests have their own."""
    if not tests:
        return lambda value: type(value) is str
    if len(tests) == 1:
        (only,) = tests
        return lambda value: type(value) is str and only(value)

    def accept(value: JSON) -> bool:
        if type(value) is not str:
            return False
        for test in tests:
            if not test(value):
                return False
        return True

    return accept


def _of_length(lowest: int, highest: int | None, tests: list[TextTest]) -> Accept:
    most = sys.maxsize if highest is None else highest

    def accept(value: JSON) -> bool:
        return type(value) is str and lowest <= len(value) <= most

    def accept_tested(value: JSON) -> bool:
        if type(value) is not str or not lowest <= len(value) <= most:
            return False
        for test in tests:
            if not test(value):
                return False
        return True

    return accept_tested if tests else accept


def _or_null(accept: Accept) -> Accept:
    return lambda value: value is None or accept(value)


_BY_TYPE: dict[str, Callable[[Column], Accept]] = {
    "integer": _integer,
    "float": _float,
    "decimal": _decimal,
    "boolean": _boolean,
    "text": _text,
    "timestamp": _timestamp,
    "date": _date,
    "json": _json,
    "binary": _binary,
    "object": _object,
}
