"""Requests of the control protocol as values.

Texts are as sent. One that the protocol allows to be missing is None when its flag is off and,
for cursors, filters, sorts, JSON contents and comments, when it is blank. What a request does
is decided elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.errors import EventDBXError


class ListAggregates(NamedTuple):
    """A page of aggregates.

    The first generation counts with ``skip`` (None from others) and sorts by ``sort_keys``
    (field, descending); later ones have ``cursor`` and ``sort``.
    """

    token: str = ""
    cursor: str | None = None
    take: int | None = None
    filter: str | None = None
    sort: str | None = None
    include_archived: bool = False
    archived_only: bool = False
    resolve: bool = False
    resolve_depth: int | None = None
    skip: int | None = None
    sort_keys: tuple[tuple[str, bool], ...] | None = None


class GetAggregate(NamedTuple):
    """One aggregate as it is now."""

    token: str
    aggregate_type: str
    aggregate_id: str
    resolve: bool = False
    resolve_depth: int | None = None


class ListEvents(NamedTuple):
    """A page of one aggregate's events; ``skip`` is None from all but the first generation."""

    token: str
    aggregate_type: str
    aggregate_id: str
    cursor: str | None = None
    take: int | None = None
    filter: str | None = None
    skip: int | None = None


class AppendEvent(NamedTuple):
    """One more event; ``content`` is the payload. ``expected_version`` 0: must not exist."""

    token: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    content: str | None
    note: str | None = None
    metadata: str | None = None
    publish_targets: tuple[PublishTarget, ...] | None = None
    expected_version: int | None = None
    idempotency_key: str | None = None
    receipt: bool = False


class CreateAggregate(NamedTuple):
    """The first event of a new aggregate; ``content`` is the payload."""

    token: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    content: str | None
    note: str | None = None
    metadata: str | None = None
    publish_targets: tuple[PublishTarget, ...] | None = None
    expected_version: int | None = None
    idempotency_key: str | None = None
    receipt: bool = False


class PatchEvent(NamedTuple):
    """One more event whose payload is computed; ``content`` is the JSON Patch."""

    token: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    content: str | None
    note: str | None = None
    metadata: str | None = None
    publish_targets: tuple[PublishTarget, ...] | None = None
    expected_version: int | None = None
    idempotency_key: str | None = None
    receipt: bool = False


class VerifyAggregate(NamedTuple):
    """Recompute one aggregate's hashes; the only request without a token of its own."""

    aggregate_type: str
    aggregate_id: str


class SelectAggregate(NamedTuple):
    """Some values of one aggregate's state, by dotted paths."""

    token: str
    aggregate_type: str
    aggregate_id: str
    fields: tuple[str, ...]


class SetAggregateArchive(NamedTuple):
    """Archive an aggregate, or restore it."""

    token: str
    aggregate_type: str
    aggregate_id: str
    archived: bool
    note: str | None = None


class CreateSnapshot(NamedTuple):
    """Keep the state of an aggregate as it is now."""

    token: str
    aggregate_type: str
    aggregate_id: str
    comment: str | None = None


class ListSnapshots(NamedTuple):
    """Snapshots of all, of a type, or of one aggregate."""

    token: str
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    version: int | None = None


class GetSnapshot(NamedTuple):
    """One snapshot by its id."""

    token: str
    snapshot_id: int


class ListReferrers(NamedTuple):
    """Aggregates that refer to one."""

    token: str
    aggregate_type: str
    aggregate_id: str


class ReadOutbox(NamedTuple):
    """Events of the whole domain in commit order."""

    token: str
    after_event_id: int | None = None
    take: int | None = None


# Schemas and tenants.


class ListSchemas(NamedTuple):
    """All schemas."""

    token: str


class ReplaceSchemas(NamedTuple):
    """A new set of schemas."""

    token: str
    schemas: str


class TenantAssign(NamedTuple):
    """Record the shard of a tenant."""

    token: str
    tenant: str
    shard: str


class TenantUnassign(NamedTuple):
    """Forget the shard of a tenant."""

    token: str
    tenant: str


class TenantQuotaSet(NamedTuple):
    """Limit the storage of a tenant, in MiB."""

    token: str
    tenant: str
    storage_mib_max: int


class TenantQuotaClear(NamedTuple):
    """Lift the limit."""

    token: str
    tenant: str


class TenantQuotaRecalc(NamedTuple):
    """Measure the storage of a tenant."""

    token: str
    tenant: str


class TenantReload(NamedTuple):
    """Open a tenant's store anew."""

    token: str
    tenant: str


class TenantSchemaPublish(NamedTuple):
    """Keep a tenant's schemas as a version."""

    token: str
    tenant: str
    reason: str | None = None
    actor: str | None = None
    labels: tuple[str, ...] = ()
    activate: bool = False
    force: bool = False
    reload: bool = False


# Extensions.


class CommitBatch(NamedTuple):
    """Several writes in one commit, all or none.

    ``answer`` is what comes back for each: "receipts", "events", "aggregates" or "proofs".
    """

    token: str
    writes: tuple[Write, ...]
    idempotency_key: str | None = None
    answer: str = "receipts"


class ReadAggregate(NamedTuple):
    """One aggregate now, at a version, or at a time (nanoseconds since the Unix epoch).

    ``raw`` asks for the payloads of its events as they were written.
    """

    token: str
    aggregate_type: str
    aggregate_id: str
    version: int | None = None
    time_ns: int | None = None
    include_events: bool = False
    resolve: bool = False
    resolve_depth: int | None = None
    raw: bool = False


class ScanAggregates(NamedTuple):
    """A page of aggregates of one type or of all; ``take`` 0 leaves the size to the server."""

    token: str
    aggregate_type: str | None = None
    cursor: str | None = None
    skip: int = 0
    take: int = 0
    filter: str | None = None
    sort: str | None = None
    scope: str | None = None
    resolve: bool = False
    resolve_depth: int | None = None


class ScanEvents(NamedTuple):
    """A page of events of one aggregate, of a type or of all; or the one with an id.

    ``raw`` asks for payloads as they were written, not as they read at the current revision.
    """

    token: str
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    event_id: int | None = None
    cursor: str | None = None
    skip: int = 0
    take: int = 0
    filter: str | None = None
    sort: str | None = None
    scope: str | None = None
    raw: bool = False


class ScanReferrers(NamedTuple):
    """A page of who refers to an aggregate."""

    token: str
    aggregate_type: str
    aggregate_id: str
    cursor: str | None = None
    take: int = 0


class Verify(NamedTuple):
    """Check one aggregate, or ``budget`` of all of them (0: as the server likes)."""

    token: str
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    after: str | None = None
    budget: int = 0


class Status(NamedTuple):
    """What the server says about itself."""

    token: str


class SchemaOperation(NamedTuple):
    """One operation on schemas, as a JSON document."""

    token: str
    json: bytes


class PluginOperation(NamedTuple):
    """One operation on plugins or what waits for them, as a JSON document."""

    token: str
    json: bytes


class AdminOperation(NamedTuple):
    """One operation on the installation, as a JSON document."""

    token: str
    json: bytes


class IntegrityOperation(NamedTuple):
    """One operation on proofs and what stands behind them, as a JSON document."""

    token: str
    json: bytes


class StagingOperation(NamedTuple):
    """One operation on events that are staged, as a JSON document."""

    token: str
    json: bytes


class Follow(NamedTuple):
    """Events of the commit log behind a place, waiting for some if there are none."""

    token: str
    after: str = ""
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    filter: str | None = None
    take: int = 0
    wait_ms: int = 0
    raw: bool = False


class Unreadable(NamedTuple):
    """A request that has an id but no meaning; to be answered with the error."""

    error: EventDBXError


Request = (
    ListAggregates
    | GetAggregate
    | ListEvents
    | AppendEvent
    | CreateAggregate
    | PatchEvent
    | VerifyAggregate
    | SelectAggregate
    | SetAggregateArchive
    | CreateSnapshot
    | ListSnapshots
    | GetSnapshot
    | ListReferrers
    | ReadOutbox
    | ListSchemas
    | ReplaceSchemas
    | TenantAssign
    | TenantUnassign
    | TenantQuotaSet
    | TenantQuotaClear
    | TenantQuotaRecalc
    | TenantReload
    | TenantSchemaPublish
    | CommitBatch
    | ReadAggregate
    | ScanAggregates
    | ScanEvents
    | ScanReferrers
    | Verify
    | Status
    | SchemaOperation
    | PluginOperation
    | Follow
    | AdminOperation
    | IntegrityOperation
    | StagingOperation
    | Unreadable
)

WRITES: frozenset[type] = frozenset(
    {AppendEvent, CreateAggregate, PatchEvent, SetAggregateArchive, CreateSnapshot, CommitBatch}
)
"""Requests that change aggregates; those that follow each other may share a commit."""

SCHEMA_AND_TENANT: frozenset[type] = frozenset(
    {
        ListSchemas,
        ReplaceSchemas,
        TenantAssign,
        TenantUnassign,
        TenantQuotaSet,
        TenantQuotaClear,
        TenantQuotaRecalc,
        TenantReload,
        TenantSchemaPublish,
    }
)
"""The administrative requests."""
