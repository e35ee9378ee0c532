"""The small records beside the timelines: each must read as its family says, and none be unknown.

What a record of these families says is checked only as far as something else in the store says
it, too; a store that seals its values finds changed bytes by itself (docs/integrity.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import orjson

from eventdbx.application.integrity.findings import Found, elsewhere
from eventdbx.application.integrity.reading import Damage, readable
from eventdbx.application.subjects import SECRET_BYTES, decode_subject
from eventdbx.domain.schemas.upcasting import FOLD_MARK_BYTES
from eventdbx.errors import StorageError
from eventdbx.storage import catalog, erasures, keys, outbox, records
from eventdbx.storage.contents import parts
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.staged import decode_entry

Row: TypeAlias = "Callable[[IReadView, bytes, bytes], str | None]"
"""Says what is wrong with (view, key, record), or returns None; StorageError says it, too."""

_DIGEST_BYTES = 32
_END = b"\xff" * 16


def _remembered(view: IReadView, key: bytes, record: bytes) -> str | None:
    remembered = records.decode_remembered(record)
    if records.encode_remembered(remembered) != record:
        return "it is not written as idempotency results are"
    for aggregate_type, aggregate_id, version in remembered.events:
        if not _is_there(view, keys.event(keys.name(aggregate_type, aggregate_id), version)):
            return f"it leads to {aggregate_type}::{aggregate_id} v{version}, which is not there"
    if view.get(keys.idempotency_age(remembered.millis, key[1:])) is None:
        return "it is not in the index by age"
    return None


def _is_there(view: IReadView, key: bytes) -> bool:
    try:
        return view.get(key) is not None
    except StorageError:
        return True  # That it is damaged is said of itself.


def _remembered_age(view: IReadView, key: bytes, record: bytes) -> str | None:
    kept = view.get(keys.idempotency(key[-_DIGEST_BYTES:]))
    if kept is None or record:
        return "it leads to no idempotency result"
    millis = records.decode_remembered(kept).millis
    if keys.idempotency_age(millis, key[-_DIGEST_BYTES:]) == key:
        return None
    # A key that was used again after its time keeps its older entry until that is forgotten.
    return None if millis > int.from_bytes(key[1:9], "big") - (1 << 63) else "its age is wrong"


def _tail(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    records.decode_tail(record)
    return None


def _run(view: IReadView, key: bytes, record: bytes) -> str | None:
    if record:
        return "it is not empty"
    return None if _is_there(view, keys.LOG + key[1:]) else "it is no place of the log"


def _schema(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    if not record.startswith(catalog.FORMAT):
        return "unknown format of a schema record"
    orjson.loads(record[1:])
    return None


def _folded(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return None if record == b"?" or len(record) == FOLD_MARK_BYTES else "it is no fold mark"


def _unindexed(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    again = records.encode_unindexed(records.decode_unindexed(record))
    return None if again == record else "it is not written as unfinished indexes are"


def _cursor(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    outbox.decode_cursor(record)
    return None


def _held(_view: IReadView, key: bytes, record: bytes) -> str | None:
    _plugin, kind, identifier, _rest = key[2:].split(b"\x00", 3)
    outbox.decode_held(kind + b"\x00" + identifier + b"\x00", record)
    return None


def _number(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return None if len(record) == 8 else "it is no number"


def _token_writes(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return None if len(record) == 9 and record[0] == 1 else "it is no number of writes"


def _empty(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return "it is not empty" if record else None


def _secret(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return None if len(record) == SECRET_BYTES else "it is no secret"


def _subject(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    decode_subject(record)
    return None


def _subject_event(view: IReadView, key: bytes, record: bytes) -> str | None:
    if record or view.get(keys.event(*keys.split_subject_event(key))) is None:
        return "it leads to no event"
    return None


def _erasure(view: IReadView, key: bytes, record: bytes) -> str | None:
    number, name = keys.split_erasure(key)
    if not name:
        erasures.decode_erasure(number, record)
    elif erasures.decode_part(name, record) and view.get(keys.erasure(number)) is None:
        return "it is of no erasure"
    return None


def _staged(_view: IReadView, key: bytes, record: bytes) -> str | None:
    # One whose key an erasure has destroyed is on its way out.
    if not parts(record)[1]:
        decode_entry(key, record)
    return None


def _mark(_view: IReadView, _key: bytes, record: bytes) -> str | None:
    return None if len(record) == 32 else "it is no digest"


ROWS: dict[bytes, tuple[str, Row]] = {
    b"\x00": ("record of the store itself", lambda _view, _key, _record: None),
    keys.TAIL: ("tail of a log", _tail),
    keys.LOG_RUN: ("place where another domain was merged in", _run),
    keys.IDEMPOTENCY: ("idempotency result", _remembered),
    keys.IDEMPOTENCY_AGE: ("entry of the index of idempotency results", _remembered_age),
    keys.UNINDEXED: ("unfinished index", _unindexed),
    keys.FOLDED: ("fold mark", _folded),
    keys.SCHEMA_SET: ("set of schemas", _schema),
    keys.SCHEMA_STATE: ("state of the schemas", _schema),
    keys.SCHEMA_VERSION: ("schema version", _schema),
    keys.SCHEMA_TEXT: ("text of a schema version", lambda _view, _key, _record: None),
    keys.SCHEMA_AUDIT: ("entry of the schemas' audit", _schema),
    keys.SCHEMA_CHANGE: ("change of schemas", _schema),
    keys.SCHEMA_DOCUMENT: ("schema", _schema),
    keys.PLUGIN_CURSOR: ("cursor of a plugin", _cursor),
    keys.PLUGIN_HELD: ("job of a plugin", _held),
    keys.PLUGIN_DONE: ("deliveries of a plugin", _number),
    keys.SUBJECT_SECRET: ("secret of data subjects", _secret),
    keys.SUBJECT: ("data subject", _subject),
    keys.SUBJECT_EVENT: ("entry of the index of data subjects", _subject_event),
    keys.ERASURE: ("erasure that is under way", _erasure),
    keys.STAGED: ("staged event", _staged),
    keys.STAGED_FILE: ("mark of a file that was taken over", _mark),
    keys.TOKEN_WRITES: ("writes of a token", _token_writes),
    keys.TOKEN_WRITES_END: ("end of a token", _empty),
}
"""What is checked here, by the beginning of keys: what it is called, and how it must be."""

ELSEWHERE: tuple[bytes, ...] = (
    keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED, keys.EVENT, keys.LOG, keys.CREATED_ACTIVE,
    keys.CREATED_ARCHIVED, keys.UPDATED_ACTIVE, keys.UPDATED_ARCHIVED, keys.SNAPSHOT,
    keys.SNAPSHOT_ID, keys.ARCHIVE_AUDIT, keys.REFERRER, keys.CHECKPOINT,
    keys.MAP_BUCKET, keys.MAP_PLACE,
)  # fmt: skip
"""What other modules of this package check."""


def check_rows(view: IReadView, start: bytes) -> Iterator[tuple[bytes, Found]]:
    """Yield (key, finding or bytes read) for all families of this module, and for unknown keys."""
    while True:
        for item in readable(view, start, _END):
            if isinstance(item, Damage) and item.key is None:
                yield item.stop, elsewhere(item.called("record"), item.why)
                continue
            why = item.why if isinstance(item, Damage) else None
            key, record = (item.key or b"", b"") if isinstance(item, Damage) else item
            other = next((one for one in ELSEWHERE if key.startswith(one)), None)
            if other is not None:
                start = keys.after(other)
                break
            yield key, len(key) + len(record)
            finding = _check(view, key, record, why)
            if finding is not None:
                yield key, finding
        else:
            return


def _check(view: IReadView, key: bytes, record: bytes, why: str | None) -> Found | None:
    family = next((one for one in ROWS if key.startswith(one)), None)
    if family is None:
        return elsewhere(f"record {key.hex()}", "it is of no family that is known")
    what, row = ROWS[family]
    try:
        problem = why or row(view, key, record)
    except StorageError as error:
        problem = error.detail
    except (ValueError, TypeError, KeyError) as error:
        problem = f"unreadable: {error}"
    return None if problem is None else elsewhere(f"{what} {key.hex()}", problem)
