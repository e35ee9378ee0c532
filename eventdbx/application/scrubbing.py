"""Scrubbing: a verification of the whole store in the background, a little at a time.

What is known of it, how far it is and what it has found, is in one text that its owner keeps, so
that a restart goes on where it was. When a pass begins, and how fast it goes, is decided in
:mod:`eventdbx.services.scrubbing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from twisted.logger import Logger

from eventdbx.application.integrity.pages import Page
from eventdbx.application.integrity.passes import STAGES, START, Place
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError, EventDBXError

FINDINGS_MAX = 100
"""Findings of one pass that are kept and logged; all are counted."""

log = Logger()


class Pass(NamedTuple):
    """One pass: when it began and ended, and what it came to so far. Times are Unix ns."""

    started_ns: int
    ended_ns: int | None = None
    aggregates: int = 0
    events: int = 0
    read: int = 0
    problems: int = 0
    findings: tuple[dict[str, Any], ...] = ()

    def after(self, page: Page) -> Pass:
        """Return the pass with a page more."""
        told = [one._asdict() for one in page.findings[: FINDINGS_MAX - len(self.findings)]]
        # What was administered is proved along with the rest, and no aggregate of anybody's.
        checked = [one for one in page.checked if one.aggregate_type != AUDIT_TYPE]
        return self._replace(
            aggregates=self.aggregates + len(checked),
            events=self.events + sum(one.version for one in checked),
            read=self.read + page.read,
            problems=self.problems + len(page.findings),
            findings=(*self.findings, *told),
        )

    def document(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "started_at": format_ns(self.started_ns),
            "ended_at": None if self.ended_ns is None else format_ns(self.ended_ns),
            "aggregates": self.aggregates,
            "events": self.events,
            "bytes": self.read,
            "problems": self.problems,
            "findings": list(self.findings),
        }


class Scrub:
    """What is known of the scrubbing of one domain. All on one thread.

    ``load`` and ``keep`` read and write the text of its state, None before the first; ``wake`` is
    put in by who runs passes, and called when there may be something to do.
    """

    def __init__(
        self,
        name: str,
        *,
        load: Callable[[], str | None],
        keep: Callable[[str], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._name = name
        self._keep = keep
        self._now_ns = now_ns
        self.wake: Callable[[], None] | None = None
        self.running: Pass | None = None
        self.last: Pass | None = None
        self.place = START
        self.stopped = False
        self.trouble: str | None = None
        """Why the last step failed, or its state could not be kept."""
        try:
            self._read(load())
        except (EventDBXError, ValueError, TypeError, KeyError) as error:
            self.trouble = f"what was known of scrubbing cannot be read: {error}"
            log.error("{name}: {reason}", name=name, reason=self.trouble)

    def start(self) -> None:
        """Go on with the pass that was stopped, else begin one. Raises ConfigError offline."""
        if self.wake is None:
            raise ConfigError("scrubbing needs a running server; `dbx verify` checks all at once")
        self.stopped = False
        self.begin()
        self.wake()

    def stop(self) -> None:
        """Go no further, and begin no pass, until it is started again. Raises ConfigError."""
        if self.wake is None:
            raise ConfigError("scrubbing needs a running server")
        self.stopped = True
        self.keep()
        self.wake()

    def begin(self) -> None:
        """Begin a pass, unless there is one that is not over."""
        if self.running is None:
            self.running, self.place = Pass(self._now_ns()), START
        self.keep()

    def due_ns(self, interval_ns: int, since_ns: int) -> int:
        """Return when the next pass begins; ``since_ns`` stands for a last one that is unknown."""
        return (since_ns if self.last is None else self.last.started_ns) + interval_ns

    def take(self, page: Page) -> None:
        """Take what some more of the pass came to; each finding is in the log."""
        assert self.running is not None, "no pass is running"
        room = FINDINGS_MAX - len(self.running.findings)
        for finding in page.findings[: max(room, 0)]:
            log.error("{name}: scrub: {finding}", name=self._name, finding=finding.message)
        if 0 <= room < len(page.findings):
            log.error("{name}: scrub: more problems are only counted", name=self._name)
        self.running = self.running.after(page)
        self.trouble = None
        if page.next is not None:
            self.place = page.next
            return
        self.last, self.running = self.running._replace(ended_ns=self._now_ns()), None
        self.place = START
        log.info(
            "{name}: scrub: {aggregates} aggregates, {events} events, {read} bytes, "
            "{problems} problems",
            name=self._name,
            **self.last._asdict(),
        )
        self.keep()

    @property
    def problems(self) -> int:
        """How many bad records are known: of the present pass, or else of the last one."""
        present = self.running.problems if self.running is not None else 0
        return present or (self.last.problems if self.last is not None else 0)

    def document(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "status": self._status(),
            "stage": [self.place.stage + 1, len(STAGES)] if self.running is not None else None,
            "problems": self.problems,
            "running": None if self.running is None else self.running.document(),
            "last": None if self.last is None else self.last.document(),
            "trouble": self.trouble,
        }

    def _status(self) -> str:
        if self.stopped:
            return "stopped"
        if self.running is None or self.wake is None:
            return "idle"
        return "running"

    def keep(self) -> None:
        """Keep the state."""
        stage, key, *numbers = self.place
        state = {
            "stopped": self.stopped,
            "running": self.running,
            "last": self.last,
            "place": [stage, key.hex(), *numbers],
        }
        try:
            self._keep(orjson.dumps(state, default=list).decode())
        except EventDBXError as error:
            self.trouble = str(error)
            log.error("{name}: scrub: {reason}", name=self._name, reason=self.trouble)

    def _read(self, text: str | None) -> None:
        if text is None:
            return
        state = orjson.loads(text)
        stage, key, *numbers = state["place"]
        place = Place(stage, bytes.fromhex(key), *numbers)
        running, last = (_pass(state[name]) for name in ("running", "last"))
        self.stopped = bool(state["stopped"])
        self.running, self.last, self.place = running, last, place


def _pass(values: list[Any] | None) -> Pass | None:
    if values is None:
        return None
    *numbers, findings = values
    return Pass._make((*numbers, tuple(findings)))
