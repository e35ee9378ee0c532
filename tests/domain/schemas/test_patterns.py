"""Patterns: the dialect, what it refuses, and that no text makes a search slow."""

from __future__ import annotations

import re
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.model import Column, ColumnType
from eventdbx.domain.schemas.patterns import compile_pattern, patterns_weight

# Pattern, text, whether it is found.
FOUND = (
    # Not anchored; a dollar is the very end.
    ("", "", True),
    ("b", "abc", True),
    ("^a$", "a", True),
    ("^a$", "a\n", False),
    (r"\Aa\z", "a", True),
    ("(?m)^b$", "a\nb\nc", True),
    (".", "\n", False),
    ("(?s).", "\n", True),
    # Sets are Unicode's.
    (r"\d", "٣", True),
    (r"^\w+$", "naïve_1", True),
    (r"\w", "Ⓐ", True),
    (r"\w", "²", False),
    (r"\W", "é", False),
    (r"\s", "\u2003", True),
    (r"\s", "\x1c", False),
    (r"[\S]", "\u2003", False),
    (r"[\D]", "٣", False),
    (r"[^\W_]", "é", True),
    (r"[^\W_]", "_", False),
    (r"[^\W\d]", "1", False),
    ("[[:alpha:]]", "é", False),
    ("[[:^alpha:]]", "é", True),
    ("É", "é", False),
    ("(?i)É", "é", True),
    ("(?i:a)b", "AB", False),
    (r"(?-u:\w)", "é", False),
    (r"(?-u)[\W]", "é", True),
    # Properties by their short and long names.
    (r"^\pL\PL$", "é1", True),
    (r"\p{Letter}", "é", True),
    (r"\p{uppercase letter}", "é", False),
    (r"\p{gc=Nd}", "٣", True),
    (r"\p{Greek}", "α", True),
    (r"\p{Script=greek}", "a", False),
    (r"\p{^Greek}", "α", False),
    (r"\p{ASCII}", "é", False),
    # Set operations.
    ("[a-z&&[^aeiou]]", "b", True),
    ("[a-z&&[^aeiou]]", "a", False),
    ("[a-z--b]", "b", False),
    ("[ab~~bc]", "b", False),
    ("[ab~~bc]", "c", True),
    ("[a[bc]]", "c", True),
    ("[^a[bc]]", "c", False),
    (r"[\p{L}&&\p{ASCII}]", "é", False),
    ("(?i)[a-z&&[^A]]", "a", False),
    ("[&&a]", "a", False),
    # What stands for itself.
    ("[]a]", "]", True),
    ("[^]a]", "]", False),
    ("[a-]", "-", True),
    ("[-a]", "-", True),
    (r"[a\-z]", "b", False),
    (r"\.\-\/\_\#\ ", ".-/_# ", True),
    (r"\t\n\x41\x{1F600}\u0042\u{43}\U00000044", "\t\nA😀BCD", True),
    # Groups, repetitions, flags.
    (r"^(?P<year>\d{4})-(?<month>\d\d)$", "2024-01", True),
    ("^(?:ab){2,}$", "abab", True),
    ("^a{2}$", "aaa", False),
    ("(?U)^a+?$", "aaa", True),
    ("(?x) a  b # and no more\n c", "abc", True),
    (r"(?x)a\ [b c]", "a c", True),
    ("(?x)[ ]a]", " ", False),
    ("(a(?x) b )c d", "abc d", True),
    # Boundaries of words, in texts of ASCII and others.
    (r"\bna\b", "na", True),
    (r"\bna\b", "naïve", False),
    (r"(?-u:\bna\b)", "naïve", True),
    (r"\bnaïve\b", "a naïve b", True),
    (r"\Bv", "naïve", True),
    (r"\Ba", "é a", False),
    (r"\b^é", "é", True),
    (r"é\b$", "xé", True),
    (r"é$\b\b\b", "xé", True),
    (r"(?m)^b\b$", "é\nb\nc", True),
    (r"[^a]\b", "é", True),
    (r"\P{L}\b", "é", False),
    (r"[\P{L}x]\b", " é", True),
    (r"[\x{0}-\x{10ffff}]\b", "é", True),
    (r"^.{3}\b", "é€ ", False),
    (r"(?s)^.\b", "\né", True),
    (r"(?i)\bÉ", "a é", True),
    (r"\B", "é", False),
)

REFUSED = {
    "(?=a)": "look-around is not supported",
    "(?!a)": "look-around is not supported",
    "(?<=a)": "look-around is not supported",
    "(?<!a)": "look-around is not supported",
    r"(a)\1": "back-references are not supported",
    r"\012": "back-references are not supported",
    "(?>a)": "unknown kind of group",
    "(?R)a": "unknown flag R",
    "(?i-)a": "a '-' among flags needs letters behind it",
    "(?)": "a group of flags needs some",
    "(a": "missing ): (a",
    "a)": "unopened group",
    "[a": "incomplete escape or set at the end",
    "[]": "incomplete escape or set at the end",
    "\\": "incomplete escape or set at the end",
    "[b-a]": "a range of characters has no order",
    r"[a-\d]": "a range of characters has no order",
    "[[:foo:]]": "unknown character class [:foo:]",
    "a**": "bad repetition operator: **",
    "*": "no argument for repetition operator: *",
    "a{": "a repetition needs a number: '{' itself is written '\\{'",
    "a{,3}": "a repetition needs a number: '{' itself is written '\\{'",
    "a{1001}": "invalid repetition size: {1001}",
    r"(?:\pL{999}x){99}": "invalid repetition size: {99}",
    r"\pL{1000}": "pattern too large - compile failed",
    r"\Z": "unknown escape \\Z",
    r"\Qa\E": "unknown escape \\Q",
    r"\C": "unknown escape \\C",
    r"\<a": "unknown escape \\<",
    r"\é": "unknown escape \\é",
    r"\b{start}": "half boundaries of words are not supported",
    r"\b(?-u:\b)": "boundaries of ASCII words beside those of all words",
    r"\p{Klingon}": "invalid character class range: \\p{Klingon}",
    r"\p{Age=3}": "unknown Unicode property Age=3",
    r"\p{L": "the name of a Unicode property has no end",
    r"[\p{Greek}&&a]": "set operations on \\p{Greek} are not supported",
    r"\x4": "an escape needs hexadecimal digits",
    r"\x{}": "an escape needs hexadecimal digits",
    r"\uD800": "an escape names no character",
    r"\x{110000}": "an escape names no character",
}

# What our dialect and Python's share, sets of words included.
_PIECES = st.sampled_from(
    ("a", "é", " ", "_", "1", "\n", ".", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\b", r"\B")
    + (r"[a\W]", r"[^é]", r"[\S1]", r"[^\W_]", "a*", "é?", r"\w+", r"(?:a|\b)", "(?:^|é)", r"\A")
)
_TEXTS = st.text(st.sampled_from("aé_1 \n.€"), max_size=8)


class PatternsCase(SynchronousTestCase):
    """Patterns and what they find."""

    def test_what_is_found(self) -> None:
        """A pattern finds what the dialect says and nothing else."""
        for pattern, text, found in FOUND:
            self.assertIs(compile_pattern(pattern).search(text), found, (pattern, text))

    def test_what_is_no_pattern(self) -> None:
        """What cannot be searched in linear time, or has another meaning, is refused by name."""
        for pattern, reason in REFUSED.items():
            error = self.assertRaises(ValueError, compile_pattern, pattern)
            self.assertEqual(str(error), reason, pattern)

    # Python's "\\B" does not match the empty text, alone among dialects.
    @given(st.lists(_PIECES, min_size=1, max_size=6).map("".join), _TEXTS.filter(bool))
    def test_shared_parts_mean_the_same_as_in_python(self, pattern: str, text: str) -> None:
        """On patterns that Python's module reads alike, both find the same."""
        self.assertIs(compile_pattern(pattern).search(text), re.search(pattern, text) is not None)

    @given(st.text(st.sampled_from("ab[]()^$|*+?{}\\-&~.,1dwbpL#:<= é"), max_size=12), _TEXTS)
    def test_any_text_is_a_pattern_or_refused(self, pattern: str, text: str) -> None:
        """Nothing that is written as a pattern breaks anything else."""
        try:
            compiled = compile_pattern(pattern)
        except ValueError:
            return
        self.assertIn(compiled.search(text), (True, False))

    def test_shared_while_somebody_has_it(self) -> None:
        """A text is compiled once; what weighs much goes with the last who has it."""
        heavy = compile_pattern(r"\p{L}{300}")
        self.assertIs(compile_pattern(heavy.text), heavy)
        self.assertGreater(heavy.weight, 1_000_000)
        self.assertLess(compile_pattern("^[a-z]+$").weight, 10_000)
        gone = ref(heavy)
        del heavy
        self.assertIsNone(gone())

    def test_weight_of_columns(self) -> None:
        """The patterns of nested columns count, the same text once, and what is none not at all."""
        one = compile_pattern("abc").weight
        inner = Column(type=ColumnType("text"), regex=("abc", "("))
        outer = Column(type=ColumnType("object"), properties={"a": inner})
        self.assertEqual(patterns_weight({"a": inner, "b": outer}, 10**6), one)
        many = {f"c{n}": Column(type=ColumnType("text"), regex=(f"n{n}",)) for n in range(100)}
        self.assertGreater(patterns_weight(many, one), one)

    def test_searches_take_linear_time(self) -> None:
        """Patterns on which searches that go back would not end answer at once."""
        for pattern in ("^(a+)+$", r"^(a|a)*$", r"^(\w*)*\b$", "(x+x+)+y"):
            for end in ("!", "é!"):
                self.assertFalse(compile_pattern(pattern).search("a" * 50_000 + end))
