"""The store that seals every value on its way down, and proves it on its way up.

An adapter of the port over another adapter: nothing above it knows that there are keys. Keys of the
store stay readable, values become one of

- ``00`` CRC-32 (of key and value) and the value, where nothing is sealed: damage is noticed, not
  malice;
- ``01`` slot (u32) counter (u64) and the value, AES-256-GCM under the key of that slot;
- ``02`` slot, counter, length (u32) of the first part and two parts, the content of the record
  (:mod:`eventdbx.storage.contents`) under a key of its own.

The slot is that of the opening: whoever opens the store to write takes a new key, so that counting
up makes nonces that cannot repeat. No key of a slot seals anything itself: the key of values is
derived from that of the opening, the key of a content from those of its slots as well. The form and
the store's key of a value are associated data: a value moved elsewhere, or told to be of another
form, does not open. A content whose key is destroyed reads as erased. Empty values, of which only
the key counts, and keys that begin with 00 are left alone.

Once all values of a store are sealed it says so with a mark (:data:`ALL_KEY`), and then a value
that is not is refused: nobody without the keys can put one in its place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import count
from struct import Struct
from threading import Lock
from zlib import crc32

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from zope.interface import implementer

from eventdbx import limits
from eventdbx.errors import StorageError
from eventdbx.storage.contents import (
    FAMILIES,
    DamagedRecord,
    content_place,
    parts,
    without_content,
)
from eventdbx.storage.interfaces import Changes, IOrderedStore, IReadView
from eventdbx.storage.keyslots import KEY_BYTES, KeySlots
from eventdbx.storage.watching import StoreWatch

PLAIN, SEALED, PARTED = 0, 1, 2

_CRC = Struct(">BI")
_SEALED = Struct(">BIQ")
_PARTED = Struct(">BIQI")
_NONCE = Struct(">4xQ")
_VALUE, _CONTENT = b"dbx value", b"dbx content"
_FORMS = tuple(bytes((form,)) for form in (PLAIN, SEALED, PARTED))
_MARK = Struct(">16sQ")

MARK_KEY = b"\x00sealed"
"""Holds the identity of the file of data keys, and how many slots it had at least (u64)."""

ALL_KEY = b"\x00sealed-all"
"""Is there when no value is plain; holds the identity again."""


class Seals:
    """What makes and opens the values of one store. Any thread may ask.

    With ``slots`` None, or ``sealing`` false, what is made is plain; what is sealed opens as long
    as there are slots. ``strict``: a plain value is damage. ``ciphers_max`` are kept ready.
    """

    def __init__(
        self,
        slots: KeySlots | None,
        *,
        seal: bool,
        strict: bool = False,
        ciphers_max: int = limits.CIPHERS_KEPT_MAX,
    ) -> None:
        self.slots = slots
        self.strict = strict
        self.sealing = seal and slots is not None
        # One number is given once, whoever asks: equal nonces would tell what they hide. The
        # cipher is that of the opening's values, whose key nobody destroys.
        self._numbers: tuple[int, count[int], AESGCM | None] = 0, count(1), None
        # Ordered: the first of a plain dict is found the slower, the more were taken out before it.
        self._ciphers: OrderedDict[tuple[int, tuple[int, ...]], AESGCM] = OrderedDict()
        self._ciphers_max = ciphers_max
        self._lock = Lock()
        self._beginning = Lock()
        self._forgotten = 0

    def made(self, key: bytes, value: bytes) -> bytes:
        """Return what is stored for a value. Raises StorageError if no key can be had."""
        if not value or not key[0]:
            return value
        if not self.sealing:
            return _CRC.pack(PLAIN, crc32(value, crc32(key))) + value
        opening, numbers, own = self._numbers
        counter = next(numbers)
        if own is None or counter > limits.VALUES_OF_OPENING_MAX:
            opening, counter, own = self._begin(opening)
        nonce = _NONCE.pack(counter)
        if key[0] in FAMILIES:
            place = content_place(value)
            if place is not None:
                at, content_at = place
                content = self._ciphers.get((opening, at)) or self._cipher(opening, at)
                if content is not None:
                    bound = _FORMS[PARTED] + key
                    first = own.encrypt(nonce, value[:content_at], bound)
                    rest = content.encrypt(nonce, value[content_at:], bound)
                    return _PARTED.pack(PARTED, opening, counter, len(first)) + first + rest
                value = without_content(value)
        sealed = own.encrypt(nonce, value, _FORMS[SEALED] + key)
        return _SEALED.pack(SEALED, opening, counter) + sealed

    def opened(self, key: bytes, stored: bytes) -> bytes:
        """Return the value that was stored for a key; its content erased if that key is gone.

        Raises DamagedRecord, which names the key, when it is not what was stored there or when
        there is no data key for it.
        """
        if not stored or not key[0]:
            return stored
        try:
            form = stored[0]
            if form == SEALED:
                _form, opening, counter = _SEALED.unpack_from(stored)
                own = self._ciphers.get((opening, ())) or self._own(opening)
                bound = _FORMS[SEALED] + key
                return own.decrypt(_NONCE.pack(counter), stored[_SEALED.size :], bound)
            if form == PARTED:
                return self._opened_parts(key, stored)
            if form == PLAIN and not self.strict:
                value = stored[_CRC.size :]
                if _CRC.unpack_from(stored)[1] == crc32(value, crc32(key)):
                    return value
            why = "is not what was stored there"
        except StorageError as error:
            why = f"cannot be opened: {error.detail}"
        except Exception:  # A tag, a number or a length that is not what it was.
            why = "is not what was stored there"
        damage = DamagedRecord(f"the value of {told(key)} {why}")
        damage.key = key
        raise damage

    def _opened_parts(self, key: bytes, stored: bytes) -> bytes:
        _form, opening, counter, first_n = _PARTED.unpack_from(stored)
        nonce = _NONCE.pack(counter)
        end = _PARTED.size + first_n
        bound = _FORMS[PARTED] + key
        own = self._ciphers.get((opening, ())) or self._own(opening)
        first = own.decrypt(nonce, stored[_PARTED.size : end], bound)
        place = content_place(first)
        at = parts(first)[2] if place is None else place[0]
        content = self._ciphers.get((opening, at)) or self._cipher(opening, at)
        if content is None:
            return without_content(first)
        return first + content.decrypt(nonce, stored[end:], bound)

    def new_slot(self) -> int:
        """Return the slot of a data key that is nobody's yet, 0 where nothing is sealed."""
        return self.slots.take() if self.sealing and self.slots is not None else 0

    def destroy(self, slots: Iterable[int]) -> None:
        """Destroy data keys, here and on disk, and forget what was made of them."""
        assert self.slots is not None, "nothing is sealed"
        self.slots.destroy(slots)
        self.forget()

    def forget(self) -> None:
        """Forget the ciphers: the keys of some may have been destroyed."""
        with self._lock:
            self._forgotten += 1
            self._ciphers.clear()

    def _own(self, opening: int) -> AESGCM:
        own = self._ciphers.get((opening, ())) or self._cipher(opening, ())
        if own is None:
            raise StorageError(f"the data key {opening} of a store is destroyed")
        return own

    def _begin(self, before: int) -> tuple[int, int, AESGCM]:
        """Return (opening, number, cipher): the first value, or those numbers are used up."""
        assert self.slots is not None
        with self._beginning:
            if self._numbers[0] == before:
                opening = self.slots.take_alone()
                self._numbers = opening, count(1), self._own(opening)
            opening, numbers, own = self._numbers
            assert own is not None, "an opening without a key"
            return opening, next(numbers), own

    def _cipher(self, opening: int, at: tuple[int, ...]) -> AESGCM | None:
        """Return what seals values under the keys of some slots, None if one is destroyed."""
        if self.slots is None:
            raise StorageError("data encryption key must be configured to read encrypted events")
        forgotten = self._forgotten
        own = self.slots.key(opening)
        keys = [self.slots.key(slot) for slot in at]
        if own is None or None in keys:
            return None
        joined = b"".join(key for key in keys if key is not None)
        person = _CONTENT if at else _VALUE
        digest = blake2b(joined, digest_size=KEY_BYTES, key=own, person=person)
        cipher = AESGCM(digest.digest())
        with self._lock:
            # One that was made while keys were destroyed is good for this once.
            if forgotten == self._forgotten:
                if len(self._ciphers) >= self._ciphers_max:
                    self._ciphers.popitem(last=False)
                self._ciphers[opening, at] = cipher
        return cipher


def mark(slots: KeySlots) -> bytes:
    """Return what a store says of its file of keys."""
    return _MARK.pack(slots.identity, slots.count)


def read_mark(text: bytes) -> tuple[bytes, int]:
    """Return (identity, how many slots there must be). Raises StorageError."""
    if len(text) != _MARK.size:
        raise StorageError("the store's mark of its data keys is damaged")
    identity, slots = _MARK.unpack(text)
    return identity, slots


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

    def unsealed(self, start: bytes, most: int) -> tuple[list[bytes], bytes | None]:
        """Return keys from a place on whose values are not sealed as they should be.

        That is what is plain, and content that has no key which could be destroyed. ``most`` keys
        are found, of a bounded part of the store; with them comes where the next part begins,
        None at the end.
        """
        found: list[bytes] = []
        looked = size = 0
        for key, stored in self._view.scan(start, b"\xff" * 8):
            looked += 1
            if looked > limits.VALUES_LOOKED_AT or size > limits.VALUES_SEALED_BYTES:
                return found, key
            if not stored or not key[0] or stored[0] == PARTED:
                continue
            if stored[0] != PLAIN:
                if key[0] not in FAMILIES:
                    continue
                _form, erased, slots, _start, _at = parts(self._seals.opened(key, stored))
                if erased or slots:
                    continue
            if len(found) == most:
                return found, key
            found.append(key)
            size += len(stored)
        return found, None


@implementer(IOrderedStore)
class SealedStore:
    """An ordered store whose values are sealed in the one below, which it owns."""

    def __init__(self, backend: IOrderedStore, seals: Seals) -> None:
        self.backend = backend
        self.seals = seals
        self._slots_told = -1

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
        """See :class:`IOrderedStore`.

        The store learns of new slots in the very batch whose values need them: a file of keys that
        is older than the store is noticed then.
        """
        made, slots = self.seals.made, self.seals.slots
        below = {key: None if value is None else made(key, value) for key, value in changes.items()}
        count = slots.count if slots is not None and self.seals.sealing else self._slots_told
        if slots is not None and count != self._slots_told:
            below[MARK_KEY] = mark(slots)
        self.backend.write(below, sync=sync)
        # Only now: a batch that was refused has told nothing.
        self._slots_told = count

    def sync(self) -> None:
        """See :class:`IOrderedStore`."""
        self.backend.sync()

    def used_bytes(self) -> int:
        """See :class:`IOrderedStore`."""
        return self.backend.used_bytes()

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
