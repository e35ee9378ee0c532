"""Responses of the control protocol as values, and how large each is on the wire.

JSON documents are the bytes that go out, never parsed here. A response is laid out as a few words
of data and a few texts (:class:`Layout`); the bytes are made of that in
:mod:`eventdbx.wire.codec_responses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from eventdbx import limits


class AggregatesPage(NamedTuple):
    """Some aggregates as a JSON array, and where to go on."""

    json: bytes
    next_cursor: str | None = None
    resolved_json: bytes | None = None


class AggregateFound(NamedTuple):
    """One aggregate, or None."""

    json: bytes | None
    resolved_json: bytes | None = None


class EventsPage(NamedTuple):
    """Some events as a JSON array, and where to go on."""

    json: bytes
    next_cursor: str | None = None


class OutboxPage(NamedTuple):
    """Some events as a JSON array, and the id after which to go on."""

    json: bytes
    next_after: int | None = None


class EventReply(NamedTuple):
    """The event that an append or a patch wrote."""

    json: bytes


class AggregateReply(NamedTuple):
    """The aggregate that was created."""

    json: bytes


class ArchiveReply(NamedTuple):
    """The aggregate that was archived or restored."""

    json: bytes


class VerifyReply(NamedTuple):
    """The Merkle root of an aggregate, lowercase hexadecimal."""

    root: str


class Selection(NamedTuple):
    """The selected values as a JSON object, or None without such an aggregate."""

    json: bytes | None


class SnapshotReply(NamedTuple):
    """The snapshot that was made."""

    json: bytes


class SnapshotsReply(NamedTuple):
    """Some snapshots as a JSON array."""

    json: bytes


class SnapshotFound(NamedTuple):
    """One snapshot, or None."""

    json: bytes | None


class ReferrersReply(NamedTuple):
    """The aggregates that refer to one, as a JSON array."""

    json: bytes


class SchemasReply(NamedTuple):
    """All schemas as a JSON object."""

    json: bytes


class SchemasReplaced(NamedTuple):
    """How many schemas there are now."""

    replaced: int


class TenantAssigned(NamedTuple):
    """Whether anything changed, and the shard."""

    changed: bool
    shard: str


class TenantUnassigned(NamedTuple):
    """Whether anything changed."""

    changed: bool


class TenantQuota(NamedTuple):
    """Whether anything changed, and the quota in MiB or None."""

    changed: bool
    quota_mib: int | None


class TenantQuotaCleared(NamedTuple):
    """Whether anything changed."""

    changed: bool


class TenantStorage(NamedTuple):
    """What a tenant's store holds, in bytes."""

    storage_bytes: int


class TenantReloaded(NamedTuple):
    """Whether the store was opened anew."""

    reloaded: bool


class TenantSchemaPublished(NamedTuple):
    """The version that was kept, and what was done about it."""

    version: str
    activated: bool
    skipped: bool


class Extension(NamedTuple):
    """The answer to an extension request: a JSON document of any length."""

    json: bytes


class Failed(NamedTuple):
    """An error: its stable code, the whole message, and for some a JSON document about it."""

    code: str
    message: str
    details: bytes = b""


Response = (
    AggregatesPage
    | AggregateFound
    | EventsPage
    | OutboxPage
    | EventReply
    | AggregateReply
    | ArchiveReply
    | VerifyReply
    | Selection
    | SnapshotReply
    | SnapshotsReply
    | SnapshotFound
    | ReferrersReply
    | SchemasReply
    | SchemasReplaced
    | TenantAssigned
    | TenantUnassigned
    | TenantQuota
    | TenantQuotaCleared
    | TenantStorage
    | TenantReloaded
    | TenantSchemaPublished
    | Extension
    | Failed
)


BLANKABLE: frozenset[type] = frozenset((EventReply, AggregateReply, ArchiveReply, SnapshotReply))
"""Answers to writes: clients know them with a blank text, too."""


class Layout(NamedTuple):
    """A response as its struct: which member of the union, data words, texts in order."""

    discriminant: int
    words: tuple[int, ...]
    texts: tuple[bytes, ...]


EVENT_DISCRIMINANT = 3
ERROR_DISCRIMINANT = 6
CREATE_DISCRIMINANT = 7
EXTENSION_DISCRIMINANT = 23


def _aggregates(r: AggregatesPage) -> Layout:
    flags = (r.next_cursor is not None) | (r.resolved_json is not None) << 1
    return Layout(0, (flags,), (r.json, (r.next_cursor or "").encode(), r.resolved_json or b""))


def _aggregate(r: AggregateFound) -> Layout:
    flags = (r.json is not None) | (r.resolved_json is not None) << 1
    return Layout(1, (flags,), (r.json or b"", r.resolved_json or b""))


def _events(r: EventsPage) -> Layout:
    has_cursor = r.next_cursor is not None
    return Layout(2, (has_cursor,), (r.json, (r.next_cursor or "").encode()))


def _outbox(r: OutboxPage) -> Layout:
    return Layout(22, (r.next_after or 0, r.next_after is not None), (r.json,))


def _maybe(discriminant: int) -> Callable[[Any], Layout]:
    return lambda r: Layout(discriminant, (r.json is not None,), (r.json or b"",))


def _json(discriminant: int) -> Callable[[Any], Layout]:
    return lambda r: Layout(discriminant, (), (r.json,))


def _number(discriminant: int) -> Callable[[Any], Layout]:
    return lambda r: Layout(discriminant, (int(r[0]),), ())


def _failed(r: Failed) -> Layout:
    texts = r.code.encode(), r.message.encode("utf-8", "replace")
    # Without details the struct is that of the published schema, to the byte.
    return Layout(ERROR_DISCRIMINANT, (), (*texts, r.details) if r.details else texts)


_LAYOUTS: dict[type, Callable[[Any], Layout]] = {
    AggregatesPage: _aggregates,
    AggregateFound: _aggregate,
    EventsPage: _events,
    EventReply: _json(EVENT_DISCRIMINANT),
    VerifyReply: lambda r: Layout(4, (), (r.root.encode(),)),
    Selection: _maybe(5),
    Failed: _failed,
    AggregateReply: _json(CREATE_DISCRIMINANT),
    ArchiveReply: _json(8),
    SchemasReply: _json(9),
    SchemasReplaced: _number(10),
    TenantAssigned: lambda r: Layout(11, (int(r.changed),), (r.shard.encode(),)),
    TenantUnassigned: _number(12),
    TenantQuota: lambda r: Layout(
        13, (r.changed | (r.quota_mib is not None) << 1, r.quota_mib or 0), ()
    ),
    TenantQuotaCleared: _number(14),
    TenantStorage: _number(15),
    TenantReloaded: _number(16),
    TenantSchemaPublished: lambda r: Layout(
        17, (r.activated | r.skipped << 1,), (r.version.encode(),)
    ),
    SnapshotReply: _json(18),
    SnapshotsReply: _json(19),
    SnapshotFound: _maybe(20),
    ReferrersReply: _json(21),
    OutboxPage: _outbox,
}


def layout(response: Response) -> Layout:
    """Return how a response is laid out. Extensions have parts and no single layout."""
    return _LAYOUTS[type(response)](response)


def message_bytes(response: Response) -> int:
    """Return the exact length of the stream message of a response that is not an extension."""
    _discriminant, words, texts = layout(response)
    size = 40 + 8 * (len(words) + len(texts))
    for text in texts:
        size += (len(text) + 8) & ~7
    return size


def fits(response: Response) -> bool:
    """Return whether a response goes into one frame; extensions always do, in parts."""
    if isinstance(response, Extension):
        return len(response.json) <= limits.RESPONSE_BYTES_MAX
    return message_bytes(response) <= limits.FRAME_PLAINTEXT_BYTES_MAX
