"""The conversation of a plugin with its server: events in, confirmations and refusals out.

Without pipes: bytes come through :meth:`Conversation.receive`, answers go through ``write``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from eventdbx.sdk.events import Event, Unavailable
from eventdbx.sdk.projections import Projection
from eventdbx.wire.plugin_reading import Incoming, Received, encode_ack, encode_error

ACK_S = 0.05
"""Confirmations wait this long for others: one message confirms all events before it."""


class Conversation:
    """Applies what comes and answers.

    ``write`` takes the answers, None in a server that reads none; ``report`` is told, in a line,
    why an event was refused, while the exception is being handled.
    """

    def __init__(
        self,
        projection: Projection,
        write: Callable[[bytes], None] | None,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._projection = projection
        self._write = write
        self._report = report
        self._clock = clock
        self._incoming = Incoming()
        self._waiting: deque[Event] = deque()
        self._void = False
        self._done = 0
        self._confirmed = 0
        self._confirmed_at = clock()

    def receive(self, data: bytes) -> None:
        """Apply the events that are complete now, and answer.

        Raises MalformedMessage for bytes that are no messages; what came before is answered.
        """
        try:
            for message in self._incoming.feed(data):
                if type(message) is Received:
                    self._take(Event(message))
        finally:
            self._work()

    def _take(self, event: Event) -> None:
        """Keep an event, unless it stands behind a refused one of its delivery."""
        if self._void:
            self._void = event.more
        else:
            self._waiting.append(event)

    def _work(self) -> None:
        waiting = self._waiting
        while waiting:
            self._apply(self._group())
            self._confirm_in_time()
        self._confirm()

    def _group(self) -> list[Event]:
        """Return what is applied together: samples are always alone."""
        group: list[Event] = []
        for event in self._waiting:
            if event.is_test and group:
                break
            group.append(event)
            if event.is_test or len(group) == self._projection.size:
                break
        return group

    def _apply(self, group: list[Event]) -> None:
        try:
            taken = self._projection.apply(group)
        except Exception as error:
            if len(group) > 1 and not isinstance(error, Unavailable):
                self._apply_each(group)
            else:
                self._refuse(error)
        else:
            for event in group[:taken]:
                self._done = event.sequence
                self._waiting.popleft()

    def _apply_each(self, group: list[Event]) -> None:
        """Find the event that made a group fail; those before it are applied."""
        for event in group:
            try:
                self._projection.apply([event])
            except Exception as error:
                self._refuse(error)
                return
            self._done = event.sequence
            self._waiting.popleft()
            self._confirm_in_time()

    def _refuse(self, error: Exception) -> None:
        """Refuse the first event that waits, and drop the rest of its delivery."""
        waiting = self._waiting
        event = waiting.popleft()
        reason = f"{type(error).__name__}: {error}"
        self._report(f"event {event!r} was refused: {reason}")
        if self._write is None:
            return  # The server takes it for delivered already.
        self._confirm()
        if isinstance(error, Unavailable):
            message = encode_error(
                event.sequence,
                str(error),
                unavailable=True,
                retry_after_s=error.retry_after_s,
            )
        else:
            message = encode_error(event.sequence, reason)
        self._write(message)
        more = event.more
        while more and waiting:
            more = waiting.popleft().more
        self._void = more

    def _confirm_in_time(self) -> None:
        if self._clock() - self._confirmed_at > ACK_S:
            self._confirm()

    def _confirm(self) -> None:
        if self._write is not None and self._done > self._confirmed:
            self._write(encode_ack(self._done))
            self._confirmed = self._done
        self._confirmed_at = self._clock()
