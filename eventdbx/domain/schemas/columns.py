"""Column types: how they are spelled, which JSON values they take, and as what values compare.

A type never changes a value: what a client sent is stored. The rules of a column are in ``rules``.
"""

from __future__ import annotations

import math
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias, cast

from eventdbx.domain.canonical import JSON, text_of
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.model import ColumnType, TypeName
from eventdbx.errors import InvalidSchema

REFERENCE_ALIASES = frozenset({"ref", "reference", "aggregate_ref", "aggregate-reference"})
"""Type words of a text column whose format is reference; any case."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

RANGED: frozenset[TypeName] = frozenset({"integer", "float", "decimal", "timestamp", "date"})
"""Types whose values have an order that a range can use."""

Comparable: TypeAlias = Any
"""An int, float, Decimal or tuple of ints: whatever values of one type are compared as."""

_NAMES: dict[str, TypeName] = {
    "integer": "integer",
    "int": "integer",
    "float": "float",
    "double": "float",
    "boolean": "boolean",
    "bool": "boolean",
    "text": "text",
    "string": "text",
    "timestamp": "timestamp",
    "date": "date",
    "json": "json",
    "binary": "binary",
    "bytes": "binary",
    "object": "object",
}
_PART = re.compile(r"\+?[0-9]+")

_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# An underscore may stand anywhere after the first digit.
_DECIMAL = re.compile(
    r"([+-]?)(?:([0-9][0-9_]*)(?:\.([0-9_]*))?|\.([0-9][0-9_]*))(?:[eE]([+-]?)0*([0-9]+))?"
)
_EXPONENT_DIGITS_MAX = 9
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    "(?:[Zz]|([+\u2212-])([0-9]{2}):([0-9]{2}))"
)
# Laxer than its message says, because stored data may hold what was always let through.
_DATE = re.compile(
    rf"[{WHITE_SPACE}]*(?:([+-])0*([0-9]+)|([0-9]{{1,4}}))"
    rf"-[{WHITE_SPACE}]*([0-9]{{1,2}})-[{WHITE_SPACE}]*([0-9]{{1,2}})"
)
_YEAR_DIGITS_MAX = 4
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_type(text: str) -> ColumnType:
    """Return the type that a text names, in any case and with its aliases.

    Raises InvalidSchema for other texts. Words for references are not types: REFERENCE_ALIASES.
    """
    word = text.strip(WHITE_SPACE)
    lowered = word.lower() if word.isascii() else word
    name = _NAMES.get(lowered)
    if name is not None:
        return ColumnType(name)
    for prefix in ("decimal(", "numeric("):
        if lowered.startswith(prefix) and ")" in lowered:
            parts = lowered[len(prefix) : lowered.rindex(")")].split(",")
            sizes = [_size(part) for part in parts]
            if len(sizes) == 2 and sizes[0] is not None and sizes[1] is not None:
                return ColumnType("decimal", sizes[0], sizes[1])
    raise InvalidSchema(f"invalid column type '{text}'")


def _size(text: str) -> int | None:
    digits = text.strip(WHITE_SPACE)
    if _PART.fullmatch(digits) is None or len(digits.lstrip("+0")) > 3 or int(digits) > 255:
        return None
    return int(digits)


# --- from values and texts to what compares


def parse_integer(text: str) -> int | None:
    """Return the integer of 64 bits that a text says, white space around it allowed, or None."""
    found = _INTEGER.fullmatch(text.strip(WHITE_SPACE))
    # More digits than any such number has are not even converted.
    if found is None or len(found[2]) > 19:
        return None
    number = int(found[1] + found[2])
    return number if INTEGER_MIN <= number <= INTEGER_MAX else None


def parse_float(text: str) -> float | None:
    """Return the finite double that a text says, white space around it allowed, or None."""
    trimmed = text.strip(WHITE_SPACE)
    if _FLOAT.fullmatch(trimmed) is None:
        return None
    number = float(trimmed)
    return number if math.isfinite(number) else None


class DecimalText:
    """The parts of a decimal: how many digits it has on each side of the point, and its value.

    ``whole`` counts significant digits before the point, ``scale`` all written ones behind it.
    """

    __slots__ = ("_digits", "_exponent", "_negative", "scale", "whole")

    def __init__(self, negative: bool, digits: str, exponent: int) -> None:
        self._negative = negative
        self._digits = digits.lstrip("0")
        self._exponent = exponent
        self.scale = max(0, -exponent)
        self.whole = max(0, len(self._digits) + exponent) if self._digits else 0

    @property
    def value(self) -> Decimal:
        """The number itself, exactly; meant for decimals whose digits have been counted."""
        if not self._digits:
            return Decimal((0, (0,), -self.scale))
        digits = tuple(map(int, self._digits))
        return Decimal((int(self._negative), digits, self._exponent))


def parse_decimal(text: str) -> DecimalText | None:
    """Return the parts of a decimal text, white space around it allowed, or None."""
    found = _DECIMAL.fullmatch(text.strip(WHITE_SPACE))
    if found is None:
        return None
    sign, whole, fraction, bare, exponent_sign, exponent_digits = found.groups("")
    behind = (fraction or bare).replace("_", "")
    exponent = 0
    if exponent_digits:
        # Beyond this no precision can hold it; the digits themselves are never written out.
        cut = exponent_digits if len(exponent_digits) <= _EXPONENT_DIGITS_MAX else "999999999"
        exponent = int(exponent_sign + cut)
    return DecimalText(sign == "-", whole.replace("_", "") + behind, exponent - len(behind))


def _real_day(year: int, month: int, day: int) -> bool:
    if not 1 <= month <= 12 or day < 1:
        return False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _MONTH_DAYS[month - 1] + leap


def parse_timestamp(text: str) -> tuple[int, int] | None:
    """Return the instant of an RFC 3339 text, or None.

    An instant is whole seconds on a continuous scale and nanoseconds; the nanoseconds of a leap
    second begin at a thousand million, so that it lies before the following second.
    """
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    hour, minute, second = int(found[4]), int(found[5]), int(found[6])
    if not _real_day(year, month, day) or hour > 23 or minute > 59 or second > 60:
        return None
    offset = 0
    if found[8] is not None:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * (60 if found[8] == "+" else -60)
    ns = int(found[7][:9].ljust(9, "0")) if found[7] is not None else 0
    if second == 60:
        second, ns = 59, ns + 1_000_000_000
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + day
    days += sum(_MONTH_DAYS[: month - 1]) + (month > 2 and _real_day(year, 2, 29))
    return ((days * 24 + hour) * 60 + minute) * 60 + second - offset, ns


def parse_date(text: str) -> tuple[int, int, int] | None:
    """Return year, month and day of a date text, or None; years are -9999 to 9999."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    sign, signed_year, plain_year, month_text, day_text = found.groups("")
    if len(signed_year) > _YEAR_DIGITS_MAX:
        return None
    year = int(sign + signed_year) if sign else int(plain_year)
    month, day = int(month_text), int(day_text)
    return (year, month, day) if _real_day(year, month, day) else None


def parse_base64(text: str) -> bytes | None:
    """Return the bytes of a strict base64 text: standard alphabet, padded, no stray bits."""
    try:
        raw = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    # The decoder ignores the unused bits of the last character.
    return raw if b2a_base64(raw, newline=False) == text.encode() else None


def _as_integer(value: JSON) -> int | None:
    return parse_integer(value) if type(value) is str else cast(int, value)


def _as_float(value: JSON) -> float | None:
    return parse_float(value) if type(value) is str else float(cast(float, value))


def _as_decimal(value: JSON) -> Decimal | None:
    parts = parse_decimal(text_of(value))
    return None if parts is None else parts.value


def _as_timestamp(value: JSON) -> tuple[int, int] | None:
    return parse_timestamp(cast(str, value))


def _as_date(value: JSON) -> tuple[int, int, int] | None:
    return parse_date(cast(str, value))


_COMPARABLE: dict[TypeName, Callable[[JSON], Comparable]] = {
    "integer": _as_integer,
    "float": _as_float,
    "decimal": _as_decimal,
    "timestamp": _as_timestamp,
    "date": _as_date,
}


def comparable(kind: ColumnType, value: JSON) -> Comparable:
    """Return as what an accepted value of a RANGED type compares; None for types without order."""
    convert = _COMPARABLE.get(kind.name)
    return None if convert is None else convert(value)


def parse_bound(kind: ColumnType, text: str) -> Comparable | None:
    """Return as what the bound of a range compares, white space around it allowed.

    None means that the text is not of the column's type, or that the type has no order.
    """
    trimmed = text.strip(WHITE_SPACE)
    if kind.name == "decimal":
        parts = parse_decimal(trimmed)
        # An exponent may promise more digits than any column holds.
        if parts is None or parts.whole > 255 or parts.scale > 255:
            return None
        return parts.value
    return comparable(kind, trimmed)


def bound_fault(kind: ColumnType, which: str, text: str) -> str:
    """Return the words, after ``field P ``, for a ``minimum`` or ``maximum`` of the wrong type."""
    if kind.name == "timestamp":
        return f"range boundary '{text}' is not a valid RFC3339 timestamp"
    if kind.name == "date":
        return f"range boundary '{text}' is not a valid date (YYYY-MM-DD)"
    return f"range {which} '{text}' is not a valid {kind.name}"


def bound_text(kind: ColumnType, text: str) -> str:
    """Return how messages print a good bound: numbers plainly, times as they were declared."""
    number = parse_bound(kind, text)
    if isinstance(number, float):
        plain = format(Decimal(repr(number)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    if isinstance(number, Decimal):
        return format(number, "f")
    return str(number) if isinstance(number, int) else text


# --- what is wrong with a value


def _integer_fault(_kind: ColumnType, value: JSON) -> str | None:
    if type(value) is int:
        if INTEGER_MIN <= value <= INTEGER_MAX:
            return None
        if value < 2**64 and value > 0:
            return "exceeds signed integer range"
    elif type(value) is str and parse_integer(value) is not None:
        return None
    return "must be an integer"


def _float_fault(_kind: ColumnType, value: JSON) -> str | None:
    if type(value) is float and math.isfinite(value) or type(value) is int:
        return None
    if type(value) is str and parse_float(value) is not None:
        return None
    return "must be a float"


def _decimal_fault(kind: ColumnType, value: JSON) -> str | None:
    if type(value) not in (int, float, str):
        return "must be a decimal value"
    parts = parse_decimal(text_of(value))
    if parts is None:
        return "must be a decimal value"
    if parts.scale > kind.scale:
        return f"must have at most {kind.scale} decimal places"
    if parts.whole + parts.scale > kind.precision:
        return f"must have precision <= {kind.precision}"
    return None


def _boolean_fault(_kind: ColumnType, value: JSON) -> str | None:
    if type(value) is bool or type(value) is int and value in (0, 1):
        return None
    if type(value) is str:
        word = value.strip(WHITE_SPACE)
        if word.isascii() and word.lower() in ("true", "false", "1", "0"):
            return None
    return "must be a boolean"


def _text_fault(_kind: ColumnType, value: JSON) -> str | None:
    return None if type(value) is str else "must be a string"


def _timestamp_fault(_kind: ColumnType, value: JSON) -> str | None:
    good = type(value) is str and parse_timestamp(value) is not None
    return None if good else "must be an RFC3339 timestamp"


def _date_fault(_kind: ColumnType, value: JSON) -> str | None:
    good = type(value) is str and parse_date(value) is not None
    return None if good else "must be a date formatted as YYYY-MM-DD"


def _json_fault(_kind: ColumnType, _value: JSON) -> str | None:
    return None


def _binary_fault(_kind: ColumnType, value: JSON) -> str | None:
    good = type(value) is str and parse_base64(value) is not None
    return None if good else "must be base64 encoded"


def _object_fault(_kind: ColumnType, value: JSON) -> str | None:
    return None if type(value) is dict else "must be a JSON object"


_FAULTS: dict[TypeName, Callable[[ColumnType, JSON], str | None]] = {
    "integer": _integer_fault,
    "float": _float_fault,
    "decimal": _decimal_fault,
    "boolean": _boolean_fault,
    "text": _text_fault,
    "timestamp": _timestamp_fault,
    "date": _date_fault,
    "json": _json_fault,
    "binary": _binary_fault,
    "object": _object_fault,
}


def type_fault(kind: ColumnType, value: JSON) -> str | None:
    """Return why a value is not of a type, in words that belong after ``field P ``, or None."""
    return _FAULTS[kind.name](kind, value)
