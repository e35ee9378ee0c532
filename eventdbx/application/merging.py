"""Merging a domain into another one: its events, verbatim, behind those that are there.

Events keep ids, times, authors and hashes, and come in the order in which they were committed; only
the data keys that seal them are those of their new store. With them come archive flags and notes,
snapshots, what was kept for retries, and the documents of schemas that marks lead to. Everything
is a step of the writer of the other store (:mod:`eventdbx.application.adopting`), a few events in
each; that nobody sees a half of it is for who calls. The audit trail is not merged: it tells what
was administered where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from eventdbx.application.adopting import adopt
from eventdbx.application.rules import InForce
from eventdbx.application.schema_work import Prepared, compiled
from eventdbx.application.steps import PARTITION, Work
from eventdbx.domain.aggregate import Head
from eventdbx.domain.delivery.targets import Target
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.schemas.model import AggregateSchema
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.contents import with_slots
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import LogEntry
from eventdbx.storage.store import Transaction

STEP_EVENTS = 500
STEP_BYTES = 4 << 20
STEP_HEADS = 200
STEP_ROWS = 1_000

NOBODY = (Target(""),)
"""For whom merged events are: no plugin has this name. They were delivered where they come from."""

_AUDIT = f"{AUDIT_TYPE}\x00".encode()


class MergeRefused(ConfigError):
    """The message has no prefix: it is shown as it is."""

    prefix = ""


class SchemaMerge(NamedTuple):
    """The schemas of both domains together, and how many of them the merge brings."""

    prepared: Prepared | None
    added: int
    replaced: int


def first_in_both(source: IReadView, target: IReadView) -> str | None:
    """Return the first aggregate, by name, that is in both domains, as ``type::id``."""
    found: bytes | None = None
    for family in (keys.CREATED_ACTIVE, keys.CREATED_ARCHIVED):
        for key, _empty in source.scan(family, keys.after(family)):
            name = keys.split_time(key)[1]
            if name.startswith(_AUDIT) or (found is not None and name >= found):
                continue
            heads = (keys.head(name, archived) for archived in (False, True))
            if any(target.get(head) is not None for head in heads):
                found = name
    return None if found is None else "::".join(keys.split_name(found))


def merged_schemas(source: InForce, target: InForce, *, overwrite: bool) -> SchemaMerge:
    """Return the schemas of the target with those of the source.

    Raises MergeRefused for one that both have, and not the same but for times, unless it may be
    overwritten.
    """
    schemas: dict[str, AggregateSchema] = dict(target.schemas)
    added = replaced = 0
    for name in sorted(source.schemas):
        known = target.contracts.get(name)
        if known is not None and known.digest == source.contracts[name].digest:
            continue
        if known is not None and not overwrite:
            raise MergeRefused(
                f"schema '{name}' already exists in target domain with different definition "
                "(use --overwrite-schemas to replace)"
            )
        added, replaced = added + (known is None), replaced + (known is not None)
        schemas[name] = source.schemas[name]
    if not added and not replaced:
        return SchemaMerge(None, 0, 0)
    return SchemaMerge(Prepared(compiled(schemas, target), ()), added, replaced)


def same_ids(source: IReadView, target: IReadView) -> int:
    """Return how many events of the source have the id of one that the target has."""
    greatest = eventlog.greatest_id(target, PARTITION, eventlog.end_position(target, PARTITION))
    entries = eventlog.log_entries(source, PARTITION, start=0) if greatest else iter(())
    return sum(
        1
        for _position, entry in entries
        if entry.event_id <= greatest
        and eventlog.position_of(target, PARTITION, entry.event_id) is not None
    )


class Batch(NamedTuple):
    """Some of the source's log, with the records of its events."""

    start: int
    entries: list[tuple[LogEntry, bytes]]


def batches(source: IReadView) -> Iterator[Batch]:
    """Yield the log of the source. Raises StorageError where something of it is missing."""
    entries: list[tuple[LogEntry, bytes]] = []
    start = size = 0
    for position, entry in eventlog.log_entries(source, PARTITION, start=0):
        record = source.get(entry.event_key)
        if record is None:
            raise StorageError(f"the event at position {position} of the log is missing")
        entries.append((entry, record))
        size += len(record)
        if len(entries) >= STEP_EVENTS or size >= STEP_BYTES:
            yield Batch(start, entries)
            entries, start, size = [], position + 1, 0
    if entries:
        yield Batch(start, entries)


class Merging:
    """One merge: the source as it is, and where its log begins in the target's."""

    def __init__(self, source: IReadView, target: IReadView) -> None:
        self._source = source
        self._offset = eventlog.end_position(target, PARTITION)
        tails = (source.get(keys.tail(partition)) for partition in (PARTITION, 1))
        self._last_id = max(records.decode_tail(tail).last_id for tail in tails)
        self._runs = self._begins(source, target)
        # Looking for what a domain has none of costs as much as an event, for each aggregate.
        self._has_archive_audits = _has(source, keys.ARCHIVE_AUDIT)
        self._has_snapshots = _has(source, keys.SNAPSHOT)

    def _begins(self, source: IReadView, target: IReadView) -> frozenset[int]:
        """Return the places of the target's log where ids begin to grow anew."""
        begins = {start + self._offset for start, _end in eventlog.log_runs(source, PARTITION)[1:]}
        first = next(eventlog.log_entries(source, PARTITION, start=0), None)
        if self._offset and first is not None:
            if first[1].event_id <= eventlog.greatest_id(target, PARTITION, self._offset):
                begins.add(self._offset)
        return frozenset(begins)

    def put_events(self, batch: Batch, work: Work, transaction: Transaction) -> None:
        """Put events of the source at the end of the target's log; for a step.

        Raises StorageError for an event that is not what was hashed, or not the next one of its
        aggregate.
        """
        work._last_id = max(work._last_id, self._last_id)
        for entry, record in batch.entries:
            if work._position in self._runs:
                transaction.put(keys.log_run(PARTITION, work._position), b"")
            event = records.check_event(record)
            if (event.event_id, event.hash) != (entry.event_id, entry.leaf):
                raise StorageError(
                    f"event {event.aggregate_type}::{event.aggregate_id} v{event.version} is not "
                    "the one that was committed"
                )
            adopt(work, transaction, event, NOBODY)

    def put_heads(self, heads: Sequence[Head], work: Work, transaction: Transaction) -> int:
        """Make some aggregates what they were; return how many snapshots they have."""
        return sum(self._put_head(head, work, transaction) for head in heads)

    def _put_head(self, head: Head, work: Work, transaction: Transaction) -> int:
        """Make an aggregate what it was, its events being there; return its snapshots.

        Raises StorageError when it has another root or number of events.
        """
        name = keys.name(head.aggregate_type, head.aggregate_id)
        made = work.load(name)
        if made is None or (made.version, made.merkle_root) != (head.version, head.merkle_root):
            raise StorageError(
                f"aggregate {head.aggregate_type}::{head.aggregate_id} differs from its events"
            )
        after = made._replace(
            created_at=head.created_at,
            updated_at=head.updated_at,
            archived=head.archived,
            archived_at=head.archived_at,
            archive_comment=head.archive_comment,
        )
        if after != made:
            work.move(name, made, after)
        if self._has_archive_audits:
            self._put_archive_audits(name, after, transaction)
        return self._put_snapshots(name, after, work, transaction) if self._has_snapshots else 0

    def _put_archive_audits(self, name: bytes, head: Head, transaction: Transaction) -> None:
        prefix = keys.ARCHIVE_AUDIT + name
        for key, record in self._source.scan(prefix, keys.after(prefix)):
            transaction.put(key, with_slots(record, head.content_slots))

    def _put_snapshots(self, name: bytes, head: Head, work: Work, transaction: Transaction) -> int:
        prefix, count = keys.SNAPSHOT + name, 0
        for key, record in self._source.scan(prefix, keys.after(prefix)):
            number = int.from_bytes(key[-8:], "big")
            if transaction.get(keys.snapshot_id(number)) is not None:
                number = work.next_id()  # Nothing was signed of it: another one will do.
            transaction.put(keys.snapshot(name, number), with_slots(record, head.content_slots))
            transaction.put(keys.snapshot_id(number), name)
            count += 1
        return count

    def heads(self) -> Iterator[Head]:
        """Yield the aggregates of the source, active ones first."""
        both = (eventlog.heads(self._source, archived=archived) for archived in (False, True))
        return (head for head in chain.from_iterable(both) if head.aggregate_type != AUDIT_TYPE)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is kept for retries, and the schemas that marks of events lead to."""
        for key, record in self._source.scan(keys.IDEMPOTENCY, keys.after(keys.IDEMPOTENCY)):
            remembered = records.decode_remembered(record)
            if all(aggregate_type != AUDIT_TYPE for aggregate_type, *_rest in remembered.events):
                yield key, record
        for family in (keys.IDEMPOTENCY_AGE, keys.SCHEMA_DOCUMENT):
            yield from self._source.scan(family, keys.after(family))


def _has(view: IReadView, family: bytes) -> bool:
    return next(view.scan(family, keys.after(family)), None) is not None


def put_rows(rows: Mapping[bytes, bytes], transaction: Transaction) -> None:
    """Put rows that the target lacks. Of a key for retries that both used, the target's counts."""
    for key, record in rows.items():
        found = transaction.get(key)
        if found is not None:
            continue
        if key.startswith(keys.IDEMPOTENCY_AGE):
            digest = key[len(keys.IDEMPOTENCY_AGE) + 8 :]
            kept = transaction.get(keys.idempotency(digest))
            millis = None if kept is None else records.decode_remembered(kept).millis
            if millis is None or keys.idempotency_age(millis, digest) != key:
                continue
        transaction.put(key, record)
