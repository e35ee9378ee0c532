"""Whether a batch is in the log, for imports that go on after the store has forgotten its key.

A batch is one commit, so its events stand in the log one behind the other. Payloads of types with
a schema may be stored in another form than they were sent in; of those the names of the fields
are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from eventdbx.domain.canonical import dump
from eventdbx.domain.commands import Write
from eventdbx.domain.identifiers import normalise_event_type

if TYPE_CHECKING:
    from eventdbx.surfaces.cli.session import Database
    from eventdbx.surfaces.control.calls import Calls

_PAGE_EVENTS = 500


class _Seen(NamedTuple):
    """What is compared of an event."""

    names: tuple[str, str, str]
    note: str | None
    extensions: bytes | None
    payload: bytes
    schema: bool


class Log:
    """The log behind a place, and behind the event of an id where that is known, read once."""

    def __init__(self, way: Database, calls: Calls, place: str, after: str | None = None) -> None:
        self._events = self._read(way, calls, place, after)

    def _read(self, way: Database, calls: Calls, place: str, after: str | None) -> Iterator[_Seen]:
        more = True
        while more:
            page = way.call(calls.follow(place, take=_PAGE_EVENTS, raw=True))
            place, more = page.next, page.more
            for event in page.events:
                if after is None:
                    yield _seen(event)
                elif event["metadata"]["event_id"] == after:
                    after = None

    def holds(self, writes: list[Write]) -> bool:
        """Say whether these writes are in the log, behind those that were asked for before."""
        window: deque[_Seen] = deque(maxlen=len(writes))
        wanted = [_wanted(one) for one in writes]
        for event in self._events:
            window.append(event)
            if len(window) == len(wanted) and all(map(_same, wanted, window)):
                return True
        return False


def _seen(event: dict[str, Any]) -> _Seen:
    extensions = event.get("extensions")
    return _Seen(
        (event["aggregate_type"], event["aggregate_id"], event["event_type"]),
        event["metadata"].get("note"),
        dump(extensions) if extensions else None,
        dump(event["payload"]),
        event.get("schema") is not None,
    )


def _wanted(write: Write) -> _Seen:
    def raw(text: str | bytes | None) -> bytes | None:
        return text.encode() if isinstance(text, str) else text

    event_type = normalise_event_type(write.event_type)
    names = (write.aggregate_type, write.aggregate_id, event_type)
    return _Seen(names, write.note, raw(write.metadata), raw(write.content) or b"", False)


def _same(wanted: _Seen, found: _Seen) -> bool:
    if wanted[:3] != found[:3]:
        return False
    return wanted.payload == found.payload or (
        found.schema and _fields(wanted.payload) == _fields(found.payload)
    )


def _fields(payload: bytes) -> list[str] | None:
    import orjson

    value = orjson.loads(payload)
    return sorted(value) if isinstance(value, dict) else None
