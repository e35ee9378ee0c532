"""The validator as a whole: its two paths agree, on whatever schema and payload."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.accepting import accepting
from eventdbx.domain.schemas.contract import MARK_BYTES, compile_schema
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Rename,
)
from eventdbx.domain.schemas.rules import ColumnCheck
from tests.domain.schemas.strategies import Attempt, attempts, columns, values

DECIMAL = ColumnType("decimal", 20, 2)
OPEN = {"opened": EventRule()}


@st.composite
def column_and_value(draw: st.DrawFn) -> tuple[Column, JSON]:
    """Return a column and a value for it."""
    column = draw(columns())
    return column, draw(values(column))


class AgreementTests(SynchronousTestCase):
    """What the quick path accepts, the exact one accepts."""

    @settings(max_examples=300, deadline=None)
    @given(attempts())
    def test_paths_agree(self, attempt: Attempt) -> None:
        """An event is refused exactly when it has violations, in the first one's words."""
        contract = compile_schema(attempt.schema)
        for off in (False, True):
            found = contract.violations(attempt.event, attempt.payload, attempt.known, off=off)
            told = contract.refuse(attempt.event, attempt.payload, attempt.known, off=off)
            self.assertEqual(told, found[0].message if found else None)
        event("refused" if found else "accepted")

    @settings(max_examples=800, deadline=None)
    @given(column_and_value())
    @example((Column(type=DECIMAL, range=Bounds("9007199254740993")), 9007199254740992.0))
    @example((Column(type=DECIMAL, range=Bounds(None, "0.1")), 0.1))
    def test_a_quick_yes_is_right(self, given_pair: tuple[Column, JSON]) -> None:
        """Whatever the quick check of a column accepts has no fault."""
        column, value = given_pair
        quick = bool(accepting(column)(value))
        faults = list(ColumnCheck(column).faults(value, "f", "/f"))
        event(f"quick {quick}, faults {bool(faults)}")
        if quick:
            self.assertEqual(faults, [])

    @settings(max_examples=100, deadline=None)
    @given(attempts())
    def test_places_and_order(self, attempt: Attempt) -> None:
        """Pointers begin with a slash or are empty, and steps come in their order."""
        order = ("lock", "field_lock", "event", "missing", "not_permitted", "object", "column")
        found = compile_schema(attempt.schema).violations(
            attempt.event, attempt.payload, attempt.known
        )
        steps = [order.index(violation.step) for violation in found]
        self.assertEqual(steps, sorted(steps))
        for violation in found:
            self.assertTrue(re.fullmatch("(/.*)?", violation.pointer, re.DOTALL))


class ContractTests(SynchronousTestCase):
    """What a contract says beside refusals."""

    def test_all_violations(self) -> None:
        """Every fault is listed, with its place and rule, where the wire tells the first only."""
        schema = AggregateSchema(
            aggregate="order",
            field_locks=("k",),
            column_types={
                "a/b": Column(type=ColumnType("integer"), range=Bounds("1", "5")),
                "o": Column(
                    type=ColumnType("object"),
                    properties={"~": Column(type=ColumnType("text"), required=True)},
                ),
            },
            events={"opened": EventRule(fields=("a/b", "o", "s"))},
        )
        found = compile_schema(schema).violations("opened", {"k": 1, "a/b": 9, "o": {}})
        self.assertEqual(
            [tuple(violation) for violation in found],
            [
                ("field_lock", "/k", "field_lock", "field k is locked for aggregate order"),
                ("missing", "/s", "missing", "missing required field s for event opened"),
                ("not_permitted", "/k", "not_permitted",
                 "field k is not permitted for event opened"),
                ("column", "/a~1b", "range", "field a/b must be <= 5"),
                ("column", "/o/~0", "required", "field o.~ is required"),
            ],
        )  # fmt: skip

    def test_digest(self) -> None:
        """A contract is named by what its schema says, whenever it was said."""
        schema = AggregateSchema(aggregate="order", events=OPEN)
        digest = compile_schema(schema).digest
        self.assertEqual(len(digest), 16)
        later = replace(schema, created_at=5, updated_at=6)
        self.assertEqual(compile_schema(later).digest, digest)
        self.assertNotEqual(compile_schema(replace(schema, locked=True)).digest, digest)

    def test_mark(self) -> None:
        """An event's mark is the digest and the revision of its payload, under either spelling."""
        upcast = ((Rename("/a", "/b"),), (Rename("/b", "/c"),))
        contract = compile_schema(
            AggregateSchema(
                aggregate="order", events={"line.added": EventRule(upcast=upcast), **OPEN}
            )
        )
        self.assertEqual(contract.mark("line_added"), contract.digest + b"\x00\x03")
        self.assertEqual(contract.mark("opened"), contract.digest + b"\x00\x01")
        self.assertEqual(contract.mark("unknown"), contract.digest + b"\x00\x01")
        self.assertEqual(len(contract.mark("opened")), MARK_BYTES)

    def test_two_spellings(self) -> None:
        """Of two declared spellings of an event the first in order holds, as in the schema."""
        schema = AggregateSchema(
            aggregate="order",
            events={"line.added": EventRule(fields=("a",)), "line_added": EventRule(fields=("b",))},
        )
        self.assertIs(schema.event("line_added"), schema.events["line.added"])
        self.assertIsNone(compile_schema(schema).refuse("line_added", {"a": 1}))
