"""Proofs in a file (C2SP tlog-proof): one entry of a log, and the checkpoint that it is under.

What is logged is not in the file: who verifies computes the leaf hash. The extra data of a file
may tell them how, but nothing vouches for it until the leaf that it leads to is found in the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventdbx import limits
from eventdbx.domain.checkpoints import Trust, Verified, check_checkpoint, parse_checkpoint
from eventdbx.domain.notes import (
    Note,
    NoteError,
    Verify,
    decode,
    from_base64,
    parse_decimal,
    parse_note,
    to_base64,
)
from eventdbx.domain.proofs import ProofError, check_inclusion

HASH_BYTES = 32
_HEADER = "c2sp.org/tlog-proof@v1"
_EXTRA = "extra "
_INDEX = "index "


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The proof that the entry at ``index`` is in a log. ``note`` is the checkpoint, signed.

    ``hashes`` lead from the sibling of the leaf to a child of the root. No extra data is ``b""``.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: Note
    extra: bytes = b""

    def __post_init__(self) -> None:
        try:
            size = parse_checkpoint(self.note.text).size
        except NoteError as error:
            raise ProofError(str(error)) from None
        if not 0 <= self.index < size:
            raise ProofError(f"entry {self.index} is not in a log of {size}")
        if len(self.hashes) > limits.PROOF_HASHES_MAX:
            raise ProofError(f"a proof has at most {limits.PROOF_HASHES_MAX} hashes")
        if any(len(value) != HASH_BYTES for value in self.hashes):
            raise ProofError(f"a hash has {HASH_BYTES} bytes")
        if len(self.extra) > limits.TLOG_PROOF_EXTRA_BYTES_MAX:
            raise ProofError(f"the extra data exceeds {limits.TLOG_PROOF_EXTRA_BYTES_MAX} bytes")

    def encode(self) -> bytes:
        """Return the content of the file."""
        lines = [_HEADER]
        if self.extra:
            lines.append(_EXTRA + to_base64(self.extra))
        lines.append(f"{_INDEX}{self.index}")
        lines += map(to_base64, self.hashes)
        return "\n".join((*lines, "", "")).encode() + self.note.encode()


def parse_tlog_proof(raw: bytes) -> TlogProof:
    """Return a proof as it stands in a file, nothing of it verified. Raises ProofError."""
    try:
        text = decode(raw, limits.TLOG_PROOF_BYTES_MAX, "the proof")
        head, blank, note = text.partition("\n\n")
        if not blank:
            raise ProofError("no blank line stands before the checkpoint")
        return _parsed(head.split("\n"), parse_note(note.encode()))
    except NoteError as error:
        raise ProofError(str(error)) from None


def _parsed(lines: Sequence[str], note: Note) -> TlogProof:
    header, *lines = lines
    if header != _HEADER:
        raise ProofError(f"a proof begins with {_HEADER}")
    extra = b""
    if lines and lines[0].startswith(_EXTRA):
        extra = from_base64(lines.pop(0).removeprefix(_EXTRA), "the extra data")
        if not extra:
            raise ProofError("without extra data there is no line for it")
    if not lines or not lines[0].startswith(_INDEX):
        raise ProofError("the line with the index is missing")
    index = parse_decimal(lines[0].removeprefix(_INDEX), limits.TREE_SIZE_MAX, "the index")
    if len(lines) - 1 > limits.PROOF_HASHES_MAX:
        raise ProofError(f"a proof has at most {limits.PROOF_HASHES_MAX} hashes")
    hashes = tuple(from_base64(line, "a hash") for line in lines[1:])
    return TlogProof(index, hashes, note, extra)


def check_tlog_proof(proof: TlogProof, leaf: bytes, trust: Trust, verify: Verify) -> Verified:
    """Return the checkpoint under which a leaf hash is proven to be in the log that is trusted.

    Raises ProofError unless the log signed, enough witnesses did, and the hashes lead to the root.
    """
    try:
        verified = check_checkpoint(proof.note, trust, verify)
    except NoteError as error:
        raise ProofError(str(error)) from None
    checkpoint = verified.checkpoint
    check_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return verified
