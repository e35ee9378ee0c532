"""Opening a store on disk together with the data keys that its values are sealed with.

The store knows by a mark which file of keys is its own. Whatever is wrong about keys is found here,
before anything is written: a key that does not fit, a file that is missing or is another store's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.keyslots import FILE_NAME, KeySlots
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import SealedStore, Seals

MARK_KEY = b"\x00sealed"
"""Holds the identity of the file of data keys."""


def keys_path(path: str) -> str:
    """Return where the data keys of the store in a folder are: beside the folder."""
    return os.path.join(os.path.dirname(os.path.abspath(path)), FILE_NAME)


def open_store(
    path: str, *, data_keys: Sequence[bytes], seal: bool, read_only: bool = False
) -> SealedStore:
    """Open (or create) the store in the folder ``path``.

    ``data_keys`` are the configured keys, the present one first; with ``seal`` what is written is
    sealed. Raises as :meth:`RocksStore.open` and :meth:`KeySlots.open` do.
    """
    beside = keys_path(path)
    slots = None
    if data_keys and os.path.exists(beside):
        # Before the store is touched: a key that does not fit changes nothing.
        slots = KeySlots.open(beside, data_keys, read_only=read_only)
    try:
        store = RocksStore.open(path, read_only=read_only)
    except BaseException:
        if slots is not None:
            slots.close()
        raise
    try:
        slots = _matched(store, beside, slots, data_keys, seal=seal and not read_only)
    except BaseException:
        store.close()
        if slots is not None:
            slots.close()
        raise
    return SealedStore(store, Seals(slots, seal=seal and not read_only))


def _matched(
    store: RocksStore,
    beside: str,
    slots: KeySlots | None,
    data_keys: Sequence[bytes],
    *,
    seal: bool,
) -> KeySlots | None:
    """Return the keys of an opened store, new ones where it is to be sealed for the first time."""
    mark = store.get(MARK_KEY)
    if mark is None:
        if not seal:
            return slots
        if slots is None:
            if not data_keys:
                raise ConfigError("data encryption key must be configured to seal events")
            slots = KeySlots.create(beside, data_keys[0])
        store.write({MARK_KEY: slots.identity}, sync=False)
        store.sync()
        return slots
    if not data_keys:
        raise ConfigError("data encryption key must be configured to read encrypted events")
    if slots is None:
        raise StorageError(
            f"the data keys of an encrypted store are missing: {beside} must be restored from its "
            "own backup, nothing can be read without it"
        )
    if slots.identity != mark:
        raise StorageError(f"{beside} holds the data keys of another store")
    return slots
