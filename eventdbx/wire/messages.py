"""Makes Cap'n Proto stream messages of flat structs: some words of data and some texts.

Nearly every message of the protocol is one, so its bytes are one packed header followed by the
texts; that costs a fifth of building it field by field. Always one segment. The tests compare the
bytes with those of pycapnp. What is in the structs is decided by the codecs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from struct import Struct

_PADDING = tuple(bytes(8 - size) for size in range(8))
"""Zeroes after a text, by its length modulo 8: at least the one that ends it."""

_REQUEST = 1 << 48 | 2 << 32
"""Pointer to the root of a request or response: two words, one pointer, right behind."""


@cache
def _packing(count: int) -> Struct:
    """Return the packing of a segment table and so many words."""
    return Struct(f"<II{count}Q")


def _blobs(texts: Sequence[bytes | None]) -> tuple[list[int], list[bytes], int]:
    """Return the pointers of texts that follow right behind, their bytes, and words in all."""
    at = 0
    behind = len(texts)
    pointers: list[int] = []
    pieces: list[bytes] = []
    for text in texts:
        at += 1
        if text is None:
            pointers.append(0)
            continue
        size = len(text)
        pointers.append((size << 35) + ((behind - at) << 2) + 0xA00000001)
        behind += (size >> 3) + 1
        pieces += (text, _PADDING[size & 7])
    return pointers, pieces, behind


def control_message(
    identifier: int, discriminant: int, words: Sequence[int], texts: Sequence[bytes | None]
) -> bytes:
    """Return a request or response: its id, the member of its union, and that member's struct.

    ``texts`` are the struct's pointers in order, None for a null one; at least one word or
    pointer must be there.
    """
    pointers, pieces, behind = _blobs(texts)
    data = len(words)
    fixed = 4 + data + len(texts)
    body = len(texts) << 48 | data << 32
    header = _packing(fixed).pack(
        0, 4 + data + behind, _REQUEST, identifier, discriminant, body, *words, *pointers
    )
    return b"".join((header, *pieces))


def data_message(identifier: int, discriminant: int, words: Sequence[int], data: bytes) -> bytes:
    """Return a request or response whose member has some words and one Data."""
    count = len(words)
    padding = bytes(-len(data) % 8)
    total = 5 + count + (len(data) + 7) // 8
    pointer = len(data) << 35 | 0x200000001 if data else 0
    header = _packing(5 + count).pack(
        0, total, _REQUEST, identifier, discriminant, 1 << 48 | count << 32, *words, pointer
    )
    return b"".join((header, data, padding))


def raw_message(words: Sequence[int], texts: Sequence[bytes | None]) -> bytes:
    """Return a message whose root is a flat struct."""
    pointers, pieces, behind = _blobs(texts)
    root = len(texts) << 48 | len(words) << 32
    header = _packing(1 + len(words) + len(texts)).pack(
        0, 1 + len(words) + behind, root, *words, *pointers
    )
    return b"".join((header, *pieces))
