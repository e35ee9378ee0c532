"""Proofs on the control protocol: rows of the table in :mod:`eventdbx.surfaces.control.integrity`.

What is said of one aggregate needs the right to read it. A type that schemas hide is not there, and
where a field is hidden the salt is left out, with which its content could be guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.proving import Proving, read_checkpoint, stored_event
from eventdbx.domain.checkpoints import parse_checkpoint
from eventdbx.domain.events import Event
from eventdbx.domain.notes import Note
from eventdbx.domain.tlogproofs import TlogProof
from eventdbx.errors import AggregateNotFound, ConfigError, UnknownName

if TYPE_CHECKING:
    from eventdbx.surfaces.control.integrity import Work

Document = dict[str, Any]
READS = "aggregate.read"


def names_of(work: Work) -> tuple[str, str]:
    """Return the aggregate that is asked about, once the grant allows to read it.

    Raises Unauthorized, and AggregateNotFound for a type that the session does not see.
    """
    names = work.asked.required("aggregate_type"), work.asked.required("aggregate_id")
    work.grant.require(READS, f"aggregate:{names[0]}:{names[1]}")
    if not work.session.seen().shows(names[0]):
        raise AggregateNotFound
    return names


def event_proof(work: Work) -> Deferred[Document]:
    """An event in the log: by its aggregate and version, or by its id."""
    event = _event(work)
    size = work.asked.number("size")
    made = proving(work).event(event, size=size, salted=salted(work, event))
    return made.addCallback(proof_document)


def proof_document(proof: TlogProof) -> Document:
    """Return the answer with a proof: its text, and what it says where."""
    size = parse_checkpoint(proof.note.text).size
    return {"proof": proof.encode().decode(), "index": proof.index, "size": size}


def aggregate_event_proof(work: Work) -> Deferred[Document]:
    """An event in the timeline of its aggregate, named as in :func:`event_proof`."""
    event = _event(work)
    return proving(work).in_aggregate(event, salted=salted(work, event))


def aggregate_proof(work: Work) -> Deferred[Document]:
    """All events of an aggregate, and that there are no others."""
    return proving(work).timeline(*names_of(work))


def aggregate_consistency(work: Work) -> Deferred[Document]:
    """A version of an aggregate as the beginning of a later one, by default of now."""
    names, first = names_of(work), work.asked.number("first")
    if first is None:
        raise ConfigError("'first' must be given: a version")
    return proving(work).growth(*names, first, work.asked.number("second"))


def log_consistency(work: Work) -> Deferred[Document]:
    """One checkpoint as the beginning of another; each by its size or as its text."""
    first, second = _checkpoint(work, "first"), _checkpoint(work, "second")
    if first is None:
        raise ConfigError("'first' must be given")
    return proving(work).log_consistency(first, second)


def proving(work: Work) -> Proving:
    """Return what makes the proofs of the session's domain."""
    return Proving(work.session.domain, work.run_slowly)


def salted(work: Work, event: Event) -> bool:
    """Say whether the session sees all that the salt of an event would let it guess."""
    return work.session.seen().event(event, raw=True).payload == event.payload


def _event(work: Work) -> Event:
    identifier = work.asked.number("event_id")
    view = work.session.domain.store.view()
    if identifier is None:
        names = names_of(work)
        version = work.asked.number("version")
        if version is None:
            raise ConfigError("'version' or 'event_id' must be given")
        return stored_event(view, *names, version)
    found = work.session.reader().event_by_id(identifier)
    if found is not None:
        names = found.aggregate_type, found.aggregate_id
        if work.grant.allows(READS, f"aggregate:{names[0]}:{names[1]}"):
            return stored_event(view, *names, found.version)
    raise UnknownName(f"there is no event {identifier}")


def _checkpoint(work: Work, name: str) -> int | Note | None:
    value = work.asked.value(name)
    return read_checkpoint(value) if isinstance(value, str) else work.asked.number(name)
