"""LIKE: patterns with wildcards, matched without ever going back.

``%`` and ``*`` stand for any run of characters, ``_`` and ``?`` for one; neither stands for a line
feed, and nothing escapes them.
"""

from __future__ import annotations

_RUNS = str.maketrans({"*": "%", "?": "_"})


class Pattern:
    """A pattern that whole texts either match or do not; case counts.

    The time for a text of n characters and a pattern of m is O(n + m) as long as no ``_`` stands
    between two runs, else at most O(n * m / 64).
    """

    def __init__(self, text: str) -> None:
        # No wildcard takes a line feed, so those of text and pattern pair off one by one and the
        # lines between them match or fail on their own.
        self._lines = [_Line(line) for line in text.translate(_RUNS).split("\n")]

    def matches(self, text: str) -> bool:
        """Say whether the pattern covers the whole text."""
        lines = self._lines
        if len(lines) == 1:
            return "\n" not in text and lines[0].matches(text)
        texts = text.split("\n")
        return len(texts) == len(lines) and all(map(_Line.matches, lines, texts))


class _Line:
    """The part of a pattern between two line feeds: a head, loose pieces in order, and a tail."""

    def __init__(self, text: str) -> None:
        pieces = text.split("%")
        self._head = _Piece(pieces[0])
        self._open = len(pieces) > 1
        self._tail = _Piece(pieces[-1])
        self._inner = [_Piece(piece) for piece in pieces[1:-1] if piece]

    def matches(self, text: str) -> bool:
        if not self._open:
            return len(text) == self._head.size and self._head.at(text, 0)
        at = self._head.size
        stop = len(text) - self._tail.size
        if at > stop or not self._head.at(text, 0) or not self._tail.at(text, stop):
            return False
        for piece in self._inner:
            # The leftmost place is never worse than a later one: it leaves the most behind it.
            found = piece.find(text, at, stop)
            if found < 0:
                return False
            at = found + piece.size
        return True


class _Piece:
    """A run of characters and ``_``, of fixed length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.size = len(text)
        self._plain = "_" not in text
        self._bits: dict[str, int] = {}
        self._any = 0
        if not self._plain:
            bits: dict[str, list[int]] = {}
            for place, letter in enumerate(text):
                bits.setdefault(letter, []).append(place)
            self._bits = {letter: _mask(places) for letter, places in bits.items()}
            self._any = self._bits.pop("_")

    def at(self, text: str, start: int) -> bool:
        """Say whether the piece stands at this place, which leaves room for it."""
        if self._plain:
            return text.startswith(self._text, start)
        part = text[start : start + self.size]
        return all(a == b or a == "_" for a, b in zip(self._text, part, strict=True))

    def find(self, text: str, start: int, stop: int) -> int:
        """Return the first place from ``start`` where the piece stands before ``stop``, or -1."""
        if self._plain:
            return text.find(self._text, start, stop)
        # Bit i is set while the last i + 1 characters match the first i + 1 of the piece.
        state, full, bits, anything = 0, 1 << (self.size - 1), self._bits, self._any
        for place in range(start, stop):
            state = (state << 1 | 1) & (bits.get(text[place], 0) | anything)
            if state & full:
                return place - self.size + 1
        return -1


def _mask(places: list[int]) -> int:
    raw = bytearray(places[-1] // 8 + 1)
    for place in places:
        raw[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(raw, "little")
