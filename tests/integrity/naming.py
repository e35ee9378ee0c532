"""What a record is called in findings, and the part of a pass that looks at one record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from eventdbx.application.integrity.anchors import check_checkpoints
from eventdbx.application.integrity.findings import Finding
from eventdbx.application.integrity.logs import check_log
from eventdbx.application.integrity.passes import aggregate
from eventdbx.application.integrity.rows import check_rows
from eventdbx.application.integrity.snapshots import check_snapshot_ids
from eventdbx.application.views import Views
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from tests.integrity.stores import anchors

OF_AGGREGATES = (keys.EVENT, keys.SNAPSHOT, keys.ARCHIVE_AUDIT)
HEADS = (keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED)


def called(key: bytes) -> str:
    """Return what verification calls the record under a key."""
    number = int.from_bytes(key[-8:], "big")
    family = key[:1]
    if key.startswith(HEADS):
        return f"head {'::'.join(keys.split_name(key[2:]))}"
    if family == keys.EVENT:
        return f"event {'::'.join(keys.split_name(key[1:]))} v{number}"
    if family == keys.SNAPSHOT:
        return f"snapshot {number} of {'::'.join(keys.split_name(key[1:]))}"
    if family == keys.ARCHIVE_AUDIT:
        return f"archive note {number} of {'::'.join(keys.split_name(key[1:]))}"
    if family == keys.LOG:
        return f"position {number}"
    if family == keys.CHECKPOINT:
        return f"checkpoint {number}"
    return key.hex()


def found_at(view: IReadView, key: bytes) -> list[Finding]:
    """Return what the checks of a pass say that look at a record."""
    return [one for one in _looking_at(view, key) if isinstance(one, Finding)]


def _looking_at(view: IReadView, key: bytes) -> Iterator[object]:
    number = int.from_bytes(key[-8:], "big")
    if key.startswith(OF_AGGREGATES):
        return aggregate(view, keys.split_name(key[1:]), Views({}))
    if key.startswith(HEADS):
        return aggregate(view, keys.split_name(key[2:]), Views({}))
    if key.startswith(keys.LOG):
        end = eventlog.end_position(view, 0)
        return check_log(view, 0, number, None if number + 1 == end else number + 1)
    if key.startswith(keys.CHECKPOINT):
        found = check_checkpoints(view, 0, anchors(), number, number + 1)
        return (one for _size, one in found)
    check = check_snapshot_ids if key.startswith(keys.SNAPSHOT_ID) else check_rows
    rows = check(view, key)
    return (one for _at, one in takewhile(lambda pair: pair[0] == key, rows))
