"""Patterns of text columns: the dialect of Rust's ``regex`` crate, searched by RE2 in linear time.

The dialects are brothers; ``pattern_dialect`` rewrites what differs. RE2 knows the boundaries of
ASCII words only. So the few patterns that ask for ``\\b`` are kept in a second form, for texts
beyond ASCII: there each position of the text is announced by marks, which say what it is (between
words, at the start of a line …), and an assertion is a mark to be found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from eventdbx import limits
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


def _marked_text(text: str, copies: int) -> str:
    """Return a text with the marks of each position in front of it, and of the end behind it."""
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
    return "".join(pieces)


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_copies", "_marked", "_plain", "text")

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

    def search(self, text: str) -> bool:
        """Say whether the pattern matches somewhere in a text."""
        if self._marked is None or text.isascii():
            return self._plain.search(text.encode()) is not None
        return self._marked.search(_marked_text(text, self._copies).encode()) is not None


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


@lru_cache(maxsize=limits.PATTERN_CACHE_ENTRIES)
def compile_pattern(text: str) -> Pattern:
    """Return a compiled pattern; raises ValueError with the reason for one that is none."""
    return Pattern(text)
