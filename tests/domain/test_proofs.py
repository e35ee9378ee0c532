"""Proofs of RFC 9162, held against its definitions and an independent implementation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain import merkle, proofs

LEAVES = [merkle.leaf_hash(bytes((number,))) for number in range(80)]


def nodes(level: int, index: int) -> bytes:
    """Return a complete subtree of the leaves above."""
    if not level:
        return LEAVES[index]
    return merkle.node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))


def kept(leaves: list[bytes]) -> proofs.Nodes:
    """Return a look-up in what is kept with each leaf."""
    rows: list[tuple[bytes, ...]] = []
    edge: merkle.Range = ()
    for size, leaf in enumerate(leaves):
        edge, done = merkle.grown(edge, size, leaf)
        assert len(done) == merkle.completed(size + 1)
        rows.append((leaf, *done))
    return lambda level, index: rows[((index + 1) << level) - 1][level]


class ProofTests(SynchronousTestCase):
    """What is made can be checked; what is changed cannot."""

    def test_every_inclusion(self) -> None:
        """Each leaf of each tree has a proof that leads to the root of that tree."""
        for size in range(1, len(LEAVES) + 1):
            root = merkle.root_of(LEAVES[:size])
            self.assertEqual(proofs.tree_root(nodes, size), root)
            for index in range(size):
                proof = proofs.inclusion_proof(nodes, index, size)
                proofs.check_inclusion(LEAVES[index], index, size, proof, root)

    def test_every_consistency(self) -> None:
        """Each tree is provably the beginning of each larger one."""
        for second in range(1, len(LEAVES) + 1):
            root = merkle.root_of(LEAVES[:second])
            for first in range(1, second + 1):
                proof = proofs.consistency_proof(nodes, first, second)
                before = merkle.root_of(LEAVES[:first])
                proofs.check_consistency(first, before, second, root, proof)

    @given(st.integers(1, 80), st.data())
    def test_as_another_implementation(self, size: int, data: st.DataObject) -> None:
        """The hashes of a proof are those that an independent implementation computes."""
        tree = InmemoryTree(algorithm="sha256")
        for number in range(size):
            tree.append_entry(bytes((number,)))
        index = data.draw(st.integers(0, size - 1))
        theirs = tree.prove_inclusion(index + 1, size).serialize()["path"]
        ours = [LEAVES[index], *proofs.inclusion_proof(nodes, index, size)]
        self.assertEqual([one.hex() for one in ours], theirs)

    @given(st.integers(2, 80), st.data())
    def test_changed_proofs_prove_nothing(self, size: int, data: st.DataObject) -> None:
        """Another leaf, index, size, root or hash, one hash more or less: all are refused."""
        root = merkle.root_of(LEAVES[:size])
        index = data.draw(st.integers(0, size - 1))
        good = proofs.inclusion_proof(nodes, index, size)
        place = data.draw(st.integers(0, len(good) - 1))
        flipped = bytes((good[place][0] ^ 1,)) + good[place][1:]
        other = (index + 1) % size
        for leaf, at, count, proof, top in (
            (LEAVES[other], index, size, good, root),
            (LEAVES[index], other, size, good, root),
            (LEAVES[index], size, size, good, root),
            (LEAVES[index], index, size, good[:-1], root),
            (LEAVES[index], index, size, [*good, root], root),
            (LEAVES[index], index, size, [*good[:place], flipped, *good[place + 1 :]], root),
            (LEAVES[index], index, size, good, merkle.EMPTY_ROOT),
        ):
            with self.assertRaises(proofs.ProofError):
                proofs.check_inclusion(leaf, at, count, proof, top)

    @given(st.integers(2, 80), st.data())
    def test_changed_histories_are_not_consistent(self, second: int, data: st.DataObject) -> None:
        """A proof does not connect a tree with one in which an earlier leaf differs."""
        first = data.draw(st.integers(1, second - 1))
        good = proofs.consistency_proof(nodes, first, second)
        before, after = merkle.root_of(LEAVES[:first]), merkle.root_of(LEAVES[:second])
        changed = list(LEAVES[:second])
        changed[data.draw(st.integers(0, first - 1))] = merkle.leaf_hash(b"forged")
        forged = merkle.root_of(changed)
        wrong = [
            (first, before, second, forged, proofs.consistency_proof(kept(changed), first, second)),
            (first, before, second, forged, good),
            (first, merkle.root_of(changed[:first]), second, after, good),
            (first, before, second, after, [*good, before]),
            (second, after, first, before, good),
        ]
        if good:
            wrong.append((first, before, second, after, good[:-1]))
        for case in wrong:
            with self.assertRaises(proofs.ProofError):
                proofs.check_consistency(*case)

    @given(st.lists(st.binary(max_size=4), min_size=1, max_size=70), st.data())
    def test_what_is_kept_is_enough(self, entries: list[bytes], data: st.DataObject) -> None:
        """The subtrees kept with each leaf make every proof, with a look-up for each hash of it."""
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        look_up, asked = kept(leaves), []

        def counted(level: int, index: int) -> bytes:
            asked.append((level, index))
            return look_up(level, index)

        size = len(leaves)
        index = data.draw(st.integers(0, size - 1))
        proof = proofs.inclusion_proof(counted, index, size)
        proofs.check_inclusion(leaves[index], index, size, proof, merkle.root_of(leaves))
        self.assertLessEqual(len(asked), 2 * size.bit_length())

    def test_empty_trees(self) -> None:
        """The empty tree is the beginning of every tree, and has no proof of anything."""
        root = merkle.root_of(LEAVES)
        proofs.check_consistency(0, merkle.EMPTY_ROOT, 80, root, [])
        self.assertEqual(proofs.tree_root(nodes, 0), merkle.EMPTY_ROOT)
        for first_root, proof in ((root, []), (merkle.EMPTY_ROOT, [root])):
            with self.assertRaises(proofs.ProofError):
                proofs.check_consistency(0, first_root, 80, root, proof)
