"""The data keys of a store: a file of slots, each key wrapped by the configured key.

Slots are numbered from 1 and never used twice. The file stands beside the store, not in it, so
that copies of the store hold no key: a key that is destroyed here is gone from all of them. New
slots are always appended, never taken from what an earlier process left: after the file or the
store came back from a copy, no key meets a nonce again that it has met (docs/encryption.md).

The configured key itself wraps nothing: each file has a key derived from it, so that neither two
files nor anything else that is sealed with the configured key share one.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from struct import Struct
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventdbx import limits
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.keyfiles import (
    NEW,
    discard_leftover,
    new_file,
    sync_folder,
    trouble,
    wipe,
    write_at,
)

KEY_BYTES = 32
FILE_NAME = "data_keys"

SET_KEY = "set it with `dbx config --dek`, or in EVENTDBX_DATA_ENCRYPTION_KEY"
"""What to do without a key."""

_MAGIC = b"dbxkeys\x01"
_ID_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = 128
_SLOT_BYTES = 64
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_ROW_END = bytes(_SLOT_BYTES - _WRAPPED_BYTES)
_CHECKED = b"eventdbx data keys".ljust(KEY_BYTES, b"\0")
_DESTROYED = b"destroyed".ljust(_SLOT_BYTES, b"\0")
_NEVER = bytes(_SLOT_BYTES)
"""A slot that a power cut left unwritten; it was never used."""
_PLACE = Struct(">16sI")
_PERSON = b"dbx wrapping"
_SLOT_MAX = (1 << 32) - 1
_KEPT_FREE = 1 << 20
"""Slots at the end that only openings may take: a store can be written when it has no other."""


class KeySlots:
    """The keys of one store. Made by :meth:`open` and :meth:`create`.

    :meth:`take`, :meth:`destroy` and :meth:`rewrap` are for the one process that writes the store,
    the first of them on one thread; everything else may be called from any.
    """

    def __init__(
        self, path: str, descriptor: int, wrapping: bytes, entropy: Callable[[int], bytes]
    ) -> None:
        self.path = path
        self._descriptor = descriptor
        self._entropy = entropy
        self._identity = os.pread(descriptor, _ID_BYTES, len(_MAGIC))
        self._wrapping = _wrapping_of(wrapping, self._identity)
        self._end = self._count() + 1
        self._fresh: list[tuple[int, bytes]] = []
        self._block = limits.KEY_SLOTS_BLOCK_MIN
        self._known: OrderedDict[int, bytes | None] = OrderedDict()
        self._lock = Lock()
        self._rewrapping = Lock()
        self.wrapped_by_older = False
        self.progress: tuple[int, int] | None = None
        """How many keys of all are wrapped anew, while that goes on."""
        self._destroyed_meanwhile: set[int] | None = None

    @classmethod
    def create(
        cls, path: str, wrapping: bytes, entropy: Callable[[int], bytes] = os.urandom
    ) -> KeySlots:
        """Make the file of a new store. Raises StorageError, also if the file is there.

        What an earlier process left half made is gone before.
        """
        discard_leftover(path)
        try:
            descriptor = new_file(path + NEW, _header(wrapping, entropy(_ID_BYTES), entropy))
            try:
                os.link(path + NEW, path)
                os.unlink(path + NEW)
                sync_folder(path)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise trouble(path, error) from error
        return cls(path, descriptor, wrapping, entropy)

    @classmethod
    def open(
        cls,
        path: str,
        wrappings: Sequence[bytes],
        *,
        read_only: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> KeySlots:
        """Open the file with whichever of the configured keys wrapped it; nothing is changed.

        Raises StorageError when none did, or the file is not one of this kind, and ConfigError
        without any key.
        """
        if not wrappings:
            raise ConfigError(
                f"data encryption key must be configured to read encrypted events; {SET_KEY}"
            )
        try:
            descriptor = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        except OSError as error:
            raise trouble(path, error) from error
        try:
            header = os.pread(descriptor, _HEADER_BYTES, 0)
            if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
                raise StorageError(
                    f"{path} does not hold data keys that this program can read; "
                    "put back the file, or its backup (dbx keys restore)"
                )
            for number, wrapping in enumerate(wrappings):
                if _opens(header, wrapping):
                    found = cls(path, descriptor, wrapping, entropy)
                    found.wrapped_by_older = number > 0
                    return found
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise trouble(path, error) from error
            raise
        os.close(descriptor)
        raise StorageError(
            "failed to decrypt payload: aead::Error\n"  # As it always was told.
            f"no configured data encryption key fits {path}; configure the key that the store was "
            "written with (data_encryption_key, data_encryption_keys)"
        )

    @property
    def identity(self) -> bytes:
        """What tells this file from that of any other store: 16 bytes."""
        return self._identity

    @property
    def count(self) -> int:
        """How many slots have been made."""
        return self._end - 1

    def take(self) -> int:
        """Return the slot of a key that is nobody's yet. Raises StorageError."""
        if not self._fresh:
            self._make()
        slot, key = self._fresh.pop()
        with self._lock:
            self._keep(slot, key)
        return slot

    def take_alone(self) -> int:
        """Return a slot whose key is made at this moment, for what must differ each time."""
        with self._lock:
            slot, key = self._append(1, _SLOT_MAX)[0]
            self._keep(slot, key)
        return slot

    def key(self, slot: int) -> bytes | None:
        """Return a key, None if it is destroyed. Raises StorageError if there is no such key."""
        try:
            return self._known[slot]
        except KeyError:
            # Not beside who destroys it, or wraps it anew: neither may be overtaken.
            with self._lock:
                key = self._read(slot)
                self._keep(slot, key)
                return key

    def destroy(self, slots: Iterable[int]) -> None:
        """Overwrite keys so that nothing sealed with them can be read again, here or in a copy.

        They are gone from the disk on return. Raises StorageError.
        """
        with self._lock:
            gone = set(slots)
            for slot in gone:
                if not 0 < slot < self._end:
                    raise StorageError(f"{self.path} has no slot {slot}")
            try:
                for slot in gone:
                    os.pwrite(self._descriptor, _DESTROYED, _place(slot))
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise trouble(self.path, error) from error
            # A rewrap that fails meanwhile, on another thread, lets go of it without the lock.
            if (meanwhile := self._destroyed_meanwhile) is not None:
                meanwhile |= gone
            for slot in gone:
                self._known[slot] = None

    def wrapped_by(self, wrapping: bytes) -> bool:
        """Tell whether a configured key is the one that wraps this file. Raises StorageError."""
        with self._lock:
            try:
                return _opens(os.pread(self._descriptor, _HEADER_BYTES, 0), wrapping)
            except OSError as error:
                raise trouble(self.path, error) from error

    def destroyed(self) -> Iterator[int]:
        """Yield the slots whose keys are destroyed. Reads the whole file. Raises StorageError."""
        for slot, row in self._all_rows():
            if row == _DESTROYED:
                yield slot

    def check(self) -> None:
        """Unwrap every key. Raises StorageError for the first that does not open."""
        for slot, row in self._all_rows():
            if row != _NEVER:
                self._unwrapped(slot, row)

    def _all_rows(self) -> Iterator[tuple[int, bytes]]:
        block = limits.KEY_SLOTS_BLOCK_MAX
        for start in range(1, self._end, block):
            with self._lock:
                rows = self._rows(self._descriptor, start, min(start + block, self._end))
            for place in range(0, len(rows), _SLOT_BYTES):
                yield start + place // _SLOT_BYTES, rows[place : place + _SLOT_BYTES]

    def rewrap(self, wrapping: bytes) -> Generator[tuple[int, int], None, None]:
        """Wrap every key by another configured key; yields (done, all) as it goes.

        May run on a thread beside everything else here. The file is replaced in one step at the
        end, and the old one overwritten; until then, and after a crash, it is the old one. Raises
        StorageError, also if that goes on already.
        """
        if not self._rewrapping.acquire(blocking=False):
            raise StorageError(f"the data keys in {self.path} are being wrapped anew already")
        try:
            yield from self._rewrap(wrapping)
        except OSError as error:
            raise trouble(self.path + NEW, error) from error
        finally:
            self.progress = None
            self._rewrapping.release()

    def _rewrap(self, wrapping: bytes) -> Generator[tuple[int, int], None, None]:
        path = self.path + NEW
        with self._lock:
            self._destroyed_meanwhile = set()
        new = _wrapping_of(wrapping, self._identity)
        descriptor = new_file(path, _header(wrapping, self._identity, self._entropy))
        replaced = False
        try:
            done, end = 1, self._end
            while done < end:
                upto = min(done + limits.KEY_SLOTS_WRAPPED_AT_ONCE, end)
                self._copy(descriptor, new, done, upto)
                done = upto
                self.progress = done - 1, end - 1
                yield self.progress
            # What is left is on the disk before anybody has to wait for the lock.
            os.fsync(descriptor)
            with self._lock:
                self._copy(descriptor, new, done, self._end)
                for slot in self._destroyed_meanwhile:
                    os.pwrite(descriptor, _DESTROYED, _place(slot))
                os.fsync(descriptor)
                os.replace(path, self.path)
                self._descriptor, descriptor = descriptor, self._descriptor
                self._wrapping, self.wrapped_by_older, replaced = new, False, True
                sync_folder(self.path)
            # Keys that are destroyed later must not stand in what the disk has forgotten. A copy
            # that somebody made by a second name is theirs.
            if not os.fstat(descriptor).st_nlink:
                wipe(descriptor)
            yield self.count, self.count
        finally:
            self._destroyed_meanwhile = None
            os.close(descriptor)
            if not replaced:
                with suppress(StorageError):
                    discard_leftover(self.path)

    def close(self) -> None:
        """Forget all keys. Closing twice is no error."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            self._known.clear()
            self._fresh.clear()
            if descriptor >= 0:
                os.close(descriptor)

    def _keep(self, slot: int, key: bytes | None) -> None:
        known = self._known
        if len(known) >= limits.KEYS_KEPT_MAX:
            known.popitem(last=False)
        known[slot] = key

    def _count(self) -> int:
        """How many whole slots the file has; a torn one at its end was never used."""
        return (os.fstat(self._descriptor).st_size - _HEADER_BYTES) // _SLOT_BYTES

    def _make(self) -> None:
        with self._lock:
            self._fresh = self._append(self._block, _SLOT_MAX - _KEPT_FREE)[::-1]
        self._block = min(self._block * 2, limits.KEY_SLOTS_BLOCK_MAX)

    def _append(self, count: int, last: int) -> list[tuple[int, bytes]]:
        first = self._end
        if first + count - 1 > last:
            raise StorageError(f"{self.path} is full")
        keys = self._entropy(KEY_BYTES * count)
        nonces = self._entropy(_NONCE_BYTES * count)
        made = list(enumerate(_cut(keys, KEY_BYTES), first))
        encrypt, identity, pack = self._wrapping.encrypt, self._identity, _PLACE.pack
        rows = b"".join(
            [
                nonce + encrypt(nonce, key, pack(identity, slot)) + _ROW_END
                for nonce, (slot, key) in zip(_cut(nonces, _NONCE_BYTES), made, strict=True)
            ]
        )
        try:
            write_at(self._descriptor, rows, _place(first))
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise trouble(self.path, error) from error
        self._end = first + count
        return made

    def _wrapped(self, wrapping: AESGCM, slot: int, key: bytes) -> bytes:
        nonce = self._entropy(_NONCE_BYTES)
        return nonce + wrapping.encrypt(nonce, key, _PLACE.pack(self._identity, slot)) + _ROW_END

    def _read(self, slot: int) -> bytes | None:
        try:
            row = os.pread(self._descriptor, _SLOT_BYTES, _place(slot)) if slot > 0 else b""
        except OSError as error:
            raise trouble(self.path, error) from error
        return self._unwrapped(slot, row)

    def _unwrapped(self, slot: int, row: bytes) -> bytes | None:
        if row == _DESTROYED:
            return None
        if len(row) != _SLOT_BYTES:
            raise StorageError(
                f"{self.path} lacks the data key {slot}: is it older than the store?"
            )
        place = _PLACE.pack(self._identity, slot)
        sealed = row[_NONCE_BYTES:_WRAPPED_BYTES]
        try:
            if any(row[_WRAPPED_BYTES:]):
                raise InvalidTag
            return self._wrapping.decrypt(row[:_NONCE_BYTES], sealed, place)
        except InvalidTag:
            raise StorageError(f"{self.path} is damaged at the data key {slot}") from None

    def _copy(self, descriptor: int, new: AESGCM, start: int, stop: int) -> None:
        """Write the slots of a range, wrapped anew, into another file."""
        rows = self._rows(self._descriptor, start, stop)
        copied = []
        for number, slot in enumerate(range(start, stop)):
            row = rows[number * _SLOT_BYTES : (number + 1) * _SLOT_BYTES]
            if row == _NEVER:
                copied.append(row)
                continue
            key = self._unwrapped(slot, row)
            copied.append(_DESTROYED if key is None else self._wrapped(new, slot, key))
        write_at(descriptor, b"".join(copied), _place(start))

    def _rows(self, descriptor: int, start: int, stop: int) -> bytes:
        size, at = (stop - start) * _SLOT_BYTES, _place(start)
        rows = os.pread(descriptor, size, at)
        while len(rows) < size:
            more = os.pread(descriptor, size - len(rows), at + len(rows))
            if not more:
                raise StorageError(f"{self.path} was cut short")
            rows += more
        return rows


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def _place(slot: int) -> int:
    return _HEADER_BYTES + (slot - 1) * _SLOT_BYTES


def _header(wrapping: bytes, identity: bytes, entropy: Callable[[int], bytes]) -> bytes:
    nonce = entropy(_NONCE_BYTES)
    check = _wrapping_of(wrapping, identity).encrypt(nonce, _CHECKED, _MAGIC + identity)
    return (_MAGIC + identity + nonce + check).ljust(_HEADER_BYTES, b"\0")


def _opens(header: bytes, wrapping: bytes) -> bool:
    start = len(_MAGIC) + _ID_BYTES
    nonce, sealed = header[start : start + _NONCE_BYTES], header[start + _NONCE_BYTES :]
    cipher = _wrapping_of(wrapping, header[len(_MAGIC) : start])
    try:
        found = cipher.decrypt(nonce, sealed[: KEY_BYTES + _TAG_BYTES], header[:start])
    except InvalidTag:
        return False
    return found == _CHECKED


def _wrapping_of(wrapping: bytes, identity: bytes) -> AESGCM:
    digest = blake2b(identity, digest_size=KEY_BYTES, key=wrapping, person=_PERSON)
    return AESGCM(digest.digest())
