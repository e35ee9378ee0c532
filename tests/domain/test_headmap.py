"""The head map, held against its definition, and against who forges proofs."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain import headmap
from eventdbx.domain.checkpoints import Checkpoint
from eventdbx.domain.headmap import HeadProof, check_head
from eventdbx.domain.proofs import ProofError

Entries = dict[bytes, tuple[int, bytes]]
POSITION = 90


def by_definition(entries: Entries, depth: int = 0) -> bytes:
    """Return the root as the document defines it, bit by bit."""
    if not entries:
        return bytes(32)
    if len(entries) == 1:
        ((name, (version, root)),) = entries.items()
        value = sha256(version.to_bytes(8, "big") + root).digest()
        return sha256(b"\x00" + name + value).digest()
    sides: tuple[Entries, Entries] = ({}, {})
    for name, value_of in entries.items():
        bits = f"{int.from_bytes(name, 'big'):0256b}"
        sides[int(bits[depth])][name] = value_of
    left, right = (by_definition(side, depth + 1) for side in sides)
    return sha256(b"\x01" + left + right).digest()


def kept(entries: Entries) -> list[bytes]:
    """Return the entries as they are kept."""
    return sorted(headmap.entry(name, *value) for name, value in entries.items())


def orders(count: int) -> Entries:
    """Return a map of so many orders."""
    return {
        headmap.name_hash("order", f"o-{number}"): (number + 1, sha256(b"%d" % number).digest())
        for number in range(count)
    }


def proof_of(entries: Entries, aggregate_id: str) -> HeadProof:
    """Return the proof for an order."""
    name = headmap.name_hash("order", aggregate_id)
    return headmap.make_proof(POSITION, name, *headmap.path(kept(entries), name))


def near(prefix: int, bits: int) -> bytes:
    """Return a name hash whose first bits are those of a number."""
    return (prefix << (256 - bits)).to_bytes(32, "big")


NAMES = st.one_of(
    st.binary(min_size=32, max_size=32),
    # Names that agree in all bits but the last few: the longest paths there can be.
    st.integers(0, 31).map(lambda number: number.to_bytes(32, "big")),
    st.integers(0, 255).map(lambda number: near(number, 8)),
)
MAPS = st.dictionaries(
    NAMES, st.tuples(st.integers(1, 2**64 - 1), st.binary(min_size=32, max_size=32)), max_size=40
)


class MapTests(SynchronousTestCase):
    """Roots and paths are what the definition says."""

    def test_the_name_of_an_aggregate_is_byte_exact(self) -> None:
        """Type, zero, id, zero, in UTF-8."""
        expected = sha256(b"caf\xc3\xa9\x00o-1\x00").digest()
        self.assertEqual(headmap.name_hash("café", "o-1"), expected)
        self.assertNotEqual(headmap.name_hash("a", "bc"), headmap.name_hash("ab", "c"))

    @given(MAPS)
    def test_the_root_is_that_of_the_definition(self, entries: Entries) -> None:
        """Whatever the names have in common."""
        summary = headmap.summarise(kept(entries))
        self.assertEqual(headmap.summary_hash(summary), by_definition(entries))
        kind = {0: b"", 1: b"\x00"}.get(len(entries), b"\x01")
        self.assertEqual(summary[:1], kind)

    @given(MAPS)
    def test_parts_are_joined_to_the_same_root(self, entries: Entries) -> None:
        """A map of parts, each of which has its names' first bits in common."""
        parts = [
            headmap.summarise([one for one in kept(entries) if one[0] >> 5 == part], 3)
            for part in range(8)
        ]
        while len(parts) > 1:
            parts = [headmap.join(*parts[at : at + 2]) for at in range(0, len(parts), 2)]
        self.assertEqual(headmap.summary_hash(parts[0]), by_definition(entries))

    @given(MAPS, NAMES)
    def test_every_name_has_a_proof(self, entries: Entries, stranger: bytes) -> None:
        """Those that are there, and those that are not."""
        root = by_definition(entries)
        for name in (*entries, stranger):
            found = headmap.path(kept(entries), name)
            proof = headmap.make_proof(POSITION, name, *found)
            self.assertEqual(headmap.root_from_proof(name, proof), root)
            expected = entries.get(name, (0, b""))
            self.assertEqual((proof.version, proof.root), expected)
            read = headmap.read_proof(orjson.loads(orjson.dumps(proof.to_json())))
            self.assertEqual(read, proof)

    def test_an_empty_map_proves_that_nothing_is_there(self) -> None:
        """Its root is 32 zero bytes, and its proofs are empty."""
        proof = proof_of({}, "o-1")
        self.assertEqual(proof, HeadProof(POSITION, 0, b"", ()))
        check_head("order", "o-1", proof, POSITION, bytes(32))


class ForgeryTests(SynchronousTestCase):
    """Proofs of what is not so."""

    def setUp(self) -> None:
        self.entries = orders(60)
        self.root = by_definition(self.entries)
        self.present = proof_of(self.entries, "o-7")
        self.absent = proof_of(self.entries, "o-999")
        # A stranger whose path ends on an empty side.
        found = (proof_of(self.entries, f"s-{number}") for number in range(500))
        self.nowhere, self.nobody = next(
            (f"s-{number}", proof) for number, proof in enumerate(found) if proof.other is None
        )

    def check(self, aggregate_id: str, proof: HeadProof) -> None:
        """Check a proof about an order."""
        check_head("order", aggregate_id, proof, POSITION, self.root)

    def refused(self, aggregate_id: str, proof: HeadProof) -> None:
        """A proof about an order must be refused."""
        with self.assertRaises(ProofError):
            self.check(aggregate_id, proof)

    def test_true_proofs_are_taken(self) -> None:
        """Each of the three kinds, so that the refusals below mean something."""
        self.assertIsNotNone(self.absent.other)
        self.check("o-7", self.present)
        self.check("o-999", self.absent)
        self.check(self.nowhere, self.nobody)

    def test_every_byte_counts(self) -> None:
        """One bit of one byte flipped anywhere in the proof, in its version or its root."""
        for aggregate_id, proof in (
            ("o-7", self.present),
            ("o-999", self.absent),
            (self.nowhere, self.nobody),
        ):
            whole = b"".join((proof.root, *(proof.other or ()), *proof.siblings))
            for at in range(len(whole)):
                bent = bytearray(whole)
                bent[at] ^= 1 << at % 8
                self.refused(aggregate_id, cut(proof, bytes(bent)))
        for bit in range(64):
            bent_version = self.present.version ^ 1 << bit
            self.refused("o-7", self.present._replace(version=bent_version))

    def test_every_length_counts(self) -> None:
        """Siblings taken away or added at either end, doubled, or of another size."""
        for aggregate_id, proof in (("o-7", self.present), ("o-999", self.absent)):
            siblings = proof.siblings
            for other in (
                siblings[1:],
                siblings[:-1],
                (),
                (headmap.EMPTY, *siblings),
                (*siblings, headmap.EMPTY),
                (siblings[0], *siblings),
                siblings * 60,
                (siblings[0][:31], *siblings[1:]),
                (siblings[0] + b"\x00", *siblings[1:]),
            ):
                self.refused(aggregate_id, proof._replace(siblings=other))

    def test_a_proof_is_about_one_aggregate(self) -> None:
        """And not about another one, there or not."""
        for other in ("o-8", "o-999", self.nowhere):
            self.refused(other, self.present)
        for there in ("o-7", "o-8"):
            self.refused(there, self.absent)
            self.refused(there, self.nobody)

    def test_nobody_is_proven_absent_who_is_present(self) -> None:
        """Neither by its own leaf as another's, nor by a node above it, nor by a shorter path."""
        name = headmap.name_hash("order", "o-7")
        value = headmap.value_hash(self.present.version, self.present.root)
        gone = self.present._replace(version=0, root=b"")
        self.refused("o-7", gone)
        self.refused("o-7", gone._replace(other=(name, value)))
        for depth in range(len(gone.siblings) + 1):
            shorter = gone._replace(siblings=gone.siblings[depth:])
            self.refused("o-7", shorter)
            for stranger in self.entries:
                version, root = self.entries[stranger]
                other = (stranger, headmap.value_hash(version, root))
                self.refused("o-7", shorter._replace(other=other))

    def test_a_proof_is_of_one_kind(self) -> None:
        """What is there has no other in its place, what is not has no root."""
        assert self.absent.other is not None
        self.refused("o-7", self.present._replace(other=self.absent.other))
        self.refused("o-999", self.absent._replace(root=self.present.root))
        bad: Any
        for bad in (-1, 1 << 64, True, 1.0, "1", None):
            self.refused("o-7", self.present._replace(version=bad))

    def test_a_proof_is_about_one_position(self) -> None:
        """The position that the checkpoint names."""
        with self.assertRaises(ProofError):
            check_head("order", "o-7", self.present, POSITION + 1, self.root)

    def test_unreadable_documents_are_refused(self) -> None:
        """Whatever JSON somebody sends, it is read or refused as a proof."""
        good = self.present.to_json()
        self.assertEqual(headmap.read_proof(good), self.present)
        bad: Any
        for bad in (None, [], "x", 3, {}, {**good, "siblings": {}}, {**good, "position": -1},
                    {**good, "position": True}, {**good, "siblings": good["siblings"] * 100},
                    {**good, "siblings": ["A" * 1000]}, {**good, "siblings": ["é"]},
                    {**good, "root": 5}, {**good, "other": [1, 2, 3]}, {**good, "other": "ab"},
                    {key: value for key, value in good.items() if key != "version"}):  # fmt: skip
            with self.assertRaises(ProofError):
                headmap.read_proof(bad)

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                        lambda inner: st.lists(inner) | st.dictionaries(
                            st.sampled_from(["position", "version", "root", "siblings", "other"]),
                            inner)))  # fmt: skip
    def test_any_document(self, document: Any) -> None:
        """Nothing but ProofError comes out of reading and checking."""
        try:
            proof = headmap.read_proof(document)
            check_head("order", "o-7", proof, proof.position, bytes(32))
        except ProofError:
            pass


def cut(proof: HeadProof, whole: bytes) -> HeadProof:
    """Return a proof with other bytes in all its hashes."""
    hashes = [whole[at : at + 32] for at in range(0, len(whole), 32)]
    root = hashes.pop(0) if proof.root else b""
    other = None if proof.other is None else (hashes.pop(0), hashes.pop(0))
    return proof._replace(root=root, other=other, siblings=tuple(hashes))


class LineTests(SynchronousTestCase):
    """What a checkpoint says of the map."""

    def of(self, *lines: str) -> tuple[int, bytes] | None:
        """Return what a checkpoint of 100 entries with these lines says."""
        return headmap.heads_of(Checkpoint("log", 100, bytes(32), lines))

    def test_the_line_is_read_back(self) -> None:
        """Between lines that are about something else."""
        root = sha256(b"root").digest()
        line = headmap.heads_line(90, root)
        self.assertEqual(line, "heads 90 " + b64encode(root).decode())
        self.assertEqual(self.of("other 1", line, "headsman"), (90, root))
        self.assertIsNone(self.of("other 1"))

    def test_other_lines_are_refused(self) -> None:
        """Two of them, a map ahead of the log, and what is not written as we write it."""
        line = headmap.heads_line(90, bytes(32))
        text = line.split(" ")[2]
        for lines in (
            (line, line),
            (headmap.heads_line(101, bytes(32)),),
            (f"heads 090 {text}",),
            (f"heads  90 {text}",),
            (f"heads 90 {text} more",),
            ("heads 90 AAAA",),
            ("heads 90",),
            ("heads 90 *",),
            ("heads ",),
        ):
            with self.assertRaises(ProofError):
                self.of(*lines)
