"""What is wrong with a JSON text, in the words and at the place that clients of the protocol know.

Used only after the fast reader refused a text; it builds no values. Columns count bytes.
"""

from __future__ import annotations

import re

_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
_WORDS = {0x6E: b"null", 0x74: b"true", 0x66: b"false"}

_END_OF_VALUE = "EOF while parsing a value"
_END_OF_STRING = "EOF while parsing a string"


def explain(raw: bytes, depth_max: int) -> str:
    """Return why a text is not JSON of at most ``depth_max`` containers in one another.

    The answer has the form ``expected value at line 1 column 1``.
    """
    cause, end = locate(raw, depth_max)
    line = raw.count(b"\n", 0, end) + 1
    column = end - (raw.rfind(b"\n", 0, end) + 1)
    return f"{cause} at line {line} column {column}"


def locate(raw: bytes, depth_max: int) -> tuple[str, int]:
    """Return the cause that :func:`explain` names, and the number of bytes up to its place.

    The offending byte is the last one of them, unless the text ends too early.
    """
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        fault = _Fault("invalid unicode code point", error.start + 1)
    else:
        try:
            _Scan(raw, depth_max).document()
        except _Fault as found:
            fault = found
        else:
            fault = _Fault("number out of range", len(raw))
    return fault.cause, min(fault.end, len(raw))


class _Fault(Exception):
    """``end`` is the number of bytes up to and including the offending one."""

    def __init__(self, cause: str, end: int) -> None:
        super().__init__(cause)
        self.cause = cause
        self.end = end


class _Scan:
    """A reader that stops at the first fault; it recurses no deeper than ``depth_max``."""

    def __init__(self, raw: bytes, depth_max: int) -> None:
        self._raw = raw
        self._at = 0
        self._room = depth_max

    def document(self) -> None:
        self._value()
        if self._peek() is not None:
            raise _Fault("trailing characters", self._at + 1)

    def _peek(self) -> int | None:
        """Skip white space and return the byte that follows, or None at the end."""
        found = _SPACE.match(self._raw, self._at)
        assert found is not None
        self._at = found.end()
        return self._raw[self._at] if self._at < len(self._raw) else None

    def _value(self) -> None:
        first = self._peek()
        if first is None:
            raise _Fault(_END_OF_VALUE, self._at)
        if first in _WORDS:
            self._word(_WORDS[first])
        elif first == 0x22:
            self._string()
        elif first == 0x2D or 0x30 <= first <= 0x39:
            self._number()
        elif first in b"[{":
            if self._room == 0:
                raise _Fault("recursion limit exceeded", self._at + 1)
            self._room -= 1
            self._at += 1
            if first == 0x5B:
                self._array()
            else:
                self._object()
            self._room += 1
        else:
            raise _Fault("expected value", self._at + 1)

    def _word(self, word: bytes) -> None:
        for expected in word:
            if self._at == len(self._raw):
                raise _Fault(_END_OF_VALUE, self._at)
            self._at += 1
            if self._raw[self._at - 1] != expected:
                raise _Fault("expected ident", self._at)

    def _array(self) -> None:
        if self._peek() == 0x5D:
            self._at += 1
            return
        while True:
            if self._peek() is None:
                raise _Fault("EOF while parsing a list", self._at)
            self._value()
            follower = self._peek()
            if follower is None:
                raise _Fault("EOF while parsing a list", self._at)
            if follower not in b",]":
                raise _Fault("expected `,` or `]`", self._at + 1)
            self._at += 1
            if follower == 0x5D:
                return
            follower = self._peek()
            if follower is None:
                raise _Fault(_END_OF_VALUE, self._at)
            if follower == 0x5D:
                raise _Fault("trailing comma", self._at + 1)

    def _object(self) -> None:
        first = self._peek()
        if first is None:
            raise _Fault("EOF while parsing an object", self._at)
        if first == 0x7D:
            self._at += 1
            return
        while True:
            self._member()
            follower = self._peek()
            if follower is None:
                raise _Fault("EOF while parsing an object", self._at)
            if follower not in b",}":
                raise _Fault("expected `,` or `}`", self._at + 1)
            self._at += 1
            if follower == 0x7D:
                return
            follower = self._peek()
            if follower is None:
                raise _Fault(_END_OF_VALUE, self._at)
            if follower == 0x7D:
                raise _Fault("trailing comma", self._at + 1)

    def _member(self) -> None:
        if self._peek() != 0x22:
            raise _Fault("key must be a string", self._at + 1)
        self._string()
        colon = self._peek()
        if colon is None:
            raise _Fault("EOF while parsing an object", self._at)
        if colon != 0x3A:
            raise _Fault("expected `:`", self._at + 1)
        self._at += 1
        self._value()

    def _digits(self) -> bool:
        """Skip decimal digits; say whether there were any."""
        found = _DIGITS.match(self._raw, self._at)
        assert found is not None
        start, self._at = self._at, found.end()
        return self._at > start

    def _need_digits(self) -> None:
        if not self._digits():
            if self._at == len(self._raw):
                raise _Fault(_END_OF_VALUE, self._at)
            raise _Fault("invalid number", self._at + 1)

    def _byte(self) -> int | None:
        return self._raw[self._at] if self._at < len(self._raw) else None

    def _number(self) -> None:
        start = self._at
        if self._byte() == 0x2D:
            self._at += 1
        if self._byte() == 0x30:
            self._at += 1
            if self._digits():
                raise _Fault("invalid number", start + 2 + (self._raw[start] == 0x2D))
        else:
            self._need_digits()
        if self._byte() == 0x2E:
            self._at += 1
            self._need_digits()
        if self._byte() in (0x45, 0x65):
            self._at += 1
            if self._byte() in (0x2B, 0x2D):
                self._at += 1
            self._need_digits()
        if float(self._raw[start : self._at]) in (float("inf"), float("-inf")):
            raise _Fault("number out of range", self._at)

    def _string(self) -> None:
        self._at += 1
        while True:
            found = _PLAIN.match(self._raw, self._at)
            assert found is not None
            self._at = found.end()
            stop = self._byte()
            if stop is None:
                raise _Fault(_END_OF_STRING, self._at)
            self._at += 1
            if stop == 0x22:
                return
            if stop != 0x5C:
                raise _Fault(
                    "control character (\\u0000-\\u001F) found while parsing a string", self._at
                )
            self._escape()

    def _escape(self) -> None:
        letter = self._byte()
        if letter is None:
            raise _Fault(_END_OF_STRING, self._at)
        self._at += 1
        if letter not in b'"\\/bfnrtu':
            raise _Fault("invalid escape", self._at)
        if letter != 0x75:
            return
        unit = self._unit()
        if 0xDC00 <= unit <= 0xDFFF:
            raise _Fault("lone leading surrogate in hex escape", self._at)
        if 0xD800 <= unit <= 0xDBFF:
            if self._raw[self._at : self._at + 2] != b"\\u":
                raise _Fault("unexpected end of hex escape", self._at + 1)
            self._at += 2
            if not 0xDC00 <= self._unit() <= 0xDFFF:
                raise _Fault("lone leading surrogate in hex escape", self._at)

    def _unit(self) -> int:
        if self._at + 4 > len(self._raw):
            raise _Fault(_END_OF_STRING, len(self._raw))
        found = _HEX4.match(self._raw, self._at)
        self._at += 4
        if found is None:
            raise _Fault("invalid escape", self._at)
        return int(found[0], 16)
