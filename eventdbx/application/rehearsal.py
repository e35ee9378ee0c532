"""Rehearsals: candidate schemas run over the stored history in the background.

One runs at a time, in short slices that ``run_slowly`` carries to a thread; the others wait for
their turn. While anything is appended a slice is followed by a pause many times as long, so that
appends keep nearly all of the interpreter; when nothing is, slices follow each other. What a slice
does is in ``judging``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from eventdbx import limits
from eventdbx.application.domains import Domain
from eventdbx.application.judging import Candidate, Judging, sample_document
from eventdbx.application.schemas import Catalogue
from eventdbx.domain.canonical import parse
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.storage import keys
from eventdbx.storage.interfaces import IReadView

PARTITION = 0

RunSlowly: TypeAlias = Callable[[Callable[[], Any]], "Deferred[Any]"]
State: TypeAlias = Literal["waiting", "running", "done", "cancelled", "failed"]

BUSY_SHARE = 0.03
"""Of the time, while there are appends. They lose more than that: threads are woken, caches turn
cold; ``bench.rehearsal`` measures how much."""

BUSY_SLICE_S = 0.002
"""A slice holds the interpreter from others for so long: longer ones are felt as latency."""

IDLE_SLICE_S = 0.01
QUIET_S = 0.5
"""Without an append for so long the domain counts as idle."""

FOREGROUND_SLICE_S = 0.25
"""Without a reactor each look at a rehearsal carries it on for so long."""


class Outcome(NamedTuple):
    """What became of a slice: whether it was the last, how long it took, what went wrong."""

    over: bool
    took_s: float
    error: str | None = None


class Rehearsal:
    """One job: what it looks for, how far it is, what it has found."""

    def __init__(
        self,
        identifier: str,
        domain: Domain,
        judging: Judging,
        version: str | None,
        now_s: float,
        weight: int,
    ) -> None:
        """``weight`` is what the patterns of the candidate take, in bytes."""
        self.id = identifier
        self.domain = domain
        self.version = version
        self.state: State = "waiting"
        self.error: str | None = None
        self._judging = judging
        self._restrict = domain.schemas.restrict
        self.weight = weight
        self._began_s = now_s
        self._ended_s: float | None = None

    @property
    def over(self) -> bool:
        """True when nothing more will happen."""
        return self.state not in ("waiting", "running")

    def begin(self, now_s: float) -> None:
        """It is this one's turn."""
        self.state, self._began_s = "running", now_s

    def end(self, state: State, now_s: float, error: str | None = None) -> None:
        """Note how it ended, unless it has ended already."""
        if not self.over:
            self.state, self._ended_s, self.error = state, now_s, error

    def release(self) -> None:
        """Let go of the candidate. Only when it is over and no thread works for it."""
        self.weight = 0
        self._judging.release()

    def slice(self, view: IReadView, length_s: float) -> Outcome:
        """Look at some more events, on whatever thread this is called."""
        clock = time.perf_counter
        began = clock()
        until = began + length_s
        try:
            over = self._judging.advance(view, lambda: clock() >= until or self.over)
        except EventDBXError as error:
            return Outcome(True, clock() - began, str(error))
        return Outcome(over, clock() - began)

    def document(self, now_s: float, visible: Callable[[str, str], bool]) -> dict[str, Any]:
        """Return progress and findings as JSON values; samples only of what may be seen."""
        judging = self._judging
        elapsed = max((self._ended_s or now_s) - self._began_s, 0.0)
        if self.state == "waiting":
            elapsed = 0.0
        return {
            "job": self.id,
            "state": self.state,
            "error": self.error,
            "version": self.version,
            "restrict": self._restrict,
            "aggregates": None if judging.aggregates is None else list(judging.aggregates),
            "total": judging.total,
            "done": judging.done,
            "refused": judging.refused,
            "unless_patch": judging.unless_patch,
            "elapsed_s": round(elapsed, 3),
            "rate": round(judging.done / elapsed, 1) if elapsed else 0.0,
            "rules": self._rules(visible),
            "rules_left_out": judging.left_out,
        }

    def _rules(self, visible: Callable[[str, str], bool]) -> list[dict[str, Any]]:
        rules = []
        for broken, finding in self._judging.report():
            seen = [one for one in finding.samples if visible(*one[:2])]
            first, last = (
                sample_document(one) if visible(*one[:2]) else None
                for one in (finding.first, finding.last)
            )
            rules.append(
                {
                    "aggregate": broken.aggregate_type,
                    "event": broken.event_type,
                    "rule": broken.rule,
                    "message": broken.message,
                    "count": finding.count,
                    "unless_patch": finding.unless_patch,
                    "first": first,
                    "last": last,
                    "samples": [sample_document(one) for one in seen],
                }
            )
        return rules


class _Pace:
    """How long slices and pauses are; looks at where logs end to see whether there are appends."""

    def __init__(self) -> None:
        self._ends: list[bytes | None] | None = None
        self._appended_s = float("-inf")

    def slice_s(self, views: Iterable[IReadView], now_s: float) -> float:
        """Return the length of the next slice; ``views`` are of every domain that is open."""
        ends = [view.get(keys.tail(PARTITION)) for view in views]
        if self._ends is not None and ends != self._ends:
            self._appended_s = now_s
        self._ends = ends
        return BUSY_SLICE_S if self._busy(now_s) else IDLE_SLICE_S

    def pause_s(self, took_s: float, now_s: float) -> float:
        """Return how long to leave the others alone after a slice."""
        return took_s * (1 / BUSY_SHARE - 1) if self._busy(now_s) else 0.0

    def _busy(self, now_s: float) -> bool:
        return now_s - self._appended_s < QUIET_S


class Rehearsals:
    """All rehearsals of a server, or of a command that works without one.

    ``run_slowly`` runs a function on a thread. Without a ``clock`` nothing happens by itself:
    whoever looks at a rehearsal carries it on. ``opened`` returns the domains of the server: the
    appends of all of them share one interpreter with a rehearsal.
    """

    log = Logger()

    def __init__(
        self,
        run_slowly: RunSlowly,
        clock: IReactorTime | None,
        opened: Callable[[], Iterable[Domain]] = tuple,
    ) -> None:
        self._run_slowly = run_slowly
        self._clock = clock
        self._opened = opened
        self._jobs: dict[str, Rehearsal] = {}
        self._number = 0
        self._running: Rehearsal | None = None
        self._pause: IDelayedCall | None = None
        self._slicing = False
        self._stopped: Deferred[None] | None = None
        self._pace = _Pace()

    def start(
        self,
        domain: Domain,
        contracts: Mapping[str, Contract],
        *,
        aggregates: Iterable[str] | None = None,
        version: str | None = None,
    ) -> Rehearsal:
        """Begin a rehearsal of what is stored now. Raises ConfigError when too many wait."""
        if self._stopped is not None:
            raise ConfigError("the server is stopping")
        weight = sum(contract.patterns_weight for contract in contracts.values())
        self._make_room(weight)
        self._number += 1
        judging = Judging(
            Candidate(contracts, domain.schemas.restrict),
            domain.store.view(),
            aggregates=aggregates,
            accepted_by=partial(accepted_by, domain.schemas),
        )
        job = Rehearsal(f"r{self._number}", domain, judging, version, self.now_s(), weight)
        self._jobs[job.id] = job
        self._next_turn()
        return job

    def now_s(self) -> float:
        """Return the time that progress is measured in."""
        return time.monotonic() if self._clock is None else self._clock.seconds()

    def _make_room(self, weight: int) -> None:
        waiting = sum(job.weight for job in self._jobs.values())
        if waiting and waiting + weight > limits.PATTERNS_COMPILED_BYTES_MAX:
            raise ConfigError("the rehearsals that wait need too much memory; cancel some first")
        if len(self._jobs) < limits.REHEARSALS_KEPT:
            return
        for identifier, job in self._jobs.items():
            if job.over:
                del self._jobs[identifier]
                return
        raise ConfigError(f"{limits.REHEARSALS_KEPT} rehearsals wait already; cancel some first")

    def of(self, domain: Domain) -> list[Rehearsal]:
        """Return what is remembered of a domain's rehearsals, oldest first."""
        return [job for job in self._jobs.values() if job.domain is domain]

    def find(self, domain: Domain, identifier: str) -> Rehearsal:
        """Return a rehearsal by its id. Raises ConfigError."""
        job = self._jobs.get(identifier)
        if job is None or job.domain is not domain:
            raise ConfigError(f"there is no rehearsal '{identifier}'")
        return job

    def carry_on(self, job: Rehearsal) -> None:
        """Without a clock: do a piece of work, for nobody else will."""
        if self._clock is None and not job.over:
            if job.state == "waiting":
                job.begin(self.now_s())
            outcome = job.slice(job.domain.store.view(), FOREGROUND_SLICE_S)
            self._note(job, outcome)

    def cancel(self, job: Rehearsal) -> None:
        """End a rehearsal where it is; what it has found stays. Repeating it is no error."""
        job.end("cancelled", self.now_s())
        if job is not self._running or not self._slicing:
            job.release()
        if job is self._running and self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self._next()

    def stop(self) -> Deferred[None]:
        """End all of them; fires when no thread works for one any more."""
        if self._stopped is None:
            self._stopped = Deferred()
            for job in self._jobs.values():
                self.cancel(job)
            if not self._slicing:
                self._stopped.callback(None)
        # A Deferred of its own for whoever asks.
        asked: Deferred[None] = Deferred()
        self._stopped.addCallback(lambda _nothing: asked.callback(None))
        return asked

    def _next_turn(self) -> None:
        if self._clock is None or self._running is not None or self._stopped is not None:
            return
        for job in self._jobs.values():
            if job.state == "waiting":
                self._running = job
                self._pace = _Pace()
                job.begin(self.now_s())
                self._go_on(job)
                return

    def _go_on(self, job: Rehearsal) -> None:
        """Give the next slice to a thread."""
        self._pause = None
        try:
            view = job.domain.store.view()
            views = [domain.store.view() for domain in self._opened()] or [view]
            length = self._pace.slice_s(views, self.now_s())
        except EventDBXError as error:
            self._sliced(Outcome(True, 0.0, str(error)), job)
            return
        self._slicing = True
        sliced = self._run_slowly(partial(job.slice, view, length))
        sliced.addCallbacks(self._sliced, self._broken, callbackArgs=(job,), errbackArgs=(job,))

    def _broken(self, failure: Any, job: Rehearsal) -> None:
        self.log.failure("a rehearsal failed", failure=failure)
        self._sliced(Outcome(True, 0.0, "internal error, see the server's log"), job)

    def _note(self, job: Rehearsal, outcome: Outcome) -> None:
        if outcome.error is not None:
            job.end("failed", self.now_s(), outcome.error)
        elif outcome.over:
            job.end("done", self.now_s())
        if job.over:
            job.release()

    def _sliced(self, outcome: Outcome, job: Rehearsal) -> None:
        self._slicing = False
        self._note(job, outcome)
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)
        if job.over:
            self._next()
            return
        assert self._clock is not None
        pause = self._pace.pause_s(outcome.took_s, self.now_s())
        self._pause = self._clock.callLater(pause, self._go_on, job)

    def _next(self) -> None:
        self._running = None
        self._next_turn()


def accepted_by(catalogue: Catalogue, digest: bytes) -> Contract | None:
    """Return the contract that accepted an event, from the schemas that the store keeps."""
    text = catalogue.document_of(digest)
    if text is None:
        return None
    value = parse(text)
    assert isinstance(value, dict)
    return compile_schema(read_schema(value, str(value.get("aggregate")), now_ns=0))
