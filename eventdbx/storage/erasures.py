"""Erasures that are under way: their rows in the store, and records without what is erased.

An erasure has one row, and one for each aggregate that it is about. They are put in the commits
that make it known, and are gone when nothing is left of the content; so whoever opens a store finds
what a process that was killed had left to do (:func:`finish_interrupted`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import orjson

from eventdbx.domain.events import Actor
from eventdbx.storage import eventlog, keys
from eventdbx.storage.contents import without_content
from eventdbx.storage.interfaces import IOrderedStore, IReadView
from eventdbx.storage.keyslots import KeySlots
from eventdbx.storage.records import DamagedRecord

Ranges = tuple[tuple[int, int], ...]
Pair = tuple[bytes, bytes]

_FORMAT = b"\x01"
STEP = 256
"""Records that are rewritten in one commit."""


class Stage(IntEnum):
    """What is done of an erasure."""

    NAMING = 0
    """Some aggregates have the event that names what is erased, and a state without it."""
    DESTROYING = 1
    """All have it: the keys can be destroyed, and records rewritten."""
    PURGING = 2
    """No record has the content; files may."""


class Erasure(NamedTuple):
    """An erasure: of one aggregate, or of the events that are about ``subject`` (a number).

    ``slots`` are those of the keys to destroy, besides those of its parts. ``bare``: some of what
    is erased was sealed with no key of its own, so older copies of the store show it.
    """

    number: int
    stage: Stage
    subject: int
    slots: tuple[int, ...]
    bare: bool
    reason: str
    actor: Actor | None


class Part(NamedTuple):
    """What is erased of one aggregate, under its canonical name: versions, and keys.

    ``whole``: everything up to then, snapshots included; else these are folded anew, which they are
    once it is ``refolded``. ``named_by`` is the id of the event that names it: what has a greater
    id came later.
    """

    name: bytes
    ranges: Ranges
    slots: tuple[int, ...]
    whole: bool
    refolded: bool
    named_by: int = 0


def encode_erasure(erasure: Erasure) -> bytes:
    """Return the record of an erasure; its number is in the key."""
    actor = None if erasure.actor is None else list(erasure.actor)
    return _FORMAT + orjson.dumps([int(erasure.stage), *erasure[2:-1], actor])


def decode_erasure(number: int, record: bytes) -> Erasure:
    """Return the erasure of a record. Raises DamagedRecord."""
    try:
        stage, subject, slots, bare, reason, actor = _document(record)
        who = None if actor is None else Actor(*actor)
        return Erasure(number, Stage(stage), subject, tuple(slots), bare, reason, who)
    except (ValueError, TypeError) as error:
        raise DamagedRecord(f"unreadable record of an erasure: {error}") from None


def encode_part(part: Part) -> bytes:
    """Return the record of a part; its name is in the key."""
    return _FORMAT + orjson.dumps(part[1:])


def decode_part(name: bytes, record: bytes) -> Part:
    """Return the part of a record. Raises DamagedRecord."""
    try:
        ranges, slots, whole, refolded, named_by = _document(record)
        pairs = tuple((first, last) for first, last in ranges)
        return Part(name, pairs, tuple(slots), whole, refolded, named_by)
    except (ValueError, TypeError) as error:
        raise DamagedRecord(f"unreadable record of an erasure: {error}") from None


def _document(record: bytes) -> list[Any]:
    if record[:1] != _FORMAT:
        raise DamagedRecord("unknown format of the record of an erasure")
    found: list[Any] = orjson.loads(record[1:])
    return found


def erasures(view: IReadView) -> list[Erasure]:
    """Return the erasures that are under way, oldest first."""
    found = []
    for key, record in view.scan(keys.ERASURE, keys.after(keys.ERASURE)):
        number, name = keys.split_erasure(key)
        if not name:
            found.append(decode_erasure(number, record))
    return found


def parts_of(view: IReadView, number: int) -> list[Part]:
    """Return the parts of an erasure, by name."""
    prefix = keys.erasure(number)
    return [
        decode_part(keys.split_erasure(key)[1], record)
        for key, record in view.scan(prefix + b"\x00", keys.after(prefix))
    ]


def under_way(view: IReadView, name: bytes) -> bool:
    """Say whether an erasure of something of an aggregate is under way."""
    return any(view.get(keys.erasure(one.number, name)) is not None for one in erasures(view))


def ranges_under_way(view: IReadView, name: bytes) -> Ranges:
    """Return which versions of an aggregate are erased whose records may not be rewritten yet."""
    records = (view.get(keys.erasure(one.number, name)) for one in erasures(view))
    parts = [decode_part(name, record) for record in records if record is not None]
    return tuple(pair for part in parts for pair in part.ranges)


def spans(versions: Iterable[int]) -> Ranges:
    """Return ascending versions as ranges, first and last."""
    found: list[tuple[int, int]] = []
    for version in versions:
        if found and found[-1][1] == version - 1:
            found[-1] = (found[-1][0], version)
        else:
            found.append((version, version))
    return tuple(found)


def erased_records(view: IReadView, part: Part) -> Iterator[Pair]:
    """Yield (key, record) of all that a part erases, as it is without its content.

    Doing it again, with some of it done, yields the same.
    """
    name = part.name
    for first, last in part.ranges:
        for version, record in eventlog.event_records(view, name, after=first - 1, until=last):
            yield keys.event(name, version), without_content(record)
    # What was taken after the erasure is under other keys, and stays.
    for family in (keys.ARCHIVE_AUDIT, keys.SNAPSHOT) if part.whole else (keys.ARCHIVE_AUDIT,):
        taken = family + name
        for key, record in view.scan(taken, keys.after(taken)):
            if int.from_bytes(key[-8:], "big") < part.named_by:
                yield key, without_content(record)


def ranges_of(parts: Sequence[Part], subject: int, *, indexed: bool) -> list[Pair]:
    """Return the ranges of the store where there was something of an erasure.

    One range of each family that holds it, from the first aggregate to the last.
    """
    staged = (keys.STAGED, keys.after(keys.STAGED))
    if not parts:
        return [staged]
    first, stop = parts[0].name, keys.after(parts[-1].name)
    families = [
        keys.EVENT, keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED, keys.SNAPSHOT, keys.ARCHIVE_AUDIT
    ]  # fmt: skip
    found = [(family + first, family + stop) for family in families]
    found.append(staged)
    if subject:
        found.append((keys.SUBJECT, keys.after(keys.SUBJECT)))
        found.append((keys.subject_events(subject), keys.after(keys.subject_events(subject))))
    if indexed:
        found.append((keys.REFERRER, keys.after(keys.REFERRER)))
    found.append((keys.PLUGIN_HELD, keys.after(keys.PLUGIN_HELD)))
    return found


def finish_interrupted(store: IOrderedStore, slots: KeySlots | None) -> int:
    """Destroy the keys and rewrite the records of erasures that a process has left behind.

    For a store that was just opened to be written, before anybody reads it. Returns how many
    erasures there were. Raises StorageError.
    """
    found = [one for one in erasures(store.view()) if one.stage == Stage.DESTROYING]
    for erasure in found:
        view = store.view()
        parts = parts_of(view, erasure.number)
        if slots is not None:
            slots.destroy(slots_of(erasure, parts))
        changes: dict[bytes, bytes | None] = {}
        for part in parts:
            for key, record in erased_records(view, part):
                changes[key] = record
                if len(changes) >= STEP:
                    store.write(changes, sync=False)
                    changes = {}
        done = erasure._replace(stage=Stage.PURGING)
        changes[keys.erasure(erasure.number)] = encode_erasure(done)
        store.write(changes, sync=True)
    return len(found)


def slots_of(erasure: Erasure, parts: Iterable[Part]) -> set[int]:
    """Return the slots of all keys that an erasure destroys."""
    found = set(erasure.slots)
    for part in parts:
        found.update(part.slots)
    return found - {0}
