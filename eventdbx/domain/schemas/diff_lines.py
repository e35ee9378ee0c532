"""The shortest way from one list of lines to another (Myers, in linear space).

``difflib`` looks for long common blocks instead, and its cost is quadratic in lines that occur
often, as braces do in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

EDITS_MAX = 4_000
"""Texts that differ by more are shown as one text removed and one added: nobody reads that
line by line, and the search costs the square of the edits."""


class Piece(NamedTuple):
    """A run of equal lines, or lines that are replaced; the stops are exclusive."""

    equal: bool
    old_start: int
    old_stop: int
    new_start: int
    new_stop: int

    def part(self, start: int, stop: int) -> Piece:
        """Return lines start..stop (exclusive, cut to its length) of a run of equal lines."""
        stop = min(stop, self.old_stop - self.old_start)
        return Piece(
            True,
            self.old_start + start,
            self.old_start + stop,
            self.new_start + start,
            self.new_start + stop,
        )


def pieces(old: Sequence[str], new: Sequence[str]) -> Iterator[Piece]:
    """Yield alternately runs of equal lines and replaced ones, from the first line to the last."""
    at_old = at_new = 0
    pairs = list(_equal_runs(old, new))
    for old_start, new_start, length in (*pairs, (len(old), len(new), 0)):
        if old_start > at_old or new_start > at_new:
            yield Piece(False, at_old, old_start, at_new, new_start)
        at_old, at_new = old_start + length, new_start + length
        if length:
            yield Piece(True, old_start, at_old, new_start, at_new)


def _equal_runs(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield (place in old, place in new, length) of the runs that both have, neighbours joined."""
    start_old = start_new = length = 0
    for at_old, at_new, more in _snakes(old, new):
        if (at_old, at_new) == (start_old + length, start_new + length):
            length += more
            continue
        if length:
            yield start_old, start_new, length
        start_old, start_new, length = at_old, at_new, more
    if length:
        yield start_old, start_new, length


def _snakes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield equal runs in order; a stack instead of recursion, for the texts may be long."""
    stack: list[tuple[int, int, int, int, bool]] = [(0, len(old), 0, len(new), False)]
    while stack:
        a, b, c, d, known = stack.pop()
        if known:
            yield a, c, b - a
            continue
        head = 0
        while a + head < b and c + head < d and old[a + head] == new[c + head]:
            head += 1
        if head:
            yield a, c, head
        a, c = a + head, c + head
        tail = 0
        while b - tail > a and d - tail > c and old[b - tail - 1] == new[d - tail - 1]:
            tail += 1
        if tail:
            stack.append((b - tail, b, d - tail, d, True))
        b, d = b - tail, d - tail
        if a == b or c == d:
            continue
        middle = _middle(old, new, a, b, c, d)
        if middle is not None:
            x, y = middle
            stack.append((x, b, y, d, False))
            stack.append((a, x, c, y, False))


class _Search:
    """Furthest places reached from one end with so many edits, by diagonal (Myers)."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self._old, self._new = old, new
        self.reached = {1: 0}
        self._skip_low = self._skip_high = 0

    def advance(self, depth: int) -> Iterator[tuple[int, int, int]]:
        """Take one more edit; yield (diagonal, x, y) of the places that are inside."""
        reached, old, new = self.reached, self._old, self._new
        n, m = len(old), len(new)
        k = self._skip_low - depth
        while k <= depth - self._skip_high:
            below, above = reached.get(k - 1, -1), reached.get(k + 1, -1)
            x = above if k == -depth or (k != depth and below < above) else below + 1
            y = x - k
            while x < n and y < m and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[k] = x
            if x > n:
                self._skip_high += 2
            elif y > m:
                self._skip_low += 2
            else:
                yield k, x, y
            k += 2


def _middle(
    old: Sequence[str], new: Sequence[str], a: int, b: int, c: int, d: int
) -> tuple[int, int] | None:
    """Return a place on a shortest way through old[a:b] and new[c:d]; None if it is too long.

    Two searches, from both ends, meet there. Neither text is empty, and they begin and end with
    different lines, so the place is not one of the two corners.
    """
    n, m = b - a, d - c
    delta = n - m
    there = _Search(old[a:b], new[c:d])
    back = _Search(old[a:b][::-1], new[c:d][::-1])
    for depth in range(min((n + m + 1) // 2, EDITS_MAX // 2)):
        for k, x, y in there.advance(depth):
            met = back.reached.get(delta - k, -1)
            if delta % 2 and met >= 0 and x >= n - met:
                return a + x, c + y
        for k, x, _y in back.advance(depth):
            met = there.reached.get(delta - k, -1)
            if not delta % 2 and met >= 0 and met >= n - x:
                return a + met, c + met - (delta - k)
    return None
