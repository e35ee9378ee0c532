"""Proofs about one aggregate: its events, all of them, and what it has grown out of."""

from __future__ import annotations

from typing import Any

import orjson

from eventdbx import errors, limits
from eventdbx.application import proving
from eventdbx.application.checkpoint_keys import verify
from eventdbx.application.checkpointing import Checkpoints
from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.domain import proofdocuments as documents
from eventdbx.domain.headmap import HeadProof, heads_line
from eventdbx.domain.notes import from_base64, to_base64
from eventdbx.domain.proofs import ProofError
from eventdbx.storage import keys
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous
from tests.application.test_log_proofs import SIGNER, TRUST, Counted, ProvingCase, now


class AggregateCase(ProvingCase):
    """The domain of the log's proofs, and the check of documents."""

    def check(self, document: dict[str, Any]) -> documents.Proven:
        """Check a document as it stands in a file."""
        return documents.check_file(orjson.dumps(document), TRUST, verify)

    def timeline(self, one: str = "o-1") -> dict[str, Any]:
        """Return the proof of all events of an aggregate."""
        return self.successResultOf(self.proving.timeline("order", one))

    def unproven(self, document: dict[str, Any], **changes: Any) -> str:
        """Check that a document with changes proves nothing; return why."""
        return str(self.assertRaises(ProofError, self.check, {**document, **changes}))


class Timelines(AggregateCase):
    """Which events are all of an aggregate."""

    def test_complete(self) -> None:
        """All events are listed, in order, and the checkpoint vouches for their number."""
        document = self.timeline()
        self.assertEqual(document["events"], [to_base64(one.hash) for one in self.events[1::3]])
        found = self.check(document)
        self.assertEqual(found.kind, "aggregate-complete")
        self.assertIn("7 events are all that order::o-1 had", found.words)

    def test_covers_what_was_just_written(self) -> None:
        """The map and the checkpoint follow at once; with nothing new none is signed."""
        first = self.timeline()
        self.assertEqual(self.timeline(), first)
        self.add(22)
        self.assertEqual(self.timeline()["size"], 8)
        self.assertIn("8 events", self.check(self.timeline()).words)

    def test_nothing_can_be_kept_back(self) -> None:
        """A list without the last event, or with another, does not pass; nor another size."""
        document = self.timeline()
        events = document["events"]
        self.assertIn("not all", self.unproven(document, events=events[:-1]))
        self.assertIn("not all", self.unproven(document, events=events[::-1]))
        self.assertIn("head map", self.unproven(document, size=6, events=events[:-1]))
        self.assertIn("head map", self.unproven(document, aggregate_id="o-2"))
        other = self.timeline("o-2")
        self.assertIn("head map", self.unproven(document, root=other["root"]))
        self.assertIn("head map", self.unproven(document, heads=other["heads"][:-1]))

    def test_map_made_again(self) -> None:
        """A checkpoint that was signed over a damaged map at the same position is not used."""
        self.timeline()
        checkpoints, lines = self.domain.checkpoints, self.domain.checkpoints.extensions
        position = self.domain.heads.place.position
        checkpoints.extensions = lambda: (heads_line(position, b"x" * 32),)
        self.successResultOf(checkpoints.renew())
        checkpoints.extensions = lines
        self.assertIn("7 events", self.check(self.timeline()).words)

    def test_unknown(self) -> None:
        """There is no proof about an aggregate that there is not."""
        self.failureResultOf(self.proving.timeline("order", "none"), errors.AggregateNotFound)

    def test_nothing_written(self) -> None:
        """In an empty store, of which no map is signed, there is none either."""
        store = Store(MemoryStore(), hop=synchronous())
        schemas = Catalogue(store, clock_ns=self.clock)
        checkpoints = Checkpoints(store, "default", lambda: SIGNER)
        empty = Domain("default", store, self.writer, schemas, checkpoints=checkpoints)
        asked = proving.Proving(empty, now)
        self.failureResultOf(asked.timeline("order", "o-1"), errors.AggregateNotFound)

    def test_too_many(self) -> None:
        """A timeline that no document holds is refused before anything is read."""
        head = HeadProof(1, limits.PROOF_EVENTS_MAX + 1, bytes(32), ())
        anchor = documents.Anchor("order", "o-1", head, self.proof(self.events[0]).note)
        view: Any = Counted(self.store.view())
        error = self.assertRaises(errors.ConfigError, proving.whole_timeline, view, anchor)
        self.assertIn("bundle of evidence", str(error))
        self.assertEqual(view.gets, 0)


class Events(AggregateCase):
    """One event in the timeline of its aggregate."""

    def test_each(self) -> None:
        """Each event is proven under the root of its aggregate."""
        for event in self.events:
            document = self.successResultOf(self.proving.in_aggregate(event))
            found = self.check(document)
            assert found.leaf is not None
            self.assertEqual((found.kind, found.leaf.hash), ("aggregate-event", event.hash))
            self.assertEqual(found.salt, event.salt)
            self.assertEqual(document["version"], event.version)

    def test_another(self) -> None:
        """The proof is of no other version and no other event."""
        document = self.successResultOf(self.proving.in_aggregate(self.events[4]))
        self.assertIn("another event", self.unproven(document, version=3))
        leaf = to_base64(self.events[7].leaf)
        self.assertIn("lead", self.unproven(document, leaf=leaf, version=3))
        self.assertIn("members", self.unproven(document, more=1))
        self.assertIn("format", self.unproven(document, leaf=to_base64(b"\x09" + bytes(90))))
        self.assertIn("malformed", self.unproven(document, leaf=to_base64(b"\x01" + bytes(20))))

    def test_reads(self) -> None:
        """The proof costs 2 log2 n + 1 point reads at most."""
        for number in range(200):
            self.add(3 * number)
        anchor = self.anchor()
        self.assertEqual(anchor.head.version, 207)
        for version in (1, 2, 127, 128, 129, 206, 207):
            event = proving.stored_event(self.store.view(), "order", "o-0", version)
            view: Any = Counted(self.store.view())
            self.check(proving.event_in_aggregate(view, anchor, event))
            self.assertLessEqual(view.gets, 2 * 8 + 1)
            view.gets = 0
            self.check(proving.growth(view, anchor, version))
            self.assertLessEqual(view.gets, 3 * 8)

    def anchor(self) -> documents.Anchor:
        """Return how an aggregate stands under the newest checkpoint."""
        self.timeline("o-0")
        newest = self.checkpoints.newest()
        assert newest is not None
        name = keys.name("order", "o-0")
        head = self.successResultOf(self.in_map(name))
        return documents.Anchor("order", "o-0", head, newest.note)

    def in_map(self, name: bytes) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(self.domain.heads.prove(name))


class Growth(AggregateCase):
    """A version as the beginning of the timeline."""

    def test_each_version(self) -> None:
        """Every version is shown to be a beginning, with the root that its event says."""
        for event in self.events[1::3]:
            document = self.successResultOf(self.proving.growth("order", "o-1", event.version))
            self.assertEqual(from_base64(document["first"]["root"], ""), event.merkle_root)
            self.assertIn(f"first {event.version} events", self.check(document).words)

    def test_between_versions(self) -> None:
        """Every version is shown to be a beginning of every later one."""
        for first in range(1, 8):
            for second in range(first, 8):
                made = self.successResultOf(self.proving.growth("order", "o-1", first, second))
                self.assertIn(f"first {first} events", self.check(made).words)
                self.assertIn(f"of its first {second}; it had 7", self.check(made).words)
                roots = [from_base64(made[one]["root"], "") for one in ("first", "second")]
                events = self.events[1::3]
                self.assertEqual(
                    roots, [events[first - 1].merkle_root, events[second - 1].merkle_root]
                )
                if first < second:
                    self.unproven(made, first=made["second"])
                if second < 7:
                    self.unproven(made, onward=[])

    def test_no_version(self) -> None:
        """Versions that there are not are refused."""
        for version in (0, 8, (1 << 64) - 1):
            self.failureResultOf(self.proving.growth("order", "o-1", version), errors.ConfigError)
            made = self.proving.growth("order", "o-1", 1, version)
            self.failureResultOf(made, errors.ConfigError)
        self.failureResultOf(self.proving.growth("order", "o-1", 3, 2), errors.ConfigError)

    def test_another_history(self) -> None:
        """Whoever kept another root gets no proof that holds."""
        document = self.successResultOf(self.proving.growth("order", "o-1", 3))
        other = {"size": 3, "root": to_base64(bytes(32))}
        self.assertIn("first root", self.unproven(document, first=other))
        self.assertIn(
            "no beginning", self.unproven(document, first={**document["first"], "size": 9})
        )
        self.assertIn(
            "begins with", self.unproven(document, first={**document["first"], "size": 0})
        )


class Files(AggregateCase):
    """What stands in a file is not believed before it is checked."""

    def test_no_proof(self) -> None:
        """Whatever is no proof is refused with a reason."""
        for raw in (b"", b"{", b"[]", b'{"format":"eventdbx-proof/2"}', b"\xff\xfe",
                    b'{"format":"eventdbx-proof/1","kind":[]}',
                    b'{"format":"eventdbx-proof/1","kind":"log-consistency","first":1,"second":2,'
                    b'"hashes":[]}', b"c2sp.org/tlog-proof@v1\n"):  # fmt: skip
            self.assertRaises(ProofError, documents.check_file, raw, TRUST, verify)

    def test_members_of_other_kinds(self) -> None:
        """Members of any other kind than they must be are refused, and nothing else goes wrong."""
        made = [
            self.timeline(),
            self.successResultOf(self.proving.in_aggregate(self.events[4])),
            self.successResultOf(self.proving.growth("order", "o-1", 3)),
            self.successResultOf(self.proving.growth("order", "o-1", 3, 5)),
            self.successResultOf(self.proving.log_consistency(21)),
        ]
        for document in made:
            self.check(document)
            for name in document:
                for value in (
                    None,
                    True,
                    -1,
                    1 << 70,
                    1.5,
                    "",
                    "AAAA",
                    "\ud800",
                    [],
                    [1],
                    {},
                    {"size": 1},
                ):
                    if value == document[name]:
                        continue
                    changed = {**document, name: value}
                    try:
                        raw = orjson.dumps(changed)
                    except TypeError:
                        continue
                    with self.subTest(kind=document["kind"], name=name, value=value):
                        self.assertRaises(ProofError, documents.check_file, raw, TRUST, verify)

    def test_another_log(self) -> None:
        """A proof under a key that is not believed proves nothing."""
        document = self.timeline()
        text = document["checkpoint"].replace("example.org/log/default", "example.org/other")
        self.unproven(document, checkpoint=text)
