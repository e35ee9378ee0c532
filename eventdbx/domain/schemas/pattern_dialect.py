"""The dialect of patterns: read as Rust's ``regex`` crate does, written as RE2 takes it.

Everything is written in one pass. What the second form, for marked texts, is for is said in
``patterns``, which compiles and searches.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from eventdbx.domain.schemas.pattern_classes import (
    Leaf,
    Ranges,
    complement,
    explicit,
    folded,
    intersection,
    perl_set,
    posix_set,
    property_set,
    spelled,
    tidy,
)

# Marks are 32 characters that stand for none: whose bits say what a position is.
MARKS = 0xFDD0
BOUNDARY, TEXT_START, LINE_START, TEXT_END, LINE_END = 1, 2, 4, 8, 16
_MARK_RANGE = ((MARKS, MARKS + 31),)
_MARK_SET = spelled(_MARK_RANGE)

_REPEAT = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_GROUP = re.compile(r"\?(?:P?<([^>=!]+)>|([a-zA-Z-]*)([:)]))")
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_META = frozenset(map(chr, range(0x20, 0x7F))) - set(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz<>"
)


class _Flags(NamedTuple):
    """What the flags of a group change, as far as this file must know."""

    ignore_case: bool = False
    multi_line: bool = False
    dot_all: bool = False
    verbose: bool = False
    unicode: bool = True


_FLAG_FIELDS = {
    "i": "ignore_case", "m": "multi_line", "s": "dot_all", "x": "verbose", "u": "unicode",
}  # fmt: skip

_Set = tuple[list[Leaf], bool]
"""The members of a set and whether it is what they are not."""


class Translation:
    """One pass over a pattern. ``marked`` asks for the form that is searched in marked texts."""

    def __init__(self, pattern: str, *, marked: bool) -> None:
        self._pattern = pattern
        self._marked = marked
        self._at = 0
        self._out: list[str] = []
        self._flags = _Flags()
        self._outer: list[_Flags] = []
        self.assertions = 0
        self.unicode_boundaries = False
        self.ascii_boundaries = False

    def text(self) -> str:
        """Return the pattern as RE2 takes it; raises ValueError for what it cannot say."""
        while self._at < len(self._pattern):
            self._one()
        return "".join(self._out)

    def _take(self) -> str:
        if self._at == len(self._pattern):
            raise ValueError("incomplete escape or set at the end")
        self._at += 1
        return self._pattern[self._at - 1]

    def _peek(self, text: str) -> bool:
        return self._pattern.startswith(text, self._at)

    def _one(self) -> None:
        one = self._take()
        if one == "\\":
            self._escape()
        elif one == "[":
            self._atom(self._class())
        elif one == "(":
            self._open()
        elif one == ")":
            if not self._outer:
                raise ValueError("unopened group")
            self._flags = self._outer.pop()
            self._out.append(one)
        elif one == "{":
            found = _REPEAT.match(self._pattern, self._at - 1)
            if found is None:
                raise ValueError("a repetition needs a number: '{' itself is written '\\{'")
            self._out.append(found[0])
            self._at = found.end()
        elif one in "|*+?":
            self._out.append(one)
        elif one == "^":
            self._assert(one, LINE_START if self._flags.multi_line else TEXT_START)
        elif one == "$":
            self._assert(one, LINE_END if self._flags.multi_line else TEXT_END)
        elif one == ".":
            self._dot()
        elif not self._flags.verbose or not self._blank(one):
            self._atom("\\x{20}" if one == " " else one if one.isalnum() else _escaped(one))

    def _blank(self, one: str) -> bool:
        """Skip what verbose patterns do not mean: white space and comments."""
        if one == "#":
            end = self._pattern.find("\n", self._at)
            self._at = len(self._pattern) if end < 0 else end + 1
            return True
        return one.isspace()

    def _atom(self, text: str) -> None:
        """Put what matches one character."""
        self._out.append(f"(?:[{_MARK_SET}]*{text})" if self._marked else text)

    def _assert(self, text: str, bit: int, *, absent: bool = False) -> None:
        self.assertions += 1
        if not self._marked:
            self._out.append(text)
            return
        marks = "".join(chr(MARKS + bits) for bits in range(32) if bool(bits & bit) != absent)
        self._out.append(f"[{marks}]")

    def _dot(self) -> None:
        if self._marked:
            self._atom("[^" + ("" if self._flags.dot_all else "\\n") + _MARK_SET + "]")
        else:
            self._out.append(".")

    # --- groups and flags

    def _open(self) -> None:
        self._outer.append(self._flags)
        if not self._peek("?"):
            self._out.append("(")
            return
        found = _GROUP.match(self._pattern, self._at)
        if found is None:
            rest = self._pattern[self._at : self._at + 3]
            if rest[:2] in ("?=", "?!") or rest in ("?<=", "?<!"):
                raise ValueError("look-around is not supported")
            raise ValueError("unknown kind of group")
        self._at = found.end()
        name, letters, end = found.groups()
        if name is not None:
            # The name is of no use to a search, and RE2 takes fewer of them.
            self._out.append("(?:")
            return
        flags, known = self._read_flags(letters)
        if end == ":":
            self._out.append(f"(?{known}:")
        else:
            if not letters:
                raise ValueError("a group of flags needs some")
            self._outer.pop()
            self._out.append(f"(?{known})" if known else "")
        self._flags = flags

    def _read_flags(self, letters: str) -> tuple[_Flags, str]:
        """Return the flags that hold from here on, and the letters that RE2 is to see."""
        on, _, off = letters.partition("-")
        if "-" in off or letters.endswith("-"):
            raise ValueError("a '-' among flags needs letters behind it")
        flags = self._flags
        for part, value in ((on, True), (off, False)):
            for letter in part:
                if letter in _FLAG_FIELDS:
                    flags = flags._replace(**{_FLAG_FIELDS[letter]: value})
                elif letter != "U":
                    raise ValueError(f"unknown flag {letter}")
        seen_on, seen_off = ("".join(one for one in part if one in "imsU") for part in (on, off))
        return flags, seen_on + (f"-{seen_off}" if seen_off else "")

    # --- escapes

    def _escape(self) -> None:
        letter = self._take()
        if letter in "bB":
            self._boundary(letter)
        elif letter == "A":
            self._assert("\\A", TEXT_START)
        elif letter == "z":
            self._assert("\\z", TEXT_END)
        else:
            member = self._escaped_member(letter)
            self._atom(self._set_text([member], negative=False))

    def _boundary(self, letter: str) -> None:
        if self._peek("{"):
            raise ValueError("half boundaries of words are not supported")
        if self._flags.unicode:
            self.unicode_boundaries = True
        else:
            self.ascii_boundaries = True
        self._assert("\\" + letter, BOUNDARY, absent=letter == "B")

    def _escaped_member(self, letter: str) -> Leaf:
        """Return the set that an escape stands for; its letter has been taken."""
        if letter in "dDwWsS":
            return perl_set(letter, unicode=self._flags.unicode)
        if letter in "pP":
            name = self._take()
            if name == "{":
                end = self._pattern.find("}", self._at)
                if end < 0:
                    raise ValueError("the name of a Unicode property has no end")
                name, self._at = self._pattern[self._at : end], end + 1
            return property_set(name, negative=letter == "P")
        point = ord(self._escaped_character(letter))
        return explicit(point, point)

    def _escaped_character(self, letter: str) -> str:
        if letter in _HEX_DIGITS:
            return self._hexadecimal(_HEX_DIGITS[letter])
        simple = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}.get(letter)
        if simple is not None:
            return simple
        if letter in _META:
            return letter
        if letter.isdigit():
            raise ValueError("back-references are not supported")
        raise ValueError(f"unknown escape \\{letter}")

    def _hexadecimal(self, count: int) -> str:
        if self._peek("{"):
            end = self._pattern.find("}", self._at)
            digits, self._at = self._pattern[self._at + 1 : max(end, self._at)], end + 1
        else:
            digits = self._pattern[self._at : self._at + count]
            self._at += count
            if len(digits) < count:
                digits = ""
        if re.fullmatch("[0-9A-Fa-f]{1,8}", digits) is None:
            raise ValueError("an escape needs hexadecimal digits")
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise ValueError("an escape names no character")
        return chr(point)

    # --- sets

    def _class(self) -> str:
        members, negative = self._members()
        return self._set_text(members, negative=negative)

    def _members(self) -> _Set:
        """Return what stands between brackets; the opening one has been taken."""
        negative = self._peek("^")
        if negative:
            self._at += 1
        members: list[Leaf] = []
        result: Ranges | None = None
        operation = ""
        first = True
        while True:
            one = self._take()
            # Only in front do a closing bracket and a double hyphen stand for themselves.
            if one == "]" and not first:
                break
            if one in "&-~" and self._peek(one) and not (first and one == "-"):
                self._at += 1
                result = _combined(result, operation, self._known(members))
                members, operation = [], one
            elif not (self._flags.verbose and self._blank(one)):
                members.append(self._member(one))
            first = False
        if operation:
            result = _combined(result, operation, self._known(members))
            return [Leaf("", result)], negative
        return members, negative

    def _member(self, one: str) -> Leaf:
        """Return one member of a set: a character, a range, or a set with a name or brackets."""
        if one == "[":
            found = re.compile(r":(\^?)([a-z]+):\]").match(self._pattern, self._at)
            if found is not None:
                self._at = found.end()
                return posix_set(found[2], negative=bool(found[1]))
            members, negative = self._members()
            ranges = self._known(members)
            return Leaf("", complement(ranges) if negative else ranges)
        low = self._end_of_range(one)
        if isinstance(low, Leaf):
            return low
        behind = self._pattern[self._at : self._at + 2]
        if not behind.startswith("-") or behind in ("-]", "--"):
            return explicit(ord(low), ord(low))
        self._at += 1
        high = self._end_of_range(self._take())
        if isinstance(high, Leaf) or high < low:
            raise ValueError("a range of characters has no order")
        return explicit(ord(low), ord(high))

    def _end_of_range(self, one: str) -> str | Leaf:
        if one != "\\":
            return one
        letter = self._take()
        if letter in "dDwWsSpP":
            return self._escaped_member(letter)
        return self._escaped_character(letter)

    def _known(self, members: list[Leaf]) -> Ranges:
        """Return the characters of members, in both cases where case does not count."""
        found = tidy(one for member in members for one in member.known)
        return folded(found) if self._flags.ignore_case else found

    def _set_text(self, members: list[Leaf], *, negative: bool) -> str:
        """Return a set as RE2 spells it, without the marks in the form for marked texts."""
        if not all(member.inside for member in members):
            ranges = self._known(members)
            members, negative = [Leaf("", complement(ranges) if negative else ranges)], False
        if negative:
            inside = "".join(member.inside for member in members)
            return f"[^{inside}{_MARK_SET if self._marked else ''}]"
        if not self._marked:
            return _bracketed(members)
        return self._unmarked_union(members)

    def _unmarked_union(self, members: list[Leaf]) -> str:
        """Return a positive set that no mark is in."""
        choices: list[str] = []
        plain: list[Leaf] = []
        for member in members:
            if member.ranges is not None:
                ranges = intersection(member.ranges, complement(_MARK_RANGE))
                plain.append(Leaf(spelled(ranges), ranges))
            elif member.negative:
                swapped = member.inside.replace("\\P", "\\p", 1)
                choices.append(f"[^{swapped}{_MARK_SET}]")
            else:
                plain.append(member)
        if plain:
            choices.append(_bracketed(plain))
        return f"(?:{'|'.join(choices)})"


def _bracketed(members: list[Leaf]) -> str:
    inside = "".join(member.inside or spelled(member.ranges or ()) for member in members)
    # Nothing at all is what is not anything.
    return f"[{inside}]" if inside else "[^\\x{0}-\\x{10ffff}]"


def _combined(left: Ranges | None, operation: str, right: Ranges) -> Ranges:
    if left is None:
        return right
    if operation == "&":
        return intersection(left, right)
    without = intersection(left, complement(right))
    if operation == "-":
        return without
    return tidy((*without, *intersection(right, complement(left))))


def _escaped(one: str) -> str:
    return f"\\x{{{ord(one):x}}}"
