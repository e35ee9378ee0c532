"""Events as plugins see them: from messages of the server, or from JSON documents in tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from eventdbx.wire.plugin_reading import Received

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAFE = re.compile(r"[^A-Za-z0-9-]")
_UNREAD: Any = object()
_PARTS = ("event", "state", "schema")


class Unavailable(Exception):
    """Raised by a projection when the event is not the reason: a database or a host is away.

    The event comes again, after ``retry_after_s`` seconds if given, and the server holds back the
    others meanwhile.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Event:
    """One event, with what the plugin's payload mode lets through.

    ``aggregate_type``, ``aggregate_id`` and ``version`` say which one it is; ``event_id`` and
    ``event_type`` are "" and ``payload`` is None where the mode leaves the event out, ``state`` and
    ``schema`` are None where it leaves those out. ``version`` is then that of the state.
    ``state`` has texts for values, as the store shows them. ``position`` is an opaque token of the
    event's place in the log of ``domain``. ``purpose`` is ``live``, ``replay`` or ``test``;
    ``attempt`` counts from 1. JSON is parsed when it is asked for.
    """

    __slots__ = (
        "sequence", "domain", "position", "purpose", "attempt", "more",
        "aggregate_type", "aggregate_id", "version", "event_type", "event_id",
        "created_at_micros", "hash", "merkle_root",
        "state_version", "archived", "state_merkle_root",
        "_payload_json", "_metadata_json", "_schema_json", "_extensions_json",
        "_received", "_payload", "_metadata", "_state",
    )  # fmt: skip

    def __init__(self, received: Received, state: dict[str, str] | None = None) -> None:
        """Take an event as it was read; ``state`` replaces that of the message."""
        (
            self.sequence,
            self.version,
            self.created_at_micros,
            self.state_version,
            self.archived,
            texts,
            self._schema_json,
            self._extensions_json,
            self.domain,
            self.position,
            self.purpose,
            self.attempt,
            self.more,
            _,
        ) = received
        (
            self.aggregate_type,
            self.aggregate_id,
            self.event_type,
            self.event_id,
            self._payload_json,
            self._metadata_json,
            self.hash,
            self.merkle_root,
            self.state_merkle_root,
        ) = texts
        self._received = received
        self._payload = self._metadata = _UNREAD
        self._state: dict[str, str] | None = _UNREAD if state is None else state

    def __repr__(self) -> str:
        return (
            f"<{self.event_type or 'state'} {self.aggregate_type}/{self.aggregate_id}"
            f" v{self.version} {self.purpose}>"
        )

    @property
    def payload(self) -> Any:
        """The payload as JSON values; None where it is left out or erased."""
        if self._payload is _UNREAD:
            self._payload = _value(self._payload_json)
        return self._payload

    @property
    def metadata(self) -> dict[str, Any]:
        """``event_id``, ``created_at``, ``issued_by`` and ``note``; empty without the event."""
        if self._metadata is _UNREAD:
            self._metadata = _value(self._metadata_json) or {}
        found: dict[str, Any] = self._metadata
        return found

    @property
    def extensions(self) -> Any:
        """What clients attached under keys that begin with ``@``, None if nothing."""
        return _value(self._extensions_json)

    @property
    def schema(self) -> Any:
        """The schema of the type that is now in force, None if there is none."""
        return _value(self._schema_json)

    @property
    def state(self) -> dict[str, str] | None:
        """The state of the aggregate just after this event."""
        if self._state is _UNREAD:
            self._state = self._received.state() if self.state_version else None
        return self._state

    @property
    def created_at(self) -> datetime:
        """When the event was committed, in UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.created_at_micros)

    @property
    def is_replay(self) -> bool:
        """True when an operator asked for it again: it may be older than what came before."""
        return self.purpose == "replay"

    @property
    def is_test(self) -> bool:
        """True for the sample of ``dbx plugin test``, of which nothing must stay."""
        return self.purpose == "test"

    @property
    def key(self) -> str:
        """The same at every delivery of this event: for ``Idempotency-Key`` and the like."""
        own = self.event_id or f"{self.aggregate_type}_{self.aggregate_id}_{self.version}"
        return _UNSAFE.sub("_", f"{self.domain}_{own}")

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, purpose: str = "live") -> Event:
        """Return the event of a JSON document, for tests.

        It is the body that an http plugin gets (``event``, ``state``, ``schema``), or an event as
        ``dbx events --json`` lists it. Raises ValueError.
        """
        parts: Mapping[str, Any] = document
        if not any(isinstance(document.get(part), dict) for part in _PARTS):
            parts = {"event": document}
        record, head, schema = (_part(parts, part) for part in _PARTS)
        try:
            return cls(*_read(document, record, head, schema, purpose))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"this is not the document of an event: {error!r}") from None


def _value(text: str) -> Any:
    return orjson.loads(text) if text else None


def _part(parts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = parts.get(name)
    return part if isinstance(part, dict) else {}


def _read(
    document: Mapping[str, Any],
    record: Mapping[str, Any],
    head: Mapping[str, Any],
    schema: Mapping[str, Any],
    purpose: str,
) -> tuple[Received, dict[str, str] | None]:
    """Return what a message would have said, and the state."""
    metadata = record.get("metadata", {})
    either = record or head
    kind = either["aggregate_type"] if either else schema["aggregate"]
    texts = [
        kind,
        either.get("aggregate_id", ""),
        record.get("event_type", ""),
        str(metadata.get("event_id", "")),
        _text(record.get("payload")),
        _text(metadata or None),
        record.get("hash", ""),
        record.get("merkle_root", ""),
        head.get("merkle_root", ""),
    ]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is not a text")
    micros = 0
    if "created_at" in metadata:
        micros = (datetime.fromisoformat(metadata["created_at"]) - _EPOCH) // timedelta(
            microseconds=1
        )
    received = Received(
        0,
        int(either.get("version", 0)),
        micros,
        int(head.get("version", 0)),
        bool(head.get("archived", False)),
        texts,
        _text(schema or None),
        _text(record.get("extensions")),
        str(document.get("domain", "default")),
        str(document.get("position", "")),
        purpose,
        1,
        False,
        None,
    )
    return received, dict(head.get("state", {})) if head else None


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
