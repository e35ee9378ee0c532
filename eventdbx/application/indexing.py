"""Making the index of referrers follow the schemas, some aggregates at a time.

Where the reference columns of a type change, or upcasters that work on them, the type becomes
unindexed in the step that changes its schema; small types are indexed in that very step, others by
``application.folding`` afterwards. What is left to do is in the store, so a restart goes on there.

Of an unindexed type holds, in every commit: the entries of an aggregate are some of those that its
stored state has at the *places* of the type, those of the columns in force among them; up to the
aggregate ``after``, and for those that were written since, they are exactly those of the columns
in force. So whoever changes a stored state takes away what the old one has at any of the places,
and puts all that the new one has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge

from eventdbx import limits
from eventdbx.application.referrers import Scans, entries, unindexed
from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import AggregateSchema, ReferenceRule
from eventdbx.domain.schemas.references import ReferencePath
from eventdbx.domain.schemas.upcasting import touched_fields
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.records import Unindexed
from eventdbx.storage.store import Transaction

_ANY_RULE = ReferenceRule()


@dataclass
class _Budget:
    """What one step may still look at."""

    heads: int
    bytes: int
    events: int | None = None


class Indexing:
    """Which types of a domain are unindexed, as the store says it, and making them indexed.

    What changes it is part of a step, and succeeds with it.
    """

    def __init__(self, domain: str, reads: Scans) -> None:
        self._domain = domain
        self._unindexed = unindexed(reads)

    @property
    def unindexed(self) -> Mapping[str, Unindexed]:
        """The types that are unindexed."""
        return self._unindexed

    def follow(self, transaction: Transaction, before: InForce, after: InForce) -> None:
        """Note, at the end of the step that puts other schemas in force, what changes for the
        index; types with few aggregates are indexed on the spot."""
        budget = _Budget(limits.INDEX_AT_ONCE_HEADS, limits.COMMIT_BATCH_BYTES_MAX,
                         limits.REFOLD_EVENTS)  # fmt: skip
        left: dict[str, Unindexed | None] = {}
        for aggregate_type in sorted(before.schemas.keys() | after.schemas.keys()):
            known = self._unindexed.get(aggregate_type)
            if not _differs(before, after, aggregate_type, known):
                continue
            places = set(() if known is None else known.places)
            for one in (before, after):
                places.update(path.segments for path in one.reference_paths(aggregate_type))
            work = Unindexed(tuple(sorted(places)))
            left[aggregate_type] = self._walk(transaction, after, aggregate_type, work, budget)
        for aggregate_type, rest in left.items():
            self._keep(transaction, aggregate_type, rest)

    def advance(self, transaction: Transaction, in_force: InForce, aggregate_type: str) -> None:
        """Index some more aggregates of an unindexed type."""
        work = self._unindexed.get(aggregate_type)
        if work is not None:
            budget = _Budget(limits.INDEX_HEADS, limits.INDEX_BYTES)
            rest = self._walk(transaction, in_force, aggregate_type, work, budget)
            self._keep(transaction, aggregate_type, rest)

    def moved(
        self,
        transaction: Transaction,
        name: bytes,
        paths: Iterable[ReferencePath],
        before: Mapping[str, JSON],
        after: Head,
    ) -> bool:
        """Index a new state of an aggregate of an unindexed type; false for other types."""
        work = self._unindexed.get(after.aggregate_type)
        if work is None:
            return False
        self._replace(transaction, name, work, paths, before, after)
        return True

    def _keep(self, transaction: Transaction, aggregate_type: str, rest: Unindexed | None) -> None:
        key = keys.unindexed(aggregate_type)
        if rest is not None:
            transaction.put(key, records.encode_unindexed(rest))
            self._unindexed[aggregate_type] = rest
        elif self._unindexed.pop(aggregate_type, None) is not None:
            transaction.delete(key)

    def _walk(
        self,
        transaction: Transaction,
        in_force: InForce,
        aggregate_type: str,
        work: Unindexed,
        budget: _Budget,
    ) -> Unindexed | None:
        """Index aggregates until the budget is spent; return what is left then."""
        fold = in_force.views.fold(aggregate_type)
        paths = in_force.reference_paths(aggregate_type)
        for archived, name, record in _records(transaction, aggregate_type, work.after):
            if budget.heads <= 0 or budget.bytes <= 0:
                return work
            stored = head = records.decode_head(*keys.split_name(name), record)
            if stored.fold_mark != fold.mark:
                if budget.events is not None:
                    budget.events -= stored.version
                    if budget.events < 0:
                        return work
                head = eventlog.refolded(transaction, stored, fold)
                transaction.put(keys.head(name, archived), records.encode_head(head))
            self._replace(transaction, name, work, paths, stored.state, head)
            budget.heads -= 1
            budget.bytes -= len(record)
            work = work._replace(after=head.aggregate_id, done=work.done + 1)
        return None

    def _replace(
        self,
        transaction: Transaction,
        name: bytes,
        work: Unindexed,
        paths: Iterable[ReferencePath],
        before: Mapping[str, JSON],
        after: Head,
    ) -> None:
        domain, aggregate_type = self._domain, after.aggregate_type
        places = [ReferencePath(segments, _ANY_RULE) for segments in work.places]
        new = entries(name, paths, after.state, domain, aggregate_type)
        for key in entries(name, places, before, domain, aggregate_type) - new:
            transaction.delete(key)
        for key in new:
            transaction.put(key, b"")


def _records(
    transaction: Transaction, aggregate_type: str, after: str | None
) -> Iterator[tuple[bool, bytes, bytes]]:
    """Yield (archived, name, record) of the heads of a type by id, whether archived or not.

    So an aggregate that is archived or restored meanwhile is not passed over.
    """

    def family(archived: bool) -> Iterator[tuple[bytes, bool, bytes]]:
        start = prefix = keys.head(aggregate_type.encode() + b"\x00", archived)
        if after is not None:
            start = keys.head(keys.name(aggregate_type, after), archived) + b"\x00"
        for key, record in transaction.scan(start, keys.after(prefix)):
            yield key[2:], archived, record

    for name, archived, record in merge(family(False), family(True)):
        yield archived, name, record


def _differs(before: InForce, after: InForce, aggregate_type: str, known: Unindexed | None) -> bool:
    """Say whether the entries of a type have to be looked at under other schemas."""
    old, new = before.reference_paths(aggregate_type), after.reference_paths(aggregate_type)
    if [path.segments for path in old] != [path.segments for path in new]:
        return True
    if before.views.fold(aggregate_type).mark == after.views.fold(aggregate_type).mark:
        return False
    return known is not None or any(
        _lifts(one.schema(aggregate_type), old) for one in (before, after)
    )


def _lifts(schema: AggregateSchema | None, paths: tuple[ReferencePath, ...]) -> bool:
    """Say whether upcasters of a schema work on fields that hold references."""
    if schema is None:
        return False
    fields = {path.segments[0] for path in paths}
    steps = (one for rule in schema.events.values() for steps in rule.upcast for one in steps)
    return any(not fields.isdisjoint(touched_fields(one)) for one in steps)
