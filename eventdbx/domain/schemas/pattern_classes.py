"""Sets of characters in patterns: ``[...]``, ``\\w``, ``\\p{..}`` as RE2 spells them.

A set stays in RE2's own words where it has some. Set operations, and complements inside a set, it
lacks: those are worked out as ranges of code points. The rest of a pattern is ``patterns``'.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from eventdbx.domain.identifiers import WHITE_SPACE

Ranges = tuple[tuple[int, int], ...]
"""Code points from and to, both inclusive, ascending, none touching the next."""

_LAST = 0x10FFFF
_CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co"
_SURROGATES = (0xD800, 0xDFFF)

_LONG_NAMES = {
    "letter": "L", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt",
    "modifierletter": "Lm", "otherletter": "Lo", "mark": "M", "nonspacingmark": "Mn",
    "spacingmark": "Mc", "enclosingmark": "Me", "number": "N", "decimalnumber": "Nd", "digit": "Nd",
    "letternumber": "Nl", "othernumber": "No", "punctuation": "P", "punct": "P",
    "connectorpunctuation": "Pc", "dashpunctuation": "Pd", "openpunctuation": "Ps",
    "closepunctuation": "Pe", "initialpunctuation": "Pi", "finalpunctuation": "Pf",
    "otherpunctuation": "Po", "symbol": "S", "mathsymbol": "Sm", "currencysymbol": "Sc",
    "modifiersymbol": "Sk", "othersymbol": "So", "separator": "Z", "spaceseparator": "Zs",
    "lineseparator": "Zl", "paragraphseparator": "Zp", "control": "Cc", "cntrl": "Cc",
    "format": "Cf", "privateuse": "Co",
}  # fmt: skip
_SHORT_NAMES = {name.lower(): name for name in (*_CATEGORIES.split(), *"LMNPSZ")}

# The property Alphabetic reaches beyond letters, marks and letter numbers: circled letters.
_CIRCLED = ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189))
_JOINERS = (0x200C, 0x200D)
_WORD_CATEGORIES = ("L", "M", "Nd", "Nl", "Pc")

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\0-\x7f", "blank": "\t ",
    "cntrl": "\0-\x1f\x7f", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": "!-/:-@\\[-`{-~", "space": "\t-\r ", "upper": "A-Z", "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip


def tidy(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return ranges sorted and joined where they touch."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def complement(ranges: Ranges) -> Ranges:
    """Return every code point that is not in the ranges."""
    found, start = [], 0
    for low, high in ranges:
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Return the code points that are in both."""
    return complement(tidy((*complement(left), *complement(right))))


def spelled(ranges: Ranges) -> str:
    """Return ranges as they stand between brackets."""
    return "".join(
        f"\\x{{{low:x}}}" + (f"-\\x{{{high:x}}}" if high > low else "") for low, high in ranges
    )


class Leaf(NamedTuple):
    """A set of characters with a name or given as ranges.

    ``inside`` is how RE2 spells it between brackets; empty means that only ``ranges`` say it. A
    leaf without ranges has only its name: scripts, which are no part of any table at hand.
    """

    inside: str
    ranges: Ranges | None
    negative: bool = False

    @property
    def known(self) -> Ranges:
        """Return the code points; raises ValueError for a set that only RE2 knows."""
        if self.ranges is None:
            raise ValueError(f"set operations on {self.inside} are not supported")
        return self.ranges


@cache
def _by_category() -> dict[str, Ranges]:
    """Return the code points of each general category; a walk over all of them, once."""
    found: dict[str, list[tuple[int, int]]] = {}
    start, last = 0, unicodedata.category("\0")
    for point in range(1, _LAST + 2):
        category = unicodedata.category(chr(point)) if point <= _LAST else ""
        if category != last:
            found.setdefault(last, []).append((start, point - 1))
            start, last = point, category
    return {category: tuple(ranges) for category, ranges in found.items()}


@lru_cache(maxsize=64)
def _category_ranges(name: str) -> Ranges:
    tables = _by_category()
    return tidy(one for key in tables if key.startswith(name) for one in tables[key])


class _Category(Leaf):
    """A general category: its code points are looked up only when they are needed."""

    __slots__ = ()

    @property
    def known(self) -> Ranges:
        ranges = _category_ranges(self.inside[3:-1])
        return complement(ranges) if self.negative else ranges


class _Word(Leaf):
    """What a word is made of, or its complement."""

    __slots__ = ()

    @property
    def known(self) -> Ranges:
        return complement(_word_ranges()) if self.negative else _word_ranges()


@cache
def _word_ranges() -> Ranges:
    parts = [one for name in _WORD_CATEGORIES for one in _category_ranges(name)]
    return tidy((*parts, *_CIRCLED, _JOINERS))


_WORD_INSIDE = (
    "".join(f"\\p{{{name}}}" for name in _WORD_CATEGORIES)
    + spelled(_CIRCLED)
    + spelled((_JOINERS,))
)
_SPACES = tidy((ord(one), ord(one)) for one in WHITE_SPACE)


def is_word(character: str) -> bool:
    """Return whether a character belongs to words, as ``\\w`` and ``\\b`` see it."""
    category = unicodedata.category(character)
    if category[0] in "LM" or category in _WORD_CATEGORIES:
        return True
    point = ord(character)
    return point > 0x7F and any(low <= point <= high for low, high in (*_CIRCLED, _JOINERS))


def explicit(low: int, high: int) -> Leaf:
    """Return the set of the characters from one to another."""
    return Leaf(spelled(((low, high),)), ((low, high),))


def perl_set(letter: str, *, unicode: bool) -> Leaf:
    """Return the set of ``\\d``, ``\\w``, ``\\s`` or, in upper case, of its complement."""
    negative, name = letter.isupper(), letter.lower()
    if not unicode:
        ranges = posix_ranges({"d": "digit", "w": "word", "s": "space"}[name])
        return Leaf("\\" + letter, complement(ranges) if negative else ranges, negative)
    if name == "d":
        return _Category(f"\\{'P' if negative else 'p'}{{Nd}}", None, negative)
    if name == "s":
        return _plain(_SPACES, negative=negative)
    # A complement of several properties has no spelling between brackets.
    return _Word("" if negative else _WORD_INSIDE, None, negative)


def _plain(ranges: Ranges, *, negative: bool) -> Leaf:
    if negative:
        ranges = complement(ranges)
    return Leaf(spelled(ranges), ranges, negative)


def posix_ranges(name: str) -> Ranges:
    """Return the characters of a POSIX class, ASCII only; raises ValueError for other names."""
    listed = _POSIX.get(name)
    if listed is None:
        raise ValueError(f"unknown character class [:{name}:]")
    pairs = re.findall(r"(\\?.)(?:-(.))?", listed, re.DOTALL)
    return tidy((ord(low[-1]), ord(high or low[-1])) for low, high in pairs)


def posix_set(name: str, *, negative: bool) -> Leaf:
    """Return the set of a POSIX class or its complement."""
    return _plain(posix_ranges(name), negative=negative)


def property_set(text: str, *, negative: bool) -> Leaf:
    """Return the set of ``\\p{text}``, or of ``\\P{text}``; unknown scripts are RE2's to refuse."""
    if text.startswith("^"):
        text, negative = text[1:], not negative
    key, equals, value = text.partition("=")
    name = value if equals else key
    loose = re.sub(r"[\s_-]+", "", name).lower()
    if equals and re.sub(r"[\s_-]+", "", key).lower() not in (
        "gc", "generalcategory", "sc", "script",
    ):  # fmt: skip
        raise ValueError(f"unknown Unicode property {text}")
    if loose in ("any", "ascii", "whitespace"):
        ranges = {"any": ((0, _LAST),), "ascii": ((0, 0x7F),)}.get(loose, _SPACES)
        return _plain(ranges, negative=negative)
    category = _LONG_NAMES.get(loose) or _SHORT_NAMES.get(loose)
    letter = "P" if negative else "p"
    if category is not None:
        return _Category(f"\\{letter}{{{category}}}", None, negative)
    script = "_".join(word.capitalize() for word in re.split(r"[\s_-]+", name))
    if re.fullmatch("[A-Za-z_]+", script) is None or len(script) < 3:
        raise ValueError(f"unknown Unicode property {text}")
    return Leaf(f"\\{letter}{{{script}}}", None, negative)


def folded(ranges: Ranges) -> Ranges:
    """Return ranges with the other cases of their letters."""
    found = list(ranges)
    for low, high in ranges:
        for point in range(low, high + 1):
            if _SURROGATES[0] <= point <= _SURROGATES[1]:
                continue
            character = chr(point)
            if character.isalpha():
                others = (character.lower(), character.upper(), character.casefold())
                found += [(ord(one), ord(one)) for one in others if len(one) == 1]
    return tidy(found)
