"""The form of the schema language: words, names, blocks and JSON values, each with its place.

The grammar is in docs/schema-source.md; what blocks and values mean is in ``source``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.faults import locate
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.domain.schemas.members import document_of
from eventdbx.errors import InvalidSchema, SerializationError

_SKIP: Final = re.compile(rf"(?:[{WHITE_SPACE}]|#[^\n]*|//[^\n]*)*")
_WORD: Final = re.compile(rf"[^{WHITE_SPACE}{{}}=]*")
_SCALAR: Final = re.compile(rf"[^{WHITE_SPACE}}}]*")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_STRING_OR_BRACKET: Final = re.compile(_STRING.pattern + r"|[\[\]{}]", re.DOTALL)


class Given(NamedTuple):
    """The value of a property, and where in the text the property begins."""

    value: JSON
    at: int


@dataclass(frozen=True, slots=True)
class Block:
    """A named block, where in the text it begins, and what it says."""

    name: str
    at: int
    given: dict[str, Given] = field(default_factory=dict)
    fields: list[Block] = field(default_factory=list)
    events: list[Block] = field(default_factory=list)


PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "aggregate": ("snapshot_threshold", "locked", "hidden", "hidden_fields", "field_locks"),
    "field": ("type", "rules", "hidden", "locked"),
    "event": ("fields", "note", "upcast"),
}
"""What each kind of block may say of itself."""


class Scanner:
    """A reader of one text, from its beginning to its end or to the first fault."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> list[Block]:
        """Return the blocks of the text; raise InvalidSchema at the first place that fits not."""
        aggregates = []
        while self._peek() is not None:
            at = self._at
            word = self._token()
            if word != "aggregate":
                self._fail(f"expected `aggregate`, found `{word}`")
            aggregates.append(self._block("aggregate", at))
        return aggregates

    def fail_at(self, at: int, reason: str) -> NoReturn:
        """Raise InvalidSchema for what stands at a place of the text."""
        raise InvalidSchema(reason + self.place(at))

    def place(self, at: int) -> str:
        """Return where in the text something stands, to be put behind a sentence."""
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return f" at line {line}, column {column}"

    def _fail(self, reason: str) -> NoReturn:
        self.fail_at(self._at, reason)

    def _peek(self) -> str | None:
        """Skip white space and comments; return the character that follows, None at the end."""
        found = _SKIP.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._text[self._at] if self._at < len(self._text) else None

    def _word(self) -> str:
        self._peek()
        found = _WORD.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return found[0]

    def _token(self) -> str:
        word = self._word()
        if not word:
            self._fail("expected token")
        return word

    def _name(self) -> str:
        if self._peek() == '"':
            found = _STRING.match(self._text, self._at)
            assert found is not None
            name = self._json(found.end())
            assert isinstance(name, str)
            return name
        word = self._word()
        if not word:
            self._fail("expected name")
        return word

    def _mark(self, mark: str) -> None:
        found = self._peek()
        if found is None:
            self._fail(f"expected `{mark}`, found end of file")
        if found != mark:
            self._fail(f"expected `{mark}`, found `{found}`")
        self._at += 1

    def _block(self, kind: str, at: int) -> Block:
        """Read a block whose keyword, at ``at``, has been read."""
        block = Block(self._name(), at)
        self._mark("{")
        while self._peek() != "}":
            at = self._at
            word = self._token()
            if word in PROPERTIES[kind]:
                if word in block.given:
                    self.fail_at(at, f"{word} cannot be defined more than once")
                self._mark("=")
                block.given[word] = Given(self._value(), at)
            elif kind == "aggregate" and word == "field":
                block.fields.append(self._block(word, at))
            elif kind == "aggregate" and word == "event":
                block.events.append(self._block(word, at))
            else:
                self._fail(f"unsupported {kind} property `{word}`")
        self._at += 1
        return block

    def _value(self) -> JSON:
        """Read a JSON value: up to its last bracket or quote, else up to white space or `}`."""
        first = self._peek()
        if first is None:
            self._fail("expected JSON value")
        if first == '"':
            found = _STRING.match(self._text, self._at)
        elif first in "[{":
            return self._json(self._closing())
        else:
            found = _SCALAR.match(self._text, self._at)
        assert found is not None
        return self._json(max(found.end(), self._at + 1))

    def _closing(self) -> int:
        """Return the end of the container that begins here; an open one goes on to the end."""
        depth = 0
        for found in _STRING_OR_BRACKET.finditer(self._text, self._at):
            if found[0] in "[{":
                depth += 1
            elif found[0] in "]}":
                depth -= 1
                if depth == 0:
                    return found.end()
        return len(self._text)

    def _json(self, end: int) -> JSON:
        """Read the JSON value that ends at ``end``."""
        text = self._text[self._at : end]
        try:
            value = document_of(text)
        except SerializationError:
            cause, end = locate(text.encode(), limits.JSON_DEPTH_MAX)
            # The last byte is the offending one, unless there are too few of them.
            good = text.encode()[: end if cause.startswith("EOF") else max(0, end - 1)]
            self._at += len(good.decode(errors="ignore"))
            self._fail(f"invalid JSON value: {cause}")
        self._at = end
        return value


def scanner_of(text: str) -> Scanner:
    """Return the reader of a text; raise InvalidSchema when it is too long or not Unicode."""
    scanner = Scanner(text)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        scanner.fail_at(error.start, "invalid unicode code point")
    if size > limits.SCHEMA_SET_BYTES_MAX:
        raise InvalidSchema(f"schema source cannot exceed {limits.SCHEMA_SET_BYTES_MAX} bytes")
    return scanner
