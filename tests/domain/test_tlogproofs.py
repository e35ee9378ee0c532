"""Proofs in files: what is written, what is refused, and that others come to the same hashes."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.checkpoints import Checkpoint, Trust, cosign, sign_checkpoint
from eventdbx.domain.merkle import leaf_hash, node_hash, root_of
from eventdbx.domain.notes import Note, Signature
from eventdbx.domain.proofs import ProofError, inclusion_proof, tree_root
from eventdbx.domain.tlogproofs import TlogProof, check_tlog_proof, parse_tlog_proof
from tests.domain.signers import log_key, nodes_over, verify, witness_key

ORIGIN = "eventdbx/0123456789abcdef0123456789abcdef/default"
LOG, LOG_SIGN = log_key(ORIGIN, b"\x01" * 32)
ONE, ONE_SIGN = witness_key("witness.example/one", b"\x02" * 32)
TWO, TWO_SIGN = witness_key("witness.example/two", b"\x03" * 32)
TRUST = Trust(ORIGIN, (LOG,))
WITNESSED = Trust(ORIGIN, (LOG,), (ONE, TWO), 2)

# From the example of C2SP tlog-proof, whose signatures and extra data are not printed in full.
SPEC_INDEX = 73894
SPEC_SIZE = 109482
SPEC_ROOT = "sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08="
SPEC_HASHES = (
    "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=",
    "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=",
    "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=",
    "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=",
    "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=",
)

ENTRIES = [b"entry %d" % number for number in range(75)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def signed(size: int, root: bytes) -> Note:
    """Return a checkpoint of the log, signed by it alone."""
    return sign_checkpoint(Checkpoint(ORIGIN, size, root), LOG, LOG_SIGN)


def proof_of(index: int, size: int, extra: bytes = b"") -> TlogProof:
    """Return the proof of one of the entries in a log that holds so many of them."""
    nodes = nodes_over(LEAVES[:size])
    hashes = tuple(inclusion_proof(nodes, index, size))
    return TlogProof(index, hashes, signed(size, tree_root(nodes, size)), extra)


def witnessed_proof() -> TlogProof:
    """Return the proof of entry 41 of 75, under a checkpoint that both witnesses cosigned."""
    proof = proof_of(41, 75)
    one = cosign(proof.note.text, ONE, 1_800_000_000, ONE_SIGN)
    two = cosign(proof.note.text, TWO, 1_800_000_009, TWO_SIGN)
    return TlogProof(proof.index, proof.hashes, proof.note.signed_by(one, two))


class Format(SynchronousTestCase):
    """The lines of a file."""

    def test_example_of_the_standard(self) -> None:
        """The lines of the example are read, and written as they were."""
        note = sign_checkpoint(Checkpoint(ORIGIN, SPEC_SIZE, b64decode(SPEC_ROOT)), LOG, LOG_SIGN)
        text = "\n".join(
            (
                "c2sp.org/tlog-proof@v1",
                "extra ZXh0cmEgaW5mb3JtYXRpb24=",
                f"index {SPEC_INDEX}",
                *SPEC_HASHES,
                "",
                ORIGIN,
                str(SPEC_SIZE),
                SPEC_ROOT,
                "",
                note.signatures[0].line(),
            )
        )
        proof = parse_tlog_proof(text.encode())
        self.assertEqual(proof.index, SPEC_INDEX)
        self.assertEqual(proof.hashes, tuple(map(b64decode, SPEC_HASHES)))
        self.assertEqual(proof.extra, b"extra information")
        self.assertEqual(proof.note, note)
        self.assertEqual(proof.encode().decode(), text)

    def test_lines_that_may_be_missing(self) -> None:
        """Without extra data there is no line for it; a log of one entry needs no hashes."""
        proof = proof_of(0, 1)
        head, _, rest = proof.encode().partition(b"\n\n")
        self.assertEqual(head, b"c2sp.org/tlog-proof@v1\nindex 0")
        self.assertEqual(rest, proof.note.encode())
        self.assertEqual(parse_tlog_proof(proof.encode()), proof)

    def test_a_proof_among_a_million_is_small(self) -> None:
        """A tree whose leaves are all one leaf is real, and so are its proofs."""
        levels = [LEAVES[0]]
        for _ in range(20):
            levels.append(node_hash(levels[-1], levels[-1]))
        size = 1_000_000
        note = signed(size, tree_root(lambda level, index: levels[level], size))
        note = note.signed_by(
            cosign(note.text, ONE, 1_800_000_000, ONE_SIGN),
            cosign(note.text, TWO, 1_800_000_000, TWO_SIGN),
        )
        hashes = tuple(inclusion_proof(lambda level, index: levels[level], 777_777, size))
        self.assertEqual(len(hashes), 20)
        raw = TlogProof(777_777, hashes, note, bytes(64)).encode()
        self.assertLess(len(raw), 2048)
        check_tlog_proof(parse_tlog_proof(raw), LEAVES[0], WITNESSED, verify)

    @settings(deadline=None)
    @given(
        st.integers(0, limits.TREE_SIZE_MAX - 1),
        st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
        st.binary(max_size=300),
    )
    def test_round_trip(self, index: int, hashes: tuple[bytes, ...], extra: bytes) -> None:
        """A proof reads as what was written."""
        note = Note(
            Checkpoint(ORIGIN, index + 1, bytes(32), ("more",)).text(),
            (Signature("somebody", bytes(4), bytes(64)),),
        )
        proof = TlogProof(index, hashes, note, extra)
        self.assertEqual(parse_tlog_proof(proof.encode()), proof)


class Refusals(SynchronousTestCase):
    """What is malformed raises ProofError and nothing else."""

    def test_malformed_files(self) -> None:
        """A file that differs from the form is refused with the reason."""
        whole = proof_of(2, 5, b"extra").encode().decode()
        first, extra, index, one, two, three, rest = whole.split("\n", 6)
        note = rest.removeprefix("\n")

        def file(*lines: str) -> str:
            return "\n".join((*lines, "", note))

        self.assertEqual(file(first, extra, index, one, two, three), whole)
        for text, why in (
            ("", "blank line"),
            (first, "blank line"),
            (f"{first}\n\n{note}", "index is missing"),
            (f"\n\n{note}", "begins with"),
            (file(first[:-1], index, one), "begins with"),
            (file(first + " ", index, one), "begins with"),
            (file(index, one), "begins with"),
            (file(first, extra, one), "index is missing"),
            (file(first, index, extra, one), "a hash is not base64"),
            (file(first, extra, extra, index), "index is missing"),
            (file(first, "extra ", index, one), "without extra data"),
            (file(first, "extra", index, one), "index is missing"),
            (file(first, "extra Zg", index, one), "extra data is not base64"),
            (file(first, "extra Zh==", index, one), "as it is written"),
            (file(first, "index  2", one), "decimal"),
            (file(first, "index 02", one), "decimal"),
            (file(first, "index -2", one), "decimal"),
            (file(first, "index 5", one), "entry 5 is not in a log of 5"),
            (file(first, f"index {1 << 63}", one), "exceeds"),
            (file(first, "Index 2", one), "index is missing"),
            (file(first, index, one[:-1]), "base64"),
            (file(first, index, one + "="), "base64"),
            (file(first, index, one + " "), "base64"),
            (file(first, index, one[4:]), "32 bytes"),
            (file(first, index, *[one] * 64), "at most 63"),
            (file(first, index, one).replace("\n", "\r\n"), "blank line"),
            (f"{first}\n{index}\n{one}\n{note}", "blank line"),
            (f"{first}\n{index}\n\n\n{note}", "the size is not"),
            (f"{first}\n{index}\n\nno checkpoint\n\n{note.rpartition('— ')[2]}", "reads"),
            (whole + "\n", "last line"),
        ):
            with self.assertRaises(ProofError) as caught:
                parse_tlog_proof(text.encode())
            self.assertIn(why, str(caught.exception), text)
        with self.assertRaisesRegex(ProofError, "UTF-8"):
            parse_tlog_proof(whole.encode() + b"\xff")
        with self.assertRaisesRegex(ProofError, "exceeds"):
            parse_tlog_proof(bytes(limits.TLOG_PROOF_BYTES_MAX + 1))

    def test_what_cannot_be_written(self) -> None:
        """No proof can be made that could not be read."""
        note = signed(5, bytes(32))
        TlogProof(4, (bytes(32),) * 63, note, bytes(limits.TLOG_PROOF_EXTRA_BYTES_MAX))
        for index, hashes, extra in (
            (-1, (), b""),
            (5, (), b""),
            (4, (bytes(31),), b""),
            (4, (bytes(32),) * 64, b""),
            (4, (), bytes(limits.TLOG_PROOF_EXTRA_BYTES_MAX + 1)),
        ):
            with self.assertRaises(ProofError):
                TlogProof(index, hashes, note, extra)
        with self.assertRaisesRegex(ProofError, "an origin, a size and a root"):
            TlogProof(0, (), Note("something else\n", note.signatures))

    def test_the_largest_proof_can_be_read(self) -> None:
        """The bound of a file leaves room for all that may be in it."""
        size = limits.TREE_SIZE_MAX
        text = Checkpoint(ORIGIN, size, bytes(32)).text()
        line = Signature("s", bytes(4), b"x").line()
        fill = limits.NOTE_BYTES_MAX - len(f"{text}\n\n{line}".encode())
        note = Note(f"{text}{'x' * fill}\n", (Signature("s", bytes(4), b"x"),))
        self.assertEqual(len(note.encode()), limits.NOTE_BYTES_MAX)
        extra = bytes(limits.TLOG_PROOF_EXTRA_BYTES_MAX)
        proof = TlogProof(size - 1, (bytes(32),) * limits.PROOF_HASHES_MAX, note, extra)
        self.assertEqual(parse_tlog_proof(proof.encode()), proof)


class Checks(SynchronousTestCase):
    """Who is convinced by what."""

    def test_every_entry_of_every_size(self) -> None:
        """The hashes are those that an independent implementation puts into its proofs."""
        other = InmemoryTree(algorithm="sha256")
        for entry in ENTRIES:
            other.append_entry(entry)
        for size in (1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 75):
            for index in range(size):
                proof = parse_tlog_proof(proof_of(index, size).encode())
                leaf, *path = other.prove_inclusion(index + 1, size).path
                self.assertEqual((leaf, path), (LEAVES[index], list(proof.hashes)))
                verified = check_tlog_proof(proof, LEAVES[index], TRUST, verify)
                self.assertEqual(verified.checkpoint.root, other.get_state(size))

    def test_witnesses_and_their_times(self) -> None:
        """A verifier may ask for witnesses, and learns when they signed."""
        verified = check_tlog_proof(witnessed_proof(), LEAVES[41], WITNESSED, verify)
        self.assertEqual(verified.cosigners, {ONE: 1_800_000_000, TWO: 1_800_000_009})
        with self.assertRaisesRegex(ProofError, "0 known witnesses cosigned, 2 are wanted"):
            check_tlog_proof(proof_of(41, 75), LEAVES[41], WITNESSED, verify)

    def test_another_leaf_or_place(self) -> None:
        """A proof proves one entry at one place, with as many hashes as it takes."""
        proof = proof_of(41, 75)
        with self.assertRaisesRegex(ProofError, "does not lead"):
            check_tlog_proof(proof, LEAVES[42], TRUST, verify)
        with self.assertRaisesRegex(ProofError, "does not lead"):
            moved = TlogProof(40, proof.hashes, proof.note)
            check_tlog_proof(moved, LEAVES[41], TRUST, verify)
        for hashes in (proof.hashes[:-1], (*proof.hashes, bytes(32)), ()):
            with self.assertRaisesRegex(ProofError, "hashes, not"):
                check_tlog_proof(TlogProof(41, hashes, proof.note), LEAVES[41], TRUST, verify)

    def test_an_inner_node_is_no_leaf(self) -> None:
        """A node that is passed off as a leaf of a smaller tree does not fit the signed size."""
        node = node_hash(LEAVES[0], LEAVES[1])
        proof = proof_of(0, 8)
        with self.assertRaises(ProofError):
            check_tlog_proof(TlogProof(0, proof.hashes[1:], proof.note), node, TRUST, verify)

    def test_a_log_of_another(self) -> None:
        """Who has the name of a log but not its key convinces nobody."""
        stranger, sign = log_key(ORIGIN, b"\x07" * 32)
        note = sign_checkpoint(Checkpoint(ORIGIN, 1, LEAVES[0]), stranger, sign)
        with self.assertRaisesRegex(ProofError, "no known key"):
            check_tlog_proof(TlogProof(0, (), note), LEAVES[0], TRUST, verify)

    def test_doubled_last_entry(self) -> None:
        """The trees of three entries and of four, the last one twice, have different roots."""
        three, four = LEAVES[:3], [*LEAVES[:3], LEAVES[2]]
        self.assertNotEqual(root_of(three), root_of(four))
        nodes = nodes_over(four)
        proof = TlogProof(3, tuple(inclusion_proof(nodes, 3, 4)), signed(4, root_of(three)))
        with self.assertRaisesRegex(ProofError, "does not lead"):
            check_tlog_proof(proof, LEAVES[2], TRUST, verify)

    def refused(self, raw: bytes, trust: Trust) -> None:
        with self.assertRaises(ProofError, msg=raw):
            check_tlog_proof(parse_tlog_proof(raw), LEAVES[41], trust, verify)

    def test_every_cut_is_refused(self) -> None:
        """Nothing can be missing at either end of a file."""
        for proof, trust in ((proof_of(41, 75, b"more"), TRUST), (witnessed_proof(), WITNESSED)):
            raw = proof.encode()
            for end in range(len(raw)):
                self.refused(raw[:end], trust)
                self.refused(raw[end + 1 :], trust)

    def test_every_flipped_bit_is_refused(self) -> None:
        """No bit of a proof without extra data can differ."""
        raw = proof_of(41, 75).encode()
        check_tlog_proof(parse_tlog_proof(raw), LEAVES[41], TRUST, verify)
        for place, byte in enumerate(raw):
            for bit in range(8):
                self.refused(raw[:place] + bytes((byte ^ 1 << bit,)) + raw[place + 1 :], TRUST)

    def test_every_flipped_byte_under_witnesses_is_refused(self) -> None:
        """Where all witnesses are wanted, their lines cannot be touched either."""
        raw = witnessed_proof().encode()
        for place, byte in enumerate(raw):
            for mask in (0x01, 0x20, 0xFF):
                flipped = bytes((byte ^ mask,))
                self.refused(raw[:place] + flipped + raw[place + 1 :], WITNESSED)

    def test_every_removed_or_doubled_line_is_refused(self) -> None:
        """No line can be missing or stand there twice."""
        lines = witnessed_proof().encode().splitlines(keepends=True)
        for place, line in enumerate(lines):
            self.refused(b"".join(lines[:place] + lines[place + 1 :]), WITNESSED)
            if not line.startswith("—".encode()):  # a signature that holds may stand there twice
                self.refused(b"".join(lines[:place] + [line] + lines[place:]), WITNESSED)

    def test_extra_data_is_vouched_for_by_nobody(self) -> None:
        """As the standard says: it may change and the proof still holds, nothing else may."""
        proof = proof_of(41, 75, sha256(b"extra").digest())
        raw = proof.encode()
        begin = raw.index(b"extra ")
        end = raw.index(b"\n", begin)
        changed = 0
        for place in range(begin, end):
            for bit in range(8):
                flipped = bytes((raw[place] ^ 1 << bit,))
                try:
                    read = parse_tlog_proof(raw[:place] + flipped + raw[place + 1 :])
                except ProofError:
                    continue
                changed += 1
                self.assertNotEqual(read.extra, proof.extra)
                self.assertEqual((read.index, read.hashes), (proof.index, proof.hashes))
                check_tlog_proof(read, LEAVES[41], TRUST, verify)
        self.assertGreater(changed, 0)
