"""Verification: every hash computed again from the stored bytes.

Nothing stored is believed. ``aggregates`` holds what is stored of one aggregate against its events,
``logs`` the commit log against the events, ``anchors`` the log against what was signed of it, and
``passes`` goes through a whole store, ``pages`` in parts of one.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventdbx.application.integrity.aggregates import check_aggregate, verify_aggregate
from eventdbx.application.integrity.findings import Checked, Finding
from eventdbx.application.integrity.pages import shown
from eventdbx.application.integrity.passes import (
    REST,
    Place,
    Shows,
    Task,
    show_all,
    stored_set,
    walk,
)
from eventdbx.application.views import Views
from eventdbx.storage.interfaces import IReadView

__all__ = [
    "Checked",
    "Finding",
    "check_aggregate",
    "stored_set",
    "verify_aggregate",
    "verify_aggregates",
    "verify_rest",
]


def verify_aggregates(
    view: IReadView, views: Views, *, shows: Shows = show_all
) -> Iterator[Checked | Finding]:
    """Check every aggregate in natural order; types that ``shows`` says no of are left out."""
    for place, outcome in walk(view, Task(views, "", shows=shows)):
        if place.stage >= REST:
            return
        if not isinstance(outcome, int):
            yield outcome


def verify_rest(view: IReadView, *, domain: str, shows: Shows = show_all) -> Iterator[Finding]:
    """Check what is no aggregate's own; types that ``shows`` says no of are not named."""
    task = Task(Views({}), domain, shows=shows)
    for _place, outcome in walk(view, task, Place(REST)):
        if isinstance(outcome, Finding):
            yield shown(outcome, shows)
