"""What a caller can ask the writer to do, as values."""

from __future__ import annotations

from typing import Literal, NamedTuple

WriteKind = Literal["create", "append", "patch", "apply"]


class PublishTarget(NamedTuple):
    """One plugin that an event is meant for, with its payload mode and priority."""

    plugin: str
    mode: str | None
    priority: str | None


class Write(NamedTuple):
    """One event to be written.

    ``create`` refuses an existing aggregate, ``append`` creates a missing one, ``apply`` and
    ``patch`` refuse a missing one. ``content`` is the payload as JSON text, for a patch the
    JSON Patch (RFC 6902). ``expected_version`` 0 means that the aggregate must not exist, None
    that any version will do. ``idempotency_key`` makes a retry return the first result. ``receipt``
    asks for the proof that the event is in the log, beside the answer.
    """

    kind: WriteKind
    aggregate_type: str
    aggregate_id: str
    event_type: str
    content: str | bytes | None
    metadata: str | bytes | None = None
    note: str | None = None
    publish_targets: tuple[PublishTarget, ...] = ()
    expected_version: int | None = None
    idempotency_key: str | None = None
    receipt: bool = False
