"""Checkpoints of a domain: what they say, who shares them, what is never signed."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.application.checkpointing import Checkpoints, Signed
from eventdbx.domain import merkle
from eventdbx.domain.checkpoints import Trust, check_checkpoint, cosign, parse_checkpoint
from eventdbx.domain.commands import Write
from eventdbx.domain.notes import Note, NoteError, Signature
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.checkpointing import checkpoints
from eventdbx.storage.eventlog import log_entries
from eventdbx.storage.store import Store
from tests.application.test_writer import WriterCase
from tests.domain.signers import witness_key
from tests.storage.stepper import FaultyStore, Stepper

SIGNER = Signer("example.org/db", b"\x07" * 32)
WITNESS, WITNESS_SIGN = witness_key("witness.example/w", b"\x08" * 32)


class CheckpointCase(WriterCase):
    """A writer on a memory store, and the checkpoints of it."""

    def setUp(self) -> None:
        super().setUp()
        self.signatures = 0
        self.checkpoints = self.make()

    def make(self, past: bytes | None = None) -> Checkpoints:
        """Return the checkpoints as after a restart."""

        def copy(partition: int) -> bytes | None:
            return None if partition else past

        return Checkpoints(self.store, "default", self.signer, past=copy)

    def signer(self) -> Signer:
        """Return a signer whose signatures are counted."""
        case = self

        class Counting(Signer):
            def sign(self, message: bytes) -> bytes:
                case.signatures += 1
                return super().sign(message)

        return Counting("example.org/db", b"\x07" * 32)

    def events(self, count: int) -> None:
        """Commit events."""
        for number in range(count):
            self.write(Write("create", "order", f"o-{self.size}-{number}", "made", "{}"))

    @property
    def size(self) -> int:
        """How many events there are."""
        return len(self.leaves())

    def leaves(self) -> list[bytes]:
        """Return the leaves of the log."""
        return [entry.leaf for _at, entry in log_entries(self.store.view(), 0, start=0)]

    def check(self, note: Note) -> int:
        """Check a note from the events alone; return its size."""
        key = self.checkpoints.key()
        checkpoint = check_checkpoint(note, Trust(key.name, (key,)), verify).checkpoint
        self.assertEqual(checkpoint.root, merkle.root_of(self.leaves()[: checkpoint.size]))
        return checkpoint.size


class Making(CheckpointCase):
    """What is signed, and when."""

    def test_every_size(self) -> None:
        """A checkpoint has size and root of the log; it is stored, and found after a restart."""
        for size in range(40):
            note = self.successResultOf(self.checkpoints.cover(size))
            self.assertEqual(self.check(note), size)
            self.assertEqual(self.make().newest(), self.checkpoints.newest())
            self.events(1)
        self.assertEqual(
            [one.size for one in checkpoints(self.store.view(), 0)], [*range(39, -1, -1)]
        )

    def test_nothing_new(self) -> None:
        """Whoever asks for what is covered gets what there is; nothing is signed again."""
        self.events(5)
        first = self.successResultOf(self.checkpoints.renew())
        for _ in range(10):
            self.assertEqual(self.successResultOf(self.checkpoints.renew()), first)
            self.assertEqual(self.successResultOf(self.checkpoints.cover(3)), first)
        self.assertFalse(self.checkpoints.grown())
        self.assertEqual(self.signatures, 1)

    def test_beyond_the_log(self) -> None:
        """A size that the log does not have cannot be covered."""
        self.events(2)
        self.failureResultOf(self.checkpoints.cover(3), StorageError)
        self.assertEqual(self.check(self.successResultOf(self.checkpoints.cover(2))), 2)

    def test_extension_lines(self) -> None:
        """New lines below the root are a reason for a new checkpoint of the same size."""
        self.events(3)
        self.successResultOf(self.checkpoints.renew())
        self.checkpoints.extensions = lambda: ("heads 3 abc",)
        self.assertTrue(self.checkpoints.grown())
        note = self.successResultOf(self.checkpoints.renew())
        self.assertEqual(parse_checkpoint(note.text).extensions, ("heads 3 abc",))
        self.assertEqual(self.check(note), 3)
        self.assertEqual(len(self.checkpoints.listed(5)), 1)

    def test_no_key(self) -> None:
        """Without a key there is an error that says what to configure; the trouble is kept."""

        def missing() -> Signer:
            raise ConfigError("checkpoints need a key")

        unsigned = Checkpoints(self.store, "default", missing)
        self.failureResultOf(unsigned.cover(0), ConfigError)
        self.assertIn("need a key", unsigned.problem or "")

    def test_another_origin_or_key(self) -> None:
        """Under another origin, or with another key, the log is signed anew, at whatever size."""
        self.events(5)
        self.successResultOf(self.checkpoints.renew())
        signers = Signer("example.org/new", b"\x07" * 32), Signer("example.org/new", bytes(32))
        for signer in signers:
            again = Checkpoints(self.store, "default", lambda signer=signer: signer)  # type: ignore[misc]
            self.assertIsNone(again.newest())
            note = self.successResultOf(again.cover(5))
            self.checkpoints = again
            self.assertEqual(self.check(note), 5)
            self.assertFalse(again.grown())

    def test_only_read(self) -> None:
        """A store that is only read gets a checkpoint, too, and is not written to."""
        self.events(4)
        before = self.everything()
        reading = Checkpoints(self.store, "default", lambda: SIGNER, keeps=False)
        self.assertEqual(self.check(self.successResultOf(reading.cover(4))), 4)
        self.assertEqual(self.everything(), before)

    def test_many_are_thinned(self) -> None:
        """With a checkpoint for each commit the store does not keep them all."""
        for _ in range(600):
            self.events(1)
            self.successResultOf(self.checkpoints.renew())
        kept = [one.size for one in checkpoints(self.store.view(), 0)]
        self.assertLess(len(kept), 500)
        self.assertEqual(kept[0], 600)


class Sharing(CheckpointCase):
    """Many who ask at once."""

    def setUp(self) -> None:
        super().setUp()
        self.events(9)
        self.stepper, self.backend = Stepper(), FaultyStore()
        self.backend.write(dict(self.everything()), sync=True)
        self.store = Store(self.backend, hop=self.stepper)
        self.checkpoints = self.make()

    def test_one_signature_for_all(self) -> None:
        """A hundred proofs of what one commit made durable share one signature and one write."""
        asked: list[Deferred[Note]] = [self.checkpoints.cover(size % 10) for size in range(100)]
        for one in asked:
            self.assertNoResult(one)
        self.stepper.settle()
        self.assertEqual(len({self.successResultOf(one) for one in asked}), 1)
        self.assertEqual(self.signatures, 1)
        self.assertEqual(self.backend.calls.count("write 1"), 1)

    def test_failed_write(self) -> None:
        """If it cannot be stored nobody gets it, and the reason is kept for health."""
        told: list[Signed] = []
        self.checkpoints.on_signed.append(lambda _partition, signed: told.append(signed))
        self.backend.write_error = StorageError("the disk is full")
        asked = [self.checkpoints.cover(9) for _ in range(3)]
        for one in asked:
            self.failureResultOf(one, StorageError)
        self.assertIn("the disk is full", self.checkpoints.problem or "")
        self.assertEqual(told, [])
        self.flushLoggedErrors()


class LookingBack(CheckpointCase):
    """A log that is not the one signed before."""

    def test_rolled_back(self) -> None:
        """A store that was put back to an older state is named, and nothing is signed over it."""
        self.events(5)
        older = self.store
        self.setUp()
        self.events(8)
        copy = self.successResultOf(self.checkpoints.renew()).encode()
        self.store = older
        again = self.make(copy)
        self.assertIn("has 5 events, and 8 were signed", again.look_back() or "")
        self.failureResultOf(again.cover(5), StorageError)
        self.assertIn("8 were signed", again.problem or "")

    def test_another_history(self) -> None:
        """A log with other events below the signed size is named."""
        self.events(8)
        copy = self.successResultOf(self.checkpoints.renew()).encode()
        self.setUp()
        self.write(Write("create", "order", "other", "made", "{}"))
        self.events(9)
        self.assertIn("not those that were signed", self.make(copy).look_back() or "")

    def test_what_proves_nothing(self) -> None:
        """A longer log of the same beginning, and notes of other keys or none, are no trouble."""
        self.events(8)
        copy = self.successResultOf(self.checkpoints.renew()).encode()
        self.events(3)
        forged = copy.replace(b"\n8\n", b"\n800\n")
        for past in (copy, None, b"no note", forged):
            self.assertIsNone(self.make(past).look_back())


class Cosigning(CheckpointCase):
    """Cosignatures of witnesses."""

    def setUp(self) -> None:
        super().setUp()
        self.events(6)
        self.note = self.successResultOf(self.checkpoints.renew())

    def cosignature(self, text: str = "", at: int = 1_700_000_000) -> Signature:
        """Return what the witness signs."""
        return cosign(text or self.note.text, WITNESS, at, WITNESS_SIGN)

    def test_stored_in_the_note(self) -> None:
        """A cosignature is in the note from then on, here and after a restart; a new one replaces
        the old one of its key."""
        for at in (1_700_000_000, 1_700_000_900):
            signature = self.cosignature(at=at)
            note = self.successResultOf(self.checkpoints.add_signatures(6, [signature], [WITNESS]))
            self.assertEqual(note.signatures, (self.note.signatures[0], signature))
            for found in (self.checkpoints.newest(), self.make().newest(), self.make().at(6)):
                self.assertEqual(found and found.note, note)

    def test_whoever_brought_it_hangs_up(self) -> None:
        """What has been stored is known here all the same."""
        hop, backend = Stepper(), FaultyStore()
        backend.write(dict(self.everything()), sync=True)
        here = Checkpoints(Store(backend, hop=hop), "default", self.signer)
        self.assertIsNone(here.witnessed())
        added = here.add_signatures(6, [self.cosignature()], [WITNESS])
        added.cancel()
        self.failureResultOf(added, CancelledError)
        hop.settle()
        newest = here.newest()
        self.assertEqual(newest and len(newest.note.signatures), 2)
        self.assertEqual(here.witnessed(), newest)

    def test_replaced_by_one_of_the_same_size(self) -> None:
        """A cosignature is one of a text: with other lines below the root it has to come again."""
        self.successResultOf(self.checkpoints.add_signatures(6, [self.cosignature()], [WITNESS]))
        witnessed = self.checkpoints.witnessed()
        self.assertEqual(witnessed and witnessed.size, 6)
        self.checkpoints.extensions = lambda: ("heads 6 abc",)
        note = self.successResultOf(self.checkpoints.renew())
        self.assertIsNone(self.checkpoints.witnessed())
        again = cosign(note.text, WITNESS, 1_700_000_001, WITNESS_SIGN)
        self.successResultOf(self.checkpoints.add_signatures(6, [again], [WITNESS]))
        self.assertEqual(self.checkpoints.witnessed(), self.checkpoints.newest())

    def test_refused(self) -> None:
        """Strangers, other texts, other sizes: refused, and nothing has changed."""
        good = self.cosignature()
        spoiled = Signature(good.name, good.key_id, good.value[:-1] + b"\x00")
        other = self.cosignature(self.note.text.replace("6", "7", 1))
        before = self.everything()
        for size, lines, witnesses in (
            (6, [good], []),
            (6, [], [WITNESS]),
            (5, [good], [WITNESS]),
            (6, [spoiled], [WITNESS]),
            (6, [other], [WITNESS]),
            (6, [good, spoiled], [WITNESS]),
            (6, [self.note.signatures[0]], [WITNESS]),
        ):
            added = self.checkpoints.add_signatures(size, lines, witnesses)
            self.failureResultOf(added, NoteError)
        self.assertEqual(self.everything(), before)
