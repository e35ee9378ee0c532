"""Rehearsals on the control protocol: start one, look at it, cancel it, list them.

They are operations on schemas (docs/protocol.md, "Schemas"). Starting and cancelling needs
``schema.write``, looking ``schema.read``; events are only named to who may read them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.rehearsal import Rehearsal, Rehearsals
from eventdbx.application.schema_work import Prepared
from eventdbx.domain.identifiers import check_aggregate_type

if TYPE_CHECKING:
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.asked import Asked
    from eventdbx.surfaces.control.routes import RunSlowly, Session

Set = Callable[["Asked"], bytes]
"""Returns the text of the set of schemas that an operation brings."""


class RehearsalRoutes:
    """The four operations; each returns the document that answers it, or a Deferred of it."""

    def __init__(self, rehearsals: Rehearsals, run_slowly: RunSlowly, text_of: Set) -> None:
        self._rehearsals = rehearsals
        self._run_slowly = run_slowly
        self._text_of = text_of
        self._table = {
            "rehearse": self._rehearse,
            "rehearsal": self._rehearsal,
            "cancel_rehearsal": self._cancel,
            "rehearsals": self._list,
        }

    @property
    def names(self) -> frozenset[str]:
        """What the operations are called."""
        return frozenset(self._table)

    def answer(self, session: Session, asked: Asked, grant: Grant) -> Any:
        """Return the answer to one of the operations. Raises EventDBXError."""
        return self._table[asked.required("do")](session, asked, grant)

    def _rehearse(self, session: Session, asked: Asked, _grant: Grant) -> Any:
        """Begin with the set that is brought, a version, or the set in force."""
        domain = session.domain
        aggregates = asked.texts("aggregates")
        for name in aggregates:
            check_aggregate_type(name)
        version = None
        if asked.has("schemas"):
            text = self._text_of(asked)
        elif asked.has("version"):
            found, text = domain.schemas.text_of(asked.required("version"))
            version = found.id
        else:
            job = self._rehearsals.start(
                domain, domain.schemas.in_force.contracts, aggregates=aggregates or None
            )
            return {"job": job.id, "warnings": []}
        prepared: Deferred[Prepared] = self._run_slowly(partial(domain.schemas.prepare, text))

        def begin(candidate: Prepared) -> dict[str, Any]:
            job = self._rehearsals.start(
                domain, candidate.contracts, aggregates=aggregates or None, version=version
            )
            return {"job": job.id, "warnings": list(candidate.warnings)}

        return prepared.addCallback(begin)

    def _rehearsal(self, session: Session, asked: Asked, grant: Grant) -> dict[str, Any]:
        job = self._rehearsals.find(session.domain, asked.required("job"))
        self._rehearsals.carry_on(job)
        return self._document(job, grant)

    def _cancel(self, session: Session, asked: Asked, grant: Grant) -> dict[str, Any]:
        job = self._rehearsals.find(session.domain, asked.required("job"))
        self._rehearsals.cancel(job)
        return self._document(job, grant)

    def _list(self, session: Session, _asked: Asked, grant: Grant) -> dict[str, Any]:
        jobs = [self._document(job, grant) for job in self._rehearsals.of(session.domain)]
        for job in jobs:
            del job["rules"]
        return {"rehearsals": jobs}

    def _document(self, job: Rehearsal, grant: Grant) -> dict[str, Any]:
        def visible(aggregate_type: str, aggregate_id: str) -> bool:
            return grant.allows("aggregate.read", f"aggregate:{aggregate_type}:{aggregate_id}")

        return job.document(self._rehearsals.now_s(), visible)
