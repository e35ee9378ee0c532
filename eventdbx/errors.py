"""One exception family; the stable code of each error lives on its class.

The codes and message prefixes are those of the control protocol (docs/protocol.md).
Tables that turn a code into an HTTP or exit status live with their surface, not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?")


def without_tokens(text: str) -> str:
    """Return a text with each token in it replaced by a word.

    People put tokens where names belong, and texts about it end up in logs and reports.
    """
    return _TOKEN.sub("<token>", text) if "eyJ" in text else text


class EventDBXError(Exception):
    """Anything that the caller did wrong or that the store cannot do.

    ``str(error)`` is the whole message as it travels on the wire; ``error.detail`` is the part
    after the prefix of the class.
    """

    code: ClassVar[str] = "storage"
    prefix: ClassVar[str] = ""
    fixed: ClassVar[str | None] = None
    write: int | None = None
    """Which write of several was refused, counted from 0; None where that says nothing."""

    def __init__(self, detail: str = "") -> None:
        self.detail = detail = without_tokens(detail)
        super().__init__(self.fixed if self.fixed is not None else self.prefix + detail)


class InvalidToken(EventDBXError):
    """The token is malformed, badly signed, revoked or empty."""

    code = "invalid_token"
    fixed = "token not found or inactive"


class TokenExpired(EventDBXError):
    """The token was good once."""

    code = "token_expired"
    fixed = "token has expired"


class TokenLimitReached(EventDBXError):
    """The token has used up its writes."""

    code = "token_limit_reached"
    fixed = "token write limit reached"


class Unauthorized(EventDBXError):
    """The token is valid but does not allow this."""

    code = "unauthorized"
    fixed: ClassVar[str | None] = "unauthorized"


class AggregateNotFound(EventDBXError):
    """There is no such aggregate, or the caller may not know of it."""

    code = "aggregate_not_found"
    fixed: ClassVar[str | None] = "aggregate not found"


class AggregateArchived(EventDBXError):
    """Archived aggregates take no events."""

    code = "aggregate_archived"
    fixed = "aggregate is archived and cannot accept new events"


class SchemaExists(EventDBXError):
    """A schema of that name is there already."""

    code = "schema_exists"
    fixed = "schema already exists"


class SchemaNotFound(EventDBXError):
    """There is no schema of that name."""

    code = "schema_not_found"
    fixed = "schema not found"


class InvalidSchema(EventDBXError):
    """A name, payload, patch, sort or filter is malformed."""

    code = "invalid_schema"
    prefix = "invalid schema: "


class SchemaViolation(EventDBXError):
    """Well-formed input that the rules of the store refuse."""

    code = "schema_violation"
    prefix = "schema violation: "


class ContractViolation(SchemaViolation):
    """An event that does not fit the schema of its aggregate type.

    ``violations`` are documents with ``step``, ``pointer``, ``rule`` and ``message``, in the order
    of the checks; the text of the error is the message of the first.
    """

    def __init__(self, detail: str, violations: Sequence[Mapping[str, str]] = ()) -> None:
        self.violations = tuple(violations)
        super().__init__(detail)


class IndexUnfinished(SchemaViolation):
    """What was asked needs the index of referrers, which does not follow the schemas yet."""


class AlreadyExists(SchemaViolation):
    """The aggregate to be created is there already, active or archived."""


class VersionConflict(SchemaViolation):
    """The aggregate is not at the version that the caller expected."""

    def __init__(self, expected: int, found: int) -> None:
        self.expected = expected
        self.found = found
        super().__init__(f"expected version {expected}, found {found}")


class IdempotencyConflict(SchemaViolation):
    """An idempotency key comes back with other content than the first time."""

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key '{key}' was already used with different content")


class InvalidCursor(EventDBXError):
    """A page token that does not parse or does not fit the request."""

    code = "invalid_cursor"
    prefix = "invalid cursor: "


class ConfigError(EventDBXError):
    """The configuration is wrong, or forbids the request."""

    code = "config"
    prefix = "configuration error: "
    key: str | None = None
    """The key whose value is wrong, where it is one."""


class UnknownName(ConfigError):
    """Nothing of the name is configured: no plugin, no version of the schemas, no domain."""


class NameTaken(ConfigError):
    """Something else has the name already."""


class StillInUse(ConfigError):
    """What is to go is at work; it must be switched off first."""


class StorageError(EventDBXError):
    """The store cannot be read or written, or its data is damaged."""

    code = "storage"
    prefix = "storage error: "


class StoreLocked(StorageError):
    """Another process holds the store."""


class StoreFailed(StorageError):
    """A commit failed; the store accepts nothing more until the process is restarted."""


class IoError(EventDBXError):
    """A file or socket failed."""

    code = "io"
    prefix = "io error: "


class SerializationError(EventDBXError):
    """A message or document cannot be read or written."""

    code = "serialization"
    prefix = "serialization error: "


class FrameTooLarge(SerializationError):
    """A single answer does not fit one frame; the message has no prefix of its own."""

    prefix = ""

    def __init__(self) -> None:
        super().__init__("control response exceeds frame limit (65535 bytes)")


class TenantQuota(EventDBXError):
    """The domain has used up its storage."""

    code = "tenant_quota"
    prefix = "tenant quota exceeded: "


class ReplicationConflict(EventDBXError):
    """Two histories of one aggregate disagree."""

    code = "replication_conflict"


class AggregateMissing(AggregateNotFound):
    """A write that never creates was sent to an aggregate that does not exist."""

    fixed: ClassVar[str | None] = None

    def __init__(self, aggregate_type: str, aggregate_id: str) -> None:
        super().__init__(f"aggregate {aggregate_type}::{aggregate_id} does not exist")


class TokenRevoked(InvalidToken):
    """The token that is to be refreshed has been revoked."""


class AttemptsExceeded(Unauthorized):
    """Too many failed attempts from one address; ``retry_after_s`` says when to try again."""

    fixed: ClassVar[str | None] = None
    beginning: ClassVar[str] = "too many failed attempts"

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.beginning}; try again in {retry_after_s} s")
