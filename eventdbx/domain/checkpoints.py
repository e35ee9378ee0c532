"""Checkpoints of a log (C2SP tlog-checkpoint) and what witnesses sign (tlog-cosignature).

A checkpoint is a signed note whose text says how large a log was and what its root was. A witness
that has seen it be consistent with all it saw before adds a cosignature, which carries a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from eventdbx import limits
from eventdbx.domain.notes import (
    COSIGNATURE,
    ED25519,
    SIGNATURE_BYTES,
    Note,
    NoteError,
    NoteKey,
    Sign,
    Signature,
    Verify,
    check_characters,
    check_note,
    from_base64,
    known_signatures,
    made,
    parse_decimal,
    sign_note,
    to_base64,
)

ROOT_BYTES = 32
TIMESTAMP_BYTES = 8
_COSIGNED = "cosignature/v1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: ``size`` leaves under ``root``. ``origin`` names the log."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise NoteError("a line of a checkpoint is empty or has a newline in it")
            check_characters(line)
        if len(self.origin.encode()) > limits.ORIGIN_BYTES_MAX:
            raise NoteError(f"the origin exceeds {limits.ORIGIN_BYTES_MAX} bytes")
        if not 0 <= self.size <= limits.TREE_SIZE_MAX:
            raise NoteError(f"the size is not between 0 and {limits.TREE_SIZE_MAX}")
        if len(self.root) != ROOT_BYTES:
            raise NoteError(f"the root has {ROOT_BYTES} bytes, not {len(self.root)}")

    def text(self) -> str:
        """Return the text that is signed."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Return what the text of a note says of a log. Raises NoteError."""
    if not text.endswith("\n"):
        raise NoteError("a checkpoint ends in a newline")
    origin, *lines = text[:-1].split("\n")
    if len(lines) < 2:
        raise NoteError("a checkpoint has an origin, a size and a root")
    size = parse_decimal(lines[0], limits.TREE_SIZE_MAX, "the size")
    root = from_base64(lines[1], "the root")
    return Checkpoint(origin, size, root, tuple(lines[2:]))


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Sign) -> Note:
    """Return a checkpoint signed by its log, whose key has the name of the log."""
    if key.name != checkpoint.origin:
        raise NoteError(f"{key.name} does not sign checkpoints of {checkpoint.origin}")
    return sign_note(checkpoint.text(), key, sign)


def cosigned_message(text: str, timestamp: int) -> bytes:
    """Return what a witness signs: the text of a checkpoint, and when it vouches for it."""
    _check_timestamp(timestamp)
    return f"{_COSIGNED}\ntime {timestamp}\n{text}".encode()


def cosign(text: str, key: NoteKey, timestamp: int, sign: Sign) -> Signature:
    """Return the cosignature of a witness; ``timestamp`` counts seconds since the Unix epoch.

    Whether the checkpoint is consistent with those before is for the caller to have made sure.
    """
    if key.kind != COSIGNATURE:
        raise NoteError(f"keys of type 0x{key.kind:02x} do not cosign")
    parse_checkpoint(text)
    value = made(sign, cosigned_message(text, timestamp))
    return Signature(key.name, key.id, timestamp.to_bytes(TIMESTAMP_BYTES, "big") + value)


def cosigned_at(signature: Signature) -> int:
    """Return the time that a cosignature carries. Raises NoteError if it is none."""
    if len(signature.value) != TIMESTAMP_BYTES + SIGNATURE_BYTES:
        raise NoteError(f"the cosignature of {signature.name} has the wrong length")
    timestamp = int.from_bytes(signature.value[:TIMESTAMP_BYTES], "big")
    _check_timestamp(timestamp)
    return timestamp


def _check_timestamp(timestamp: int) -> None:
    if not 0 <= timestamp <= limits.COSIGNATURE_TIMESTAMP_MAX:
        raise NoteError(
            f"the time of a cosignature is not between 0 and {limits.COSIGNATURE_TIMESTAMP_MAX}"
        )


def check_cosignatures(
    note: Note, witnesses: Iterable[NoteKey], verify: Verify
) -> dict[NoteKey, int]:
    """Return which of the known witnesses cosigned a checkpoint, and when: each its latest time.

    Raises NoteError if a line is in the name of a known witness and does not hold.
    """
    times: dict[NoteKey, int] = {}
    for key, signature in known_signatures(note, witnesses):
        if key.kind != COSIGNATURE:
            raise NoteError(f"keys of type 0x{key.kind:02x} do not cosign")
        timestamp = cosigned_at(signature)
        message = cosigned_message(note.text, timestamp)
        if not verify(key.public, signature.value[TIMESTAMP_BYTES:], message):
            raise NoteError(f"the cosignature of {key.name} does not hold")
        times[key] = max(timestamp, times.get(key, 0))
    return times


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier believes: the keys of one log, and how many of which witnesses it wants."""

    origin: str
    log_keys: tuple[NoteKey, ...]
    witnesses: tuple[NoteKey, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        if any(key.kind != ED25519 for key in self.log_keys):
            raise NoteError("a log signs with keys of Ed25519")
        if any(key.kind != COSIGNATURE for key in self.witnesses):
            raise NoteError("a witness signs with keys for cosignatures")
        # What they sign does not hold their name: one key would count under each of its names.
        if len({key.public for key in self.witnesses}) != len(self.witnesses):
            raise NoteError("two witnesses have one key")
        if not 0 <= self.quorum <= len(self.witnesses):
            raise NoteError(f"{self.quorum} of {len(self.witnesses)} witnesses cannot sign")


class Verified(NamedTuple):
    """A checkpoint that the log signed, and those known witnesses that cosigned it, with times."""

    checkpoint: Checkpoint
    signers: tuple[NoteKey, ...]
    cosigners: dict[NoteKey, int]


def check_checkpoint(note: Note, trust: Trust, verify: Verify) -> Verified:
    """Return what a note says of the log that is trusted. Raises NoteError unless it proves it."""
    signers = check_note(note, trust.log_keys, verify)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != trust.origin:
        raise NoteError(f"the checkpoint is of {checkpoint.origin}, not of {trust.origin}")
    cosigners = check_cosignatures(note, trust.witnesses, verify)
    if len(cosigners) < trust.quorum:
        raise NoteError(f"{len(cosigners)} known witnesses cosigned, {trust.quorum} are wanted")
    return Verified(checkpoint, signers, cosigners)
