"""Receipts: a write's own answer with the proof that its event is in the log.

The write is durable before its proof is made. What goes wrong with the proof is therefore said in
the answer and is no error: whoever took it for one would write the event again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.proving import RECEIPTS_AT_ONCE, Proving
from eventdbx.application.writer import Committed
from eventdbx.domain.events import Event
from eventdbx.domain.tlogproofs import TlogProof
from eventdbx.errors import EventDBXError
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.surfaces.control.routes import RunSlowly, Session

Documents = Callable[[list[Committed]], list[bytes]]
"""What a write is answered with: a document for each event, empty where answers are terse."""

Write = Callable[[Callable[[list[Committed]], tuple[list[bytes], list[Event]]]], "Deferred[Any]"]
"""Writes, and fires with what is made of that which was committed."""


def receipted(
    session: Session,
    run_slowly: RunSlowly,
    write: Write,
    documents: Documents,
    wanted: Sequence[bool],
) -> Deferred[list[bytes]]:
    """Carry out a write; fire with its documents, those that want it with a ``receipt``.

    Fails as the write does.
    """

    def keep(done: list[Committed]) -> tuple[list[bytes], list[Event]]:
        return documents(done), [one.event for one in done]

    async def answer() -> list[bytes]:
        texts, events = await write(keep)
        asked = [at for at, wants in enumerate(wanted) if wants]
        members = await _receipts(session, run_slowly, [events[at] for at in asked])
        for at, member in zip(asked, members, strict=True):
            texts[at] = with_members(texts[at], member)
        return list(texts)

    return Deferred.fromCoroutine(answer())


async def _receipts(
    session: Session, run_slowly: RunSlowly, events: Sequence[Event]
) -> list[bytes]:
    """Return the members that the documents of events get."""
    seen = session.seen()

    def salted(event: Event) -> bool:
        shown = seen.shows(event.aggregate_type) or event.version == 1
        return shown and seen.event(event, raw=True).payload == event.payload

    try:
        proofs = await Proving(session.domain, run_slowly).receipts(events, salted)
    except EventDBXError as error:
        return [no_receipt(str(error))] * len(events)
    if len(proofs) <= RECEIPTS_AT_ONCE:
        return _members(proofs)
    members: list[bytes] = await run_slowly(lambda: _members(proofs))
    return members


def _members(proofs: Sequence[TlogProof]) -> list[bytes]:
    return [b'"receipt":' + orjson.dumps(proof.encode().decode()) for proof in proofs]


def no_receipt(reason: str) -> bytes:
    """Return the members that say why there is no receipt for what was written."""
    return b'"receipt":null,"receipt_problem":' + orjson.dumps(reason)


def with_members(document: bytes, members: bytes) -> bytes:
    """Return a JSON object with more members; an empty text is none that has any."""
    return b"{%b}" % members if not document else b"%b,%b}" % (document[:-1], members)


def fitting(
    make: Callable[[bytes], rs.EventReply | rs.AggregateReply], document: bytes
) -> rs.EventReply | rs.AggregateReply:
    """Return the answer with a receipt, or without where only that goes into a frame."""
    reply = make(document)
    if rs.fits(reply):
        return reply
    plain = document.rpartition(b',"receipt":')[0] + b"}"
    reply = make(with_members(plain, no_receipt("the answer has no room for it: send a batch")))
    return reply if rs.fits(reply) else make(plain)
