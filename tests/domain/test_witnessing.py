"""Requests to witnesses, held against the standard's example."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.checkpoints import Checkpoint, sign_checkpoint
from eventdbx.domain.merkle import EMPTY_ROOT, leaf_hash, root_of
from eventdbx.domain.notes import NoteError
from eventdbx.domain.proofs import ProofError, consistency_proof
from eventdbx.domain.witnessing import OtherSize, Submission, check_submission, parse_submission
from tests.domain.signers import log_key, nodes_over

# The example of C2SP tlog-witness.
SPEC = (
    "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n"
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V626"
    "7UEjw6QUXTS5Rovnzv++qbSzm9Q=\n"
)
LOG, SIGN = log_key("example.org/log", b"\x01" * 32)
LEAVES = [leaf_hash(bytes((number,))) for number in range(40)]


def state(size: int) -> Checkpoint:
    """Return the checkpoint of the log when it had so many entries."""
    return Checkpoint(LOG.name, size, root_of(LEAVES[:size]))


def request(old: int, size: int) -> Submission:
    """Return the request of a log that grew."""
    proof = consistency_proof(nodes_over(LEAVES), old, size) if old else []
    return Submission(old, tuple(proof), sign_checkpoint(state(size), LOG, SIGN))


class Requests(SynchronousTestCase):
    """What is asked."""

    def test_example_of_the_standard(self) -> None:
        """The example is read, and written as it was."""
        submission = parse_submission(SPEC.encode())
        self.assertEqual((submission.old, len(submission.hashes)), (20852014, 4))
        self.assertEqual(submission.checkpoint.size, 20852163)
        self.assertEqual(len(submission.note.signatures), 2)
        self.assertEqual(submission.encode().decode(), SPEC)

    def test_malformed_requests(self) -> None:
        """A request that differs from the form is refused."""
        head, _, note = SPEC.partition("\n\n")
        old, one, *rest = head.split("\n")
        for lines in (
            (),
            (one, *rest),
            ("old", one),
            ("old 020852014", one),
            ("old -1", one),
            ("old 20852164", one),
            (f"old {1 << 64}", one),
            ("Old 1", one),
            (old, one[:-1]),
            (old, one[4:]),
            (old, *[one] * (limits.PROOF_HASHES_MAX + 1)),
        ):
            with self.assertRaises(NoteError, msg=lines):
                parse_submission("\n".join((*lines, "", note)).encode())
        for raw in (b"", head.encode(), f"{head}\n{note}".encode(), SPEC.encode() + b"\xff"):
            with self.assertRaises(NoteError):
                parse_submission(raw)
        for end in range(len(SPEC.encode())):
            cut = SPEC.encode()[:end]
            try:
                whole_lines = parse_submission(cut).encode()
            except NoteError:
                continue
            self.assertEqual(whole_lines, SPEC[: SPEC.rindex("—")].encode())

    def test_the_largest_request_can_be_read(self) -> None:
        """The bound leaves room for the largest note behind the longest proof."""
        size = len(f"old {limits.TREE_SIZE_MAX}\n\n") + 45 * limits.PROOF_HASHES_MAX
        self.assertLess(size + limits.NOTE_BYTES_MAX, limits.WITNESS_REQUEST_BYTES_MAX)
        with self.assertRaisesRegex(NoteError, "exceeds"):
            parse_submission(bytes(limits.WITNESS_REQUEST_BYTES_MAX + 1))


class Answers(SynchronousTestCase):
    """What a witness may cosign."""

    @settings(deadline=None)
    @given(st.integers(0, 40), st.integers(0, 40))
    def test_growth(self, one: int, two: int) -> None:
        """A tree that contains the last one may be cosigned; after another size it may not."""
        old, size = sorted((one, two))
        submission = parse_submission(request(old, size).encode())
        check_submission(submission, state(old))
        with self.assertRaises(OtherSize) as caught:
            check_submission(submission, state(old + 1))
        self.assertEqual(caught.exception.size, old + 1)
        if old == 0:
            check_submission(submission, None)

    def test_a_forked_log(self) -> None:
        """A tree that contains another past is refused, and so is another root of one size."""
        other = Checkpoint(LOG.name, 9, bytes(32))
        with self.assertRaises(ProofError):
            check_submission(request(9, 20), other)
        with self.assertRaises(OtherSize):
            check_submission(request(9, 9), other)

    def test_a_proof_where_none_belongs(self) -> None:
        """From nothing, and from the same tree, the proof is empty."""
        for old, last in ((0, None), (0, Checkpoint(LOG.name, 0, EMPTY_ROOT)), (9, state(9))):
            note = request(9, 9).note
            with self.assertRaises(ProofError):
                check_submission(Submission(old, (bytes(32),), note), last)
