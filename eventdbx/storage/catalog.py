"""What the store keeps about schemas: the set in force, its versions, its audit.

Everything is JSON behind a format byte (docs/storage-format.md). Entries of a family are numbered
from 0 without a gap, so a view reads them with one scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import orjson

from eventdbx.domain.schemas.history import AuditEntry, History, Version
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import DamagedRecord

FORMAT = b"\x01"


class Writes(Protocol):
    """Whatever takes changes: a transaction."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Put a value under a key."""


class State(NamedTuple):
    """What is small and changes with everything: the active version, counts, exported files.

    ``files`` are the digests of the newest texts that ``schemas.json`` was given from here: with
    any other text it has been edited by hand.
    """

    active: str | None = None
    versions: int = 0
    audit: int = 0
    changes: int = 0
    files: tuple[str, ...] = ()


def _encode(value: Any) -> bytes:
    return FORMAT + orjson.dumps(value)


def _decode(record: bytes) -> Any:
    if not record.startswith(FORMAT):
        raise DamagedRecord("unknown format of a schema record")
    try:
        return orjson.loads(record[1:])
    except ValueError as error:
        raise DamagedRecord(f"unreadable schema record: {error}") from None


def load_set(view: IReadView) -> bytes | None:
    """Return the JSON text of the set in force, None if there never was one."""
    record = view.get(keys.SCHEMA_SET)
    if record is None:
        return None
    if not record.startswith(FORMAT):
        raise DamagedRecord("unknown format of a schema record")
    return bytes(record[1:])


def load_state(view: IReadView) -> State:
    """Return what is known of versions and files; raises DamagedRecord."""
    record = view.get(keys.SCHEMA_STATE)
    if record is None:
        return State()
    active, versions, audit, changes, files = _decode(record)
    return State(active, versions, audit, changes, tuple(files))


def load_history(view: IReadView, active: str | None) -> History:
    """Return all versions and audit entries; raises DamagedRecord."""
    versions = tuple(
        Version._make((*entry[:6], tuple(entry[6]), entry[7]))
        for entry in _entries(view, keys.SCHEMA_VERSION)
    )
    audit = tuple(AuditEntry(*entry) for entry in _entries(view, keys.SCHEMA_AUDIT))
    return History(versions, audit, active)


def load_text(view: IReadView, number: int) -> bytes:
    """Return the text of the version with a number; raises DamagedRecord."""
    record = view.get(keys.numbered(keys.SCHEMA_TEXT, number))
    if record is None or not record.startswith(FORMAT):
        raise DamagedRecord(f"the text of schema version number {number} is missing")
    return bytes(record[1:])


def changes(view: IReadView) -> Iterator[dict[str, Any]]:
    """Yield the log of changes of the set in force, oldest first."""
    yield from _entries(view, keys.SCHEMA_CHANGE)


def load_document(view: IReadView, digest: bytes) -> bytes | None:
    """Return the JSON text of the schema with a digest, or None."""
    record = view.get(keys.schema_document(digest))
    return None if record is None else bytes(record[1:])


def _entries(view: IReadView, family: bytes) -> Iterator[Any]:
    for _key, record in view.scan(family, keys.after(family)):
        yield _decode(record)


def put_set(writes: Writes, document: bytes) -> None:
    """Put the JSON text of the set in force."""
    writes.put(keys.SCHEMA_SET, FORMAT + document)


def put_document(writes: Writes, digest: bytes, document: bytes) -> None:
    """Keep a schema under its digest, for as long as events name it."""
    writes.put(keys.schema_document(digest), FORMAT + document)


def put_state(writes: Writes, state: State) -> None:
    """Put the small part."""
    writes.put(keys.SCHEMA_STATE, _encode(list(state)))


def put_version(writes: Writes, number: int, version: Version, text: bytes) -> None:
    """Put a published version and its text."""
    writes.put(keys.numbered(keys.SCHEMA_VERSION, number), _encode(list(version)))
    writes.put(keys.numbered(keys.SCHEMA_TEXT, number), FORMAT + text)


def put_audit(writes: Writes, number: int, entry: AuditEntry) -> None:
    """Put one entry of the audit log."""
    writes.put(keys.numbered(keys.SCHEMA_AUDIT, number), _encode(list(entry)))


def put_change(writes: Writes, number: int, change: dict[str, Any]) -> None:
    """Put one entry of the log of changes."""
    writes.put(keys.numbered(keys.SCHEMA_CHANGE, number), _encode(change))
