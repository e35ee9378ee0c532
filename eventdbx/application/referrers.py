"""The index of referrers: for each aggregate, who refers to it, and where.

Every entry is what a state says under the schemas in force, nothing more: it is put and taken
away in the commit that changes the state, made anew for a type whose reference columns change,
and held against the states by ``verify_referrers``. What a reference may name is asked in
``application.referring``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.model import AggregateSchema
from eventdbx.domain.schemas.references import (
    Reference,
    ReferencePath,
    references_in,
)
from eventdbx.domain.schemas.upcasting import touched_fields
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


def reindex(transaction: Transaction, before: InForce, after: InForce, *, domain: str) -> None:
    """Make the index that of other schemas, in the step that puts them in force.

    Reads every aggregate of the types whose reference columns change, or whose upcasters work on
    them and change, and of no other; where old events are lifted, these too.
    """
    for aggregate_type in before.schemas.keys() | after.schemas.keys():
        old, new = before.reference_paths(aggregate_type), after.reference_paths(aggregate_type)
        old_fold, new_fold = before.views.fold(aggregate_type), after.views.fold(aggregate_type)
        if _same_places(old, new) and (
            old_fold.mark == new_fold.mark
            or not any(_lifts(one.schema(aggregate_type), old) for one in (before, after))
        ):
            continue
        for head in _heads(transaction, aggregate_type):
            name = keys.name(aggregate_type, head.aggregate_id)
            was = eventlog.refolded(transaction, head, old_fold).state if old else {}
            now = eventlog.refolded(transaction, head, new_fold).state if new else {}
            _replace(
                transaction,
                _entries(name, old, was, domain, aggregate_type),
                _entries(name, new, now, domain, aggregate_type),
            )


def _lifts(schema: AggregateSchema | None, paths: tuple[ReferencePath, ...]) -> bool:
    """Say whether upcasters of a schema work on fields that hold references."""
    if schema is None:
        return False
    fields = {path.segments[0] for path in paths}
    steps = (one for rule in schema.events.values() for steps in rule.upcast for one in steps)
    return any(not fields.isdisjoint(touched_fields(one)) for one in steps)


def _same_places(old: tuple[ReferencePath, ...], new: tuple[ReferencePath, ...]) -> bool:
    return [path.segments for path in old] == [path.segments for path in new]


def _heads(reads: Scans, aggregate_type: str) -> Iterator[Head]:
    """Yield the active and archived aggregates of a type."""
    for archived in (False, True):
        prefix = keys.head(aggregate_type.encode() + b"\x00", archived)
        for key, record in reads.scan(prefix, keys.after(prefix)):
            yield records.decode_head(*keys.split_name(key[2:]), record)


class Fault(NamedTuple):
    """A place where index and states disagree: an entry that is missing, or one too many."""

    target: Reference
    referrer: Referrer
    missing: bool

    @property
    def message(self) -> str:
        """Return what is wrong, with its names."""
        kind, identifier, path = self.referrer
        what = "lacks" if self.missing else "holds what no state says,"
        return (
            f"storage error: integrity check failed for {kind}::{identifier}: the index of "
            f"referrers {what} {self.target} at {path}"
        )


def verify_referrers(view: Scans, in_force: InForce, *, domain: str) -> Iterator[Fault]:
    """Yield where the index lacks what a state says, and where it says what no state does.

    ``in_force`` is what was in force when the view was taken.
    """

    def entries(head: Head) -> set[bytes]:
        aggregate_type = head.aggregate_type
        paths = in_force.reference_paths(aggregate_type)
        folded = eventlog.refolded(view, head, in_force.views.fold(aggregate_type))
        name = keys.name(aggregate_type, head.aggregate_id)
        return _entries(name, paths, folded.state, domain, aggregate_type)

    for aggregate_type in in_force.schemas:
        if in_force.reference_paths(aggregate_type):
            for head in _heads(view, aggregate_type):
                for key in sorted(entries(head)):
                    if view.get(key) is None:
                        yield _fault(key, missing=True)
    for key, _empty in view.scan(keys.REFERRER, keys.after(keys.REFERRER)):
        holder = eventlog.load_head(view, keys.name(*keys.split_referrer(key)[3:5]))
        if holder is None or key not in entries(holder):
            yield _fault(key, missing=False)


def _fault(key: bytes, *, missing: bool) -> Fault:
    parts = keys.split_referrer(key)
    return Fault(Reference(*parts[:3]), Referrer(*parts[3:]), missing)
