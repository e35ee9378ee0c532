"""Dotted paths into state and payloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON
from eventdbx.domain.selecting import lookup, select

STATE: dict[str, JSON] = {
    "who": "kim",
    "age": 30,
    "code": "007",
    "json": '{"a":1}',
    "gone": None,
    "tags": ["a", {"n": 2}],
    "name": {"first": "Ada", "0": "zero"},
    "a.b": 1,
    "": 2,
}

SELECTED: tuple[tuple[str, JSON], ...] = (
    ("who", "kim"),
    ("age", 30),
    ("code", "007"),
    ("gone", None),
    ("tags", ["a", {"n": 2}]),
    ("tags.0", "a"),
    ("tags.1.n", 2),
    ("tags.2", None),
    ("tags.-1", None),
    ("tags.x", None),
    ("tags.\u0661", None),
    ("tags." + "9" * 5000, None),
    ("name.first", "Ada"),
    ("name.0", "zero"),
    ("name.first.x", None),
    ("json.a", None),
    ("who.0", None),
    ("nope", None),
    ("a.b", None),
    ("", None),
    (".", None),
    (".who", None),
    ("name.", None),
    ("name..first", None),
)


class SelectTests(SynchronousTestCase):
    """Reading single values of a state."""

    def test_table(self) -> None:
        """A path leads through keys and indexes; where it leads nowhere the answer is null."""
        for path, value in SELECTED:
            self.assertEqual(select(STATE, path), value, path)

    def test_null_is_not_missing(self) -> None:
        """A value of null is told from no value."""
        self.assertEqual(lookup(STATE, "gone"), (True, None))
        self.assertEqual(lookup(STATE, "nope"), (False, None))

    @given(st.text(alphabet="tagsnme.01-\u00b2 ") | st.text())
    def test_any_path(self, path: str) -> None:
        """Whatever path arrives, it leads somewhere or nowhere."""
        self.assertEqual(lookup(STATE, path)[1], select(STATE, path))
