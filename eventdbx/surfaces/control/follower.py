"""Following events from a program: pages of the log one after another, across lost connections.

What is common to both clients, and the follower of the one that waits; that for Twisted is in
:mod:`eventdbx.surfaces.control.async_follower`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from eventdbx.errors import IoError
from eventdbx.surfaces.control.calls import Call, Calls, Followed

if TYPE_CHECKING:
    from types import TracebackType

    from eventdbx.surfaces.control.blocking import BlockingClient

WAIT_S = 20.0
"""How long the server is asked to wait before it says that there is nothing."""

PATIENCE_S = 60.0
"""How long a server may be away before a follower gives up."""

_DELAY_FIRST_S, _DELAY_MAX_S = 0.05, 2.0


class FollowOptions(NamedTuple):
    """What is followed and from where; ``live`` false ends at the end of the log.

    ``patience_s`` None waits for a lost server for ever.
    """

    after: str = "end"
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    filter: str | None = None
    take: int = 0
    raw: bool = False
    live: bool = True
    patience_s: float | None = PATIENCE_S


class Course:
    """Where a follower is: what it asks for next, and what it makes of the answer or of none.

    ``token`` is the place behind the last event that was handed out, or behind all those that were
    passed over; to go on there later is to miss nothing and to get nothing twice.
    """

    def __init__(self, calls: Calls, options: FollowOptions, wait_s: float) -> None:
        self._calls = calls
        self._options = options
        self._wait_ms = int(wait_s * 1000)
        self._delay_s = 0.0
        self._failing_since: float | None = None
        self._events: deque[dict[str, Any]] = deque()
        self._next = options.after
        self.token = options.after
        self.ended = False

    def call(self) -> Call[Followed]:
        """Return the call for the next page."""
        options = self._options
        return self._calls.follow(
            self._next,
            aggregate_type=options.aggregate_type,
            aggregate_id=options.aggregate_id,
            filter=options.filter,
            take=options.take,
            wait_ms=self._wait_ms if options.live else 0,
            raw=options.raw,
        )

    def took(self, page: Followed) -> None:
        """Go on behind a page."""
        self._failing_since, self._delay_s = None, 0.0
        self._events.extend(page.events)
        self._next = page.next
        if not page.events:
            self.token = page.next
        self.ended = not self._options.live and not page.more

    def pop(self) -> dict[str, Any] | None:
        """Return the next event of what was fetched, None when it is all handed out."""
        if not self._events:
            return None
        event = self._events.popleft()
        self.token = event["position"] if self._events else self._next
        return event

    def delay_s(self, error: IoError, now_s: float) -> float:
        """Return how long to wait before the server is asked again; raise the error when it has
        been away for too long."""
        if self._failing_since is None:
            self._failing_since = now_s
        patience_s = self._options.patience_s
        if patience_s is not None and now_s - self._failing_since >= patience_s:
            raise error
        self._delay_s = min(max(self._delay_s * 2, _DELAY_FIRST_S), _DELAY_MAX_S)
        return self._delay_s


class Follower:
    """An iterator over events as they are committed, each with its ``position``.

    It has a connection of its own, made anew when it is lost. Events are fetched a page at a time,
    and the next page not before all of the last one were taken. Raises IoError when the server is
    away for too long, and whatever the server answers with.
    """

    def __init__(self, dial: Callable[[], BlockingClient], course: Course) -> None:
        self._dial = dial
        self._course = course
        self._client: BlockingClient | None = None

    @property
    def token(self) -> str:
        """The place behind the last event taken: what to keep, and to begin with next time."""
        return self._course.token

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        course = self._course
        while True:
            event = course.pop()
            if event is not None:
                return event
            if course.ended:
                self.close()
                raise StopIteration
            self._fetch()

    def _fetch(self) -> None:
        try:
            if self._client is None:
                self._client = self._dial()
            self._course.took(self._client.call(self._course.call()))
        except IoError as error:
            self.close()
            time.sleep(self._course.delay_s(error, time.monotonic()))

    def close(self) -> None:
        """Close the connection; the iterator may be used again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
