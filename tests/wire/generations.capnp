# Requests as older clients lay them out, where that differs from capnp/control.capnp. The tests
# build their bytes with these; what the ordinals mean is in docs/protocol.md.

@0xb4c1d0a97e52f386;

struct FirstHello {
  protocolVersion @0 :UInt16;
  token @1 :Text;
}

enum SortField {
  aggregateType @0;
  aggregateId @1;
  version @2;
  merkleRoot @3;
  archived @4;
  nobodyKnows @5;
}

struct Sort {
  field @0 :SortField;
  descending @1 :Bool;
}

struct ListBySkip {
  skip @0 :UInt64;
  take @1 :UInt64;
  hasTake @2 :Bool;
  filter @3 :Text;
  hasFilter @4 :Bool;
  sort @5 :List(Sort);
  hasSort @6 :Bool;
  includeArchived @7 :Bool;
  archivedOnly @8 :Bool;
  token @9 :Text;
}

struct EventsBySkip {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  skip @2 :UInt64;
  take @3 :UInt64;
  hasTake @4 :Bool;
  filter @5 :Text;
  hasFilter @6 :Bool;
  token @7 :Text;
}

struct GetWithoutResolve {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  token @2 :Text;
}

struct AppendWithoutTargets {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  payloadJson @4 :Text;
  note @5 :Text;
  hasNote @6 :Bool;
  metadataJson @7 :Text;
  hasMetadata @8 :Bool;
}

struct PatchWithoutTargets {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  patchJson @4 :Text;
  note @5 :Text;
  hasNote @6 :Bool;
  metadataJson @7 :Text;
  hasMetadata @8 :Bool;
}

struct Verify {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
}

struct Select {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  fields @2 :List(Text);
  token @3 :Text;
}

struct ArchiveWithComment {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  archived @3 :Bool;
  comment @4 :Text;
  hasComment @5 :Bool;
}

struct FirstRequest {
  id @0 :UInt64;
  payload :union {
    listAggregates @1 :ListBySkip;
    getAggregate @2 :GetWithoutResolve;
    listEvents @3 :EventsBySkip;
    appendEvent @4 :AppendWithoutTargets;
    verifyAggregate @5 :Verify;
    patchEvent @6 :PatchWithoutTargets;
    selectAggregate @7 :Select;
    createAggregate @8 :AppendWithoutTargets;
    setAggregateArchive @9 :ArchiveWithComment;
  }
}

# The generation without hello.

struct Listing {
  skip @0 :UInt64;
  take @1 :UInt64;
  hasTake @2 :Bool;
}

struct Name {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
}

struct Events {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  skip @2 :UInt64;
  take @3 :UInt64;
  hasTake @4 :Bool;
}

struct AppendOrPatch {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  payloadJson @4 :Text;
  patchJson @5 :Text;
  note @6 :Text;
  hasNote @7 :Bool;
  metadataJson @8 :Text;
  hasMetadata @9 :Bool;
}

struct HelloLessRequest {
  id @0 :UInt64;
  payload :union {
    listAggregates @1 :Listing;
    getAggregate @2 :Name;
    listEvents @3 :Events;
    appendEvent @4 :AppendOrPatch;
    verifyAggregate @5 :Name;
  }
}

struct Failure {
  code @0 :Text;
  message @1 :Text;
}

struct Answer {
  json @0 :Text;
}

struct HelloLessResponse {
  id @0 :UInt64;
  payload :union {
    listAggregates @1 :Answer;
    getAggregate @2 :Answer;
    listEvents @3 :Answer;
    appendEvent @4 :Answer;
    verifyAggregate @5 :Answer;
    error @6 :Failure;
  }
}

# The client that numbers its snapshot operations where others have schemas.

struct CreateSnapshot {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  comment @3 :Text;
  hasComment @4 :Bool;
}

struct ListSnapshots {
  token @0 :Text;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  hasAggregateType @3 :Bool;
  hasAggregateId @4 :Bool;
  version @5 :UInt64;
  hasVersion @6 :Bool;
}

struct GetSnapshot {
  token @0 :Text;
  snapshotId @1 :UInt64;
}

struct Found {
  found @0 :Bool;
  json @1 :Text;
}

struct SnapshotsRequest {
  id @0 :UInt64;
  payload :union {
    a @1 :Void;
    b @2 :Void;
    c @3 :Void;
    d @4 :Void;
    e @5 :Void;
    f @6 :Void;
    g @7 :Void;
    h @8 :Void;
    i @9 :Void;
    createSnapshot @10 :CreateSnapshot;
    listSnapshots @11 :ListSnapshots;
    getSnapshot @12 :GetSnapshot;
  }
}

struct SnapshotsResponse {
  id @0 :UInt64;
  payload :union {
    a @1 :Void;
    b @2 :Void;
    c @3 :Void;
    d @4 :Void;
    e @5 :Void;
    f @6 :Void;
    error @7 :Failure;
    h @8 :Void;
    i @9 :Void;
    createSnapshot @10 :Answer;
    listSnapshots @11 :Answer;
    getSnapshot @12 :Found;
  }
}
