"""The published versions of a domain's schemas, and the log of who did what with them.

Pure: ids, look-ups by word, and the manifest that tools read. Where it is kept is the store's
matter; how two versions differ is in ``comparing``.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias

from eventdbx import limits
from eventdbx.domain.timestamps import NS_PER_MS, NS_PER_S, format_ns
from eventdbx.errors import ConfigError, InvalidSchema, UnknownName

Action: TypeAlias = Literal["publish", "activate", "rollback"]

ALREADY_ACTIVE = "requested version already active"
AUTOSAVE = "autosave before activate"


class Version(NamedTuple):
    """One published version. ``created_at`` is in nanoseconds; ``content`` is the digest of the
    set without its times, ``checksum`` that of its text."""

    id: str
    created_at: int
    author: str | None
    reason: str | None
    parent: str | None
    checksum: str
    labels: tuple[str, ...]
    content: str


class AuditEntry(NamedTuple):
    """One thing that was done with a version; the time is in nanoseconds."""

    timestamp: int
    actor: str | None
    action: Action
    version: str
    reason: str | None
    details: str | None


class History(NamedTuple):
    """All versions, oldest first, what was done with them, and which one is active."""

    versions: tuple[Version, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    active: str | None = None

    @property
    def latest(self) -> Version | None:
        """The version published last."""
        return self.versions[-1] if self.versions else None

    def find(self, word: str) -> Version:
        """Return the version that an id, a label, ``active`` or ``latest`` names.

        Of several versions with the label it is the newest. Raises UnknownName.
        """
        lowered = word.strip().lower()
        if lowered == "latest":
            if not self.versions:
                raise UnknownName("no schema versions recorded")
            return self.versions[-1]
        if lowered == "active":
            if self.active is None:
                raise UnknownName("no active schema version available")
            word = self.active
        for version in self.versions:
            if version.id == word:
                return version
        for version in reversed(self.versions):
            if word in version.labels:
                return version
        raise UnknownName(f"schema version '{word}' was not found")

    def before_active(self) -> Version:
        """Return the version published before the active one. Raises UnknownName."""
        ids = [version.id for version in self.versions]
        if self.active is None or self.active not in ids:
            raise UnknownName("no active schema version available")
        place = ids.index(self.active)
        if place == 0:
            raise UnknownName("no earlier schema version to roll back to")
        return self.versions[place - 1]


def checksum(text: bytes) -> str:
    """Return the checksum of a version's text as the manifest spells it."""
    return "sha256:" + sha256(text).hexdigest()


def version_id(now_ns: int, taken: Container[str]) -> str:
    """Return the id of a version published now: the time, and a number when that is taken.

    Raises ConfigError when a millisecond has given away all its ids.
    """
    moment = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    millis = now_ns // NS_PER_MS % 1_000
    name = f"v{moment:%Y%m%dT%H%M%S}{millis:03d}Z"
    if name not in taken:
        return name
    for number in range(1, 999):
        numbered = f"{name}-{number:02d}"
        if numbered not in taken:
            return numbered
    raise ConfigError("too many schema versions in one millisecond; publish again")


def cleaned(text: str | None) -> str | None:
    """Return a text of a person without space around it, None if nothing is left.

    Raises InvalidSchema for one that is too long.
    """
    return _bounded((text or "").strip(), "reason or actor") or None


def cleaned_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels without space around them and without blank ones, in their order.

    Raises InvalidSchema for one that is too long.
    """
    return tuple(_bounded(label.strip(), "label") for label in labels if label.strip())


def _bounded(text: str, what: str) -> str:
    if len(text.encode()) > limits.COMMENT_BYTES_MAX:
        raise InvalidSchema(f"{what} cannot exceed {limits.COMMENT_BYTES_MAX} bytes")
    return text


def file_of(version: str) -> str:
    """Return where a version's text lies, relative to the domain's folder."""
    return f"schemas/versions/{version}.json"


def manifest(history: History) -> dict[str, Any]:
    """Return the manifest of a history as JSON values, keys in the order of its file."""
    return {
        "manifest_version": 1,
        "active_version": history.active,
        "versions": [_version(one) for one in history.versions],
        "audit_log": [_entry(one) for one in history.audit],
    }


def _version(version: Version) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": version.id,
        "file": file_of(version.id),
        "created_at": format_ns(version.created_at),
        "author": version.author,
        "reason": version.reason,
        "parent": version.parent,
        "checksum": version.checksum,
        "labels": list(version.labels) or None,
    }
    return {key: value for key, value in document.items() if value is not None}


def _entry(entry: AuditEntry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "timestamp": format_ns(entry.timestamp),
        "actor": entry.actor,
        "action": entry.action,
        "version": entry.version,
        "reason": entry.reason,
        "details": entry.details,
    }
    return {key: value for key, value in document.items() if value is not None}
