"""Events as CloudEvents 1.0: attributes for headers (binary mode), documents (structured mode)."""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

from eventdbx.domain.delivery.envelopes import json_body, state_member
from eventdbx.domain.delivery.parts import Parts
from eventdbx.domain.timestamps import format_ns

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_UNSAFE = re.compile(r"[^\x21\x23\x24\x26-\x7e]")
"""What a header must not hold as it is: other than printable ASCII, space, quote and percent."""


def attributes(parts: Parts) -> dict[str, str]:
    """Return the context attributes of an event. The time is missing where the mode hides it."""
    source = f"/eventdbx/{quote(parts.domain, safe='')}/{quote(parts.aggregate_type, safe='')}"
    found = {
        "specversion": "1.0",
        "id": str(parts.event_id),
        "source": source,
        "type": parts.event_type,
        "subject": parts.aggregate_id,
        "partitionkey": f"{parts.aggregate_type}/{parts.aggregate_id}",
        "sequence": str(parts.version),
    }
    time_ns = None
    if parts.record is not None:
        time_ns = parts.record.created_at
    elif parts.head is not None:
        time_ns = parts.head.updated_at
    if time_ns is not None:
        found["time"] = format_ns(time_ns)
    return found


def headers(parts: Parts) -> dict[str, str]:
    """Return the headers of binary mode."""
    return {
        f"ce-{name}": _UNSAFE.sub(lambda found: quote(found[0], safe=""), value)
        for name, value in attributes(parts).items()
    }


def data(parts: Parts) -> bytes:
    """Return the body of binary mode: the payload; else what the mode is about.

    ``extensions-only`` gives the extensions, ``state-only`` the aggregate, ``schema-only`` the
    schema.
    """
    record = parts.record
    if record is None:
        return state_member(parts.head) if parts.head is not None else parts.schema or b"null"
    if parts.mode == "extensions-only":
        return record.extensions or b"null"
    return record.payload if record.salt else b"null"


def structured(parts: Parts) -> bytes:
    """Return the document of structured mode; its data is what other plugins get as the body."""
    context = orjson.dumps({**attributes(parts), "datacontenttype": "application/json"})
    return b'%b,"data":%b}' % (context[:-1], json_body(parts))
