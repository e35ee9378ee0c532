"""Archives sealed with a passphrase: one header, then chunks, each sealed for its place.

The key is made of the passphrase with scrypt. A chunk's nonce holds its number and whether it is
the last, and the header is associated data of all, so that no chunk can be changed, moved, repeated
or left out. What comes out of :class:`OpenedStream` has been proven, chunk by chunk.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from eventdbx.errors import StorageError

MAGIC = b"dbxarch\x01"
CHUNK_BYTES = 256 << 10

_HEADER = Struct(">8sBBB16s4s")
"""Magic, log2 of scrypt's n, its r and p, salt, first bytes of every nonce."""
_NONCE = Struct(">4sIBxxx")
_TAG_BYTES = 16
_LOG2_N, _R, _P = 16, 8, 1
_LOG2_N_MAX, _R_MAX, _P_MAX = 18, 8, 4
"""What a header may ask for, whoever wrote it: 256 MiB of memory."""
_CHUNKS_MAX = (1 << 32) - 1


class SealedStream:
    """A file that is written through; the last chunk goes out with :meth:`close`."""

    def __init__(self, raw: BinaryIO, passphrase: bytes) -> None:
        self._raw = raw
        self._header = _HEADER.pack(MAGIC, _LOG2_N, _R, _P, os.urandom(16), os.urandom(4))
        self._cipher = _cipher(passphrase, self._header)
        self._waiting = bytearray()
        self._number = 0
        raw.write(self._header)

    def write(self, data: bytes) -> int:
        """Take more."""
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def _put(self, chunk: bytes, *, last: bool) -> None:
        nonce = _NONCE.pack(self._header[-4:], self._number, last)
        self._raw.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._number += 1
        if self._number > _CHUNKS_MAX:
            raise StorageError("the archive is too large to be sealed")

    def close(self) -> None:
        """Write what is left."""
        self._put(bytes(self._waiting), last=True)


class OpenedStream:
    """What is in a sealed archive, behind its magic. Raises StorageError where it was changed."""

    def __init__(self, raw: BinaryIO, passphrase: bytes) -> None:
        self._raw = raw
        self._header = raw.read(_HEADER.size)
        if len(self._header) != _HEADER.size or not self._header.startswith(MAGIC):
            raise StorageError("it is not a sealed archive, or its beginning is missing")
        _magic, log2_n, r, p, _salt, _first = _HEADER.unpack(self._header)
        if not (10 <= log2_n <= _LOG2_N_MAX and 1 <= r <= _R_MAX and 1 <= p <= _P_MAX):
            raise StorageError("its header asks for what no archive needs")
        self._cipher = _cipher(passphrase, self._header)
        self._number = 0
        self._chunk = b""
        self._place = 0
        self._ended = False
        self._ahead = raw.read(CHUNK_BYTES + _TAG_BYTES)

    def read(self, count: int = -1) -> bytes:
        """Return up to so many bytes, none at the end."""
        if count < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        while self._place == len(self._chunk):
            if self._ended:
                return b""
            self._next()
        found = self._chunk[self._place : self._place + count]
        self._place += len(found)
        return found

    def _next(self) -> None:
        sealed, self._ahead = self._ahead, self._raw.read(CHUNK_BYTES + _TAG_BYTES)
        last = not self._ahead
        nonce = _NONCE.pack(self._header[-4:], self._number, last)
        try:
            self._chunk = self._cipher.decrypt(nonce, sealed, self._header)
        except InvalidTag:
            if not self._number:
                raise StorageError("the passphrase is wrong, or the archive was changed") from None
            raise StorageError("the archive was changed, or it is cut off") from None
        self._place, self._ended = 0, last
        self._number += 1


def _cipher(passphrase: bytes, header: bytes) -> AESGCM:
    _magic, log2_n, r, p, salt, _first = _HEADER.unpack(header)
    return AESGCM(Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p).derive(passphrase))
