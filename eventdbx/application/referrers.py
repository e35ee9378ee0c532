"""The index of referrers: for each aggregate, who refers to it, and where.

Every entry is what a state says under the schemas in force, nothing more: it is put and taken
away in the commit that changes the state, and held against the states by ``verify_referrers``.
How it follows other schemas is in ``application.indexing``; until it has, a type is ``unindexed``.
What a reference may name is asked in ``application.referring``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.references import (
    Reference,
    ReferencePath,
    references_in,
)
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.records import Unindexed
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


def referrers(
    reads: Scans, target: Reference, *, after: Referrer | None = None
) -> Iterator[Referrer]:
    """Yield who refers to an aggregate, by (type, id, path): one range scan.

    Types that are unindexed may be missing, and may be there with what they said before.
    """
    prefix = start = keys.referrers_of(*target)
    if after is not None:
        start = keys.referrer(*target, keys.name(*after[:2]), after.path) + b"\x00"
    for key, _empty in reads.scan(start, keys.after(prefix)):
        yield Referrer(*keys.split_referrer(key)[3:])


def unindexed(reads: Scans) -> dict[str, Unindexed]:
    """Return the types of which the index does not say yet what their states say."""
    found = reads.scan(keys.UNINDEXED, keys.after(keys.UNINDEXED))
    return {
        key[len(keys.UNINDEXED) : -1].decode(): records.decode_unindexed(record)
        for key, record in found
    }


def unfinished(aggregate_type: str | None, work: Unindexed) -> str:
    """Return what tells a caller to try again; None for a type that it may not know of."""
    if aggregate_type is None:
        return "references are being indexed after a change of schemas; try again shortly"
    return (
        f"references of {aggregate_type} are being indexed after a change of its schema "
        f"({work.done} aggregates so far); try again shortly"
    )


def replace_entries(transaction: Transaction, old: set[bytes], new: set[bytes]) -> None:
    """Make entries that are all there those of another state."""
    for key in old - new:
        transaction.delete(key)
    for key in new - old:
        transaction.put(key, b"")


def entries(
    name: bytes,
    paths: Iterable[ReferencePath],
    state: Mapping[str, JSON],
    domain: str,
    aggregate_type: str,
) -> set[bytes]:
    """Return the keys of the entries of an aggregate that has a state."""
    found = references_in(state, paths, domain=domain, aggregate_type=aggregate_type)
    return {keys.referrer(*reference, name, path.text) for path, reference in found}


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

    ``in_force`` is what was in force when the view was taken. Types that are unindexed are left
    out: they are known to differ.
    """
    unfinished = unindexed(view)

    def expected(head: Head) -> set[bytes]:
        aggregate_type = head.aggregate_type
        paths = in_force.reference_paths(aggregate_type)
        folded = eventlog.refolded(view, head, in_force.views.fold(aggregate_type))
        name = keys.name(aggregate_type, head.aggregate_id)
        return entries(name, paths, folded.state, domain, aggregate_type)

    for aggregate_type in in_force.schemas.keys() - unfinished.keys():
        if in_force.reference_paths(aggregate_type):
            for head in _heads(view, aggregate_type):
                for key in sorted(expected(head)):
                    if view.get(key) is None:
                        yield _fault(key, missing=True)
    for key, _empty in view.scan(keys.REFERRER, keys.after(keys.REFERRER)):
        names = keys.split_referrer(key)[3:5]
        if names[0] in unfinished:
            continue
        holder = eventlog.load_head(view, keys.name(*names))
        if holder is None or key not in expected(holder):
            yield _fault(key, missing=False)


def _fault(key: bytes, *, missing: bool) -> Fault:
    parts = keys.split_referrer(key)
    return Fault(Reference(*parts[:3]), Referrer(*parts[3:]), missing)
