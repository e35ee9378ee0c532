"""Making parts of events: what one plugin may see of each, with the state as of that event.

States are folded along with the log, so that an event costs one step of its fold, however long its
aggregate is. What is hidden and how old payloads read is said in ``application.views``; how parts
become bytes is the business of each kind of plugin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakSet

import orjson

from eventdbx import limits
from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Fold, Head, fold_extensions, fold_state, new_head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.delivery.entries import PayloadMode
from eventdbx.domain.delivery.parts import WITH_RECORD, WITH_SCHEMA, WITH_STATE, Parts
from eventdbx.domain.delivery.positions import position_token
from eventdbx.domain.delivery.selecting import every_event
from eventdbx.domain.events import Event
from eventdbx.errors import StorageError
from eventdbx.storage import erasures, eventlog, keys
from eventdbx.storage.erasures import Ranges
from eventdbx.storage.interfaces import IReadView

_BYTES_BESIDE_STATE = 1_024
"""What a kept head takes in memory besides the texts of its state and extensions, about."""

_BEHIND = b"behind"
"""Added to the name of an aggregate for the second fold of it: an aggregate that is held back goes
on where it failed, while the log goes on with its newer events."""

_GAP_READ = 4
"""So many events are read as fast as the newest head, which may be that of a later one."""


class _Erasures:
    """How often something was erased in this process: states from before may hold it."""

    count = 0
    under_way: WeakSet[object] = WeakSet()


def forget_states() -> None:
    """Let every builder begin its states anew, from the events as they are now."""
    _Erasures.count += 1


def note_erasing(whose: object, *, under_way: bool) -> None:
    """Let builders know, from before the first commit of an erasure until all of it is rewritten,
    that events which they read may be erased already."""
    if under_way:
        _Erasures.under_way.add(whose)
    else:
        _Erasures.under_way.discard(whose)


class _Running(NamedTuple):
    """A fold that goes on with the next event: the head so far, and how large it may be.

    ``size`` is an upper bound of the texts of state and extensions: grows with every payload, is
    measured again at ``measure_at``.
    """

    head: Head
    size: int
    measure_at: int


class PartsBuilder:
    """Makes parts of events for one plugin.

    Events of one aggregate may come in any order and more than once; in version order they are
    cheap. Works on one thread at a time, whichever.
    """

    def __init__(
        self,
        domain_name: str,
        *,
        include_hidden: bool = False,
        wants: Callable[[Event], bool] = every_event,
        entries_max: int = limits.FOLDS_KEPT,
        bytes_max: int = limits.FOLDS_BYTES_MAX,
    ) -> None:
        """``wants`` is asked of events as the plugin sees them."""
        self._domain = domain_name
        self._wants = wants
        self._include_hidden = include_hidden
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._running: OrderedDict[bytes, _Running] = OrderedDict()
        self._bytes = 0
        self._erasures = _Erasures.count
        self._anew: set[bytes] = set()
        """Aggregates whose kept states were folded without what is being erased of them."""

    def __len__(self) -> int:
        """Return how many states are kept."""
        return len(self._running)

    def build(
        self,
        view: IReadView,
        in_force: InForce,
        event: Event,
        position: int,
        mode: PayloadMode,
        *,
        archived: bool = False,
    ) -> Parts | None:
        """Return the parts of a stored event; None when it is hidden from the plugin or not wanted.

        ``view`` holds the event; it is read where the fold cannot go on from a kept one. The state
        is not archived, for that only follows an event; ``archived`` says otherwise, for replays.
        The head has no ``frontier``. Raises StorageError.
        """
        seen = in_force.views.seen(include_hidden=self._include_hidden)
        if not seen.shows(event.aggregate_type):
            return None
        shown = seen.event(event)
        if not self._wants(shown):
            return None
        record: Event | None = shown
        head: Head | None = None
        schema: bytes | None = None
        if mode == "extensions-only":
            record = event._replace(payload=b"null")
        elif mode not in WITH_RECORD:
            record = None
        if mode in WITH_STATE:
            head = self._after(view, in_force.views.fold(event.aggregate_type), event)
            head = seen.head(head)
            if archived:
                head = head._replace(archived=True)
        if mode in WITH_SCHEMA:
            contract = in_force.contracts.get(event.aggregate_type)
            schema = None if contract is None else contract.document
        return Parts(
            self._domain,
            position_token(position),
            event.aggregate_type,
            event.aggregate_id,
            event.version,
            event.event_id,
            event.event_type,
            mode,
            record,
            head,
            schema,
        )

    def _after(self, view: IReadView, fold: Fold, event: Event) -> Head:
        """Return the aggregate just after an event."""
        if self._erasures != _Erasures.count:
            self._erasures = _Erasures.count
            self._running.clear()
            self._anew.clear()
            self._bytes = 0
        name = slot = keys.name(event.aggregate_type, event.aggregate_id)
        version = event.version
        gone = erasures.ranges_under_way(view, name) if _Erasures.under_way else ()
        if gone and name not in self._anew:
            # Whoever read an older view may have kept a state since.
            for one in (name, name + _BEHIND):
                self._drop(one)
            self._anew.add(name)
        event = _without(event, gone)
        kept = self._kept(slot, fold)
        if kept is not None and kept.head.version > version:
            slot = name + _BEHIND
            kept = self._kept(slot, fold)
            if kept is not None and kept.head.version > version:
                kept = None
        if kept is not None:
            if kept.head.version == version - 1:
                return self._keep(slot, _step(kept.head, event, fold), kept, event)
            if kept.head.version == version:
                return kept.head
            nearest = kept.head
        else:
            nearest = new_head(event.aggregate_type, event.aggregate_id, fold.mark)
        if version - nearest.version > _GAP_READ:
            stored = eventlog.load_head(view, name)
            current = stored is not None and (not gone or stored.fold_mark == fold.mark)
            if stored is not None and current and stored.version == version:
                stored = eventlog.refolded(view, stored, fold)
                return self._keep(slot, _as_of(stored), None, event)
        return self._keep(slot, _through(view, name, nearest, event, fold, gone), None, event)

    def _kept(self, slot: bytes, fold: Fold) -> _Running | None:
        kept = self._running.get(slot)
        return None if kept is None or kept.head.fold_mark != fold.mark else kept

    def _keep(self, slot: bytes, head: Head, before: _Running | None, event: Event) -> Head:
        """Keep a head for the next event of its aggregate, and return it."""
        size = measure_at = 0
        if before is not None:
            size = before.size + len(event.payload) + len(event.extensions or b"")
            measure_at = before.measure_at
        if size >= measure_at:
            size = len(dump(head.state)) + len(dump(head.extensions)) + len(slot)
            measure_at = 2 * size + _BYTES_BESIDE_STATE
        self._drop(slot)
        self._running[slot] = _Running(head, size, measure_at)
        self._bytes += size + _BYTES_BESIDE_STATE
        while self._bytes > self._bytes_max or len(self._running) > self._entries_max:
            _slot, gone = self._running.popitem(last=False)
            self._bytes -= gone.size + _BYTES_BESIDE_STATE
        return head

    def _drop(self, slot: bytes) -> None:
        old = self._running.pop(slot, None)
        if old is not None:
            self._bytes -= old.size + _BYTES_BESIDE_STATE


def _without(event: Event, gone: Ranges) -> Event:
    """Return an event as it is folded once what is being erased is gone."""
    if any(first <= event.version <= last for first, last in gone):
        return event._replace(erased=True, extensions=None)
    return event


def _as_of(newest: Head) -> Head:
    """Return a stored head as it was just after its newest event."""
    return newest._replace(frontier=(), archived=False, archived_at=None, archive_comment=None)


def _step(head: Head, event: Event, fold: Fold) -> Head:
    """Return the head after the next event, without a frontier: no plugin is sent one."""
    extensions = head.extensions
    if event.extensions is not None:
        extensions = fold_extensions(extensions, orjson.loads(event.extensions))
    return Head(
        head.aggregate_type,
        head.aggregate_id,
        event.version,
        fold_state(head.state, fold.lift(event)),
        extensions,
        (),
        event.merkle_root,
        event.created_at if head.created_at is None else head.created_at,
        event.created_at,
        False,
        None,
        None,
        fold.mark,
    )


def _through(
    view: IReadView, name: bytes, head: Head, event: Event, fold: Fold, gone: Ranges
) -> Head:
    """Return the head after an event, folded on through those between."""
    if event.version == head.version + 1:
        return _step(head, event, fold)
    state: dict[str, JSON] = dict(head.state)
    extensions = head.extensions
    created_at, version = head.created_at, head.version
    for read in eventlog.events(view, name, after=head.version, until=event.version - 1):
        one = _without(read, gone)
        version += 1
        if one.version != version:
            break
        payload = fold.lift(one)
        if type(payload) is dict:
            state.update(payload)
        elif payload is not None:
            state["_value"] = payload
        if one.extensions is not None:
            extensions = fold_extensions(extensions, orjson.loads(one.extensions))
        if created_at is None:
            created_at = one.created_at
    if version != event.version - 1:
        raise StorageError(
            f"event {event.aggregate_type}::{event.aggregate_id} v{version} is missing"
        )
    before = head._replace(
        version=version, state=state, extensions=extensions, created_at=created_at
    )
    return _step(before, event, fold)
