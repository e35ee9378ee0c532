"""Reading a tar stream that nobody has to trust: bounded memory, regular files and folders only.

``tarfile`` reads extended headers of any announced length into memory and knows a dozen kinds of
entries; an archive of ours needs two. Everything else is refused by name, before anything of it is
written.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from eventdbx.errors import StorageError

BLOCK = tarfile.BLOCKSIZE
CHUNK_BYTES = 1 << 20
_EXTENDED_BYTES_MAX = 64 << 10
_TRAILING_BYTES_MAX = 1 << 20
_NAME_BYTES_MAX = 4_096
_DEPTH_MAX = 200
"""Of folders: what removes them again calls itself for each."""
_ENTRIES_MAX = 2_000_000
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _PAX_GLOBAL = b"x", b"g"


class Readable(Protocol):
    """Where the bytes come from."""

    def read(self, count: int, /) -> bytes: ...


class Entry(NamedTuple):
    """One entry: its name as it stands there, without a slash at its end; its size, -1 for a
    folder; whether it is a program."""

    name: str
    size: int
    executable: bool = False

    @property
    def is_folder(self) -> bool:
        return self.size < 0


class TarReader:
    """The entries of a stream, one after the other. Raises StorageError, and what reading raises.

    The content of an entry is read with :meth:`content` before the next entry is asked for; what
    was not read is passed over.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        name: str | None = None
        count = 0
        while (header := self._header()) is not None:
            kind, size = header.type, header.size
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                text = self._extended(size)
                if kind == _LONG_NAME:
                    name = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
                elif kind == _PAX:
                    name = _pax_path(text) or name
                continue
            entry = Entry((name or header.name).rstrip("/"), size, bool(header.mode & 0o100))
            name = None
            if len(entry.name) > _NAME_BYTES_MAX:
                raise StorageError("an entry has a name that is too long")
            if entry.name.count("/") > _DEPTH_MAX:
                raise StorageError("an entry is below too many folders")
            count += 1
            if count > _ENTRIES_MAX:
                raise StorageError("it has too many entries")
            if kind == tarfile.DIRTYPE:
                yield entry._replace(size=-1)
                continue
            if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
                raise StorageError(f"{entry.name} is {_KINDS.get(kind, 'of an unknown kind')}")
            self._left, self._padding = size, -size % BLOCK
            yield entry
            for _chunk in self.content():
                pass
            self._exactly(self._padding)
        self._end()

    def content(self) -> Iterator[bytes]:
        """Yield what is in the entry that was given last."""
        while self._left:
            chunk = self._source.read(min(self._left, CHUNK_BYTES))
            if not chunk:
                raise StorageError("the archive is cut off")
            self._left -= len(chunk)
            yield chunk

    def _header(self) -> tarfile.TarInfo | None:
        block = self._exactly(BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise StorageError(f"unreadable entry: {error}") from None
        if header.size < 0:
            raise StorageError("an entry has a negative size")
        return header

    def _extended(self, size: int) -> bytes:
        if size > _EXTENDED_BYTES_MAX:
            raise StorageError("an entry has a header that is too large")
        text = self._exactly(size)
        self._exactly(-size % BLOCK)
        return text

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._source.read(count)
            if not part:
                raise StorageError("the archive is cut off")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _end(self) -> None:
        """Read to the very end, so that checksums of the stream are looked at."""
        count = 0
        while part := self._source.read(CHUNK_BYTES):
            count += len(part)
            if part.strip(b"\0") or count > _TRAILING_BYTES_MAX:
                raise StorageError("something follows the end of the archive")


def _pax_path(text: bytes) -> str | None:
    """Return the name that an extended header gives. Raises StorageError for a size: ours need
    none, and it must not differ from that of the entry."""
    found = None
    while text:
        length, _, _rest = text.partition(b" ")
        if not length.isdigit() or len(length) > 9 or not 0 < int(length) <= len(text):
            raise StorageError("an entry has an unreadable header")
        record, text = text[: int(length)], text[int(length) :]
        key, _, value = record[len(length) + 1 :].rstrip(b"\n").partition(b"=")
        if key == b"path":
            found = value.decode("utf-8", "surrogateescape")
        elif key == b"size" or key.startswith(b"GNU.sparse"):
            raise StorageError("an entry has a header that is not accepted here")
    return found
