"""Putting a merged store in the place of the one before, for whoever opens the domain next.

A merge (:mod:`eventdbx.services.merging`) ends with a rename to :data:`MERGED`; everything after
that can be done again by anybody. Nothing here imports Twisted or the store.
"""

from __future__ import annotations

import os
from pathlib import Path

from eventdbx.errors import IoError
from eventdbx.services.files import locked_directory, sync_path

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
    for name in sorted(os.listdir(merged)):
        if name == _STORE or name not in ("data_keys", "schemas.json", "schemas", REPORT):
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
