"""Records in two parts: what is always readable, and content that can be erased.

The records of events, heads, snapshots, archive notes and staged events begin alike, so that
whoever seals values (:mod:`eventdbx.storage.sealed`) can seal the parts under different keys
without knowing what is in them: format, flags, how many data keys the content is sealed with, the
length of the readable part (u32, these fields included), and the slots of those keys (u32 each,
:mod:`eventdbx.storage.keyslots`). The content follows the readable part; an erased record has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from eventdbx.errors import StorageError

FAMILIES = frozenset(b"ehpsx")
"""First bytes of the keys whose records are laid out so."""

ERASED = 1
"""The flag of a record whose content is gone for good."""

SLOTS_MAX = 2
"""An aggregate's own key, and that of a data subject; what is staged has one of its own."""

_BEGIN = Struct(">BBBI")
_SLOT = Struct(">I")
_ONE = Struct(">II")
_BEGINS = tuple(_BEGIN.size + _SLOT.size * count for count in range(SLOTS_MAX + 1))


class DamagedRecord(StorageError):
    """Stored bytes that no writer of ours can have written; ``key`` is theirs, if it is known."""

    key: bytes | None = None


def begin(form: int, slots: Sequence[int], readable: int, *, erased: bool = False) -> bytes:
    """Return how a record begins; ``readable`` bytes follow before its content."""
    count = len(slots)
    first = _BEGIN.pack(form, ERASED if erased else 0, count, _BEGINS[count] + readable)
    if not count:
        return first
    return first + b"".join(map(_SLOT.pack, slots))


def parts(record: bytes) -> tuple[int, bool, tuple[int, ...], int, int]:
    """Return (format, erased, slots, where the readable part begins, where the content does).

    Raises DamagedRecord when the record cannot have been begun by :func:`begin`.
    """
    if len(record) < _BEGIN.size:
        raise DamagedRecord("record is cut short")
    form, flags, count, content_at = _BEGIN.unpack_from(record)
    if flags & ~ERASED or count > SLOTS_MAX:
        raise DamagedRecord("record begins with something unknown")
    start = _BEGINS[count]
    if not start <= content_at <= len(record):
        raise DamagedRecord("record has an impossible length in it")
    erased = bool(flags)
    if erased and content_at != len(record):
        raise DamagedRecord("erased record has content")
    if not count:
        return form, erased, (), start, content_at
    slots = tuple(
        [_SLOT.unpack_from(record, place)[0] for place in range(_BEGIN.size, start, _SLOT.size)]
    )
    return form, erased, slots, start, content_at


def with_slots(record: bytes, slots: Sequence[int]) -> bytes:
    """Return a record whose content is sealed with other keys; an erased one as it is."""
    form, erased, _slots, start, content_at = parts(record)
    if erased:
        return record
    return begin(form, slots, content_at - start) + record[start:]


def content_place(record: bytes) -> tuple[tuple[int, ...], int] | None:
    """Return (slots, where the content begins) of a record that one of ours has made.

    None when its content has no key. Quicker than :func:`parts`, since nothing is checked.
    """
    if record[1]:
        return None
    count = record[2]
    if count == 1:
        content_at, slot = _ONE.unpack_from(record, 3)
        return (slot,), content_at
    if not count:
        return None
    return parts(record)[2], int.from_bytes(record[3:7], "big")


def without_content(record: bytes) -> bytes:
    """Return a record as it is once its content is erased."""
    content_at = parts(record)[4]
    return record[:1] + bytes((ERASED,)) + record[2:content_at]
