"""From Cap'n Proto messages to requests.

One table maps the members of the request union to what reads them. Generations of clients that
disagree about a member are told apart by the size of its struct (docs/protocol.md). How messages
are cut and pointers followed is in :mod:`eventdbx.wire.pointers`; the hello and our own extensions
have codecs of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from eventdbx.domain.commands import PublishTarget
from eventdbx.errors import EventDBXError, InvalidSchema
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_extensions import (
    Decoded,
    decode_extension,
    nonblank,
    unknown_member,
    write_options,
)
from eventdbx.wire.pointers import Struct, control_message

WriteRequest = TypeVar("WriteRequest", rq.AppendEvent, rq.CreateAggregate, rq.PatchEvent)


# Reads.

_LIST = ("cursor", "filter", "sort", "token")
_LIST_G1 = ("filter", "sort", "token")
_SORT_FIELDS = ("aggregate_type", "aggregate_id", "version", "merkle_root", "archived")


def _list_aggregates(body: Struct) -> rq.ListAggregates:
    if body.words == 3:
        return _list_aggregates_g1(body)
    cursor, text_filter, sort, token = body.texts(_LIST)
    flags = body.word(0)
    return rq.ListAggregates(
        token,
        nonblank(cursor) if flags & 1 else None,
        body.word(1) if flags & 2 else None,
        nonblank(text_filter) if flags & 4 else None,
        nonblank(sort) if flags & 8 else None,
        flags & 16 != 0,
        flags & 32 != 0,
        flags & 64 != 0,
        flags >> 32 if flags & 128 else None,
    )


def _list_aggregates_g1(body: Struct) -> rq.ListAggregates:
    """Read the first generation's form: skip and take, sort keys as structs."""
    text_filter = body.text(0, "filter")
    token = body.text(2, "token")
    flags = body.word(2)
    sort_keys = None
    if flags & 4:
        sort_keys = tuple(_sort_key(key.word(0)) for key in body.structs(1))
    return rq.ListAggregates(
        token,
        take=body.word(1) if flags & 1 else None,
        filter=nonblank(text_filter) if flags & 2 else None,
        include_archived=flags & 8 != 0,
        archived_only=flags & 16 != 0,
        skip=body.word(0),
        sort_keys=sort_keys,
    )


def _sort_key(word: int) -> tuple[str, bool]:
    field = word & 0xFFFF
    if field >= len(_SORT_FIELDS):
        raise InvalidSchema(f"unknown aggregate sort field value: {field}")
    return _SORT_FIELDS[field], word >> 16 & 1 != 0


_GET = ("aggregate_type", "aggregate_id", "token")


def _get_aggregate(body: Struct) -> rq.GetAggregate:
    aggregate_type, aggregate_id, token = body.texts(_GET)
    flags = body.word(0)
    depth = flags >> 32 if flags & 2 else None
    return rq.GetAggregate(token, aggregate_type, aggregate_id, flags & 1 != 0, depth)


_EVENTS = ("aggregate_type", "aggregate_id", "cursor", "filter", "token")
_EVENTS_G1 = ("aggregate_type", "aggregate_id", "filter", "token")


def _list_events(body: Struct) -> rq.ListEvents:
    if body.words == 3:
        aggregate_type, aggregate_id, text_filter, token = body.texts(_EVENTS_G1)
        flags = body.word(2)
        return rq.ListEvents(
            token,
            aggregate_type,
            aggregate_id,
            None,
            body.word(1) if flags & 1 else None,
            nonblank(text_filter) if flags & 2 else None,
            body.word(0),
        )
    aggregate_type, aggregate_id, cursor, text_filter, token = body.texts(_EVENTS)
    flags = body.word(0)
    return rq.ListEvents(
        token,
        aggregate_type,
        aggregate_id,
        nonblank(cursor) if flags & 1 else None,
        body.word(1) if flags & 2 else None,
        nonblank(text_filter) if flags & 4 else None,
    )


_SELECT = ("aggregate_type", "aggregate_id")


def _select_aggregate(body: Struct) -> rq.SelectAggregate:
    aggregate_type, aggregate_id = body.texts(_SELECT)
    fields = body.text_list(2, "fields")
    return rq.SelectAggregate(body.text(3, "token"), aggregate_type, aggregate_id, fields)


def _verify_aggregate(body: Struct) -> rq.VerifyAggregate:
    return rq.VerifyAggregate(*body.texts(_SELECT))


_NAMED = ("token", "aggregate_type", "aggregate_id")


def _list_referrers(body: Struct) -> rq.ListReferrers:
    return rq.ListReferrers(*body.texts(_NAMED))


def _read_outbox(body: Struct) -> rq.ReadOutbox:
    flags = body.word(1)
    after = body.word(0) if flags & 1 else None
    return rq.ReadOutbox(body.text(0, "token"), after, body.word(2) if flags & 2 else None)


# Writes.

_CONTENT = ("token", "aggregate_type", "aggregate_id", "event_type", "payload_json", "note")
_WRITE = (*_CONTENT, "metadata_json")
_PATCH = tuple("patch_json" if name == "payload_json" else name for name in _WRITE)
_TARGET = ("plugin", "mode", "priority")


def _writing(kind: type[WriteRequest], fields: tuple[str, ...]) -> Callable[[Struct], WriteRequest]:
    def read(body: Struct) -> WriteRequest:
        token, aggregate_type, aggregate_id, event_type, content, note, metadata = body.texts(
            fields
        )
        flags = body.word(0)
        targets: tuple[PublishTarget, ...] | None = None
        expected: int | None = None
        key: str | None = None
        receipt = False
        if flags & 4:
            targets = tuple(_publish_target(target) for target in body.structs(7))
        if body.pointers > 8:
            expected, key, receipt = write_options(body.struct(8))
        make: Callable[..., WriteRequest] = kind
        return make(
            token,
            aggregate_type,
            aggregate_id,
            event_type,
            content.strip() or None,
            note if flags & 1 else None,
            (metadata.strip() or None) if flags & 2 else None,
            targets,
            expected,
            key,
            receipt,
        )

    return read


def _publish_target(target: Struct) -> PublishTarget:
    plugin, mode, priority = target.texts(_TARGET)
    flags = target.word(0)
    return PublishTarget(plugin, mode if flags & 1 else None, priority if flags & 2 else None)


def _write_hello_less(body: Struct) -> rq.AppendEvent | rq.PatchEvent:
    """Read an append of the generation without hello: payload or patch, whichever is there."""
    token, aggregate_type, aggregate_id, event_type, payload, patch, note, metadata = body.texts(
        (*_CONTENT[:5], "patch_json", "note", "metadata_json")
    )
    flags = body.word(0)
    kind = rq.PatchEvent if patch.strip() else rq.AppendEvent
    return kind(
        token,
        aggregate_type,
        aggregate_id,
        event_type,
        nonblank(patch) or nonblank(payload),
        note if flags & 1 else None,
        nonblank(metadata) if flags & 2 else None,
    )


_ARCHIVE = (*_NAMED, "note")


def _set_aggregate_archive(body: Struct) -> rq.SetAggregateArchive:
    token, aggregate_type, aggregate_id, note = body.texts(_ARCHIVE)
    flags = body.word(0)
    return rq.SetAggregateArchive(
        token, aggregate_type, aggregate_id, flags & 1 != 0, nonblank(note) if flags & 2 else None
    )


# Snapshots.

_SNAPSHOT = (*_NAMED, "comment")


def _create_snapshot(body: Struct) -> rq.CreateSnapshot:
    token, aggregate_type, aggregate_id, comment = body.texts(_SNAPSHOT)
    return rq.CreateSnapshot(
        token, aggregate_type, aggregate_id, nonblank(comment) if body.word(0) & 1 else None
    )


def _list_snapshots(body: Struct) -> rq.ListSnapshots:
    token, aggregate_type, aggregate_id = body.texts(_NAMED)
    flags = body.word(0)
    return rq.ListSnapshots(
        token,
        nonblank(aggregate_type) if flags & 1 else None,
        nonblank(aggregate_id) if flags & 2 else None,
        body.word(1) if flags & 4 else None,
    )


def _get_snapshot(body: Struct) -> rq.GetSnapshot:
    return rq.GetSnapshot(body.text(0, "token"), body.word(0))


# Schemas and tenants.

_TENANT = ("token", "tenant_id")


def _replace_schemas(body: Struct) -> rq.ReplaceSchemas:
    return rq.ReplaceSchemas(*body.texts(("token", "schemas_json")))


def _tenant_assign(body: Struct) -> rq.TenantAssign:
    return rq.TenantAssign(*body.texts((*_TENANT, "shard_id")))


def _tenant_quota_set(body: Struct) -> rq.TenantQuotaSet:
    token, tenant = body.texts(_TENANT)
    return rq.TenantQuotaSet(token, tenant, body.word(0))


def _tenant_schema_publish(body: Struct) -> rq.TenantSchemaPublish:
    token, tenant, reason, actor = body.texts((*_TENANT, "reason", "actor"))
    flags = body.word(0)
    return rq.TenantSchemaPublish(
        token,
        tenant,
        reason if flags & 1 else None,
        actor if flags & 2 else None,
        body.text_list(4, "labels"),
        flags & 4 != 0,
        flags & 8 != 0,
        flags & 16 != 0,
    )


_REQUESTS: dict[int, Callable[[Struct], Decoded]] = {
    0: _list_aggregates,
    1: _get_aggregate,
    2: _list_events,
    3: _writing(rq.AppendEvent, _WRITE),
    4: _verify_aggregate,
    5: _writing(rq.PatchEvent, _PATCH),
    6: _select_aggregate,
    7: _writing(rq.CreateAggregate, _WRITE),
    8: _set_aggregate_archive,
    9: lambda body: rq.ListSchemas(body.text(0, "token")),
    10: _replace_schemas,
    11: _tenant_assign,
    12: lambda body: rq.TenantUnassign(*body.texts(_TENANT)),
    13: _tenant_quota_set,
    14: lambda body: rq.TenantQuotaClear(*body.texts(_TENANT)),
    15: lambda body: rq.TenantQuotaRecalc(*body.texts(_TENANT)),
    16: lambda body: rq.TenantReload(*body.texts(_TENANT)),
    17: _tenant_schema_publish,
    18: _create_snapshot,
    19: _list_snapshots,
    20: _get_snapshot,
    21: _list_referrers,
    22: _read_outbox,
    23: decode_extension,
}

# One client numbers its snapshot operations where others have schemas and tenants. Its structs have
# data words, theirs have none; it wants the answer under the number that it asked with.
_COLLIDING: dict[int, Callable[[Struct], Decoded]] = {
    9: _create_snapshot,
    10: _list_snapshots,
    11: _get_snapshot,
}

_HELLO_LESS: dict[int, Callable[[Struct], Decoded]] = {
    **{member: _REQUESTS[member] for member in (0, 1, 2, 4)},
    3: _write_hello_less,
}


def decode_request(data: bytes, *, hello_less: bool = False) -> tuple[int, Decoded, int | None]:
    """Return a request's id, the request, and the union member its answer must use, if unusual.

    A request whose meaning is unknown is Unreadable. Raises MalformedMessage when the data are
    no control request.
    """
    identifier, member, body = control_message(data)
    reply = None
    if hello_less:
        read = _HELLO_LESS.get(member)
    elif member in _COLLIDING and body.words:
        read, reply = _COLLIDING[member], member
    else:
        read = _REQUESTS.get(member)
    if read is None:
        return identifier, rq.Unreadable(unknown_member(member)), None
    try:
        return identifier, read(body), reply
    except EventDBXError as error:
        return identifier, rq.Unreadable(error), None
