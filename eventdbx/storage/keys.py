"""Every key of the store (docs/storage-format.md holds the same table for people).

A key is one or two family bytes, then texts that each end in 0x00 (which no identifier
contains), then fixed-width big-endian numbers. So a scan of ``o-1`` never meets ``o-10``, and
byte order is the order by fields.
"""

from __future__ import annotations

from struct import Struct

FORMAT: bytes = b"\x00format"
"""The store's format number (written by the adapter that opens it)."""

HEAD_ACTIVE: bytes = b"ha"
HEAD_ARCHIVED: bytes = b"hr"
EVENT: bytes = b"e"
LOG: bytes = b"l"
TAIL: bytes = b"t"
LOG_RUN: bytes = b"b"
CREATED_ACTIVE: bytes = b"ca"
CREATED_ARCHIVED: bytes = b"cr"
UPDATED_ACTIVE: bytes = b"ua"
UPDATED_ARCHIVED: bytes = b"ur"
SNAPSHOT: bytes = b"s"
SNAPSHOT_ID: bytes = b"S"
IDEMPOTENCY: bytes = b"i"
IDEMPOTENCY_AGE: bytes = b"j"
ARCHIVE_AUDIT: bytes = b"x"
REFERRER: bytes = b"r"
UNINDEXED: bytes = b"R"
FOLDED: bytes = b"f"
SCHEMA_SET: bytes = b"gs"
SCHEMA_STATE: bytes = b"gm"
SCHEMA_VERSION: bytes = b"gv"
SCHEMA_TEXT: bytes = b"gt"
SCHEMA_AUDIT: bytes = b"ga"
SCHEMA_CHANGE: bytes = b"gc"
SCHEMA_DOCUMENT: bytes = b"gd"
PLUGIN_CURSOR: bytes = b"oc"
PLUGIN_HELD: bytes = b"oh"
PLUGIN_DONE: bytes = b"on"
TOKEN_WRITES: bytes = b"wn"
TOKEN_WRITES_END: bytes = b"we"
CHECKPOINT: bytes = b"k"
MAP_BUCKET: bytes = b"mb"
MAP_PLACE: bytes = b"mp"
SUBJECT_SECRET: bytes = b"dk"
SUBJECT: bytes = b"ds"
SUBJECT_EVENT: bytes = b"de"
ERASURE: bytes = b"dw"
STAGED: bytes = b"p"
STAGED_FILE: bytes = b"P"

_U64 = Struct(">Q")
_PLACE = Struct(">HQ")
_PARTITION = Struct(">H")
_BUCKET = Struct(">HH")
_SIGN = 1 << 63
"""Added to signed times, so that their byte order is their numeric order."""


def name(aggregate_type: str, aggregate_id: str) -> bytes:
    """Return the canonical name of an aggregate inside keys."""
    return f"{aggregate_type}\x00{aggregate_id}\x00".encode()


def split_name(text: bytes) -> tuple[str, str]:
    """Return (type, id) of a canonical name, ignoring what follows it."""
    aggregate_type, aggregate_id, _rest = text.split(b"\x00", 2)
    return aggregate_type.decode(), aggregate_id.decode()


def head(aggregate: bytes, archived: bool) -> bytes:
    """Return the key of a head; archiving moves it from one family to the other."""
    return (HEAD_ARCHIVED if archived else HEAD_ACTIVE) + aggregate


def event(aggregate: bytes, version: int) -> bytes:
    """Return the key of one event."""
    return EVENT + aggregate + _U64.pack(version)


def event_version(key: bytes) -> int:
    """Return the version at the end of an event key."""
    return int.from_bytes(key[-8:], "big")


def log(partition: int, position: int) -> bytes:
    """Return the key of one place in the commit log."""
    return LOG + _PLACE.pack(partition, position)


def log_position(key: bytes) -> int:
    """Return the position at the end of a log key."""
    return int.from_bytes(key[-8:], "big")


def log_run(partition: int, position: int) -> bytes:
    """Return the key that says: at this place of a log ids begin to grow anew."""
    return LOG_RUN + _PLACE.pack(partition, position)


def tail(partition: int) -> bytes:
    """Return the key of a partition's tail: next position and last id."""
    return TAIL + _PARTITION.pack(partition)


def checkpoint(partition: int, size: int) -> bytes:
    """Return the key of the checkpoint that a partition's log has at a size."""
    return CHECKPOINT + _PLACE.pack(partition, size)


def checkpoint_size(key: bytes) -> int:
    """Return the size at the end of the key of a checkpoint."""
    return int.from_bytes(key[-8:], "big")


def map_place(partition: int) -> bytes:
    """Return the key of how far along a partition's log the head map is."""
    return MAP_PLACE + _PARTITION.pack(partition)


def map_buckets(partition: int) -> bytes:
    """Return what the keys of all buckets of a partition's head map start with."""
    return MAP_BUCKET + _PARTITION.pack(partition)


def map_bucket(partition: int, bucket: int) -> bytes:
    """Return the key of one bucket of the head map, by the first 16 bits of name hashes."""
    return MAP_BUCKET + _BUCKET.pack(partition, bucket)


def map_bucket_number(key: bytes) -> int:
    """Return the number at the end of the key of a bucket."""
    return int.from_bytes(key[-2:], "big")


def by_time(family: bytes, millis: int, aggregate: bytes) -> bytes:
    """Return the key of an entry of a timestamp index; ``millis`` is signed Unix time."""
    return family + _U64.pack(millis + _SIGN) + aggregate


def split_time(key: bytes) -> tuple[int, bytes]:
    """Return (millis, canonical name) of a timestamp index key."""
    return int.from_bytes(key[2:10], "big") - _SIGN, key[10:]


def snapshot(aggregate: bytes, snapshot_id: int) -> bytes:
    """Return the key of a snapshot; ids grow with time, so its order is (type, id, time)."""
    return SNAPSHOT + aggregate + _U64.pack(snapshot_id)


def snapshot_id(identifier: int) -> bytes:
    """Return the key that finds a snapshot by id alone."""
    return SNAPSHOT_ID + _U64.pack(identifier)


def idempotency(digest: bytes) -> bytes:
    """Return the key of the result kept under an idempotency key (by digest of its scope)."""
    return IDEMPOTENCY + digest


def idempotency_age(millis: int, digest: bytes) -> bytes:
    """Return the key that orders idempotency results by age."""
    return IDEMPOTENCY_AGE + _U64.pack(millis + _SIGN) + digest


def token_writes(jti: str) -> bytes:
    """Return the key of how many writes a token with a limit has made."""
    return TOKEN_WRITES + jti.encode()


def token_writes_end(millis: int, jti: str) -> bytes:
    """Return the key that orders tokens with a limit by their expiry."""
    return TOKEN_WRITES_END + _U64.pack(millis + _SIGN) + jti.encode()


def token_of_writes_end(key: bytes) -> str:
    """Return the id of the token at the end of such a key."""
    return key[len(TOKEN_WRITES_END) + 8 :].decode()


def archive_audit(aggregate: bytes, audit_id: int) -> bytes:
    """Return the key of one record of who archived or restored an aggregate."""
    return ARCHIVE_AUDIT + aggregate + _U64.pack(audit_id)


def numbered(family: bytes, number: int) -> bytes:
    """Return the key of one entry of a family that counts from 0 (schema versions, audit)."""
    return family + _U64.pack(number)


def schema_document(digest: bytes) -> bytes:
    """Return the key of a schema by its digest: what the mark of an event leads to."""
    return SCHEMA_DOCUMENT + digest


def of_plugin(family: bytes, plugin: str) -> bytes:
    """Return what the keys of all rows of a plugin start with; of its cursor, the key."""
    return family + plugin.encode() + b"\x00"


def referrers_of(domain: str, aggregate_type: str, aggregate_id: str) -> bytes:
    """Return what the keys of all who refer to an aggregate start with."""
    return REFERRER + f"{domain}\x00{aggregate_type}\x00{aggregate_id}\x00".encode()


def referrer(
    domain: str, aggregate_type: str, aggregate_id: str, aggregate: bytes, path: str
) -> bytes:
    """Return the key that says: this aggregate refers to that target at a dotted path."""
    return referrers_of(domain, aggregate_type, aggregate_id) + aggregate + path.encode()


def split_referrer(key: bytes) -> tuple[str, str, str, str, str, str]:
    """Return (domain, type, id) of the target, (type, id) of who refers to it, and the path."""
    domain, kind, identifier, by_kind, by_identifier, path = key[1:].decode().split("\x00", 5)
    return domain, kind, identifier, by_kind, by_identifier, path


def unindexed(aggregate_type: str) -> bytes:
    """Return the key of what is left to do before the referrers' index is right for a type."""
    return UNINDEXED + aggregate_type.encode() + b"\x00"


def folded(aggregate_type: str) -> bytes:
    """Return the key of the fold mark that all heads of a type have."""
    return FOLDED + aggregate_type.encode() + b"\x00"


def subject(digest: bytes) -> bytes:
    """Return the key of a data subject, by a digest of its name."""
    return SUBJECT + digest


def subject_events(number: int, aggregate: bytes = b"") -> bytes:
    """Return what the keys of all events about a data subject start with, in an aggregate or in
    all."""
    return SUBJECT_EVENT + _U64.pack(number) + aggregate


def subject_event(number: int, aggregate: bytes, version: int) -> bytes:
    """Return the key that says: this event is about that data subject."""
    return subject_events(number, aggregate) + _U64.pack(version)


def split_subject_event(key: bytes) -> tuple[bytes, int]:
    """Return (canonical name, version) of such a key."""
    return key[len(SUBJECT_EVENT) + 8 : -8], int.from_bytes(key[-8:], "big")


def erasure(number: int, aggregate: bytes = b"") -> bytes:
    """Return the key of an erasure that is under way, or of its work on one aggregate."""
    return ERASURE + _U64.pack(number) + aggregate


def split_erasure(key: bytes) -> tuple[int, bytes]:
    """Return (number, canonical name) of such a key; the name is empty for the erasure itself."""
    place = len(ERASURE)
    return int.from_bytes(key[place : place + 8], "big"), key[place + 8 :]


def staged_of(owner: bytes) -> bytes:
    """Return what the keys of all that a user has staged start with; ``owner`` is a digest."""
    return STAGED + owner


def staged(owner: bytes, entry_id: int) -> bytes:
    """Return the key of one event that is staged; ids grow, so its order is that of staging."""
    return STAGED + owner + _U64.pack(entry_id)


def after(prefix: bytes) -> bytes:
    """Return the smallest key greater than every key that starts with ``prefix``."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))
