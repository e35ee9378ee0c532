"""A backup of the data keys of an installation: one private tar file with the files of all domains.

Backups of the stores hold no keys, so that a key that is destroyed is gone from all of them. The
keys have a backup of their own therefore, which is wrapped by the configured key as the files are.
It brings destroyed keys back: whoever erases must make a new one, and throw away the older ones.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from eventdbx.config import Config, decode_data_key
from eventdbx.errors import StorageError
from eventdbx.services.files import make_directory, sync_path
from eventdbx.services.keyuse import configured
from eventdbx.services.workspace import Workspace
from eventdbx.storage.keyslots import FILE_NAME, KeySlots
from eventdbx.storage.lock import ProcessLock
from eventdbx.storage.rocks import LOCK_NAME

_TRIES = 3
_HEADER_BYTES, _SLOT_BYTES = 128, 64


class Kept(NamedTuple):
    """The data keys of one domain: how many slots there are, and how many are destroyed."""

    domain: str
    slots: int
    destroyed: int


def back_up(workspace: Workspace, config: Config, target: Path) -> list[Kept]:
    """Write the data keys of all domains into a new file; it is on disk on return.

    A server may run meanwhile. Raises StorageError, also if a key does not open.
    """
    wrappings = [decode_data_key(key) for key in configured(config)]
    found: list[Kept] = []
    beside = target.with_name(target.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for domain in workspace.domain_names():
                    path = workspace.domain_dir(domain) / FILE_NAME
                    if path.exists():
                        content, kept = _copied(domain, path, wrappings)
                        _add(archive, domain, content)
                        found.append(kept)
            file.flush()
            os.fsync(descriptor)
        if not found:
            raise StorageError("there are no data keys: no store is encrypted here")
        os.replace(beside, target)
        sync_path(target.parent)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
    return found


def _add(archive: tarfile.TarFile, domain: str, content: bytes) -> None:
    entry = tarfile.TarInfo(f"{domain}/{FILE_NAME}")
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))


def _copied(domain: str, path: Path, wrappings: Sequence[bytes]) -> tuple[bytes, Kept]:
    """Return the content of a file of keys, all of which open; a server may be at it."""
    for again in range(_TRIES):
        content = path.read_bytes()
        # What is being appended just now is nobody's yet.
        content = content[: len(content) - (len(content) - _HEADER_BYTES) % _SLOT_BYTES]
        try:
            return content, _checked(domain, content, wrappings)
        except StorageError:
            if again == _TRIES - 1:
                raise
    raise AssertionError


def _checked(domain: str, content: bytes, wrappings: Sequence[bytes]) -> Kept:
    with _opened(content, wrappings, domain) as slots:
        slots.check()
        return Kept(domain, slots.count, sum(1 for _ in slots.destroyed()))


@contextmanager
def _opened(content: bytes, wrappings: Sequence[bytes], domain: str) -> Iterator[KeySlots]:
    """A context with the keys in a copy, which is in memory alone."""
    descriptor = os.memfd_create("dbx-keys")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        path = f"/proc/self/fd/{descriptor}"
        try:
            slots = KeySlots.open(path, wrappings, read_only=True)
            try:
                yield slots
            finally:
                slots.close()
        except StorageError as error:
            of = f"the data keys of '{domain}'"
            raise StorageError(error.detail.replace(path, of)) from None
    finally:
        os.close(descriptor)


def restore(workspace: Workspace, config: Config, source: Path, *, force: bool) -> list[Kept]:
    """Put the data keys of a backup in place, of all its domains or of none.

    Refuses to replace newer files unless ``force`` is given. Raises StorageError, StoreLocked while
    another process has a store open.
    """
    wrappings = [decode_data_key(key) for key in configured(config)]
    wanted = _read(source)
    with ExitStack() as stack:
        for domain in wanted:
            folder = workspace.store_path(domain)
            if folder.is_dir():
                lock = ProcessLock(str(folder / LOCK_NAME))
                stack.callback(lock.release)
        found = [_checked(domain, content, wrappings) for domain, content in wanted.items()]
        if not force:
            for domain, content in wanted.items():
                _refuse_older(workspace.domain_dir(domain) / FILE_NAME, domain, content, wrappings)
        for domain, content in wanted.items():
            path = workspace.domain_dir(domain) / FILE_NAME
            make_directory(path.parent)
            _put(path, content)
    return found


def _read(source: Path) -> dict[str, bytes]:
    from eventdbx.domain.identifiers import check_domain_name

    found: dict[str, bytes] = {}
    try:
        with tarfile.open(source, mode="r:") as archive:
            for entry in archive:
                domain, _, name = entry.name.partition("/")
                reading = archive.extractfile(entry) if entry.isfile() else None
                if name != FILE_NAME or reading is None:
                    raise StorageError(f"{source} is not a backup of data keys")
                found[check_domain_name(domain)] = reading.read()
    except OSError as error:
        raise StorageError(f"cannot read {source}: {error.strerror}") from error
    except tarfile.TarError:
        raise StorageError(f"{source} is not a backup of data keys") from None
    return found


def _refuse_older(path: Path, domain: str, content: bytes, wrappings: Sequence[bytes]) -> None:
    """Raise StorageError when what is there has something that the backup has not."""
    if not path.exists():
        return
    try:
        present = KeySlots.open(str(path), wrappings, read_only=True)
    except StorageError:
        return  # It is of no use: that is why a backup is put in its place.
    try:
        with _opened(content, wrappings, domain) as kept:
            if kept.identity != present.identity:
                raise StorageError(
                    f"{path} belongs to another store than the backup does: nothing is restored; "
                    "--force puts the backup in its place all the same"
                )
            back = len(set(present.destroyed()) - set(kept.destroyed()))
            lacking = present.count - kept.count
    finally:
        present.close()
    reasons = []
    if lacking > 0:
        reasons.append(f"{lacking} newer key(s) would be lost, and what they seal with them")
    if back:
        reasons.append(f"{back} destroyed key(s) would come back, and with them what was erased")
    if reasons:
        raise StorageError(
            f"{path} is newer than the backup: {'; '.join(reasons)}; nothing is restored; --force "
            "puts the backup in its place all the same"
        )


def _put(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
        sync_path(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
