"""Restoring: an archive becomes the data directory, all of it or nothing.

It is unpacked beside the directory, held against its checksums and opened there; then the two
change places in one step. Whoever kills this finds the old data or the new.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from eventdbx.config import updated_text
from eventdbx.domain.actions import Action
from eventdbx.errors import ConfigError, EventDBXError, StorageError
from eventdbx.services import swapping
from eventdbx.services.auditspool import Spool, operator
from eventdbx.services.backup_archives import Advance, Refused, peek, unpack
from eventdbx.services.backup_manifest import Manifest
from eventdbx.services.files import (
    locked_directory,
    make_directory,
    read_text,
    replace_text,
    sync_path,
)
from eventdbx.services.ournames import OF_THE_PERSON
from eventdbx.services.pidfile import AlreadyRunning, PidFile
from eventdbx.services.replacing import check_target, check_writable, has_keys, unused
from eventdbx.services.workspace import (
    CONFIG_NAME,
    PID_NAME,
    RESTORED_NAME,
    Opened,
    Place,
    open_place,
)
from eventdbx.storage.keyslots import FILE_NAME as KEYS_NAME

Import = Callable[[Path, Manifest, Opened], "Imported"]
"""Makes stores of ours of another program's archive: (unpacked data, manifest, where to)."""


class Imported(NamedTuple):
    """What came of the archive of another program."""

    domains: tuple[str, ...]
    events: int
    aggregates: int
    mismatches: tuple[str, ...]
    left_out: tuple[str, ...]


class Wanted(NamedTuple):
    """What is to be restored, and where to."""

    source: Path
    config_path: Path
    default_data_dir: Path
    data_dir: Path | None = None
    force: bool = False
    passphrase: bytes | None = None


class Restored(NamedTuple):
    """What was restored. ``unchecked`` names domains whose stores need keys that are not there."""

    data_dir: Path
    config_path: Path
    manifest: Manifest
    files: int
    size: int
    unchecked: tuple[str, ...]
    imported: Imported | None


class Tried(NamedTuple):
    """What is in an archive, unpacked and opened. ``unchecked`` as in :class:`Restored`."""

    manifest: Manifest
    files: int
    size: int
    data: Path
    place: Opened
    unchecked: tuple[str, ...]
    imported: Imported | None


def restore(
    wanted: Wanted,
    *,
    import_foreign: Import,
    environ: Mapping[str, str],
    advance: Advance = lambda _count: None,
) -> Restored:
    """Restore an archive. Raises Refused, or another EventDBXError; nothing has changed then."""
    manifest = peek(wanted.source, passphrase=wanted.passphrase)
    target = _target(wanted, manifest)
    # A link to the data directory stays one; what changes places is where it leads.
    place = Path(os.path.realpath(target))
    try:
        if not manifest.keys and has_keys(place):
            raise Refused(
                f"the archive has no keys, and those in {target} would be replaced as well; they "
                "may be all that opens it",
                "keep them (dbx keys backup, and config.toml), move the directory away, and "
                "restore then",
            )
        make_directory(place.parent)
        with _staging(place, force=wanted.force) as stage:
            tried = try_out(
                wanted.source,
                stage,
                passphrase=wanted.passphrase,
                import_foreign=import_foreign,
                environ=environ,
                advance=advance,
            )
            _put(wanted, tried, target, place)
        return Restored(
            target,
            wanted.config_path,
            tried.manifest,
            tried.files,
            tried.size,
            tried.unchecked,
            tried.imported,
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Refused(
            f"cannot restore into {target}", f"{where}{error.strerror or error}"
        ) from None


def try_out(
    source: Path,
    stage: Path,
    *,
    passphrase: bytes | None,
    import_foreign: Import,
    environ: Mapping[str, str],
    advance: Advance = lambda _count: None,
) -> Tried:
    """Unpack an archive into an empty folder, check it, and open every store. Raises Refused."""
    data = stage / "data"
    data.mkdir(mode=0o700)
    found = unpack(source, data, passphrase=passphrase, advance=advance)
    imported = None
    if found.manifest.foreign:
        foreign, data = data, stage / "made"
        data.mkdir(mode=0o700)
    place = _opened(found.manifest, stage, data, environ)
    if found.manifest.foreign:
        imported = import_foreign(foreign, found.manifest, place)
        shutil.rmtree(foreign)
    unchecked = tuple(check_stores(place))
    return Tried(found.manifest, found.files, found.size, data, place, unchecked, imported)


def _target(wanted: Wanted, manifest: Manifest) -> Path:
    named = manifest.config.get("data_dir")
    if isinstance(named, str) and "\0" in named:
        raise Refused("failed to decode manifest.json", "its data_dir is no path")
    given = wanted.data_dir or (Path(named) if isinstance(named, str) and named else None)
    return Path(os.path.abspath(given or wanted.default_data_dir))


@contextmanager
def _staging(target: Path, *, force: bool) -> Iterator[Path]:
    """A new folder beside the directory, ours alone; gone at the end."""
    with locked_directory(target.parent):
        _refuse_second(target)
        swapping.mend(target)
        check_target(target, force=force)
        swapping.sweep(target)
        stage = swapping.beside(target, swapping.STAGED)
        stage.mkdir(mode=0o700)
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        below = stage / "work"  # Locks are taken on it, too, for what it holds.
        below.mkdir(mode=0o700)
        yield below
    finally:
        os.close(descriptor)
        shutil.rmtree(stage, ignore_errors=True)


def _refuse_second(target: Path) -> None:
    for left in swapping.leftovers(target, swapping.STAGED):
        with suppress(FileNotFoundError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(f"another restore into {target} is at work") from None
            finally:
                os.close(descriptor)


def _opened(manifest: Manifest, stage: Path, data: Path, environ: Mapping[str, str]) -> Opened:
    """Return the workspace of what was unpacked, with a configuration of its own."""
    path = stage / "config.toml"
    try:
        replace_text(path, manifest.text_of_config(data))
        # The archive's own key is the one that it was sealed with, whatever is set here.
        keeps = not manifest.config.get("data_encryption_key")
        known = {
            key: one
            for key, one in environ.items()
            if key != "EVENTDBX_DATA_DIR" and (keeps or not key.startswith("EVENTDBX_"))
        }
        return open_place(Place(path, data, False), environ=known)
    except EventDBXError as error:
        detail = str(error).replace(str(path), "config")
    except (TypeError, LookupError, AttributeError, ValueError) as error:
        detail = f"its configuration cannot be read: {error}"  # A table that is none, say.
    raise Refused("failed to decode manifest.json", detail)


def check_stores(place: Opened) -> Iterator[str]:
    """Open every store, to read; yield the domains whose keys are not there. Raises Refused."""
    from eventdbx.services.backups import has_store
    from eventdbx.services.stores import open_configured
    from eventdbx.storage import eventlog
    from eventdbx.storage.opening import COPY_NAME

    workspace, config = place
    for name in workspace.domain_names():
        path = workspace.store_path(name)
        if not has_store(path):
            continue
        if (path / COPY_NAME).exists() and not (path.parent / KEYS_NAME).exists():
            yield name
            continue
        try:
            store = open_configured(path, config, read_only=True)
            try:
                eventlog.end_position(store.view(), 0)
            finally:
                store.close()
        except (StorageError, ConfigError) as error:
            detail = error.detail.replace(f"{path.parent}{os.sep}", "data/")
            raise Refused(f"the store of domain '{name}' does not open", detail) from None


def _put(wanted: Wanted, found: Tried, target: Path, place: Path) -> None:
    """Make the unpacked data whole, put it in place, and remove what was there.

    ``place`` is where ``target`` leads.
    """
    data = found.data
    text = found.manifest.text_of_config(target)
    if found.manifest.foreign:
        # Keys that it lacked were made, and what was recreated is sealed with them.
        made = read_text(found.place.workspace.config_path) or ""
        text = updated_text(made, {"data_dir": str(target)})
    config_path = Path(os.path.realpath(wanted.config_path.parent), wanted.config_path.name)
    inside = place in config_path.parents
    if inside:
        path = data / config_path.relative_to(place)
        if path.name != CONFIG_NAME and os.path.lexists(path):
            raise Refused(f"{wanted.config_path} is taken by a file of the archive")
        make_directory(path.parent)
        replace_text(path, text)
    else:
        check_writable(wanted.config_path)
        pending = {"config_path": str(wanted.config_path), "text": text}
        replace_text(data / RESTORED_NAME, orjson.dumps(pending).decode())
    Spool(data).append(
        Action(
            "backups",
            "backup_restored",
            wanted.source.name,
            "dbx restore",
            operator(os.environ),
            details={"created_at": found.manifest.created_at, "files": found.files},
            key=str(uuid.uuid4()),
        )
    )
    _sync(data)
    holding = None
    try:
        if place.is_dir():
            holding = PidFile(place / PID_NAME, doing="dbx restore")
            holding.acquire(now_ns=time.time_ns())
            # Once more: unpacking took its time, and what came meanwhile is nobody's to remove.
            check_target(place, force=wanted.force, held=True)
            _keep_of_the_person(place, data)
        with unused(place):
            old = swapping.put_in_place(data, place)
    except AlreadyRunning as error:
        raise Refused(
            error.detail
            if error.doing
            else f"EventDBX server appears to be running (pid {error.pid}); "
            "stop it before continuing"
        ) from None
    finally:
        if holding is not None:
            holding.release()
    if not inside:
        finish(target, wanted.config_path)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    swapping.sweep(place, whole=True)


def finish(data_dir: Path, config_path: Path) -> bool:
    """Write the configuration that a restore has brought, unless that is done; tell if it was not.

    A restore that was killed after the data came into place is finished so by the next command.
    """
    pending = data_dir / RESTORED_NAME
    try:
        document = orjson.loads(pending.read_bytes())
    except (OSError, ValueError):
        return False
    if document.get("config_path") != str(config_path):
        return False
    before = read_text(config_path)
    if before is not None and before != document["text"]:
        # It may hold the only copy of the keys of another directory.
        replace_text(config_path.with_name(f"{config_path.name}.before-restore"), before)
    replace_text(config_path, document["text"])
    pending.unlink(missing_ok=True)
    return True


def _keep_of_the_person(target: Path, data: Path) -> None:
    """Take over what is not of the database: by links, so that the old directory stays whole."""
    for name in OF_THE_PERSON:
        kept = target / name
        if kept.is_dir():
            shutil.copytree(kept, data / name, copy_function=_linked, dirs_exist_ok=True)
        elif kept.is_file():
            _linked(str(kept), str(data / name))


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _sync(folder: Path) -> None:
    """Bring everything below a folder onto the disk. Raises OSError."""
    for here, _folders, names in os.walk(folder):
        for name in names:
            sync_path(Path(here, name))
        sync_path(Path(here))
