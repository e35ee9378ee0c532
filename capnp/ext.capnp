# What EventDBX has beyond the published control protocol.
#
# Reached only through one pointer in the three write requests and one member of the two unions of
# control.capnp, so that a peer without this file never meets it. An empty text means "absent".

@0x9f3a6e1b7c24d805;

# How a write may be told apart from others, and when it must fail.
struct WriteOptions {
  hasExpectedVersion @0 :Bool;
  expectedVersion @1 :UInt64;   # 0: the aggregate must not exist yet
  idempotencyKey @2 :Text;      # a retry with the same key returns the first result
  receipt @3 :Bool;             # the answer has the proof that the event is in the log, as `receipt`
}

struct ExtensionRequest {
  token @0 :Text;
  union {
    fragment @1 :Fragment;
    commitBatch @2 :CommitBatchRequest;
    readAggregate @3 :ReadAggregateRequest;
    scanAggregates @4 :ScanAggregatesRequest;
    scanEvents @5 :ScanEventsRequest;
    verify @6 :VerifyRequest;
    status @7 :Void;
    schemas @8 :SchemaOperation;
    scanReferrers @9 :ScanReferrersRequest;
    plugins @10 :PluginOperation;
    follow @11 :FollowRequest;
    administer @12 :AdminOperation;
    integrity @13 :IntegrityOperation;
    staging @14 :StagingOperation;
  }
}

# The parts of one answer have the same id, come in order and are concatenated.
struct ExtensionResponse {
  json @0 :Data;
  more @1 :Bool;                # another part follows
}

# A request larger than a frame travels as fragments of one id, sent in a row; put together they are
# the stream message of one ControlRequest.
struct Fragment {
  part @0 :Data;
  more @1 :Bool;
}

enum WriteKind {
  create @0;                    # refuses an aggregate that exists
  append @1;                    # creates one that does not
  patch @2;                     # refuses a missing one, as apply does
  apply @3;
}

struct Write {
  kind @0 :WriteKind;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  contentJson @4 :Text;         # the payload; for a patch the operations
  metadataJson @5 :Text;
  note @6 :Text;
  hasNote @7 :Bool;
  options @8 :WriteOptions;
  publishTargets @9 :List(Target);
}

# A plugin that the event is meant for, when it is not for all.
struct Target {
  plugin @0 :Text;
  mode @1 :Text;                # a payload mode other than its own
  priority @2 :Text;            # low, normal (or empty), high
}

# What a batch is answered with: an array with one item for each write.
enum BatchAnswer {
  receipts @0;                  # version, event id and Merkle root
  events @1;
  aggregates @2;
  proofs @3;                    # receipts, each with the proof that its event is in the log
}

# All or nothing, in one commit.
struct CommitBatchRequest {
  writes @0 :List(Write);
  idempotencyKey @1 :Text;      # of the batch as a whole
  answer @2 :BatchAnswer;
}

struct ReadAggregateRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  at :union {
    latest @2 :Void;
    version @3 :UInt64;
    timeNs @4 :Int64;           # since the Unix epoch
  }
  includeEvents @5 :Bool;
  resolve @6 :Bool;             # the answer also has the resolved form
  resolveDepth @7 :UInt32;
  hasResolveDepth @8 :Bool;
  raw @9 :Bool;                 # payloads of the events as they were written, and their schemas
}

struct ScanAggregatesRequest {
  aggregateType @0 :Text;
  cursor @1 :Text;
  skip @2 :UInt64;
  take @3 :UInt64;              # 0: as many as the server gives unasked
  filter @4 :Text;
  sort @5 :Text;
  scope @6 :Text;               # active (or empty), all, archived
  resolve @7 :Bool;             # the items are resolved forms
  resolveDepth @8 :UInt32;
  hasResolveDepth @9 :Bool;
}

struct ScanEventsRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  eventId @2 :UInt64;           # not 0: this one event, whatever else is asked
  cursor @3 :Text;
  skip @4 :UInt64;
  take @5 :UInt64;
  filter @6 :Text;
  sort @7 :Text;
  scope @8 :Text;
  raw @9 :Bool;                 # payloads as they were written, and their schemas
}

# Who refers to an aggregate, a page at a time; listReferrers answers with all in one frame.
struct ScanReferrersRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  cursor @2 :Text;
  take @3 :UInt64;              # 0: as many as the server gives unasked
}

# One aggregate, or part of all of them: the answer says where to go on.
struct VerifyRequest {
  aggregateType @0 :Text;
  aggregateId @1 :Text;
  after @2 :Text;               # what the answer before said
  budget @3 :UInt64;            # aggregates to check now; 0: as the server likes
}

# One operation on schemas as a JSON document (docs/protocol.md, "Schemas"); so is its answer.
struct SchemaOperation {
  json @0 :Data;
}

# One operation on plugins or on what waits for them, as a JSON document (docs/protocol.md,
# "Plugins"); so is its answer.
struct PluginOperation {
  json @0 :Data;
}

# One operation on the installation (docs/protocol.md, "Administration"), as a JSON document; so is
# its answer.
struct AdminOperation {
  json @0 :Data;
}

# One operation on proofs, checkpoints and what stands behind them (docs/protocol.md, "Integrity"),
# as a JSON document; so is its answer.
struct IntegrityOperation {
  json @0 :Data;
}

# One operation on events that are staged (docs/protocol.md, "Staging"), as a JSON document; so is
# its answer.
struct StagingOperation {
  json @0 :Data;
}

# Events of the commit log behind a place. With nothing there the answer waits for a commit; it
# comes at once when the connection has another request to answer.
struct FollowRequest {
  after @0 :Text;               # a position token; "" or "start": from the beginning; "end": from now
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  filter @3 :Text;
  take @4 :UInt32;              # 0: as many as the server gives unasked
  waitMs @5 :UInt32;            # 0: do not wait
  raw @6 :Bool;                 # payloads as they were written, and their schemas
}

# What stands in the place of a ControlError when there is more to say: the same two members, and
# behind them an object. "violations" lists all that is wrong with an event that breaks its schema,
# "write" is the number of the write of a batch that was refused, counted from 0. Who knows only the
# two reads only them.
struct DetailedError {
  code @0 :Text;
  message @1 :Text;
  detailsJson @2 :Text;
}
