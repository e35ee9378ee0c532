# The control protocol: what clients ask and what the server answers.
#
# A published contract: the file id, every ordinal and every name stay as they are, because peers of
# many versions are in use. New fields and members go behind the last ordinal; what only EventDBX's
# own clients know is declared in ext.capnp and hangs off one pointer per struct or union.
#
# A text without a "has" field means "absent" when it is empty; with one the flag decides.

@0xc3d1ec2a1e3f5b26;

using Schema = import "schema.capnp";
using Ext = import "ext.capnp";

# First message of a connection, and its answer.

struct ControlHello {
  protocolVersion @0 :UInt16;   # 1
  token @1 :Text;               # opens the session and keys its encryption
  tenantId @2 :Text;            # empty: the active domain
  noNoise @3 :Bool;             # asks for a session without encryption
  tokenId @4 :Text;             # instead of the token: its jti; the key exchange proves the rest
}

struct ControlHelloResponse {
  accepted @0 :Bool;
  message @1 :Text;             # "ok", or why not
  noNoise @2 :Bool;             # whether the session goes on without encryption
}

# Every later message.

struct ControlRequest {
  id @0 :UInt64;                # chosen by the client, repeated in the answer
  payload :union {
    listAggregates @1 :ListAggregatesRequest;
    getAggregate @2 :GetAggregateRequest;
    listEvents @3 :ListEventsRequest;
    appendEvent @4 :AppendEventRequest;
    verifyAggregate @5 :VerifyAggregateRequest;
    patchEvent @6 :PatchEventRequest;
    selectAggregate @7 :SelectAggregateRequest;
    createAggregate @8 :CreateAggregateRequest;
    setAggregateArchive @9 :SetAggregateArchiveRequest;
    listSchemas @10 :Schema.ListSchemasRequest;
    replaceSchemas @11 :Schema.ReplaceSchemasRequest;
    tenantAssign @12 :Schema.TenantAssignRequest;
    tenantUnassign @13 :Schema.TenantUnassignRequest;
    tenantQuotaSet @14 :Schema.TenantQuotaSetRequest;
    tenantQuotaClear @15 :Schema.TenantQuotaClearRequest;
    tenantQuotaRecalc @16 :Schema.TenantQuotaRecalcRequest;
    tenantReload @17 :Schema.TenantReloadRequest;
    tenantSchemaPublish @18 :Schema.TenantSchemaPublishRequest;
    createSnapshot @19 :CreateSnapshotRequest;
    listSnapshots @20 :ListSnapshotsRequest;
    getSnapshot @21 :GetSnapshotRequest;
    listReferrers @22 :ListReferrersRequest;
    readOutbox @23 :ReadOutboxRequest;
    extension @24 :Ext.ExtensionRequest;
  }
}

# A patch is answered with appendEvent; from the sixth member on the two unions differ.
struct ControlResponse {
  id @0 :UInt64;
  payload :union {
    listAggregates @1 :ListAggregatesResponse;
    getAggregate @2 :GetAggregateResponse;
    listEvents @3 :ListEventsResponse;
    appendEvent @4 :AppendEventResponse;
    verifyAggregate @5 :VerifyAggregateResponse;
    selectAggregate @6 :SelectAggregateResponse;
    error @7 :ControlError;
    createAggregate @8 :CreateAggregateResponse;
    setAggregateArchive @9 :SetAggregateArchiveResponse;
    listSchemas @10 :Schema.ListSchemasResponse;
    replaceSchemas @11 :Schema.ReplaceSchemasResponse;
    tenantAssign @12 :Schema.TenantAssignResponse;
    tenantUnassign @13 :Schema.TenantUnassignResponse;
    tenantQuotaSet @14 :Schema.TenantQuotaSetResponse;
    tenantQuotaClear @15 :Schema.TenantQuotaClearResponse;
    tenantQuotaRecalc @16 :Schema.TenantQuotaRecalcResponse;
    tenantReload @17 :Schema.TenantReloadResponse;
    tenantSchemaPublish @18 :Schema.TenantSchemaPublishResponse;
    createSnapshot @19 :CreateSnapshotResponse;
    listSnapshots @20 :ListSnapshotsResponse;
    getSnapshot @21 :GetSnapshotResponse;
    listReferrers @22 :ListReferrersResponse;
    readOutbox @23 :ReadOutboxResponse;
    extension @24 :Ext.ExtensionResponse;
  }
}

struct ControlError {
  code @0 :Text;                # stable, see docs/protocol.md
  message @1 :Text;
}

# Reads.

struct ListAggregatesRequest {
  cursor @0 :Text;
  hasCursor @1 :Bool;
  take @2 :UInt64;
  hasTake @3 :Bool;
  filter @4 :Text;
  hasFilter @5 :Bool;
  sort @6 :Text;
  hasSort @7 :Bool;
  includeArchived @8 :Bool;
  archivedOnly @9 :Bool;
  token @10 :Text;
  resolve @11 :Bool;
  resolveDepth @12 :UInt32;
  hasResolveDepth @13 :Bool;
}

struct ListAggregatesResponse {
  aggregatesJson @0 :Text;
  nextCursor @1 :Text;
  hasNextCursor @2 :Bool;
  resolvedJson @3 :Text;
  hasResolvedJson @4 :Bool;
}

struct GetAggregateRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  token @2 :Text;
  resolve @3 :Bool;
  resolveDepth @4 :UInt32;
  hasResolveDepth @5 :Bool;
}

struct GetAggregateResponse {
  found @0 :Bool;
  aggregateJson @1 :Text;
  resolvedJson @2 :Text;
  hasResolvedJson @3 :Bool;
}

struct ListReferrersRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
}

struct ListReferrersResponse {
  referrersJson @0 :Text;
}

struct ListEventsRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  cursor @2 :Text;
  hasCursor @3 :Bool;
  take @4 :UInt64;
  hasTake @5 :Bool;
  filter @6 :Text;
  hasFilter @7 :Bool;
  token @8 :Text;
}

struct ListEventsResponse {
  eventsJson @0 :Text;
  nextCursor @1 :Text;
  hasNextCursor @2 :Bool;
}

struct ReadOutboxRequest {
  token @0 :Text;
  afterEventId @1 :UInt64;
  hasAfterEventId @2 :Bool;
  take @3 :UInt64;
  hasTake @4 :Bool;
}

struct ReadOutboxResponse {
  eventsJson @0 :Text;
  nextAfterEventId @1 :UInt64;
  hasNextAfterEventId @2 :Bool;
}

struct VerifyAggregateRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
}

struct VerifyAggregateResponse {
  merkleRoot @0 :Text;          # lowercase hexadecimal
}

struct SelectAggregateRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  fields @2 :List(Text);        # dotted paths
  token @3 :Text;
}

struct SelectAggregateResponse {
  found @0 :Bool;
  selectionJson @1 :Text;
}

# Writes.

struct PublishTarget {
  plugin @0 :Text;
  mode @1 :Text;
  hasMode @2 :Bool;
  priority @3 :Text;
  hasPriority @4 :Bool;
}

struct AppendEventRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  payloadJson @4 :Text;
  note @5 :Text;
  hasNote @6 :Bool;
  metadataJson @7 :Text;
  hasMetadata @8 :Bool;
  publishTargets @9 :List(PublishTarget);
  hasPublishTargets @10 :Bool;
  options @11 :Ext.WriteOptions;
}

struct AppendEventResponse {
  eventJson @0 :Text;
}

struct PatchEventRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  patchJson @4 :Text;           # RFC 6902
  note @5 :Text;
  hasNote @6 :Bool;
  metadataJson @7 :Text;
  hasMetadata @8 :Bool;
  publishTargets @9 :List(PublishTarget);
  hasPublishTargets @10 :Bool;
  options @11 :Ext.WriteOptions;
}

struct CreateAggregateRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  payloadJson @4 :Text;
  note @5 :Text;
  hasNote @6 :Bool;
  metadataJson @7 :Text;
  hasMetadata @8 :Bool;
  publishTargets @9 :List(PublishTarget);
  hasPublishTargets @10 :Bool;
  options @11 :Ext.WriteOptions;
}

struct CreateAggregateResponse {
  aggregateJson @0 :Text;
}

struct SetAggregateArchiveRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  archived @3 :Bool;
  note @4 :Text;
  hasNote @5 :Bool;
}

struct SetAggregateArchiveResponse {
  aggregateJson @0 :Text;
}

# Snapshots.

struct CreateSnapshotRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  comment @3 :Text;
  hasComment @4 :Bool;
}

struct CreateSnapshotResponse {
  snapshotJson @0 :Text;
}

struct ListSnapshotsRequest {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  hasAggregateType @3 :Bool;
  hasAggregateId @4 :Bool;
  version @5 :UInt64;
  hasVersion @6 :Bool;
}

struct ListSnapshotsResponse {
  snapshotsJson @0 :Text;
}

struct GetSnapshotRequest {
  token @0 :Text;
  snapshotId @1 :UInt64;
}

struct GetSnapshotResponse {
  found @0 :Bool;
  snapshotJson @1 :Text;
}
