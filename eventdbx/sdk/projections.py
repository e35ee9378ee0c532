"""A projection: one function over events, with what is to be kept of how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol, overload

from eventdbx.sdk.events import Event

TRANSACTION_EVENTS = 500
"""Events in one transaction of a projection that takes them one by one."""

TRANSACTION_S = 0.2
"""How long such a transaction goes on taking events: answers wait for its end."""


class Checkpoint(Protocol):
    """What the loop asks of a checkpoint; write one for any store that has transactions."""

    def begin(self) -> None:
        """Begin a transaction; raises Unavailable."""

    def is_new(self, event: Event) -> bool:
        """Say whether the event was not yet applied, as the transaction sees it."""

    def note(self, event: Event) -> None:
        """Note, within the transaction, that the event is being applied."""

    def commit(self) -> None:
        """Make everything since ``begin`` durable; raises Unavailable."""

    def rollback(self) -> None:
        """Forget everything since ``begin``, which may have failed."""


class Projection:
    """What :func:`projection` makes of a function. Call it as the function that it was."""

    def __init__(
        self,
        function: Callable[..., object],
        *,
        batch: int | None = None,
        checkpoint: Checkpoint | None = None,
        aggregates: Collection[str] = (),
        events: Collection[str] = (),
        replays: Literal["skip", "apply"] = "skip",
        tests: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if batch is not None and batch < 1:
            raise ValueError("batch must be at least 1")
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "projection")
        self.function = function
        self.batch = batch
        self.checkpoint = checkpoint
        self._aggregates = frozenset(aggregates)
        self._events = frozenset(events)
        self._apply_replays = replays == "apply"
        self._tests = tests
        self._clock = clock

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    def wants(self, event: Event) -> bool:
        """Say whether the function is called for an event at all."""
        if self._aggregates and event.aggregate_type not in self._aggregates:
            return False
        return not self._events or event.event_type in self._events

    @property
    def size(self) -> int:
        """How many events :meth:`apply` takes at most."""
        if self.batch is not None:
            return self.batch
        return 1 if self.checkpoint is None else TRANSACTION_EVENTS

    def apply(self, events: Sequence[Event]) -> int:
        """Apply events, as many as there is time for, at least one; return how many.

        What was applied already counts as well. With a checkpoint, all of them or none are in the
        read model. Raises whatever the function does.
        """
        if events[0].is_test:
            self._try(events[0])
            return 1
        checkpoint = self.checkpoint
        if checkpoint is None:
            return self._call([event for event in events if self.wants(event)], len(events))
        checkpoint.begin()
        try:
            if self.batch is None:
                taken = self._each(events, checkpoint)
            else:
                taken = len(events)
                self._call([one for one in events if self._fresh(one, checkpoint)], taken)
            checkpoint.commit()
        except BaseException:
            checkpoint.rollback()
            raise
        return taken

    def _call(self, events: list[Event], taken: int) -> int:
        if self.batch is None:
            for event in events:
                self.function(event)
        elif events:
            self.function(events)
        return taken

    def _each(self, events: Sequence[Event], checkpoint: Checkpoint) -> int:
        clock = self._clock
        until = clock() + TRANSACTION_S
        for taken, event in enumerate(events, 1):
            if self._fresh(event, checkpoint):
                self.function(event)
                if clock() > until:
                    return taken
        return len(events)

    def _fresh(self, event: Event, checkpoint: Checkpoint) -> bool:
        """Say whether to call the function for an event, and note it if so."""
        if not self.wants(event):
            return False
        if not checkpoint.is_new(event):
            return self._apply_replays and event.is_replay
        checkpoint.note(event)
        return True

    def _try(self, event: Event) -> None:
        """Do with a sample what can be undone."""
        checkpoint = self.checkpoint
        if not self.wants(event):
            return
        if checkpoint is None:
            if self._tests:
                self._call([event], 1)
            return
        checkpoint.begin()
        try:
            self._call([event], 1)
        finally:
            checkpoint.rollback()


@overload
def projection(function: Callable[..., object], /) -> Projection: ...


@overload
def projection(
    *,
    batch: int | None = None,
    checkpoint: Checkpoint | None = None,
    aggregates: Collection[str] = (),
    events: Collection[str] = (),
    replays: Literal["skip", "apply"] = "skip",
    tests: bool = False,
) -> Callable[[Callable[..., object]], Projection]: ...


def projection(
    function: Callable[..., object] | None = None, /, **options: Any
) -> Projection | Callable[[Callable[..., object]], Projection]:
    """Make a projection of a function of one event, with ``batch`` of a list of events.

    ``batch`` is the most that one call gets; it never waits for more to come. What ``checkpoint``
    holds as applied is not applied again; ``replays="apply"`` makes an exception of replays.
    ``aggregates`` and ``events`` are the types that the function is called for, all by default;
    others are confirmed without it. The sample of ``dbx plugin test`` is applied and rolled back;
    without a checkpoint the function sees it only with ``tests``.
    """
    if function is not None:
        return Projection(function)
    return lambda inner: Projection(inner, **options)
