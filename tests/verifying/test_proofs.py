"""Proofs that our modules make and the verifier, which shares nothing with them, checks."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import verify
from eventdbx.domain import headmap, proofs
from eventdbx.domain.canonical import dump
from eventdbx.domain.events import Event, event_document, raw_event_document
from eventdbx.domain.merkle import leaf_hash, root_of
from eventdbx.domain.notes import to_base64
from eventdbx.domain.timestamps import NS_MAX, NS_MIN, format_ns
from eventdbx.surfaces.cli.documents import event_view
from eventdbx.surfaces.cli.output import pretty
from tests.domain.signers import nodes_over
from tests.domain.test_checkpoints import SPEC, WILD, WILD_LOG, WILD_TIME, WILD_WITNESSES
from tests.verifying.story import LOG, WITNESS, Story, checked, orders, tree_of, trust

ORDERS = orders()
ONE = ("order", "o-1")
LEAVES = [leaf_hash(bytes((number,))) for number in range(70)]
TEXTS = st.text(st.characters(codec="utf-8"))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def as_printed(event: Event, *, sort: bool = True) -> bytes:
    """Return an event as ``dbx events --json`` prints it."""
    return pretty(event_view(orjson.loads(event_document(event))), sort=sort).encode()


class Proofs(SynchronousTestCase):
    """What is proven, and what is not."""

    def refused(self, raw: bytes, why: str = "", **given: Any) -> None:
        """Check that a file is refused for a reason, and with no other exception."""
        self.assertIn(why, str(self.assertRaises(verify.Refuted, checked, raw, **given)))

    def test_an_event_in_the_log(self) -> None:
        """Who wrote what and when, where it is in the log, and who signed that."""
        document, said = checked(ORDERS.tlog_proof(4))
        self.assertEqual(
            said[0],
            "Event 7004 is version 2 of order::o-1: order_paid, written "
            "2027-01-15T08:00:00.127456789Z by ops/alice, is entry 4 of the log.",
        )
        self.assertIn("The checkpoint is of example.org/main with 9 entries", said[1])
        self.assertIn("signed by example.org/main; its map of heads is of the first 9.", said[1])
        self.assertEqual((document["index"], document["event"]["version"]), (4, 2))

    def test_witnesses(self) -> None:
        """A witness counts if its key was given, and is named with its time."""
        raw, whom = ORDERS.tlog_proof(4, witnessed=True), trust(witnesses=True, quorum=1)
        _, said = checked(raw, whom=whom)
        self.assertIn("witness.example (witness, 2027-01-15T08:00:00Z)", said[1])
        self.refused(
            ORDERS.tlog_proof(4), "0 of the witnesses", whom=trust(witnesses=True, quorum=1)
        )

    def test_every_event_in_its_aggregate(self) -> None:
        """Inclusion, completeness and consistency of each timeline."""
        for name in ORDERS.names():
            events = ORDERS.of(name)
            nodes = nodes_over([one.hash for one in events])
            checked(
                ORDERS.aggregate_proof("aggregate-complete", name, events=tree_of(ORDERS, name))
            )
            for number, event in enumerate(events):
                path = proofs.inclusion_proof(nodes, number, len(events))
                hashes = [to_base64(one) for one in path]
                more = {"version": number + 1, "leaf": to_base64(event.leaf), "hashes": hashes,
                        "salt": to_base64(event.salt)}  # fmt: skip
                checked(ORDERS.aggregate_proof("aggregate-event", name, **more))
                wrong = {**more, "version": number + 2}
                self.refused(ORDERS.aggregate_proof("aggregate-event", name, **wrong))
                path = proofs.consistency_proof(nodes, number + 1, len(events))
                first = {"size": number + 1, "root": to_base64(event.merkle_root)}
                more = {"first": first, "hashes": [to_base64(one) for one in path]}
                checked(ORDERS.aggregate_proof("aggregate-consistency", name, **more))
                first["root"] = to_base64(bytes(32))
                self.refused(ORDERS.aggregate_proof("aggregate-consistency", name, **more))

    def test_a_shorter_or_longer_timeline_is_not_the_whole(self) -> None:
        """Dropped, doubled, swapped and foreign events are noticed."""
        tree = tree_of(ORDERS, ONE)
        other = tree_of(ORDERS, ("order", "o-2"))
        for wrong in (
            tree[:-1],
            tree[1:],
            [*tree, tree[-1]],
            tree[::-1],
            [*tree[:2], other[0]],
            [],
        ):
            raw = ORDERS.aggregate_proof("aggregate-complete", ONE, events=wrong)
            self.refused(raw, "are not all of order::o-1, in order")

    def test_one_log_grew_into_the_other(self) -> None:
        """Two checkpoints of one log, and not of two histories."""
        story = Story(ORDERS.events[:5])
        nodes = nodes_over([one.hash for one in ORDERS.events])
        path = [to_base64(one) for one in proofs.consistency_proof(nodes, 5, len(ORDERS.events))]

        def proof(first: Story) -> bytes:
            notes = [one.note().encode().decode() for one in (first, ORDERS)]
            kinds = {"format": "eventdbx-proof/1", "kind": "log-consistency"}
            more = {"first": notes[0], "second": notes[1], "hashes": path}
            return json.dumps({**kinds, **more}).encode()

        _, said = checked(proof(story))
        self.assertEqual(said[0], "The log with 5 entries is the beginning of that with 9.")
        self.refused(proof(Story(ORDERS.events[1:6])), "does not lead to both roots")

    def test_another_key(self) -> None:
        """A checkpoint that somebody else signed proves nothing."""
        key = verify.parse_key(LOG.vkey(), verify.LOG_KEY)
        forged = verify.Trust([key._replace(public=bytes(32))], [], 0)
        self.refused(ORDERS.tlog_proof(0), "does not hold", whom=forged)
        other = verify.Trust([key._replace(id=bytes(4))], [], 0)
        self.refused(ORDERS.tlog_proof(0), "not signed with the key", whom=other)
        with self.assertRaisesRegex(verify.Refuted, "type"):
            verify.parse_key(WITNESS.vkey(), verify.LOG_KEY)


class Events(SynchronousTestCase):
    """The event that somebody was shown, held against what was logged of it."""

    def test_every_form_of_every_event(self) -> None:
        """As the command line prints it, sorted or not, as the wire carries it, with its schema."""
        for index, event in enumerate(ORDERS.events):
            if event.hash in ORDERS.erased:
                continue
            for shown in (as_printed(event), as_printed(event, sort=False), event_document(event),
                          raw_event_document(event)):  # fmt: skip
                raw = ORDERS.tlog_proof(index)
                _, said = checked(raw, shown)
                self.assertIn("Payload, metadata and note of the event", said[-1])

    def test_any_difference_is_named(self) -> None:
        """Whichever member of the event is changed, added or taken away."""
        shown = orjson.loads(event_document(ORDERS.events[4]))
        raw = ORDERS.tlog_proof(4)
        for path, value, why in (
            (("payload", "by"), "cash", "payload, metadata or note"),
            (("payload", "more"), None, "payload, metadata or note"),
            (("extensions", "@source"), "till-8", "payload, metadata or note"),
            (("extensions",), {}, "payload, metadata or note"),
            (("metadata", "note"), "by hand ", "payload, metadata or note"),
            (("metadata", "created_at"), "2027-01-15T08:00:00.127456788Z", "created_at"),
            (("metadata", "issued_by", "user"), "bob", "issued_by"),
            (("metadata", "issued_by"), None, "issued_by"),
            (("metadata", "event_id"), "7003", "event_id"),
            (("metadata", "device"), "x", "a member device, which no proof covers"),
            (("aggregate_id",), "o-2", "aggregate_id"),
            (("aggregate_type",), "person", "aggregate_type"),
            (("event_type",), "order_sent", "event_type"),
            (("event_type_raw",), "OrderPaid", "event_type_raw"),
            (("version",), 3, "version"),
            (("version",), "2", "version"),
            (("hash",), "00" * 32, "hash"),
            (("total",), 10, "a member total, which no proof covers"),
        ):
            changed = orjson.loads(orjson.dumps(shown))
            place = changed
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = value
            error = self.assertRaises(verify.Refuted, checked, raw, orjson.dumps(changed))
            self.assertIn(why, str(error))
        for gone in ("payload", "version", "hash", "metadata", "aggregate_type"):
            changed = {name: value for name, value in shown.items() if name != gone}
            self.assertRaises(verify.Refuted, checked, raw, orjson.dumps(changed))

    def test_an_erased_event(self) -> None:
        """Its proof holds, and nobody can be told that this or that was its content."""
        erased = ORDERS.events.index(ORDERS.of(("person", "p-1"))[0])
        raw = ORDERS.tlog_proof(erased)
        shown = event_document(ORDERS.events[erased])
        self.assertIn("was erased", str(self.assertRaises(verify.Refuted, checked, raw, shown)))
        gone = {**orjson.loads(shown), "payload": None, "erased": True}
        found, said = checked(raw, orjson.dumps(gone))
        self.assertIn("no content to compare", said[-1])
        self.assertEqual(found["compared"], said[-1])
        wrong: list[dict[str, Any]] = [{"payload": {"a": 1}}, {"extensions": {}}, {"erased": 1}]
        for more in wrong:
            error = self.assertRaises(verify.Refuted, checked, raw, orjson.dumps({**gone, **more}))
            self.assertIn("and has content", str(error))

    def test_no_single_event(self) -> None:
        """A proof of many events is compared with none: nobody is to believe that it was."""
        raw = ORDERS.aggregate_proof("aggregate-complete", ONE, events=tree_of(ORDERS, ONE))
        error = self.assertRaises(verify.Refuted, checked, raw, as_printed(ORDERS.of(ONE)[0]))
        self.assertIn("of no single event", str(error))

    def test_a_large_event(self) -> None:
        """The largest payload is read in the largest form in which it is printed."""
        story = Story()
        event = story.tell(("a", "1"), "told", {"a": [{"b": {"c": [1] * 130_000}}]})
        printed = as_printed(event)
        self.assertGreater(len(printed), 1 << 20)
        checked(story.tlog_proof(0), printed)

    @settings(deadline=None, max_examples=60)
    @given(
        JSON_VALUES,
        st.none() | st.dictionaries(st.from_regex(r"@[a-z]{1,5}", fullmatch=True), JSON_VALUES),
        st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
    )
    def test_any_content(self, payload: Any, extensions: Any, note: str | None) -> None:
        """Canonical bytes are found again from what is printed, and only from that."""
        story = Story()
        event = story.tell(("a", "1"), "told", payload, extensions=extensions, note=note)
        raw = story.tlog_proof(0)
        for shown in (event_document(event), as_printed(event)):
            checked(raw, shown)
            other = orjson.loads(shown)
            other["payload"] = [other["payload"]]
            self.assertRaises(verify.Refuted, checked, raw, dump(other))

    @given(st.integers(NS_MIN, NS_MAX) | st.sampled_from([0, 10**9, 1_000, 10**6, -1]))
    def test_times(self, ns: int) -> None:
        """Times are written as we write them."""
        self.assertEqual(verify.rfc3339(ns), format_ns(ns))


class Trees(SynchronousTestCase):
    """The verifier's arithmetic against an independent implementation and against ours."""

    def test_inclusion_and_consistency_of_every_size(self) -> None:
        """Proofs of pymerkle and of ours lead to the same roots."""
        other = InmemoryTree(algorithm="sha256")
        for number in range(len(LEAVES)):
            other.append_entry(bytes((number,)))
        growing = verify.Growing()
        for size in range(1, 41):
            growing.add(LEAVES[size - 1])
            root = other.get_state(size)
            self.assertEqual(growing.root(), root)
            for index in range(size):
                leaf, *path = other.prove_inclusion(index + 1, size).path
                self.assertEqual(verify.included(leaf, index, size, path), root)
                ours = proofs.consistency_proof(nodes_over(LEAVES), index + 1, size)
                verify.check_consistent(index + 1, other.get_state(index + 1), size, root, ours)

    @given(st.integers(1, 60), st.data())
    def test_wrong_proofs_are_wrong_for_both(self, size: int, data: st.DataObject) -> None:
        """Whatever is done to a proof, both implementations say the same of it."""
        index = data.draw(st.integers(0, size))
        path = proofs.inclusion_proof(nodes_over(LEAVES), min(index, size - 1), size)
        where = data.draw(st.integers(0, len(path)))
        path[where:] = data.draw(
            st.sampled_from([path[where:], path[where + 1 :], [bytes(32)], []])
        )
        root, leaf = root_of(LEAVES[:size]), LEAVES[index]
        try:
            proofs.check_inclusion(leaf, index, size, path, root)
        except proofs.ProofError:
            with self.assertRaises(verify.Refuted):
                if verify.included(leaf, index, size, path) != root:
                    verify.refuse("another root")
        else:
            self.assertEqual(verify.included(leaf, index, size, path), root)

    @given(st.integers(0, 60), st.integers(0, 60), st.data())
    def test_wrong_consistency(self, first: int, second: int, data: st.DataObject) -> None:
        """The same of proofs of consistency; the empty tree, which proves nothing, left out."""
        path: list[bytes] = []
        if 0 < first <= second:
            path = proofs.consistency_proof(nodes_over(LEAVES), first, second)
        where = data.draw(st.integers(0, len(path)))
        path[where:] = data.draw(
            st.sampled_from([path[where:], path[where + 1 :], [bytes(32)], []])
        )
        roots = root_of(LEAVES[:first]), root_of(LEAVES[:second])
        try:
            proofs.check_consistency(first, roots[0], second, roots[1], path)
            right = first > 0
        except proofs.ProofError:
            right = False
        try:
            verify.check_consistent(first, roots[0], second, roots[1], path)
        except verify.Refuted:
            self.assertFalse(right)
        else:
            self.assertTrue(right)

    @given(st.sets(st.text("abcdef", min_size=1, max_size=6), max_size=40))
    def test_map_of_heads(self, names: set[str]) -> None:
        """Both compute one root over the same heads."""
        entries, theirs = [], []
        for version, name in enumerate(sorted(names), 1):
            entries.append(headmap.entry(headmap.name_hash("t", name), version, LEAVES[version]))
            theirs.append(verify.head_entry(("t", name), version, LEAVES[version]))
        ours = headmap.summary_hash(headmap.summarise(sorted(entries)))
        self.assertEqual(verify.map_root(sorted(theirs)), ours)


class Standards(SynchronousTestCase):
    """Notes of the standards' examples and of a log in the wild."""

    def test_a_log_in_the_wild(self) -> None:
        """The signatures of a public log and of its witnesses hold, whoever else signed."""
        logs = [verify.parse_key(WILD_LOG.vkey(), verify.LOG_KEY)]
        known = [verify.parse_key(one.vkey(), verify.WITNESS_KEY) for one in WILD_WITNESSES]
        whom = verify.Trust(logs, known, len(known))
        point = verify.check_note(WILD.decode(), whom)
        self.assertEqual((point.size, len(point.signers)), (1_432_088_532, 1 + len(known)))
        self.assertIn(f"(witness, {verify.rfc3339(WILD_TIME * 10**9)})", point.signers[-1])
        text = WILD.decode()
        for place in range(text.index("— ")):  # the text is signed, each of its characters
            for char in "\n0A":
                changed = text[:place] + char + text[place + 1 :]
                if changed != text:
                    self.assertRaises(verify.Refuted, verify.check_note, changed, whom)

    def test_the_example_has_the_form(self) -> None:
        """The example of the standard is read, and refused only because its key is not known."""
        error = self.assertRaises(verify.Refuted, verify.check_note, SPEC.decode(), trust())
        self.assertIn("not signed with the key of the log", str(error))
