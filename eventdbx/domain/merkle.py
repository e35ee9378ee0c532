"""RFC 9162 Merkle trees, kept as compact ranges.

A tree of n leaves is held as its right edge: one hash per complete subtree, largest first (one for
every set bit of n). Appending a leaf and computing the root therefore never look at history. What
a leaf contains is the business of :mod:`eventdbx.domain.events`.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""RFC 9162 §2.1.1: the hash of an empty tree."""

Range = tuple[bytes, ...]


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf (RFC 9162 §2.1.1: prefix 0x00)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 9162 §2.1.1: prefix 0x01)."""
    return sha256(b"\x01" + left + right).digest()


def push(edge: Range, size: int, leaf: bytes) -> Range:
    """Return the compact range of ``size + 1`` leaves, given that of ``size`` and the next leaf."""
    keep = len(edge)
    carry = leaf
    while size & 1:
        keep -= 1
        carry = sha256(b"\x01" + edge[keep] + carry).digest()
        size >>= 1
    return (*edge[:keep], carry)


def grown(edge: Range, size: int, leaf: bytes) -> tuple[Range, Range]:
    """Return what :func:`push` returns, and the hashes of the subtrees that the leaf completes.

    Those end with the leaf and have 2, 4, 8… leaves, smallest first: none after an even ``size``,
    one per leaf on average. Whoever keeps them with each leaf finds any complete subtree by one
    look-up, and so makes any proof of a tree of n leaves by O(log n) of them.
    """
    keep = len(edge)
    carry = leaf
    nodes: Range = ()
    while size & 1:
        keep -= 1
        carry = sha256(b"\x01" + edge[keep] + carry).digest()
        nodes = (*nodes, carry)
        size >>= 1
    return (*edge[:keep], carry), nodes


def completed(size: int) -> int:
    """Return how many subtrees of two and more leaves the last of ``size`` leaves completes."""
    return (size & -size).bit_length() - 1


def root(edge: Range) -> bytes:
    """Return the root hash of the tree that a compact range stands for."""
    if not edge:
        return EMPTY_ROOT
    result = edge[-1]
    for peak in reversed(edge[:-1]):
        result = sha256(b"\x01" + peak + result).digest()
    return result


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in memory that grows with their logarithm."""
    edge: Range = ()
    for size, leaf in enumerate(leaves):
        edge = push(edge, size, leaf)
    return root(edge)
