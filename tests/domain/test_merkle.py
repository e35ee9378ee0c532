"""The trees of RFC 9162, held against an independent implementation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain import merkle


class MerkleTests(SynchronousTestCase):
    """Compact ranges give the roots that whole trees give."""

    def test_empty_tree(self) -> None:
        """The root of no leaves is the hash of nothing (RFC 9162 §2.1.1)."""
        self.assertEqual(
            merkle.EMPTY_ROOT.hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        )
        self.assertEqual(merkle.root(()), merkle.EMPTY_ROOT)

    def test_known_leaf(self) -> None:
        """The leaf hash of an empty entry is the one published with the RFC's test vectors."""
        self.assertEqual(
            merkle.leaf_hash(b"").hex(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        )

    @given(st.lists(st.binary(max_size=40), min_size=1, max_size=130))
    def test_same_as_independent_implementation(self, entries: list[bytes]) -> None:
        """Every size of tree has the root that another implementation computes."""
        tree = InmemoryTree(algorithm="sha256")
        edge: merkle.Range = ()
        for size, entry in enumerate(entries):
            tree.append_entry(entry)
            edge = merkle.push(edge, size, merkle.leaf_hash(entry))
            self.assertEqual(len(edge), (size + 1).bit_count())
        self.assertEqual(merkle.root(edge), tree.get_state())
        self.assertEqual(merkle.root_of(map(merkle.leaf_hash, entries)), tree.get_state())
