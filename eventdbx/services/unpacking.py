"""Unpacks a bundle, zip or tar, into a fresh folder: nothing but files and folders, within bounds.

An archive is hostile until proven otherwise. Names are checked before anything is written, files
are only ever created, never opened, sizes are counted while bytes come and not believed, and
what a reader would hold in memory (a zip's directory, a tar's headers) is bounded before it reads.
"""

from __future__ import annotations

import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Protocol

from eventdbx import limits
from eventdbx.domain.delivery.bundles import BundleRefused, checked_member

_CHUNK = 1 << 16
_DAMAGED = (
    EOFError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
_OTHER_ARCHIVES = (".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".7z", ".rar", ".gz", ".xz")
_ZIP_DIRECTORY_BYTES_MAX = limits.BUNDLE_ENTRIES_MAX * 512
_TAR_HEADER_BYTES_MAX = 1 << 16
_TAR_PADDING_BYTES_MAX = 1 << 20
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64 = b"PK\x06\x07"


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpack(bundle: Path, called: str, folder: Path, bare: str) -> list[str]:
    """Unpack ``bundle`` into the new ``folder``; return its files, relative, with ``/``.

    ``called`` is the name that it came under: its ending tells the format, else its first bytes
    do. What is no archive is taken for a program and is called ``bare``. Raises BundleRefused.
    """
    lowered = called.lower()
    with bundle.open("rb") as reading:
        first = reading.read(512)
    content = _Folder(folder)
    try:
        if lowered.endswith(".zip"):
            _unzip(bundle, content)
        elif lowered.endswith((".tar.gz", ".tgz")):
            _untar(bundle, content, packed=True)
        elif lowered.endswith(".tar"):
            _untar(bundle, content, packed=False)
        elif lowered.endswith(_OTHER_ARCHIVES):
            raise BundleRefused(f"plugin bundle '{called}' is neither zip nor tar nor tar.gz")
        elif first.startswith(b"\x1f\x8b"):
            _untar(bundle, content, packed=True)
        elif first.startswith(b"PK\x03\x04"):
            _unzip(bundle, content)
        elif first[257:262] == b"ustar":
            _untar(bundle, content, packed=False)
        else:
            with bundle.open("rb") as reading:
                content.add_file(bare, reading, bundle.stat().st_size, executable=True)
    except BundleRefused:
        raise
    except _DAMAGED as error:
        raise BundleRefused(f"plugin bundle '{called}' is damaged or cut off: {error}") from None
    except OSError as error:
        if error.errno is None:  # The reader of gzip says so what is damaged.
            raise BundleRefused(
                f"plugin bundle '{called}' is damaged or cut off: {error}"
            ) from None
        raise BundleRefused("failed to unpack plugin bundle", system_text(error)) from None
    return content.files


def system_text(error: OSError) -> str:
    """Return what the operating system says, in the words of other programs of the field."""
    if error.errno is None:
        return str(error)
    return f"{os.strerror(error.errno)} (os error {error.errno})"


class _Folder:
    """What a bundle is unpacked into, and how much more it may hold."""

    def __init__(self, path: Path) -> None:
        self.files: list[str] = []
        self._path = path
        self._folders: set[str] = {""}
        self._entries_left = limits.BUNDLE_ENTRIES_MAX
        self._bytes_left = limits.BUNDLE_BYTES_MAX
        path.mkdir(mode=0o755)

    def count(self) -> None:
        """Count an entry of the archive or a folder on the way to one."""
        self._entries_left -= 1
        if self._entries_left < 0:
            raise _too_many()

    def announce(self, size: int) -> None:
        """Refuse more bytes than there may be."""
        if not 0 <= size <= self._bytes_left:
            raise BundleRefused(
                f"plugin bundle is larger than {limits.BUNDLE_BYTES_MAX >> 20} MiB unpacked"
            )

    def add_folder(self, member: str) -> None:
        """Make a folder and those that it lies in."""
        if member in self._folders:
            return
        self.add_folder(member.rpartition("/")[0])
        self.count()
        try:
            (self._path / member).mkdir(mode=0o755)
        except FileExistsError:
            raise _twice(member) from None
        self._folders.add(member)

    def add_file(self, member: str, content: _Reads, size: int, *, executable: bool) -> None:
        """Write a file of a size that was announced, and no byte more or less."""
        self.announce(size)
        self._bytes_left -= size
        if not member:
            raise BundleRefused("plugin bundle contains a file without a name")
        self.add_folder(member.rpartition("/")[0])
        try:
            descriptor = os.open(
                self._path / member,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o755 if executable else 0o644,
            )
        except FileExistsError:
            raise _twice(member) from None
        with os.fdopen(descriptor, "wb") as writing:
            left = size
            while chunk := content.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    break
                writing.write(chunk)
            if left:
                raise ValueError(f"'{member}' does not have the size that it announces")
        self.files.append(member)


def _too_many() -> BundleRefused:
    return BundleRefused(
        f"plugin bundle has more than {limits.BUNDLE_ENTRIES_MAX} files and folders"
    )


def _twice(member: str) -> BundleRefused:
    return BundleRefused(f"plugin bundle contains '{member}' twice")


def _link(member: str) -> BundleRefused:
    return BundleRefused(f"plugin bundle contains '{member}', which is a link or a device")


def _unzip(bundle: Path, content: _Folder) -> None:
    _check_directory(bundle)
    with zipfile.ZipFile(bundle) as archive:
        if len(archive.infolist()) > limits.BUNDLE_ENTRIES_MAX:
            raise _too_many()
        content.announce(sum(info.file_size for info in archive.infolist()))
        for info in archive.infolist():
            content.count()
            member = checked_member(info.orig_filename)
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _link(member)
            if info.is_dir() or kind == stat.S_IFDIR:
                content.add_folder(member)
                continue
            if info.flag_bits & 1:
                raise BundleRefused(f"plugin bundle contains '{member}', which is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Others may ask for gigabytes to unpack anything at all.
                raise BundleRefused(f"plugin bundle contains '{member}', which is not deflated")
            with archive.open(info) as reading:
                content.add_file(member, reading, info.file_size, executable=bool(mode & 0o111))


def _check_directory(bundle: Path) -> None:
    """Refuse a zip whose directory would fill the memory: its reader takes all of it at once."""
    size = bundle.stat().st_size
    with bundle.open("rb") as reading:
        reading.seek(max(0, size - (1 << 16) - _ZIP_END.size - 20))
        tail = reading.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _ZIP_END.size:
        raise ValueError("its directory is missing")
    if tail[max(0, at - 20) : at].startswith(_ZIP64):
        raise BundleRefused("plugin bundle is a zip64 archive, which is for sizes over the limits")
    if _ZIP_END.unpack_from(tail, at)[5] > _ZIP_DIRECTORY_BYTES_MAX:
        raise _too_many()


class _Metered:
    """A file of which no more is read than was granted: tar headers may claim any length."""

    def __init__(self, content: IO[bytes] | gzip.GzipFile) -> None:
        self._content = content
        self._granted = 0

    def grant(self, size: int) -> None:
        """Allow so many bytes from now on."""
        self._granted = size

    def _spend(self, size: int) -> None:
        self._granted -= size
        if size < 0 or self._granted < 0:
            raise ValueError("a header is larger than any that is meant well")

    def read(self, size: int = -1, /) -> bytes:
        self._spend(size)
        return self._content.read(size)

    def tell(self) -> int:
        return self._content.tell()

    def seek(self, place: int, /) -> int:
        # Backwards by a byte at most: the reader looks whether the last one is there.
        self._spend(abs(place - self._content.tell()))
        return self._content.seek(place)


def _untar(bundle: Path, content: _Folder, *, packed: bool) -> None:
    with bundle.open("rb") as raw:
        metered = _Metered(gzip.GzipFile(fileobj=raw) if packed else raw)
        metered.grant(_TAR_HEADER_BYTES_MAX)
        reading: Any = metered  # It reads, seeks and tells; that is all tarfile asks of a file.
        with tarfile.open(fileobj=reading, mode="r:") as archive:
            while (info := archive.next()) is not None:
                content.count()
                _add_member(archive, info, metered, content)
                metered.grant(_TAR_HEADER_BYTES_MAX)
            # It stops at a header that it cannot read as it does at the end.
            metered.grant(_TAR_PADDING_BYTES_MAX)
            metered.seek(archive.offset)
            if metered.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError("its end is missing")
            while metered.read(tarfile.BLOCKSIZE):
                pass  # Behind the padding stands the checksum of gzip.


def _add_member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, metered: _Metered, content: _Folder
) -> None:
    member = checked_member(info.name)
    if info.isdir():
        content.add_folder(member)
        return
    if not info.isreg() or info.issparse():
        raise _link(member)
    content.announce(info.size)
    metered.grant(info.size + 2 * tarfile.BLOCKSIZE)
    reading = archive.extractfile(info)
    assert reading is not None, "it is a regular file"
    with reading:
        content.add_file(member, reading, info.size, executable=bool(info.mode & 0o111))
