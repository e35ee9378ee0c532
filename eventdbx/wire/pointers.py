"""Reads Cap'n Proto stream messages: segments, structs, texts, lists, far pointers.

pycapnp hides the size of a struct as its writer knew it, and that size is what tells the
generations of clients apart; besides, reading a small request here costs a third of the time.
What the structs mean is in :mod:`eventdbx.wire.codec_requests`. Input is hostile: every pointer is
checked against its segment, and what one message can make us read is bounded, because many
pointers may point to the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Packing
from struct import unpack_from

from eventdbx.errors import SerializationError

SEGMENTS_MAX = 511
"""As the other readers of the protocol: a segment table must not be most of a message."""

AMPLIFICATION_MAX = 8
"""Bytes read through pointers for each byte received: pointers may overlap, bombs must not."""

DEPTH_MAX = 8
"""Structs in structs; the deepest message of the protocol has five."""

_WORD = Packing("<Q")
_HEAD = Packing("<QQQQQ")
_CONTROL_ROOT = 1 << 48 | 2 << 32
"""Root pointer of a request or response: two words and a pointer, right behind it."""

_POINTERS = [Packing(f"<{count}Q") for count in range(17)]


class MalformedMessage(ValueError):
    """The bytes are not a Cap'n Proto message that can be read."""


class Message:
    """One stream message. Offsets are bytes from its beginning, segment table included."""

    __slots__ = ("data", "segments", "budget")

    def __init__(self, data: bytes) -> None:
        """Take a whole stream message; raises MalformedMessage unless its sizes add up."""
        size = len(data)
        if size < 16:
            raise MalformedMessage("message is shorter than a segment table and a root pointer")
        count, words = unpack_from("<II", data)
        self.data = data
        self.budget = AMPLIFICATION_MAX * size
        if count == 0:
            end = 8 + words * 8
            self.segments: Sequence[tuple[int, int]] = ((8, end),)
        else:
            self.segments, end = _segments(data, count + 1)
        if end != size:
            raise MalformedMessage("segment sizes do not add up to the message")

    def root(self) -> Struct:
        """Return the root struct; a null root is an empty struct."""
        start, end = self.segments[0]
        if end - start < 8:
            raise MalformedMessage("first segment has no root pointer")
        return self.struct_at(0, start, DEPTH_MAX)

    def root_pointer(self) -> Pointer | None:
        """Return pointer 0 of the root struct as it is, None if null or absent."""
        root = self.root()
        if not root.pointers:
            return None
        return self.follow(root.segment, root.pointers_at)

    def follow(self, segment: int, at: int) -> Pointer | None:
        """Return where a pointer leads, far pointers resolved; None for a null pointer."""
        (word,) = _WORD.unpack_from(self.data, at)
        if not word:
            return None
        if word & 3 == 2:
            return self._far(word)
        return _local(word, segment, at + 8)

    def _far(self, word: int) -> Pointer | None:
        segment, at = self._landing(word, 16 if word & 4 else 8)
        (pad,) = _WORD.unpack_from(self.data, at)
        if not word & 4:
            if not pad:
                return None
            if pad & 3 == 2:
                raise MalformedMessage("far pointer leads to a far pointer")
            return _local(pad, segment, at + 8)
        if pad & 7 != 2:
            raise MalformedMessage("double-far pointer leads to no far pointer")
        (tag,) = _WORD.unpack_from(self.data, at + 8)
        if tag & 3 > 1 or tag & 0xFFFFFFFC:
            raise MalformedMessage("tag of a double-far pointer is malformed")
        segment, content = self._landing(pad, 0)
        return _local(tag, segment, content)

    def _landing(self, word: int, size: int) -> tuple[int, int]:
        segment = word >> 32
        if segment >= len(self.segments):
            raise MalformedMessage("far pointer names a segment that is not there")
        start, end = self.segments[segment]
        at = start + ((word & 0xFFFFFFFF) >> 3) * 8
        if at + size > end:
            raise MalformedMessage("far pointer leads out of its segment")
        return segment, at

    def spend(self, size: int) -> None:
        """Count bytes read; raises MalformedMessage when a message claims far more than it has."""
        self.budget -= size
        if self.budget < 0:
            raise MalformedMessage("message refers to the same bytes too often")

    def struct_at(self, segment: int, at: int, depth: int) -> Struct:
        """Return the struct that a pointer leads to; a null pointer gives an empty one."""
        pointer = self.follow(segment, at)
        if pointer is None:
            return Struct(self, segment, at, 0, 0, depth)
        segment, kind, content, high = pointer
        words, pointers = high & 0xFFFF, high >> 16
        if kind != 0:
            raise MalformedMessage("expected a struct")
        if not depth:
            raise MalformedMessage("structs are nested too deep")
        self.check(segment, content, (words + pointers) * 8)
        return Struct(self, segment, content, words, pointers, depth - 1)

    def check(self, segment: int, at: int, size: int) -> None:
        """Raise MalformedMessage unless the bytes lie in the segment and the budget."""
        start, end = self.segments[segment]
        if at < start or at + size > end:
            raise MalformedMessage("pointer leads out of its segment")
        self.spend(size)

    def blob_at(self, segment: int, at: int, terminator: int) -> bytes:
        """Return the bytes of a Data (terminator 0) or Text (1) pointer; null gives none."""
        pointer = self.follow(segment, at)
        if pointer is None:
            return b""
        segment, kind, content, high = pointer
        count = high >> 3
        if kind != 1 or high & 7 != 2:
            raise MalformedMessage("expected a text or data")
        self.check(segment, content, count)
        end = content + count - terminator
        if terminator and (not count or self.data[end]):
            raise MalformedMessage("text is not terminated")
        return self.data[content:end]

    def text_at(self, segment: int, at: int, field: str) -> str:
        """Return a text, "" for null. Raises SerializationError unless it is UTF-8."""
        return decode(self.blob_at(segment, at, 1), field)


Pointer = tuple[int, int, int, int]
"""Segment, kind (0 struct, 1 list), offset of the content, upper half of the pointer."""


def control_message(data: bytes) -> tuple[int, int, Struct]:
    """Return the id, the union member and the member's struct of a request or response.

    Raises MalformedMessage when the message is neither.
    """
    size = len(data)
    if size >= 40 and not size & 7:
        # Nearly every writer puts the fixed part first, in one segment: read at one go.
        table, root, identifier, member, pointer = _HEAD.unpack_from(data)
        if table == size - 8 << 29 and root == _CONTROL_ROOT and not pointer & 3:
            at = 40 + (pointer >> 2 & 0x3FFFFFFF) * 8
            words, pointers = pointer >> 32 & 0xFFFF, pointer >> 48
            if pointer and at + (words + pointers) * 8 <= size:
                message = Message(data)
                return (
                    identifier,
                    member & 0xFFFF,
                    Struct(message, 0, at, words, pointers, DEPTH_MAX),
                )
    top = Message(data).root()
    if top.words < 2 or not top.pointers:
        raise MalformedMessage("message is neither a control request nor a response")
    return top.word(0), top.word(1) & 0xFFFF, top.struct(0)


def _segments(data: bytes, count: int) -> tuple[list[tuple[int, int]], int]:
    if count > SEGMENTS_MAX:
        raise MalformedMessage("message has too many segments")
    table = 4 + 4 * count
    start = (table + 7) & ~7
    if len(data) < start:
        raise MalformedMessage("message is shorter than its segment table")
    segments = []
    for words in unpack_from(f"<{count}I", data, 4):
        segments.append((start, start + words * 8))
        start += words * 8
    return segments, start


def _local(word: int, segment: int, base: int) -> Pointer:
    kind = word & 3
    if kind > 1:
        raise MalformedMessage("pointer is neither to a struct nor to a list")
    offset = (word & 0xFFFFFFFF) >> 2
    if offset >= 0x20000000:
        offset -= 0x40000000
    return segment, kind, base + offset * 8, word >> 32


def decode(raw: bytes, field: str) -> str:
    """Return a text. Raises SerializationError that names the field unless it is UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SerializationError(f"invalid utf-8 in {field}: {error}") from None


class Struct:
    """One struct of a message; fields that its writer did not know read as zero or empty."""

    __slots__ = ("message", "segment", "at", "words", "pointers", "pointers_at", "depth")

    def __init__(
        self, message: Message, segment: int, at: int, words: int, pointers: int, depth: int
    ) -> None:
        self.message = message
        self.segment = segment
        self.at = at
        self.words = words
        self.pointers = pointers
        self.pointers_at = at + words * 8
        self.depth = depth

    def word(self, index: int) -> int:
        """Return 64 bits of data as an unsigned number."""
        if index >= self.words:
            return 0
        value: int = _WORD.unpack_from(self.message.data, self.at + index * 8)[0]
        return value

    def texts(self, fields: Sequence[str]) -> list[str]:
        """Return the first texts of the struct, one for each field name.

        Raises SerializationError for one that is not UTF-8, MalformedMessage for one that is
        no text.
        """
        message = self.message
        data, at = message.data, self.pointers_at
        known = min(len(fields), self.pointers, 16)
        end = message.segments[self.segment][1]
        spent = 0
        found: list[str] = []
        for field, word in zip(fields, _POINTERS[known].unpack_from(data, at), strict=False):
            at += 8
            if not word:
                found.append("")
                continue
            # The usual case in line: a byte list in the same segment, after this pointer.
            first = at + (word >> 2 & 0x3FFFFFFF) * 8
            last = first + (word >> 35) - 1
            if word & 0x700000003 == 0x200000001 and first <= last < end and not data[last]:
                spent += last - first
                try:
                    found.append(data[first:last].decode())
                except UnicodeDecodeError:
                    decode(data[first:last], field)
            else:
                found.append(message.text_at(self.segment, at - 8, field))
        message.spend(spent)
        if known < len(fields):
            found.extend([""] * (len(fields) - known))
        return found

    def text(self, index: int, field: str) -> str:
        """Return one text. Raises as :meth:`texts`."""
        if index >= self.pointers:
            return ""
        return self.message.text_at(self.segment, self.pointers_at + index * 8, field)

    def blob(self, index: int) -> bytes:
        """Return the bytes of one Text field, whatever they are."""
        if index >= self.pointers:
            return b""
        return self.message.blob_at(self.segment, self.pointers_at + index * 8, 1)

    def data(self, index: int) -> bytes:
        """Return the bytes of one Data field."""
        if index >= self.pointers:
            return b""
        return self.message.blob_at(self.segment, self.pointers_at + index * 8, 0)

    def struct(self, index: int) -> Struct:
        """Return the struct of a pointer field, an empty one if it is null or unknown."""
        if index >= self.pointers:
            return Struct(self.message, self.segment, self.at, 0, 0, 0)
        return self.message.struct_at(self.segment, self.pointers_at + index * 8, self.depth)

    def text_list(self, index: int, field: str) -> tuple[str, ...]:
        """Return a List(Text). Raises as :meth:`texts`."""
        found = self._list(index)
        if found is None:
            return ()
        segment, content, size, count = found
        if size != 6:
            raise MalformedMessage("expected a list of texts")
        self.message.check(segment, content, count * 8)
        return tuple(
            self.message.text_at(segment, content + place * 8, field) for place in range(count)
        )

    def structs(self, index: int) -> list[Struct]:
        """Return a list of structs, in the layout that every writer of the protocol uses."""
        found = self._list(index)
        if found is None:
            return []
        segment, content, size, total_words = found
        message = self.message
        if size != 7 or not self.depth:
            raise MalformedMessage("expected a list of structs")
        message.check(segment, content, (total_words + 1) * 8)
        (tag,) = _WORD.unpack_from(message.data, content)
        count = (tag & 0xFFFFFFFF) >> 2
        words, pointers = tag >> 32 & 0xFFFF, tag >> 48
        step = words + pointers
        if tag & 3 or step * count > total_words:
            raise MalformedMessage("list of structs is larger than it says")
        # Structs without content take no bytes, yet each costs us some objects.
        message.spend(count * 64)
        return [
            Struct(message, segment, content + 8 + n * step * 8, words, pointers, self.depth - 1)
            for n in range(count)
        ]

    def _list(self, index: int) -> tuple[int, int, int, int] | None:
        if index >= self.pointers:
            return None
        pointer = self.message.follow(self.segment, self.pointers_at + index * 8)
        if pointer is None:
            return None
        segment, kind, content, high = pointer
        if kind != 1:
            raise MalformedMessage("expected a list")
        return segment, content, high & 7, high >> 3
