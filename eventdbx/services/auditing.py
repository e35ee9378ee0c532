"""The audit trail of an installation: in the store of its active domain, and fed by the spool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.application.auditing import Action, AuditTrail
from eventdbx.application.domains import Domain
from eventdbx.errors import EventDBXError, StorageError
from eventdbx.services.auditspool import Spool

LOOK_S = 1.0
"""What commands did shows in the trail of a running server this much later at most."""

log = Logger()


def make_trail(domain: Callable[[], Domain]) -> AuditTrail:
    """Return the trail in a domain; what cannot be recorded goes to the log."""

    def complain(action: Action, error: BaseException) -> None:
        log.error(
            "audit: {event} of {resource} could not be recorded: {reason}",
            event=action.event,
            resource=action.resource,
            reason=str(error),
        )

    return AuditTrail(domain, complain)


async def take_over(spool: Spool, trail: AuditTrail) -> int:
    """Record what is in the spool; return how many actions. It stays there if the store fails, or
    while somebody is adding to it.

    Raises StorageError, or IoError when the spool cannot be read.
    """
    count = 0
    while spool.holds_something:
        taken = spool.take()
        if taken is None:
            break
        if taken.damaged:
            log.error("audit: {count} damaged lines in the spool", count=taken.damaged)
        # All of them at once: one commit.
        adding = [trail.add(action) for action in taken.actions]
        outcomes: Any = await DeferredList(adding, consumeErrors=True)
        for action, (recorded, outcome) in zip(taken.actions, outcomes, strict=True):
            count += recorded
            if isinstance(outcome, Failure):
                _refused(action, outcome)
        spool.forget()
    return count


def _refused(action: Action, failure: Failure) -> None:
    """Log an action that will never be recorded; raise what may go well another time."""
    error = failure.value
    if isinstance(error, StorageError) or not isinstance(error, EventDBXError):
        failure.raiseException()
    log.error(
        "audit: {event} of {resource} in the spool is refused: {reason}",
        event=action.event,
        resource=action.resource,
        reason=str(error),
    )


class AuditService(Service):
    """Takes the spool over at the start, and looks into it while the server runs."""

    def __init__(self, spool: Spool, trail: AuditTrail, clock: IReactorTime) -> None:
        self._spool = spool
        self._trail = trail
        self._looking: LoopingCall = LoopingCall(self._look)
        self._looking.clock = clock
        self._taking: Deferred[Any] | None = None
        self._reason = ""

    def startService(self) -> None:
        """Begin to look; the store must be open."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(LOOK_S, now=True).addErrback(
            lambda failure: log.failure("audit: the spool is not watched any more", failure=failure)
        )

    def _look(self) -> None:
        if self._taking is None and self._spool.holds_something:
            self._taking = Deferred.fromCoroutine(take_over(self._spool, self._trail))
            self._taking.addCallbacks(self._went_well, self._failed).addBoth(self._taken)

    def _went_well(self, _count: int) -> None:
        self._reason = ""

    def _failed(self, failure: Failure) -> None:
        # Once for each reason: a disk that is full stays so for longer than a second.
        reason, self._reason = self._reason, failure.getErrorMessage()
        if reason == self._reason:
            return
        if failure.check(EventDBXError):
            log.error("audit: the spool waits: {reason}", reason=self._reason)
        else:
            log.failure("audit: the spool waits", failure=failure)

    def _taken(self, result: Any) -> Any:
        self._taking = None
        return result

    def stopService(self) -> Deferred[Any]:
        """Look a last time; fires when what was taken is recorded."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._look()
            self._looking.stop()
        return succeed(None) if self._taking is None else self._taking
