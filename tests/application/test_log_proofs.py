"""Proofs over what the writer writes: the log at a checkpoint, with the reads that they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors
from eventdbx.application import proving
from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.application.checkpointing import Checkpoints
from eventdbx.application.domains import Domain
from eventdbx.application.proving import Proving
from eventdbx.application.schemas import Catalogue
from eventdbx.domain import merkle, proofs
from eventdbx.domain.checkpoints import Checkpoint, Trust, parse_checkpoint, sign_checkpoint
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Event
from eventdbx.domain.notes import Note, from_base64, parse_note
from eventdbx.domain.tlogproofs import TlogProof, check_tlog_proof, parse_tlog_proof
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous
from tests.application.test_writer import WriterCase

SIGNER = Signer("example.org/log", bytes(range(32)))
KEY = SIGNER.log_key("default")
TRUST = Trust(KEY.name, (KEY,))


def leaf_of(extra: bytes) -> bytes:
    """Return the leaf hash that the extra data of a proof lead to."""
    return merkle.leaf_hash(extra[17:])


def now(work: Any) -> Any:
    return succeed(work())


class ProvingCase(WriterCase):
    """A domain with some events of three aggregates."""

    def setUp(self) -> None:
        super().setUp()
        self.checkpoints = Checkpoints(self.store, "default", lambda: SIGNER)
        schemas = Catalogue(self.store, clock_ns=self.clock)
        self.domain = Domain(
            "default", self.store, self.writer, schemas, checkpoints=self.checkpoints
        )
        self.proving = Proving(self.domain, now)
        self.events = [self.add(number) for number in range(21)]

    def add(self, number: int) -> Event:
        """Write one more event and return it."""
        done = self.write(Write("append", "order", f"o-{number % 3}", "made", f'{{"n":{number}}}'))
        return done[0].event

    def proof(self, event: Event, **options: Any) -> TlogProof:
        """Return the proof of an event, read back from its text."""
        made = self.successResultOf(self.proving.event(event, **options))
        return parse_tlog_proof(made.encode())


class EventProofs(ProvingCase):
    """One event in the log."""

    def test_each_event(self) -> None:
        """Every event is proven, at its place in the order of the commits, to who has the key."""
        for position, event in enumerate(self.events):
            proof = self.proof(event)
            self.assertEqual(proof.index, position)
            self.assertEqual(proof.extra, b"\x01" + event.salt + event.leaf)
            checked = check_tlog_proof(proof, leaf_of(proof.extra), TRUST, verify)
            self.assertEqual(checked.checkpoint.size, len(self.events))

    def test_signs_only_for_what_no_checkpoint_covers(self) -> None:
        """A checkpoint is signed for an event that none covers, and serves for all before it."""
        first = self.proof(self.events[0]).note
        self.add(21)
        self.assertEqual(self.proof(self.events[20]).note, first)
        later = self.add(22)
        self.assertEqual(parse_checkpoint(self.proof(later).note.text).size, 23)

    def test_at_a_stored_checkpoint(self) -> None:
        """Who keeps a checkpoint gets the proof under that one; one that is too old is refused."""
        kept = self.proof(self.events[3]).note
        later = self.add(21)
        self.assertNotEqual(self.proof(later).note, kept)
        self.assertEqual(self.proof(self.events[3], size=21).note, kept)
        for size, refusal in ((20, errors.UnknownName), (1 << 63, errors.UnknownName)):
            self.failureResultOf(self.proving.event(self.events[3], size=size), refusal)
        failed = self.failureResultOf(self.proving.event(later, size=21), errors.ConfigError)
        self.assertIn("older than the event", str(failed.value))

    def test_without_salt(self) -> None:
        """A proof holds without the salt, too; only the content cannot be compared with it."""
        proof = self.proof(self.events[5], salted=False)
        self.assertEqual(proof.extra[1:17], bytes(16))
        check_tlog_proof(proof, leaf_of(proof.extra), TRUST, verify)

    def test_erased(self) -> None:
        """An erased event is proven as before: its leaf is there, salt and content are not."""
        erased = self.events[6]._replace(erased=True, salt=b"", payload=b"null", note=None)
        proof = self.proof(erased)
        self.assertEqual(proof.extra, b"\x01" + bytes(16) + erased.leaf)
        check_tlog_proof(proof, leaf_of(proof.extra), TRUST, verify)
        self.assertEqual(proof.hashes, self.proof(self.events[6]).hashes)

    def test_event_that_the_log_does_not_have(self) -> None:
        """Nothing is proven of an event that is stored otherwise than it was logged."""
        changed = self.events[4]._replace(hash=bytes(32))
        self.failureResultOf(self.proving.event(changed), errors.StorageError)
        unknown = self.events[4]._replace(event_id=self.events[4].event_id + 1)
        self.failureResultOf(self.proving.event(unknown), errors.StorageError)

    def test_stored_event(self) -> None:
        """Versions that are not there are told from aggregates that are not."""
        view = self.store.view()
        self.assertEqual(proving.stored_event(view, "order", "o-1", 2), self.events[4])
        for version in (0, 8, (1 << 64) - 1, 1 << 64):
            error = self.assertRaises(
                errors.UnknownName, proving.stored_event, view, "order", "o-1", version
            )
            self.assertIn("the last is v7", str(error))
        self.assertRaises(errors.AggregateNotFound, proving.stored_event, view, "order", "none", 1)


class LogConsistency(ProvingCase):
    """One checkpoint as the beginning of another."""

    def check(self, document: dict[str, Any]) -> tuple[int, int]:
        """Check a document as somebody would who has only the key; return the sizes."""
        self.assertEqual(
            (document["format"], document["kind"]), ("eventdbx-proof/1", "log-consistency")
        )
        first, second = (
            parse_checkpoint(parse_note(document[one].encode()).text) for one in ("first", "second")
        )
        hashes = [from_base64(one, "a hash") for one in document["hashes"]]
        proofs.check_consistency(first.size, first.root, second.size, second.root, hashes)
        return first.size, second.size

    def test_between_stored_checkpoints(self) -> None:
        """A checkpoint is shown to be the beginning of every later one."""
        self.proof(self.events[0])
        sizes = [21]
        for number in range(21, 40):
            self.proof(self.add(number))
            sizes.append(number + 1)
        for at, first in enumerate(sizes):
            for second in sizes[at:]:
                made = self.successResultOf(self.proving.log_consistency(first, second))
                self.assertEqual(self.check(made), (first, second))
        newest = self.successResultOf(self.proving.log_consistency(21))
        self.assertEqual(self.check(newest), (21, 40))

    def test_own_checkpoint(self) -> None:
        """A checkpoint that somebody kept is proven though the store has forgotten it."""
        view = self.store.view()
        root = proofs.tree_root(eventlog.log_nodes(view, 0), 5)
        own = sign_checkpoint(Checkpoint(KEY.name, 5, root), KEY, SIGNER.sign)
        self.failureResultOf(self.proving.log_consistency(5), errors.UnknownName)
        made = self.successResultOf(self.proving.log_consistency(own))
        self.assertEqual(self.check(made), (5, 21))

    def test_split_view_shows(self) -> None:
        """A checkpoint with another history gets no proof that holds."""
        forged = sign_checkpoint(Checkpoint(KEY.name, 5, bytes(32)), KEY, SIGNER.sign)
        made = self.successResultOf(self.proving.log_consistency(forged))
        self.assertRaises(proofs.ProofError, self.check, made)

    def test_what_is_no_beginning(self) -> None:
        """Sizes in the wrong order, none at all, or beyond the end are refused."""
        self.proof(self.events[0])

        def own(size: int) -> Note:
            return sign_checkpoint(Checkpoint(KEY.name, size, bytes(32)), KEY, SIGNER.sign)

        for first, second in ((0, 21), (own(0), 21), (22, 21), (own(30), None), (21, own(1 << 62))):
            failed = self.failureResultOf(self.proving.log_consistency(first, second))
            self.assertIsInstance(failed.value, errors.EventDBXError, (first, second))


class Counted:
    """A view that counts what is read."""

    def __init__(self, view: IReadView) -> None:
        self._view = view
        self.gets = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the value, counted."""
        self.gets += 1
        return self._view.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is there, not counted: nothing but places where ids begin to grow anew."""
        assert start.startswith(keys.LOG_RUN)
        return self._view.scan(start, stop)


EVENTS = 100_000


class Reads(SynchronousTestCase):
    """What a proof costs in a store of 100,000 events, by point reads and nothing else."""

    def setUp(self) -> None:
        self.store = Store(MemoryStore(), hop=synchronous())
        leaf = merkle.leaf_hash
        edge: merkle.Range = ()
        changes: dict[bytes, bytes | None] = {}
        for position in range(EVENTS):
            hashed = leaf(b"%d" % position)
            edge, nodes = merkle.grown(edge, position, hashed)
            key = keys.event(keys.name("order", "o-1"), position + 1)
            entry = records.LogEntry(1_000 + 2 * position, key, hashed, nodes)
            changes[keys.log(0, position)] = records.encode_log(entry)
        changes[keys.tail(0)] = records.encode_tail(records.Tail(EVENTS, 1_000 + 2 * EVENTS))
        backend = MemoryStore()
        backend.write(changes, sync=False)
        self.view = backend.view()
        self.note = sign_checkpoint(
            Checkpoint(KEY.name, EVENTS, merkle.root(edge)), KEY, SIGNER.sign
        )

    def event(self, position: int) -> Event:
        """Return what of an event its proof needs."""
        data = b"%d" % position
        return Event(
            "order", "o-1", "made", None, b"{}", None, 1_000 + 2 * position, 0, None, None,
            position + 1, bytes(16), merkle.leaf_hash(data), bytes(32), data,
        )  # fmt: skip

    def test_event(self) -> None:
        """The place of an event costs log2 n + 2 reads at most, its proof 2 log2 n + 1."""
        bits = EVENTS.bit_length()
        for position in (0, 1, 49_999, 65_535, 65_536, 98_303, 99_998, 99_999):
            view: Any = Counted(self.view)
            event = self.event(position)
            self.assertEqual(proving.position_of(view, event), position)
            self.assertLessEqual(view.gets, bits + 2)
            view.gets = 0
            proof = proving.log_proof(view, event, position, self.note)
            self.assertLessEqual(view.gets, 2 * bits + 1)
            check_tlog_proof(proof, leaf_of(proof.extra), TRUST, verify)

    def test_consistency(self) -> None:
        """So does the proof of a beginning."""
        bits = EVENTS.bit_length()
        for first in (1, 2, 3, 49_999, 65_536, 65_537, 99_999, 100_000):
            root = proofs.tree_root(eventlog.log_nodes(self.view, 0), first)
            begun = sign_checkpoint(Checkpoint(KEY.name, first, root), KEY, SIGNER.sign)
            view: Any = Counted(self.view)
            made = proving.log_consistency(view, begun, self.note)
            self.assertLessEqual(view.gets, 3 * bits)
            hashes = [from_base64(one, "a hash") for one in made["hashes"]]
            checkpoint = parse_checkpoint(self.note.text)
            proofs.check_consistency(first, root, EVENTS, checkpoint.root, hashes)


class Size(SynchronousTestCase):
    """How large a proof is."""

    def test_a_million_events(self) -> None:
        """The proof of an event with long names, in a log of 2^20 events, is below 2 KB."""
        size = 1 << 20

        def nodes(level: int, index: int) -> bytes:
            return merkle.leaf_hash(b"%d/%d" % (level, index))

        note = sign_checkpoint(
            Checkpoint(KEY.name, size, bytes(32), ("heads 1048576 " + "A" * 43 + "=",)),
            KEY,
            SIGNER.sign,
        )
        extra = b"\x01" + bytes(16) + bytes(57) + b"n" * 80 + b"\x00" * 60
        hashes = tuple(proofs.inclusion_proof(nodes, 777_777, size))
        encoded = TlogProof(777_777, hashes, note, extra).encode()
        self.assertEqual(len(hashes), 20)
        self.assertLess(len(encoded), 2_000)
