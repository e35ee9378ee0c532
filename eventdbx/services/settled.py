"""Putting a merged store in the place of the one before, for whoever opens the domain next.

A merge (:mod:`eventdbx.services.merging`) ends with a rename to :data:`MERGED`; everything after
that can be done again by anybody. Nothing here imports Twisted or the store.
"""

from __future__ import annotations

import os
from pathlib import Path

from eventdbx.errors import IoError
from eventdbx.services.files import locked_directory, sync_path

_KEYS = "data_keys"

MERGING = ".merging"
"""The folder that a merge works in; what is left of one that was killed counts for nothing."""

MERGED = ".merged"
"""The same folder when the merge is whole."""

REPORT = ".merge.json"
"""What the merge came to, for who asks again because nobody told him."""

_BEFORE = ".before-merge"
_STORE = "event_store"


def settle(folder: Path) -> None:
    """Put what was merged in place, if a domain's folder has any. Raises IoError."""
    merged = folder / MERGED
    if not merged.is_dir():
        return
    try:
        with locked_directory(folder):
            if merged.is_dir():
                _settle(folder, merged)
    except OSError as error:
        raise IoError(f"cannot put {merged} in place: {error.strerror}") from None


def _settle(folder: Path, merged: Path) -> None:
    import shutil  # Rarely needed, and slow to import for a command.

    before = folder / _BEFORE
    store = folder / _STORE
    # The keys first: they are those of the old store, too.
    if (merged / _KEYS).is_file():
        _replace_keys(merged / _KEYS, folder / _KEYS)
    for name in ("schemas", "schemas.json", REPORT):
        if not (merged / name).exists():
            continue
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        os.replace(merged / name, folder / name)
    if (merged / _STORE).is_dir():
        if store.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            os.replace(store, before)
        os.replace(merged / _STORE, store)
    sync_path(folder)
    shutil.rmtree(before, ignore_errors=True)
    shutil.rmtree(merged)


def _replace_keys(new: Path, path: Path) -> None:
    """Put a file of keys in the place of one that nothing may be left of: what is erased later
    could be read with it."""
    old = os.open(path, os.O_RDWR | os.O_CLOEXEC) if path.exists() else -1
    try:
        os.replace(new, path)
        if old >= 0:
            sync_path(path.parent)
            _wipe(old)
    finally:
        if old >= 0:
            os.close(old)


def forget_unfinished(folder: Path) -> None:
    """Remove what a merge into a domain has left that did not come to its end, if there is any.

    For who has the store of the domain to himself: it holds what the store did, with the keys for
    it, and nothing that is erased later would be erased there. Raises IoError.
    """
    merging = folder / MERGING
    if not merging.is_dir():
        return
    import shutil

    try:
        if (merging / _KEYS).is_file():
            keys = os.open(merging / _KEYS, os.O_RDWR | os.O_CLOEXEC)
            try:
                _wipe(keys)
            finally:
                os.close(keys)
        shutil.rmtree(merging)
    except OSError as error:
        raise IoError(f"cannot remove {error.filename or merging}: {error.strerror}") from None


def _wipe(keys: int) -> None:
    from eventdbx.storage.keyfiles import wipe

    wipe(keys)
