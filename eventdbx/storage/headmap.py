"""The head map in the store: buckets of entries, and how far along the log they are.

The entries lie in 65,536 buckets by the first 16 bits of their names' hashes; buckets without
entries do not exist. Each holds its own hash, so that the 16 levels above are made from one scan,
and kept in memory from then on (:class:`Top`). What the hashes are is in
:mod:`eventdbx.domain.headmap`; when the map is advanced, in :mod:`eventdbx.application.mapping`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from eventdbx import limits
from eventdbx.domain.headmap import (
    EMPTY,
    ENTRY_BYTES,
    HASH_BYTES,
    HeadProof,
    Summary,
    bit_of,
    entry,
    join,
    make_proof,
    path,
    summarise,
    summary_hash,
)
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys
from eventdbx.storage.eventlog import Reads, ReadsAndPuts
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import DamagedRecord

PARTITION = 0
TOP_BITS = 16
BUCKETS = 1 << TOP_BITS

_FORMAT = 1
_PLACE = Struct(">BQQ32s")
_START = 1 + HASH_BYTES
"""Bytes of a bucket before its entries: format and hash."""


class Place(NamedTuple):
    """The map over the log up to ``position``: its root, and of how many aggregates it is."""

    position: int
    aggregates: int
    root: bytes


NOWHERE = Place(0, 0, EMPTY)


def load_place(reads: Reads) -> Place:
    """Return how far the map is. Raises DamagedRecord."""
    record = reads.get(keys.map_place(PARTITION))
    if record is None:
        return NOWHERE
    if len(record) != _PLACE.size or record[0] != _FORMAT:
        raise DamagedRecord("unreadable record of the head map's position")
    return Place(*_PLACE.unpack(record)[1:])


def encode_bucket(entries: Sequence[bytes]) -> bytes:
    """Return the record of a bucket with sorted entries."""
    digest = summary_hash(summarise(entries, TOP_BITS))
    return b"".join((bytes((_FORMAT,)), digest, *entries))


def decode_bucket(record: bytes | None) -> list[bytes]:
    """Return the entries of a bucket; none where there is no record. Raises DamagedRecord."""
    if record is None:
        return []
    summary_of(record)
    return [record[at : at + ENTRY_BYTES] for at in range(_START, len(record), ENTRY_BYTES)]


def summary_of(record: bytes) -> Summary:
    """Return the summary of a bucket as it is kept in its record. Raises DamagedRecord."""
    count, rest = divmod(len(record) - _START, ENTRY_BYTES)
    if count < 1 or rest or record[0] != _FORMAT:
        raise DamagedRecord("unreadable bucket of the head map")
    return (b"\x01" if count > 1 else b"\x00") + record[1:_START]


def bucket_of(name: bytes) -> int:
    """Return the number of the bucket of a name hash."""
    return int.from_bytes(name[:2], "big")


class Top:
    """The levels of the map above the buckets, at one place; some 10 MB when all are there.

    Node 1 is the root, nodes 2n and 2n + 1 are the sides of node n, node 65,536 + b is bucket b.
    """

    def __init__(self) -> None:
        self.place = NOWHERE
        self.nodes: list[Summary] = [b""] * (2 * BUCKETS)

    def changed(self, buckets: Mapping[int, Summary]) -> dict[int, Summary]:
        """Return the nodes that are others when some buckets are; changes nothing."""
        known = self.nodes
        found = {BUCKETS + bucket: summary for bucket, summary in buckets.items()}
        above = {node >> 1 for node in found}
        while above and 0 not in above:
            for node in above:
                left, right = 2 * node, 2 * node + 1
                found[node] = join(
                    found[left] if left in found else known[left],
                    found[right] if right in found else known[right],
                )
            above = {node >> 1 for node in above}
        return found

    def take(self, step: Step) -> None:
        """Go on to the place after a step that has been committed."""
        assert self.place == step.before
        for node, summary in step.nodes.items():
            self.nodes[node] = summary
        self.place = step.after


def load_top(view: IReadView) -> Top:
    """Return the upper levels, from one scan of all buckets: for a thread.

    Raises StorageError for a bucket that cannot be read, and where the buckets are not those
    whose root was kept.
    """
    top = Top()
    top.place = load_place(view)
    nodes = top.nodes
    first, stop = keys.map_bucket(PARTITION, 0), keys.after(keys.map_buckets(PARTITION))
    for key, record in view.scan(first, stop):
        nodes[BUCKETS + keys.map_bucket_number(key)] = summary_of(record)
    for node in range(BUCKETS - 1, 0, -1):
        left, right = nodes[2 * node], nodes[2 * node + 1]
        if left or right:
            nodes[node] = join(left, right)
    if summary_hash(nodes[1]) != top.place.root:
        raise StorageError("the head map is damaged: its buckets do not lead to its root")
    return top


def kept_keys(view: IReadView) -> list[bytes]:
    """Return the key of every record of the map, some hundred bytes each: for a thread."""
    buckets = [keys.map_bucket(PARTITION, number) for number in range(BUCKETS)]
    return [key for key in (*buckets, keys.map_place(PARTITION)) if _is_kept(view, key)]


def _is_kept(view: IReadView, key: bytes) -> bool:
    try:
        return view.get(key) is not None
    except StorageError:
        return True  # Nobody can read it; it is there.


class Step(NamedTuple):
    """One advance that has been prepared: buckets and upper nodes that change, and the places."""

    before: Place
    after: Place
    buckets: dict[int, bytes]
    nodes: dict[int, Summary]

    def put(self, step: ReadsAndPuts) -> bool:
        """Put it in a transaction; False, and nothing is put, if the map is elsewhere by now."""
        if load_place(step) != self.before:
            return False
        for bucket, record in self.buckets.items():
            step.put(keys.map_bucket(PARTITION, bucket), record)
        step.put(keys.map_place(PARTITION), _PLACE.pack(_FORMAT, *self.after))
        return True


class _Touched(NamedTuple):
    """The newest event of an aggregate in a step."""

    hashed: bytes
    version: int
    leaf: bytes


def prepare(view: IReadView, top: Top) -> Step | None:
    """Return what advances the map by a bounded part of the log, None at its end: for a thread.

    The map of the view must be at the place of ``top``. Raises StorageError where the log has a
    gap or names an event that does not exist.
    """
    before = top.place
    if load_place(view) != before:
        raise StorageError("the head map moved while it was advanced")
    position, touched, stored = _read_log(view, before.position)
    if position == before.position:
        return None
    buckets = {bucket: decode_bucket(record) for bucket, record in stored.items()}
    count = before.aggregates
    for name, newest in touched.items():
        event = eventlog.load_event(view, name, newest.version)
        if event is None or event.hash != newest.leaf:
            raise StorageError(
                "the head map cannot be advanced: the log names an event that does not exist, "
                f"{'::'.join(keys.split_name(name))} v{newest.version}"
            )
        entries = buckets[bucket_of(newest.hashed)]
        at = bisect_left(entries, newest.hashed)
        known = at < len(entries) and entries[at].startswith(newest.hashed)
        count += not known
        entries[at : at + known] = [entry(newest.hashed, newest.version, event.merkle_root)]
    encoded = {bucket: encode_bucket(entries) for bucket, entries in buckets.items()}
    nodes = top.changed({bucket: summary_of(record) for bucket, record in encoded.items()})
    return Step(before, Place(position, count, summary_hash(nodes[1])), encoded, nodes)


def _read_log(
    view: IReadView, position: int
) -> tuple[int, dict[bytes, _Touched], dict[int, bytes | None]]:
    """Return where a step ends, the aggregates in it by name, and their buckets as stored."""
    touched: dict[bytes, _Touched] = {}
    stored: dict[int, bytes | None] = {}
    start, size = position, 0
    for found, logged in eventlog.log_entries(view, PARTITION, start=position):
        if found != position:
            raise StorageError(f"the commit log has no position {position}")
        position += 1
        name = logged.event_key[1:-8]
        hashed = touched[name].hashed if name in touched else sha256(name).digest()
        bucket = bucket_of(hashed)
        if bucket not in stored:
            record = stored[bucket] = view.get(keys.map_bucket(PARTITION, bucket))
            size += len(record or b"")
        size += ENTRY_BYTES * (name not in touched)
        touched[name] = _Touched(hashed, keys.event_version(logged.event_key), logged.leaf)
        if position - start >= limits.MAP_STEP_EVENTS or size >= limits.MAP_STEP_BYTES:
            break
    return position, touched, stored


def prove(reads: Reads, top: Top, name: bytes) -> HeadProof:
    """Return what the map says of a canonical name, by one point read or two.

    The map that is read must be at the place of ``top``.
    """
    hashed = sha256(name).digest()
    nodes, node = top.nodes, 1
    siblings: list[bytes] = []
    while node < BUCKETS and nodes[node][:1] == b"\x01":
        side = bit_of(hashed, len(siblings))
        siblings.append(summary_hash(nodes[2 * node + 1 - side]))
        node = 2 * node + side
    while node < BUCKETS and nodes[node]:
        # A single entry stands here; it is in whichever bucket is not empty.
        node = 2 * node + (not nodes[2 * node])
    below: list[bytes] = []
    end = b""
    if node >= BUCKETS and nodes[node]:
        entries = decode_bucket(reads.get(keys.map_bucket(PARTITION, node - BUCKETS)))
        below, end = path(entries, hashed, TOP_BITS)
    return make_proof(top.place.position, hashed, below + siblings[::-1], end)
