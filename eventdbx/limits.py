"""Every bound of the system, with the reason for it or the attack that it stops."""

from __future__ import annotations

AGGREGATE_TYPE_BYTES_MAX = 128
"""Keys stay short; the reference has no limit."""

EVENT_TYPE_BYTES_MAX = 128
AGGREGATE_ID_BYTES_MAX = 128

METADATA_BYTES_MAX = 65_536
"""Compact JSON of the metadata that a client attaches to one event."""

PAYLOAD_BYTES_MAX = 262_144
"""Compact JSON of one payload; checked on input and again after a patch."""

NOTE_CHARACTERS_MAX = 128

COMMENT_BYTES_MAX = 4_096
"""Archive notes, snapshot comments, and what is said of changes of schemas; the reference has no
limit."""

SUBJECT_BYTES_MAX = 256
"""The name of a data subject."""

PATCH_LOOKS_BACK = 256
"""Events that are looked at for whom a patched value is about."""

ERASED_AT_ONCE = 16
"""Aggregates from whose states something is taken in one commit."""

ERASED_RANGES_MAX = 4_096
"""Ranges of versions that one event names which records an erasure."""

PURGE_WAITS_S = 10.0
"""How long readers of older states of a store are waited for before its files are rewritten."""

REFOLD_SNAPSHOTS = 32
"""Snapshots that are folded anew in one commit."""

DOMAIN_NAME_BYTES_MAX = 64

JSON_DEPTH_MAX = 64
"""Containers in containers on input: deeper documents overflow recursive readers."""

FILTER_DEPTH_MAX = 127
"""Parentheses and NOT together: a recursive parser must not overflow the stack."""

FILTER_CHARACTERS_MAX = 65_536
"""A filter never exceeds one frame."""

IDEMPOTENCY_KEY_BYTES_MAX = 256
IDEMPOTENCY_RETENTION_S = 7 * 24 * 3600
"""A retry later than this may be executed again; older keys are pruned by later writes."""

FRAME_PAYLOAD_BYTES_MAX = 65_535
"""Noise refuses longer ciphertexts."""

NOISE_TAG_BYTES = 16
FRAME_PLAINTEXT_BYTES_MAX = FRAME_PAYLOAD_BYTES_MAX - NOISE_TAG_BYTES
"""The longest message that fits a frame, plain or encrypted: 65,519 bytes."""

HELLO_BYTES_MAX = 65_536
"""A peer that has not shown a token may make us hold no more than this."""

HELLO_TIMEOUT_S = 10.0
"""From the connection to the end of the key exchange."""

IDLE_TIMEOUT_S = 600.0
"""A session without a request for this long is closed."""

ERROR_CHARACTERS_MAX = 8_192
"""A message may name what a client sent; with all of it, it would not fit a frame."""

VIOLATIONS_MAX = 100
"""Violations of one event that an answer lists."""

SCHEMA_SET_BYTES_MAX = 4 * 1_048_576
"""All schemas of a domain as compact JSON."""

SCHEMA_TEXT_BYTES_MAX = 4 * SCHEMA_SET_BYTES_MAX
"""A text of schemas that somebody brings: what makes it readable is no part of a set."""

REQUEST_BYTES_MAX = SCHEMA_SET_BYTES_MAX + 1_048_576
"""A request reassembled from fragments: the largest is a whole set of schemas."""

RESPONSE_BYTES_MAX = 64 * 1_048_576
"""An extension answer in parts; longer ones must be paged."""

CONNECTIONS_MAX = 4_096
CONNECTIONS_PER_PEER_MAX = 1_024
"""One address must not take every connection."""

REQUESTS_IN_FLIGHT_MAX = 256
"""Per connection; beyond it reading pauses until answers have gone out."""

COMMIT_BATCH_EVENTS_MAX = 4_096
COMMIT_BATCH_BYTES_MAX = 8 * 1_048_576
"""One group commit: bounds the wait of its first member."""

COMMIT_WAITING_STEPS_MAX = 65_536
"""As above, counted: tiny writes must not grow the queue without end either."""

COMMIT_WAITING_BYTES_MAX = 64 * 1_048_576
"""Accepted but not yet durable, all connections together; beyond it sockets pause."""

BATCH_WRITES_MAX = 1_000
"""Writes in one atomic request."""

STAGED_EVENTS_MAX = BATCH_WRITES_MAX
STAGED_BYTES_MAX = COMMIT_BATCH_BYTES_MAX
"""What one user can have staged in a domain: it is written in one step."""

IMPORT_LINE_BYTES_MAX = 4 * 1_048_576
"""One line of a file that is imported: the largest payload and metadata, however they are
written."""

IMPORT_BATCH_BYTES_MAX = 2 * 1_048_576
"""Payloads and metadata of one batch of an import, about: it must fit a request."""

NULLIFIED_AGGREGATES_MAX = 10_000
"""Aggregates whose references one archive clears: all of them are written in one step, and
nobody else's write can come between."""

RESOLVED_AGGREGATES_MAX = 10_000
RESOLVED_BYTES_MAX = 16 * 1_048_576
"""What one request may fetch by following references: each level can multiply it."""

HEAD_CACHE_ENTRIES = 10_000
"""Decoded heads that the writer keeps; `cache_threshold` in the configuration."""

HEAD_CACHE_BYTES_MAX = 64 * 1_048_576

TOKEN_CHARACTERS_MAX = 16_384
"""One token: real ones have some hundred; the cache of verified tokens holds their text."""

TOKEN_CACHE_ENTRIES = 4_096
"""Verified tokens; a flood of distinct tokens must not grow memory."""

FAILING_ADDRESSES_MAX = 10_000
"""Addresses whose failed attempts are remembered, some 200 bytes each; the oldest is forgotten."""

PATTERN_CHARACTERS_MAX = 256
"""One action or resource pattern of a token."""

PATTERN_COMPILED_BYTES_MAX = 10 * 1_048_576
"""What one pattern of a text column may weigh when it is compiled."""

PATTERNS_COMPILED_BYTES_MAX = 256 * 1_048_576
"""What all patterns of a domain's schemas may weigh: a few bytes of text can weigh megabytes."""

PATTERN_CACHE_ENTRIES = 1_024
"""Compiled patterns of schemas: checked when declared, used by every version of a schema."""

SCHEMA_NAME_BYTES_MAX = 128
"""Names of aggregate types, events and fields as schemas declare them."""

SCHEMA_COLUMNS_MAX = 1_000
SCHEMA_EVENTS_MAX = 1_000
"""In one aggregate type: every append may look at each of them."""

SCHEMA_DEPTH_MAX = 16
"""Properties in properties of a column: checks recurse."""

RULE_ENTRIES_MAX = 64
"""Needles or patterns of one rule: each is searched for in every value."""

RULE_TEXT_BYTES_MAX = 1_024
"""One needle or pattern of a column."""

DECIMAL_PRECISION_MAX = 38
"""Digits of a decimal column; what columns of other databases hold."""

DOCUMENT_CHECKS_MAX = 256
"""Compiled JSON Schema documents: one for each version of a schema and event that is explained."""

JSON_SCHEMA_PARTS_MAX = 100_000
"""Schemas in one imported JSON Schema, each counted as often as something refers to it."""

MEMTABLE_BYTES = 16 * 1_048_576
"""Written to a table when full; four of them bound what a crash leaves to be recovered."""

LOG_BYTES_MAX = 64 * 1_048_576
"""Write-ahead log: bounds the time of a start after a crash."""

BLOCK_CACHE_BYTES = 64 * 1_048_576
"""Tables' blocks, indexes and filters in memory."""

IN_PLACE_SYNC_S_MAX = 0.001
"""Syncs slower than this on average never run on the reactor's thread."""

UPCAST_STEPS_MAX = 1_000
"""Upcasters of one event: each read of an old event carries them out."""

REFOLD_HEADS = 500
REFOLD_EVENTS = 5_000
"""What is folded anew at a time after upcasters changed; appends go on in between."""

INDEX_AT_ONCE_HEADS = 1_000
"""Aggregates whose references are indexed anew in the step that changes their schema."""

INDEX_HEADS = 100
INDEX_BYTES = 262_144
"""What is indexed anew at a time where there are more; appends wait for about 2 ms each time."""

UPCAST_BYTES_MAX = 65_536
UPCAST_LEVELS_MAX = 32
"""What upcasting may add to the largest payload: no declaration makes old events unreadable."""

REHEARSALS_KEPT = 16
"""Rehearsals that a server remembers, running or over; the oldest that is over makes room."""

REHEARSAL_RULES_MAX = 1_000
"""Lines in the report of a rehearsal: messages may name keys, and histories hold any keys."""

REHEARSAL_SAMPLES = 5
"""Events that each line of the report names."""

FOLDS_KEPT = 100_000
FOLDS_BYTES_MAX = 32 * 1_048_576
"""States of aggregates that each plugin keeps folded for their next event: what is not kept is
folded from its first event."""

PLUGIN_ANSWER_BYTES_MAX = 65_536
"""One ack or error of a plugin: what may lie here unread while the rest of it is awaited."""

PLUGIN_REASON_BYTES_MAX = 1_024
"""What is kept of the reason that a plugin gives."""

PLUGIN_LINE_BYTES_MAX = 60_000
"""One line that a child writes to its output; longer ones are cut, so that a line of the log with
its time and origin stays below 64 KiB, which is what some collectors take."""

PLUGIN_OUTPUT_BYTES_PER_S = 8 * 1_048_576
"""Output read from one child; one that writes more waits, as for a slow terminal."""

PLUGIN_LINES_PER_S = 200
"""Lines of one child that the server's log repeats; its own file has the rest."""

PLUGIN_LOG_BYTES_MAX = 8 * 1_048_576
PLUGIN_LOG_FILES = 3
"""The log of one child and of one ``log`` plugin, older files included."""

SERVER_LOG_BYTES_MAX = 64 * 1_048_576
"""The server's log file is put aside when it is larger: a day of it still opens in an editor."""

REPLAYS_KEPT = 16
"""Replays that a domain remembers, running or over; the oldest that is over makes room."""

DOCUMENT_BYTES_MAX = 8 * 1_048_576
"""One event on its way to a plugin; a larger one is never sent."""

PLUGIN_NAME_BYTES_MAX = 255
"""The name of a plugin: it is part of keys, of lines of the log and of file names."""

PLUGIN_TIMEOUT_S_MAX = {"http": 30.0, "tcp": 30.0, "capnp": 30.0, "log": 30.0, "process": 300.0}
"""How long one delivery may take. A process may have real work to do; a target behind a network
that has not answered by then will not."""

PLUGIN_CONCURRENCY_MAX = 64
PLUGIN_IN_FLIGHT_MAX = 1_024
"""Deliveries of one plugin at a time, and messages that a process has not acknowledged."""

PLUGIN_ATTEMPTS_MAX = 255
"""Attempts until an event is dead; the configuration of older versions could not say more."""

PLUGIN_BACKOFF_S_MAX = 86_400.0
"""The longest delay between two attempts."""

PLUGIN_BATCH_EVENTS_MAX = 1_000
PLUGIN_LINGER_MS_MAX = 60_000
"""Events in one delivery, and how long the first may wait for others."""

BUNDLE_BYTES_MAX = 512 << 20
"""A bundle of a process plugin, packed and unpacked: an archive may claim, and hold, far more."""

BUNDLE_ENTRIES_MAX = 10_000
"""Files and folders of a bundle, so that one archive cannot use up a disk's inodes."""

BUNDLE_DOWNLOAD_S = 60.0
"""The whole download of a bundle; someone waits for it at a terminal."""

FOLLOW_EVENTS = 500
"""Events in one page of those who follow the log, unless they ask for another number."""

FOLLOW_PAGE_BYTES_MAX = 1 << 20
"""Bytes of such a page: what a follower gets at once is in memory for each of them."""

FOLLOW_WAIT_MS_MAX = 30_000
"""How long a follower waits for one answer; a peer that vanished is found out by then."""

HTTP_BODY_BYTES_MAX = 2 * 1_048_576
"""The body of one request to the Admin API; it is held in memory."""

HTTP_DISCARDED_BYTES_MAX = 4 * HTTP_BODY_BYTES_MAX
"""A body that is too large is read up to here, so that its sender gets the answer."""

HTTP_HEAD_BYTES_MAX = 32_768
"""Request line and headers of a request together."""

HTTP_HEADERS_MAX = 100
HTTP_PATH_BYTES_MAX = 16_384
"""A token may stand in a path."""

HTTP_REQUEST_S = 30.0
"""Time for a request to arrive, and once more for the work on it."""

HTTP_IDLE_S = 60
HTTP_CONNECTIONS_MAX = 64
HTTP_BUCKETS_MAX = 4_096
"""Peers and tokens whose rates are remembered, each kind."""

REPEATS_MAX = 1_024
REPEATS_S = 24 * 3600
"""Answers that are kept for a request that comes again under the same key, and for how long."""

DISK_RESERVE_BYTES = 256 * 1_048_576
"""With less free space the server says that it is not ready: memtables, a log and a compaction
that are under way have to fit still. Nothing is refused because of it."""

CONFIG_TEXT_CHARACTERS_MAX = 16_384
"""Of one value of the configuration: a certificate fits, and a file is still read by people."""

CONFIG_LIST_ITEMS_MAX = 1_000
"""Items of one list in the configuration: hosts, origins, endpoints, older keys."""

NOTE_BYTES_MAX = 262_144
"""A signed note: 16 signatures of 5 kB, which every verifier has to take, fit twice over."""

NOTE_SIGNATURES_MAX = 64
"""Lines below one note, four times what has to be taken: each in a known name is verified."""

KEY_NAME_BYTES_MAX = 255
ORIGIN_BYTES_MAX = 255
"""Names of keys and logs: some witnesses sign them behind a length of one byte."""

VKEY_CHARACTERS_MAX = 4_096
"""The text of a key: the longest of the standard fit, which are refused for their type."""

TREE_SIZE_MAX = (1 << 63) - 1
"""Leaves of a log, also of others' logs: a signed number of 64 bits."""

COSIGNATURE_TIMESTAMP_MAX = (1 << 63) - 1
"""Seconds since the Unix epoch; what the standard allows."""

PROOF_HASHES_MAX = 63
"""No proof of inclusion in a tree of that size is longer, and no witness takes longer ones."""

PROOF_EVENTS_MAX = 65_536
"""Events that one proof of completeness lists, 47 bytes each; larger timelines go in bundles."""

EVIDENCE_PAGE_BYTES = 524_288
EVIDENCE_PAGE_NAMES = 10_000
"""Lines of a bundle that one answer holds, about, and aggregates that are looked at for it: a
thread is busy for some 0.2 s with either."""

EVIDENCE_SELECTORS_MAX = 1_000
"""Aggregates and types that one export names."""

EXPORTS_MAX = 4
EXPORT_IDLE_S = 60.0
"""Exports under way in a domain, and how long each waits for the next request: each has a head map
of 10 MB in memory, and keeps the store from forgetting what was deleted."""

TLOG_PROOF_EXTRA_BYTES_MAX = 524_288
"""Extra data of a proof: an event as it is stored fits, with payload, metadata and note."""

TLOG_PROOF_BYTES_MAX = 1_048_576
"""A proof in a file: extra data in base64, hashes and checkpoint; read before it is believed."""

TILE_LEVEL_MAX = 63
TILE_INDEX_MAX = TREE_SIZE_MAX >> 8
"""What a path of a tile may name; larger trees there are none."""

CHECKPOINTS_NEWEST = 256
"""Checkpoints of a log that are kept although newer ones say as much: the latest minutes."""

CHECKPOINT_GAP = 16
"""Older ones are kept so far apart: the way to the newest one divided by this, so that as many
lie between 1,000 and 2,000 entries back as between one million and two millions."""

CHECKPOINT_THINNING = 128
"""New checkpoints between two looks at which old ones can go."""

MAP_STEP_EVENTS = 1_000
MAP_STEP_BYTES = 262_144
"""What the head map takes up of the log at a time, and what it reads and writes of itself: appends
wait for about 2 ms each time."""

WITNESS_REQUEST_BYTES_MAX = 270_000
"""What a witness reads of one request: a checkpoint, a proof, the old size."""

WITNESS_REQUESTS_WAITING_MAX = 64
"""Requests that wait for the file of a witness; one more is told to come again."""

BACKUP_COPIES_MAX = 16
"""Copies of everything that commands pack at one time; each keeps replaced files on the disk."""

KEY_SLOTS_BLOCK_MIN = 16
"""Data keys that a store makes ahead at first; each time twice as many."""

KEY_SLOTS_BLOCK_MAX = 4_096
"""Data keys that are made at once: about 10 ms."""

KEY_SLOTS_WRAPPED_AT_ONCE = 512
"""Data keys that are wrapped anew between two pauses: about 2 ms."""

VALUES_LOOKED_AT = 2_000
"""Values of a store that are looked at between two pauses, for those that are not sealed."""

VALUES_SEALED_BYTES = 256 << 10
"""Bytes of values that are sealed between two pauses, about."""

VALUES_OF_OPENING_MAX = 1 << 32
"""Values that are sealed under one key: far below what AES-GCM allows for a counted nonce."""

KEYS_KEPT_MAX = 65_536
"""Data keys of a store that are kept unwrapped in memory, 120 bytes each."""

CIPHERS_KEPT_MAX = 16_384
"""Ciphers of a store that are kept ready, 2.5 KB each."""
