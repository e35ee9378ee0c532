"""The filter language: from a text to something that an aggregate or event matches or not.

A filter reads fields by name through a lookup; which names there are is in
:mod:`eventdbx.domain.fields`, how LIKE matches in :mod:`eventdbx.domain.likeness`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn, Protocol, TypeAlias

from eventdbx import limits
from eventdbx.domain.canonical import JSON, text_of
from eventdbx.domain.fields import Found, Lookup, aggregate_lookup, event_lookup
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.likeness import Pattern
from eventdbx.errors import InvalidSchema

__all__ = ["Filter", "Found", "Lookup", "aggregate_lookup", "event_lookup", "parse_filter"]

Constant: TypeAlias = None | bool | float | str
Operator = Literal["=", "!=", ">", "<", ">=", "<=", "LIKE", "IN"]

_EPSILON = 2.0**-52
"""Numbers that differ by less are equal: the distance from 1 to the next double."""

_KEYWORDS = frozenset(("AND", "OR", "NOT", "IN", "LIKE", "TRUE", "FALSE", "NULL"))
_CONSTANTS: dict[str, Constant] = {"TRUE": True, "FALSE": False, "NULL": None}
_OPERATORS: dict[str, Operator] = {
    "=": "=",
    "!=": "!=",
    ">": ">",
    "<": "<",
    ">=": ">=",
    "<=": "<=",
    "LIKE": "LIKE",
    "IN": "IN",
}
_TOKEN = re.compile(
    rf"(?P<space>[{WHITE_SPACE}]+)"
    r"|(?P<word>[A-Za-z_$@][A-Za-z0-9_.$@]*)"
    r"|(?P<number>[0-9-][0-9.]*)"
    r"|(?P<symbol>[<>!]=|[=<>()\[\],])"
    r"|(?P<string>(?P<quote>[\"'])(?P<body>(?:(?!(?P=quote))[^\\]|\\.)*)(?P<end>[\"']?))",
    re.DOTALL,
)
"""The end is optional, so a string never backtracks. Not possessive all the same: with a back
reference inside, Python 3.11.2 (Debian 12) lets a possessive group run past the closing quote."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_JSON_NUMBER = re.compile(
    r"[ \t\n\r]*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)[ \t\n\r]*"
)


class Condition(Protocol):
    """A part of a filter."""

    def holds(self, lookup: Lookup) -> bool:
        """Say whether the item behind the lookup satisfies this part."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter; one may be used for many items and from many threads."""

    _root: Condition
    _fields: frozenset[str]

    def matches(self, lookup: Lookup) -> bool:
        """Say whether the item whose fields the lookup tells passes the filter."""
        return self._root.holds(lookup)

    def mentions(self, field: str) -> bool:
        """Say whether the filter names this field anywhere, in whatever case."""
        return field.lower() in self._fields


def parse_filter(text: str) -> Filter:
    """Return the filter that a text describes.

    Raises InvalidSchema, with what was expected, for texts outside the grammar and for more than
    127 levels of parentheses and NOT.
    """
    if len(text) > limits.FILTER_CHARACTERS_MAX:
        _refuse(f"filter cannot exceed {limits.FILTER_CHARACTERS_MAX} characters")
    tokens = list(_tokens(text))
    if not tokens:
        _refuse("filter cannot be empty")
    return _Parser(tokens).filter()


def _refuse(why: str) -> NoReturn:
    raise InvalidSchema(f"invalid filter expression: {why}")


# Conditions


class _All(NamedTuple):
    parts: tuple[Condition, ...]

    def holds(self, lookup: Lookup) -> bool:
        for part in self.parts:
            if not part.holds(lookup):
                return False
        return True


class _Any(NamedTuple):
    parts: tuple[Condition, ...]

    def holds(self, lookup: Lookup) -> bool:
        for part in self.parts:
            if part.holds(lookup):
                return True
        return False


class _Not(NamedTuple):
    part: Condition

    def holds(self, lookup: Lookup) -> bool:
        return not self.part.holds(lookup)


class _Comparison(NamedTuple):
    field: str
    operator: Operator
    constants: tuple[Constant, ...]
    pattern: Pattern | None

    def holds(self, lookup: Lookup) -> bool:
        found = lookup(self.field)
        operator = self.operator
        if not found.exists:
            # The one thing that a missing field is: different from null.
            return operator == "!=" and self.constants[0] is None
        value, lenient = found.value, found.lenient
        if operator == "=":
            return _equal(value, self.constants[0], lenient)
        if operator == "!=":
            return not _equal(value, self.constants[0], lenient)
        if operator == "IN":
            return any(_equal(value, constant, lenient) for constant in self.constants)
        if operator == "LIKE":
            if lenient and type(value) in (int, float, bool, type(None)):
                value = text_of(value)
            return self.pattern is not None and type(value) is str and self.pattern.matches(value)
        return _ordered(value, operator, self.constants[0], lenient)


def _equal(value: JSON, constant: Constant, lenient: bool) -> bool:
    if constant is None:
        return value is None
    if type(constant) is str:
        if type(value) is str:
            return value == constant
        return lenient and type(value) not in (list, dict) and text_of(value) == constant
    if type(constant) is bool:
        if lenient and type(value) is str:
            return value.strip(" \t\n\r") == ("true" if constant else "false")
        return value is constant
    assert type(constant) is float
    number = _number(value, lenient)
    return number is not None and abs(number - constant) < _EPSILON


def _ordered(value: JSON, operator: Operator, constant: Constant, lenient: bool) -> bool:
    if type(constant) is not float:
        return False
    number = _number(value, lenient)
    if number is None:
        return False
    if operator == ">":
        return number > constant
    if operator == "<":
        return number < constant
    if abs(number - constant) < _EPSILON:
        return True
    return number > constant if operator == ">=" else number < constant


def _number(value: JSON, lenient: bool) -> float | None:
    """Return the number that a value is, or that it reads as when it is a text of the state."""
    if type(value) is int or type(value) is float:
        return float(value)
    if lenient and type(value) is str:
        found = _JSON_NUMBER.fullmatch(value)
        if found is not None:
            number = float(found[1])
            return number if abs(number) != float("inf") else None
    return None


# From text to tokens to conditions


class _Token(NamedTuple):
    kind: Literal["word", "number", "string", "symbol", "keyword"]
    text: str
    constant: Constant = None


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            _refuse(
                "expected '=' after '!'"
                if text[place] == "!"
                else f"unexpected character '{text[place]}'"
            )
        place = found.end()
        taken = found[0]
        if found.lastgroup == "word":
            upper = taken.upper()
            if upper in _KEYWORDS:
                yield _Token("keyword", upper)
            else:
                yield _Token("word", taken, taken)
        elif found.lastgroup == "number":
            yield _Token("number", taken, _float(taken))
        elif found.lastgroup == "symbol":
            yield _Token("symbol", taken)
        elif found.lastgroup == "string":
            if not found["end"]:
                what = "string literal" if place == len(text) else "escape sequence"
                _refuse(f"unterminated {what}")
            yield _Token("string", taken, _ESCAPE.sub(r"\1", found["body"]))


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        _refuse("invalid number: invalid float literal")


class _Parser:
    """Recursive descent; the depth limit keeps it, and what it builds, off the stack's end."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._fields: set[str] = set()

    def filter(self) -> Filter:
        root = self._any()
        if self._at < len(self._tokens):
            _refuse("unexpected tokens after expression")
        return Filter(root, frozenset(self._fields))

    def _next(self) -> _Token:
        if self._at == len(self._tokens):
            _refuse("unexpected end of filter")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, kind: str, text: str) -> bool:
        """Step over a token if it is this one."""
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == kind and token.text == text:
                self._at += 1
                return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take("symbol", symbol):
            _refuse(f"expected '{symbol}'")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > limits.FILTER_DEPTH_MAX:
            _refuse(f"filter cannot nest deeper than {limits.FILTER_DEPTH_MAX} levels")

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("keyword", "OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._term()]
        while self._take("keyword", "AND"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _term(self) -> Condition:
        before = self._depth
        negated = False
        while self._take("keyword", "NOT"):
            self._deeper()
            negated = not negated
        if self._take("symbol", "("):
            self._deeper()
            condition = self._any()
            self._expect(")")
        else:
            condition = self._comparison()
        self._depth = before
        return _Not(condition) if negated else condition

    def _comparison(self) -> Condition:
        name = self._next()
        if name.kind != "word":
            _refuse("expected field name in comparison")
        self._fields.add(name.text.lower())
        negated = self._take("keyword", "NOT")
        sign = self._next()
        operator = _OPERATORS.get(sign.text) if sign.kind in ("symbol", "keyword") else None
        if operator is None:
            _refuse("expected comparison operator")
        constants = self._list() if operator == "IN" else (self._constant(),)
        pattern = None
        if operator == "LIKE" and type(constants[0]) is str:
            pattern = Pattern(constants[0])
        condition = _Comparison(name.text, operator, constants, pattern)
        return _Not(condition) if negated else condition

    def _list(self) -> tuple[Constant, ...]:
        self._expect("[")
        constants: list[Constant] = []
        while not self._take("symbol", "]"):
            constants.append(self._constant())
            if not self._take("symbol", ","):
                self._expect("]")
                break
        return tuple(constants)

    def _constant(self) -> Constant:
        token = self._next()
        if token.kind == "keyword" and token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        if token.kind in ("keyword", "symbol"):
            _refuse("invalid value literal")
        return token.constant
