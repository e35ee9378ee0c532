"""Erasure on the control protocol: a row of :mod:`eventdbx.surfaces.control.integrity`.

The same document is what the Admin API answers and what ``dbx erase --json`` prints. Whose events
are erased is in none of them, nor in the audit trail: the name of a subject is content, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.erasing import Erased, Order
from eventdbx.errors import ConfigError
from eventdbx.surfaces.control.recording import Change
from eventdbx.surfaces.control.writes import writing

if TYPE_CHECKING:
    from eventdbx.surfaces.control.integrity import Work

ERASES = "aggregate.erase"
EVENT = "erased"
AREA = "erasures"


def erase(work: Work) -> Deferred[dict[str, Any]]:
    """Erase an aggregate, or all events about a ``subject``; ``dry_run`` counts what would go."""
    erased = carry_out(work).addCallback(erased_document)
    if work.asked.flag("dry_run"):
        return erased
    resource = resource_of(work)

    def record(done: dict[str, Any]) -> Any:
        if not (done["aggregates"] or done["staged"]):
            return done  # Nothing was there to be erased.
        details = {name: done[name] for name in ("aggregates", "events")}
        change = Change(AREA, EVENT, resource, "control integrity erase", details)
        return work.recording.done(work.session, work.grant, change, done)

    return erased.addCallback(record)


def carry_out(work: Work) -> Deferred[Erased]:
    """Begin what is asked for. Raises ConfigError, and what erasing raises."""
    asked, erasing = work.asked, work.session.domain.erasing
    subject = asked.text("subject")
    if (subject is None) == (asked.text("aggregate_type") is None):
        raise ConfigError("either 'subject' or 'aggregate_type' and 'aggregate_id' must be given")
    order = Order(
        asked.required("reason"),
        work.grant.actor,
        work.run_slowly,
        writing(work.session, work.grant),
        asked.flag("dry_run"),
    )
    if subject is not None:
        return erasing.subject(subject, order)
    names = asked.required("aggregate_type"), asked.required("aggregate_id")
    return erasing.aggregate(*names, order)


def resource_of(work: Work) -> str:
    """Return what the audit trail says was erased."""
    if work.asked.has("subject"):
        return "subject"
    return f"{work.asked.required('aggregate_type')}/{work.asked.required('aggregate_id')}"


def erased_document(erased: Erased) -> dict[str, Any]:
    """Return what there is to say of an erasure."""
    return erased._asdict()
