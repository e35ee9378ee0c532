"""Keys of Ed25519 for tests, and the tree whose nodes they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from eventdbx.domain.merkle import node_hash
from eventdbx.domain.notes import COSIGNATURE, ED25519, NoteKey, Sign
from eventdbx.domain.proofs import Nodes


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether the key made the signature: what the modules are handed in production too."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def log_key(name: str, seed: bytes) -> tuple[NoteKey, Sign]:
    """Return a key that signs notes, and what it signs with."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return NoteKey(name, private.public_key().public_bytes_raw(), ED25519), private.sign


def witness_key(name: str, seed: bytes) -> tuple[NoteKey, Sign]:
    """Return a key that cosigns, and what it signs with."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return NoteKey(name, private.public_key().public_bytes_raw(), COSIGNATURE), private.sign


def nodes_over(leaves: Sequence[bytes]) -> Nodes:
    """Return the way to the nodes of a tree, each computed as the RFC says when it is asked for."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        levels.append([node_hash(left, right) for left, right in pairs])

    def nodes(level: int, index: int) -> bytes:
        return levels[level][index]

    return nodes
