"""Hashes and roots as the existing program computes them: to check what comes from it, no more.

They are never stored: they are unsalted, which betrays erased data, ambiguous, and leave most
fields of an event out. Ours are in :mod:`eventdbx.domain.events` and :mod:`eventdbx.domain.merkle`.
"""

from __future__ import annotations

from hashlib import sha256

from eventdbx.domain.canonical import JSON, text_of

EMPTY_ROOT = sha256(b"").hexdigest()


def event_hash(
    aggregate_type: str, aggregate_id: str, version: int, event_type: str, payload: JSON
) -> str:
    """Return the hash that the existing program gives an event, 64 hexadecimal digits."""
    if type(payload) is dict:
        entries = payload
    else:
        entries = {} if payload is None else {"_value": payload}
    digest = sha256()
    digest.update(aggregate_type.encode())
    digest.update(aggregate_id.encode())
    digest.update(version.to_bytes(8, "big"))
    digest.update(event_type.encode())
    # UTF-8 orders bytes as code points are ordered, so the texts can be sorted as they are.
    for key in sorted(entries):
        digest.update(key.encode())
        digest.update(text_of(entries[key]).encode())
    return digest.hexdigest()


class Peaks:
    """The root over a growing number of hashes: one per complete subtree is kept."""

    def __init__(self) -> None:
        self._count = 0
        self._peaks: list[str | None] = []

    def push(self, leaf: str) -> None:
        """Take the next hash."""
        carry, level = leaf, 0
        while self._count >> level & 1:
            carry = _parent(self._peaks[level] or "", carry)
            self._peaks[level] = None
            level += 1
        if level == len(self._peaks):
            self._peaks.append(None)
        self._peaks[level] = carry
        self._count += 1

    def root(self) -> str:
        """Return the root over everything so far; a last node without a partner is its own."""
        if not self._count:
            return EMPTY_ROOT
        carry: str | None = None
        level = 0
        while True:
            full = self._count >> level
            if full + (carry is not None) == 1:
                found = carry if carry is not None else self._peaks[level]
                assert found is not None
                return found
            if carry is not None:
                carry = _parent((self._peaks[level] or "") if full & 1 else carry, carry)
            elif full & 1:
                peak = self._peaks[level] or ""
                carry = _parent(peak, peak)
            level += 1


def _parent(left: str, right: str) -> str:
    return sha256((left + right).encode()).hexdigest()
