"""When stores are scrubbed, and how fast: one domain after the other, every so many hours.

What a pass checks is in :mod:`eventdbx.application.integrity`, what is known of it in
:mod:`eventdbx.application.scrubbing`. Each step reads some records on a thread and then waits as
long as its bytes take at the rate that is configured: requests come first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from eventdbx.application.domains import Domain
from eventdbx.application.integrity.pages import Page, read_page
from eventdbx.application.integrity.passes import Task
from eventdbx.application.scrubbing import Scrub
from eventdbx.services.files import read_text, replace_text
from eventdbx.settings import Integrity

STATE_NAME = "scrub"
"""The file beside a store. What it says of a store that was put back is found again."""

STEP_S = 0.5
"""A step reads what may be read in this time, and at least :data:`STEP_KIB_MIN`."""

STEP_KIB_MIN = 16
STEP_KIB_MAX = 1_024
PAUSE_MIN_S = 0.01
KEEP_S = 30.0
"""How often at most the state of a running pass is written: what a crash makes be read again."""

RETRY_S = 60.0
LOOK_S_MAX = 3_600.0
_HOUR_NS = 3_600 * 10**9


def scrub_of(name: str, folder: Path) -> Scrub:
    """Return what is known of the scrubbing of a domain whose store is in a folder."""
    path = folder / STATE_NAME
    return Scrub(
        name,
        load=lambda: read_text(path),
        keep=lambda text: replace_text(path, text),
        now_ns=time.time_ns,
    )


class ScrubService(Service):
    """Scrubs all domains that were added, one at a time."""

    log = Logger()

    def __init__(
        self,
        settings: Callable[[], Integrity],
        *,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._run_slowly = run_slowly
        self._clock = clock
        self._now_ns = now_ns
        self._domains: dict[Domain, int] = {}
        self._timer: IDelayedCall | None = None
        self._step: Deferred[None] | None = None
        self._kept_at = 0.0

    def add(self, domain: Domain) -> None:
        """Scrub a domain, too."""
        self._domains[domain] = self._now_ns()
        domain.scrub.wake = self.look
        self.look()

    def startService(self) -> None:
        """Go on with what is not over."""
        super().startService()  # type: ignore[no-untyped-call]
        self.look()

    def stopService(self) -> Deferred[None]:
        """Begin no step more; fires when that under way is over, and the states are kept."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._step is not None:
            await self._step
        for domain in self._domains:
            if domain.scrub.running is not None:
                domain.scrub.keep()
            domain.scrub.wake = None

    def look(self) -> None:
        """See what there is to do, and when."""
        self._cancel()
        if not self.running or self._step is not None:
            return
        now_ns, soonest = self._now_ns(), LOOK_S_MAX
        interval_ns = self._settings().scrub_interval_hours * _HOUR_NS
        for domain, since_ns in self._domains.items():
            scrub = domain.scrub
            if scrub.stopped:
                continue
            if scrub.running is not None:
                soonest = 0.0
            elif interval_ns:
                due_s = (scrub.due_ns(interval_ns, since_ns) - now_ns) / 10**9
                soonest = min(soonest, max(due_s, 0.0))
        if self._domains:
            self._wait(soonest)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        domain = self._next()
        if domain is None:
            self.look()
            return
        step = self._step = Deferred()
        began = self._clock.seconds()
        Deferred.fromCoroutine(self._scrub(domain)).addBoth(self._over, began, step)

    def _next(self) -> Domain | None:
        """Return the domain whose pass goes on; one that is due begins."""
        interval_ns = self._settings().scrub_interval_hours * _HOUR_NS
        for domain in self._domains:
            if domain.scrub.running is not None and not domain.scrub.stopped:
                return domain
        for domain, since_ns in self._domains.items():
            scrub = domain.scrub
            if interval_ns and not scrub.stopped:
                if scrub.due_ns(interval_ns, since_ns) <= self._now_ns():
                    scrub.begin()
                    return domain
        return None

    async def _scrub(self, domain: Domain) -> int:
        """Do a step; return how many bytes were read."""
        scrub = domain.scrub
        rate = self._settings().scrub_kib_per_s
        kib = max(STEP_KIB_MIN, min(int(rate * STEP_S), STEP_KIB_MAX))
        anchors = domain.anchors()  # Before the view: what is signed is never ahead of it then.
        task = Task(domain.schemas.in_force.views, domain.name, anchors)
        view = domain.store.view()
        read = partial(read_page, view, task, scrub.place, bytes_max=kib << 10)
        page: Page = await self._run_slowly(read)
        if scrub.running is None:
            return page.read
        scrub.take(page)
        now = self._clock.seconds()
        if scrub.running is not None and (page.findings or now - self._kept_at >= KEEP_S):
            self._kept_at = now
            scrub.keep()
        return page.read

    def _over(self, outcome: Any, began: float, step: Deferred[None]) -> None:
        self._step = None
        if isinstance(outcome, int):
            took = self._clock.seconds() - began
            due = outcome / (self._settings().scrub_kib_per_s << 10)
            pause = max(due - took, PAUSE_MIN_S)
        else:
            pause = RETRY_S
            self._tell(outcome)
        if self.running:
            self._wait(pause)
        step.callback(None)

    def _tell(self, failure: Any) -> None:
        reason = failure.getErrorMessage()
        for domain in self._domains:
            if domain.scrub.running is not None and domain.scrub.trouble != reason:
                domain.scrub.trouble = reason
                self.log.error("{name}: scrub: {reason}", name=domain.name, reason=reason)
