"""The durable rows of delivery: a cursor for each plugin, what it holds back, what it has done.

An event that was delivered leaves no row, one that waits behind the cursor has none yet. Keys are
in ``storage.keys``, formats in docs/storage-format.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import orjson

from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.records import DamagedRecord


class Scans(Protocol):
    """Whatever answers range scans: a view or a transaction."""

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs in byte order."""


class Step(Scans, Protocol):
    """A step of the store."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Put a value under a key."""


class Cursor(NamedTuple):
    """Where a plugin stands in the log.

    Every event before ``position`` is settled, or held back by a row. What lies in ``skips`` (pairs
    of from and up to, the last one open while the plugin is off) was committed while events were
    not meant for it. ``stopped`` is why the server paused it. Events that were published to one of
    the ``aliases``, names that it had or stands in for, are its own, too.
    """

    position: int
    skips: tuple[tuple[int, int | None], ...] = ()
    stopped: str | None = None
    aliases: tuple[str, ...] = ()

    def skips_position(self, position: int) -> bool:
        """Say whether the event at a position is not meant for the plugin."""
        return any(
            start <= position and (stop is None or position < stop) for start, stop in self.skips
        )


class Held(NamedTuple):
    """An event that failed, and by it all later ones of its aggregate, unless it is ``loose``.

    Times are Unix milliseconds. A ``dead`` one is not tried again until somebody says so. A loose
    one stands for itself alone. ``mode`` is the payload mode that the writer asked for, if any;
    ``rank`` the priority (0 high, 2 low). ``unavailable``: the target was not there, last time.
    """

    name: bytes
    version: int
    position: int
    event_id: int
    event_type: str
    attempts: int = 0
    next_retry_at: int = 0
    last_error: str | None = None
    since: int = 0
    dead: bool = False
    loose: bool = False
    mode: str | None = None
    rank: int = 1
    unavailable: bool = False


def encode_cursor(cursor: Cursor) -> bytes:
    """Return the record of a cursor."""
    return orjson.dumps(cursor._asdict())


def decode_cursor(record: bytes) -> Cursor:
    """Return a cursor; raises DamagedRecord."""
    document = _document(record)
    try:
        skips = tuple((start, stop) for start, stop in document["skips"])
        return Cursor(document["position"], skips, document["stopped"], tuple(document["aliases"]))
    except (KeyError, TypeError, ValueError):
        raise DamagedRecord("unreadable cursor of a plugin") from None


def encode_held(held: Held) -> bytes:
    """Return the record of what is held back; its key has the aggregate."""
    document = held._asdict()
    del document["name"]
    return orjson.dumps(document)


def decode_held(name: bytes, record: bytes) -> Held:
    """Return a row; raises DamagedRecord."""
    try:
        return Held(name, **_document(record))
    except TypeError:
        raise DamagedRecord("unreadable job of a plugin") from None


def held_key(plugin: str, held: Held) -> bytes:
    """Return the key of a row: there is one for an aggregate, and any number of loose ones."""
    tail = held.version.to_bytes(8, "big") if held.loose else b""
    return keys.of_plugin(keys.PLUGIN_HELD, plugin) + held.name + tail


def cursors(view: IReadView) -> Iterator[tuple[str, Cursor]]:
    """Yield the cursor of every plugin that has one."""
    for key, record in view.scan(keys.PLUGIN_CURSOR, _after(keys.PLUGIN_CURSOR)):
        yield key[len(keys.PLUGIN_CURSOR) : -1].decode(), decode_cursor(record)


def held_rows(view: Scans, plugin: str) -> Iterator[Held]:
    """Yield what a plugin holds back, by aggregate."""
    prefix = keys.of_plugin(keys.PLUGIN_HELD, plugin)
    for key, record in view.scan(prefix, _after(prefix)):
        kind, identifier, _version = key[len(prefix) :].split(b"\x00", 2)
        yield decode_held(kind + b"\x00" + identifier + b"\x00", record)


def done_counts(view: IReadView, plugin: str) -> Iterator[tuple[int, int]]:
    """Yield (hour since 1970, deliveries in it) of a plugin, oldest first."""
    prefix = keys.of_plugin(keys.PLUGIN_DONE, plugin)
    for key, record in view.scan(prefix, _after(prefix)):
        yield int.from_bytes(key[-8:], "big"), int.from_bytes(record, "big")


def done_key(plugin: str, hour: int) -> bytes:
    """Return the key of the deliveries of one hour."""
    return keys.of_plugin(keys.PLUGIN_DONE, plugin) + hour.to_bytes(8, "big")


def encode_count(count: int) -> bytes:
    """Return the record of a number."""
    return count.to_bytes(8, "big")


def rows_of(view: Scans, plugin: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (family, rest of the key, record) of every row of a plugin."""
    for family in (keys.PLUGIN_CURSOR, keys.PLUGIN_HELD, keys.PLUGIN_DONE):
        prefix = keys.of_plugin(family, plugin)
        for key, record in view.scan(prefix, _after(prefix)):
            yield family, key[len(prefix) :], record


def _after(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def forget_errors(step: Step, name: bytes) -> None:
    """Take away what targets answered to events of an aggregate: it may repeat their content."""
    for key, _cursor in list(step.scan(keys.PLUGIN_CURSOR, _after(keys.PLUGIN_CURSOR))):
        plugin = key[len(keys.PLUGIN_CURSOR) : -1].decode()
        prefix = keys.of_plugin(keys.PLUGIN_HELD, plugin) + name
        for place, record in list(step.scan(prefix, _after(prefix))):
            held = decode_held(name, record)
            if held.last_error is not None:
                step.put(place, encode_held(held._replace(last_error=None)))


def _document(record: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(record)
    except orjson.JSONDecodeError:
        raise DamagedRecord("unreadable row of a plugin") from None
    if type(document) is not dict:
        raise DamagedRecord("unreadable row of a plugin")
    return document
