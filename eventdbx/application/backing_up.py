"""What surfaces may ask of the backups of a running server."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred

from eventdbx.domain.grants import Grant


class Backups(Protocol):
    """The backups of an installation: of all its domains. Deferreds fail with EventDBXError.

    ``by`` is who asks: Unauthorized unless its grant is good for every domain.
    """

    def begin(self, by: Grant, *, with_keys: bool) -> Deferred[dict[str, Any]]:
        """Copy everything for a command to pack: ``id``, ``path`` and ``domains``."""

    def end(self, identity: str) -> Deferred[dict[str, Any]]:
        """Take a copy away."""

    def make(self, by: Grant, *, name: str | None, with_keys: bool) -> Deferred[dict[str, Any]]:
        """Write an archive into the configured folder; fires with what is said of it."""

    def listed(self) -> Deferred[list[dict[str, Any]]]:
        """Fires with the archives in the configured folder, by name."""
