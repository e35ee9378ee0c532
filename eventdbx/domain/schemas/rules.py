"""The rules of a column: the exact check of a value, every fault with its place and its words.

This is what decides. The quicker check in ``accepting`` only ever says yes, and only where this
one finds nothing; which columns an event has at all is ``contract``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.columns import (
    RANGED,
    Comparable,
    bound_fault,
    bound_text,
    comparable,
    parse_base64,
    parse_bound,
    type_fault,
)
from eventdbx.domain.schemas.formats import format_fault
from eventdbx.domain.schemas.model import REFERENCE, Bounds, Column, ColumnType, Length
from eventdbx.domain.schemas.patterns import Pattern, compile_pattern
from eventdbx.domain.schemas.references import notation_fault


class Fault(NamedTuple):
    """One rule that a column breaks: its name, the JSON Pointer of the value, the message."""

    rule: str
    pointer: str
    message: str


Found = tuple[str, str]
"""A rule and the words for how a value breaks it, to be put after ``field P ``."""


def pointer_token(name: str) -> str:
    """Return the name of a member as a JSON Pointer spells it, with its slash in front."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def declaration_fault(column: Column) -> str | None:
    """Return why a column's reference is declared so that every append fails, or None."""
    if column.format == REFERENCE and column.type.name != "text":
        return "uses reference format but must be a text column"
    if column.reference is not None and column.format != REFERENCE:
        return "specifies reference rules without reference format"
    return None


class ColumnCheck:
    """The exact check of one column, made once per schema version.

    Patterns and bounds are compiled here; those that cannot be are remembered as faults of every
    value, since a schema of a file or a peer may hold them.
    """

    __slots__ = ("_nested", "_rules", "column", "declaration")

    def __init__(self, column: Column) -> None:
        self.column = column
        self.declaration = declaration_fault(column)
        self._nested = [
            (name, ColumnCheck(column.properties[name]))
            for name in sorted(column.properties)
            if column.type.name == "object"
        ]
        self._rules = list(_compiled_rules(column))

    def absence(self, path: str, pointer: str, *, required: bool) -> Iterator[Fault]:
        """Yield what is wrong when the payload lacks the column."""
        if self.declaration is not None:
            yield Fault("reference", pointer, f"field {path} {self.declaration}")
        elif required:
            yield Fault("required", pointer, f"field {path} is required")

    def faults(self, value: JSON, path: str, pointer: str) -> Iterator[Fault]:
        """Yield every fault of a present value, in the order in which they are looked for.

        ``path`` is the dotted one of messages. Behind a value of the wrong type nothing more is
        asked of it.
        """
        if self.declaration is not None:
            yield Fault("reference", pointer, f"field {path} {self.declaration}")
            return
        if value is None and self.column.format == REFERENCE and not self.column.required:
            # So that a client can take a reference back.
            return
        wrong = type_fault(self.column.type, value)
        if wrong is not None:
            yield Fault("type", pointer, f"field {path} {wrong}")
            return
        if type(value) is dict:
            yield from self._nested_faults(value, path, pointer)
        for rule in self._rules:
            for name, words in rule(value):
                yield Fault(name, pointer, f"field {path} {words}")

    def _nested_faults(self, members: dict[str, JSON], path: str, pointer: str) -> Iterator[Fault]:
        for name, check in self._nested:
            inner_path, inner_pointer = f"{path}.{name}", pointer + pointer_token(name)
            if name in members:
                yield from check.faults(members[name], inner_path, inner_pointer)
            else:
                yield from check.absence(inner_path, inner_pointer, required=check.column.required)


def column_faults(column: Column, value: JSON, path: str) -> Iterator[tuple[str, str]]:
    """Yield rule and message of every fault of one present value; ``path`` is its dotted path.

    This compiles the column anew: keep a :class:`ColumnCheck` to check more than one value.
    """
    for fault in ColumnCheck(column).faults(value, path, ""):
        yield fault.rule, fault.message


# --- one checking function for each rule that a column has


Rule = Callable[[JSON], Iterator[Found]]


def _compiled_rules(column: Column) -> Iterator[Rule]:
    """Yield the checks of a column's rules, in the order in which they apply."""
    is_text = column.type.name == "text"
    if column.contains:
        yield partial(_contains, column.contains) if is_text else _never("contains", _NO_TEXT)
    if column.does_not_contain:
        does_not = partial(_does_not_contain, column.does_not_contain)
        yield does_not if is_text else _never("does_not_contain", _NO_TEXT)
    if column.regex:
        patterns = [(text, _pattern(text)) for text in column.regex]
        yield partial(_regex, patterns) if is_text else _never("regex", _NO_TEXT)
    if column.format is not None:
        # Every timestamp is in this format already.
        if not (column.type.name == "timestamp" and column.format == "iso8601"):
            yield partial(_format, column.format) if is_text else _never("format", _NO_TEXT)
    if column.length is not None:
        if column.type.name in ("text", "binary"):
            yield partial(_length, column.type.name == "binary", column.length)
        else:
            yield _never("length", "does not support length validation")
    if column.range is not None:
        if column.type.name in RANGED:
            yield partial(_range, column.type, _limits(column.type, column.range))
        else:
            yield _never("range", "does not support range validation")
    if column.properties and column.type.name not in ("object", "json"):
        yield _never("properties", "cannot define nested properties on non-object type")


_NO_TEXT = "must be a string"


def _never(rule: str, words: str) -> Rule:
    """Return the check of a rule that a column of its type can never satisfy."""

    def check(_value: JSON) -> Iterator[Found]:
        yield rule, words

    return check


def _contains(needles: tuple[str, ...], value: JSON) -> Iterator[Found]:
    assert type(value) is str
    for needle in needles:
        if needle not in value:
            yield "contains", f"must contain '{needle}'"


def _does_not_contain(needles: tuple[str, ...], value: JSON) -> Iterator[Found]:
    assert type(value) is str
    for needle in needles:
        if needle in value:
            yield "does_not_contain", f"must not contain '{needle}'"


def _pattern(text: str) -> Pattern | str:
    """Return a compiled pattern, or the reason why it cannot be one."""
    try:
        return compile_pattern(text)
    except ValueError as error:
        return str(error)


def _regex(patterns: list[tuple[str, Pattern | str]], value: JSON) -> Iterator[Found]:
    assert type(value) is str
    for text, pattern in patterns:
        if isinstance(pattern, str):
            yield "regex", f"has invalid regex '{text}': {pattern}"
        elif not pattern.search(value):
            yield "regex", f"must match pattern {text}"


def _format(name: str, value: JSON) -> Iterator[Found]:
    assert type(value) is str
    wrong = notation_fault(value) if name == REFERENCE else format_fault(name, value)
    if wrong is not None:
        yield "format", wrong


def _length(binary: bool, length: Length, value: JSON) -> Iterator[Found]:
    assert type(value) is str
    count = len(parse_base64(value) or b"") if binary else len(value)
    if length.min is not None and count < length.min:
        yield "length", f"must have length >= {length.min}"
    if length.max is not None and count > length.max:
        yield "length", f"must have length <= {length.max}"


class _Limit(NamedTuple):
    """One end of a range: what values are compared with, and the words for those beyond it.

    ``bound`` is None where the declared text is no value of the column's type: then ``words``
    say so of every value.
    """

    highest: bool
    bound: Comparable
    words: str


def _limits(kind: ColumnType, bounds: Bounds) -> list[_Limit]:
    found = []
    for highest, text in ((False, bounds.min), (True, bounds.max)):
        if text is None:
            continue
        bound = parse_bound(kind, text)
        if bound is None:
            words = bound_fault(kind, "maximum" if highest else "minimum", text)
        elif kind.name == "date":
            words = f"must be on or {'before' if highest else 'after'} {text}"
        else:
            words = f"must be {'<=' if highest else '>='} {bound_text(kind, text)}"
        found.append(_Limit(highest, bound, words))
    return found


def _range(kind: ColumnType, ends: list[_Limit], value: JSON) -> Iterator[Found]:
    number = comparable(kind, value)
    for end in ends:
        if end.bound is None or (number > end.bound if end.highest else number < end.bound):
            yield "range", end.words
