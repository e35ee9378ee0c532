"""Reading past damage: what cannot be read is said, and the rest is read nevertheless.

The store itself notices damaged blocks (a checksum) and damaged records (where they are sealed):
a scan ends there with an error. Verification goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from eventdbx.errors import StorageError
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView

_NUMBER_BYTES = 8
_WIDTH = 96
"""Bytes of a key that the search for the end of damage looks at; keys differ before."""

_ONE_BY_ONE_MAX = 256
"""Damaged numbers that are named one by one: where an index is damaged, every number is."""


class Damage(NamedTuple):
    """A range of keys, from ``start`` up to ``stop``, that the store cannot read, and why.

    ``key`` is the one that is damaged, where it is a record and not a block of them.
    """

    start: bytes
    stop: bytes
    why: str
    key: bytes | None = None

    def called(self, what: str) -> str:
        """Return what to call the range in a finding: what it is of, and its key."""
        return f"{what} {self.key.hex()}" if self.key else f"{what} from {self.start.hex()}"


def readable(
    view: IReadView, start: bytes, stop: bytes, width: int = _WIDTH
) -> Iterator[tuple[bytes, bytes] | Damage]:
    """Yield the pairs of a range, and between them where it cannot be read.

    Keys that have their first ``width`` bytes in common are taken for one when the end of damage
    is searched for.
    """
    while start < stop:
        try:
            for pair in view.scan(start, stop):
                start = pair[0] + b"\x00"
                yield pair
            return
        except StorageError as error:
            key = getattr(error, "key", None)
            if key is not None and start <= key < stop:
                start, end = key, key + b"\x00"
            elif _is_damage(view, stop):
                end = _readable_from(view, start, stop, width)
            else:
                raise
            yield Damage(start, end, error.detail, key)
            start = end


def numbered(
    view: IReadView, key: Callable[[int], bytes], start: int, stop: int
) -> Iterator[tuple[int, bytes | StorageError]]:
    """Yield (number, record) of keys that end in numbers from ``start`` up to ``stop``.

    For a record that cannot be read there is the error; those that are missing are left out.
    """
    fixed = len(key(0)) - _NUMBER_BYTES
    for item in readable(view, key(start), key(stop - 1) + b"\x00", fixed + 8):
        if not isinstance(item, Damage):
            start = int.from_bytes(item[0][fixed:], "big") + 1
            yield start - 1, item[1]
            continue
        if item.key is not None:
            start = int.from_bytes(item.key[fixed:], "big") + 1
            yield start - 1, StorageError(item.why)
            continue
        until = min(_number(item.stop, fixed), stop)
        yield from _one_by_one(view, key, start, until, item.why)
        start = until


def _one_by_one(
    view: IReadView, key: Callable[[int], bytes], start: int, until: int, why: str
) -> Iterator[tuple[int, bytes | StorageError]]:
    """Yield what point reads say of numbers, up to the first that is not there, and of the last."""
    silent = True
    for number in range(start, min(until, start + _ONE_BY_ONE_MAX)):
        try:
            record = view.get(key(number))
        except StorageError as error:
            silent = False
            yield number, error
            continue
        if record is None:
            break
        yield number, record
    if silent:
        yield until - 1, StorageError(why)


class Owners:
    """Which aggregates have records in a family, asked for in the order of their names.

    A scan for each aggregate would look at what lies behind the family each time, and that may be
    a heap of deleted keys.
    """

    def __init__(self, view: IReadView, family: bytes) -> None:
        self._view = view
        self._family = family
        self._stop = keys.after(family)
        self._next: bytes | None = b""
        self._damaged = False

    def has(self, name: bytes) -> bool:
        """Return whether there may be records of an aggregate; none is before one asked for."""
        if self._next is not None and self._next < name and not self._damaged:
            try:
                found = next(self._view.scan(self._family + name, self._stop), None)
                self._next = None if found is None else found[0][len(self._family) : -8]
            except StorageError:
                self._damaged = True  # Whoever reads the records says it.
        return self._damaged or self._next == name


def _number(key: bytes, fixed: int) -> int:
    """Return the smallest number whose key, with so many bytes before it, is not below a key."""
    digits, rest = key[fixed : fixed + _NUMBER_BYTES], key[fixed + _NUMBER_BYTES :]
    return int.from_bytes(digits.ljust(_NUMBER_BYTES, b"\x00"), "big") + any(rest)


def _is_damage(view: IReadView, stop: bytes) -> bool:
    """Whether only some keys cannot be read: of a closed store none can."""
    try:
        next(view.scan(stop, stop + b"\x00"), None)
    except StorageError as error:
        return "closed" not in error.detail
    return True


def _readable_from(view: IReadView, start: bytes, stop: bytes, width: int) -> bytes:
    """Return about the smallest key from which a scan of a range works again, else its end."""
    low = int.from_bytes(start[:width].ljust(width, b"\x00"), "big")
    high = int.from_bytes(stop[:width].ljust(width, b"\x00"), "big") + (len(stop) > width)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            next(view.scan(middle.to_bytes(width, "big"), stop), None)
            high = middle
        except StorageError:
            low = middle
    return min(max(high.to_bytes(width, "big"), start + b"\x00"), stop)
