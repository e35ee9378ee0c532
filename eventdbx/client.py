"""Clients of an EventDBX server, for programs.

``BlockingClient`` waits for each answer and needs no Twisted; ``Client`` returns Deferreds and
pipelines. It is imported only when asked for, so that blocking programs start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Followed, Listed, OutboxRead, Waited
from eventdbx.surfaces.control.follower import Follower

if TYPE_CHECKING:
    from eventdbx.surfaces.control.client import Client

__all__ = [
    "BlockingClient",
    "Client",
    "Followed",
    "Follower",
    "Listed",
    "OutboxRead",
    "PublishTarget",
    "Waited",
    "Write",
]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from eventdbx.surfaces.control.client import Client

        return Client
    raise AttributeError(name)
