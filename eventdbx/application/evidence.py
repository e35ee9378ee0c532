"""Exports of evidence: the lines of a bundle, made in pages from one moment of the store.

An export holds a view of the store and the head map in it, so that all of its pages are under one
checkpoint, whatever is written meanwhile. Few can be held, and only while they are asked for. What
the lines look like is in :mod:`eventdbx.domain.evidence`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from heapq import merge
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from eventdbx import limits
from eventdbx.domain import evidence
from eventdbx.domain.checkpoints import parse_checkpoint
from eventdbx.domain.events import Event
from eventdbx.domain.grants import Grant
from eventdbx.domain.headmap import heads_of
from eventdbx.domain.identifiers import AUDIT_TYPE, ERASED_TYPE
from eventdbx.domain.notes import Note
from eventdbx.domain.proofs import inclusion_proof
from eventdbx.errors import AggregateNotFound, ConfigError, StorageError, UnknownName
from eventdbx.storage import headmap, keys, records
from eventdbx.storage.eventlog import end_position, event_records, log_nodes
from eventdbx.storage.interfaces import IReadView

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.application.views import Seen

PARTITION = 0
READS = "aggregate.read"
_ATTEMPTS = 16
"""The head map may move on between its place and the checkpoint that speaks of it."""

_KEPT = 16_384
"""Hashes of the log's tree, and entries of the log, that an export keeps: the ways to most events
share their upper levels."""

Selector = tuple[str, str | None]
RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]


class Asking(NamedTuple):
    """Who exports, and what is shown to them."""

    grant: Grant
    seen: Seen

    def allows(self, aggregate_type: str, aggregate_id: str) -> bool:
        """Say whether an aggregate may be in the bundle."""
        if aggregate_type == AUDIT_TYPE or not self.seen.shows(aggregate_type):
            return False
        resource = f"aggregate:{aggregate_type}:{aggregate_id}"
        return self.grant.sees_everything or self.grant.allows(READS, resource)

    def bare(self, event: Event) -> str | None:
        """Return why the content of an event is not exported, None where it is."""
        if event.erased:
            return evidence.ERASED
        if event.event_type != ERASED_TYPE and self.seen.event(event, raw=True) != event:
            return evidence.WITHHELD
        return None


class Place(NamedTuple):
    """Where a page begins: at an aggregate, behind a version of it (0: before it), and how much
    was exported before.

    ``mark`` stands for an aggregate that nobody was shown: the export knows its name.
    """

    name: bytes = b""
    version: int = 0
    aggregates: int = 0
    events: int = 0
    mark: int = 0


class Page(NamedTuple):
    """Some lines, and where the next page begins; None after the last line."""

    lines: bytes
    next: Place | None


class Export:
    """One bundle that is being exported: what is in it, from which moment, for which token."""

    def __init__(
        self,
        view: IReadView,
        top: headmap.Top,
        note: Note,
        vkey: str,
        selectors: Sequence[Selector],
        asking: Asking,
    ) -> None:
        self.view, self.top, self.note = view, top, note
        self.jti = asking.grant.jti
        self.size = parse_checkpoint(note.text).size
        self.selectors = _sorted(selectors)
        self.whole = not selectors and asking.grant.sees_everything and asking.seen.shows_all
        scope: evidence.Scope = self.selectors or (evidence.ALL if self.whole else evidence.SOME)
        origin = parse_checkpoint(note.text).origin
        self.header = evidence.header_line(origin, vkey, scope, note.encode().decode())
        self._node = lru_cache(_KEPT)(log_nodes(view, PARTITION))
        self._entry = lru_cache(_KEPT)(self._read_entry)
        self._marks: list[bytes] = []
        self._marking = Lock()
        for aggregate_type, aggregate_id in selectors:
            if aggregate_id is not None:
                self._require(aggregate_type, aggregate_id, asking)

    def _require(self, aggregate_type: str, aggregate_id: str, asking: Asking) -> None:
        asking.grant.require(READS, f"aggregate:{aggregate_type}:{aggregate_id}")
        name = keys.name(aggregate_type, aggregate_id)
        shown = asking.allows(aggregate_type, aggregate_id)
        if not shown or not headmap.prove(self.view, self.top, name).version:
            raise AggregateNotFound

    @property
    def position(self) -> int:
        """How much of the log the head map covers: all that can be in the bundle."""
        return self.top.place.position

    def page(
        self,
        start: Place,
        asking: Asking,
        *,
        bytes_max: int = limits.EVIDENCE_PAGE_BYTES,
        names_max: int = limits.EVIDENCE_PAGE_NAMES,
    ) -> Page:
        """Return the lines from a place on, about ``bytes_max`` of them. For a thread.

        No more aggregates are looked at than ``names_max``. The same place gives the same lines.
        Raises StorageError for what does not fit together, UnknownName for a mark of no page.
        """
        lines: list[bytes] = []
        if start.mark:
            start = start._replace(name=self._marked(start.mark), version=0, mark=0)
        size, looked_at, place = 0, 0, start
        for name in self._names(start.name):
            looked_at += 1
            if looked_at > names_max:
                # Whether the name may be told has not been asked, and pages of nothing but hidden
                # aggregates have to go on, too.
                mark = self._mark(name)
                return Page(b"".join(lines), place._replace(name=b"", version=0, mark=mark))
            after = place.version if name == start.name else 0
            if not asking.allows(*keys.split_name(name)):
                continue
            for line, version in self._aggregate(name, after, asking):
                lines.append(line)
                size += len(line)
                place = Place(
                    name, version, place.aggregates + (not version), place.events + (version > 0)
                )
                if version and size >= bytes_max:
                    return Page(b"".join(lines), place)
        if self.whole and place.aggregates != self.top.place.aggregates:
            raise StorageError(
                f"the head map has {self.top.place.aggregates} aggregates, the store "
                f"{place.aggregates}: verify says which are missing"
            )
        lines.append(evidence.last_line(place.aggregates, place.events))
        return Page(b"".join(lines), None)

    def _mark(self, name: bytes) -> int:
        with self._marking:
            if name not in self._marks:
                self._marks.append(name)
            return self._marks.index(name) + 1

    def _marked(self, mark: int) -> bytes:
        with self._marking:
            if mark > len(self._marks):
                raise UnknownName("no page of the export ended there")
            return self._marks[mark - 1]

    def _aggregate(self, name: bytes, after: int, asking: Asking) -> Iterator[tuple[bytes, int]]:
        """Yield the lines of an aggregate behind a version, each with its version."""
        head = headmap.prove(self.view, self.top, name)
        if not head.version:
            return  # It is younger than the checkpoint.
        if not after:
            yield evidence.aggregate_line(*keys.split_name(name), head.version, head.root, head), 0
        expected, index = after, -1
        for version, record in event_records(self.view, name, after=after, until=head.version):
            expected += 1
            event = records.decode_event(record)
            if version != expected:
                break
            index = self._position(event, index + 1)
            path = inclusion_proof(self._node, index, self.size)
            yield evidence.event_line(event, index, path, bare=asking.bare(event)), version
        if expected < head.version:
            names = "::".join(keys.split_name(name))
            raise StorageError(f"event v{expected + 1} of {names} is missing")

    def _position(self, event: Event, low: int) -> int:
        """Return where an event is in the log, from a position on."""
        high = self.size
        while low < high:
            middle = (low + high) // 2
            if self._entry(middle).event_id < event.event_id:
                low = middle + 1
            else:
                high = middle
        if low == self.size or self._entry(low).leaf != event.hash:
            raise StorageError(f"the commit log does not have event {event.event_id} as it is")
        return low

    def _read_entry(self, position: int) -> records.LogEntry:
        record = self.view.get(keys.log(PARTITION, position))
        if record is None:
            raise StorageError(f"the commit log has no position {position}")
        return records.decode_log(record)

    def _names(self, start: bytes) -> Iterator[bytes]:
        """Yield the names of what was selected, active or archived, from one on, in order."""
        for first, stop in self._ranges():
            if stop <= start:
                continue
            found = [
                (key[2:] for key, _ in self.view.scan(family + max(first, start), family + stop))
                for family in (keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED)
            ]
            yield from merge(*found)

    def _ranges(self) -> Iterator[tuple[bytes, bytes]]:
        if not self.selectors:
            yield b"", b"\xff"
        for aggregate_type, aggregate_id in self.selectors:
            first = aggregate_type.encode() + b"\x00"
            if aggregate_id is not None:
                first = keys.name(aggregate_type, aggregate_id)
            yield first, keys.after(first)


def _sorted(selectors: Sequence[Selector]) -> list[Selector]:
    """Return selectors in the order of names, without those that a whole type covers."""
    whole = {one[0] for one in selectors if one[1] is None}
    kept = {one for one in selectors if one[1] is None or one[0] not in whole}
    return sorted(kept, key=lambda one: (one[0], one[1] or ""))


class Exports:
    """The exports of a domain that are under way. All on one thread, but for their pages.

    Each keeps the store from forgetting what it shows. So one that nobody has asked for a page of
    for a while ends, and erasing ends all (:meth:`clear`). One more than a few ends the one that
    was asked for least recently, of the same token if that has any: nobody ends those of others by
    beginning many.
    """

    def __init__(self) -> None:
        self.cleared = 0
        """How often all were ended; a view from before must not be held after it."""
        self._held: dict[int, tuple[Export, IDelayedCall | None]] = {}
        self._made = 0
        self._clock: IReactorTime | None = None

    def start(self, clock: IReactorTime) -> None:
        """End idle exports from now on."""
        self._clock = clock

    def add(self, export: Export) -> int:
        """Hold an export; return the number by which it is found again."""
        while len(self._held) >= limits.EXPORTS_MAX:
            own = (at for at, (one, _call) in self._held.items() if one.jti == export.jti)
            self.end(next(own, next(iter(self._held))))
        self._made += 1
        self._hold(self._made, export)
        return self._made

    def find(self, number: int, jti: str) -> Export:
        """Return an export of a token, and keep it. Raises UnknownName."""
        found = self._held.get(number)
        if found is None or found[0].jti != jti:
            raise UnknownName(f"there is no export {number} under way; begin anew")
        self.end(number)
        self._hold(number, found[0])
        return found[0]

    def _hold(self, number: int, export: Export) -> None:
        call = None
        if self._clock is not None:
            call = self._clock.callLater(limits.EXPORT_IDLE_S, self.end, number)
        self._held[number] = (export, call)

    def end(self, number: int) -> None:
        """Let go of an export, if it is held."""
        _export, call = self._held.pop(number, (None, None))
        if call is not None and call.active():
            call.cancel()

    def clear(self) -> None:
        """Let go of all: their views show what is about to be erased."""
        self.cleared += 1
        for number in list(self._held):
            self.end(number)


async def begin(
    domain: Domain, selectors: Sequence[Selector], asking: Asking, run_slowly: RunSlowly
) -> Export:
    """Return the export of aggregates, of whole types (id None), or of everything (none given).

    Raises AggregateNotFound, Unauthorized, and ConfigError while there is nothing.
    """
    heads, checkpoints = domain.heads, domain.checkpoints
    for _attempt in range(_ATTEMPTS):
        place = await heads.advance_to(end_position(domain.store.view(), PARTITION))
        newest = checkpoints.newest()
        wanted = (place.position, place.root)
        if newest is not None and heads_of(newest.checkpoint) == wanted:
            note = newest.note
        else:
            note = await checkpoints.renew()
        view = domain.store.view()
        place = headmap.load_place(view)
        if not place.position:
            raise ConfigError("there are no events of which anything could be proven")
        if heads_of(parse_checkpoint(note.text)) == (place.position, place.root):
            cleared = domain.exports.cleared
            top = await run_slowly(partial(headmap.load_top, view))
            if cleared != domain.exports.cleared:
                continue  # The view shows what has been erased since.
            vkey = checkpoints.key().vkey()
            return Export(view, top, note, vkey, selectors, asking)
    raise StorageError("the head map moves on too quickly, ask again")
