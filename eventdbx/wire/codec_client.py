"""The client's side of the codec: requests to messages, messages to responses.

Requests are built through the schemas, but for those that a busy client sends all day: they are
joined from bytes in :mod:`eventdbx.wire.codec_frequent`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct as Packing
from typing import Any, NamedTuple

from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_frequent import (
    EXTENSION,
    encode_batch,
    encode_get,
    encode_list_events,
    encode_read,
    encode_scan_events,
    encode_write,
)
from eventdbx.wire.pointers import Message, control_message
from eventdbx.wire.schema import load

_WRITE_MEMBERS: dict[type, int] = {rq.AppendEvent: 3, rq.PatchEvent: 5, rq.CreateAggregate: 7}
_ROOT = 1 << 48 | 2 << 32
"""Pointer to the root of an answer: two words, one pointer, right behind."""
_HEAD = Packing("<QQQQQ").unpack_from
_BODY = tuple(Packing(f"<{words}Q").unpack_from for words in range(9))


class Reply(NamedTuple):
    """One message of an answer: the union member, its struct's words and texts.

    ``more`` is true for all but the last part of an extension answer, whose ``texts`` are data.
    """

    id: int
    member: int
    words: tuple[int, ...]
    texts: tuple[bytes, ...]
    more: bool = False


ERROR_MEMBER = 6
EXTENSION_MEMBER = EXTENSION


def encode_request(identifier: int, request: rq.Request) -> bytes:
    """Return the stream message of a request."""
    if isinstance(request, rq.AppendEvent | rq.PatchEvent | rq.CreateAggregate):
        if not (request.publish_targets or request.receipt):
            return encode_write(identifier, _WRITE_MEMBERS[type(request)], request)
    elif isinstance(request, rq.GetAggregate):
        return encode_get(identifier, request)
    elif isinstance(request, rq.ListEvents):
        return encode_list_events(identifier, request)
    elif isinstance(request, rq.ReadAggregate):
        return encode_read(identifier, request)
    elif isinstance(request, rq.ScanEvents):
        return encode_scan_events(identifier, request)
    elif isinstance(request, rq.CommitBatch):
        if not any(write.publish_targets or write.receipt for write in request.writes):
            return encode_batch(identifier, request)
    return _through_schema(identifier, request)


class HelloReply(NamedTuple):
    """The server's verdict on a hello."""

    accepted: bool
    message: str
    no_noise: bool


def decode_hello_reply(raw: bytes) -> HelloReply:
    """Return the server's verdict. Raises MalformedMessage."""
    root = Message(raw).root()
    word = root.word(0)
    return HelloReply(word & 1 != 0, root.text(0, "message"), word & 2 != 0)


def decode_reply(raw: bytes) -> Reply:
    """Return one message of an answer. Raises MalformedMessage."""
    return flat_reply(raw) or any_reply(raw)


def flat_reply(raw: bytes) -> Reply | None:
    """Return an answer in the shape that nearly all have, None for any other.

    One segment, the fixed part right at its beginning, and every text within it.
    """
    size = len(raw)
    if size < 40:
        return None
    table, root, identifier, member, pointer = _HEAD(raw)
    words, pointers = pointer >> 32 & 0xFFFF, pointer >> 48
    fixed = words + pointers
    at = 40 + 8 * words
    if (
        table != size - 8 << 29
        or root != _ROOT
        or pointer & 0xFFFFFFFF
        or not 0 < fixed < 9
        or 40 + 8 * fixed > size
        or (member & 0xFFFF == EXTENSION_MEMBER and pointers != 1)
    ):
        return None
    member &= 0xFFFF
    ending = 0 if member == EXTENSION_MEMBER else 1
    body: tuple[int, ...] = _BODY[fixed](raw, 40)
    texts: list[bytes] = []
    for word in body[words:]:
        at += 8
        if not word:
            texts.append(b"")
            continue
        first = at + (word >> 2 & 0x3FFFFFFF) * 8
        last = first + (word >> 35) - ending
        if word & 0x700000003 != 0x200000001 or not first <= last <= size - ending:
            return None
        if ending and raw[last]:
            return None
        texts.append(raw[first:last])
    more = not ending and words > 0 and body[0] & 1 == 1
    return Reply(identifier, member, body[:words], tuple(texts), more)


def any_reply(raw: bytes) -> Reply:
    """Return an answer in whatever shape it has. Raises MalformedMessage."""
    identifier, member, body = control_message(raw)
    words = tuple(body.word(index) for index in range(body.words))
    if member == EXTENSION_MEMBER:
        return Reply(identifier, member, words, (body.data(0),), bool(words and words[0] & 1))
    texts = tuple(body.blob(index) for index in range(body.pointers))
    return Reply(identifier, member, words, texts)


def fragment_message(identifier: int, part: bytes, *, more: bool) -> bytes:
    """Return one fragment of a request that is larger than a frame."""
    message = load("control").ControlRequest.new_message()
    message.id = identifier
    fragment = message.payload.init("extension").init("fragment")
    fragment.part = part
    fragment.more = more
    return bytes(message.to_bytes())


# Everything else, through the schemas.


def _through_schema(identifier: int, request: rq.Request) -> bytes:
    message = load("control").ControlRequest.new_message()
    message.id = identifier
    member, fill = _builders()[type(request)]
    body = message.payload.init(member)
    fill(body, request)
    return bytes(message.to_bytes())


def _optional(body: Any, name: str, flag: str, value: Any) -> None:
    if value is not None:
        setattr(body, name, value)
        setattr(body, flag, True)


def _named(body: Any, request: Any) -> None:
    body.token = request.token
    body.aggregateType = request.aggregate_type
    body.aggregateId = request.aggregate_id


def _list_aggregates(body: Any, request: rq.ListAggregates) -> None:
    body.token = request.token
    _optional(body, "cursor", "hasCursor", request.cursor)
    _optional(body, "take", "hasTake", request.take)
    _optional(body, "filter", "hasFilter", request.filter)
    _optional(body, "sort", "hasSort", request.sort)
    body.includeArchived = request.include_archived
    body.archivedOnly = request.archived_only
    body.resolve = request.resolve
    _optional(body, "resolveDepth", "hasResolveDepth", request.resolve_depth)


def _write(content: str) -> Callable[[Any, Any], None]:
    def fill(body: Any, request: rq.AppendEvent) -> None:
        _named(body, request)
        body.eventType = request.event_type
        setattr(body, content, request.content or "")
        _optional(body, "note", "hasNote", request.note)
        _optional(body, "metadataJson", "hasMetadata", request.metadata)
        if request.publish_targets:
            body.hasPublishTargets = True
            _targets(body.init("publishTargets", len(request.publish_targets)), request)
        _write_options(body, request)

    return fill


def _write_options(body: Any, write: rq.AppendEvent | Write) -> None:
    if write.expected_version is None and write.idempotency_key is None and not write.receipt:
        return
    options = body.init("options")
    _optional(options, "expectedVersion", "hasExpectedVersion", write.expected_version)
    options.idempotencyKey = write.idempotency_key or ""
    options.receipt = write.receipt


def _targets(slots: Any, request: rq.AppendEvent) -> None:
    targets: Sequence[PublishTarget] = request.publish_targets or ()
    for slot, target in zip(slots, targets, strict=True):
        slot.plugin = target.plugin
        _optional(slot, "mode", "hasMode", target.mode)
        _optional(slot, "priority", "hasPriority", target.priority)


def _verify_aggregate(body: Any, request: rq.VerifyAggregate) -> None:
    body.aggregateType = request.aggregate_type
    body.aggregateId = request.aggregate_id


def _select(body: Any, request: rq.SelectAggregate) -> None:
    _named(body, request)
    body.fields = list(request.fields)


def _archive(body: Any, request: rq.SetAggregateArchive) -> None:
    _named(body, request)
    body.archived = request.archived
    _optional(body, "note", "hasNote", request.note)


def _create_snapshot(body: Any, request: rq.CreateSnapshot) -> None:
    _named(body, request)
    _optional(body, "comment", "hasComment", request.comment)


def _list_snapshots(body: Any, request: rq.ListSnapshots) -> None:
    body.token = request.token
    _optional(body, "aggregateType", "hasAggregateType", request.aggregate_type)
    _optional(body, "aggregateId", "hasAggregateId", request.aggregate_id)
    _optional(body, "version", "hasVersion", request.version)


def _get_snapshot(body: Any, request: rq.GetSnapshot) -> None:
    body.token = request.token
    body.snapshotId = request.snapshot_id


def _outbox(body: Any, request: rq.ReadOutbox) -> None:
    body.token = request.token
    _optional(body, "afterEventId", "hasAfterEventId", request.after_event_id)
    _optional(body, "take", "hasTake", request.take)


def _resolve(inner: Any, request: rq.ScanAggregates) -> None:
    inner.resolve = request.resolve
    if request.resolve_depth is not None:
        inner.resolveDepth = request.resolve_depth
        inner.hasResolveDepth = True


def _scan_aggregates(body: Any, request: rq.ScanAggregates) -> None:
    body.token = request.token
    inner = body.init("scanAggregates")
    inner.aggregateType = request.aggregate_type or ""
    _resolve(inner, request)
    inner.cursor = request.cursor or ""
    inner.skip = request.skip
    inner.take = request.take
    inner.filter = request.filter or ""
    inner.sort = request.sort or ""
    inner.scope = request.scope or ""


def _commit_batch(body: Any, request: rq.CommitBatch) -> None:
    body.token = request.token
    inner = body.init("commitBatch")
    inner.idempotencyKey = request.idempotency_key or ""
    inner.answer = request.answer
    for slot, write in zip(inner.init("writes", len(request.writes)), request.writes, strict=True):
        slot.kind = write.kind
        slot.aggregateType, slot.aggregateId = write.aggregate_type, write.aggregate_id
        slot.eventType = write.event_type
        slot.contentJson = write.content or ""
        slot.metadataJson = write.metadata or ""
        _optional(slot, "note", "hasNote", write.note)
        _write_options(slot, write)
        targets = slot.init("publishTargets", len(write.publish_targets))
        for place, target in zip(targets, write.publish_targets, strict=True):
            place.plugin = target.plugin
            place.mode, place.priority = target.mode or "", target.priority or ""


def _scan_referrers(body: Any, request: rq.ScanReferrers) -> None:
    body.token = request.token
    inner = body.init("scanReferrers")
    inner.aggregateType = request.aggregate_type
    inner.aggregateId = request.aggregate_id
    inner.cursor = request.cursor or ""
    inner.take = request.take


def _verify(body: Any, request: rq.Verify) -> None:
    body.token = request.token
    inner = body.init("verify")
    inner.aggregateType = request.aggregate_type or ""
    inner.aggregateId = request.aggregate_id or ""
    inner.after = request.after or ""
    inner.budget = request.budget


def _status(body: Any, request: rq.Status) -> None:
    body.token = request.token
    body.status = None


def _schemas(body: Any, request: rq.SchemaOperation) -> None:
    body.token = request.token
    body.init("schemas").json = request.json


def _plugins(body: Any, request: rq.PluginOperation) -> None:
    body.token = request.token
    body.init("plugins").json = request.json


def _administer(body: Any, request: rq.AdminOperation) -> None:
    body.token = request.token
    body.init("administer").json = request.json


def _integrity(body: Any, request: rq.IntegrityOperation) -> None:
    body.token = request.token
    body.init("integrity").json = request.json


def _staging(body: Any, request: rq.StagingOperation) -> None:
    body.token = request.token
    body.init("staging").json = request.json


def _follow(body: Any, request: rq.Follow) -> None:
    body.token = request.token
    inner = body.init("follow")
    inner.after = request.after
    inner.aggregateType = request.aggregate_type or ""
    inner.aggregateId = request.aggregate_id or ""
    inner.filter = request.filter or ""
    inner.take = request.take
    inner.waitMs = request.wait_ms
    inner.raw = request.raw


_PUBLISHED = {
    "schemas": "schemasJson",
    "tenant": "tenantId",
    "shard": "shardId",
    "storage_mib_max": "maxStorageMb",
}
"""Members that the published schema calls otherwise."""


def _administrative(body: Any, request: Any) -> None:
    for name, value in request._asdict().items():
        if name in ("reason", "actor"):
            _optional(body, name, f"has{name.title()}", value)
        else:
            setattr(body, _PUBLISHED.get(name, name), value)


@cache
def _builders() -> dict[type, tuple[str, Callable[[Any, Any], None]]]:
    return {
        rq.ListAggregates: ("listAggregates", _list_aggregates),
        rq.AppendEvent: ("appendEvent", _write("payloadJson")),
        rq.CreateAggregate: ("createAggregate", _write("payloadJson")),
        rq.PatchEvent: ("patchEvent", _write("patchJson")),
        rq.VerifyAggregate: ("verifyAggregate", _verify_aggregate),
        rq.SelectAggregate: ("selectAggregate", _select),
        rq.SetAggregateArchive: ("setAggregateArchive", _archive),
        rq.CreateSnapshot: ("createSnapshot", _create_snapshot),
        rq.ListSnapshots: ("listSnapshots", _list_snapshots),
        rq.GetSnapshot: ("getSnapshot", _get_snapshot),
        rq.ListReferrers: ("listReferrers", _named),
        rq.ReadOutbox: ("readOutbox", _outbox),
        rq.CommitBatch: ("extension", _commit_batch),
        rq.ScanAggregates: ("extension", _scan_aggregates),
        rq.ScanReferrers: ("extension", _scan_referrers),
        rq.Verify: ("extension", _verify),
        rq.Status: ("extension", _status),
        rq.SchemaOperation: ("extension", _schemas),
        rq.PluginOperation: ("extension", _plugins),
        rq.Follow: ("extension", _follow),
        rq.AdminOperation: ("extension", _administer),
        rq.IntegrityOperation: ("extension", _integrity),
        rq.StagingOperation: ("extension", _staging),
        **{
            kind: (kind.__name__[0].lower() + kind.__name__[1:], _administrative)
            for kind in rq.SCHEMA_AND_TENANT
        },
    }
