"""Archives: a gzip tar of a manifest and the files of an installation, packed and unpacked.

An archive gets its name when it is complete and on disk. When it is unpacked nothing of it is
believed: what is no regular file, escapes, comes twice, or differs from its checksum ends it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from eventdbx.errors import IoError, StorageError
from eventdbx.services.backup_manifest import (
    DATA,
    MANIFEST_BYTES_MAX,
    NAME,
    Manifest,
    Sum,
    parsed,
)
from eventdbx.services.backup_tar import CHUNK_BYTES, Entry, TarReader
from eventdbx.services.files import PRIVATE, make_directory, sweep_leftovers, sync_path

_LEVEL = 1
"""Of gzip: tables are compressed and sealed already, little is left to gain."""

_SPARE_BYTES = 16 << 20
"""Left free on the disk that an archive is unpacked to."""

Advance = Callable[[int], None]
"""Is told of bytes that are done."""


class Refused(StorageError):
    """An archive that is not taken, or not made; the message as scripts know it, and its causes."""

    prefix = ""

    def __init__(self, message: str, *causes: str) -> None:
        self.causes = causes
        super().__init__(message)


class Unpacked(NamedTuple):
    """What came out of an archive: its manifest, and how many files and bytes there are."""

    manifest: Manifest
    files: int
    size: int


def sums_of(folder: Path, advance: Advance) -> dict[str, Sum]:
    """Return the checksum of every file below a folder, by its name in the archive."""
    found: dict[str, Sum] = {}
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(here, name)
            digest, size = hashlib.sha256(), 0
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    advance(len(chunk))
            found[f"{DATA}/{path.relative_to(folder).as_posix()}"] = Sum(size, digest.hexdigest())
    return found


def pack(
    folder: Path,
    manifest: bytes,
    sums: Mapping[str, Sum],
    target: Path,
    *,
    force: bool,
    passphrase: bytes | None = None,
    advance: Advance = lambda _count: None,
) -> Sum:
    """Write an archive of a folder; it is complete and on disk when it gets its name.

    Returns its size and its SHA-256. Raises IoError, Refused if the name was taken meanwhile.
    """
    try:
        make_directory(target.parent)
        sweep_leftovers(target)
        descriptor, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(descriptor, "wb") as raw:
                os.fchmod(descriptor, PRIVATE)
                counted = _Counted(raw)
                with _sealing(counted, passphrase) as sealed:
                    _write(folder, manifest, sums, sealed, advance)
                raw.flush()
                os.fsync(descriptor)
            _name(beside, target, force=force)
        finally:
            Path(beside).unlink(missing_ok=True)
        sync_path(target.parent)
    except OSError as error:
        raise IoError(f"cannot write {target}: {error.strerror or error}") from None
    return Sum(counted.size, counted.digest.hexdigest())


def _name(beside: str, target: Path, *, force: bool) -> None:
    if force:
        os.replace(beside, target)
        return
    try:
        os.link(beside, target)
    except OSError:  # Some file systems have no links.
        if os.path.lexists(target):
            taken = f"backup target {target} already exists (use --force to overwrite)"
            raise Refused(taken) from None
        os.rename(beside, target)


class _Counted:
    """A file with the size and the digest of what went in."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()


@contextmanager
def _sealing(counted: _Counted, passphrase: bytes | None) -> Iterator[Any]:
    if passphrase is None:
        yield counted
        return

    from eventdbx.services.backup_sealing import SealedStream

    sealed = SealedStream(cast(BinaryIO, counted), passphrase)
    yield sealed
    sealed.close()


def _write(
    folder: Path, manifest: bytes, sums: Mapping[str, Sum], target: Any, advance: Advance
) -> None:
    with (
        gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=_LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        archive.addfile(_entry(NAME, len(manifest)), io.BytesIO(manifest))
        archive.addfile(_folder(DATA))
        for here, folders, _names in os.walk(folder):
            folders.sort()
            if (path := Path(here)) != folder:
                archive.addfile(_folder(f"{DATA}/{path.relative_to(folder).as_posix()}"))
        for name, one in sums.items():
            with open(folder / name.removeprefix(f"{DATA}/"), "rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o100 | PRIVATE
                archive.addfile(_entry(name, one.size, mode), file)
            advance(one.size)


def _entry(name: str, size: int, mode: int = PRIVATE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry


def _folder(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o700
    return entry


def is_sealed(source: Path) -> bool:
    """Say whether an archive needs a passphrase. Raises Refused where there is none."""
    from eventdbx.services.backup_sealing import MAGIC

    try:
        with open(source, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        raise Refused(f"backup archive {source} does not exist") from None
    except OSError as error:
        raise Refused(f"cannot read backup archive {source}", error.strerror or "") from None


def peek(source: Path, *, passphrase: bytes | None = None) -> Manifest:
    """Return the manifest of an archive, which is its first entry in all known ones.

    Raises Refused.
    """
    with _reading(source, passphrase, lambda _count: None) as stream:
        reader = TarReader(stream)
        for entry in reader:
            if entry.name == NAME and not entry.is_folder:
                return _manifest(reader, entry)
    raise Refused("backup archive does not contain a manifest.json")


def unpack(
    source: Path,
    folder: Path,
    *,
    passphrase: bytes | None = None,
    advance: Advance = lambda _count: None,
) -> Unpacked:
    """Unpack an archive's data into an empty folder, and hold it against its checksums.

    ``advance`` is told of the bytes of the archive that were read. Raises Refused.
    """
    with _reading(source, passphrase, advance) as stream:
        return _Unpacking(folder).run(stream)


@contextmanager
def _reading(source: Path, passphrase: bytes | None, advance: Advance) -> Iterator[_Gunzip]:
    """The content of an archive; what goes wrong with it meanwhile becomes Refused."""
    sealed = is_sealed(source)
    if sealed and passphrase is None:
        raise Refused(f"backup archive {source} is sealed: give --passphrase-file")
    if passphrase is not None and not sealed:
        # Somebody may have put it in the place of one that was.
        raise Refused(
            f"backup archive {source} is not sealed: whoever wrote it did not need the passphrase; "
            "leave out --passphrase-file if that is right"
        )
    try:
        with open(source, "rb") as raw:
            stream: Any = _Told(raw, advance)
            if sealed:
                from eventdbx.services.backup_sealing import OpenedStream

                assert passphrase is not None
                stream = OpenedStream(stream, passphrase)
            yield _Gunzip(stream)
    except Refused:
        raise
    except StorageError as error:
        raise Refused("failed to unpack backup archive", error.detail) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(
            "failed to unpack backup archive", "failed to iterate over archive", _said(error)
        ) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        cause = f"{where}{error.strerror or error}"
        raise Refused("failed to unpack backup archive", cause) from None


def _manifest(reader: TarReader, entry: Entry) -> Manifest:
    if entry.size > MANIFEST_BYTES_MAX:
        raise StorageError(f"{NAME} is too large")
    text = b"".join(reader.content())
    try:
        return parsed(text)
    except StorageError as error:
        raise Refused(f"failed to decode {NAME}", error.detail) from None


def _said(error: Exception) -> str:
    if isinstance(error, gzip.BadGzipFile) and "Not a gzipped file" in str(error):
        return "invalid gzip header"
    return "the archive is cut off" if isinstance(error, EOFError) else str(error)


class _Told:
    def __init__(self, raw: BinaryIO, advance: Advance) -> None:
        self._raw = raw
        self._advance = advance

    def read(self, count: int = -1) -> bytes:
        found = self._raw.read(count)
        self._advance(len(found))
        return found


class _Gunzip:
    """What gzip decompresses, of one stream."""

    def __init__(self, stream: Any) -> None:
        self._file = gzip.GzipFile(fileobj=stream, mode="rb")

    def read(self, count: int, /) -> bytes:
        return self._file.read(count)


class _Unpacking:
    """One run over an archive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifest: Manifest | None = None
        self._sums: dict[str, Sum] = {}
        self._has_data = False
        self._room = shutil.disk_usage(folder).free - _SPARE_BYTES
        self._size = 0

    def run(self, source: _Gunzip) -> Unpacked:
        reader = TarReader(source)
        for entry in reader:
            self._check_name(entry)
            if entry.name == NAME and not entry.is_folder:
                self._take_manifest(reader, entry)
            elif entry.is_folder:
                self._make_folder(entry)
            else:
                self._take_file(reader, entry)
        if self._manifest is None:
            raise Refused("backup archive does not contain a manifest.json")
        if not self._has_data:
            raise Refused("backup archive is missing the data directory")
        self._check_sums(self._manifest)
        return Unpacked(self._manifest, len(self._sums), self._size)

    def _check_name(self, entry: Entry) -> None:
        parts = entry.name.split("/")
        if entry.name == NAME or (entry.name.startswith("./") and len(parts) == 1):
            return
        if "\0" in entry.name or "" in parts or ".." in parts or "." in parts:
            raise StorageError(f"the name of {entry.name!r} leads out of the archive")
        if parts[0] != DATA:
            raise StorageError(f"{entry.name!r} is not below {DATA}/")

    def _take_manifest(self, reader: TarReader, entry: Entry) -> None:
        if self._manifest is not None:
            raise StorageError(f"{NAME} is there twice")
        self._manifest = _manifest(reader, entry)

    def _make_folder(self, entry: Entry) -> None:
        self._has_data = True
        self._path(entry).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, entry: Entry) -> Path:
        return self._folder.joinpath(*entry.name.split("/")[1:])

    def _take_file(self, reader: TarReader, entry: Entry) -> None:
        if entry.name in self._sums:
            raise StorageError(f"{entry.name} is there twice")
        self._has_data = True
        self._size += entry.size
        if self._size > self._room:
            raise StorageError("there is not enough room on the disk for what it holds")
        self._check_size(entry)
        path = self._path(entry)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # Programs of plugins are what is run; nothing else is.
        program = entry.executable and entry.name.startswith(f"{DATA}/plugins/")
        with open(os.open(path, flags, 0o700 if program else PRIVATE), "wb") as file:
            for chunk in reader.content():
                digest.update(chunk)
                file.write(chunk)
        self._sums[entry.name] = Sum(entry.size, digest.hexdigest())

    def _check_size(self, entry: Entry) -> None:
        """Refuse what the manifest does not tell of before it is written."""
        if self._manifest is None or self._manifest.sums is None:
            return
        wanted = self._manifest.sums.get(entry.name)
        if wanted is None:
            raise StorageError(f"{entry.name} is not in the manifest")
        if wanted.size != entry.size:
            raise StorageError(
                f"{entry.name} has {entry.size} bytes, {wanted.size} of them are in the manifest"
            )

    def _check_sums(self, manifest: Manifest) -> None:
        if manifest.sums is None:
            return
        for name, wanted in manifest.sums.items():
            found = self._sums.get(name)
            if found is None:
                raise StorageError(f"{name} is missing")
            if found != wanted:
                raise StorageError(f"{name} differs from its checksum")
        for name in self._sums:
            if name not in manifest.sums:
                raise StorageError(f"{name} is not in the manifest")
