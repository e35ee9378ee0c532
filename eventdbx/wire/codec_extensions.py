"""From Cap'n Proto messages to the requests that only EventDBX's own clients send.

Their layout is capnp/ext.capnp. Also what the published requests have in common with them: the
options of a write, blank texts, and members that nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eventdbx.domain.commands import PublishTarget, Write, WriteKind
from eventdbx.errors import SerializationError
from eventdbx.wire import requests as rq
from eventdbx.wire.pointers import Struct


class Fragment(NamedTuple):
    """Part of a request that is larger than a frame; never leaves the wire."""

    part: bytes
    more: bool


Decoded = rq.Request | Fragment


def nonblank(text: str) -> str | None:
    """Return a text without the space around it, None if nothing is left."""
    return text.strip() or None


def unknown_member(member: int) -> SerializationError:
    """Return the error for a union member or enumerant that the schema does not have."""
    return SerializationError(
        f"Enum value or union discriminant {member} was not present in the schema."
    )


def write_options(options: Struct) -> tuple[int | None, str | None, bool]:
    """Return the expected version and the idempotency key, None where not given, and whether a
    receipt is wanted."""
    flags = options.word(0)
    expected = options.word(1) if flags & 1 else None
    return expected, options.text(0, "idempotency_key") or None, flags & 2 != 0


_NAMES = ("aggregate_type", "aggregate_id")
_KINDS: tuple[WriteKind, ...] = ("create", "append", "patch", "apply")
ANSWERS = ("receipts", "events", "aggregates", "proofs")
_TARGET = ("plugin", "mode", "priority")
_BATCH_WRITE = ("aggregate_type", "aggregate_id", "event_type", "content_json", "metadata_json",
                "note")  # fmt: skip


def _fragment(_token: str, body: Struct) -> Fragment:
    return Fragment(body.data(0), body.word(0) & 1 != 0)


def _commit_batch(token: str, body: Struct) -> rq.CommitBatch:
    writes = tuple(_batch_write(write) for write in body.structs(0))
    answer = body.word(0) & 0xFFFF
    if answer >= len(ANSWERS):
        raise unknown_member(answer)
    return rq.CommitBatch(token, writes, body.text(1, "idempotency_key") or None, ANSWERS[answer])


def _batch_write(body: Struct) -> Write:
    aggregate_type, aggregate_id, event_type, content, metadata, note = body.texts(_BATCH_WRITE)
    word = body.word(0)
    kind = word & 0xFFFF
    if kind >= len(_KINDS):
        raise unknown_member(kind)
    expected, key, receipt = write_options(body.struct(6))
    targets = [target.texts(_TARGET) for target in body.structs(7)] if body.pointers > 7 else []
    return Write(
        _KINDS[kind],
        aggregate_type,
        aggregate_id,
        event_type,
        nonblank(content),
        nonblank(metadata),
        note if word >> 16 & 1 else None,
        tuple([PublishTarget(name, mode or None, rank or None) for name, mode, rank in targets]),
        expected,
        key,
        receipt,
    )


def _read_aggregate(token: str, body: Struct) -> rq.ReadAggregate:
    aggregate_type, aggregate_id = body.texts(_NAMES)
    word, at = body.word(0), body.word(1)
    member = word & 0xFFFF
    if member > 2:
        raise unknown_member(member)
    return rq.ReadAggregate(
        token,
        aggregate_type,
        aggregate_id,
        at if member == 1 else None,
        at - (at >> 63 << 64) if member == 2 else None,
        word >> 16 & 1 != 0,
        word >> 17 & 1 != 0,
        word >> 32 if word >> 18 & 1 else None,
        word >> 19 & 1 != 0,
    )


def _scan_aggregates(token: str, body: Struct) -> rq.ScanAggregates:
    aggregate_type, *rest = body.texts(("aggregate_type", "cursor", "filter", "sort", "scope"))
    cursor, text_filter, sort, scope = map(nonblank, rest)
    flags = body.word(2)
    return rq.ScanAggregates(
        token,
        aggregate_type or None,
        cursor,
        body.word(0),
        body.word(1),
        text_filter,
        sort,
        scope,
        flags & 1 != 0,
        flags >> 32 if flags >> 1 & 1 else None,
    )


def _scan_events(token: str, body: Struct) -> rq.ScanEvents:
    aggregate_type, aggregate_id, *rest = body.texts(
        ("aggregate_type", "aggregate_id", "cursor", "filter", "sort", "scope")
    )
    cursor, text_filter, sort, scope = map(nonblank, rest)
    return rq.ScanEvents(
        token,
        aggregate_type or None,
        aggregate_id or None,
        body.word(0) or None,
        cursor,
        body.word(1),
        body.word(2),
        text_filter,
        sort,
        scope,
        body.word(3) & 1 != 0,
    )


def _scan_referrers(token: str, body: Struct) -> rq.ScanReferrers:
    aggregate_type, aggregate_id, cursor = body.texts((*_NAMES, "cursor"))
    return rq.ScanReferrers(token, aggregate_type, aggregate_id, cursor or None, body.word(0))


def _verify(token: str, body: Struct) -> rq.Verify:
    names = body.texts(("aggregate_type", "aggregate_id", "after"))
    aggregate_type, aggregate_id, after = (text or None for text in names)
    return rq.Verify(token, aggregate_type, aggregate_id, after, body.word(0))


def _follow(token: str, body: Struct) -> rq.Follow:
    after, *rest = body.texts(("after", *_NAMES, "filter"))
    aggregate_type, aggregate_id, wanted = map(nonblank, rest)
    word = body.word(0)
    return rq.Follow(
        token,
        after,
        aggregate_type,
        aggregate_id,
        wanted,
        word & 0xFFFFFFFF,
        word >> 32,
        body.word(1) & 1 != 0,
    )


_EXTENSIONS: dict[int, Callable[[str, Struct], Decoded]] = {
    0: _fragment,
    1: _commit_batch,
    2: _read_aggregate,
    3: _scan_aggregates,
    4: _scan_events,
    5: _verify,
    6: lambda token, body: rq.Status(token),
    7: lambda token, body: rq.SchemaOperation(token, body.data(0)),
    8: _scan_referrers,
    9: lambda token, body: rq.PluginOperation(token, body.data(0)),
    10: _follow,
    11: lambda token, body: rq.AdminOperation(token, body.data(0)),
    12: lambda token, body: rq.IntegrityOperation(token, body.data(0)),
    13: lambda token, body: rq.StagingOperation(token, body.data(0)),
}


def decode_extension(body: Struct) -> Decoded:
    """Return one request of capnp/ext.capnp. Raises EventDBXError for what it cannot mean."""
    token = body.text(0, "token")
    member = body.word(0) & 0xFFFF
    read = _EXTENSIONS.get(member)
    if read is None:
        raise unknown_member(member)
    return read(token, body.struct(1))
