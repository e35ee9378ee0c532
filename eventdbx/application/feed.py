"""What one plugin is to be sent: events of the log, behind its cursor, in the form of its kind.

Everything here reads a view and runs on a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from eventdbx import limits
from eventdbx.application.parts import PartsBuilder
from eventdbx.application.rules import InForce
from eventdbx.domain.delivery.entries import PayloadMode, PluginEntry
from eventdbx.domain.delivery.lanes import RANKS
from eventdbx.domain.delivery.parts import Item, Parts
from eventdbx.domain.events import Event
from eventdbx.errors import StorageError
from eventdbx.storage import eventlog, keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.outbox import Cursor, Held
from eventdbx.storage.records import LogEntry, decode_log

PARTITION = 0
LOOKED_AT_MAX = 1_024
"""Positions that one load looks at, wanted or not: the next load sees a newer view."""


class Offer(NamedTuple):
    """One event for a plugin; ``item`` is None when its document is too large."""

    position: int
    name: bytes
    version: int
    event_id: int
    event_type: str
    rank: int
    mode: PayloadMode | None
    item: Item | None

    @property
    def size(self) -> int:
        """Return the bytes that are held in memory for it, about."""
        return 256 + (0 if self.item is None else 2 * len(self.item.content))


class Loaded(NamedTuple):
    """A stretch of the log: what is wanted of it, where it ends, and the greatest id in it."""

    offers: list[Offer]
    scanned: int
    last_id: int


class Stream(NamedTuple):
    """What a held aggregate goes on with, and the newest version that was looked at."""

    offers: list[Offer]
    looked_at: int
    more: bool


class Feed:
    """Reads for one plugin. Works on one thread at a time, whichever.

    ``taken`` is told, on that thread, how many events were read for the first time.
    """

    def __init__(
        self,
        entry: PluginEntry,
        builder: PartsBuilder,
        encode: Callable[[Parts], bytes],
        in_force: Callable[[], InForce],
        *,
        taken: Callable[[int], None] | None = None,
    ) -> None:
        self._entry = entry
        self._builder = builder
        self._encode = encode
        self._in_force = in_force
        self._taken = taken

    def load(self, view: IReadView, cursor: Cursor, *, count: int, size: int) -> Loaded:
        """Return up to ``count`` events from the cursor on, about ``size`` bytes of them."""
        in_force = self._in_force()
        offers: list[Offer] = []
        scanned, last_id = cursor.position, 0
        for position, entry in eventlog.log_entries(view, PARTITION, start=cursor.position):
            if len(offers) >= count or size <= 0 or position >= cursor.position + LOOKED_AT_MAX:
                break
            offer = self._offer(view, in_force, cursor, position, entry)
            if offer is not None:
                offers.append(offer)
                size -= offer.size
            scanned, last_id = position + 1, max(last_id, entry.event_id)
        if offers and self._taken is not None:
            self._taken(len(offers))
        return Loaded(offers, scanned, last_id)

    def load_held(
        self, view: IReadView, cursor: Cursor, held: Held, last_id: int, *, count: int
    ) -> Stream:
        """Return what a held row stands for: the event that failed, and, unless it is loose, the
        aggregate's later ones up to the event ``last_id``."""
        in_force = self._in_force()
        until = held.version if held.loose else held.version + count - 1
        offers: list[Offer] = []
        looked_at = held.version - 1
        more = False
        for event in eventlog.events(view, held.name, after=held.version - 1, until=until):
            # A row that has gone on may stand for what the cursor has yet to pass.
            goes_on = event.version > held.version or not (held.attempts or held.loose)
            if goes_on and event.event_id > last_id:
                break
            looked_at = event.version
            more = event.version == until and not held.loose
            position = held.position
            if event.event_id != held.event_id:  # The row has gone on since it was made.
                position = eventlog.place_of(view, PARTITION, event)
            record = view.get(keys.log(PARTITION, position))
            if record is None:
                raise StorageError(f"position {position} of the log is missing")
            forced = held.mode if event.version == held.version else None
            offer = self._offer(
                view, in_force, cursor, position, decode_log(record), event=event, mode=forced
            )
            if offer is not None:
                offers.append(offer)
        return Stream(offers, looked_at, more)

    def _offer(
        self,
        view: IReadView,
        in_force: InForce,
        cursor: Cursor,
        position: int,
        entry: LogEntry,
        *,
        event: Event | None = None,
        mode: str | None = None,
    ) -> Offer | None:
        """Return the event at a position as it is sent, or None when it is not for the plugin."""
        if cursor.skips and cursor.skips_position(position):
            return None
        rank = RANKS["normal"]
        if entry.targets:
            for target in entry.targets:
                if target.name == self._entry.key or target.name in cursor.aliases:
                    mode = mode or target.mode
                    rank = RANKS[target.priority]
                    break
            else:
                return None
        name, version = entry.event_key[1:-8], keys.event_version(entry.event_key)
        if event is None:
            event = eventlog.load_event(view, name, version)
            if event is None:
                raise StorageError(f"the event at position {position} of the log is missing")
        asked = cast("PayloadMode | None", mode)
        parts = self._builder.build(
            view, in_force, event, position, asked or self._entry.payload_mode
        )
        if parts is None or parts.is_empty:
            return None
        content = self._encode(parts)
        item = Item(parts, content) if len(content) <= limits.DOCUMENT_BYTES_MAX else None
        return Offer(position, name, version, event.event_id, event.event_type, rank, asked, item)
