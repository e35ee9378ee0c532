"""Plugins in Python: one decorated function is a projection.

    from eventdbx.plugin import Event, projection, run

    @projection
    def greet(event: Event) -> None:
        print(event.event_type, event.aggregate_id, event.payload)

    run(greet)

docs/plugin-sdk.md is the guide. Nothing here imports Twisted or what else a server needs, so that
plugins start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventdbx.sdk.events import Event, Unavailable
from eventdbx.sdk.projections import Checkpoint, Projection, projection
from eventdbx.sdk.running import run

if TYPE_CHECKING:
    from eventdbx.sdk.checkpoints import SqliteCheckpoint

__all__ = [
    "Checkpoint",
    "Event",
    "Projection",
    "SqliteCheckpoint",
    "Unavailable",
    "projection",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "SqliteCheckpoint":
        from eventdbx.sdk.checkpoints import SqliteCheckpoint

        return SqliteCheckpoint
    raise AttributeError(name)
