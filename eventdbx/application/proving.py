"""Proofs of the history of a domain, made from a view by O(log n) point reads.

Which checkpoint a proof leads to is decided here, too: one that is stored, or one that is signed
now because none covers the event yet. What the proofs look like: docs/integrity.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

from eventdbx import limits
from eventdbx.domain.checkpoints import parse_checkpoint
from eventdbx.domain.events import Event
from eventdbx.domain.headmap import heads_of, name_hash, root_from_proof
from eventdbx.domain.notes import Note, NoteError, parse_note
from eventdbx.domain.proofdocuments import (
    Anchor,
    between_document,
    event_document,
    extra_data,
    growth_document,
    log_document,
    timeline_document,
)
from eventdbx.domain.proofs import consistency_proof, inclusion_proof, tree_root
from eventdbx.domain.tlogproofs import TlogProof
from eventdbx.errors import AggregateNotFound, ConfigError, StorageError, UnknownName
from eventdbx.storage import keys, records
from eventdbx.storage.eventlog import (
    end_position,
    event_nodes,
    load_event,
    load_head,
    log_nodes,
    place_of,
)
from eventdbx.storage.interfaces import IReadView

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain

PARTITION = 0
_ATTEMPTS = 16
"""The head map may move on between its proof and the checkpoint; in the background it does so once
in heads_interval_secs, on demand with each proof that is made meanwhile."""

RECEIPTS_AT_ONCE = 4
"""Proofs that are made between two answers, without going to another thread."""

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]


def position_of(view: IReadView, event: Event, partition: int = PARTITION) -> int:
    """Return where an event is in its log, by O(log n) point reads. Raises StorageError."""
    position = place_of(view, partition, event)
    record = view.get(keys.log(partition, position))
    entry = None if record is None else records.decode_log(record)
    if entry is None or entry.event_id != event.event_id or entry.leaf != event.hash:
        raise StorageError(f"the commit log does not have event {event.event_id} as it is stored")
    return position


def log_proof(
    view: IReadView,
    event: Event,
    position: int,
    note: Note,
    *,
    salted: bool = True,
    partition: int = PARTITION,
) -> TlogProof:
    """Return the proof that an event is in the log under a checkpoint that covers it.

    ``salted`` False leaves the salt out: the proof holds, but the content cannot be compared.
    """
    size = _size_in(view, note, partition)
    hashes = inclusion_proof(log_nodes(view, partition), position, size)
    return TlogProof(position, tuple(hashes), note, extra_data(event, salted=salted))


def log_consistency(
    view: IReadView, first: Note, second: Note, partition: int = PARTITION
) -> dict[str, Any]:
    """Return the document that proves the log of one checkpoint the beginning of another's.

    Raises ConfigError where the first has no entries, or more than the second.
    """
    sizes = _size_in(view, first, partition), _size_in(view, second, partition)
    check_order(*sizes)
    return log_document(first, second, consistency_proof(log_nodes(view, partition), *sizes))


def event_in_aggregate(
    view: IReadView, anchor: Anchor, event: Event, *, salted: bool = True
) -> Any:
    """Return the document that proves an event in the timeline of its aggregate."""
    nodes = event_nodes(view, keys.name(anchor.aggregate_type, anchor.aggregate_id))
    hashes = inclusion_proof(nodes, event.version - 1, anchor.head.version)
    return event_document(anchor, event, hashes, salted=salted)


def whole_timeline(view: IReadView, anchor: Anchor) -> Any:
    """Return the document that proves which events are all of an aggregate: one read for each.

    Raises ConfigError where there are too many for one document.
    """
    count = anchor.head.version
    if count > limits.PROOF_EVENTS_MAX:
        raise ConfigError(
            f"{anchor.aggregate_type}::{anchor.aggregate_id} has {count} events, a proof lists "
            f"{limits.PROOF_EVENTS_MAX} at most; export it as a bundle of evidence"
        )
    node = event_nodes(view, keys.name(anchor.aggregate_type, anchor.aggregate_id))
    return timeline_document(anchor, [node(0, index) for index in range(count)])


def growth(view: IReadView, anchor: Anchor, first: int, second: int | None = None) -> Any:
    """Return the document that proves a version the beginning of a later one, by default of that
    at the checkpoint. Raises ConfigError for versions that there are not.
    """
    now = anchor.head.version
    name = f"{anchor.aggregate_type}::{anchor.aggregate_id}"
    if not 0 < first <= now or not 0 < (second or first) <= now:
        raise ConfigError(f"there is no such beginning of {name}, which has v1 to v{now}")
    if second is not None and first > second:
        raise ConfigError(f"v{first} of {name} is no beginning of v{second}")
    nodes = event_nodes(view, keys.name(anchor.aggregate_type, anchor.aggregate_id))
    begun = first, tree_root(nodes, first)
    if second is None:
        return growth_document(anchor, *begun, consistency_proof(nodes, first, now))
    return between_document(
        anchor,
        begun,
        consistency_proof(nodes, first, second),
        (second, tree_root(nodes, second)),
        consistency_proof(nodes, second, now),
    )


def check_order(first: int, second: int) -> None:
    """Raise ConfigError unless a tree of one size can be the beginning of one of another."""
    if first < 1:
        raise ConfigError("the first checkpoint must have at least one event")
    if first > second:
        raise ConfigError(f"{first} events are no beginning of {second}: first is the smaller one")


def _size_in(view: IReadView, note: Note, partition: int) -> int:
    size = parse_checkpoint(note.text).size
    if size > end_position(view, partition):
        raise ConfigError(f"the commit log has no {size} entries")
    return size


class Proving:
    """Makes the proofs of a domain. What may read much is done by ``run_slowly``.

    Whether the caller may see an event, and of it the salt, is for the surfaces to have asked.
    """

    def __init__(self, domain: Domain, run_slowly: RunSlowly) -> None:
        self._domain = domain
        self._run_slowly = run_slowly

    def event(
        self, event: Event, *, size: int | None = None, salted: bool = True
    ) -> Deferred[TlogProof]:
        """Fire with the proof that a stored event is in the log, under a stored checkpoint of a
        ``size``, or under the newest.

        Fails with UnknownName where there is no such checkpoint, with ConfigError where it does
        not cover the event.
        """
        return Deferred.fromCoroutine(self._event(event, size, salted))

    async def _event(self, event: Event, size: int | None, salted: bool) -> TlogProof:
        store = self._domain.store
        position: int = await self._run_slowly(lambda: position_of(store.view(), event))
        note = await self.covering(position + 1, size)
        proof: TlogProof = await self._run_slowly(
            lambda: log_proof(store.view(), event, position, note, salted=salted)
        )
        return proof

    def receipts(
        self, events: Sequence[Event], salted: Callable[[Event], bool]
    ) -> Deferred[list[TlogProof]]:
        """Fire with the proofs of events that were just written, all under one checkpoint."""
        return Deferred.fromCoroutine(self._receipts(events, salted))

    async def _receipts(
        self, events: Sequence[Event], salted: Callable[[Event], bool]
    ) -> list[TlogProof]:
        if not events:
            return []
        # A few are made at once: 60 point reads each, of what is still in memory.
        run = self._run_slowly if len(events) > RECEIPTS_AT_ONCE else maybeDeferred
        store = self._domain.store
        view = store.view()
        places: list[int] = await run(lambda: [position_of(view, event) for event in events])
        note = await self._domain.checkpoints.cover(max(places) + 1)
        later = store.view()

        def prove() -> list[TlogProof]:
            pairs = zip(events, places, strict=True)
            return [log_proof(later, one, at, note, salted=salted(one)) for one, at in pairs]

        made: list[TlogProof] = await run(prove)
        return made

    def in_aggregate(self, event: Event, *, salted: bool = True) -> Deferred[dict[str, Any]]:
        """Fire with the proof that a stored event is in the timeline of its aggregate."""

        async def prove() -> Any:
            store = self._domain.store
            position = await self._run_slowly(lambda: position_of(store.view(), event))
            names = event.aggregate_type, event.aggregate_id
            anchor = await self._anchored(*names, position + 1)
            return await self._run_slowly(
                lambda: event_in_aggregate(store.view(), anchor, event, salted=salted)
            )

        return Deferred.fromCoroutine(prove())

    def timeline(self, aggregate_type: str, aggregate_id: str) -> Deferred[dict[str, Any]]:
        """Fire with the proof which events are all of an aggregate now, by their leaf hashes.

        Fails with ConfigError where there are too many for one document.
        """
        return self._of_now(aggregate_type, aggregate_id, whole_timeline)

    def growth(
        self, aggregate_type: str, aggregate_id: str, first: int, second: int | None = None
    ) -> Deferred[dict[str, Any]]:
        """Fire with the proof that a version is the beginning of a later one, by default of now.

        Fails with ConfigError for versions that there are not.
        """

        def make(view: IReadView, anchor: Anchor) -> Any:
            return growth(view, anchor, first, second)

        return self._of_now(aggregate_type, aggregate_id, make)

    def _of_now(
        self, aggregate_type: str, aggregate_id: str, make: Callable[[IReadView, Anchor], Any]
    ) -> Deferred[dict[str, Any]]:
        async def prove() -> Any:
            store = self._domain.store
            anchor = await self._anchored(
                aggregate_type, aggregate_id, end_position(store.view(), PARTITION)
            )
            return await self._run_slowly(lambda: make(store.view(), anchor))

        return Deferred.fromCoroutine(prove())

    async def _anchored(self, aggregate_type: str, aggregate_id: str, needed: int) -> Anchor:
        """Return how an aggregate stands in a head map over so much of the log, and a checkpoint
        that says so."""
        heads, checkpoints = self._domain.heads, self._domain.checkpoints
        for _attempt in range(_ATTEMPTS):
            await heads.advance_to(needed)
            head = await heads.prove(keys.name(aggregate_type, aggregate_id))
            if not head.position:  # Of an empty log there is no map that could be signed.
                raise AggregateNotFound
            # The root, too: a damaged map that was made again had another one at the same position.
            wanted = head.position, root_from_proof(name_hash(aggregate_type, aggregate_id), head)
            newest = checkpoints.newest()
            if newest is None or _heads(newest.note) != wanted:
                newest = None
            note = await checkpoints.renew() if newest is None else newest.note
            if _heads(note) == wanted:
                if not head.version:
                    raise AggregateNotFound
                return Anchor(aggregate_type, aggregate_id, head, note)
        raise StorageError("the head map moves on too quickly, ask again")

    async def covering(self, needed: int, size: int | None) -> Note:
        """Return a checkpoint of at least the needed size, that of a ``size`` if one is given."""
        if size is None:
            return await self._domain.checkpoints.cover(needed)
        if size < needed:
            raise ConfigError(f"the checkpoint of size {size} is older than the event")
        return self.stored(size)

    def stored(self, size: int) -> Note:
        """Return the stored checkpoint of exactly a size. Raises UnknownName."""
        found = self._domain.checkpoints.at(size) if size < 1 << 63 else None
        if found is None:
            newest = self._domain.checkpoints.newest()
            known = "" if newest is None else f", the newest has {newest.size}"
            raise UnknownName(f"there is no checkpoint of size {size}{known}")
        return found.note

    def log_consistency(
        self, first: int | Note, second: int | Note | None = None
    ) -> Deferred[dict[str, Any]]:
        """Fire with the proof that the log at one checkpoint is the beginning of that at another,
        by default of the newest.

        A size names a stored checkpoint. Somebody's own may be gone here; it proves the same.
        """
        return Deferred.fromCoroutine(self._log_consistency(first, second))

    async def _log_consistency(
        self, first: int | Note, second: int | Note | None
    ) -> dict[str, Any]:
        least = _size_of(first)
        check_order(least, least if second is None else _size_of(second))
        begun = first if isinstance(first, Note) else self.stored(first)
        if least > (there := end_position(self._domain.store.view(), PARTITION)):
            raise ConfigError(f"the log has only {there} entries, the first checkpoint {least}")
        later = second if isinstance(second, Note) else await self.covering(least, second)
        found: dict[str, Any] = await self._run_slowly(
            lambda: log_consistency(self._domain.store.view(), begun, later)
        )
        return found


def _heads(note: Note) -> tuple[int, bytes] | None:
    """Return position and root of the head map of a checkpoint, None if it has none."""
    return heads_of(parse_checkpoint(note.text))


def _size_of(checkpoint: int | Note) -> int:
    if isinstance(checkpoint, Note):
        return parse_checkpoint(checkpoint.text).size
    return checkpoint


def read_checkpoint(text: str) -> Note:
    """Return the note of a checkpoint that somebody brings. Raises ConfigError."""
    try:
        note = parse_note(text.encode())
        parse_checkpoint(note.text)
    except NoteError as error:
        raise ConfigError(f"unreadable checkpoint: {error}") from None
    return note


def stored_event(view: IReadView, aggregate_type: str, aggregate_id: str, version: int) -> Event:
    """Return an event. Raises AggregateNotFound, UnknownName for a version that is not there."""
    name = keys.name(aggregate_type, aggregate_id)
    event = load_event(view, name, version) if 0 < version < 1 << 64 else None
    if event is not None:
        return event
    head = load_head(view, name)
    if head is None:
        raise AggregateNotFound
    raise UnknownName(
        f"{aggregate_type}::{aggregate_id} has no event v{version}, the last is v{head.version}"
    )
