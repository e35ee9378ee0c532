"""Differences of documents: as a JSON Patch, as lines, and in a few words."""

from __future__ import annotations

import re
from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas import diff_lines
from eventdbx.domain.schemas.diff_lines import pieces
from eventdbx.domain.schemas.diff_patch import alike, patch
from eventdbx.domain.schemas.diff_text import (
    NOTHING_TO_SHOW,
    pretty,
    split,
    summary_lines,
    unified,
)
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Column,
    ColumnType,
    Default,
    EventRule,
    Upcaster,
)

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from((0.0, 1.0, 1.5, "a", ""))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(("a", "b", "a/b", "~", "")), inner, max_size=4)
    ),
    max_leaves=12,
)
LINES = st.lists(st.sampled_from("abcd"), max_size=14)


def longest_common(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence, by the table."""
    row = [0] * (len(other) + 1)
    for left in one:
        above = row
        row = [0]
        for place, right in enumerate(other):
            row.append(above[place] + 1 if left == right else max(row[-1], above[place + 1]))
    return row[-1]


def patched(old: list[str], text: str) -> list[str]:
    """Return what the hunks of a unified difference make of the old lines."""
    new: list[str] = []
    at = 0
    for line in text.split("\n")[2:]:
        head = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@", line)
        if head:
            start = int(head[1]) - (head[2] != "0")
            new += old[at:start]
            at = start
        elif line.startswith("+"):
            new.append(line[1:])
        elif line[0] in "- ":
            assert old[at] == line[1:]
            at += 1
            new += [line[1:]] if line[0] == " " else []
        else:
            assert line == "\\ No newline at end of file"
    return new + old[at:]


class Patches(SynchronousTestCase):
    """The operations between two documents."""

    @given(DOCUMENTS, DOCUMENTS)
    def test_operations_lead_to_the_new_document(self, old: Any, new: Any) -> None:
        """Another implementation of RFC 6902 that applies the patch gets the new document."""
        operations = patch(old, new)
        self.assertTrue(alike(jsonpatch.JsonPatch(operations).apply(old), new))
        self.assertEqual(operations == [], alike(old, new))

    def test_the_order_is_fixed(self) -> None:
        """Keys of the new side come first, ascending; then what is gone; arrays by index."""
        old: dict[str, Any] = {"z": [1, 2, 3], "a": 1, "m": {"x": 1}, "gone": 0}
        new: dict[str, Any] = {"z": [1, 9], "m": {"y": 2}, "b": [], "a": "1"}
        self.assertEqual(
            patch(old, new),
            [
                {"op": "replace", "path": "/a", "value": "1"},
                {"op": "add", "path": "/b", "value": []},
                {"op": "add", "path": "/m/y", "value": 2},
                {"op": "remove", "path": "/m/x"},
                {"op": "replace", "path": "/z/1", "value": 9},
                {"op": "remove", "path": "/z/2"},
                {"op": "remove", "path": "/gone"},
            ],
        )

    def test_surplus_elements_go_and_come_at_their_index(self) -> None:
        """Removing moves the rest, so the index stays; adding goes up."""
        self.assertEqual([one["path"] for one in patch([1, 2, 3, 4], [1])], ["/1"] * 3)
        self.assertEqual([one["path"] for one in patch([1], [1, 2, 3])], ["/1", "/2"])

    def test_numbers_are_told_apart_by_their_text(self) -> None:
        """1, 1.0 and true are three values."""
        for old, new in ((1, 1.0), (1, True), (0, False), (0.0, -0.0)):
            self.assertEqual(len(patch(old, new)), 1, (old, new))


class Lines(SynchronousTestCase):
    """The shortest way from lines to lines."""

    @given(LINES, LINES)
    @settings(max_examples=300)
    def test_no_way_is_shorter(self, old: list[str], new: list[str]) -> None:
        """As many lines stay as the longest common subsequence has, and nothing is left out."""
        at_old = at_new = kept = 0
        for piece in pieces(old, new):
            self.assertEqual((piece.old_start, piece.new_start), (at_old, at_new))
            at_old, at_new = piece.old_stop, piece.new_stop
            if piece.equal:
                self.assertEqual(old[piece.old_start : at_old], new[piece.new_start : at_new])
                kept += at_old - piece.old_start
        self.assertEqual((at_old, at_new), (len(old), len(new)))
        self.assertEqual(kept, longest_common(old, new))

    def test_very_different_texts_are_replaced_as_a_whole(self) -> None:
        """The search is bounded: beyond it the rest is one removal and one addition."""
        many = diff_lines.EDITS_MAX
        old = ["same", *(f"old {number}" for number in range(many)), "end"]
        new = ["same", *(f"new {number}" for number in range(many)), "end"]
        self.assertEqual([piece.equal for piece in pieces(old, new)], [True, False, True])


OLD: dict[str, Any] = {
    "order": {
        "aggregate": "order", "column_types": {}, "created_at": "2026-01-01T00:00:00.123Z",
        "events": {"order_created": {"fields": []}}, "field_locks": [], "hidden": False,
        "hidden_fields": [], "locked": False, "snapshot_threshold": None,
        "updated_at": "2026-01-01T00:00:00.123Z",
    }
}  # fmt: skip
NEW = {
    "order": {
        **OLD["order"],
        "events": {"order_created": {"fields": []}, "order_paid": {"fields": []}},
        "updated_at": "2026-01-02T00:00:00.123Z",
    }
}
NAMES: dict[str, Any] = {"old_name": "schema@v1", "new_name": "schema@v2"}


class Texts(SynchronousTestCase):
    """Unified and split, as other programs of this kind print them."""

    def test_unified(self) -> None:
        """Two hunks with three lines of context; the end without newline is told."""
        self.assertEqual(
            unified(OLD, NEW, **NAMES).split("\n"),
            [
                "--- schema@v1",
                "+++ schema@v2",
                "@@ -6,6 +6,9 @@",
                '     "events": {',
                '       "order_created": {',
                '         "fields": []',
                "+      },",
                '+      "order_paid": {',
                '+        "fields": []',
                "       }",
                "     },",
                '     "field_locks": [],',
                "@@ -13,6 +16,6 @@",
                '     "hidden_fields": [],',
                '     "locked": false,',
                '     "snapshot_threshold": null,',
                '-    "updated_at": "2026-01-01T00:00:00.123Z"',
                '+    "updated_at": "2026-01-02T00:00:00.123Z"',
                "   }",
                " }",
                "\\ No newline at end of file",
            ],
        )

    def test_split(self) -> None:
        """Two columns of forty characters, long texts cut, what goes before what comes."""
        lines = split(OLD, NEW, **NAMES).split("\n")
        self.assertEqual(lines[0], f"    {'schema@v1':40} |     {'schema@v2':40}")
        self.assertEqual(lines[1], "@@ -6 +6 @@" + "=" * 77)
        self.assertEqual(lines[5], f"{'':44} | +         }},{'':32}")
        changed = [line for line in lines if "updated_at" in line]
        self.assertEqual(changed[0], f'-       "updated_at": "2026-01-01T00:00:0... | {"":44}')
        self.assertEqual(changed[1], f'{"":44} | +       "updated_at": "2026-01-02T00:00:0...')
        self.assertEqual(len(lines), 19)

    def test_colours(self) -> None:
        """Colour wraps the lines that go and come, not the headers."""
        lines = unified(OLD, NEW, **NAMES, colour=True).split("\n")
        self.assertEqual(lines[0], "--- schema@v1")
        self.assertIn("\x1b[32m+      },\x1b[0m", lines)
        self.assertIn('\x1b[31m-    "updated_at": "2026-01-01T00:00:00.123Z"\x1b[0m', lines)
        rows = split(OLD, NEW, **NAMES, colour=True)
        self.assertIn(f'"2026-01-01T00:00:0... | {"":44}\n\x1b[0m\x1b[32m', rows)

    def test_equal_documents_show_nothing(self) -> None:
        """There is a sentence for it in both styles."""
        for style in (unified, split):
            self.assertEqual(style(OLD, OLD, **NAMES), NOTHING_TO_SHOW)

    @given(DOCUMENTS, DOCUMENTS)
    def test_a_unified_difference_can_be_applied(self, old: Any, new: Any) -> None:
        """Its hunks lead from the old text to the new one."""
        text = unified(old, new, **NAMES)
        before, after = pretty(old).split("\n"), pretty(new).split("\n")
        if text == NOTHING_TO_SHOW:
            self.assertEqual(before, after)
        else:
            self.assertEqual(patched(before, text), after)


class Summaries(SynchronousTestCase):
    """What differs, a line each."""

    def test_every_part_is_compared(self) -> None:
        """Thresholds, locks, events, columns, hiding and notes have their lines; times none."""
        steps: tuple[tuple[Upcaster, ...], ...] = ((Default("/a", 1),),)
        old = AggregateSchema(
            aggregate="order",
            snapshot_threshold=5,
            field_locks=("a",),
            hidden_fields=("secret",),
            column_types={
                "gone": Column(type=ColumnType("text")),
                "kept": Column(type=ColumnType("text")),
            },
            events={"one": EventRule(fields=("a", "b")), "two": EventRule(), "up": EventRule()},
            created_at=1,
        )
        new = AggregateSchema(
            aggregate="order",
            locked=True,
            field_locks=("b", "c"),
            hidden=True,
            column_types={
                "kept": Column(type=ColumnType("text"), required=True),
                "new": Column(type=ColumnType("date")),
            },
            events={
                "one": EventRule(fields=("b", "c"), notes="hi"),
                "three": EventRule(),
                "up": EventRule(upcast=steps),
            },
            created_at=2,
        )
        self.assertEqual(
            summary_lines(old, new),
            [
                "snapshot_threshold: Some(5) -> None",
                "locked: false -> true",
                "field locks added: b, c",
                "field locks removed: a",
                "hidden: false -> true",
                "hidden fields removed: secret",
                "columns added: new",
                "columns removed: gone",
                "columns changed: kept",
                "+ event three",
                "- event two",
                "event one fields added: c",
                "event one fields removed: a",
                "event one note changed",
                "event up upcasters changed",
            ],
        )
        self.assertEqual(summary_lines(old, old), [])
