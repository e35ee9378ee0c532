"""A consistent copy of an installation in a private folder of its data directory, to be packed.

Of each store a checkpoint, which costs no space (tables are hard links), of the other files copies
that are not newer than the stores. A folder of this kind belongs to whoever made it; it is gone
with :func:`remove`, or, if that never came, with :func:`sweep`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from eventdbx.errors import IoError, StorageError
from eventdbx.services.auditspool import SPOOL_NAME
from eventdbx.services.files import PRIVATE, locked_directory, make_directory
from eventdbx.services.ournames import OF_THE_PERSON
from eventdbx.services.revocations import REVOCATIONS_NAME
from eventdbx.services.settled import MERGING
from eventdbx.services.workspace import CONFIG_NAME, PID_NAME, TOKEN_NAME, Workspace
from eventdbx.storage.keyslots import FILE_NAME as KEYS_NAME
from eventdbx.storage.opening import COPY_NAME

PREFIX = ".backup-"
"""What the names of the private folders begin with."""

STORE_NAME = "event_store"

_LEFT_OUT = OF_THE_PERSON | {CONFIG_NAME, PID_NAME, TOKEN_NAME} | {
    ".destroying", ".restored.json", MERGING
}  # fmt: skip
"""At the top of the data directory and of each domain's: the configuration is in the manifest, a
token that may do everything and never ends must not travel, the rest is of this machine."""

_SECRETS = (KEYS_NAME, "tokens.", REVOCATIONS_NAME, CONFIG_NAME, TOKEN_NAME, "remote.json")
"""What the names of files begin with that an archive without keys does not have, either: whatever
was put beside them under a longer name holds the same."""

_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""As :func:`eventdbx.services.files.replace_text` names what it has not finished."""

_APPENDED = frozenset(("tokens.journal", SPOOL_NAME, f"{SPOOL_NAME}.taken"))
_COPIED_BYTES_MAX = 64 << 20
"""A larger file is linked: whatever we write that large is replaced by another, never changed."""

_TRIES = 5
_HEADER_BYTES, _SLOT_BYTES = 128, 64
_DESTROYED = b"destroyed".ljust(_SLOT_BYTES, b"\0")

Checkpoint = Callable[[str], None]
"""Writes a consistent copy of a store into a new folder."""


def make_folder(data_dir: Path) -> Path:
    """Make a private folder for one copy. Raises IoError."""
    path = data_dir / f"{PREFIX}{secrets.token_hex(8)}"
    make_directory(path)
    return path


def remove(folder: Path) -> None:
    """Remove a private folder, however much of it there is."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(data_dir: Path) -> None:
    """Remove what was left by processes that were killed. For who holds the pid file."""
    with suppress(OSError):
        for left in data_dir.glob(f"{PREFIX}*"):
            remove(left)


def copy_all(
    workspace: Workspace,
    folder: Path,
    domains: Sequence[tuple[str, Checkpoint | None]],
    *,
    with_keys: bool,
) -> None:
    """Fill a private folder with everything that belongs into an archive.

    ``domains`` are all there are, with what makes a checkpoint of each store. Raises IoError,
    StorageError.
    """
    data_dir = workspace.data_dir
    stores = {workspace.store_path(name) for name, _ in domains}
    make_directory(folder)
    try:
        # Before the stores: what is beside them may be older than they are, never newer.
        with locked_directory(data_dir):
            for path in _files(data_dir, stores):
                inside = path.relative_to(data_dir)
                if with_keys or inside.parts[0] == "plugins" or not path.name.startswith(_SECRETS):
                    _copy(path, folder / inside)
        for name, checkpoint in domains:
            place = folder / workspace.domain_dir(name).relative_to(data_dir)
            make_directory(place)
            if checkpoint is not None:
                keys = workspace.domain_dir(name) / KEYS_NAME
                _copy_store(checkpoint, workspace.store_path(name), keys, place, with_keys)
    except OSError as error:
        raise IoError(f"cannot copy {error.filename}: {error.strerror}") from None


def _files(data_dir: Path, stores: set[Path]) -> Iterator[Path]:
    """Yield every file that is copied as it is; folders of stores have a way of their own.

    Of domains that are being made or removed just now, nothing. Raises IoError.
    """
    tops = {path.parent for path in stores} | {data_dir}
    for root in [data_dir, *sorted(one for one in tops if one.is_symlink() and one != data_dir)]:
        for found, folders, names in os.walk(root):
            here = Path(found)
            folders[:] = sorted(
                one
                for one in folders
                if here / one not in stores and _is_walked(here / one, data_dir, tops)
            )
            for name in sorted(names):
                path = here / name
                left_out = here in tops and (name in _LEFT_OUT or name.startswith(KEYS_NAME))
                if data_dir / "plugins" not in path.parents:
                    left_out |= _UNFINISHED.fullmatch(name) is not None
                if not left_out and path.is_file():
                    yield _named(path)


def _is_walked(path: Path, data_dir: Path, tops: set[Path]) -> bool:
    """Say whether what is below a folder is copied as it is."""
    if path.parent == data_dir / "domains" and path not in tops:
        return False
    if path.parent in tops and (path.name in _LEFT_OUT or path.name.startswith(PREFIX)):
        return False
    return path != data_dir / "plugins" / "run"


def _named(path: Path) -> Path:
    """Return a path whose name can stand in a manifest. Raises IoError."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise IoError(f"cannot back up {os.fspath(path)!r}: its name is not UTF-8") from None
    return path


def _copy(path: Path, target: Path) -> None:
    make_directory(target.parent)
    try:
        if path.stat().st_size > _COPIED_BYTES_MAX and path.name not in _APPENDED:
            with suppress(OSError):
                os.link(path.resolve(), target)
                return
        shutil.copyfile(path, target)
        target.chmod(path.stat().st_mode & 0o100 | PRIVATE)
    except FileNotFoundError:
        return  # Replaced or taken over just now; what was in it is where it belongs.


def _copy_store(
    checkpoint: Checkpoint, store: Path, keys: Path, place: Path, with_keys: bool
) -> None:
    """Copy a store together with its data keys, as they were at that moment.

    A key that is made meanwhile does no harm. One that is destroyed, or wrapped anew, does: then
    both are copied once more.
    """
    target = place / STORE_NAME
    for _ in range(_TRIES):
        before = _read_keys(keys)
        checkpoint(str(target))
        after = _read_keys(keys)
        if _none_destroyed(before, after):
            break
        shutil.rmtree(target)
    else:
        raise StorageError(
            "the data keys are being destroyed or wrapped anew just now, so there is no moment at "
            "which they could be copied; try again when that is over (dbx keys status)"
        )
    if (store / COPY_NAME).is_file():
        shutil.copyfile(store / COPY_NAME, target / COPY_NAME)
    if after is not None and with_keys:
        (place / KEYS_NAME).write_bytes(after)


def _none_destroyed(before: bytes | None, after: bytes | None) -> bool:
    """Say whether a file of keys has only grown, by keys that are there still."""
    if after is None:
        return before is None
    before = before or after[:_HEADER_BYTES]
    added = range(len(before), len(after), _SLOT_BYTES)
    return after.startswith(before) and not any(after.startswith(_DESTROYED, at) for at in added)


def _read_keys(path: Path) -> bytes | None:
    """Return a file of keys without what is being appended just now: that is nobody's yet."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content[: len(content) - max(len(content) - _HEADER_BYTES, 0) % _SLOT_BYTES]
