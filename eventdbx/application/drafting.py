"""From what a client sent to a checked draft: names, JSON, sizes, reserved metadata keys.

Nothing here looks at the store; what depends on the aggregate is checked by the writer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from eventdbx import limits
from eventdbx.domain.aggregate import Draft
from eventdbx.domain.canonical import JSON, dump, parse
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.entries import PAYLOAD_MODES, PRIORITIES
from eventdbx.domain.delivery.targets import targets_as_given
from eventdbx.domain.events import Actor, Event
from eventdbx.domain.identifiers import (
    ERASED_TYPE,
    SUBJECT_KEY,
    check_aggregate_id,
    check_aggregate_type,
    check_metadata,
    check_note,
    normalise_event_type,
    normalise_extension_key,
)
from eventdbx.errors import InvalidSchema

EXPECTED_VERSION = "@expected_version"
IDEMPOTENCY_KEY = "@idempotency_key"
"""Metadata keys through which clients without our extensions reach them; never stored."""

_MISSING = {
    "append": "payload_json must be provided when patch_json is absent",
    "apply": "payload_json must be provided when patch_json is absent",
    "create": "payload_json must be provided when creating an aggregate",
    "patch": "patch_json must be provided for patch events",
}


class DraftWrite(NamedTuple):
    """A checked write: for a patch, ``draft.payload`` is still the list of operations."""

    command: Write
    draft: Draft
    expected_version: int | None
    idempotency_key: str | None

    def with_payload(self, payload: JSON) -> Draft:
        """Return the draft with the payload that a patch came to, its size checked again."""
        text = dump(payload)
        check_payload_size(text)
        return self.draft._replace(payload=payload, payload_json=text)

    def identity(self) -> tuple[bytes, ...]:
        """Return what makes a retry the same request: everything but the idempotency key."""
        draft, targets = self.draft, self.command.publish_targets
        return (
            self.command.kind.encode(),
            self.command.aggregate_type.encode(),
            self.command.aggregate_id.encode(),
            self.command.event_type.encode(),
            draft.payload_json,
            draft.extensions_json or b"",
            b"" if draft.note is None else b"\x01" + draft.note.encode(),
            b"" if self.expected_version is None else str(self.expected_version).encode(),
            *(dump(list(target)) for target in targets_as_given(targets)),
        )


def draft_write(write: Write, actor: Actor | None) -> DraftWrite:
    """Check everything about a write that can be checked without the store.

    Raises InvalidSchema with the texts of the control protocol.
    """
    if write.content is None:
        raise InvalidSchema(_MISSING[write.kind])
    patch = write.kind == "patch"
    payload = _parse(write.content, "patch_json" if patch else "payload_json")
    metadata = None
    if write.metadata is not None:
        metadata = _parse(write.metadata, "metadata_json")
    return draft_values(write, payload, metadata, actor)


def draft_values(write: Write, payload: JSON, metadata: JSON, actor: Actor | None) -> DraftWrite:
    """Check a write whose texts have been read; ``metadata`` is None where there is none.

    Raises InvalidSchema with the texts of the control protocol.
    """
    for target in write.publish_targets:
        check_publish_target(target)
    check_aggregate_type(write.aggregate_type)
    event_type = normalise_event_type(write.event_type)
    if event_type == ERASED_TYPE:
        raise InvalidSchema(f"event_type {ERASED_TYPE} is reserved: only an erasure writes it")
    check_aggregate_id(write.aggregate_id)
    expected, key = write.expected_version, write.idempotency_key
    extensions: dict[str, JSON] | None = None
    extensions_json: bytes | None = None
    subject = None
    if metadata is not None:
        check_metadata(metadata)
        assert isinstance(metadata, dict)
        expected, key, extensions = _reserved(metadata, expected, key)
        if extensions is not None:
            subject = _subject(extensions)
            extensions_json = dump(extensions)
            if len(extensions_json) > limits.METADATA_BYTES_MAX:
                raise InvalidSchema(
                    f"metadata exceeds maximum size of {limits.METADATA_BYTES_MAX} bytes"
                )
    text = dump(payload)
    check_payload_size(text)
    if write.note is not None:
        check_note(write.note)
    if key is not None:
        check_idempotency_key(key)
    # Who has no session spells the type of an event only where it differs.
    raw = None if actor is None and write.event_type == event_type else write.event_type
    draft = Draft(
        event_type,
        raw,
        payload,
        text,
        extensions,
        extensions_json,
        actor,
        write.note,
        None,
        subject,
    )
    return DraftWrite(write, draft, expected, key)


def check_payload_size(text: bytes) -> None:
    """Raise InvalidSchema when the compact payload is longer than a payload may be."""
    if len(text) > limits.PAYLOAD_BYTES_MAX:
        raise InvalidSchema(
            f"payload_json exceeds maximum size of {limits.PAYLOAD_BYTES_MAX} bytes"
        )


def check_idempotency_key(key: str) -> None:
    """Raise InvalidSchema when an idempotency key is empty or too long."""
    if not 0 < len(key.encode()) <= limits.IDEMPOTENCY_KEY_BYTES_MAX:
        raise InvalidSchema(
            f"idempotency key must have 1 to {limits.IDEMPOTENCY_KEY_BYTES_MAX} bytes"
        )


def check_publish_target(target: PublishTarget) -> None:
    """Raise InvalidSchema when a publish target names no plugin, or an unknown mode or priority."""
    if not target.plugin.strip():
        raise InvalidSchema("publish target plugin cannot be empty")
    if target.mode is not None and target.mode.lower() not in PAYLOAD_MODES:
        raise InvalidSchema(f"invalid publish mode '{target.mode}'")
    if target.priority is not None and target.priority.lower() not in PRIORITIES:
        raise InvalidSchema(f"invalid publish priority '{target.priority}'")


def _parse(text: str | bytes, field: str) -> JSON:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidSchema(f"invalid {field}: {error}") from None


def _subject(extensions: dict[str, JSON]) -> str | None:
    """Return whom an event is about, None if nobody is named."""
    named = [value for key, value in extensions.items() if is_subject_key(key)]
    if not named:
        return None
    if len(named) > 1:
        raise InvalidSchema(f"metadata key '{SUBJECT_KEY}' is given more than once")
    return check_subject(named[0])


def subject_of(event: Event) -> str | None:
    """Return whom a stored event is about, None if nobody is named or it is erased."""
    if event.extensions is None or SUBJECT_KEY.encode() not in event.extensions.lower():
        return None
    named: dict[str, JSON] = orjson.loads(event.extensions)
    found = next((value for key, value in named.items() if is_subject_key(key)), None)
    return found if isinstance(found, str) else None


def is_subject_key(key: str) -> bool:
    """Say whether a metadata key is that of the data subject, however it is spelled."""
    return len(key) == len(SUBJECT_KEY) and normalise_extension_key(key) == SUBJECT_KEY


def check_subject(name: JSON) -> str:
    """Return the name of a data subject. Raises InvalidSchema unless it is a text of 1 to 256
    bytes."""
    if type(name) is not str or not 0 < len(name.encode()) <= limits.SUBJECT_BYTES_MAX:
        raise InvalidSchema(
            f"metadata key '{SUBJECT_KEY}' must be a string of 1 to {limits.SUBJECT_BYTES_MAX} "
            "bytes"
        )
    return name


def check_reason(reason: str, subject: str | None = None) -> None:
    """Raise InvalidSchema unless a reason is given, of a bounded length.

    It stays readable, so it must not have the name of who is erased in it.
    """
    if not reason.strip():
        raise InvalidSchema("an erasure needs a reason")
    if len(reason.encode()) > limits.COMMENT_BYTES_MAX:
        raise InvalidSchema(f"the reason cannot exceed {limits.COMMENT_BYTES_MAX} bytes")
    name = re.escape((subject or "").strip())
    if name and re.search(rf"(?<!\w){name}(?!\w)", reason, re.IGNORECASE):
        raise InvalidSchema("the reason stays readable: it cannot have the name of the subject")


def _reserved(
    metadata: dict[str, JSON], expected: int | None, key: str | None
) -> tuple[int | None, str | None, dict[str, JSON] | None]:
    """Take the reserved keys out of the metadata; an explicit option wins over them."""
    if EXPECTED_VERSION not in metadata and IDEMPOTENCY_KEY not in metadata:
        return expected, key, metadata
    rest = dict(metadata)
    version = rest.pop(EXPECTED_VERSION, None)
    text = rest.pop(IDEMPOTENCY_KEY, None)
    if version is not None and (type(version) is not int or version < 0):
        raise InvalidSchema(f"metadata key '{EXPECTED_VERSION}' must be a non-negative integer")
    if text is not None and type(text) is not str:
        raise InvalidSchema(f"metadata key '{IDEMPOTENCY_KEY}' must be a string")
    if expected is None and version is not None:
        expected = int(orjson.dumps(version))
    return expected, key if key is not None or text is None else str(text), rest or None
