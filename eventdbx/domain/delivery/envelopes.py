"""The JSON document that http and tcp plugins receive of an event, and the sample of a test.

``{"event":…,"schema":…,"state":…}``: members that a mode leaves out are missing, never null. Keys
are sorted at every level, as in earlier versions of the product; nobody should rely on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import SupportsIndex

import orjson

from eventdbx.domain.aggregate import Head, new_head, state_document
from eventdbx.domain.canonical import dump
from eventdbx.domain.delivery.entries import PayloadMode
from eventdbx.domain.delivery.parts import WITH_RECORD, WITH_STATE, Parts
from eventdbx.domain.delivery.positions import position_token
from eventdbx.domain.events import Actor, Event
from eventdbx.domain.timestamps import format_ns

_SAMPLE_POSITION = position_token(0)
_SAMPLE_TIME_NS = 1_733_073_763_512_345_000
"""2024-12-01T17:22:43.512345Z"""


def json_body(parts: Parts) -> bytes:
    """Return the document of an event, compact, without a line feed in it."""
    members = []
    if parts.record is not None:
        members.append(b'"event":' + event_member(parts.record))
    if parts.schema is not None:
        members.append(b'"schema":' + _sorted(parts.schema))
    if parts.head is not None:
        members.append(b'"state":' + state_member(parts.head))
    return b"{%b}" % b",".join(members)


def event_member(event: Event) -> bytes:
    """Return an event as plugins see it; payload and extensions are the stored bytes.

    An event that has lost its salt has lost its payload with it: it was erased.
    """
    erased = "" if event.salt else '"erased":true,'
    raw = "" if event.event_type_raw is None else f'"event_type_raw":"{event.event_type_raw}",'
    before = (
        f'{{"aggregate_id":"{event.aggregate_id}","aggregate_type":"{event.aggregate_type}",'
        f'{erased}"event_type":"{event.event_type}",{raw}'
    )
    middle = (
        f'"hash":"{event.hash.hex()}","merkle_root":"{event.merkle_root.hex()}",'
        f'"metadata":{{"created_at":"{format_ns(event.created_at)}",'
        f'"event_id":"{event.event_id}","issued_by":'
    )
    return b"".join(
        (
            before.encode(),
            b"" if event.extensions is None else b'"extensions":%b,' % event.extensions,
            middle.encode(),
            _actor(event.issued_by),
            b"" if event.note is None else b',"note":' + orjson.dumps(event.note),
            b'},"payload":',
            b"null" if erased else event.payload,
            b',"version":%d}' % event.version,
        )
    )


@lru_cache(maxsize=256)
def _actor(actor: Actor | None) -> bytes:
    if actor is None:
        return b"null"
    return b'{"group":%b,"user":%b}' % (orjson.dumps(actor.group), orjson.dumps(actor.user))


def state_member(head: Head) -> bytes:
    """Return an aggregate as plugins see it: values of the state as texts, extensions inline.

    Keys of extensions begin with ``@``, which sorts before the letters.
    """
    extensions = [
        b"%b:%b," % (orjson.dumps(key), dump(head.extensions[key]))
        for key in sorted(head.extensions)
    ]
    archived = '"archived":true,' if head.archived else ""
    created = "" if head.created_at is None else f'"created_at":"{format_ns(head.created_at)}",'
    updated = "" if head.updated_at is None else f'"updated_at":"{format_ns(head.updated_at)}",'
    before = (
        f'"aggregate_id":"{head.aggregate_id}","aggregate_type":"{head.aggregate_type}",'
        f"{archived}{created}"
        f'"merkle_root":"{head.merkle_root.hex()}","state":'
    )
    return b"".join(
        (
            b"{",
            *extensions,
            before.encode(),
            state_document(head.state),
            f',{updated}"version":{head.version}}}'.encode(),
        )
    )


@lru_cache(maxsize=1024)
def _sorted(document: bytes) -> bytes:
    """Return a JSON document with sorted keys. Schemas are few, and the same for every event."""
    return dump(orjson.loads(document))


class _SampleDigest(bytes):
    """What stands for a digest in the sample: a text that no digest has."""

    def hex(self, sep: str | bytes = "", bytes_per_sep: SupportsIndex = 1) -> str:
        return self.decode()


def sample_parts(mode: PayloadMode, domain: str = "default") -> Parts:
    """Return the parts of the event that ``plugin test`` delivers; there is never a schema."""
    payload = b'{"comment":"Archived via API","status":"inactive"}'
    root = _SampleDigest("deadbeef…".encode())
    event = Event(
        aggregate_type="patient",
        aggregate_id="p-001",
        event_type="patient-updated",
        event_type_raw="patient-updated",
        payload=b"null" if mode == "extensions-only" else payload,
        extensions=None,
        event_id=1_234_567_890,
        created_at=_SAMPLE_TIME_NS,
        issued_by=Actor("admin", "jane"),
        note=None,
        version=5,
        salt=bytes(16),
        hash=_SampleDigest("cafe…".encode()),
        merkle_root=root,
    )
    head = new_head("patient", "p-001")._replace(
        version=5, state=orjson.loads(payload), merkle_root=root
    )
    return Parts(
        domain,
        _SAMPLE_POSITION,
        "patient",
        "p-001",
        5,
        event.event_id,
        event.event_type,
        mode,
        event if mode in WITH_RECORD else None,
        head if mode in WITH_STATE else None,
        None,
    )
