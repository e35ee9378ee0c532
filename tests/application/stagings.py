"""A domain on disk in which two users stage, for the tests of staging."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.authorising import allow_all
from eventdbx.application.staging import Staging
from eventdbx.application.writer import Committed
from eventdbx.domain.commands import Write, WriteKind
from eventdbx.domain.events import Actor, Event
from eventdbx.errors import (
    EventDBXError,
)
from eventdbx.storage.staged import Entry
from tests.erasure.places import ALICE, OnDisk

BOB = Actor("ops", "bob")
SECRETS = ("staged-payload-5521", "staged-metadata-5521", "staged-note-5521", "staged-key-5521")


def write(
    kind: WriteKind, identifier: str, content: Any, event: str = "changed", **more: Any
) -> Write:
    """Return a write about an order."""
    return Write(kind, "order", identifier, event, orjson.dumps(content).decode(), **more)


def replacing(path: str, value: Any) -> list[dict[str, Any]]:
    """Return a patch that replaces or adds one value."""
    return [{"op": "add", "path": path, "value": value}]


class StagingCase(OnDisk):
    """A domain with an order, and two who stage."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-1", {"total": 12, "who": {"name": "Ada", "tags": ["x"]}})

    @property
    def staging(self) -> Staging:
        """What is staged in the domain."""
        return self.domain.staging

    def staging_of(
        self, *writes: Write, owner: Actor = ALICE, **more: Any
    ) -> Deferred[list[Entry]]:
        """Begin to stage."""
        more = {"actor": owner, "authorise": allow_all, **more}
        return self.staging.stage(writes, owner=owner, render=lambda entries: entries, **more)

    def stage(self, *writes: Write, owner: Actor = ALICE, **more: Any) -> list[Entry]:
        """Stage what must be accepted."""
        return self.successResultOf(self.staging_of(*writes, owner=owner, **more))

    def committing(self, owner: Actor = ALICE, **more: Any) -> Deferred[list[Event]]:
        """Begin to commit."""

        def render(done: list[Committed]) -> list[Event]:
            return [one.event for one in done]

        more = {"actor": owner, "authorise": allow_all, **more}
        return self.staging.commit(owner=owner, render=render, **more)

    def commit(self, owner: Actor = ALICE, **more: Any) -> list[Event]:
        """Commit what must be accepted."""
        return self.successResultOf(self.committing(owner, **more))

    def refused(self, doing: Deferred[Any], kind: type[EventDBXError]) -> str:
        """Return why something was refused; nothing of it may have happened."""
        return str(self.failureResultOf(doing, kind).value)

    def ids(self, owner: Actor = ALICE) -> list[int]:
        """Return the ids of what is staged."""
        return [one.entry_id for one in self.staging.entries(owner)]
