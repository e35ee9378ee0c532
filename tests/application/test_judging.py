"""What a candidate set of schemas would have refused of the stored history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventdbx import errors, limits
from eventdbx.application.judging import Candidate, Judging
from eventdbx.application.referring import NULLIFY_EVENT
from eventdbx.application.rehearsal import accepted_by
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.settings import Restrict
from eventdbx.storage import eventlog, keys
from eventdbx.storage.store import synchronous
from tests.application.test_schemas import CatalogueCase, text_of

OPEN: dict[str, Any] = {"events": {"order_placed": {}, "order_paid": {}, "order_moved": {}}}


def after(count: int) -> Callable[[], bool]:
    """Return what ends a slice after so many keys."""
    left = count

    def enough() -> bool:
        nonlocal left
        left -= 1
        return left <= 0

    return enough


class JudgingCase(CatalogueCase):
    """A history in a store in memory, and candidates to hold it against."""

    def write(
        self, name: str, event: str, payload: Any, *, kind: WriteKind = "append", of: str = "order"
    ) -> None:
        """Write one event of an aggregate."""
        write = Write(kind, of, name, event, orjson.dumps(payload).decode())
        self.successResultOf(self.writer.write((write,), actor=None, render=len))

    def rehearse(
        self,
        *,
        restrict: Restrict = "default",
        aggregates: Iterable[str] | None = None,
        slices: int = 3,
        **schemas: Any,
    ) -> Judging:
        """Return the outcome of one pass, so many keys a slice."""
        contracts = self.catalogue.prepare(text_of(**schemas)).contracts
        judging = Judging(
            Candidate(contracts, restrict),
            self.store.view(),
            aggregates=aggregates,
            accepted_by=lambda digest: accepted_by(self.catalogue, digest),
        )
        while not judging.advance(self.store.view(), after(slices)):
            pass
        return judging

    def found(self, judging: Judging) -> list[tuple[str, str, int]]:
        """Return event, message and count of each finding."""
        return [(one.event_type, one.message, found.count) for one, found in judging.report()]


class Findings(JudgingCase):
    """One rule at a time."""

    def test_each_rule_has_its_count_and_its_first_and_last_event(self) -> None:
        """Events are named by aggregate, version and id; nothing of what they say is kept."""
        for number in range(9):
            self.write(f"o-{number}", "order_placed", {"total": "secret" if number % 2 else 1})
        judging = self.rehearse(order={**OPEN, "column_types": {"total": "integer"}})
        self.assertEqual((judging.done, judging.total, judging.refused), (9, 9, 4))
        ((broken, finding),) = judging.report()
        self.assertEqual(
            broken, ("order", "order_placed", "type", "field total must be an integer")
        )
        self.assertEqual(finding.count, 4)
        self.assertEqual(
            [one.aggregate_id for one in finding.samples], ["o-1", "o-3", "o-5", "o-7"]
        )
        self.assertEqual((finding.first.aggregate_id, finding.last.aggregate_id), ("o-1", "o-7"))
        event = eventlog.load_event(self.store.view(), keys.name("order", "o-7"), 1)
        assert event is not None
        self.assertEqual(finding.last.event_id, event.event_id)
        self.assertNotIn("secret", repr(judging.report()))

    def test_an_event_can_break_several_rules(self) -> None:
        """Every rule is told, and the event counts once."""
        self.write("o-1", "order_placed", {"total": "x", "extra": 1})
        candidate = {
            "events": {"order_placed": {"fields": ["note", "total"]}},
            "column_types": {"total": "integer"},
        }
        judging = self.rehearse(order=candidate)
        self.assertEqual(judging.refused, 1)
        self.assertEqual(
            self.found(judging),
            [
                ("order_placed", "missing required field note for event order_placed", 1),
                ("order_placed", "field extra is not permitted for event order_placed", 1),
                ("order_placed", "field total must be an integer", 1),
            ],
        )

    def test_samples_are_bounded_and_counts_are_not(self) -> None:
        """However many events break a rule, a few are named."""
        for number in range(30):
            self.write(f"o-{number:02}", "order_paid", {})
        judging = self.rehearse(order={"events": {"order_placed": {}}})
        ((_, finding),) = judging.report()
        self.assertEqual((finding.count, len(finding.samples)), (30, limits.REHEARSAL_SAMPLES))
        self.assertEqual(finding.last.aggregate_id, "o-29")

    def test_lines_are_bounded(self) -> None:
        """Keys of payloads are in messages, and a history may hold any number of them."""
        events, each = 11, limits.REHEARSAL_RULES_MAX // 10
        for number in range(events):
            extra = {f"key_{number}_{place}": 1 for place in range(each)}
            self.write("o-1", "order_placed", {"a": 1, **extra})
        judging = self.rehearse(order={"events": {"order_placed": {"fields": ["a"]}}})
        self.assertEqual(len(judging.report()), limits.REHEARSAL_RULES_MAX)
        self.assertEqual((judging.left_out, judging.refused), (each, events))

    def test_what_is_written_meanwhile_is_not_looked_at(self) -> None:
        """A pass ends at what was stored when it began, also where types are counted first."""
        for aggregates in (None, ("order",)):
            self.write("o-1", "order_placed", {})
            contracts = self.catalogue.prepare(text_of(order=OPEN)).contracts
            judging = Judging(
                Candidate(contracts, "default"), self.store.view(), aggregates=aggregates
            )
            stored = judging._last_id
            self.write("o-1", "unknown", {})
            self.write("o-9", "unknown", {})
            while not judging.advance(self.store.view(), after(1)):
                pass
            self.assertEqual(judging.done, judging.total)
            self.assertTrue(all(found.last.event_id <= stored for _, found in judging.report()))

    def test_only_the_named_types_are_looked_at(self) -> None:
        """Their events are counted first, so that progress has an end."""
        self.write("o-1", "order_placed", {})
        self.write("p-1", "made", {}, of="person")
        self.write("p-2", "made", {}, of="person")
        self.write("p-2", "left", {}, of="person")
        judging = self.rehearse(aggregates=["person"], person={"events": {"made": {}}})
        self.assertEqual((judging.done, judging.total, judging.refused), (3, 3, 1))

    def test_modes(self) -> None:
        """strict refuses types without schema; off refuses what is locked, and nothing else."""
        self.write("o-1", "order_placed", {"a": 1})
        self.write("p-1", "made", {}, of="person")
        narrow = {"events": {}, "field_locks": ["a"]}
        self.assertEqual(self.rehearse(order=OPEN).refused, 0)
        strict = self.rehearse(restrict="strict", order=OPEN)
        self.assertEqual(
            self.found(strict),
            [
                (
                    "made",
                    "aggregate person requires a schema before events can be appended "
                    "when restrict=strict",
                    1,
                )
            ],
        )
        off = self.rehearse(restrict="off", order=narrow)
        self.assertEqual(
            self.found(off), [("order_placed", "field a is locked for aggregate order", 1)]
        )

    def test_upcasters_of_the_candidate_are_applied_first(self) -> None:
        """A renamed field is no finding when the candidate renames it in old events."""
        self.write("o-1", "order_placed", {"total": 1})
        events: dict[str, Any] = {"order_placed": {"fields": ["amount"]}}
        self.assertEqual(self.rehearse(order={"events": events}).refused, 1)
        step = {"op": "rename", "from": "/total", "to": "/amount"}
        events = {"order_placed": {"fields": ["amount"], "upcast": [[step]]}}
        self.assertEqual(self.rehearse(order={"events": events}).refused, 0)

    def test_events_that_the_store_writes_itself_are_left_alone(self) -> None:
        """Nobody validates them when they are written either."""
        owner = {"type": "reference", "reference": {"cascade": "nullify"}}
        schema = {**OPEN, "column_types": {"owner": owner}}
        self.replace(order=schema)
        self.write("p-1", "made", {}, of="person")
        self.write("o-1", "order_placed", {"owner": "person#p-1"})
        self.successResultOf(
            self.writer.archive(
                "person", "p-1", archived=True, comment=None, actor=None, render=lambda head: head
            )
        )
        last = eventlog.load_event(self.store.view(), keys.name("order", "o-1"), 2)
        assert last is not None
        self.assertEqual(last.event_type, NULLIFY_EVENT)
        self.assertEqual(self.rehearse(order=schema).refused, 0)

    def test_damage_is_told(self) -> None:
        """A record that cannot be read ends the pass with the error of the store."""
        self.write("o-1", "order_placed", {})
        self.backend.write({keys.event(keys.name("order", "o-1"), 1): b"x"}, sync=True)
        self.open(synchronous())
        with self.assertRaises(errors.StorageError):
            self.rehearse(order=OPEN)


class Patches(JudgingCase):
    """A stored patch is the keys that it touched; nothing says that it was one."""

    LISTED = {"events": {"order_placed": {"fields": ["a", "b"]}}}

    def test_a_patch_that_only_a_patch_can_be_is_known(self) -> None:
        """The schema that accepted it demanded what it lacks: so it was a patch."""
        self.replace(order=self.LISTED)
        self.write("o-1", "order_placed", {"a": 1, "b": 2})
        change = [{"op": "replace", "path": "/a", "value": 5}]
        self.write("o-1", "order_placed", change, kind="patch")
        self.assertEqual(self.rehearse(order=self.LISTED).refused, 0)
        more = {"events": {"order_placed": {"fields": ["a", "b", "c"]}}}
        judging = self.rehearse(order=more)
        self.assertEqual((judging.refused, judging.unless_patch), (2, 0))

    def test_what_may_have_been_a_patch_is_counted_apart(self) -> None:
        """Accepted without a schema it may have been either: it counts, and is told."""
        self.write("o-1", "order_placed", {"a": 1, "b": 2})
        self.write("o-1", "order_placed", {"a": 3})
        self.write("o-2", "order_placed", {"a": 3})
        judging = self.rehearse(order=self.LISTED)
        self.assertEqual((judging.refused, judging.unless_patch), (2, 1))
        ((_, finding),) = judging.report()
        self.assertEqual((finding.count, finding.unless_patch), (2, 1))

    def test_other_faults_of_a_patch_count(self) -> None:
        """Being a patch excuses what it lacks, not what it brings."""
        self.replace(order=self.LISTED)
        self.write("o-1", "order_placed", {"a": 1, "b": 2})
        change = [{"op": "replace", "path": "/a", "value": "x"}]
        self.write("o-1", "order_placed", change, kind="patch")
        candidate = {**self.LISTED, "column_types": {"a": "integer"}}
        judging = self.rehearse(order=candidate)
        self.assertEqual(self.found(judging), [("order_placed", "field a must be an integer", 1)])
        self.assertEqual(judging.unless_patch, 0)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("o-1", "o-2")),
                st.sampled_from(("append", "patch")),
                st.dictionaries(
                    st.sampled_from("abc"), st.sampled_from((1, "1", "x", None)), max_size=3
                ),
            ),
            max_size=12,
        ),
        st.lists(st.sampled_from("abc"), unique=True, max_size=2),
        st.booleans(),
        st.integers(1, 5),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_what_a_schema_accepted_it_accepts_again(
        self,
        writes: list[tuple[str, WriteKind, dict[str, Any]]],
        fields: list[str],
        required: bool,
        slices: int,
    ) -> None:
        """Whatever came through a schema, by append or by patch, passes its rehearsal."""
        self.setUp()
        schema = {
            "events": {"order_placed": {"fields": fields}},
            "column_types": {"a": {"type": "integer", "required": required}},
        }
        self.replace(order=schema)
        for name, kind, payload in writes:
            content: Any = payload
            if kind == "patch":
                content = [
                    {"op": "add", "path": f"/{key}", "value": value}
                    for key, value in payload.items()
                ]
            write = Write(kind, "order", name, "order_placed", orjson.dumps(content).decode())
            self.writer.write((write,), actor=None, render=len).addErrback(
                lambda failure: failure.trap(errors.EventDBXError)
            )
        judging = self.rehearse(order=schema, slices=slices)
        self.assertEqual(judging.done, judging.total)
        self.assertEqual((judging.refused, judging.report()), (0, []))


class AgainstTheContract(JudgingCase):
    """A pass is the contract asked about each event, in whatever slices."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("order", "person")),
                st.sampled_from(("o-1", "o-2", "o-10")),
                st.sampled_from(("made", "paid", "lost")),
                st.dictionaries(st.sampled_from("abc"), st.sampled_from((1, "1", "x", None))),
            ),
            max_size=15,
        ),
        st.lists(st.sampled_from("abc"), unique=True, max_size=2),
        st.sampled_from(("off", "default", "strict")),
        st.integers(1, 6),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_each_event_is_judged_once(
        self,
        history: list[tuple[str, str, str, dict[str, Any]]],
        fields: list[str],
        restrict: Restrict,
        slices: int,
    ) -> None:
        """As many are refused, for as many reasons, as the contract refuses of the history."""
        self.setUp()
        schema = {
            "events": {"made": {"fields": fields}, "paid": {}},
            "column_types": {"a": {"type": "integer", "required": True}},
            "field_locks": ["c"],
        }
        contract = self.catalogue.prepare(text_of(order=schema)).contracts["order"]
        refused = reasons = 0
        for kind, name, event, payload in history:
            self.write(name, event, payload, of=kind)
            if kind == "person":
                refused += restrict == "strict"
                reasons += restrict == "strict"
                continue
            found = contract.violations(event, payload, off=restrict == "off")
            refused += bool(found)
            reasons += len({one.message for one in found})
        judging = self.rehearse(order=schema, restrict=restrict, slices=slices)
        self.assertEqual(judging.done, len(history))
        self.assertEqual(judging.refused, refused)
        self.assertEqual(sum(finding.count for _, finding in judging.report()), reasons)
