"""The records of issued and revoked tokens, and how they are written as JSON.

The texts are those of older programs, so that either can go on with the files of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import orjson

from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S, format_ns, parse_ns
from eventdbx.errors import SerializationError

T = TypeVar("T")

PIECE_RECORDS = 200


class TokenRecord(NamedTuple):
    """One issued token, without the token itself. Times are nanoseconds, None for never.

    ``status_revoked`` is what the file says; whether a token counts is decided by the list of
    revocations. ``digest`` (hex SHA-256 of the whole token) is what proves the token to a
    listener, ``key_mark`` tells the key that signed it; records of older programs have neither,
    and nobody is ever shown them.
    """

    jti: str
    subject: str
    group: str
    user: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    tenants: tuple[str, ...]
    issued_at: int
    not_before: int | None
    expires_at: int | None
    issued_by: str
    status_revoked: bool
    write_limit: int | None
    keep_alive: bool
    digest: str | None = None
    key_mark: str | None = None

    @classmethod
    def of(
        cls, grant: Grant, now_ns: int, digest: str | None = None, key_mark: str | None = None
    ) -> TokenRecord:
        """Return the record of a token issued now; its grant has whole seconds."""
        expires_at = None
        if grant.expires_at is not None:
            expires_at = now_ns + (grant.expires_at - grant.issued_at) * NS_PER_S
        not_before = None if grant.not_before is None else grant.not_before * NS_PER_S
        return cls(
            grant.jti, grant.subject, grant.group, grant.user, grant.actions, grant.resources,
            grant.tenants, now_ns, not_before, expires_at, grant.issued_by, False,
            grant.write_limit, grant.keep_alive, digest, key_mark,
        )  # fmt: skip

    def document(self, *, revoked: bool, token: str | None = None) -> dict[str, Any]:
        """Return the record as JSON shows it, members in the order of older programs."""
        shown: dict[str, Any] = {} if token is None else {"token": token}
        shown |= {
            "jti": self.jti,
            "subject": self.subject,
            "group": self.group,
            "user": self.user,
            "actions": list(self.actions),
            "resources": list(self.resources),
            "tenants": list(self.tenants),
            "issued_at": format_ns(self.issued_at),
            "not_before": None if self.not_before is None else format_ns(self.not_before),
            "expires_at": None if self.expires_at is None else format_ns(self.expires_at),
            "issued_by": self.issued_by,
            "status": "revoked" if revoked else "active",
            "limits": {"write_events": self.write_limit, "keep_alive": self.keep_alive},
        }
        return shown


class Revocation(NamedTuple):
    """A token that counts no more; ``expires_at`` is when it would have ended by itself."""

    jti: str
    revoked_at: int
    reason: str | None
    expires_at: int | None


class LegacyLedger(Exception):
    """A ledger of opaque tokens, which programs up to 1.15 wrote; nothing in it counts any more."""


def read_records(text: str, origin: str) -> list[TokenRecord]:
    """Return the records of a ledger file. Raises SerializationError, LegacyLedger."""
    entries = _entries(text, origin)
    if any("jti" not in entry and "token" in entry for entry in entries):
        raise LegacyLedger(origin)
    return [_read(_record, entry, origin) for entry in entries]


def read_revocations(text: str, origin: str) -> list[Revocation]:
    """Return the entries of a file of revocations. Raises SerializationError."""
    return [_read(_revocation, entry, origin) for entry in _entries(text, origin)]


def records_text(records: Iterable[TokenRecord], is_revoked: Callable[[str], bool]) -> str:
    """Return the ledger file's text; ``is_revoked`` is asked with each id."""
    return _in_pieces(_record_entry(one, is_revoked(one.jti)) for one in records)


def _in_pieces(entries: Iterator[dict[str, Any]]) -> str:
    """Return the text of many entries; a server's other threads stand still only for a piece."""
    parts = []
    while some := list(islice(entries, PIECE_RECORDS)):
        parts.append(orjson.dumps(some)[1:-1])
    return f"[{b','.join(parts).decode()}]"


def _record_entry(record: TokenRecord, revoked: bool) -> dict[str, Any]:
    entry = record.document(revoked=revoked or record.status_revoked)
    if record.digest is not None:
        entry["digest"] = record.digest
    if record.key_mark is not None:
        entry["key"] = record.key_mark
    return entry


def record_text(record: TokenRecord) -> bytes:
    """Return one record as it is in the ledger file."""
    return orjson.dumps(_record_entry(record, False))


def revocations_text(revocations: Iterable[Revocation]) -> str:
    """Return the text of the file of revocations."""
    return _in_pieces(_revocation_entry(one) for one in revocations)


def _revocation_entry(one: Revocation) -> dict[str, Any]:
    return {
        "jti": one.jti,
        "revoked_at": format_ns(one.revoked_at),
        "reason": one.reason,
        "expires_at": None if one.expires_at is None else format_ns(one.expires_at),
    }


class Change(NamedTuple):
    """What one change of the ledger put: records and revocations as they are since, and the ids
    of records that are gone."""

    records: tuple[TokenRecord, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    forgotten: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the change as one line of JSON."""
        document = {
            "records": [_record_entry(one, False) for one in self.records],
            "revocations": [_revocation_entry(one) for one in self.revocations],
            "forgotten": self.forgotten,
        }
        return orjson.dumps(document).decode()


def read_change(text: str, origin: str) -> Change:
    """Return a change from its text. Raises SerializationError."""
    try:
        document = orjson.loads(text)
        return Change(
            tuple(_record(one) for one in document["records"]),
            tuple(_revocation(one) for one in document["revocations"]),
            _texts(document["forgotten"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"cannot read {origin}: {error}") from None


def _entries(text: str, origin: str) -> list[dict[str, Any]]:
    if not text.strip():
        return []
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SerializationError(f"cannot read {origin}: {error}") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SerializationError(f"cannot read {origin}: it is no array of objects")
    return found


def _read(read: Callable[[Mapping[str, Any]], T], entry: Mapping[str, Any], origin: str) -> T:
    try:
        return read(entry)
    except KeyError as error:
        raise SerializationError(f"cannot read {origin}: missing field {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"cannot read {origin}: {error}") from None


def _record(entry: Mapping[str, Any]) -> TokenRecord:
    bounds = entry.get("limits") or {}
    return TokenRecord(
        jti=_text(entry["jti"]),
        subject=_text(entry["subject"]),
        group=_text(entry.get("group", "")),
        user=_text(entry.get("user", "")),
        actions=_texts(entry.get("actions")),
        resources=_texts(entry.get("resources")),
        tenants=_texts(entry.get("tenants")),
        issued_at=parse_ns(entry["issued_at"]),
        not_before=_time(entry.get("not_before")),
        expires_at=_time(entry.get("expires_at")),
        issued_by=_text(entry.get("issued_by", "")),
        status_revoked=entry.get("status", "active") == "revoked",
        write_limit=bounds.get("write_events"),
        keep_alive=bool(bounds.get("keep_alive", False)),
        digest=None if entry.get("digest") is None else _text(entry["digest"]),
        key_mark=None if entry.get("key") is None else _text(entry["key"]),
    )


def _revocation(entry: Mapping[str, Any]) -> Revocation:
    return Revocation(
        _text(entry["jti"]),
        _time(entry.get("revoked_at")) or 0,
        entry.get("reason"),
        _time(entry.get("expires_at")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return _shared(tuple(value)) if value else ()


@lru_cache(maxsize=4096)
def _shared(texts: tuple[Any, ...]) -> tuple[str, ...]:
    """Check texts; tokens that may do the same share them, which saves most of their memory."""
    return tuple(_text(one) for one in texts)


def _time(value: Any) -> int | None:
    return None if value is None else parse_ns(value)
