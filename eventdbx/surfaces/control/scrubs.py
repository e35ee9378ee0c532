"""Scrubbing on the control protocol: a row of :mod:`eventdbx.surfaces.control.integrity`.

The same document is what the Admin API answers and what ``dbx scrub status --json`` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from eventdbx.errors import ConfigError
from eventdbx.surfaces.control.recording import Change

if TYPE_CHECKING:
    from eventdbx.application.scrubbing import Scrub
    from eventdbx.surfaces.control.integrity import Work

READS = "config.read"
CHANGES = "config.write"
EVENTS = {"start": "scrub_started", "stop": "scrub_stopped"}


def scrub(work: Work) -> Deferred[dict[str, Any]]:
    """``status``, which is the default, ``start`` or ``stop``: how scrubbing stands after it."""
    action = work.asked.text("action") or "status"
    if action != "status":
        work.grant.require(CHANGES)
    scrubbed = work.session.domain.scrub
    change_scrub(scrubbed, action)
    if action == "status":
        return succeed(scrubbed.document())
    change = Change("config", EVENTS[action], "scrub", f"control integrity scrub {action}")
    answer = succeed(scrubbed.document())
    recorded: Deferred[dict[str, Any]]
    recorded = work.recording.done(work.session, work.grant, change, answer)
    return recorded


def change_scrub(scrub: Scrub, action: str) -> None:
    """Carry out an action. Raises ConfigError for one that is unknown, and without a server."""
    if action == "start":
        scrub.start()
    elif action == "stop":
        scrub.stop()
    elif action != "status":
        raise ConfigError(f"unknown action '{action[:64]}' (status, start or stop)")
