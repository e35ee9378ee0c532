"""Being a witness, by the rules of C2SP tlog-witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.application.witnessing import SIZE, Reply, Witness
from eventdbx.domain.checkpoints import Checkpoint, check_cosignatures, sign_checkpoint
from eventdbx.domain.merkle import EMPTY_ROOT, leaf_hash, root_of
from eventdbx.domain.notes import Note, Sign, parse_signatures, sign_note
from eventdbx.domain.proofs import consistency_proof
from eventdbx.domain.witnessing import Submission
from eventdbx.errors import IoError
from tests.domain.signers import log_key, nodes_over

LOG, SIGN = log_key("example.org/log", b"\x01" * 32)
OTHER, OTHER_SIGN = log_key("example.org/other", b"\x02" * 32)
STRANGER, STRANGER_SIGN = log_key("example.org/log", b"\x03" * 32)
LEAVES = [leaf_hash(bytes((number,))) for number in range(40)]
SIGNER = Signer("witness.example", b"\x07" * 32)
NOW = 1_700_000_000


class KeptInMemory:
    """A memory that tells what was kept, and fails when told."""

    def __init__(self) -> None:
        self.seen: Mapping[str, Checkpoint] = {}
        self.error: IoError | None = None

    def read(self) -> Mapping[str, Checkpoint]:
        if self.error is not None:
            raise self.error
        return self.seen

    def keep(self, seen: Mapping[str, Checkpoint]) -> None:
        if self.error is not None:
            raise self.error
        self.seen = seen


def state(size: int, origin: str = LOG.name, leaves: list[bytes] = LEAVES) -> Checkpoint:
    """Return what the log says of its first entries."""
    return Checkpoint(origin, size, root_of(leaves[:size]))


def request(old: int, size: int, sign: Sign = SIGN, proof: list[bytes] | None = None) -> bytes:
    """Return the request of a log that grew."""
    if proof is None:
        proof = consistency_proof(nodes_over(LEAVES), old, size) if old else []
    return Submission(old, tuple(proof), sign_checkpoint(state(size), LOG, sign)).encode()


class WitnessCase(SynchronousTestCase):
    """A witness of two logs."""

    def setUp(self) -> None:
        self.memory = KeptInMemory()
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.slow = False
        self.witness = self.make()

    def make(self) -> Witness:
        """Return the witness as after a restart."""
        return Witness(
            lambda: [LOG, OTHER],
            lambda: SIGNER,
            self.memory,
            run_slowly=self.run_slowly,
            seconds=lambda: NOW,
        )

    def run_slowly(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Work at once, or when the test says so."""
        if not self.slow:
            return execute(work)
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def go_on(self) -> None:
        """Do the oldest work that waits."""
        work, done = self.waiting.pop(0)
        execute(work).chainDeferred(done)

    def asked(self, raw: bytes) -> Deferred[Reply]:
        """Send a request."""
        return Deferred.fromCoroutine(self.witness.add_checkpoint(raw))

    def ask(self, raw: bytes) -> Reply:
        """Return the answer to a request."""
        return self.successResultOf(self.asked(raw))

    def cosigned(self, raw: bytes, size: int) -> None:
        """Check that a request is answered with a cosignature that holds."""
        reply = self.ask(raw)
        self.assertEqual(reply.status, 200, reply.body)
        text = state(size).text()
        note = Note(text, parse_signatures(reply.body))
        self.assertEqual(
            check_cosignatures(note, [SIGNER.witness_key], verify), {SIGNER.witness_key: NOW}
        )
        self.assertEqual(self.memory.seen[LOG.name], state(size))


class Rules(WitnessCase):
    """Each rule with the status that the standard has for it."""

    def test_growing(self) -> None:
        """A log that grows is cosigned again and again, also when the same tree comes again."""
        for old, size in ((0, 0), (0, 1), (1, 7), (7, 7), (7, 8), (8, 40)):
            self.cosigned(request(old, size), size)
        self.witness = self.make()
        self.cosigned(request(40, 40), 40)

    def test_another_old_size(self) -> None:
        """After another size the answer is 409 and says which; it has a type of its own."""
        self.cosigned(request(0, 9), 9)
        for old, size in ((0, 9), (0, 20), (8, 20), (10, 20), (0, 3)):
            self.assertEqual(self.ask(request(old, size)), Reply(409, b"9\n", SIZE))
        self.assertEqual(self.memory.seen[LOG.name].size, 9)

    def test_from_the_start_without_having_seen_it(self) -> None:
        """A log that was never seen has size 0."""
        self.assertEqual(self.ask(request(5, 9)), Reply(409, b"0\n", SIZE))

    def test_another_root_of_one_size(self) -> None:
        """Another tree of the same size is a conflict."""
        self.cosigned(request(0, 9), 9)
        forked = Checkpoint(LOG.name, 9, bytes(32))
        raw = Submission(9, (), sign_checkpoint(forked, LOG, SIGN)).encode()
        self.assertEqual(self.ask(raw), Reply(409, b"9\n", SIZE))
        self.assertEqual(self.memory.seen[LOG.name], state(9))

    def test_proofs_that_do_not_hold(self) -> None:
        """A fork, a proof that is wrong, and one where none belongs: 422."""
        self.assertEqual(self.ask(request(0, 9, proof=[bytes(32)])).status, 422)
        self.cosigned(request(0, 9), 9)
        good = consistency_proof(nodes_over(LEAVES), 9, 20)
        for proof in ([], good[:-1], [*good, bytes(32)], [bytes(32), *good[1:]]):
            self.assertEqual(self.ask(request(9, 20, proof=proof)).status, 422)
        others = [leaf_hash(bytes((number, 1))) for number in range(40)]
        forked = sign_checkpoint(state(20, leaves=others), LOG, SIGN)
        fork = tuple(consistency_proof(nodes_over(others), 9, 20))
        self.assertEqual(self.ask(Submission(9, fork, forked).encode()).status, 422)
        self.assertEqual(self.memory.seen[LOG.name], state(9))

    def test_unknown_log(self) -> None:
        """A log that is not witnessed here gets 404, whoever signed."""
        key, sign = log_key("example.org/unknown", b"\x01" * 32)
        note = sign_checkpoint(Checkpoint(key.name, 0, EMPTY_ROOT), key, sign)
        self.assertEqual(self.ask(Submission(0, (), note).encode()).status, 404)

    def test_who_signed(self) -> None:
        """Without a signature of a key of this log the answer is 403; others beside it are fine."""
        text = state(4).text()
        stranger = sign_note(text, STRANGER, STRANGER_SIGN)
        other = sign_note(text, OTHER, OTHER_SIGN)
        good = sign_note(text, LOG, SIGN)
        spoiled = Note(state(5).text(), good.signatures)
        for note in (stranger, other, spoiled):
            self.assertEqual(self.ask(Submission(0, (), note).encode()).status, 403)
        self.assertEqual(self.memory.seen, {})
        both = stranger.signed_by(*other.signatures, *good.signatures)
        self.cosigned(Submission(0, (), both).encode(), 4)

    def test_malformed(self) -> None:
        """What is no request, and an old size beyond the new one: 400."""
        for raw in (b"", b"old 1\n", request(0, 4)[:-1], b"new" + request(0, 4)[3:]):
            self.assertEqual(self.ask(raw).status, 400)
        self.assertEqual(self.ask(request(0, 4).replace(b"old 0", b"old 5")).status, 400)

    def test_logs_do_not_meet(self) -> None:
        """Each log has a size of its own."""
        self.cosigned(request(0, 9), 9)
        note = sign_checkpoint(state(4, OTHER.name), OTHER, OTHER_SIGN)
        self.assertEqual(self.ask(Submission(0, (), note).encode()).status, 200)
        self.assertEqual({one: at.size for one, at in self.memory.seen.items()},
                         {LOG.name: 9, OTHER.name: 4})  # fmt: skip


class Keeping(WitnessCase):
    """What was seen is kept first, and never gets less."""

    def test_nothing_is_cosigned_before_it_is_kept(self) -> None:
        """The answer waits for the disk; without the disk there is none."""
        self.slow = True
        asked = self.asked(request(0, 9))
        self.go_on()  # What was seen before is read.
        self.assertNoResult(asked)
        self.assertEqual(self.memory.seen, {})
        self.go_on()
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.slow = False
        self.memory.error = IoError("the disk is full")
        self.failureResultOf(self.asked(request(9, 20)), IoError)
        self.memory.error = None
        self.cosigned(request(9, 12), 12)

    def test_same_tree_again(self) -> None:
        """A tree that was cosigned is cosigned again without touching the disk."""
        self.cosigned(request(0, 9), 9)
        self.memory.error = IoError("the disk is full")
        self.cosigned(request(9, 9), 9)

    def test_two_at_once(self) -> None:
        """Of two that grow from the same size only one is cosigned: the race of the standard."""
        self.cosigned(request(0, 9), 9)
        self.slow = True
        first, second = self.asked(request(9, 30)), self.asked(request(9, 20))
        self.assertEqual(len(self.waiting), 1)
        self.go_on()
        self.assertEqual(self.successResultOf(first).status, 200)
        self.assertEqual(self.successResultOf(second), Reply(409, b"30\n", SIZE))
        self.assertEqual(self.memory.seen[LOG.name].size, 30)

    def test_who_hangs_up(self) -> None:
        """A client that goes away does not let the next one pass by what is being written."""
        self.cosigned(request(0, 9), 9)
        self.slow = True
        first, second = self.asked(request(9, 30)), self.asked(request(9, 20))
        first.cancel()
        self.failureResultOf(first)
        self.assertNoResult(second)
        self.go_on()
        self.assertEqual(self.successResultOf(second), Reply(409, b"30\n", SIZE))

    def test_memory_that_cannot_be_read(self) -> None:
        """A witness that does not know what it has seen says nothing."""
        self.memory.error = IoError("damaged")
        self.failureResultOf(self.asked(request(0, 9)), IoError)
        self.memory.error = None
        self.cosigned(request(0, 9), 9)

    def test_too_many_wait(self) -> None:
        """Requests that wait are bounded."""
        self.slow = True
        asked = [self.asked(request(0, 9)) for _ in range(limits.WITNESS_REQUESTS_WAITING_MAX + 1)]
        self.assertEqual(self.ask(request(0, 9)).status, 503)
        self.slow = False
        while self.waiting:
            self.go_on()
        self.assertEqual([self.successResultOf(one).status for one in asked[:2]], [200, 409])
