"""What a client can call, once for all clients: method to request, answer to result.

The two clients (:mod:`eventdbx.surfaces.control.blocking` and
:mod:`eventdbx.surfaces.control.client`) differ only in how they wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from eventdbx import errors
from eventdbx.domain.commands import PublishTarget, Write, WriteKind
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import Rejected
from eventdbx.wire.codec_client import ERROR_MEMBER, Reply

T = TypeVar("T", covariant=True)
list_ = list
"""The built-in, where the method of that name hides it."""

_ERRORS: dict[str, type[errors.EventDBXError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidToken,
        errors.TokenExpired,
        errors.TokenLimitReached,
        errors.Unauthorized,
        errors.AggregateNotFound,
        errors.AggregateArchived,
        errors.SchemaExists,
        errors.SchemaNotFound,
        errors.InvalidSchema,
        errors.SchemaViolation,
        errors.InvalidCursor,
        errors.ConfigError,
        errors.StorageError,
        errors.IoError,
        errors.SerializationError,
        errors.TenantQuota,
        errors.ReplicationConflict,
    )
}


_ONE_FRAME_CHARACTERS = 16_000
"""Content and metadata up to this length surely fit a frame, even four bytes a character."""

_LARGE: dict[type, tuple[WriteKind, str]] = {
    rq.AppendEvent: ("append", "events"),
    rq.PatchEvent: ("patch", "events"),
    rq.CreateAggregate: ("create", "aggregates"),
}


def sends_token() -> bool:
    """Tell whether the environment wants tokens to be sent in hellos: EVENTDBX_SEND_TOKEN."""
    word = os.environ.get("EVENTDBX_SEND_TOKEN", "").strip().lower()
    return word in ("1", "true", "yes", "on")


def rejection(rejected: Rejected) -> errors.ConfigError:
    """Return the error of a session that the server refuses."""
    return errors.ConfigError(f"control handshake rejected: {rejected.message}")


class Call(NamedTuple, Generic[T]):
    """A request, and what makes its result out of the answer."""

    request: rq.Request
    result: Callable[[Reply], T]


class Listed(NamedTuple):
    """One page: JSON objects, and the cursor of the next page or None."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class OutboxRead(NamedTuple):
    """Events in commit order, and the id to go on after (None: nothing was there)."""

    items: list[dict[str, Any]]
    next_after: int | None


class Followed(NamedTuple):
    """Events of the log, each with its ``position``, the token to go on with, and whether there
    was more already."""

    events: list[dict[str, Any]]
    next: str
    more: bool


class Waited(NamedTuple):
    """What became of an event at a plugin (``delivered``, ``dead``, ``timeout``), and why."""

    outcome: str
    reason: str


def result_of(call: Call[T], reply: Reply) -> T:
    """Return the result of an answered call; raise the error that the server answered with."""
    if reply.member == ERROR_MEMBER:
        raise error_of(*reply.texts[:3])
    return call.result(reply)


def error_of(code: bytes, text: bytes, details: bytes = b"") -> errors.EventDBXError:
    """Return the exception for an error answer; its text is exactly the server's message."""
    message = text.decode()
    kind = _ERRORS.get(code.decode(), errors.StorageError)
    detail = message.removeprefix(kind.prefix)
    more = orjson.loads(details) if details else {}
    if "violations" in more:
        error: errors.EventDBXError = errors.ContractViolation(detail, more["violations"])
    else:
        error = kind(detail)
    error.args = (message,)
    error.write = more.get("write")
    return error


def _json(reply: Reply) -> Any:
    text = reply.texts[0]
    return orjson.loads(text) if text else None


def _page(reply: Reply) -> Listed:
    has_cursor = reply.words[0] & 1
    return Listed(orjson.loads(reply.texts[0]), reply.texts[1].decode() if has_cursor else None)


def _found(reply: Reply) -> Any:
    return orjson.loads(reply.texts[0]) if reply.words[0] & 1 else None


def _outbox(reply: Reply) -> OutboxRead:
    after = reply.words[0] if reply.words[1] & 1 else None
    return OutboxRead(orjson.loads(reply.texts[0]), after)


def _changed(reply: Reply) -> bool:
    return reply.words[0] & 1 != 0


def _text(reply: Reply) -> str:
    return reply.texts[0].decode()


def as_json(value: Any) -> str:
    """Return a JSON text: texts and bytes are taken to be JSON already."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    return orjson.dumps(value).decode()


class Calls:
    """Every operation as a :class:`Call`; ``token`` authorises each of them."""

    def __init__(self, token: str) -> None:
        self._token = token

    def write(
        self,
        kind: type[rq.AppendEvent] | type[rq.CreateAggregate] | type[rq.PatchEvent],
        aggregate_type: str,
        aggregate_id: str,
        event_type: str,
        content: Any,
        *,
        metadata: Any = None,
        note: str | None = None,
        publish: Sequence[PublishTarget] = (),
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        receipt: bool = False,
    ) -> Call[dict[str, Any] | None]:
        """One event: the answer is the event, for a creation the aggregate.

        With a ``receipt`` it also has the text of a tlog-proof, or null and ``receipt_problem``.
        """
        text = as_json(content)
        extra = None if metadata is None else as_json(metadata)
        if receipt or len(text) + len(extra or "") > _ONE_FRAME_CHARACTERS:
            # The answer would not fit a frame; that of a batch may have any length.
            kind_name, answer = _LARGE[kind]
            write = Write(
                kind_name, aggregate_type, aggregate_id, event_type, text, extra, note,
                tuple(publish), expected_version, idempotency_key, receipt,
            )  # fmt: skip
            batch = self.commit_batch((write,), answer=answer)
            return Call(batch.request, lambda reply: batch.result(reply)[0])
        request = kind(
            self._token,
            aggregate_type,
            aggregate_id,
            event_type,
            text,
            note,
            extra,
            tuple(publish) or None,
            expected_version,
            idempotency_key,
        )
        return Call(request, _json)

    def apply(
        self,
        aggregate_type: str,
        aggregate_id: str,
        event_type: str,
        content: Any,
        *,
        metadata: Any = None,
        note: str | None = None,
        publish: Sequence[PublishTarget] = (),
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        receipt: bool = False,
    ) -> Call[dict[str, Any]]:
        """One event of an aggregate that must exist: the published requests cannot say that."""
        extra = None if metadata is None else as_json(metadata)
        write = Write(
            "apply", aggregate_type, aggregate_id, event_type, as_json(content), extra, note,
            tuple(publish), expected_version, idempotency_key, receipt,
        )  # fmt: skip
        batch = self.commit_batch((write,), answer="events")
        return Call(batch.request, lambda reply: batch.result(reply)[0])

    def get(self, aggregate_type: str, aggregate_id: str) -> Call[dict[str, Any] | None]:
        """One aggregate, or None."""
        return Call(rq.GetAggregate(self._token, aggregate_type, aggregate_id), _found)

    def select(
        self, aggregate_type: str, aggregate_id: str, fields: Sequence[str]
    ) -> Call[dict[str, Any] | None]:
        """Values at dotted paths of the state, or None without such an aggregate."""
        request = rq.SelectAggregate(self._token, aggregate_type, aggregate_id, tuple(fields))
        return Call(request, _found)

    def list(self, **options: Any) -> Call[Listed]:
        """A page of aggregates; options are the fields of ``requests.ListAggregates``."""
        return Call(rq.ListAggregates(self._token, **options), _page)

    def events(self, aggregate_type: str, aggregate_id: str, **options: Any) -> Call[Listed]:
        """A page of an aggregate's events; options are cursor, take and filter."""
        return Call(rq.ListEvents(self._token, aggregate_type, aggregate_id, **options), _page)

    def verify(self, aggregate_type: str, aggregate_id: str) -> Call[str]:
        """The recomputed Merkle root."""
        return Call(rq.VerifyAggregate(aggregate_type, aggregate_id), _text)

    def set_archive(
        self, aggregate_type: str, aggregate_id: str, archived: bool, note: str | None
    ) -> Call[dict[str, Any] | None]:
        """Archive or restore: the answer is the aggregate."""
        request = rq.SetAggregateArchive(self._token, aggregate_type, aggregate_id, archived, note)
        return Call(request, _json)

    def snapshot(
        self, aggregate_type: str, aggregate_id: str, comment: str | None
    ) -> Call[dict[str, Any]]:
        """Keep the present state: the answer is the snapshot."""
        return Call(rq.CreateSnapshot(self._token, aggregate_type, aggregate_id, comment), _json)

    def snapshots(
        self, aggregate_type: str | None, aggregate_id: str | None, version: int | None
    ) -> Call[list_[dict[str, Any]]]:
        """Snapshots, optionally of a type, an aggregate, a version."""
        return Call(rq.ListSnapshots(self._token, aggregate_type, aggregate_id, version), _json)

    def snapshot_get(self, snapshot_id: int) -> Call[dict[str, Any] | None]:
        """One snapshot, or None."""
        return Call(rq.GetSnapshot(self._token, snapshot_id), _found)

    def referrers(self, aggregate_type: str, aggregate_id: str) -> Call[list_[dict[str, Any]]]:
        """Who refers to an aggregate."""
        return Call(rq.ListReferrers(self._token, aggregate_type, aggregate_id), _json)

    def outbox(self, after_event_id: int | None, take: int | None) -> Call[OutboxRead]:
        """Events after an id, in commit order."""
        return Call(rq.ReadOutbox(self._token, after_event_id, take), _outbox)

    def commit_batch(
        self, writes: Sequence[Write], *, idempotency_key: str | None = None, answer: str
    ) -> Call[list_[dict[str, Any]]]:
        """Several writes, all or none."""
        request = rq.CommitBatch(self._token, tuple(writes), idempotency_key, answer)
        return Call(request, _json)

    def aggregate_at(
        self, aggregate_type: str, aggregate_id: str, **options: Any
    ) -> Call[dict[str, Any]]:
        """``{"aggregate", "events"?}`` at a version or time; options as ReadAggregate's fields."""
        return Call(rq.ReadAggregate(self._token, aggregate_type, aggregate_id, **options), _json)

    def scan_aggregates(self, **options: Any) -> Call[Listed]:
        """A page of aggregates by every means; options are the fields of ScanAggregates."""
        return Call(rq.ScanAggregates(self._token, **options), _scanned)

    def scan_events(self, **options: Any) -> Call[Listed]:
        """A page of events by every means; options are the fields of ScanEvents."""
        return Call(rq.ScanEvents(self._token, **options), _scanned)

    def scan_referrers(
        self, aggregate_type: str, aggregate_id: str, cursor: str | None = None, take: int = 0
    ) -> Call[Listed]:
        """A page of who refers to an aggregate."""
        return Call(
            rq.ScanReferrers(self._token, aggregate_type, aggregate_id, cursor, take), _scanned
        )

    def verify_store(self, **options: Any) -> Call[dict[str, Any]]:
        """A report on some of the store; options are the fields of Verify."""
        return Call(rq.Verify(self._token, **options), _json)

    def schema(self, operation: dict[str, Any]) -> Call[dict[str, Any]]:
        """One operation on schemas: its document and its answer's are in docs/protocol.md.

        Raises SerializationError for a document that is none in JSON.
        """
        return Call(rq.SchemaOperation(self._token, _operation(operation)), _json)

    def plugins(self, operation: dict[str, Any]) -> Call[dict[str, Any]]:
        """One operation on plugins or their queue, as docs/protocol.md lists them.

        Raises SerializationError for a document that is none in JSON.
        """
        return Call(rq.PluginOperation(self._token, _operation(operation)), _json)

    def administer(self, operation: dict[str, Any]) -> Call[dict[str, Any]]:
        """One operation on the installation, as docs/protocol.md lists them."""
        return Call(rq.AdminOperation(self._token, _operation(operation)), _json)

    def integrity(self, operation: dict[str, Any]) -> Call[dict[str, Any]]:
        """One operation on proofs and what stands behind them, as docs/protocol.md lists them."""
        return Call(rq.IntegrityOperation(self._token, _operation(operation)), _json)

    def staging(self, operation: dict[str, Any]) -> Call[dict[str, Any]]:
        """One operation on events that are staged, as docs/protocol.md lists them.

        Raises SerializationError for a document that is none in JSON.
        """
        return Call(rq.StagingOperation(self._token, _operation(operation)), _json)

    def tenants(self) -> Call[dict[str, Any]]:
        """The records of tenants, by name, and how many shards there are."""
        return self.administer({"do": "tenants"})

    def tenant_assign(self, tenant: str, shard: str) -> Call[tuple[bool, str]]:
        """The shard of a tenant: whether it is another one now, and its label."""
        request = rq.TenantAssign(self._token, tenant, shard)
        return Call(request, lambda reply: (_changed(reply), _text(reply)))

    def tenant_unassign(self, tenant: str) -> Call[bool]:
        """No shard for a tenant: whether it had one."""
        return Call(rq.TenantUnassign(self._token, tenant), _changed)

    def tenant_quota_set(self, tenant: str, quota_mib: int) -> Call[bool]:
        """How many MiB a tenant may store, 0 for no writes: whether that is new."""
        return Call(rq.TenantQuotaSet(self._token, tenant, quota_mib), _changed)

    def tenant_quota_clear(self, tenant: str) -> Call[bool]:
        """No quota for a tenant: whether it had one."""
        return Call(rq.TenantQuotaClear(self._token, tenant), _changed)

    def tenant_quota_recalc(self, tenant: str) -> Call[int]:
        """How many bytes the store of a tenant holds, measured now."""
        return Call(rq.TenantQuotaRecalc(self._token, tenant), lambda reply: reply.words[0])

    def tenant_reload(self, tenant: str) -> Call[bool]:
        """Have the server look at the schemas of a tenant once more."""
        return Call(rq.TenantReload(self._token, tenant), _changed)

    def wait_for(
        self, plugin: str, *, position: str | None, event_id: int | str | None, timeout_s: float
    ) -> Call[Waited]:
        """Until a plugin has an event, or all up to a position; all there is without either."""
        operation: dict[str, Any] = {"do": "wait", "name": plugin}
        if event_id is not None:
            operation["event_id"] = int(event_id)
        else:
            operation["position"] = "end" if position is None else position
        operation["timeout_ms"] = max(0, int(timeout_s * 1000))
        call = self.plugins(operation)
        return Call(call.request, lambda reply: _waited(call.result(reply)))

    def follow(self, after: str, **options: Any) -> Call[Followed]:
        """A page of the log behind a place; options are the fields of ``requests.Follow``."""
        return Call(rq.Follow(self._token, after, **options), _followed)

    def status(self) -> Call[dict[str, Any]]:
        """How the server is doing."""
        return Call(rq.Status(self._token), _json)


def _followed(reply: Reply) -> Followed:
    document = orjson.loads(reply.texts[0])
    return Followed(document["events"], document["next"], document["more"])


def _waited(document: dict[str, Any]) -> Waited:
    return Waited(document["outcome"], document["reason"])


def _operation(operation: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(operation)
    except TypeError as error:
        raise errors.SerializationError(f"operation cannot be encoded: {error}") from None


def _scanned(reply: Reply) -> Listed:
    document = orjson.loads(reply.texts[0])
    return Listed(document["items"], document["next_cursor"])
