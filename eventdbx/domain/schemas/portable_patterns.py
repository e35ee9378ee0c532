"""Patterns as every validator of JSON Schema reads them: the part that all dialects share.

A pattern that uses more has no portable form. One that has means exactly the same in ours
(``patterns``), in ECMA-262 and, but for a line feed at the end, in Python.
"""

from __future__ import annotations

import re

_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_IN_SET = frozenset("\\]^-[")
_PUNCTUATION = frozenset(map(chr, range(0x21, 0x7F))) - set(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz<>"
)
_CONTROL = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f", "\v": "\\v"}
_ESCAPED = {escape[1]: character for character, escape in _CONTROL.items()}
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|[xu]\{([0-9A-Fa-f]{1,6})\}")
_REPEAT = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??")


class _NotShared(Exception):
    """The pattern uses what not every dialect has."""


def literal(text: str) -> str:
    """Return the pattern that finds a text."""
    return "".join(_CONTROL.get(one, f"\\{one}" if one in _SYNTAX else one) for one in text)


def portable_pattern(pattern: str) -> str | None:
    """Return what means the same in every dialect; None if the pattern has no such form.

    ``pattern`` is one that ``compile_pattern`` takes.
    """
    try:
        return _Rewriting(pattern).text()
    except _NotShared:
        return None


class _Rewriting:
    """One pass over a pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        # For each open group, whether it holds anything yet that takes a character.
        self._groups = [False]

    def text(self) -> str:
        out: list[str] = []
        # Whether something stands there that may be repeated.
        repeatable = False
        while self._at < len(self._pattern):
            repeat = _REPEAT.match(self._pattern, self._at)
            if repeat is not None:
                if not repeatable:
                    raise _NotShared
                out.append(repeat[0])
                self._at = repeat.end()
                repeatable = False
                continue
            piece, repeatable = self._piece()
            self._groups[-1] |= repeatable
            out.append(piece)
        return "".join(out)

    def _take(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _piece(self) -> tuple[str, bool]:
        one = self._take()
        if one == "\\":
            if self._pattern[self._at] in "Az":
                return "^" if self._take() == "A" else "$", False
            return literal(self._escape()), True
        if one == "[":
            return self._set(), True
        if one == ".":
            return "[^\\n]", True
        if one == "(":
            return self._open(), False
        if one in "|^$":
            return one, False
        # Not every dialect repeats a group that holds nothing.
        return (one, self._groups.pop()) if one == ")" else (literal(one), True)

    def _open(self) -> str:
        if self._pattern.startswith("?:", self._at):
            self._at += 2
        elif self._pattern.startswith("?", self._at):
            raise _NotShared
        self._groups.append(False)
        return "(?:"

    def _escape(self) -> str:
        """Return the character that an escape stands for; the backslash has been taken."""
        found = _HEX.match(self._pattern, self._at)
        if found is not None:
            self._at = found.end()
            return chr(int(found[1] or found[2] or found[3], 16))
        letter = self._take()
        if letter in _ESCAPED:
            return _ESCAPED[letter]
        if letter in _PUNCTUATION or letter == " ":
            return letter
        raise _NotShared

    def _set(self) -> str:
        negative = self._pattern.startswith("^", self._at)
        self._at += negative
        out: list[str] = []
        while not self._pattern.startswith("]", self._at) or not out:
            out.append(self._member())
            if self._pattern.startswith("--", self._at):
                raise _NotShared
            if self._pattern.startswith("-", self._at) and self._pattern[self._at + 1] != "]":
                self._at += 1
                out.append("-" + self._member())
        self._at += 1
        return f"[{'^' if negative else ''}{''.join(out)}]"

    def _member(self) -> str:
        one = self._take()
        if one == "[" or one in "&-~" and self._pattern.startswith(one, self._at):
            raise _NotShared
        if one == "\\":
            one = self._escape()
        return _CONTROL.get(one, f"\\{one}" if one in _IN_SET else one)
