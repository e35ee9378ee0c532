"""Upcasting: what each step does and does not do, and what holds of all of them together."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.canonical import JSON, deeper_than, dump
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Default,
    EventRule,
    MapValues,
    Rename,
    Upcaster,
)
from eventdbx.domain.schemas.upcasting import (
    FOLD_MARK_BYTES,
    Upcasting,
    fold_mark,
    pointer_path,
    revision_of,
    upcast_payload,
)

# A step, a payload, and what it reads as.
STEPS: tuple[tuple[Upcaster, JSON, JSON], ...] = (
    (Rename("/name", "/full_name"), {"name": "Kim", "n": 1}, {"full_name": "Kim", "n": 1}),
    (Rename("/name", "/full_name"), {"n": 1}, {"n": 1}),
    (Rename("/name", "/full_name"), {"name": None}, {"full_name": None}),
    (Rename("/a", "/b"), {"a": 1, "b": 2}, {"b": 1}),
    (Rename("/a", "/a"), {"a": 1}, {"a": 1}),
    (Rename("/a", "/b/c"), {"a": 1}, {"b": {"c": 1}}),
    (Rename("/a", "/b/c"), {"a": 1, "b": {"d": 2}}, {"b": {"c": 1, "d": 2}}),
    (Rename("/a", "/b/c"), {"a": 1, "b": [2]}, {"a": 1, "b": [2]}),
    (Rename("/a", "/b/c"), {"a": 1, "b": None}, {"a": 1, "b": None}),
    (Rename("/a", "/a/value"), {"a": 1}, {"a": {"value": 1}}),
    (Rename("/a/value", "/a"), {"a": {"value": 1}}, {"a": 1}),
    (Rename("/a/b", "/c"), {"a": {"b": 1, "d": 2}}, {"a": {"d": 2}, "c": 1}),
    (Rename("/a/0", "/c"), {"a": [1]}, {"a": [1]}),
    (Rename("/x~1y", "/m~0n"), {"x/y": 1}, {"m~n": 1}),
    (Rename("/", "/a"), {"": 1}, {"a": 1}),
    (Rename("", "/a"), {"b": 1}, {"b": 1}),
    (Rename("/b", ""), {"b": {"c": 1}}, {"b": {"c": 1}}),
    (Rename("b", "/a"), {"b": 1}, {"b": 1}),
    (Rename("/b~2", "/a"), {"b~2": 1}, {"b~2": 1}),
    (Default("/currency", "EUR"), {"n": 1}, {"currency": "EUR", "n": 1}),
    (Default("/currency", "EUR"), {"currency": None}, {"currency": None}),
    (Default("/a/b", 1), {"a": {}}, {"a": {"b": 1}}),
    (Default("/a/b", 1), {"n": 1}, {"n": 1}),
    (Default("/a/b", 1), {"a": [1]}, {"a": [1]}),
    (Default("", 1), {"n": 1}, {"n": 1}),
    (MapValues("/s", {"0": "open"}), {"s": 0}, {"s": "open"}),
    (MapValues("/s", {"0": "open"}), {"s": "0"}, {"s": "open"}),
    (MapValues("/s", {"0": "open"}), {"s": 1}, {"s": 1}),
    (MapValues("/s", {"0": "open"}, True, "other"), {"s": 1}, {"s": "other"}),
    (MapValues("/s", {"0": "open"}, True, None), {"s": 1}, {"s": None}),
    (MapValues("/s", {}, True, "other"), {"n": 1}, {"n": 1}),
    (MapValues("/s", {"": "x"}, True, "other"), {"s": None}, {"s": None}),
    (MapValues("/s", {"true": "yes", "1.5": "more"}), {"s": True}, {"s": "yes"}),
    (MapValues("/s", {"1.5": "more"}), {"s": 1.5}, {"s": "more"}),
    (MapValues("/s", {"[1]": "x"}, True, 2), {"s": [1]}, {"s": [1]}),
    (MapValues("/a/s", {"x": {"y": 1}}), {"a": {"s": "x"}}, {"a": {"s": {"y": 1}}}),
)

keys = st.sampled_from(("a", "b", "c", "d/e", "f~g", ""))
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(keys, values, max_size=5) | values


def _pointer(path: list[str]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


pointers = st.lists(keys, min_size=1, max_size=4).map(_pointer) | st.sampled_from(("", "a", "/~2"))
upcasters: st.SearchStrategy[Upcaster] = st.one_of(
    st.builds(Rename, pointers, pointers),
    st.builds(Default, pointers, values),
    st.builds(
        MapValues,
        pointers,
        st.dictionaries(st.sampled_from(("0", "1", "true", "")), values, max_size=3),
        st.booleans(),
        scalars,
    ),
)
revisions = st.lists(st.lists(upcasters, max_size=5).map(tuple), max_size=4).map(tuple)


def _declared_bytes(step: Upcaster) -> int:
    """Return more than what one step can add: each key of a pointer also brings punctuation."""
    if isinstance(step, Rename):
        return 8 * len(dump([step.source, step.target]))
    if isinstance(step, Default):
        return 2 * len(dump([step.path, step.value]))
    return len(dump([dict(step.table), step.otherwise]))


class StepTests(SynchronousTestCase):
    """Single steps."""

    def test_table(self) -> None:
        """Each step of the table does what the table says."""
        for step, payload, expected in STEPS:
            rule = EventRule(upcast=((step,),))
            self.assertEqual(
                dump(upcast_payload(rule, 1, payload)), dump(expected), (step, payload)
            )

    def test_only_objects(self) -> None:
        """Payloads that are no objects have no members to work on."""
        rule = EventRule(upcast=((Default("/a", 1),),))
        scalar: tuple[JSON, ...] = (None, 1, "a", [{"a": 1}], True)
        for payload in scalar:
            self.assertEqual(upcast_payload(rule, 1, payload), payload)

    def test_order(self) -> None:
        """Steps and revisions are carried out in their order, from the payload's own revision."""
        rule = EventRule(
            upcast=(
                (Rename("/a", "/b"), Rename("/b", "/c")),
                (MapValues("/c", {"1": 2}),),
                (MapValues("/c", {"2": 3}), Default("/d", 4)),
            )
        )
        self.assertEqual(rule.revision, 4)
        self.assertEqual(upcast_payload(rule, 1, {"a": 1}), {"c": 3, "d": 4})
        self.assertEqual(upcast_payload(rule, 2, {"a": 1, "c": 1}), {"a": 1, "c": 3, "d": 4})
        self.assertEqual(upcast_payload(rule, 3, {"c": 1}), {"c": 1, "d": 4})
        self.assertEqual(upcast_payload(rule, 5, {"c": 2}), {"c": 2})

    def test_pointers(self) -> None:
        """Pointers follow RFC 6901; others name nothing."""
        self.assertEqual(pointer_path("/a~1b/~0/"), ("a/b", "~", ""))
        self.assertEqual(pointer_path("/~01"), ("~1",))
        self.assertEqual(pointer_path(""), ())
        for bad in ("a", "/~", "/a~2", "/~~0", "#/a"):
            self.assertIsNone(pointer_path(bad), bad)


class LimitTests(SynchronousTestCase):
    """What a declaration cannot do to old events."""

    def test_size(self) -> None:
        """A payload that would outgrow what may be added to the largest stays as it was."""
        filling = "x" * (limits.UPCAST_BYTES_MAX // 2)
        few = EventRule(upcast=((Default("/a", filling),),))
        large: dict[str, JSON] = {"n": "y" * (limits.PAYLOAD_BYTES_MAX - 8)}
        self.assertEqual(upcast_payload(few, 1, large), {**large, "a": filling})
        many = EventRule(upcast=((Default("/a", filling), Default("/b", filling * 3)),))
        self.assertIs(upcast_payload(many, 1, large), large)
        self.assertEqual(upcast_payload(many, 1, {}), {"a": filling, "b": filling * 3})

    def test_depth(self) -> None:
        """Moves into one another cannot bury a payload; ever so many that do not may be made."""
        burying = EventRule(upcast=((Rename("/a", "/a/b"),) * 200,))
        self.assertEqual(upcast_payload(burying, 1, {"a": 1}), {"a": 1})
        moving = EventRule(upcast=((Rename("/a", "/b/c"), Rename("/b/c", "/a")) * 100,))
        self.assertEqual(upcast_payload(moving, 1, {"a": 1}), {"a": 1, "b": {}})


class PropertyTests(SynchronousTestCase):
    """What holds whatever is declared and whatever is stored."""

    @given(revisions, payloads)
    def test_current_stays(self, upcast: Any, payload: Any) -> None:
        """A payload of the current revision is returned itself."""
        rule = EventRule(upcast=upcast)
        self.assertIs(upcast_payload(rule, rule.revision, payload), payload)

    @given(revisions, payloads, st.integers(1, 5))
    def test_argument_unchanged(self, upcast: Any, payload: Any, revision: int) -> None:
        """Neither payload nor declaration changes, and the same comes out again."""
        rule = EventRule(upcast=upcast)
        before, declared = copy.deepcopy(payload), copy.deepcopy(upcast)
        first = dump(upcast_payload(rule, revision, payload))
        self.assertEqual(payload, before)
        self.assertEqual(upcast, declared)
        self.assertEqual(dump(upcast_payload(rule, revision, payload)), first)

    @given(revisions, payloads, st.data())
    def test_revisions_compose(self, upcast: Any, payload: Any, data: st.DataObject) -> None:
        """Going through a revision in between comes to the same."""
        rule = EventRule(upcast=upcast)
        middle = data.draw(st.integers(1, rule.revision))
        halfway = upcast_payload(EventRule(upcast=upcast[: middle - 1]), 1, payload)
        self.assertEqual(
            dump(upcast_payload(rule, middle, halfway)), dump(upcast_payload(rule, 1, payload))
        )

    @given(revisions, payloads)
    def test_growth_is_bounded(self, upcast: Any, payload: Any) -> None:
        """No result is larger or deeper than what is stored and what is declared together."""
        grown = upcast_payload(EventRule(upcast=upcast), 1, payload)
        declared = sum(_declared_bytes(step) for steps in upcast for step in steps)
        self.assertLessEqual(len(dump(grown)), len(dump(payload)) + declared)
        self.assertFalse(deeper_than(grown, limits.JSON_DEPTH_MAX + limits.UPCAST_LEVELS_MAX))

    @given(revisions, payloads, keys)
    def test_origins_cover_moves(self, upcast: Any, payload: Any, hidden: str) -> None:
        """What a key holds now lay under its origins before: without them it is not there."""
        assume(isinstance(payload, dict))
        moves = tuple(tuple(s for s in steps if isinstance(s, Rename)) for steps in upcast)
        origins = Upcasting(EventRule(upcast=moves)).origins(frozenset((hidden,)))
        rest = {key: value for key, value in payload.items() if key not in origins}
        shown = upcast_payload(EventRule(upcast=moves), 1, rest)
        assert isinstance(shown, dict)
        self.assertNotIn(hidden, shown)


class MarkTests(SynchronousTestCase):
    """What the store says about revisions and folds."""

    def test_revision(self) -> None:
        """The revision is at the end of an event's mark; without a mark it is the first."""
        self.assertEqual(revision_of(None), 1)
        self.assertEqual(revision_of(bytes(16) + b"\x01\x02"), 258)

    def test_fold_mark(self) -> None:
        """The mark tells upcasters apart and nothing else."""
        plain = AggregateSchema(aggregate="order", events={"paid": EventRule()})
        self.assertEqual(fold_mark(plain), b"")
        marks = set()
        for steps in (
            (Rename("/a", "/b"),),
            (Rename("/b", "/a"),),
            (Default("/a", "/b"),),
            (MapValues("/a", {}),),
            (MapValues("/a", {}, True),),
        ):
            for upcast in ((steps,), (steps, ()), (steps, steps)):
                rule = EventRule(upcast=upcast)
                schema = AggregateSchema(aggregate="order", events={"paid": rule})
                marks.add(fold_mark(schema))
                noted = EventRule(upcast=upcast, notes="n", fields=("a",))
                other = AggregateSchema(
                    aggregate="order",
                    updated_at=7,
                    hidden=True,
                    events={"x": EventRule(), "paid": noted},
                )
                self.assertEqual(fold_mark(other), fold_mark(schema))
        self.assertEqual(len(marks), 15)
        self.assertEqual({len(mark) for mark in marks}, {FOLD_MARK_BYTES})
