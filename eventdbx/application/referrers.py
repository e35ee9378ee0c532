"""The index of referrers: for each aggregate, who refers to it, and where.

Every entry is what a state says under the schemas in force, nothing more: it is put and taken
away in the commit that changes the state, made anew for a type whose reference columns change,
and held against the states by ``verify_referrers``. What a reference may name is asked in
``application.referring``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import AggregateSchema, SchemaSet
from eventdbx.domain.schemas.references import (
    Reference,
    ReferencePath,
    reference_paths,
    references_in,
)
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.store import Transaction


class Referrer(NamedTuple):
    """One place of one aggregate that names another; ``path`` is dotted."""

    aggregate_type: str
    aggregate_id: str
    path: str


class Scans(Protocol):
    """Whatever answers point reads and scans: a view or a transaction."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a key, or None."""

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs with ``start <= key < stop`` in byte order."""


def referrers(reads: Scans, target: Reference) -> Iterator[Referrer]:
    """Yield who refers to an aggregate, by (type, id, path): one range scan."""
    prefix = keys.referrers_of(*target)
    for key, _empty in reads.scan(prefix, keys.after(prefix)):
        yield Referrer(*keys.split_referrer(key)[3:])


def index_state(
    transaction: Transaction,
    name: bytes,
    paths: Iterable[ReferencePath],
    before: Mapping[str, JSON],
    after: Mapping[str, JSON],
    *,
    domain: str,
    aggregate_type: str,
) -> None:
    """Make the entries of an aggregate those of its state after a change."""
    old = _entries(name, paths, before, domain, aggregate_type)
    new = _entries(name, paths, after, domain, aggregate_type)
    _replace(transaction, old, new)


def _replace(transaction: Transaction, old: set[bytes], new: set[bytes]) -> None:
    for key in old - new:
        transaction.delete(key)
    for key in new - old:
        transaction.put(key, b"")


def _entries(
    name: bytes,
    paths: Iterable[ReferencePath],
    state: Mapping[str, JSON],
    domain: str,
    aggregate_type: str,
) -> set[bytes]:
    found = references_in(state, paths, domain=domain, aggregate_type=aggregate_type)
    return {keys.referrer(*reference, name, path.text) for path, reference in found}


def reindex(transaction: Transaction, before: SchemaSet, after: SchemaSet, *, domain: str) -> None:
    """Make the index that of other schemas, in the step that puts them in force.

    Reads every aggregate of the types whose reference columns change, and of no other.
    """
    for aggregate_type in before.keys() | after.keys():
        old, new = _paths(before.get(aggregate_type)), _paths(after.get(aggregate_type))
        if [path.segments for path in old] == [path.segments for path in new]:
            continue
        for head in _heads(transaction, aggregate_type):
            name = keys.name(aggregate_type, head.aggregate_id)
            _replace(
                transaction,
                _entries(name, old, head.state, domain, aggregate_type),
                _entries(name, new, head.state, domain, aggregate_type),
            )


def _paths(schema: AggregateSchema | None) -> tuple[ReferencePath, ...]:
    return () if schema is None else reference_paths(schema)


def _heads(reads: Scans, aggregate_type: str) -> Iterator[Head]:
    """Yield the active and archived aggregates of a type."""
    for archived in (False, True):
        prefix = keys.head(aggregate_type.encode() + b"\x00", archived)
        for key, record in reads.scan(prefix, keys.after(prefix)):
            yield records.decode_head(*keys.split_name(key[2:]), record)


class Fault(NamedTuple):
    """A place where index and states disagree; the names are the referrer's."""

    aggregate_type: str
    aggregate_id: str
    message: str


def verify_referrers(view: Scans, schemas: SchemaSet, *, domain: str) -> Iterator[Fault]:
    """Yield where the index lacks what a state says, and where it says what no state does."""
    for aggregate_type, schema in schemas.items():
        paths = reference_paths(schema)
        if not paths:
            continue
        for head in _heads(view, aggregate_type):
            name = keys.name(aggregate_type, head.aggregate_id)
            for key in _entries(name, paths, head.state, domain, aggregate_type):
                if view.get(key) is None:
                    yield _fault(key, "lacks")
    known = {one: reference_paths(schema) for one, schema in schemas.items()}
    for key, _empty in view.scan(keys.REFERRER, keys.after(keys.REFERRER)):
        aggregate_type, aggregate_id = keys.split_referrer(key)[3:5]
        name = keys.name(aggregate_type, aggregate_id)
        holder = eventlog.load_head(view, name)
        state = {} if holder is None else holder.state
        paths = known.get(aggregate_type, ())
        if key not in _entries(name, paths, state, domain, aggregate_type):
            yield _fault(key, "holds what no state says,")


def _fault(key: bytes, what: str) -> Fault:
    *target, aggregate_type, aggregate_id, path = keys.split_referrer(key)
    return Fault(
        aggregate_type,
        aggregate_id,
        f"storage error: integrity check failed for {aggregate_type}::{aggregate_id}: the index "
        f"of referrers {what} {'#'.join(target)} at {path}",
    )
