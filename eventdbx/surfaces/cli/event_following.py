"""``dbx events --follow``: events as they are committed, through a server or without one.

A server that comes or goes is followed all the same: each time the command looks where the data
is, and goes on behind the last event.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.cli.options import checked_filter, checked_take
from eventdbx.surfaces.cli.output import note_on_terminal, print_line, print_more
from eventdbx.surfaces.cli.session import database, opened, server_address

WAIT_MS = 10_000
LOOK_S = 0.5
"""How often a store without a server is looked at, and a server that is away is asked for."""

PAGE_EVENTS = 500


def follow_events(context: click.Context, given: dict[str, Any]) -> None:
    """Print events from a place on until enough are printed, or for ever."""
    take = checked_take(given["take"])
    checked_filter(given["expression"])
    course = _Course(given, take)
    reached = False
    while True:
        try:
            _follow(context, course)
        except Failure as failure:
            if failure.code != UNREACHABLE or not reached:
                raise
            course.lost()
        reached = True
        if course.left == 0:
            return
        time.sleep(LOOK_S)


class _Course:
    """Where the command is, and how much is left to print."""

    def __init__(self, given: dict[str, Any], take: int | None) -> None:
        self._as_json: bool = given["as_json"]
        self.wanted = {
            "aggregate_type": given["target"],
            "aggregate_id": given["aggregate_id"],
            "filter": given["expression"],
            "raw": given["raw"],
        }
        self.token: str = given["start"] or "end"
        self.left = take
        self._away = False
        self._first = True

    def size(self) -> int:
        """Return how many events to ask for."""
        return PAGE_EVENTS if self.left is None else min(self.left, PAGE_EVENTS)

    def show(self, events: list[dict[str, Any]]) -> None:
        """Print events, so that whoever reads them has them at once."""
        self._away = False
        if self._as_json:
            views = [{**documents.event_view(one), "position": one["position"]} for one in events]
            print_more(views, first=self._first)
            self._first = self._first and not views
        else:
            for event in events:
                print_line(f"{documents.event_line(event)} position={event['position']}")
        sys.stdout.flush()
        if self.left is not None:
            self.left -= len(events)

    def lost(self) -> None:
        """Say, once, that there is nobody to ask."""
        if not self._away:
            note_on_terminal(f"the server is away; going on after {self.token or 'the start'}")
        self._away = True


def _follow(context: click.Context, course: _Course) -> None:
    """Print what there is, and, where a server waits for it, what comes. Raises Failure."""
    alone = server_address(context, opened(context)) is None
    with database(context) as (way, calls):
        while course.left != 0:
            wait_ms = 0 if alone or course.token == "end" else WAIT_MS
            call = calls.follow(course.token, take=course.size(), wait_ms=wait_ms, **course.wanted)
            page = way.call(call)
            course.token = page.next
            course.show(page.events)
            if alone and not page.more:
                return
