"""Checkpoints in the store: notes by partition and size, the old ones thinned.

What a note says, and who may sign it, is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from eventdbx import limits
from eventdbx.storage import keys
from eventdbx.storage.eventlog import U64_MAX, Reads

_NEXT_SIGNATURE = "\n— ".encode()


class Scans(Reads, Protocol):
    """A view, or a step of the store."""

    def scan(
        self, start: bytes, stop: bytes, /, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with ``start <= key < stop``."""


class Step(Scans, Protocol):
    """A step of the store."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Put a value under a key."""

    def delete(self, key: bytes, /) -> None:
        """Remove a key."""


class Stored(NamedTuple):
    """A signed checkpoint as it is stored: the size of its log, and the note."""

    size: int
    note: bytes

    @property
    def cosigned(self) -> bool:
        """Whether anyone signed it besides the log."""
        return self.note.count(_NEXT_SIGNATURE) > 1


def put_checkpoint(step: Step, partition: int, size: int, note: bytes) -> None:
    """Put a checkpoint, in place of the one that the log has at this size."""
    step.put(keys.checkpoint(partition, size), note)


def load_checkpoint(reads: Reads, partition: int, size: int) -> bytes | None:
    """Return the note of the checkpoint at exactly this size, or None."""
    return reads.get(keys.checkpoint(partition, size))


def newest_checkpoint(reads: Scans, partition: int) -> Stored | None:
    """Return the checkpoint of the largest size, or None."""
    return next(checkpoints(reads, partition), None)


def oldest_covering(reads: Scans, partition: int, size: int) -> Stored | None:
    """Return the smallest checkpoint that has at least this size, or None."""
    start = keys.checkpoint(partition, size)
    for key, note in reads.scan(start, keys.checkpoint(partition, U64_MAX)):
        return Stored(keys.checkpoint_size(key), note)
    return None


def checkpoints(reads: Scans, partition: int, *, below: int = U64_MAX) -> Iterator[Stored]:
    """Yield checkpoints of sizes below one, largest first."""
    start, stop = keys.checkpoint(partition, 0), keys.checkpoint(partition, below)
    for key, note in reads.scan(start, stop, reverse=True):
        yield Stored(keys.checkpoint_size(key), note)


def thin(step: Step, partition: int) -> int:
    """Delete the checkpoints that can go; return how many were.

    How many are kept grows with the logarithm of the log. The newest that anybody cosigned, and
    the oldest of all, stay.
    """
    found = list(checkpoints(step, partition))
    going = superfluous([one.size for one in found])
    going.discard(next((one.size for one in found if one.cosigned), -1))
    for size in going:
        step.delete(keys.checkpoint(partition, size))
    return len(going)


def superfluous(sizes: Sequence[int]) -> set[int]:
    """Return which checkpoints can go, from sizes in descending order."""
    going: set[int] = set()
    kept = 0
    for place in range(limits.CHECKPOINTS_NEWEST, len(sizes) - 1):
        kept = kept or sizes[place - 1]
        older = sizes[place + 1]
        # The next older one is near enough to the last one kept: this one tells nothing more.
        if kept - older <= (sizes[0] - older) // limits.CHECKPOINT_GAP:
            going.add(sizes[place])
        else:
            kept = sizes[place]
    return going
