"""Opening a store on disk together with the data keys that its values are sealed with.

The store knows by a mark which file of keys is its own. Whatever is wrong about keys is found here,
before anything is written: a key that does not fit, a file that is missing or is another store's.
Opening the database to write changes its files already, so the mark has a copy beside them
(:data:`COPY_NAME`) that can be read before; where there is none the store is first opened to read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from eventdbx import limits
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.keyfiles import discard_leftover
from eventdbx.storage.keyslots import FILE_NAME, SET_KEY, KeySlots
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import ALL_KEY, MARK_KEY, SealedStore, Seals, mark, read_mark

COPY_NAME = "data_keys.id"
"""In the folder of the store: the identity of its data keys, as hexadecimal text."""

_NO_KEY = f"data encryption key must be configured to read encrypted events; {SET_KEY}"


def keys_path(path: str) -> str:
    """Return where the data keys of the store in a folder are: beside the folder."""
    return os.path.join(os.path.dirname(os.path.abspath(path)), FILE_NAME)


def open_store(
    path: str,
    *,
    data_keys: Sequence[bytes],
    seal: bool,
    read_only: bool = False,
    ciphers_max: int = limits.CIPHERS_KEPT_MAX,
    cache_bytes: int = limits.BLOCK_CACHE_BYTES,
) -> SealedStore:
    """Open (or create) the store in the folder ``path``.

    ``data_keys`` are the configured keys, the present one first; with ``seal`` what is written is
    sealed. Raises as :meth:`RocksStore.open` and :meth:`KeySlots.open` do.
    """
    beside = keys_path(path)
    _check(path, beside, data_keys)
    store = RocksStore.open(path, read_only=read_only, cache_bytes=cache_bytes)
    slots = None
    try:
        # Only now, under the lock: until then another process may have made keys or replaced them.
        if not read_only:
            discard_leftover(beside)
        if data_keys and os.path.exists(beside):
            slots = KeySlots.open(beside, data_keys, read_only=read_only)
        if read_only:
            if (found := store.get(MARK_KEY)) is not None:
                _belonging(slots, found, beside)
            strict = slots is not None and store.get(ALL_KEY) is not None
            seals = Seals(slots, seal=False, strict=strict, ciphers_max=ciphers_max)
            return SealedStore(store, seals)
        slots = _matched(store, beside, slots, data_keys, seal=seal)
        strict = slots is not None and _all_sealed(store, slots, seal=seal)
        if slots is not None and store.get(MARK_KEY) is not None:
            _keep_copy(path, slots.identity.hex())
        seals = Seals(slots, seal=seal, strict=strict, ciphers_max=ciphers_max)
        return SealedStore(store, seals)
    except BaseException:
        store.close()
        if slots is not None:
            slots.close()
        raise


def _check(path: str, beside: str, data_keys: Sequence[bytes]) -> None:
    """Refuse keys that do not fit before the store is touched."""
    slots = None
    try:
        if data_keys and os.path.exists(beside):
            slots = KeySlots.open(beside, data_keys, read_only=True)
        identity = _identity(path)
        if identity is None:
            return
        if not data_keys:
            raise ConfigError(_NO_KEY)
        _identified(slots, identity, beside)
    finally:
        if slots is not None:
            slots.close()


def _identity(path: str) -> bytes | None:
    """Return the identity of the data keys of a store, None if there is none or it is plain."""
    try:
        with open(os.path.join(path, COPY_NAME), encoding="ascii") as file:
            return bytes.fromhex(file.read())
    except (OSError, ValueError):
        pass
    if not os.path.isfile(os.path.join(path, "CURRENT")):
        return None
    store = RocksStore.open(path, read_only=True)
    try:
        found = store.get(MARK_KEY)
    finally:
        store.close()
    return None if found is None else read_mark(found)[0]


def _identified(slots: KeySlots | None, identity: bytes, beside: str) -> KeySlots:
    if slots is None:
        raise StorageError(
            f"the data keys of an encrypted store are missing: {beside} must be restored from its "
            "own backup (dbx keys restore), nothing can be read without it"
        )
    if slots.identity != identity:
        raise StorageError(
            f"{beside} holds the data keys of another store; put back the file of this one, or "
            "restore it from its backup (dbx keys restore)"
        )
    return slots


def _belonging(slots: KeySlots | None, found: bytes, beside: str) -> KeySlots:
    """Return the keys if they are those of the store with that mark, and as new as it is."""
    identity, count = read_mark(found)
    slots = _identified(slots, identity, beside)
    if slots.count < count:
        raise StorageError(
            f"{beside} is older than the store: it has {slots.count} of at least {count} data "
            "keys; put back the newest copy of the file"
        )
    return slots


def _matched(
    store: RocksStore,
    beside: str,
    slots: KeySlots | None,
    data_keys: Sequence[bytes],
    *,
    seal: bool,
) -> KeySlots | None:
    """Return the keys of an opened store, new ones where it is to be sealed for the first time."""
    found = store.get(MARK_KEY)
    if found is not None:
        if not data_keys:
            raise ConfigError(_NO_KEY)
        return _belonging(slots, found, beside)
    if not seal:
        return slots
    if slots is None:
        if not data_keys:
            raise ConfigError("data encryption key must be configured to seal events")
        slots = KeySlots.create(beside, data_keys[0])
    marks: dict[bytes, bytes | None] = {MARK_KEY: mark(slots)}
    if next(store.view().scan(b"\x01", b"\xff" * 8), None) is None:
        marks[ALL_KEY] = slots.identity
    store.write(marks, sync=False)
    store.sync()
    return slots


def _all_sealed(store: RocksStore, slots: KeySlots, *, seal: bool) -> bool:
    """Tell whether no value of the store is plain; that ends with who writes plain ones."""
    if store.get(ALL_KEY) != slots.identity:
        return False
    if not seal:
        store.write({ALL_KEY: None}, sync=False)
        store.sync()
    return seal


def _keep_copy(path: str, text: str) -> None:
    """Write down beside the database which keys it needs, for who opens it the next time."""
    copy = os.path.join(path, COPY_NAME)
    try:
        try:
            with open(copy, encoding="ascii") as file:
                if file.read() == text:
                    return
        except (OSError, ValueError):
            pass
        with open(copy + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(copy + ".new", copy)
    except OSError as error:
        raise StorageError(f"cannot write {copy}: {error.strerror}") from error
