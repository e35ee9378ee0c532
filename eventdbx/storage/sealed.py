"""The store that seals every value on its way down, and proves it on its way up.

An adapter of the port over another adapter: nothing above it knows that there are keys. Keys of the
store stay readable, values become one of

- ``00`` CRC-32 (of key and value) and the value, where nothing is sealed: damage is noticed, not
  malice;
- ``01`` slot (u32) counter (u64) and the value, AES-256-GCM under the key of that slot;
- ``02`` slot, counter, length (u32) of the first part and two parts, the content of the record
  (:mod:`eventdbx.storage.contents`) under a key of its own.

The slot is that of the opening: whoever opens the store to write takes a new key, so that counting
up makes nonces that cannot repeat. The key of a content is derived from the keys of its slots and
that of the opening. The store's key of a value is associated data: a value moved elsewhere does not
open. A content whose key is destroyed reads as erased. Empty values, of which only the key counts,
and keys that begin with 00 are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from zlib import crc32

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from zope.interface import implementer

from eventdbx import limits
from eventdbx.errors import StorageError
from eventdbx.storage.contents import FAMILIES, DamagedRecord, parts, without_content
from eventdbx.storage.interfaces import Changes, IOrderedStore, IReadView
from eventdbx.storage.keyslots import KEY_BYTES, KeySlots
from eventdbx.storage.watching import StoreWatch

PLAIN, SEALED, PARTED = 0, 1, 2

_CRC = Struct(">BI")
_SEALED = Struct(">BIQ")
_PARTED = Struct(">BIQI")
_NONCE_BEGIN = bytes(4)
_PERSON = b"dbx content"


class Seals:
    """What makes and opens the values of one store. Values are made on one thread only.

    With ``slots`` None, or ``seal`` false, what is made is plain; what is sealed opens as long as
    there are slots.
    """

    def __init__(self, slots: KeySlots | None, *, seal: bool) -> None:
        self.slots = slots
        self._seal = seal and slots is not None
        self._opening = 0
        self._counter = 0
        self._ciphers: dict[tuple[int, tuple[int, ...]], AESGCM | None] = {}

    def made(self, key: bytes, value: bytes) -> bytes:
        """Return what is stored for a value. Raises StorageError if no key can be had."""
        if not value or not key[0]:
            return value
        if not self._seal:
            return _CRC.pack(PLAIN, crc32(value, crc32(key))) + value
        opening = self._opening
        if not opening:
            opening = self._opening = self._begin()
        self._counter = counter = self._counter + 1
        nonce = _NONCE_BEGIN + counter.to_bytes(8, "big")
        own = self._ciphers.get((opening, ())) or self._cipher(opening, ())
        assert own is not None, "the key of this opening is gone"
        if key[0] in FAMILIES:
            _form, erased, at, _start, content_at = parts(value)
            if at and not erased:
                content = self._ciphers.get((opening, at)) or self._cipher(opening, at)
                if content is not None:
                    first = own.encrypt(nonce, value[:content_at], key)
                    rest = content.encrypt(nonce, value[content_at:], key)
                    return _PARTED.pack(PARTED, opening, counter, len(first)) + first + rest
                value = without_content(value)
        return _SEALED.pack(SEALED, opening, counter) + own.encrypt(nonce, value, key)

    def opened(self, key: bytes, stored: bytes) -> bytes:
        """Return the value that was stored for a key; its content erased if that key is gone.

        Raises DamagedRecord when it is not what was stored there, StorageError without the key.
        """
        if not stored or not key[0]:
            return stored
        try:
            form = stored[0]
            if form == SEALED:
                _form, opening, counter = _SEALED.unpack_from(stored)
                nonce = _NONCE_BEGIN + counter.to_bytes(8, "big")
                return self._own(opening).decrypt(nonce, stored[_SEALED.size :], key)
            if form == PARTED:
                return self._opened_parts(key, stored)
            if form == PLAIN:
                value = stored[_CRC.size :]
                if _CRC.unpack_from(stored)[1] == crc32(value, crc32(key)):
                    return value
        except (InvalidTag, ValueError):
            pass
        except Exception as error:
            if isinstance(error, StorageError):
                raise
        damage = DamagedRecord(f"the value of {told(key)} is not what was stored there")
        damage.key = key
        raise damage

    def _opened_parts(self, key: bytes, stored: bytes) -> bytes:
        _form, opening, counter, first_n = _PARTED.unpack_from(stored)
        nonce = _NONCE_BEGIN + counter.to_bytes(8, "big")
        end = _PARTED.size + first_n
        first = self._own(opening).decrypt(nonce, stored[_PARTED.size : end], key)
        at = parts(first)[2]
        content = self._ciphers.get((opening, at)) or self._cipher(opening, at)
        if content is None:
            return without_content(first)
        return first + content.decrypt(nonce, stored[end:], key)

    def new_slot(self) -> int:
        """Return the slot of a data key that is nobody's yet, 0 where nothing is sealed."""
        return self.slots.take() if self._seal and self.slots is not None else 0

    def forget(self) -> None:
        """Forget the ciphers: the keys of some may have been destroyed."""
        self._ciphers.clear()

    def _own(self, opening: int) -> AESGCM:
        own = self._ciphers.get((opening, ())) or self._cipher(opening, ())
        if own is None:
            raise StorageError(f"the data key {opening} of a store is destroyed")
        return own

    def _begin(self) -> int:
        assert self.slots is not None
        return self.slots.take_alone()

    def _cipher(self, opening: int, at: tuple[int, ...]) -> AESGCM | None:
        """Return what seals values under the keys of some slots, None if one is destroyed."""
        if self.slots is None:
            raise StorageError("data encryption key must be configured to read encrypted events")
        own = self.slots.key(opening)
        if own is None:
            return None
        cipher = None
        if not at:
            cipher = AESGCM(own)
        else:
            keys = [self.slots.key(slot) for slot in at]
            if None not in keys:
                joined = b"".join(key for key in keys if key is not None)
                digest = blake2b(joined, digest_size=KEY_BYTES, key=own, person=_PERSON)
                cipher = AESGCM(digest.digest())
        if cipher is not None:
            if len(self._ciphers) >= limits.CIPHERS_KEPT_MAX:
                self._ciphers.pop(next(iter(self._ciphers)), None)
            self._ciphers[opening, at] = cipher
        return cipher


def told(key: bytes) -> str:
    """Return a key of the store as people read it."""
    return key.decode("utf-8", "backslashreplace").replace("\0", "\\0")


@implementer(IReadView)
class SealedView:
    """A view of the store below, opened."""

    __slots__ = ("__weakref__", "_seals", "_view")

    def __init__(self, view: IReadView, seals: Seals) -> None:
        self._view = view
        self._seals = seals

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IReadView`."""
        stored = self._view.get(key)
        return None if stored is None else self._seals.opened(key, stored)

    def scan(
        self, start: bytes, stop: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See :class:`IReadView`. A value that does not open ends the scan with DamagedRecord."""
        opened = self._seals.opened
        pairs = self._view.scan(start, stop, reverse=reverse)
        return ((key, opened(key, stored)) for key, stored in pairs)


@implementer(IOrderedStore)
class SealedStore:
    """An ordered store whose values are sealed in the one below, which it owns."""

    def __init__(self, backend: IOrderedStore, seals: Seals) -> None:
        self.backend = backend
        self.seals = seals

    @property
    def watch(self) -> StoreWatch | None:
        """See :class:`IOrderedStore`."""
        watch: StoreWatch | None = self.backend.watch
        return watch

    @watch.setter
    def watch(self, watch: StoreWatch | None) -> None:
        self.backend.watch = watch

    def view(self) -> IReadView:
        """See :class:`IOrderedStore`."""
        return SealedView(self.backend.view(), self.seals)

    def get(self, key: bytes) -> bytes | None:
        """See :class:`IOrderedStore`."""
        stored = self.backend.get(key)
        return None if stored is None else self.seals.opened(key, stored)

    def write(self, changes: Changes, *, sync: bool) -> None:
        """See :class:`IOrderedStore`."""
        made = self.seals.made
        below = {key: None if value is None else made(key, value) for key, value in changes.items()}
        self.backend.write(below, sync=sync)

    def sync(self) -> None:
        """See :class:`IOrderedStore`."""
        self.backend.sync()

    def statistics(self) -> dict[str, int]:
        """See :class:`IOrderedStore`."""
        return self.backend.statistics()

    def checkpoint(self, path: str) -> None:
        """See :class:`IOrderedStore`. The copy is sealed, the keys are not in it."""
        self.backend.checkpoint(path)

    def purge(self, ranges: Sequence[tuple[bytes, bytes]], *, logs: bool) -> None:
        """See :class:`IOrderedStore`."""
        self.backend.purge(ranges, logs=logs)

    def close(self) -> None:
        """See :class:`IOrderedStore`."""
        try:
            self.backend.close()
        finally:
            if self.seals.slots is not None:
                self.seals.slots.close()
