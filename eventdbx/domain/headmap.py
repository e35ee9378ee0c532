"""The head map: one root over the version and the root of every aggregate, and proofs against it.

A compact sparse Merkle tree over the SHA-256 of the aggregates' names (docs/integrity.md, "Head
map"). A proof says that an aggregate had exactly this version and root when the map was made, or
that there was no such aggregate. Names are 256 bits and are read from the highest bit on:

- no entry: 32 zero bytes;
- one entry: SHA-256(00, name hash, value hash), at whatever depth it is alone;
- more: SHA-256(01, left, right), those whose next bit is 0 on the left, even if a side is empty.

Along the bits of a name a root determines where the path ends: in nothing, in this name, or in
another one. So nobody can prove both of two versions, nor both that a name is there and is not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from eventdbx import limits
from eventdbx.domain.checkpoints import Checkpoint
from eventdbx.domain.notes import NoteError, from_base64, parse_decimal, to_base64
from eventdbx.domain.proofs import ProofError

HASH_BYTES = 32
HASH_BITS = 256
ENTRY_BYTES = 72
"""An entry is its name hash, its version as u64 and its root; entries are sorted as bytes."""

EMPTY = bytes(HASH_BYTES)
"""The hash of a side without entries. Nothing is known whose SHA-256 it is."""

Summary = bytes
"""A part of the map: nothing when it has no entry, ``00`` and its hash when it has one (which may
stand higher up), ``01`` and its hash when it has more (which stays where it is)."""

_VERSION = Struct(">Q")
_VERSION_MAX = (1 << 64) - 1
_LINE = "heads "


def name_hash(aggregate_type: str, aggregate_id: str) -> bytes:
    """Return the SHA-256 of type, 00, id, 00 in UTF-8: the name of an aggregate as keys have it."""
    return sha256(f"{aggregate_type}\x00{aggregate_id}\x00".encode()).digest()


def entry(name: bytes, version: int, root: bytes) -> bytes:
    """Return the entry of an aggregate, whose name is hashed already."""
    return name + _VERSION.pack(version) + root


def split_entry(kept: bytes) -> tuple[bytes, int, bytes]:
    """Return (name hash, version, root) of an entry."""
    return kept[:32], _VERSION.unpack_from(kept, 32)[0], kept[40:]


def value_hash(version: int, root: bytes) -> bytes:
    """Return the digest of what the map says of an aggregate."""
    return sha256(_VERSION.pack(version) + root).digest()


def leaf(name: bytes, value: bytes) -> bytes:
    """Return the hash of an entry, given its name hash and its value hash."""
    return sha256(b"\x00" + name + value).digest()


def join(left: Summary, right: Summary) -> Summary:
    """Return the summary of a part of the map, given those of its two sides."""
    if not left and right[:1] != b"\x01":
        return right
    if not right and left[:1] != b"\x01":
        return left
    return b"\x01" + sha256(b"\x01" + summary_hash(left) + summary_hash(right)).digest()


def summary_hash(summary: Summary) -> bytes:
    """Return the hash that a summary stands for."""
    return summary[1:] or EMPTY


def summarise(entries: Sequence[bytes], depth: int = 0) -> Summary:
    """Return the summary of sorted entries, whose names have ``depth`` bits in common."""
    names = [int.from_bytes(kept[:32], "big") for kept in entries]
    leaves = [sha256(b"\x00" + kept[:32] + sha256(kept[32:]).digest()).digest() for kept in entries]
    if len(entries) < 2:
        return b"\x00" + leaves[0] if leaves else b""
    return b"\x01" + _hash(names, leaves, 0, len(leaves), depth)


def _hash(names: list[int], leaves: list[bytes], start: int, end: int, depth: int) -> bytes:
    """Return the hash over at least one leaf."""
    if end - start == 1:
        return leaves[start]
    middle = _middle(names, start, end, depth)
    left = _hash(names, leaves, start, middle, depth + 1) if middle > start else EMPTY
    right = _hash(names, leaves, middle, end, depth + 1) if end > middle else EMPTY
    return sha256(b"\x01" + left + right).digest()


def _middle(names: list[int], start: int, end: int, depth: int) -> int:
    """Return where the names begin whose bit at a depth is 1."""
    shift = HASH_BITS - 1 - depth
    return bisect_left(names, (names[start] >> shift | 1) << shift, start, end)


def bit_of(name: bytes, depth: int) -> int:
    """Return one bit of a name hash; that of depth 0 is the highest of the first byte."""
    return name[depth >> 3] >> (7 - (depth & 7)) & 1


def path(entries: Sequence[bytes], name: bytes, depth: int = 0) -> tuple[list[bytes], bytes]:
    """Return the siblings along the bits of a name, from a depth on, and the entry at the end.

    The siblings are from the leaf up. The entry is that of the name, of another one, or nothing.
    """
    siblings = []
    names = [int.from_bytes(kept[:32], "big") for kept in entries]
    start, end = 0, len(entries)
    while end - start > 1:
        middle = _middle(names, start, end, depth)
        depth += 1
        if bit_of(name, depth - 1):
            siblings.append(summary_hash(summarise(entries[start:middle], depth)))
            start = middle
        else:
            siblings.append(summary_hash(summarise(entries[middle:end], depth)))
            end = middle
    siblings.reverse()
    return siblings, entries[start] if end > start else b""


class HeadProof(NamedTuple):
    """What a head map over the log up to ``position`` says of one aggregate, and why.

    ``siblings`` lead from the end of the path up to the root of the map. Version 0 says that there
    is no such aggregate: the path ends in nothing, or in ``other``, the name hash and the value
    hash of another one.
    """

    position: int
    version: int
    root: bytes
    siblings: tuple[bytes, ...]
    other: tuple[bytes, bytes] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the proof as a JSON object, hashes in base64."""
        found: dict[str, Any] = {"position": self.position, "version": self.version}
        if self.version:
            found["root"] = to_base64(self.root)
        elif self.other is not None:
            found["other"] = [to_base64(part) for part in self.other]
        found["siblings"] = [to_base64(sibling) for sibling in self.siblings]
        return found


def make_proof(position: int, name: bytes, siblings: Sequence[bytes], end: bytes) -> HeadProof:
    """Return the proof for a name whose path was found to end in an entry, or in nothing."""
    if not end:
        return HeadProof(position, 0, b"", tuple(siblings))
    found, version, root = split_entry(end)
    if found == name:
        return HeadProof(position, version, root, tuple(siblings))
    return HeadProof(position, 0, b"", tuple(siblings), (found, value_hash(version, root)))


def read_proof(document: Any) -> HeadProof:
    """Return the proof of a JSON object that somebody brings. Raises ProofError."""
    try:
        siblings = document["siblings"]
        if type(siblings) is not list or len(siblings) > HASH_BITS:
            raise ProofError(f"a proof of the head map has a list of up to {HASH_BITS} siblings")
        position, version = document["position"], document["version"]
        if type(position) is not int or not 0 <= position <= limits.TREE_SIZE_MAX:
            raise ProofError("the position of the head map is no position of a log")
        other = document.get("other")
        if other is not None:
            name, value = other
            other = (_hash_of(name), _hash_of(value))
        root = _hash_of(document["root"]) if version else b""
        read = tuple([_hash_of(sibling) for sibling in siblings])
    except (KeyError, TypeError, ValueError, AttributeError, NoteError) as error:
        raise ProofError(f"unreadable proof of the head map: {error}") from None
    return HeadProof(position, version, root, read, other)


def _hash_of(text: Any) -> bytes:
    if type(text) is not str or len(text) > 2 * HASH_BYTES:
        raise ProofError("a hash of the head map is a short text in base64")
    return from_base64(text, "a hash of the head map")


def root_from_proof(name: bytes, proof: HeadProof) -> bytes:
    """Return the root of the map that a proof leads to. Raises ProofError."""
    hashes = (
        name,
        *proof.siblings,
        *(proof.other or ()),
        *((proof.root,) if proof.version else ()),
    )
    if any(type(one) is not bytes or len(one) != HASH_BYTES for one in hashes):
        raise ProofError(f"a hash of the head map has {HASH_BYTES} bytes")
    depth = len(proof.siblings)
    if depth > HASH_BITS:
        raise ProofError(f"no path in the head map is longer than {HASH_BITS}")
    result = _end_of(name, proof, depth)
    for at, sibling in zip(reversed(range(depth)), proof.siblings, strict=True):
        pair = sibling + result if bit_of(name, at) else result + sibling
        result = sha256(b"\x01" + pair).digest()
    return result


def _end_of(name: bytes, proof: HeadProof, depth: int) -> bytes:
    """Return the hash in which the path of a name is said to end."""
    if type(proof.version) is not int or not 0 <= proof.version <= _VERSION_MAX:
        raise ProofError("the version of an aggregate is an unsigned number of 64 bits")
    if proof.version:
        if proof.other is not None:
            raise ProofError("a path of the head map cannot end in two aggregates")
        return leaf(name, value_hash(proof.version, proof.root))
    if proof.root:
        raise ProofError("an aggregate that is not there has no root")
    if proof.other is None:
        return EMPTY
    other, value = proof.other
    shift = HASH_BITS - depth
    if other == name:
        raise ProofError("the path ends in the aggregate that is said not to be there")
    if int.from_bytes(other, "big") >> shift != int.from_bytes(name, "big") >> shift:
        raise ProofError("the path does not lead to the aggregate in which it is said to end")
    return leaf(other, value)


def check_head(
    aggregate_type: str, aggregate_id: str, proof: HeadProof, position: int, root: bytes
) -> None:
    """Raise ProofError unless the map with this root, over that much of the log, says this.

    What it says: that the aggregate had ``proof.version`` events whose root is ``proof.root``, or,
    for version 0, that it did not exist.
    """
    if proof.position != position:
        raise ProofError(f"the proof is about the map at {proof.position}, not at {position}")
    if root_from_proof(name_hash(aggregate_type, aggregate_id), proof) != root:
        raise ProofError("the proof does not lead to the root of the head map")


def heads_line(position: int, root: bytes) -> str:
    """Return the line of a checkpoint that says what the root of the head map was."""
    return f"{_LINE}{position} {to_base64(root)}"


def heads_of(checkpoint: Checkpoint) -> tuple[int, bytes] | None:
    """Return position and root of the head map that a checkpoint speaks of, or None.

    Raises ProofError for a line that cannot be read, for two, and for a map that is ahead.
    """
    lines = [line for line in checkpoint.extensions if line.startswith(_LINE)]
    if not lines:
        return None
    parts = lines[0].split(" ")
    if len(lines) > 1 or len(parts) != 3:
        raise ProofError("a checkpoint has one line about the head map: heads, position, root")
    try:
        position = parse_decimal(parts[1], limits.TREE_SIZE_MAX, "the position of the head map")
        root = from_base64(parts[2], "the root of the head map")
    except NoteError as error:
        raise ProofError(str(error)) from None
    if len(root) != HASH_BYTES:
        raise ProofError(f"the root of the head map has {HASH_BYTES} bytes")
    if position > checkpoint.size:
        raise ProofError("the head map is ahead of its checkpoint")
    return position, root
