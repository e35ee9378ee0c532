"""Whether a data directory may be replaced by what was restored: what has to be so before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eventdbx.errors import ConfigError, IoError
from eventdbx.services.backup_archives import Refused
from eventdbx.services.files import make_directory, read_text
from eventdbx.services.ournames import OF_THE_PERSON, is_ours
from eventdbx.services.pidfile import read_record
from eventdbx.services.workspace import PID_NAME
from eventdbx.storage.keyslots import FILE_NAME as KEYS_NAME


def has_keys(folder: Path) -> bool:
    """Say whether there are data keys in a data directory."""
    return (folder / KEYS_NAME).exists() or any(folder.glob(f"domains/*/{KEYS_NAME}"))


def check_target(target: Path, *, force: bool, held: bool = False) -> None:
    """Raise Refused unless what is there may be replaced; ``held`` by us, as a server would."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise Refused(f"{target} is not a directory")
    try:
        record = None if held else read_record(target / PID_NAME)
    except ConfigError as error:
        raise Refused(error.detail) from None
    if record is not None and record.alive:
        raise Refused(
            f"EventDBX server appears to be running (pid {record.pid}); stop it before continuing"
        )
    if os.path.ismount(target):
        raise Refused(
            f"data directory {target} is a mount point, which cannot change places with another "
            "directory; restore into a directory below it with --data-dir"
        )
    names = sorted(set(os.listdir(target)) - OF_THE_PERSON - ({PID_NAME} if held else set()))
    if not names:
        return
    if not force:
        raise Refused(f"data directory {target} is not empty (use --force to overwrite)")
    strange = [name for name in names if not is_ours(name)]
    if strange:
        named = ", ".join(strange[:5]) + (", …" if len(strange) > 5 else "")
        raise Refused(
            f"data directory {target} holds what is not EventDBX data ({named}); nothing was "
            "replaced: move it away, or restore into another directory with --data-dir"
        )


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Keep the stores of a data directory from being opened to be written.

    Who has one open writes and removes files by their names, which are those of the new store
    once that is in its place. Raises StoreLocked.
    """
    from eventdbx.storage.lock import ProcessLock
    from eventdbx.storage.rocks import LOCK_NAME

    with ExitStack() as locks:
        for path in (folder / "event_store", *folder.glob("domains/*/event_store")):
            if (path / LOCK_NAME).exists():
                locks.callback(ProcessLock(str(path / LOCK_NAME)).release)
        yield


def check_writable(config_path: Path) -> None:
    """Raise IoError, before anything has changed, where a configuration cannot be written."""
    make_directory(config_path.parent)
    read_text(config_path)
    try:
        with tempfile.TemporaryFile(dir=config_path.resolve().parent):
            pass
    except OSError as error:
        raise IoError(f"cannot write {config_path}: {error.strerror}") from None
