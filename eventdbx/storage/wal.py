"""Tells a torn tail of RocksDB's write-ahead log from damage in its middle. Only reads.

RocksDB recovers up to the first record that it cannot read and silently drops the rest. After
a crash that is right for the last write, which nobody was told had succeeded, and wrong for
anything before it. The difference shows in the log: a batch is only written once the one
before it was synced, so a whole record behind an unreadable one proves that the unreadable one
had been acknowledged.

What cannot be told apart from a torn write is damage confined to the last record of all.

The format (RocksDB's "recyclable" log records): blocks of 32 KiB; a record never crosses a
block but is split into fragments; each fragment has a masked CRC-32C u32, a length u16, a type
u8 (5 full, 6 first, 7 middle, 8 last) and the log number u32, all little-endian, and then its
content; the content of a record starts with its sequence number u64 and its count of keys u32.
"""

from __future__ import annotations

import os
import re
import struct
from functools import cache

from eventdbx.errors import StorageError

_BLOCK = 32 * 1024
_HEADER = struct.Struct("<IHBI")
_SEQUENCE = struct.Struct("<QI")
_FULL, _FIRST, _MIDDLE, _LAST = 5, 6, 7, 8
_SEQUENCE_MAX = 2**56
_TYPE_AT = 6
_LOG_NAME = re.compile(r"(\d+)\.log")


def logs(folder: str) -> list[tuple[int, str, int]]:
    """Number, path and bytes of every log that is not empty, oldest first."""
    try:
        found = []
        for name in os.listdir(folder):
            if match := _LOG_NAME.fullmatch(name):
                path = os.path.join(folder, name)
                if size := os.path.getsize(path):
                    found.append((int(match[1]), path, size))
        return sorted(found)
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error


def lost_record(folder: str, recovered: int) -> str | None:
    """Where a whole record stands that recovery up to sequence ``recovered`` does not reach.

    None if nothing but the last, unfinished write is missing. Costs one pass over the headers
    of the log and a search in what was not recovered.
    """
    for number, path, _ in logs(folder):
        data = _contents(path)
        offset = _whole_record(data, number, _recovered_end(data, number, recovered), recovered)
        if offset is not None:
            return f"{os.path.basename(path)} at byte {offset}"
    return None


def end_of_records(path: str) -> int:
    """The offset behind the last record of the log, going by the headers alone."""
    match = _LOG_NAME.fullmatch(os.path.basename(path))
    assert match is not None
    return _recovered_end(_contents(path), int(match[1]), _SEQUENCE_MAX)


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _recovered_end(data: bytes, number: int, recovered: int) -> int:
    """The offset of the first record that is new to, or unreadable for, the recovery."""
    offset, size = 0, len(data)
    while offset + _HEADER.size <= size:
        room = _BLOCK - offset % _BLOCK
        if room < _HEADER.size:
            offset += room
            continue
        _, length, kind, log = _HEADER.unpack_from(data, offset)
        if not _FULL <= kind <= _LAST or log != number or _HEADER.size + length > room:
            break
        content = offset + _HEADER.size
        if kind in (_FULL, _FIRST) and length >= _SEQUENCE.size <= size - content:
            if _SEQUENCE.unpack_from(data, content)[0] > recovered:
                break
        offset = content + length
    return offset


def _whole_record(data: bytes, number: int, begin: int, recovered: int) -> int | None:
    """The first readable start of a record from ``begin`` on that was not recovered."""
    mark = struct.pack("<I", number)
    found = data.find(mark, begin + _TYPE_AT + 1)
    while found >= 0:
        offset = found - _TYPE_AT - 1
        found = data.find(mark, found + 1)
        _, length, kind, _ = _HEADER.unpack_from(data, offset)
        content = offset + _HEADER.size
        if kind not in (_FULL, _FIRST) or length < _SEQUENCE.size:
            continue
        if content + length > len(data):
            continue
        sequence, _ = _SEQUENCE.unpack_from(data, content)
        # A readable first fragment of the very next record is a write torn further on.
        if sequence <= recovered or (kind == _FIRST and sequence == recovered + 1):
            continue
        if _checksum_fits(data, offset, length):
            return offset
    return None


def _checksum_fits(data: bytes, offset: int, length: int) -> bool:
    stored: int = _HEADER.unpack_from(data, offset)[0]
    covered = data[offset + _TYPE_AT : offset + _HEADER.size + length]
    crc = _crc32c(covered)
    return stored == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    entries = []
    for entry in range(256):
        for _ in range(8):
            entry = (entry >> 1) ^ (0x82F63B78 if entry & 1 else 0)
        entries.append(entry)
    return tuple(entries)


def _crc32c(data: bytes) -> int:
    """Castagnoli's CRC; slow, and only ever asked about a few records of a damaged log."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
