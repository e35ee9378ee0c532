"""Patterns of text columns: the dialect of Rust's ``regex`` crate, searched by RE2 in linear time.

The dialects are brothers; ``pattern_dialect`` rewrites what differs. RE2 knows the boundaries of
ASCII words only. So the few patterns that ask for ``\\b`` are kept in a second form, for texts
beyond ASCII: there each position of the text is announced by marks, which say what it is (between
words, at the start of a line …), and an assertion is a mark to be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from eventdbx import limits
from eventdbx.domain.schemas.model import Column
from eventdbx.domain.schemas.pattern_classes import is_word
from eventdbx.domain.schemas.pattern_dialect import (
    BOUNDARY,
    LINE_END,
    LINE_START,
    MARKS,
    TEXT_END,
    TEXT_START,
    Translation,
)

_MARK_TEXT = re.compile(f"[{chr(MARKS)}-{chr(MARKS + 31)}]")
_REPLACEMENT = "\ufffd"
_ASSERTIONS_AT_ONCE_MAX = 8

_PATTERN_BYTES = 1_024
_INSTRUCTION_BYTES = 128
"""With what it was compiled from, which RE2 keeps."""

_CACHED_BYTES_MAX = 65_536
"""Heavier patterns live as long as something checks by them, and no longer."""

_alive: WeakValueDictionary[str, Pattern] = WeakValueDictionary()


@lru_cache(maxsize=2)
def _marked_text(text: str, copies: int) -> bytes:
    """Return a text with the marks of each position in front of it, and of the end behind it.

    The last ones are kept: all patterns of a column look at the same text.
    """
    text = _MARK_TEXT.sub(_REPLACEMENT, text)
    pieces: list[str] = []
    before, inside_word = "", False
    for one in (*text, ""):
        word = bool(one) and is_word(one)
        bits = BOUNDARY if word != inside_word else 0
        bits |= 0 if before else TEXT_START
        bits |= LINE_START if before in ("", "\n") else 0
        bits |= 0 if one else TEXT_END
        bits |= LINE_END if one in ("", "\n") else 0
        pieces.append(chr(MARKS + bits) * copies + one)
        before, inside_word = one, word
    return "".join(pieces).encode()


class Pattern:
    """A compiled pattern."""

    __slots__ = ("__weakref__", "_copies", "_marked", "_plain", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        translation = Translation(text, marked=False)
        self._plain = _compiled(translation.text())
        self._marked: Any = None
        self._copies = min(translation.assertions, _ASSERTIONS_AT_ONCE_MAX)
        if translation.unicode_boundaries:
            if translation.ascii_boundaries:
                raise ValueError("boundaries of ASCII words beside those of all words")
            self._marked = _compiled(Translation(text, marked=True).text())

    @property
    def weight(self) -> int:
        """Bytes of memory, about: RE2 tells the length of its program, which is most of it."""
        length: int = self._plain.programsize
        if self._marked is not None:
            length += self._marked.programsize
        return _PATTERN_BYTES + _INSTRUCTION_BYTES * length

    def search(self, text: str) -> bool:
        """Say whether the pattern matches somewhere in a text."""
        if self._marked is None or text.isascii():
            return self._plain.search(text.encode()) is not None
        return self._marked.search(_marked_text(text, self._copies)) is not None


def _compiled(text: str) -> Any:
    # Loaded by the first pattern: most programs never need it.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = limits.PATTERN_COMPILED_BYTES_MAX
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def compile_pattern(text: str) -> Pattern:
    """Return a compiled pattern, the same one for the same text as long as somebody has it.

    Raises ValueError with the reason for a text that is none.
    """
    pattern = _alive.get(text)
    if pattern is None:
        pattern = _alive[text] = Pattern(text)
        if pattern.weight <= _CACHED_BYTES_MAX:
            _keep(pattern)
    return pattern


@lru_cache(maxsize=limits.PATTERN_CACHE_ENTRIES)
def _keep(pattern: Pattern) -> Pattern:
    """Let light patterns live on for a while: what is declared is compiled soon after."""
    return pattern


def patterns_weight(columns: Mapping[str, Column], most: int) -> int:
    """Return the bytes of all patterns of columns, or some number above ``most``."""
    total = 0
    for text in set(_patterns(columns)):
        try:
            total += compile_pattern(text).weight
        except ValueError:
            continue
        if total > most:
            break
    return total


def _patterns(columns: Mapping[str, Column]) -> Iterator[str]:
    for column in columns.values():
        yield from column.regex
        yield from _patterns(column.properties)
