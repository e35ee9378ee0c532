"""Snapshots: the state of an aggregate at one version, kept under an id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from eventdbx.domain.aggregate import state_document
from eventdbx.domain.canonical import JSON
from eventdbx.domain.timestamps import format_ns


class Snapshot(NamedTuple):
    """One snapshot; ``created_at`` in nanoseconds since the Unix epoch."""

    snapshot_id: int
    aggregate_type: str
    aggregate_id: str
    version: int
    state: Mapping[str, JSON]
    merkle_root: bytes
    created_at: int
    comment: str | None
    key_slots: tuple[int, ...] = ()
    erased: bool = False


def snapshot_document(snapshot: Snapshot) -> bytes:
    """Return the JSON document of a snapshot; state values are texts, as in aggregates."""
    return (
        b'{"snapshot_id":"%d","aggregate_type":"%b","aggregate_id":"%b","version":%d,"state":%b,'
        b'"merkle_root":"%b","created_at":"%b","comment":%b%b}'
        % (
            snapshot.snapshot_id,
            snapshot.aggregate_type.encode(),
            snapshot.aggregate_id.encode(),
            snapshot.version,
            state_document(snapshot.state),
            snapshot.merkle_root.hex().encode(),
            format_ns(snapshot.created_at).encode(),
            orjson.dumps(snapshot.comment),
            b',"erased":true' if snapshot.erased else b"",
        )
    )
