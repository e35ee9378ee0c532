"""Following events in a program of Twisted; see :mod:`eventdbx.surfaces.control.follower`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from eventdbx.errors import IoError
from eventdbx.surfaces.control.calls import Followed
from eventdbx.surfaces.control.follower import Course

if TYPE_CHECKING:
    from eventdbx.surfaces.control.client import Client


class AsyncFollower:
    """An asynchronous iterator over events as they are committed, each with its ``position``.

    It has a session of its own, so it holds up nobody, and makes a new one when that is lost.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Client]],
        course: Course,
        clock: IReactorTime,
        starting: Deferred[Followed] | None = None,
    ) -> None:
        self._dial = dial
        self._course = course
        self._clock = clock
        self._client: Client | None = None
        self._starting: Deferred[Any] | None = None
        if starting is not None:
            self._starting = starting.addErrback(lambda failure: failure.value)

    @property
    def token(self) -> str:
        """The place behind the last event taken: what to keep, and to begin with next time."""
        return self._course.token

    def __aiter__(self) -> AsyncFollower:
        return self

    async def __anext__(self) -> dict[str, Any]:
        course = self._course
        while True:
            event = course.pop()
            if event is not None:
                return event
            if course.ended:
                await self.close()
                raise StopAsyncIteration
            await self._fetch()

    async def _fetch(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            page = await starting
            if isinstance(page, Exception):
                raise page
            self._course.took(page)
            return
        try:
            if self._client is None:
                self._client = await self._dial()
            self._course.took(await self._client.call(self._course.call()))
        except IoError as error:
            await self.close()
            delay_s = self._course.delay_s(error, self._clock.seconds())
            await deferLater(self._clock, delay_s, lambda: None)

    def close(self) -> Deferred[None]:
        """Close the session; the iterator may be used again."""
        client, self._client = self._client, None
        return succeed(None) if client is None else client.close()
