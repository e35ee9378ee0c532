"""When an aggregate was created, changed and archived: its notes, and its places in the indexes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from eventdbx.application.integrity.findings import Finding, Found, about, beside, elsewhere
from eventdbx.application.integrity.reading import Damage, numbered, readable
from eventdbx.application.integrity.snapshots import has_head
from eventdbx.domain.aggregate import Head
from eventdbx.domain.events import Actor
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView

FAMILIES = (
    keys.CREATED_ACTIVE, keys.CREATED_ARCHIVED, keys.UPDATED_ACTIVE, keys.UPDATED_ARCHIVED,
)  # fmt: skip
_WHAT = {keys.CREATED_ACTIVE[:1]: "creation", keys.UPDATED_ACTIVE[:1]: "changes"}


class Note(NamedTuple):
    """Who archived or restored an aggregate, when and why."""

    archived: bool
    at_ns: int
    comment: str | None
    actor: Actor | None


def check_times(
    view: IReadView,
    names: tuple[str, str],
    stored: Head | None,
    folded: Head | None,
    *,
    notes: bool = True,
) -> Iterator[Found]:
    """Yield what is wrong with the times of a head, its notes, and its places in the indexes.

    ``folded`` is the head that the events give, where that is known; ``notes`` False says that
    there are no notes.
    """
    name = keys.name(*names)
    last: Note | None = None
    readable_all = True
    found = numbered(view, lambda number: keys.archive_audit(name, number), 0, eventlog.U64_MAX)
    for number, record in found if notes else ():
        try:
            if isinstance(record, StorageError):
                raise record
            yield len(record)
            last = Note(*records.decode_audit(record))
        except StorageError as error:
            readable_all = False
            yield beside(*names, f"archive note {number} of {'::'.join(names)}", error.detail)
    if stored is None:
        return
    if readable_all and folded is not None:
        problem = _times_problem(stored, folded, last)
        if problem is not None:
            yield about(*names, 0, problem)
    yield from _places(view, names, name, stored)


def _times_problem(stored: Head, folded: Head, last: Note | None) -> str | None:
    if stored.created_at != folded.created_at:
        return "the time of its creation is not that of its first event"
    changed = folded.updated_at or 0
    if last is not None:
        changed = max(changed, last.at_ns)
    if stored.updated_at != changed:
        return "the time of its last change is that of no event and no archive note"
    if stored.archived != (last is not None and last.archived):
        return "no archive note says whether it is archived"
    if not stored.archived:
        last = None
    comment = None if last is None else last.comment
    if stored.archive_comment != comment and stored.fold_mark != records.ERASED_FOLD:
        return "the archive comment is not that of its newest archive note"
    archived_at = stored.archived_at
    if (archived_at is None) != (last is None) or (
        last is not None and archived_at is not None and archived_at > last.at_ns
    ):
        return "the time of archiving is not that of its newest archive note"
    return None


def _expected(head: Head, name: bytes) -> dict[bytes, bytes]:
    """Return the keys of the indexes that a head stands under, by family."""
    created, updated = FAMILIES[1::2] if head.archived else FAMILIES[::2]
    found = {}
    for family, at_ns in ((created, head.created_at), (updated, head.updated_at)):
        if at_ns is not None:
            found[family] = keys.by_time(family, at_ns // 1_000_000, name)
    return found


def _places(
    view: IReadView, names: tuple[str, str], name: bytes, stored: Head
) -> Iterator[Finding]:
    for family, key in _expected(stored, name).items():
        try:
            if view.get(key) == b"":
                continue
            why = "it is not where its head says"
        except StorageError as error:
            why = error.detail
        yield beside(*names, _entry(family, names), why)


def _entry(family: bytes, names: tuple[str, str]) -> str:
    return f"entry of {'::'.join(names)} in the index by {_WHAT[family[:1]]}"


def check_time_indexes(
    view: IReadView, family: bytes, start: bytes
) -> Iterator[tuple[bytes, Found]]:
    """Yield (key, finding or bytes read): entries of an index that no head says."""
    for item in readable(view, start, keys.after(family)):
        if isinstance(item, Damage):
            record = item.called(f"index by {_WHAT[family[:1]]}")
            yield item.stop, elsewhere(record, item.why)
            continue
        key, empty = item
        yield key, len(key)
        try:
            _millis, name = keys.split_time(key)
            names = keys.split_name(name)
        except ValueError:
            record = f"entry {key.hex()} in the index by {_WHAT[family[:1]]}"
            yield key, elsewhere(record, "it names no aggregate")
            continue
        try:
            head = eventlog.load_head(view, name)
        except StorageError:
            continue  # Said of the head itself.
        if head is None or _expected(head, name).get(family) != key or empty:
            why = "its head says otherwise" if head else "there is no such aggregate"
            yield key, beside(*names, _entry(family, names), why)


def check_note_owners(view: IReadView, start: bytes) -> Iterator[tuple[bytes, Found]]:
    """Yield (key, finding or bytes read): archive notes of aggregates that there are not."""
    for item in readable(view, start, keys.after(keys.ARCHIVE_AUDIT)):
        if isinstance(item, Damage):
            if item.key is None:
                yield item.stop, elsewhere(item.called("archive notes"), item.why)
                continue
            item = item.key, b""  # Said of the note itself.
        key, record = item
        yield key, len(key) + len(record)
        if not has_head(view, key[1:-8]):
            names = keys.split_name(key[1:])
            number = int.from_bytes(key[-8:], "big")
            of = f"archive note {number} of {'::'.join(names)}"
            yield key, beside(*names, of, "there is no such aggregate")
