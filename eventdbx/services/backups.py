"""Backups of an installation: made by a running server, or by a command where none runs.

Both copy everything into a private folder (:mod:`eventdbx.services.backup_copies`) and pack that
(:mod:`eventdbx.services.backup_archives`). While a command packs what a server has copied, it holds
a lock on a file in the folder; when that lock is free the command is done, or dead, and the server
takes the folder away.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from eventdbx.config import Config
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import IoError, NameTaken, StorageError
from eventdbx.services import backup_copies
from eventdbx.services.backup_archives import Advance, Refused, pack, sums_of
from eventdbx.services.backup_copies import Checkpoint, copy_all
from eventdbx.services.backup_manifest import DATA, written
from eventdbx.services.files import PRIVATE, make_directory
from eventdbx.services.pidfile import AlreadyRunning, PidFile
from eventdbx.services.settled import settle
from eventdbx.services.workspace import Workspace

HELD_NAME = "held"
"""In a private folder: the file that whoever packs it has locked."""

ARCHIVES_MAX = 10_000
ENDING = ".tar.gz"


class Archive(NamedTuple):
    """An archive that was made."""

    path: Path
    created_ns: int
    size: int
    digest: str
    files: int
    domains: tuple[str, ...]
    keys: bool


class Copied(NamedTuple):
    """A private folder with a copy, and whose data is in it."""

    folder: Path
    domains: tuple[str, ...]

    @property
    def data(self) -> Path:
        return self.folder / DATA


def checked_target(target: Path, data_dir: Path, *, force: bool) -> Path:
    """Return where an archive goes. Raises Refused for a place inside the data, or taken."""
    absolute = Path(os.path.abspath(target))
    real, inside = Path(os.path.realpath(absolute)), Path(os.path.realpath(data_dir))
    parent = Path(os.path.realpath(absolute.parent))
    if any(one == inside or inside in one.parents for one in (real, parent)):
        raise Refused(
            f"backup output path {absolute} resides inside the data directory {data_dir}; "
            "choose a different location"
        )
    if absolute.is_dir():
        raise Refused(f"backup target {absolute} is a directory")
    if os.path.exists(absolute) and not absolute.is_file():
        raise Refused(f"backup target {absolute} is no regular file")
    if os.path.lexists(absolute) and not force:
        raise Refused(f"backup target {absolute} already exists (use --force to overwrite)")
    return absolute


@contextmanager
def copied_here(workspace: Workspace, *, with_keys: bool) -> Iterator[Copied]:
    """A copy made by this process; no server can start meanwhile.

    Raises Refused when one runs, StoreLocked when another command has a store open, IoError.
    """
    holding = PidFile(workspace.pid_path, doing="dbx backup")
    try:
        holding.acquire(now_ns=time.time_ns())
    except AlreadyRunning as error:
        raise Refused(
            error.detail
            if error.doing
            else f"EventDBX server appears to be running (pid {error.pid}); "
            "stop it before continuing"
        ) from None
    folder = None
    try:
        backup_copies.sweep(workspace.data_dir)
        folder = backup_copies.make_folder(workspace.data_dir)
        names = workspace.domain_names()
        for name in names:
            settle(workspace.domain_dir(name))
        domains = [(name, _checkpoint_of(workspace.store_path(name))) for name in names]
        copy_all(workspace, folder / DATA, domains, with_keys=with_keys)
        yield Copied(folder, tuple(names))
    finally:
        if folder is not None:
            backup_copies.remove(folder)
        holding.release()


def has_store(path: Path) -> bool:
    """Say whether there is a store in a folder."""
    return (path / "CURRENT").is_file()


def _checkpoint_of(path: Path) -> Checkpoint | None:
    if not has_store(path):
        return None

    def checkpoint(target: str) -> None:
        from eventdbx.storage.rocks import RocksStore

        store = RocksStore.open(str(path), create=False)
        try:
            store.checkpoint(target)
        finally:
            store.close()

    return checkpoint


def archive_of(
    copied: Copied,
    workspace: Workspace,
    config: Config,
    target: Path,
    *,
    force: bool,
    with_keys: bool = True,
    passphrase: bytes | None = None,
    advance: Advance = lambda _count: None,
) -> Archive:
    """Pack a copy. Raises IoError, Refused if the name was taken meanwhile.

    ``config`` is from before the copy was made. Keys may have changed since, so those of now are
    in the archive, and those of before as older ones.
    """
    created_ns = time.time_ns()
    now = workspace.read()
    known = {now.data_encryption_key, *now.data_encryption_keys, None}
    before = (config.data_encryption_key, *config.data_encryption_keys)
    older = tuple(key for key in before if key is not None and key not in known)
    if now.data_encryption_key is None and older:
        now, older = replace(now, data_encryption_key=older[0]), older[1:]
    config = replace(now, data_encryption_keys=(*now.data_encryption_keys, *older))
    try:
        sums = sums_of(copied.data, advance)
        manifest = written(
            workspace,
            config,
            created_ns=created_ns,
            keys=with_keys,
            domains=copied.domains,
            sums=sums,
        )
        whole = pack(
            copied.data, manifest, sums, target, force=force, passphrase=passphrase, advance=advance
        )
    except (OSError, IoError) as error:
        if not copied.data.is_dir():
            raise IoError(
                "the server has stopped and taken its copy away; no archive was written, try again"
            ) from None
        if isinstance(error, IoError):
            raise
        raise IoError(f"cannot read {error.filename}: {error.strerror}") from None
    return Archive(
        target, created_ns, whole.size, whole.digest, len(sums), copied.domains, with_keys
    )


def document_of(archive: Archive) -> dict[str, Any]:
    """Return what is said of an archive that was made."""
    return {
        "path": str(archive.path),
        "bytes": archive.size,
        "sha256": archive.digest,
        "files": archive.files,
        "domains": list(archive.domains),
        "keys": archive.keys,
        "created_at": format_ns(archive.created_ns),
    }


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder have."""
    return sum(
        os.lstat(os.path.join(here, name)).st_size
        for here, _folders, names in os.walk(folder)
        for name in names
    )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a server from taking away a folder that this process packs. Raises StorageError."""
    try:
        descriptor = os.open(folder / HELD_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def make_held(folder: Path) -> None:
    """Put the file in a folder that :func:`held` locks."""
    os.close(os.open(folder / HELD_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))


def is_held(folder: Path) -> bool:
    """Say whether anybody holds a folder."""
    try:
        descriptor = os.open(folder / HELD_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def backup_dir(workspace: Workspace, config: Config) -> Path:
    """Return where a server puts the archives that it makes itself."""
    if config.backup_dir:
        return Path(os.path.abspath(config.backup_dir))
    data_dir = workspace.data_dir
    return data_dir.with_name(f"{data_dir.name}-backups")


def kept(folder: Path) -> list[dict[str, Any]]:
    """Return the archives in a folder, oldest first. Raises IoError."""
    try:
        if not folder.is_dir():
            return []
        found = []
        with os.scandir(folder) as entries:
            for one in entries:
                if one.name.endswith(ENDING) and not one.name.startswith(".") and one.is_file():
                    about = one.stat()
                    found.append((one.name, about.st_size, about.st_mtime_ns))
    except OSError as error:
        raise IoError(f"cannot read {folder}: {error.strerror}") from None
    return [
        {
            "name": name,
            "path": str(folder / name),
            "bytes": size,
            "created_at": format_ns(changed_ns),
        }
        for name, size, changed_ns in sorted(found)[:ARCHIVES_MAX]
    ]


def named(folder: Path, name: str | None, now_ns: int) -> Path:
    """Return where a new archive goes. Raises NameTaken, IoError."""
    make_directory(folder)
    if name is None:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // 10**9))
        name = f"backup-{stamp}-{now_ns // 1000 % 10**6:06d}"
    path = folder / f"{name}{ENDING}"
    if path.exists():
        raise NameTaken(f"backup '{name}{ENDING}' already exists")
    return path


def copying(
    workspace: Workspace, domains: list[tuple[str, Checkpoint | None]], *, with_keys: bool
) -> Callable[[], Copied]:
    """Return what makes a copy for a server, on a thread."""
    return partial(_copy, workspace, domains, with_keys)


def _copy(
    workspace: Workspace, domains: list[tuple[str, Checkpoint | None]], with_keys: bool
) -> Copied:
    folder = backup_copies.make_folder(workspace.data_dir)
    try:
        copy_all(workspace, folder / DATA, domains, with_keys=with_keys)
        make_held(folder)
    except BaseException:
        backup_copies.remove(folder)
        raise
    return Copied(folder, tuple(name for name, _ in domains))
