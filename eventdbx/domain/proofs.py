"""Proofs over RFC 9162 trees: made from the hashes of complete subtrees, and checked.

Who makes a proof has a way to look up any complete subtree (``Nodes``); a proof of a tree of n
leaves asks for O(log n) of them. Who checks one needs the proof, sizes and roots, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventdbx.domain.merkle import EMPTY_ROOT, node_hash

Nodes = Callable[[int, int], bytes]
"""``nodes(level, index)``: the hash over leaves ``index << level`` up to ``(index + 1) << level``,
which all exist. Level 0 is the leaf hash."""


class ProofError(Exception):
    """A proof does not prove what it is said to."""


def peaks(size: int) -> list[tuple[int, int]]:
    """Return (level, index) of the complete subtrees that make up a tree, largest first."""
    found = []
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def tree_root(nodes: Nodes, size: int) -> bytes:
    """Return the root of the first ``size`` leaves (RFC 9162 §2.1.1)."""
    return _range_root(nodes, 0, size) if size else EMPTY_ROOT


def _range_root(nodes: Nodes, start: int, end: int) -> bytes:
    """Return the root over leaves start to end, where start is where such a subtree may begin."""
    found = peaks(end - start)
    result = b""
    for level, index in reversed(found):
        peak = nodes(level, index + (start >> level))
        result = node_hash(peak, result) if result else peak
    return result


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Return the proof that a leaf is in a tree (RFC 9162 §2.1.3.1). ``index < size``."""
    assert 0 <= index < size, "the leaf must be in the tree"
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_root(nodes, middle, end))
            end = middle
        else:
            proof.append(_range_root(nodes, start, middle))
            start = middle
    proof.reverse()
    return proof


def consistency_proof(nodes: Nodes, first: int, second: int) -> list[bytes]:
    """Return the proof that a tree is the beginning of another (RFC 9162 §2.1.4.1).

    ``0 < first <= second``; the proof of a tree against itself is empty.
    """
    assert 0 < first <= second, "the first tree must not be empty, nor larger than the second"
    proof: list[bytes] = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_range_root(nodes, middle, end))
            end = middle
        else:
            proof.append(_range_root(nodes, start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(_range_root(nodes, start, end))
    proof.reverse()
    return proof


def _split(count: int) -> int:
    """Return the largest power of two below a count of at least two."""
    return 1 << ((count - 1).bit_length() - 1)


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that a proof leads to from a leaf hash (RFC 9162 §2.1.3.2).

    Raises ProofError for a proof of the wrong length or an index that is not in the tree.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    border = bin(index >> inner).count("1")
    if len(proof) != inner + border:
        raise ProofError(f"the proof has {len(proof)} hashes, not {inner + border}")
    result = leaf
    for level, sibling in enumerate(proof[:inner]):
        if index >> level & 1:
            result = node_hash(sibling, result)
        else:
            result = node_hash(result, sibling)
    for sibling in proof[inner:]:
        result = node_hash(sibling, result)
    return result


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise ProofError unless a leaf hash is at that index of the tree with that root."""
    if root_from_inclusion(leaf, index, size, proof) != root:
        raise ProofError("the proof does not lead from the leaf to the root")


def check_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise ProofError unless a tree is the beginning of another (RFC 9162 §2.1.4.2)."""
    if not 0 <= first <= second:
        raise ProofError(f"a tree of {first} is no beginning of one of {second}")
    if first == second or first == 0:
        if proof:
            raise ProofError("the proof should be empty")
        if first == second and first_root != second_root:
            raise ProofError("the roots of two trees of one size differ")
        if first == 0 and first_root != EMPTY_ROOT:
            raise ProofError("the root of an empty tree is wrong")
        return
    hashes = list(proof)
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    if not hashes:
        raise ProofError("the proof is empty")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if sn == 0:
            raise ProofError("the proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, sibling)
        fn >>= 1
        sn >>= 1
    if sn:
        raise ProofError("the proof is too short")
    if old != first_root:
        raise ProofError("the proof does not lead to the first root")
    if new != second_root:
        raise ProofError("the proof does not lead to the second root")
