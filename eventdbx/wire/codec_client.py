"""The client's side of the codec: requests to messages, messages to responses.

Requests are built through the schemas. Those that a busy client sends all day (one event, a batch
of events, the reading of one aggregate) are joined from bytes instead; the tests read them back
through the schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct as Packing
from typing import Any, NamedTuple

from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.wire import requests as rq
from eventdbx.wire.messages import control_message
from eventdbx.wire.pointers import Message
from eventdbx.wire.pointers import control_message as read_control_message
from eventdbx.wire.schema import load

_WRITE_MEMBERS: dict[type, int] = {rq.AppendEvent: 3, rq.PatchEvent: 5, rq.CreateAggregate: 7}
_KINDS = {"create": 0, "append": 1, "patch": 2, "apply": 3}
_ANSWERS = {"receipts": 0, "events": 1, "aggregates": 2}
_EXTENSION_MEMBER = 23


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
EXTENSION_MEMBER = _EXTENSION_MEMBER


def encode_request(identifier: int, request: rq.Request) -> bytes:
    """Return the stream message of a request."""
    member = _WRITE_MEMBERS.get(type(request))
    if member is not None:
        assert isinstance(request, rq.AppendEvent | rq.PatchEvent | rq.CreateAggregate)
        plain = request.expected_version is None and request.idempotency_key is None
        if plain and not request.publish_targets:
            return _flat_write(identifier, member, request)
    if type(request) is rq.GetAggregate:
        return _flat_get(identifier, request)
    if type(request) is rq.CommitBatch:
        return _batch(identifier, request)
    return _through_schema(identifier, request)


def encode_hello(token: str, tenant: str | None, *, no_noise: bool) -> bytes:
    """Return the hello of a session."""
    hello = load("control").ControlHello.new_message()
    hello.protocolVersion = 1
    hello.token = token
    hello.tenantId = tenant or ""
    hello.noNoise = no_noise
    return bytes(hello.to_bytes())


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
    identifier, member, body = read_control_message(raw)
    words = tuple(body.word(index) for index in range(body.words))
    if member == _EXTENSION_MEMBER:
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


# One event and one aggregate, joined from bytes.


def _flat_write(
    identifier: int, member: int, request: rq.AppendEvent | rq.PatchEvent | rq.CreateAggregate
) -> bytes:
    note, metadata = request.note, request.metadata
    flags = (note is not None) | (metadata is not None) << 1
    texts = (
        request.token,
        request.aggregate_type,
        request.aggregate_id,
        request.event_type,
        request.content or "",
        note or "",
        metadata or "",
    )
    return control_message(identifier, member, (flags,), (*map(str.encode, texts), None))


def _flat_get(identifier: int, request: rq.GetAggregate) -> bytes:
    depth = request.resolve_depth
    word = request.resolve | (depth is not None) << 1 | (depth or 0) << 32
    texts = request.aggregate_type, request.aggregate_id, request.token
    return control_message(identifier, 1, (word,), tuple(map(str.encode, texts)))


# A batch, joined from bytes.

_U64 = Packing("<Q")
_TAG = Packing("<QQ")
_WRITE_WORDS, _WRITE_POINTERS = 1, 7
_OPTION_WORDS, _OPTION_POINTERS = 2, 1


class _Arena:
    """One segment that grows: structs, lists of structs and texts behind their pointers."""

    def __init__(self) -> None:
        self.data = bytearray(8)

    def struct(self, at: int, words: int, pointers: int) -> int:
        """Append a struct that the pointer at a byte offset leads to; return where it begins."""
        place = len(self.data)
        offset = (place - at - 8) >> 3
        _U64.pack_into(self.data, at, offset << 2 | words << 32 | pointers << 48)
        self.data += bytes(8 * (words + pointers))
        return place

    def structs(self, at: int, count: int, words: int, pointers: int) -> int:
        """Append a list of structs; return where the first one begins."""
        place = len(self.data)
        size = words + pointers
        offset = (place - at - 8) >> 3
        _U64.pack_into(self.data, at, offset << 2 | 1 | 7 << 32 | count * size << 35)
        self.data += _U64.pack(count << 2 | words << 32 | pointers << 48)
        self.data += bytes(8 * size * count)
        return place + 8

    def text(self, at: int, text: bytes) -> None:
        """Append a text, unless it is empty: a null pointer reads the same."""
        if text:
            offset = (len(self.data) - at - 8) >> 3
            _U64.pack_into(self.data, at, offset << 2 | 1 | 2 << 32 | (len(text) + 1) << 35)
            self.data += text
            self.data += bytes(8 - (len(text) & 7))

    def message(self) -> bytes:
        """Return the stream message."""
        return bytes(4) + (len(self.data) >> 3).to_bytes(4, "little") + bytes(self.data)


def _batch(identifier: int, request: rq.CommitBatch) -> bytes:
    arena = _Arena()
    root = arena.struct(0, 2, 1)
    _TAG.pack_into(arena.data, root, identifier, _EXTENSION_MEMBER)
    extension = arena.struct(root + 16, 1, 2)
    _U64.pack_into(arena.data, extension, 1)
    arena.text(extension + 8, request.token.encode())
    batch = arena.struct(extension + 16, 1, 2)
    _U64.pack_into(arena.data, batch, _ANSWERS[request.answer])
    arena.text(batch + 16, (request.idempotency_key or "").encode())
    place = arena.structs(batch + 8, len(request.writes), _WRITE_WORDS, _WRITE_POINTERS)
    for write in request.writes:
        _batch_write(arena, place, write)
        place += 8 * (_WRITE_WORDS + _WRITE_POINTERS)
    return arena.message()


def _as_bytes(text: str | bytes | None) -> bytes:
    if text is None:
        return b""
    return text if isinstance(text, bytes) else text.encode()


def _batch_write(arena: _Arena, place: int, write: Write) -> None:
    word = _KINDS[write.kind] | (write.note is not None) << 16
    _U64.pack_into(arena.data, place, word)
    texts = (
        write.aggregate_type.encode(),
        write.aggregate_id.encode(),
        write.event_type.encode(),
        _as_bytes(write.content),
        _as_bytes(write.metadata),
        _as_bytes(write.note),
    )
    at = place + 8
    for text in texts:
        arena.text(at, text)
        at += 8
    if write.expected_version is not None or write.idempotency_key is not None:
        options = arena.struct(at, _OPTION_WORDS, _OPTION_POINTERS)
        has, version = write.expected_version is not None, write.expected_version or 0
        _TAG.pack_into(arena.data, options, has, version)
        arena.text(options + 16, _as_bytes(write.idempotency_key))


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


def _list_events(body: Any, request: rq.ListEvents) -> None:
    _named(body, request)
    _optional(body, "cursor", "hasCursor", request.cursor)
    _optional(body, "take", "hasTake", request.take)
    _optional(body, "filter", "hasFilter", request.filter)


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
        if request.expected_version is not None or request.idempotency_key is not None:
            options = body.init("options")
            _optional(options, "expectedVersion", "hasExpectedVersion", request.expected_version)
            options.idempotencyKey = request.idempotency_key or ""

    return fill


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


def _read_aggregate(body: Any, request: rq.ReadAggregate) -> None:
    body.token = request.token
    inner = body.init("readAggregate")
    inner.aggregateType = request.aggregate_type
    inner.aggregateId = request.aggregate_id
    if request.version is not None:
        inner.at.version = request.version
    elif request.time_ns is not None:
        inner.at.timeNs = request.time_ns
    inner.includeEvents = request.include_events


def _scan(member: str) -> Callable[[Any, Any], None]:
    def fill(body: Any, request: rq.ScanAggregates | rq.ScanEvents) -> None:
        body.token = request.token
        inner = body.init(member)
        inner.aggregateType = request.aggregate_type or ""
        if isinstance(request, rq.ScanEvents):
            inner.aggregateId = request.aggregate_id or ""
            inner.eventId = request.event_id or 0
        inner.cursor = request.cursor or ""
        inner.skip = request.skip
        inner.take = request.take
        inner.filter = request.filter or ""
        inner.sort = request.sort or ""
        inner.scope = request.scope or ""

    return fill


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


@cache
def _builders() -> dict[type, tuple[str, Callable[[Any, Any], None]]]:
    return {
        rq.ListAggregates: ("listAggregates", _list_aggregates),
        rq.ListEvents: ("listEvents", _list_events),
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
        rq.ReadAggregate: ("extension", _read_aggregate),
        rq.ScanAggregates: ("extension", _scan("scanAggregates")),
        rq.ScanEvents: ("extension", _scan("scanEvents")),
        rq.Verify: ("extension", _verify),
        rq.Status: ("extension", _status),
    }
