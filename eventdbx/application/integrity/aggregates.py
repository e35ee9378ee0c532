"""What is stored of one aggregate, held against its events: head, snapshots, notes, time indexes.

Nothing stored is believed: versions must be contiguous, each leaf must be what its payload,
metadata and fields give, each root the root of the leaves up to it, and the head what its events
fold to. After a bad event the others are still looked at, each for itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from eventdbx.application.integrity.erasures import Erasures
from eventdbx.application.integrity.findings import Checked, Finding, Found, about, detail
from eventdbx.application.integrity.reading import numbered
from eventdbx.application.integrity.snapshots import Kept, kept_snapshots, same
from eventdbx.application.integrity.times import check_times
from eventdbx.domain.aggregate import PLAIN, Fold, Head, evolve, new_head
from eventdbx.domain.events import Event
from eventdbx.domain.merkle import grown, push, root
from eventdbx.errors import AggregateNotFound, StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.erasures import under_way
from eventdbx.storage.interfaces import IReadView

Checking = Generator[Found, None, "Checked | None"]


class Stored(NamedTuple):
    """The head of an aggregate as it is stored; None where it cannot be read."""

    head: Head | None
    archived: bool


def verify_aggregate(
    view: IReadView, aggregate_type: str, aggregate_id: str, fold: Fold = PLAIN
) -> Checked:
    """Return the recomputed root of an aggregate, whose type's fold in force is given.

    Raises AggregateNotFound, or StorageError naming the first bad version or record.
    """
    checking = check_aggregate(view, aggregate_type, aggregate_id, fold)
    while True:
        try:
            found = next(checking)
        except StopIteration as end:
            checked: Checked = end.value
            return checked
        if isinstance(found, Finding):
            raise StorageError(detail(found))


def check_aggregate(
    view: IReadView,
    aggregate_type: str,
    aggregate_id: str,
    fold: Fold = PLAIN,
    *,
    snapshots: bool = True,
    notes: bool = True,
) -> Checking:
    """Yield what is wrong with an aggregate; return what it is, if nothing is.

    ``snapshots`` and ``notes`` False say that it has none. Raises AggregateNotFound.
    """
    names = aggregate_type, aggregate_id
    clean = True
    stored = None
    for found in _stored(view, *names):
        if isinstance(found, Stored):
            stored = found
        else:
            clean = clean and isinstance(found, int)
            yield found
    if stored is None:
        raise AggregateNotFound()
    if stored.head is not None and stored.head.fold_mark != fold.mark:
        fold = PLAIN
    timeline = _Timeline(view, *names, fold, snapshots)
    for finding in timeline.check(stored.head):
        clean = clean and isinstance(finding, int)
        yield finding
    folded = timeline.head if timeline.whole else None
    for finding in check_times(view, names, stored.head, folded, notes=notes):
        clean = clean and isinstance(finding, int)
        yield finding
    head = timeline.head
    return Checked(*names, head.version, root(head.frontier)) if clean else None


def _stored(
    view: IReadView, aggregate_type: str, aggregate_id: str
) -> Iterator[Finding | int | Stored]:
    """Yield the stored head of an aggregate, and what is wrong with its record itself."""
    name = keys.name(aggregate_type, aggregate_id)
    found = []
    for archived in (False, True):
        try:
            record = view.get(keys.head(name, archived))
            if record is None:
                continue
            yield len(record)
            head = records.decode_head(aggregate_type, aggregate_id, record)
            again = records.encode_head(head)
        except (StorageError, TypeError) as error:
            yield about(aggregate_type, aggregate_id, 0, _why(error))
            found.append(Stored(None, archived))
            continue
        if head.archived != archived:
            yield about(aggregate_type, aggregate_id, 0, "the head lies in the wrong family")
        elif again != record and again[0] == record[0] and head.fold_mark != records.ERASED_FOLD:
            yield about(aggregate_type, aggregate_id, 0, "the head is not written as heads are")
        found.append(Stored(head, archived))
    if len(found) > 1:
        why = "there are two heads, an active and an archived one"
        yield about(aggregate_type, aggregate_id, 0, why)
    yield from found[:1]


def _why(error: Exception) -> str:
    return error.detail if isinstance(error, StorageError) else f"unreadable record: {error}"


def _erasing(view: IReadView, name: bytes) -> bool:
    """Return whether an erasure is under way; where its row is damaged, that is said elsewhere."""
    try:
        return under_way(view, name)
    except StorageError:
        return False


class _Timeline:
    """The events of one aggregate, folded and hashed again.

    ``whole``: every event so far could be folded. ``_rooted``: the tree up to here is known.
    """

    def __init__(
        self, view: IReadView, aggregate_type: str, aggregate_id: str, fold: Fold, snapshots: bool
    ) -> None:
        self._view = view
        self._names = aggregate_type, aggregate_id
        self._name = keys.name(aggregate_type, aggregate_id)
        self._fold = fold
        self._snapshots = snapshots
        self.head = new_head(aggregate_type, aggregate_id, fold.mark)
        self._rooted = True
        # While something is being erased states are ahead of events.
        self._erasing = _erasing(view, self._name)
        self.whole = not self._erasing
        self._erasures = Erasures()

    def check(self, stored: Head | None) -> Iterator[Found]:
        """Yield what is wrong with the events, the snapshots of them, and the head after them."""
        kept = Kept(self._names, {})
        for item in kept_snapshots(self._view, *self._names) if self._snapshots else ():
            if isinstance(item, Kept):
                kept = item
            else:
                yield item
        for version, record in numbered(
            self._view, lambda number: keys.event(self._name, number), 0, eventlog.U64_MAX
        ):
            if version != self.head.version + 1:
                why = f"event is missing, the next one stored is version {version}"
                yield about(*self._names, self.head.version + 1, why)
                self.head = self.head._replace(version=version - 1)
                self.whole = self._rooted = False
            yield from self._next(version, record)
            for found in kept.ids.pop(version, ()):
                state = self.head if self.whole else None
                tree = self.head if self._rooted else None
                yield from kept.check(self._view, found, state, tree)
        for version in self._erasures.unnamed():
            yield about(*self._names, version, "its content is erased, and no erasure names it")
        if not self._erasing:
            for version in self._erasures.remaining():
                yield about(*self._names, version, "an erasure names it, and its content is there")
        yield from kept.beyond(self.head.version)
        if stored is not None:
            problem = self._compare(stored)
            if problem is not None:
                at = min(stored.version, self.head.version + 1)
                name = "::".join(self._names)
                yield about(*self._names, at, problem, f"head {name}")

    def _next(self, version: int, record: bytes | StorageError) -> Iterator[Found]:
        try:
            if isinstance(record, StorageError):
                raise record
            yield len(record)
            event = records.check_event(record)
            if (*event[:2], event.version) != (*self._names, version):
                raise StorageError("event lies under another aggregate's or version's key")
        except StorageError as error:
            yield about(*self._names, version, error.detail)
            self._go_on(version, record)
            return
        self._erasures.meet(event)
        before = self.head
        if self.whole:
            self.head = evolve(before, event, self._fold)
        else:
            frontier = before.frontier
            if self._rooted:
                frontier = push(frontier, version - 1, event.hash)
            self.head = before._replace(version=version, frontier=frontier)
        if self._rooted:
            problem = self._tree_problem(before, event)
            if problem is not None:
                self._rooted = False
                yield about(*self._names, version, problem)

    def _tree_problem(self, before: Head, event: Event) -> str | None:
        if event.nodes != grown(before.frontier, before.version, event.hash)[1]:
            return "hashes of the merkle tree differ from the events up to here"
        if root(self.head.frontier) != event.merkle_root:
            return "merkle root differs from the events up to here"
        return None

    def _go_on(self, version: int, record: bytes | StorageError) -> None:
        """Step over an event that is damaged; its leaf may still be whole."""
        self.whole = False
        head = self.head._replace(version=version)
        if self._rooted:
            try:
                assert isinstance(record, bytes)
                event = records.decode_event(record)
                frontier = push(self.head.frontier, version - 1, event.hash)
                head = head._replace(frontier=frontier)
                self._rooted = root(frontier) == event.merkle_root
            except (StorageError, AssertionError):
                self._rooted = False
        self.head = head

    def _compare(self, stored: Head) -> str | None:
        """Return what the stored head gets wrong about its own events, or None."""
        head = self.head
        if stored.version != head.version:
            return f"the head is at version {stored.version}, the events end at {head.version}"
        if self._rooted and (
            stored.merkle_root != root(head.frontier) or stored.frontier != head.frontier
        ):
            return "the head's merkle root differs from its events"
        if not self.whole:
            return None
        # A state that upcasters made which are in force no more is folded again before it is read.
        if stored.fold_mark == head.fold_mark and not same(stored.state, head.state):
            return "the state differs from what the events fold to"
        erased = stored.fold_mark == records.ERASED_FOLD
        if not erased and not same(stored.extensions, head.extensions):
            return "the extensions differ from what the events fold to"
        return None
