"""LIKE patterns."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.likeness import Pattern

TABLE = (
    ("Ada", "Ada", True),
    ("Ada", "ada", False),
    ("Ada", "Adam", False),
    ("A_a", "Ada", True),
    ("A?a", "Ada", True),
    ("A_a", "Aa", False),
    ("97%", "97201", True),
    ("97*", "97", True),
    ("%01", "97201", True),
    ("%72%", "97201", True),
    ("%72%", "92701", False),
    ("a%a", "a", False),
    ("a%a", "aa", True),
    ("%ab%ab%", "xabyabz", True),
    ("%ab%ab%", "xaby", False),
    ("%a_c%c", "abcabc", True),
    ("%aab", "aaab", True),
    ("%_ab%", "aab", True),
    ("", "", True),
    ("", "a", False),
    ("%", "", True),
    ("_", "", False),
    ("__", "\u00e9\U0001f600", True),
    ("%", "a\nb", False),
    ("a_b", "a\nb", False),
    ("%\n%", "a\nb", True),
    ("%\n%", "a\nb\n", False),
    ("a.c", "abc", False),
    ("[a]", "[a]", True),
    ("\\%", "\\anything", True),
)


class LikeTests(SynchronousTestCase):
    """Matching whole texts."""

    def test_table(self) -> None:
        """A percent sign or star is any run, an underscore or question mark one character."""
        for pattern, text, expected in TABLE:
            self.assertIs(Pattern(pattern).matches(text), expected, (pattern, text))

    @given(st.text(alphabet="ab%_*?\n", max_size=12), st.text(alphabet="ab\n", max_size=12))
    def test_against_regular_expressions(self, pattern: str, text: str) -> None:
        """The outcome is that of the regular expression that the pattern stands for."""
        wildcards = {"%": ".*", "*": ".*", "_": ".", "?": "."}
        expression = "".join(wildcards.get(letter, re.escape(letter)) for letter in pattern)
        expected = re.fullmatch(expression, text) is not None
        self.assertIs(Pattern(pattern).matches(text), expected)

    def test_hostile_patterns(self) -> None:
        """Patterns made to go back for ever are decided like any other."""
        text = "a" * 20_000
        self.assertFalse(Pattern("%a" * 5_000 + "%b").matches(text))
        self.assertTrue(Pattern("%a" * 5_000 + "%").matches(text))
        self.assertFalse(Pattern("%_" + "a" * 2_000 + "b%").matches(text))
        self.assertFalse(Pattern("%a_%" * 5_000 + "b%a").matches(text))
