"""What goes to a plugin, before and after its kind has put it into bytes."""

from __future__ import annotations

from typing import Literal, NamedTuple

from eventdbx.domain.aggregate import Head
from eventdbx.domain.delivery.entries import PayloadMode
from eventdbx.domain.events import Event

Purpose = Literal["live", "replay", "test"]

WITH_RECORD = frozenset(("all", "event-only", "event-and-schema", "extensions-only"))
WITH_STATE = frozenset(("all", "state-only"))
WITH_SCHEMA = frozenset(("all", "schema-only", "event-and-schema"))
"""The modes in which there is an event, a state, and a schema if the type has one."""


class Parts(NamedTuple):
    """One event as one plugin may see it; parts that its mode leaves out are None.

    The identity of the event is always there, whatever the mode. ``record`` is the event with
    hidden fields removed and upcasters applied (payload ``null`` for ``extensions-only``), ``head``
    the aggregate just after the event, ``schema`` the compact JSON of the schema of the type now in
    force. ``position`` is the opaque token of the event's place in the log of ``domain``.
    """

    domain: str
    position: str
    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: int
    event_type: str
    mode: PayloadMode
    record: Event | None
    head: Head | None
    schema: bytes | None

    @property
    def is_empty(self) -> bool:
        """True when the mode leaves nothing to send."""
        return self.record is None and self.head is None and self.schema is None


class Item(NamedTuple):
    """One event on its way: what tells it apart, and the bytes its kind made of it."""

    parts: Parts
    content: bytes
