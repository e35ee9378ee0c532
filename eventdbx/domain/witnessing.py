"""What a log asks of a witness (C2SP tlog-witness): the body of ``add-checkpoint``, and its check.

Who may ask, which keys sign for a log, and the answers over HTTP are not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from eventdbx import limits
from eventdbx.domain.checkpoints import ROOT_BYTES, Checkpoint, parse_checkpoint
from eventdbx.domain.merkle import EMPTY_ROOT
from eventdbx.domain.notes import (
    Note,
    NoteError,
    decode,
    from_base64,
    parse_decimal,
    parse_note,
    to_base64,
)
from eventdbx.domain.proofs import check_consistency

_OLD = "old "


class OtherSize(Exception):
    """The witness has seen another tree last; ``size`` is what the answer with status 409 says."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness has last cosigned a tree of {size}")
        self.size = size


@dataclass(frozen=True, slots=True)
class Submission:
    """A new checkpoint, and the proof that the tree of ``old`` leaves is its beginning."""

    old: int
    hashes: tuple[bytes, ...]
    note: Note

    def __post_init__(self) -> None:
        size = self.checkpoint.size
        if not 0 <= self.old <= size:
            raise NoteError(f"a tree of {self.old} is no beginning of one of {size}")
        if len(self.hashes) > limits.PROOF_HASHES_MAX:
            raise NoteError(f"a proof has at most {limits.PROOF_HASHES_MAX} hashes")
        if any(len(value) != ROOT_BYTES for value in self.hashes):
            raise NoteError(f"a hash has {ROOT_BYTES} bytes")

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note says of the log."""
        return parse_checkpoint(self.note.text)

    def encode(self) -> bytes:
        """Return the body of the request."""
        lines = (f"{_OLD}{self.old}", *map(to_base64, self.hashes), "", "")
        return "\n".join(lines).encode() + self.note.encode()


def parse_submission(raw: bytes) -> Submission:
    """Return a request, nothing of it verified. Raises NoteError, for an answer with status 400."""
    text = decode(raw, limits.WITNESS_REQUEST_BYTES_MAX, "the request")
    head, blank, note = text.partition("\n\n")
    old, *lines = head.split("\n")
    if not blank or not old.startswith(_OLD):
        raise NoteError("a request has the old size, hashes, a blank line and a checkpoint")
    if len(lines) > limits.PROOF_HASHES_MAX:
        raise NoteError(f"a proof has at most {limits.PROOF_HASHES_MAX} hashes")
    return Submission(
        parse_decimal(old.removeprefix(_OLD), limits.TREE_SIZE_MAX, "the old size"),
        tuple(from_base64(line, "a hash") for line in lines),
        parse_note(note.encode()),
    )


def check_submission(submission: Submission, last: Checkpoint | None) -> None:
    """Raise unless a checkpoint, whose signature is verified, may be cosigned after the last one.

    OtherSize stands for status 409, ProofError for 422.
    """
    size, root = (last.size, last.root) if last else (0, EMPTY_ROOT)
    checkpoint = submission.checkpoint
    if submission.old != size or (checkpoint.size == size and checkpoint.root != root):
        raise OtherSize(size)
    check_consistency(size, root, checkpoint.size, checkpoint.root, submission.hashes)
