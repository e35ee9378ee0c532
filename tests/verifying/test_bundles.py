"""Bundles of evidence: what they prove, and what is noticed when somebody has been at them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import verify
from eventdbx.domain import evidence
from eventdbx.domain.events import event_document
from tests.verifying.story import LOG, Story, checked, orders, tree_of, trust

ORDERS = orders()
NAMES = ORDERS.names()
WHOLE = ORDERS.lines(evidence.ALL, NAMES)
ONE = ("order", "o-1")
PERSON = ("person", "p-1")
TYPE = [name for name in NAMES if name[0] == "order"]


def without(lines: list[bytes], *gone: int, events: int = 0, aggregates: int = 0) -> list[bytes]:
    """Return the lines of a bundle without some; the last line says as much."""
    last = json.loads(lines[-1])
    last = evidence.last_line(last["aggregates"] - aggregates, last["events"] - events)
    return [line for place, line in enumerate(lines[:-1]) if place not in gone] + [last]


class Bundles(SynchronousTestCase):
    """Lines of a bundle and what is said of them."""

    def refused(self, lines: list[bytes], why: str, event: bytes | None = None) -> None:
        """Check that a bundle is refused for a reason."""
        error = self.assertRaises(verify.Refuted, checked, b"".join(lines), event)
        self.assertIn(why, str(error))

    def test_a_whole_log(self) -> None:
        """Every aggregate is complete, and none is missing."""
        document, said = checked(b"".join(WHOLE))
        self.assertEqual((document["aggregates"], document["events"]), (5, 9))
        self.assertEqual((document["erased"], document["whole"]), (1, True))
        self.assertTrue(said[1].startswith("order::o-1: 3 events, all that it had at position 9"))
        self.assertIn("These are all aggregates of the log.", said)

    def test_some_aggregates(self) -> None:
        """One, a type, several: nothing is claimed of others."""
        for scope, names in (
            ([ONE], [ONE]),
            ([("order", None)], TYPE),
            ([("order", None), PERSON], NAMES),
            (evidence.SOME, [ONE, PERSON]),
        ):
            document, said = checked(b"".join(ORDERS.lines(scope, names)))
            self.assertFalse(document["whole"])
            self.assertIn("Nothing is proven of aggregates that are not in the bundle.", said)

    def test_without_a_map(self) -> None:
        """A log without a map of heads proves its events, and says what it does not prove."""
        lines = ORDERS.lines([ONE], [ONE], heads=False)
        _, said = checked(b"".join(lines))
        self.assertIn("nothing proves that no later ones are left out", said[0])
        self.refused(ORDERS.lines(evidence.ALL, NAMES, heads=False), "said to be whole")

    def test_an_event_in_a_bundle(self) -> None:
        """The event that was given is found by its id and compared, its root with it."""
        raw = b"".join(WHOLE)
        for event in ORDERS.of(ONE):
            _, said = checked(raw, event_document(event))
            self.assertIn(
                "Payload, metadata and note of the event that was given are as logged.", said
            )
            wrong = event_document(event._replace(merkle_root=bytes(32)))
            self.refused(WHOLE, "merkle_root is not the root", wrong)
        unknown = event_document(ORDERS.events[0]._replace(event_id=5))
        self.refused(WHOLE, "not in the bundle", unknown)

    def test_left_out(self) -> None:
        """Events cannot be left out of an aggregate, nor aggregates out of a whole log."""
        where = [place for place, line in enumerate(WHOLE) if b'"leaf"' in line]
        for place in where:
            self.refused(without(WHOLE, place, events=1), "")
        paid = next(p for p in where if json.loads(WHOLE[p])["index"] == 4)
        self.refused(
            without(WHOLE, paid, events=1),
            "Event 7007 is version 3 of order::o-1: order_shipped, written "
            "2027-01-15T08:00:00.130456789Z by ops/alice; it stands where order::o-1, version 2",
        )
        self.refused(without(WHOLE, paid + 1, events=1), "the 2 events of order::o-1 are not the 3")
        self.refused(without(WHOLE, 1, 2, events=1, aggregates=1), "aggregates of the map are not")
        self.refused(ORDERS.lines([ONE, PERSON], [ONE]), "person::p-1 is not in the bundle")

    def test_a_type_may_be_incomplete(self) -> None:
        """What is provable is the completeness of each aggregate: that is what is said."""
        lines = ORDERS.lines([("order", None)], TYPE[1:])
        _, said = checked(b"".join(lines))
        self.assertIn("Nothing is proven of aggregates that are not in the bundle.", said)

    def test_order(self) -> None:
        """Events cannot be swapped or doubled, nor aggregates stand twice."""
        place = WHOLE.index(next(iter(ORDERS.aggregate_lines(ONE))))
        first, second, third = place + 1, place + 2, place + 3
        for order in ((second, first), (first, first), (first, third)):
            swapped = list(WHOLE)
            swapped[first], swapped[second] = WHOLE[order[0]], WHOLE[order[1]]
            self.refused(swapped, "it stands where order::o-1, version")
        own = list(ORDERS.aggregate_lines(ONE))
        twice = [*WHOLE[:-1], *own, evidence.last_line(6, 12)]
        self.refused(twice, "order::o-1 stands twice or at the wrong place")

    def test_spliced(self) -> None:
        """An event of another aggregate, of another log, or after the last line."""
        place = next(p for p, line in enumerate(WHOLE) if b'"leaf"' in line)
        foreign = [*WHOLE[:place], WHOLE[place + 2], *WHOLE[place + 1 :]]
        self.refused(foreign, "it stands where order::o-0, version 1 should")
        other = Story()
        other.tell(("order", "o-0"), "order_placed", {"amount": 1_000_000})
        theirs = other.lines([("order", "o-0")], [("order", "o-0")])[2]
        self.refused(
            [*WHOLE[:place], theirs, *WHOLE[place + 1 :]], "version 1 of order::o-0: order_placed"
        )
        self.refused([*WHOLE, WHOLE[place]], "lines follow the last one")
        self.refused([WHOLE[0], *WHOLE[2:]], "it stands where")

    def test_another_content(self) -> None:
        """Payload, metadata and note are what the leaf commits to."""
        for place, line in enumerate(WHOLE):
            document = json.loads(line)
            for name in ("payload", "extensions", "note", "salt"):
                if name not in document:
                    continue
                changed = {**document, name: b64encode(b"0123456789abcdef").decode()}
                lines = [*WHOLE[:place], json.dumps(changed).encode() + b"\n", *WHOLE[place + 1 :]]
                self.refused(lines, "its payload, metadata or note is not what was logged")

    def test_flags(self) -> None:
        """Content is missing under the one word or the other, which is true and nothing like it."""
        place = next(p for p, line in enumerate(WHOLE) if b'"leaf"' in line)
        event = json.loads(WHOLE[place])
        bare = {name: event[name] for name in ("leaf", "index", "path")}
        for flags in (
            {"erased": 1}, {"withheld": 1}, {"erased": False}, {"withheld": "yes"}, {},
            {"erased": None}, {"erased": True, "withheld": True}, {"withheld": True, "erased": 0},
        ):  # fmt: skip
            for content in (bare, event):
                line = json.dumps({**content, **flags}).encode() + b"\n"
                if line != json.dumps(event).encode() + b"\n":
                    self.refused([*WHOLE[:place], line, *WHOLE[place + 1 :]], f"line {place + 1}: ")
        one = ORDERS.lines([("order", "o-0")], [("order", "o-0")])
        self.refused([*one[:-1], b'{"aggregates":true,"events":true}\n'], "no number")

    def test_erased(self) -> None:
        """Content may only be missing where a later event of the aggregate says so."""
        raw = json.loads(WHOLE[next(p for p, line in enumerate(WHOLE) if b'"leaf"' in line)])
        for name in ("salt", "payload", "extensions", "note"):
            del raw[name]
        line = json.dumps({**raw, "erased": True}).encode() + b"\n"
        self.refused([WHOLE[0], WHOLE[1], line, *WHOLE[3:]], "version 1 of order::o-0 is erased")
        story = Story()
        for number in range(12):
            story.tell(("a", "1"), "told", number)
        story.erase(("a", "1"), (2, 4), (6, 6), (8, 11))
        document, _ = checked(b"".join(story.lines(evidence.ALL, [("a", "1")])))
        self.assertEqual(document["erased"], 8)
        for extra in (1, 5, 7, 12):
            story.erased.add(story.events[extra - 1].hash)
            self.refused(
                story.lines(evidence.ALL, [("a", "1")]), f"version {extra} of a::1 is erased"
            )
            story.erased.remove(story.events[extra - 1].hash)
        story.erase(("a", "1"), (1, 13))  # all of it, the first dbx_erased too
        checked(b"".join(story.lines(evidence.ALL, [("a", "1")])))

    def test_incomplete(self) -> None:
        """Of aggregates without a way through the map programs, too, are told that nobody knows."""
        story = orders()
        document, said = checked(b"".join(story.lines([ONE], [ONE], heads=False)))
        self.assertEqual(document["incomplete"], 1)
        self.assertIn("Of 1 aggregates later events may have been left out.", said)
        self.assertEqual(checked(b"".join(story.lines([ONE], [ONE])))[0]["incomplete"], 0)
        lines = story.lines(evidence.ALL, NAMES)
        bare = [b"".join(story.aggregate_lines(name, heads=False)) for name in NAMES]
        document, said = checked(b"".join([lines[0], *bare, lines[-1]]))
        self.assertEqual((document["whole"], document["incomplete"]), (True, 0))
        self.assertNotIn("left out.", "".join(said[-3:]))

    def test_withheld(self) -> None:
        """Who may not see what is in an event proves all the same that it is there."""
        story = orders()
        story.withheld = {one.hash for one in story.of(ONE)}
        raw = b"".join(story.lines(evidence.ALL, NAMES))
        document, said = checked(raw)
        self.assertEqual((document["withheld"], document["erased"]), (3, 1))
        self.assertIn("that of 3 is withheld", said[-3])
        wrong = raw.replace(b'"withheld":true', b'"withheld":false', 1)
        self.assertRaises(verify.Refuted, checked, wrong)

    @given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 9)), max_size=8), st.data())
    def test_ranges(self, named: list[tuple[int, int]], data: st.DataObject) -> None:
        """What is struck from the ranges of erased versions is what is struck from a set."""
        versions = data.draw(st.sets(st.integers(1, 29)))
        ranges = verify.Ranges()
        for version in sorted(versions):
            ranges.add(version)
        pairs = [[first, first + more] for first, more in named]
        ranges.strike(json.dumps({"events": pairs}).encode(), 40)
        left = versions - {v for first, last in pairs for v in range(first, last + 1)}
        found = {
            v
            for first, last in zip(ranges.firsts, ranges.lasts, strict=True)
            for v in range(first, last + 1)
        }
        self.assertEqual(found, left)

    def test_cut(self) -> None:
        """A bundle that ends early is refused, wherever it ends."""
        raw = b"".join(WHOLE)
        for end in [*range(0, len(raw), 7), len(raw) - 1]:
            self.assertRaises(verify.Refuted, checked, raw[:end])

    def test_bounds(self) -> None:
        """Lines, counts and nesting have bounds, and nothing is kept of what exceeds them."""
        long = b'{"leaf":"' + b"A" * verify.LINE_MAX + b'"}\n'
        self.refused([WHOLE[0], long], "too long")
        self.refused([WHOLE[0], b'{"a":' + b"[" * 200 + b"]" * 200 + b"}\n"], "nests deeper")
        self.refused([WHOLE[0], b'{"aggregates":1' + b"0" * 5_000 + b"}\n"], "not a number")
        self.refused([WHOLE[0], b'{"aggregates":1,"aggregates":1,"events":0}\n'], "twice")
        self.refused([WHOLE[0], b'{"aggregates":1e2,"events":0}\n'], "a number that is none")
        self.refused([WHOLE[0], b'{"aggregates":"\\ud800","events":0}\n'], "not JSON")
        many = json.dumps({"events": [[n, n] for n in range(1, 9)]}).encode()
        self.assertRaises(verify.Refuted, verify.Ranges().strike, many, 8)


class Flips(SynchronousTestCase):
    """Every byte of a file that is not proven is known to prove nothing."""

    def unharmed(
        self, raw: bytes, check: Callable[[bytes], Any], masks: tuple[int, ...]
    ) -> set[int]:
        """Return the places where a byte may differ and the file still proves the same."""
        places = set()
        expected = check(raw)
        for place, byte in enumerate(raw):
            for mask in masks:
                changed = raw[:place] + bytes((byte ^ mask,)) + raw[place + 1 :]
                try:
                    found = check(changed)
                except verify.Refuted:
                    continue
                self.assertEqual(found, expected)
                places.add(place)
        return places

    def test_bundle(self) -> None:
        """No byte of a bundle can differ."""
        raw = b"".join(ORDERS.lines([ONE, PERSON], [ONE, PERSON]))
        self.assertEqual(self.unharmed(raw, lambda one: checked(one)[0], (0x01, 0x20, 0xFF)), set())

    def test_proof_of_an_event(self) -> None:
        """Of a proof only the salt can differ, and only while no event is compared with it."""
        raw = ORDERS.tlog_proof(4)
        begin = raw.index(b"extra ") + len(b"extra ")
        salt = set(range(begin + 1, begin + 23))  # 16 bytes after the first one, in base64
        places = self.unharmed(raw, lambda one: checked(one)[0], (0x01, 0x02, 0x20, 0xFF))
        self.assertTrue(places)
        self.assertLessEqual(places, salt)
        event = event_document(ORDERS.events[4])
        places = self.unharmed(raw, lambda one: checked(one, event)[0], (0x01, 0x02, 0x20, 0xFF))
        self.assertEqual(places, set())

    def test_proof_under_a_witness(self) -> None:
        """Who is told of no witness does not look at its line; who is, needs every byte of it."""
        raw = ORDERS.tlog_proof(4, witnessed=True)
        event = event_document(ORDERS.events[4])
        line = raw.index("— witness.example".encode())
        places = self.unharmed(raw, lambda one: checked(one, event)[0], (0x01, 0x20))
        self.assertTrue(places)
        self.assertGreaterEqual(min(places), line)
        whom = trust(witnesses=True, quorum=1)
        places = self.unharmed(raw, lambda one: checked(one, event, whom)[0], (0x01, 0x20, 0xFF))
        self.assertEqual(places, set())

    def test_proofs_in_json(self) -> None:
        """Of a proof in JSON no byte can differ but spaces."""
        raw = ORDERS.aggregate_proof("aggregate-complete", ONE, events=tree_of(ORDERS, ONE))
        places = self.unharmed(raw, lambda one: checked(one)[0], (0x01, 0x29, 0x2A, 0x2D, 0xFF))
        self.assertEqual({raw[place] for place in places} - {0x20}, set())


SEEDS = (
    b"".join(WHOLE),
    ORDERS.tlog_proof(4, witnessed=True),
    ORDERS.aggregate_proof("aggregate-complete", ONE, events=tree_of(ORDERS, ONE)),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a file in which something was cut, doubled, overwritten or put in."""
    raw = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(raw)))
        end = min(len(raw), place + draw(st.integers(0, 60)))
        put = draw(
            st.binary(max_size=8)
            | st.sampled_from([b"null", b"[]", b"{}", b'""', b"-1", b"9" * 30, b"true", b"\n"])
            | st.just(raw[place:end] * 2)
        )  # fmt: skip
        raw = raw[:place] + put + raw[end:]
    return raw


ODD: list[Any] = [
    None, True, 0, 1, -1, 1.5, 2**64, "", "AAAA", "\0", [], {}, [[]], [None], {"a": 1}, ["a", None],
]  # fmt: skip


@st.composite
def rewritten(draw: st.DrawFn) -> bytes:
    """Draw a file one JSON member of which is something else."""
    lines = draw(st.sampled_from([WHOLE, [SEEDS[2]]]))
    place = draw(st.integers(0, len(lines) - 1))
    document = json.loads(lines[place])
    where = document
    name = draw(st.sampled_from(sorted(where)))
    if isinstance(where[name], dict) and draw(st.booleans()):
        where = where[name]
        name = draw(st.sampled_from(sorted(where)))
    if draw(st.booleans()):
        del document[draw(st.sampled_from(sorted(document)))]
        document[draw(st.sampled_from(["erased", "withheld", "more"]))] = draw(st.sampled_from(ODD))
    elif isinstance(where[name], list) and where[name] and draw(st.booleans()):
        where[name][0] = draw(st.sampled_from(ODD))
    else:
        where[name] = draw(st.sampled_from(ODD))
    changed = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return b"".join([*lines[:place], changed, *lines[place + 1 :]])


class Hostile(SynchronousTestCase):
    """Whatever the file holds, there is an answer and never another exception."""

    @settings(deadline=None, max_examples=400)
    @given(mutated() | rewritten() | st.binary(max_size=200))
    def test_any_file(self, raw: bytes) -> None:
        """A file is proven or refuted."""
        try:
            checked(raw, whom=trust(witnesses=True))
        except verify.Refuted:
            pass

    @settings(deadline=None, max_examples=300)
    @given(rewritten())
    def test_another_member(self, raw: bytes) -> None:
        """A file one member of which is another says the same as before, or nothing."""
        try:
            found = checked(raw)[0]
        except verify.Refuted:
            return
        self.assertIn(found, [checked(seed)[0] for seed in SEEDS])

    @settings(deadline=None, max_examples=100)
    @given(mutated() | rewritten() | st.binary(max_size=200), st.booleans(), st.booleans())
    def test_the_command(self, raw: bytes, as_json: bool, compared: bool) -> None:
        """The command ends with 0 or 1 and prints one verdict, whatever it is given."""
        with TemporaryDirectory() as folder:
            file, event = Path(folder) / "file", Path(folder) / "event"
            file.write_bytes(raw)
            event.write_bytes(raw if compared else event_document(ORDERS.events[4]))
            words = [str(file), "--key", LOG.vkey(), "--event", str(event)]
            with redirect_stdout(StringIO()) as out:
                code = verify.main([*words, *(["--json"] if as_json else [])])
        last = out.getvalue().splitlines()[-1]
        self.assertIn(code, (0, 1))
        if as_json:
            self.assertEqual(json.loads(out.getvalue())["proven"], code == 0)
        else:
            self.assertEqual(last.startswith("NOT PROVEN: "), code == 1)
            self.assertEqual(last == "PROVEN.", code == 0)

    @settings(deadline=None, max_examples=200)
    @given(mutated() | rewritten() | st.binary(max_size=200), st.data())
    def test_any_event(self, junk: bytes, data: st.DataObject) -> None:
        """The event that is compared may be anything, too."""
        whole = event_document(ORDERS.events[4])
        place = data.draw(st.integers(0, len(whole)))
        for event in (junk, whole[:place] + junk[:20] + whole[place + 1 :]):
            try:
                checked(SEEDS[1], event)
            except verify.Refuted:
                pass
