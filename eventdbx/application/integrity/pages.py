"""A pass in pages: some of it for each request, and where to go on."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from eventdbx.application.integrity.findings import Checked, Finding
from eventdbx.application.integrity.passes import REST, Place, Shows, Task, walk
from eventdbx.errors import InvalidCursor, StorageError
from eventdbx.storage.interfaces import IReadView

PAGE_AGGREGATES = 1_000
PAGE_BYTES = 8 << 20
PAGE_FINDINGS = 1_000
"""What ends a page, whichever comes first; the record that is looked at is finished."""

PLACES_MAX = 64
"""Verifications that are somewhere behind the aggregates at a time."""

HIDDEN_FAULT = StorageError.prefix + (
    "integrity check failed: the index of referrers or another record is wrong about a hidden type"
)


class Page(NamedTuple):
    """What some of a pass came to; ``next`` is where to go on, None at the end."""

    checked: list[Checked]
    findings: list[Finding]
    read: int
    next: Place | None


class Places:
    """Where verifications of a store stand that somebody may go on with, by a word for each."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()

    def keep(self, word: str, place: Place) -> None:
        """Remember a place; of too many the oldest is forgotten."""
        self._places[word] = place
        while len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    def find(self, word: str) -> Place:
        """Return the place that was kept. Raises InvalidCursor."""
        place = self._places.get(word)
        if place is None:
            raise InvalidCursor("this verification is not known any more; begin it again")
        return place


def read_page(
    view: IReadView,
    task: Task,
    place: Place,
    *,
    aggregates_max: int = PAGE_AGGREGATES,
    bytes_max: int = PAGE_BYTES,
) -> Page:
    """Check the store from a place on, until a page is full."""
    checked: list[Checked] = []
    findings: list[Finding] = []
    read = aggregates = 0
    done = place
    for at, outcome in walk(view, task, place):
        if at[:2] != done[:2]:
            if at.stage < REST:
                if aggregates >= aggregates_max:
                    return Page(checked, findings, read, done)
                aggregates += 1
            if read >= bytes_max or len(findings) >= PAGE_FINDINGS:
                return Page(checked, findings, read, done)
        elif at.stage < REST and not aggregates:
            aggregates = 1
        done = at
        if isinstance(outcome, int):
            read += outcome
        elif isinstance(outcome, Checked):
            checked.append(outcome)
        else:
            findings.append(shown(outcome, task.shows))
    return Page(checked, findings, read, None)


def shown(finding: Finding, shows: Shows) -> Finding:
    """Return a finding as it is told to who may see some types: the others have no names."""
    if not finding.aggregate_type or shows(finding.aggregate_type):
        return finding
    if "position" in finding.record:
        return finding._replace(aggregate_type="", aggregate_id="", version=0)
    return Finding("", "", 0, HIDDEN_FAULT)
