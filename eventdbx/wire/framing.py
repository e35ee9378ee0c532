"""Cuts a byte stream into frames and stream messages. What is in them is decoded elsewhere.

A frame is a 4-byte big-endian length and that many bytes. A raw stream message tells its own
length in its segment table; only the first message of a connection (and all of those of peers
that send no hello) travel so.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from eventdbx import limits
from eventdbx.wire.pointers import SEGMENTS_MAX

_length = Struct(">I").unpack_from


class FramingError(ValueError):
    """The bytes cannot be cut: a length is zero, too large, or not of this protocol."""


class Inbox:
    """Received bytes that were not yet consumed."""

    __slots__ = ("_data", "_at")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        at = self._at
        if at == len(self._data):
            self._data = bytes(data)
        else:
            self._data = self._data[at:] + data
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def frame(self) -> bytes | None:
        """Return the next frame's payload, None until all of it has come.

        Raises FramingError as soon as the length is seen to be 0 or too large.
        """
        data, at = self._data, self._at
        if len(data) - at < 4:
            return None
        size: int = _length(data, at)[0]
        if not 0 < size <= limits.FRAME_PAYLOAD_BYTES_MAX:
            raise FramingError(f"frame of {size} bytes")
        start = at + 4
        end = start + size
        if len(data) < end:
            return None
        self._at = end
        return data[start:end]

    def raw_message(self, size_max: int) -> bytes | None:
        """Return the next stream message, None until all of it has come.

        Raises FramingError as soon as its table claims too many segments or bytes.
        """
        data, at = self._data, self._at
        if len(data) - at < 4:
            return None
        count = unpack_from("<I", data, at)[0] + 1
        if count > SEGMENTS_MAX:
            raise FramingError(f"message of {count} segments")
        table = (4 + 4 * count + 7) & ~7
        if len(data) - at < table:
            return None
        size = table + 8 * sum(unpack_from(f"<{count}I", data, at + 4))
        if size > size_max:
            raise FramingError(f"message of {size} bytes")
        if len(data) - at < size:
            return None
        self._at = at + size
        return data[at : at + size]

    def hello(self) -> tuple[bytes, bool] | None:
        """Return a connection's first message and whether it was framed, None until it has come.

        As little-endian count of segments a framed hello would have 65,536 of them or more, so
        the two framings never look alike. Raises FramingError for anything else.
        """
        data, at = self._data, self._at
        if len(data) - at < 4:
            return None
        high, low = data[at : at + 2], data[at + 2 : at + 4]
        if low == b"\0\0":
            raw = self.raw_message(limits.HELLO_BYTES_MAX)
            return None if raw is None else (raw, False)
        size: int = _length(data, at)[0]
        if high != b"\0\0" or size < 16 or size % 8:
            raise FramingError("first bytes are those of no known peer")
        framed = self.frame()
        return None if framed is None else (framed, True)


def framed(payload: bytes) -> bytes:
    """Return a payload behind its length."""
    return len(payload).to_bytes(4, "big") + payload
