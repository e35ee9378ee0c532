"""Messages of a server for plugins under test, and their answers read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventdbx.domain.aggregate import Head
from eventdbx.domain.delivery.parts import Parts, Purpose
from eventdbx.domain.events import Event as Record
from eventdbx.wire.plugin_messages import encode_event, encode_init, numbered

INIT = encode_init("worker", "1.0.0", "linux-x86_64")
FIRST_ID = 133859581091672069
CREATED_NS = 1_767_604_211_123_456_789


def parts(aggregate_id: str, version: int, payload: bytes = b"{}", **changes: Any) -> Parts:
    """Return an ``order`` event with its state."""
    event_id = FIRST_ID + version * 1000 + sum(aggregate_id.encode())
    record = Record(
        "order", aggregate_id, "order_paid", "order.paid", payload, None, event_id, CREATED_NS,
        None, None, version, bytes(16), bytes(32), bytes(32),
    )  # fmt: skip
    head = Head(
        "order", aggregate_id, version, {"total": version}, {}, (), bytes(32),
        1, 2, False, None, None,
    )  # fmt: skip
    whole = Parts(
        "default", f"0-{version}", "order", aggregate_id, version, event_id, "order_paid", "all",
        record, head, None,
    )  # fmt: skip
    return whole._replace(**changes)


def delivery(
    first: int, events: Sequence[Parts], *, purpose: Purpose = "live", attempt: int = 1
) -> bytes:
    """Return the messages of one delivery, numbered from ``first``."""
    return bytes(
        numbered([encode_event(one) for one in events], first, purpose=purpose, attempt=attempt)
    )
