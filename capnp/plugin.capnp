# What plugins receive: process plugins on their standard input, Cap'n Proto plugins on a socket.
# Not spoken on the control port. Published: id, ordinals and names are fixed.
#
# Unpacked stream messages, one after the other, each with the root PluginEnvelope. A process plugin
# gets `init` first, then events. With `"ack": true` in its configuration (EVENTDBX_PLUGIN_ACK=1 in
# its environment) its standard output carries `ack` and `error` messages and nothing else.

@0xd4b23bfa4df1bcd9;

struct PluginEnvelope {
  message :union {
    init @0 :PluginInit;
    event @1 :PluginEvent;
    ack @2 :PluginAck;
    error @3 :PluginError;
  }
}

struct PluginInit {
  pluginName @0 :Text;
  version @1 :Text;
  target @2 :Text;
}

struct PluginEvent {
  sequence @0 :UInt64;
  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  eventVersion @4 :UInt64;
  eventId @5 :Text;
  createdAtEpochMicros @6 :Int64;
  payloadJson @7 :Text;
  metadataJson @8 :Text;
  hash @9 :Text;
  merkleRoot @10 :Text;
  stateVersion @11 :UInt64;
  stateArchived @12 :Bool;
  stateMerkleRoot @13 :Text;
  stateEntries @14 :List(StateEntry);
  schemaJson @15 :Text;
  extensionsJson @16 :Text;
  delivery @17 :PluginDelivery; # ours; readers of the published schema skip it
}

enum DeliveryPurpose {
  live @0;
  replay @1;                    # asked for by an operator: may be older than what came before
  test @2;                      # the sample of `plugin test`: confirm it, keep nothing of it
}

# Where the event stands, and how it comes here.
struct PluginDelivery {
  domain @0 :Text;
  position @1 :Text;            # opaque token of the event's place in the log of the domain
  purpose @2 :DeliveryPurpose;
  attempt @3 :UInt32;           # from 1
  more @4 :Bool;                # the next message is an event of the same delivery
  erased @5 :Bool;              # the payload was erased for good: payloadJson is null
}

struct StateEntry {
  key @0 :Text;
  value @1 :Text;
}

# Confirms the event of that sequence and all before it that were not refused.
struct PluginAck {
  sequence @0 :UInt64;
}

# Refuses one event; those before it in the same delivery are thereby confirmed, the rest of the
# delivery is void: the plugin skips it, up to and including the event without `more`. All of what
# is skipped comes again, with new sequences.
struct PluginError {
  sequence @0 :UInt64;
  message @1 :Text;
  unavailable @2 :Bool;         # ours: something that the plugin needs is the reason, not the event
  retryAfterMs @3 :UInt32;      # ours: not before that, 0 for whenever
}
