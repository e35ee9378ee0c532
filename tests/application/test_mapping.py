"""The head map of a domain: what it says after any history, and who notices when it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from eventdbx import limits
from eventdbx.application import headchecks
from eventdbx.application.headchecks import Fault, verify_head_map
from eventdbx.application.integrity.findings import Finding
from eventdbx.application.integrity.pages import read_page
from eventdbx.application.integrity.passes import START, Place, Task
from eventdbx.application.mapping import HeadMap
from eventdbx.application.views import Views
from eventdbx.domain import headmap as domain
from eventdbx.domain.headmap import HeadProof, check_head
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, headmap, keys, records
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, Transaction, synchronous
from tests.application.test_writer import WriterCase
from tests.storage.stepper import Stepper


def from_heads(view: IReadView) -> bytes:
    """Return the root of a map of all heads, made without a map."""
    entries = [
        domain.entry(
            domain.name_hash(head.aggregate_type, head.aggregate_id),
            head.version,
            head.merkle_root,
        )
        for archived in (False, True)
        for head in eventlog.heads(view, archived=archived)
        if head.aggregate_type != AUDIT_TYPE
    ]
    return domain.summary_hash(domain.summarise(sorted(entries)))


class MapCase(WriterCase):
    """A map beside a writer."""

    def setUp(self) -> None:
        super().setUp()
        self.backend = MemoryStore()
        self.store = Store(self.backend, hop=synchronous())
        self.writer = self.make_writer()
        self.heads = HeadMap(self.store)
        self.steps(limits.MAP_STEP_EVENTS)

    def steps(self, events: int, size: int = limits.MAP_STEP_BYTES) -> None:
        """Take up no more than this at a time."""
        self.patch(limits, "MAP_STEP_EVENTS", events)
        self.patch(limits, "MAP_STEP_BYTES", size)

    def advanced(self, heads: HeadMap | None = None) -> headmap.Place:
        """Advance a map to the end of the log."""
        heads = heads or self.heads
        end = eventlog.end_position(self.store.view(), 0)
        place = self.successResultOf(Deferred.fromCoroutine(heads.advance_to(end)))
        self.assertEqual(place.position, end)
        return place

    def proof(self, identifier: str, heads: HeadMap | None = None) -> HeadProof:
        """Return the proof about an order, which must hold."""
        heads = heads or self.heads
        asked = Deferred.fromCoroutine(heads.prove(keys.name("order", identifier)))
        proof: HeadProof = self.successResultOf(asked)
        check_head("order", identifier, proof, heads.place.position, heads.place.root)
        return proof

    def faults(self) -> list[Fault]:
        """Return what verification of the map finds."""
        return [one for one in verify_head_map(self.store.view()) if isinstance(one, Fault)]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Change the store behind everybody's back."""

        def step(transaction: Transaction) -> None:
            if value is None:
                transaction.delete(key)
            else:
                transaction.put(key, value)

        self.successResultOf(self.store.transact(step))


class AdvanceTests(MapCase):
    """The map follows the log."""

    def test_an_append_writes_nothing_of_the_map(self) -> None:
        """Neither an append, nor a server that is never asked, writes a key of the map."""
        self.write(self.append())
        self.assertEqual([key for key, _ in self.everything() if key[:1] == b"m"], [])
        self.assertEqual(self.heads.lines(), ())
        self.assertEqual(self.heads.place, headmap.NOWHERE)
        self.assertEqual(self.faults(), [])

    def test_it_covers_what_was_written(self) -> None:
        """Root, position, count and the line for the checkpoint."""
        self.write(*[self.append(f"o-{number % 7}") for number in range(20)])
        place = self.advanced()
        self.assertEqual((place.position, place.aggregates), (20, 7))
        self.assertEqual(place.root, from_heads(self.store.view()))
        self.assertEqual(self.heads.lines(), (domain.heads_line(20, place.root),))
        self.assertEqual(self.faults(), [])

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4), st.booleans()), max_size=30),
           st.integers(1, 9))  # fmt: skip
    def test_any_history(self, history: list[tuple[int, int, bool]], step: int) -> None:
        """However it is cut in steps, the map is that of the heads, and proves each of them."""
        self.store = Store(MemoryStore(), hop=synchronous())
        self.writer = self.make_writer()
        self.heads = HeadMap(self.store)
        self.steps(step)
        for number, count, advance in history:
            self.write(*[self.append(f"o-{number}") for _ in range(count)])
            if advance:
                self.advanced()
        place = self.advanced()
        self.assertEqual(place.root, from_heads(self.store.view()))
        for head in eventlog.heads(self.store.view(), archived=False):
            proof = self.proof(head.aggregate_id)
            self.assertEqual((proof.version, proof.root), (head.version, head.merkle_root))
        for number in range(31, 35):
            self.assertEqual(self.proof(f"o-{number}").version, 0)
        again = HeadMap(self.store)
        self.assertEqual(again.place, place)
        self.assertEqual(self.proof("o-1", again), self.proof("o-1"))
        self.assertEqual(self.faults(), [])

    def test_a_step_is_bounded_by_what_it_writes(self) -> None:
        """Not by events alone: where buckets are large, fewer aggregates are taken up."""
        self.steps(1_000, 10 * domain.ENTRY_BYTES)
        self.write(*[self.append(f"o-{number}") for number in range(50)])
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.heads.advance())))
        self.assertEqual(self.heads.place.position, 10)
        self.advanced()
        self.assertEqual(self.faults(), [])

    def test_the_map_says_what_was_so_at_its_position(self) -> None:
        """Later events do not change it, nor what it proves, until it is advanced."""
        (first,) = self.write(self.append("o-1"))
        place = self.advanced()
        self.write(self.append("o-1"), self.append("o-2"))
        proof = self.proof("o-1")
        self.assertEqual((proof.version, proof.root), (1, first.event.merkle_root))
        self.assertEqual(self.proof("o-2").version, 0)
        self.assertEqual(self.heads.place, place)
        self.assertEqual(self.heads.behind, 2)
        self.assertEqual(self.faults(), [])

    def test_archiving_changes_nothing(self) -> None:
        """The head moves to another family; the map speaks of events."""
        self.write(self.append("o-1"), self.append("o-2"))
        place = self.advanced()
        for archived in (True, False):
            moved = self.writer.archive(
                "order",
                "o-1",
                archived=archived,
                comment=None,
                actor=None,
                render=lambda head: head,
            )
            self.successResultOf(moved)
            self.assertEqual(self.advanced(), place)
            self.assertEqual(self.faults(), [])
            self.assertEqual(self.proof("o-1").version, 1)
            self.assertEqual(self.advanced(HeadMap(self.store)), place)

    def test_erased_events_stay_in_the_map(self) -> None:
        """Their hashes are kept, so the map, a map made anew, and all proofs are as before."""
        self.write(*[self.append("o-1") for _ in range(3)], self.append("o-2"))
        place = self.advanced()
        proof = self.proof("o-1")
        name = keys.name("order", "o-1")
        for version in (1, 3):
            event = eventlog.load_event(self.store.view(), name, version)
            assert event is not None
            gone = event._replace(payload=b"", extensions=None, note=None, salt=b"", erased=True)
            self.put(keys.event(name, version), records.encode_event(gone))
            again = eventlog.load_event(self.store.view(), name, version)
            assert again is not None and again.erased
        self.assertEqual(self.faults(), [])
        self.assertEqual(self.proof("o-1", HeadMap(self.store)), proof)
        for key, _record in self.everything():
            if key[:1] == b"m":
                self.put(key, None)
        self.assertEqual(self.advanced(HeadMap(self.store)), place)

    def test_many_may_ask_at_once(self) -> None:
        """Those who ask while a step is on a thread wait for it, and all get what is right."""
        slow: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            slow.append((work, done))
            return done

        self.steps(3)
        self.write(*[self.append(f"o-{number}") for number in range(10)])
        self.heads.start(later)
        asked = [Deferred.fromCoroutine(self.heads.advance_to(10)) for _ in range(3)]
        asked_proof = Deferred.fromCoroutine(self.heads.prove(keys.name("order", "o-1")))
        while slow:
            work, done = slow.pop(0)
            done.callback(work())
        places = {self.successResultOf(one) for one in asked}
        self.assertEqual(places, {self.heads.place})
        self.assertEqual(self.heads.place.root, from_heads(self.store.view()))
        self.successResultOf(asked_proof)

    def test_a_stop_waits_for_the_step_under_way(self) -> None:
        """And nothing is begun after it."""
        slow: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def later(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            slow.append((work, done))
            return done

        self.write(self.append("o-1"))
        self.heads.start(later)
        asked = Deferred.fromCoroutine(self.heads.advance_to(1))
        stopped = Deferred.fromCoroutine(self.heads.stop())
        self.assertNoResult(stopped)
        while slow:
            work, done = slow.pop(0)
            done.callback(work())
        self.successResultOf(stopped)
        self.failureResultOf(asked, StorageError)
        self.assertEqual(headmap.load_place(self.store.view()), headmap.NOWHERE)

    def test_a_proof_between_a_commit_and_its_news(self) -> None:
        """Who is told of the same commit earlier than the map already gets the new map."""
        hop = Stepper(patient=True)
        self.write(self.append("o-1"))
        self.advanced()
        self.write(self.append("o-1"))
        self.store = Store(self.backend, hop=hop)
        self.heads = HeadMap(self.store)
        self.assertEqual(self.proof("o-1").version, 1)
        earlier = self.store.transact(lambda step: step.put(b"xother", b""))
        proofs: list[HeadProof] = []
        earlier.addCallback(lambda _none: proofs.append(self.proof("o-1")))
        advanced = Deferred.fromCoroutine(self.heads.advance_to(2))
        hop.turn()
        hop.settle()
        self.assertEqual(self.successResultOf(advanced), self.heads.place)
        self.assertEqual([proof.version for proof in proofs], [2])


class HungUp(MapCase):
    """Whoever asks may hang up at any time."""

    def test_while_a_step_is_committed(self) -> None:
        """The map goes on from where the step has brought it, whoever asks next."""
        self.write(*[self.append(f"o-{number}") for number in range(20)])
        self.steps(10)
        for settled in (False, True):
            hop = Stepper()
            heads = HeadMap(Store(self.backend, hop=hop))
            asking = Deferred.fromCoroutine(heads.advance_to(99))
            self.assertEqual(len(hop.underway), 1)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            if settled:
                hop.settle()
            others = [Deferred.fromCoroutine(heads.advance_to(99)) for _ in range(2)]
            hop.settle()
            for other in others:
                self.assertEqual(self.successResultOf(other), heads.place)
            self.assertEqual(heads.behind, 0)
            self.write(*[self.append(f"o-{number}") for number in range(15)])

    def test_while_the_map_is_dropped(self) -> None:
        """It is made anew, and nobody takes what was known before for the map."""
        self.write(*[self.append(f"o-{number}") for number in range(20)])
        self.advanced()
        hop = Stepper()
        heads = HeadMap(Store(self.backend, hop=hop))
        self.proof("o-1", heads)
        dropping = Deferred.fromCoroutine(heads.begin_again())
        dropping.cancel()
        self.failureResultOf(dropping, CancelledError)
        hop.settle()
        self.assertEqual(heads.place.position, 0)
        again = Deferred.fromCoroutine(heads.advance_to(20))
        hop.settle()
        self.assertEqual(self.successResultOf(again).position, 20)


class DamageTests(MapCase):
    """Whoever changes the map, or the store below it, is found out."""

    def setUp(self) -> None:
        super().setUp()
        self.write(*[self.append(f"o-{number % 40}") for number in range(100)])
        self.advanced()
        self.buckets = [pair for pair in self.everything() if pair[0].startswith(keys.MAP_BUCKET)]
        self.assertEqual(self.faults(), [])

    def named(self) -> set[str]:
        """Return the aggregates that the findings name."""
        return {fault.aggregate_id for fault in self.faults()} - {""}

    def bucket(self, identifier: str) -> tuple[bytes, list[bytes]]:
        """Return key and entries of the bucket of an order."""
        hashed = domain.name_hash("order", identifier)
        key = keys.map_bucket(0, headmap.bucket_of(hashed))
        return key, headmap.decode_bucket(self.store.view().get(key))

    def test_every_bit_of_a_bucket_counts(self) -> None:
        """Any byte flipped in any bucket, or in the row that says where the map is."""
        place = keys.map_place(0)
        row = self.store.view().get(place)
        assert row is not None
        for key, record in [*self.buckets[:3], (place, row)]:
            for at in range(len(record)):
                bent = bytearray(record)
                bent[at] ^= 1 << at % 8
                self.put(key, bytes(bent))
                self.assertNotEqual(self.faults(), [], f"byte {at} of {key!r}")
            self.put(key, record)
        self.assertEqual(self.faults(), [])

    def test_a_map_that_was_made_right_for_a_lie(self) -> None:
        """An entry with an older version and all hashes made again: the aggregate is named."""
        key, entries = self.bucket("o-7")
        event = eventlog.load_event(self.store.view(), keys.name("order", "o-7"), 1)
        assert event is not None
        hashed = domain.name_hash("order", "o-7")
        lie = domain.entry(hashed, 1, event.merkle_root)
        others = [one for one in entries if not one.startswith(hashed)]
        self.forge(key, sorted([*others, lie]), 0)
        self.assertEqual(self.named(), {"o-7"})
        self.assertEqual(len(self.faults()), 1)

    def test_an_entry_left_out(self) -> None:
        """The aggregate that the map hides is named."""
        key, entries = self.bucket("o-7")
        hashed = domain.name_hash("order", "o-7")
        self.forge(key, [one for one in entries if not one.startswith(hashed)], -1)
        self.assertEqual(self.named(), {"o-7"})

    def test_an_aggregate_taken_out_of_the_store(self) -> None:
        """Head and events are gone, the map has it still: it is named by the log."""
        name = keys.name("order", "o-7")
        self.put(keys.head(name, False), None)
        for version in range(1, 4):
            self.put(keys.event(name, version), None)
        self.assertEqual(self.named(), {"o-7"})

    def test_an_entry_of_nobody(self) -> None:
        """An aggregate that never was: nobody can be named, and the entry is told."""
        hashed = domain.name_hash("order", "nobody")
        key, entries = self.bucket("nobody")
        self.forge(key, sorted([*entries, domain.entry(hashed, 1, bytes(32))]), 1)
        self.assertEqual(self.named(), set())
        self.assertIn("1 entries", self.faults()[0].message)

    def test_a_map_ahead_of_its_log(self) -> None:
        """A log that was cut behind the map's back."""
        self.put(keys.log(0, 99), None)
        self.assertEqual(len(self.faults()), 1)
        self.assertIn("where the log does not reach", self.faults()[0].message)

    def test_a_damaged_map_is_not_used(self) -> None:
        """Neither for proofs, nor to be advanced."""
        self.put(self.buckets[0][0], None)
        self.write(self.append("o-1"))
        heads = HeadMap(self.store)
        asked = Deferred.fromCoroutine(heads.prove(keys.name("order", "o-1")))
        self.assertIn("damaged", str(self.failureResultOf(asked, StorageError).value))
        asked_on = Deferred.fromCoroutine(heads.advance_to(101))
        self.failureResultOf(asked_on, StorageError)
        self.assertEqual(heads.place.position, 100)

    def test_a_damaged_map_is_made_anew(self) -> None:
        """It is dropped, whatever is wrong with it, and made again from the log."""
        kept = [pair for pair in self.everything() if pair[0][:1] == b"m"]
        self.put(self.buckets[0][0], b"?")
        self.put(keys.map_place(0), b"?")
        heads = HeadMap(self.store)
        self.successResultOf(Deferred.fromCoroutine(heads.begin_again()))
        self.assertEqual([key for key, _ in self.everything() if key[:1] == b"m"], [])
        self.assertEqual((heads.lines(), heads.behind), ((), 100))
        self.advanced(heads)
        self.assertEqual([pair for pair in self.everything() if pair[0][:1] == b"m"], kept)
        self.assertEqual(self.proof("o-7", heads).version, 3)

    def test_a_gap_of_the_log_stops_the_map(self) -> None:
        """It goes up to there, and says so."""
        self.write(*[self.append(f"o-{number}") for number in range(3)])
        self.put(keys.log(0, 101), None)
        asked = Deferred.fromCoroutine(self.heads.advance_to(103))
        error = self.failureResultOf(asked, StorageError).value
        self.assertIn("no position 101", str(error))

    def test_an_event_changed_in_the_log_alone_stops_the_map(self) -> None:
        """A map is never made of events that were not committed there."""
        self.write(self.append("o-1"), self.append("o-2"))
        events = [self.store.view().get(keys.event(keys.name("order", one), 1)) for one in ("o-3",)]
        self.put(keys.event(keys.name("order", "o-2"), 4), events[0])
        asked = Deferred.fromCoroutine(self.heads.advance_to(102))
        self.assertIn("order::o-2", str(self.failureResultOf(asked, StorageError).value))

    def test_verification_in_pages(self) -> None:
        """However often it is gone on with, on later views and a later map, it finds the same."""
        hashed = domain.name_hash("order", "nobody")
        key, entries = self.bucket("nobody")
        self.forge(key, sorted([*entries, domain.entry(hashed, 1, bytes(32))]), 1)
        self.heads = HeadMap(self.store)
        task = Task(Views({}), "default")
        findings: list[Finding] = []
        place: Place | None = START
        pages = 0
        while place is not None:
            page = read_page(self.store.view(), task, place, aggregates_max=7, bytes_max=100)
            findings += [one for one in page.findings if "head map" in one.record]
            place, pages = page.next, pages + 1
            self.assertLess(pages, 5_000, place)
            if pages % 5 == 0:
                self.write(self.append(f"o-{pages}"))
                self.advanced()
        self.assertGreater(pages, 50)
        (found,) = findings
        self.assertIn("1 entries", found.message)

    def test_long_timelines_beside_short_ones(self) -> None:
        """Each is held against its entry, at any length, also as it was before later events."""
        for count in (1, 15, 16, 17, 40):
            self.write(*[self.append(f"long-{count}") for _ in range(count)])
        self.advanced()
        self.assertEqual(self.faults(), [])
        for count in (1, 15, 16, 17, 40):
            self.write(*[self.append(f"long-{count}") for _ in range(count)])
        self.assertEqual(self.faults(), [])
        self.patch(headchecks, "EVENTS_READ", 2)
        self.assertEqual(self.faults(), [])
        for number in (1, 15, 16, 17, 40):
            key, entries = self.bucket(f"long-{number}")
            hashed = domain.name_hash("order", f"long-{number}")
            self.forge(key, [one for one in entries if not one.startswith(hashed)], -1)
        self.assertEqual(self.named(), {f"long-{number}" for number in (1, 15, 16, 17, 40)})

    def forge(self, key: bytes, entries: list[bytes], count: int) -> None:
        """Put another bucket, and make the rest of the map right for it."""
        self.put(key, headmap.encode_bucket(entries) if entries else None)
        place = headmap.load_place(self.store.view())
        top = headmap.Top()
        top.place = place
        summaries = {
            keys.map_bucket_number(one): headmap.summary_of(record)
            for one, record in self.everything()
            if one.startswith(keys.MAP_BUCKET)
        }
        root = domain.summary_hash(top.changed(summaries)[1])
        after = headmap.Place(place.position, place.aggregates + count, root)
        step = headmap.Step(place, after, {}, {})
        self.assertTrue(self.successResultOf(self.store.transact(step.put)))
        self.assertEqual(headmap.load_top(self.store.view()).place, after)
