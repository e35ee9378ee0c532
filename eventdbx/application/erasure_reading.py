"""What an erasure has to read before it changes anything: plain functions, for another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from eventdbx.application.integrity.erasures import Erasures
from eventdbx.application.referring import Referring
from eventdbx.application.subjects import Subject
from eventdbx.domain.aggregate import Fold, Head, evolve, new_head
from eventdbx.domain.events import Event
from eventdbx.domain.identifiers import ERASED_TYPE
from eventdbx.domain.snapshots import Snapshot
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.erasures import Erasure, Part, Ranges, spans
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.staged import Wanted, picked


class Erased(NamedTuple):
    """What an erasure came to, or would: how much has lost its content, or was staged and dropped.

    ``older_copies_readable``: what was not sealed, or not with a key of its own, can still be read
    in copies of the store that were made before.
    """

    scope: str
    aggregates: int = 0
    events: int = 0
    snapshots: int = 0
    notes: int = 0
    older_copies_readable: bool = False
    staged: int = 0


class Survey(NamedTuple):
    """What there is to erase of an aggregate.

    ``bare``: some event is not sealed with a key that is destroyed by it. ``slots`` are those of
    the keys of the aggregate that its events are sealed with. ``unnamed``: some content is gone
    that no erasure names, for the store came back from a copy.
    """

    events: int
    snapshots: int
    notes: int
    bare: bool
    slots: frozenset[int]
    unnamed: bool


def survey(view: IReadView, name: bytes, subject: Subject | None = None) -> Survey:
    """Return what there is to erase of an aggregate: all, or what is about a subject."""
    count, bare, first = 0, False, 0
    slots: set[int] = set()
    named = Erasures()
    for event in _events(view, name, subject):
        named.meet(event)
        if event.erased:
            continue
        first = first or event.version
        if event.event_type != ERASED_TYPE:
            count += 1
        if subject is None:
            bare = bare or not event.key_slots
            slots.update(event.key_slots[:1])
        else:
            bare = bare or not subject.slot or subject.slot not in event.key_slots
    snapshots = sum(
        not one.erased and one.version >= first
        for one in eventlog.snapshots(view, *keys.split_name(name))
    )
    prefix = keys.ARCHIVE_AUDIT + name
    notes = sum(
        records.decode_audit(record)[2] is not None
        for _key, record in view.scan(prefix, keys.after(prefix))
    )
    unnamed = next(named.unnamed(), None) is not None
    if unnamed and subject is not None:
        # The events that name what is erased are about nobody.
        unnamed = _has_unnamed(view, name, subject)
    return Survey(count, snapshots, notes, bare, frozenset(slots), unnamed)


def _has_unnamed(view: IReadView, name: bytes, subject: Subject) -> bool:
    named = Erasures()
    for event in eventlog.events(view, name):
        named.meet(event)
    about = set(versions_about(view, subject.number, name))
    return not about.isdisjoint(named.unnamed())


def survey_aggregate(view: IReadView, name: bytes, staged: Wanted) -> tuple[Survey, Erased]:
    """Return what there is to erase of an aggregate, and what that comes to."""
    found = survey(view, name)
    done = Erased("aggregate", int(found.events > 0 or found.unnamed), *found[:4])
    return found, with_staged(done, view, staged)


def with_staged(done: Erased, view: IReadView, wanted: Wanted) -> Erased:
    """Count what is staged into what an erasure comes to."""
    entries = picked(view, wanted)
    bare = done.older_copies_readable or any(not entry.slot for entry in entries)
    return done._replace(staged=len(entries), older_copies_readable=bare)


def survey_subject(
    view: IReadView, subject: Subject, go_on: Callable[[], None], staged: Wanted
) -> Erased:
    """Return what there is to erase about a subject; ``go_on`` may raise between aggregates."""
    done = Erased("subject")
    for name in names_about(view, subject.number):
        go_on()
        one = survey(view, name, subject)
        if one.events or one.unnamed:
            done = Erased(
                "subject",
                done.aggregates + 1,
                done.events + one.events,
                done.snapshots + one.snapshots,
                done.notes + one.notes,
                done.older_copies_readable or one.bare,
            )
    return with_staged(done, view, staged)


def _events(view: IReadView, name: bytes, subject: Subject | None) -> Iterator[Event]:
    if subject is None:
        yield from eventlog.events(view, name)
        return
    for version in versions_about(view, subject.number, name):
        event = eventlog.load_event(view, name, version)
        if event is not None:
            yield event


def names_about(view: IReadView, subject: int) -> Iterator[bytes]:
    """Yield the aggregates that have events about a subject."""
    prefix = start = keys.subject_events(subject)
    stop = keys.after(prefix)
    while True:
        found = next(view.scan(start, stop), None)
        if found is None:
            return
        name = keys.split_subject_event(found[0])[0]
        yield name
        start = keys.after(prefix + name)


def versions_about(view: IReadView, subject: int, name: bytes) -> Iterator[int]:
    """Yield the versions of an aggregate that are about a subject."""
    prefix = keys.subject_events(subject, name)
    for key, _empty in view.scan(prefix, keys.after(prefix)):
        yield keys.split_subject_event(key)[1]


class Left(NamedTuple):
    """An aggregate as it is without what is about a subject, and the versions that are."""

    name: bytes
    head: Head
    ranges: Ranges


def fold_without(view: IReadView, name: bytes, subject: int, fold: Fold) -> Left | None:
    """Return what is left of an aggregate, None if nothing of it is about the subject any more."""
    about = set(versions_about(view, subject, name))
    gone: set[int] = set()
    named = Erasures()
    head = new_head(*keys.split_name(name), fold.mark)
    for event in eventlog.events(view, name):
        named.meet(event)
        if event.version in about and not event.erased:
            gone.add(event.version)
            event = _without(event)
        head = evolve(head, event, fold)
    # In a store that came back from a copy some is gone already, and nothing says so.
    gone |= about.intersection(named.unnamed())
    return Left(name, head, spans(sorted(gone))) if gone else None


def _without(event: Event) -> Event:
    return event._replace(payload=b"null", extensions=None, note=None, salt=b"", erased=True)


def read_about(
    view: IReadView, erasure: Erasure, folds: dict[bytes, Fold], go_on: Callable[[], None]
) -> list[Left]:
    """Return what is left of aggregates that nothing has been erased of yet."""
    found = []
    for name, fold in folds.items():
        go_on()
        if view.get(keys.erasure(erasure.number, name)) is None:
            left = fold_without(view, name, erasure.subject, fold)
            if left is not None:
                found.append(left)
    return found


def refolded_snapshots(
    view: IReadView, part: Part, fold: Fold, slots: tuple[int, ...]
) -> Iterator[Snapshot]:
    """Yield the snapshots of an aggregate that may hold what is erased, without it."""
    first, names = part.ranges[0][0], keys.split_name(part.name)
    found = [
        one._replace(state={}) for one in eventlog.snapshots(view, *names) if one.version >= first
    ]
    found.sort(key=lambda one: one.version, reverse=True)
    if not found:
        return
    gone = iter(part.ranges)
    low, high = next(gone)
    head = new_head(*names, fold.mark)
    for event in eventlog.events(view, part.name, until=found[0].version):
        if event.version > high:
            low, high = next(gone, (eventlog.U64_MAX, eventlog.U64_MAX))
        head = evolve(head, _without(event) if event.version >= low else event, fold)
        while found and found[-1].version == event.version:
            snapshot = found.pop()
            yield snapshot._replace(state=head.state, comment=None, key_slots=slots, erased=False)


def needs_index(references: Referring, name: bytes) -> bool:
    """Say whether the index of referrers may have had entries of an aggregate."""
    return bool(references.paths(keys.split_name(name)[0]))
