"""Snapshots held against the events they were taken of, and the index by their ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from eventdbx.application.integrity.findings import Finding, Found, beside, elsewhere
from eventdbx.application.integrity.reading import Damage, numbered, readable
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.merkle import root
from eventdbx.domain.snapshots import Snapshot
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys, records
from eventdbx.storage.interfaces import IReadView


def same(one: JSON, other: JSON) -> bool:
    """Return whether two values are one in JSON; Python takes 1, 1.0 and true for equal."""
    return one == other and dump(one) == dump(other)


class Kept(NamedTuple):
    """The ids of the snapshots of an aggregate by version: states stay in the store meanwhile."""

    names: tuple[str, str]
    ids: dict[int, list[int]]

    def check(
        self, view: IReadView, snapshot_id: int, folded: Head | None, rooted: Head | None
    ) -> Iterator[Found]:
        """Yield what a snapshot gets wrong about its version.

        ``folded`` and ``rooted`` are the head at that version, where its state and its root are
        known.
        """
        record = view.get(keys.snapshot(keys.name(*self.names), snapshot_id))
        assert record is not None, "a view changed"
        yield len(record)
        snapshot = records.decode_snapshot(*self.names, snapshot_id, record)
        if rooted is not None and snapshot.merkle_root != root(rooted.frontier):
            yield self._finding(snapshot_id, "its merkle root is not that of its version")
        elif (
            folded is not None
            and not snapshot.erased
            and not same(dict(snapshot.state), folded.state)
            and not had_upcasters(view, self.names[0])
        ):
            yield self._finding(snapshot_id, "its state differs from what the events fold to")

    def beyond(self, version: int) -> Iterator[Finding]:
        """Yield the snapshots that are left: those of versions that there are not."""
        for other, snapshots in sorted(self.ids.items()):
            for snapshot_id in snapshots:
                why = f"it is of version {other}, the events end at {version}"
                yield self._finding(snapshot_id, why)

    def _finding(self, snapshot_id: int, why: str) -> Finding:
        return of_snapshot(self.names, snapshot_id, why)


def had_upcasters(view: IReadView, aggregate_type: str) -> bool:
    """Return whether a type ever had upcasters: what states were then, nobody keeps."""
    for _key, record in view.scan(keys.SCHEMA_DOCUMENT, keys.after(keys.SCHEMA_DOCUMENT)):
        if b'"upcast"' in record and orjson.loads(record[1:]).get("aggregate") == aggregate_type:
            return True
    return False


def of_snapshot(names: tuple[str, str], snapshot_id: int, why: str) -> Finding:
    """Return what is wrong with a snapshot."""
    return beside(*names, f"snapshot {snapshot_id} of {'::'.join(names)}", why)


def kept_snapshots(
    view: IReadView, aggregate_type: str, aggregate_id: str
) -> Iterator[Found | Kept]:
    """Yield what is wrong with the snapshots of an aggregate as such, and those that are whole."""
    names = aggregate_type, aggregate_id
    name = keys.name(*names)
    kept = Kept(names, {})
    for number, record in numbered(
        view, lambda number: keys.snapshot(name, number), 0, eventlog.U64_MAX
    ):
        try:
            if isinstance(record, StorageError):
                raise record
            yield len(record)
            snapshot = _whole(names, number, record)
            kept.ids.setdefault(snapshot.version, []).append(number)
            if view.get(keys.snapshot_id(number)) != name:
                raise StorageError("the index of ids does not lead to it")
        except StorageError as error:
            yield of_snapshot(names, number, error.detail)
    yield kept


def _whole(names: tuple[str, str], number: int, record: bytes) -> Snapshot:
    try:
        snapshot = records.decode_snapshot(*names, number, record)
        again = records.encode_snapshot(snapshot)
    except (TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"unreadable snapshot record: {error}") from None
    if again != record and again[0] == record[0] and not snapshot.erased:
        raise StorageError("it is not written as snapshots are")
    return snapshot


def check_snapshot_ids(view: IReadView, start: bytes) -> Iterator[tuple[bytes, Found]]:
    """Yield (key, finding or bytes read): ids in the index that lead nowhere."""
    for item in readable(view, start, keys.after(keys.SNAPSHOT_ID)):
        if isinstance(item, Damage):
            where = item.called("entry of the index of snapshot ids")
            yield item.key or item.stop, elsewhere(where, item.why)
            continue
        key, name = item
        number = int.from_bytes(key[1:], "big")
        yield key, len(key) + len(name)
        try:
            if len(key) == 9 and name and view.get(keys.snapshot(name, number)) is not None:
                continue
            why = "it leads to no snapshot"
        except StorageError:
            continue  # The snapshot is damaged, which is said of itself.
        yield key, elsewhere(f"index of snapshot ids, id {number}", why)


def check_snapshot_owners(view: IReadView, start: bytes) -> Iterator[tuple[bytes, Found]]:
    """Yield (key, finding or bytes read): snapshots of aggregates that there are not.

    Those of the others are checked with their aggregates.
    """
    owner, known = b"", True
    for item in readable(view, start, keys.after(keys.SNAPSHOT)):
        if isinstance(item, Damage):
            if item.key is None:
                yield item.stop, elsewhere(item.called("snapshots"), item.why)
                continue
            item = item.key, b""  # Said of the snapshot itself.
        key, record = item
        yield key, len(key) + len(record)
        if key[1:-8] != owner:
            owner = key[1:-8]
            known = has_head(view, owner)
        if not known:
            names = keys.split_name(key[1:])
            number = int.from_bytes(key[-8:], "big")
            yield key, of_snapshot(names, number, "there is no such aggregate")


def has_head(view: IReadView, name: bytes) -> bool:
    """Return whether an aggregate has a head, readable or not."""
    try:
        return any(view.get(keys.head(name, archived)) is not None for archived in (False, True))
    except StorageError:
        return True
