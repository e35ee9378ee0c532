"""One child process for each process plugin: started, watched, restarted, stopped, reaped.

What is said to it is the business of its owner (:mod:`eventdbx.plugins.process`), how it is
started of :mod:`eventdbx.plugins.launching`. Everything runs on the reactor's thread, except that
the program is checked on another one.
"""

from __future__ import annotations

import signal
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.errors import ConfigError, EventDBXError, StorageError
from eventdbx.plugins.child_pipes import ChildPipes
from eventdbx.plugins.launching import (
    Launch,
    RunFiles,
    config_of,
    file_name,
    instance_name,
    launch,
    pid_file,
    signal_group,
)
from eventdbx.plugins.output import ChildLog
from eventdbx.plugins.surroundings import Installation, Surroundings

_log = Logger(namespace="eventdbx.plugin")

DELAY_S_MAX = 60.0
"""Between an exit and the next start: 1, 2, 4 ... this, and 1 again after a life that was one."""

STEADY_S = 60.0
"""A child that lived this long was no failure."""

CRASHES_MAX = 15
"""Failures in a row after which only an operator starts it again: ten minutes of trying."""

STOP_S = 5.0
"""Between closing the input, SIGTERM and SIGKILL."""

_STRAY_POLL_S = 0.1


class Owner(Protocol):
    """Who talks to the child."""

    def came_up(self) -> None:
        """A new child takes what is written; nothing was said to it yet."""

    def answered(self, data: bytes) -> None:
        """The child wrote this to its standard output; in acknowledged mode only."""

    def drained(self) -> None:
        """All that was written is in the child's pipe."""

    def went_down(self, reason: str) -> None:
        """The child takes nothing more, or could not be started."""


class Child:
    """The child of one entry, through all of its lives."""

    def __init__(self, entry: PluginEntry, surroundings: Surroundings, owner: Owner) -> None:
        self.name = instance_name(entry)
        self.target = ""
        self._entry = entry
        self._surroundings = surroundings
        self._reactor = surroundings.reactor
        self._owner = owner
        identifier = file_name(surroundings.domain, entry)
        self._files = RunFiles(pid_file(entry, surroundings), self.name)
        self._output = ChildLog(
            self._reactor, identifier, surroundings.log_dir / "plugins" / f"{identifier}.log"
        )
        self._pipes: ChildPipes | None = None
        self._starting = False
        self._again: Any = None
        self._stopping: Any = None
        self._crashes = 0
        self._lives = 0
        self._held: str | None = None
        self._last_reason: str | None = None
        self._doom: str | None = None
        self._closed = False
        self._started: list[Deferred[int]] = []
        self._gone: list[Deferred[None]] = []

    # What is there

    @property
    def up(self) -> bool:
        """Say whether the child takes messages."""
        pipes = self._pipes
        return pipes is not None and pipes.usable and self._doom is None and not self._ending

    @property
    def held(self) -> str | None:
        """Return why nothing is delivered until an operator acts, None while something is."""
        return self._held

    @property
    def _ending(self) -> bool:
        return self._closed or self._held is not None

    @property
    def pid(self) -> int | None:
        """Return the pid of the child, None if there is none."""
        return None if self._pipes is None else self._pipes.pid

    @property
    def age_s(self) -> float:
        """Return for how long the child has been there."""
        return 0.0 if self._pipes is None else float(self._reactor.seconds() - self._pipes.since)

    @property
    def delay_s(self) -> float:
        """Return how long it is until the next start that is planned."""
        if self._again is None:
            return 0.0
        return max(0.0, float(self._again.getTime()) - float(self._reactor.seconds()))

    def coming_within(self, time_s: float) -> bool:
        """Say whether a child is there or may be there so soon."""
        if self._ending:
            return False
        if self._again is not None:
            return self.delay_s < time_s
        return self._starting or self._pipes is not None

    @property
    def reason(self) -> str:
        """Return why the child is not up, as the end of ``plugin 'x' ...``."""
        if self._held is not None:
            return self._held
        if self._closed:
            return "is being stopped"
        if self._again is not None and self._last_reason is not None:
            return f"{self._last_reason}; it is started again in {self.delay_s:.0f} s"
        return self._last_reason or "is being started"

    def state(self) -> dict[str, Any]:
        """Return what ``plugin status`` shows."""
        return {
            "name": self._entry.key,
            "label": self._entry.label,
            "running": self.pid is not None,
            "pid": self.pid,
            "restarts": max(0, self._lives - 1),
            "stopped": self._held is not None,
            "reason": None if self.up else self._held or self._last_reason,
        }

    # What the owner asks

    def write(self, data: bytes | bytearray) -> None:
        """Write to the child, which must be up; what is unwritten is the owner's to bound."""
        assert self._pipes is not None
        self._pipes.write(data)

    def progressed(self) -> None:
        """Say that this life of the child did some good: its end will be no failure in a row."""
        self._crashes = 0

    def ensure(self) -> None:
        """Start the child unless it runs, is about to, or must not."""
        if not (self._ending or self._starting or self._again or self._pipes):
            self._begin()

    def restart(self, reason: str) -> None:
        """Kill a child that does not do what it should; it is started again like a crashed one."""
        if self._pipes is None or self._doom is not None:
            return
        self._doom = reason
        _log.warn("plugin {name} {reason}; killed", name=self.name, reason=reason)
        self._output.note(f"{reason}; killed")
        self._signal(signal.SIGKILL)
        self._owner.went_down(reason)

    # What operators ask

    def start(self) -> Deferred[tuple[int, bool]]:
        """Start the child, also one that was stopped; fires with its pid and whether it ran.

        Fails with the EventDBXError of a program that cannot be started.
        """
        if self._closed:
            return fail(ConfigError(f"plugin '{self.name}' is being stopped"))
        pid = self.pid
        if pid is not None and self.up:
            return succeed((pid, True))
        self._held = None
        self._crashes = 0
        self._cancel_restart()
        waiting: Deferred[int] = Deferred()
        self._started.append(waiting)
        self.ensure()
        return waiting.addCallback(lambda pid: (pid, False))

    def stop(self) -> Deferred[int | None]:
        """Stop the child until :meth:`start`; fires with its pid when it is gone."""
        pid = self.pid
        self._held = "was stopped"
        return self._end().addCallback(lambda _: pid)

    def close(self) -> Deferred[None]:
        """Stop the child for good; fires when it is gone."""
        self._closed = True
        return self._end()

    def _end(self) -> Deferred[None]:
        self._cancel_restart()
        for waiting in self._taken(self._started):
            waiting.errback(ConfigError(f"plugin '{self.name}' {self.reason}"))
        if self._pipes is None and not self._starting:
            self._owner.went_down(self.reason)
            self._settle()
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        if self._pipes is not None and self._stopping is None:
            self._pipes.close_input()
            self._stopping = self._reactor.callLater(STOP_S, self._stop_harder, signal.SIGTERM)
        return gone

    def _stop_harder(self, number: signal.Signals) -> None:
        self._stopping = None
        self._signal(number)
        if number == signal.SIGTERM:
            self._stopping = self._reactor.callLater(STOP_S, self._stop_harder, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            signal_group(self.pid, number)

    def _cancel_restart(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    @staticmethod
    def _taken(waiting: list[Any]) -> list[Any]:
        taken = waiting[:]
        waiting.clear()
        return taken

    # Its lives

    def _begin(self) -> None:
        self._again = None
        self._starting = True
        config = config_of(self._entry)
        # The program is read as a whole to be checked, and may be large.
        found: Deferred[Any] = deferToThreadPool(
            self._reactor,
            self._reactor.getThreadPool(),
            self._surroundings.installation,
            config.name,
            config.version,
        )
        found.addCallback(self._launch)
        found.addCallback(self._after_stray)
        found.addErrback(self._not_started)

    def _launch(self, installation: Installation) -> Launch:
        self.target = installation.target
        return launch(self._entry, self._surroundings, installation)

    def _after_stray(self, launched: Launch) -> Deferred[None]:
        """Start the program when no child of a former server, or of a former entry, is left."""
        done: Deferred[None] = Deferred()
        steps = [(STOP_S, signal.SIGTERM), (2 * STOP_S, signal.SIGKILL)]
        began = self._reactor.seconds()

        def look() -> None:
            pid = self._files.stray()
            if pid is None or self._ending or self._reactor.seconds() - began > 3 * STOP_S:
                done.callback(None)
                return
            if steps and self._reactor.seconds() - began >= steps[0][0]:
                signal_group(pid, steps.pop(0)[1])
            self._reactor.callLater(_STRAY_POLL_S, look)

        look()
        return done.addCallback(lambda _: self._spawn(launched))

    def _spawn(self, launched: Launch) -> None:
        self._starting = False
        if self._ending:
            self._settle()
            return
        config = config_of(self._entry)
        self._doom = None
        pipes = ChildPipes(
            self._reactor,
            self._output,
            answers=self._owner.answered if config.ack else None,
            drained=self._owner.drained,
            broken=self.restart,
            ended=self._ended,
        )
        self._pipes = pipes
        try:
            self._reactor.spawnProcess(
                pipes, launched.executable, launched.arguments, launched.environment
            )
        except OSError as error:
            self._pipes = None
            raise StorageError(f"failed to launch plugin {self.name}: {error}") from None
        self._lives += 1
        assert pipes.pid is not None
        try:
            self._files.write(pipes.pid)
        except OSError as error:
            _log.warn("pid of plugin {name}: {reason}", name=self.name, reason=str(error))
        _log.info("plugin {name} started, pid {pid}", name=self.name, pid=pipes.pid)
        self._output.note(f"started, pid {pipes.pid}")
        # Whoever waits for the start may deliver at once, behind the introduction.
        self._owner.came_up()
        for waiting in self._taken(self._started):
            waiting.callback(pipes.pid)

    def _not_started(self, failure: Failure) -> None:
        self._starting = False
        if not failure.check(EventDBXError):
            _log.failure("plugin {name} cannot be started", failure, name=self.name)
        reason = failure.getErrorMessage()
        self._last_reason = f"is unavailable: {reason}"
        _log.warn("plugin {name}: {reason}", name=self.name, reason=reason)
        for waiting in self._taken(self._started):
            waiting.errback(failure)
        self._settle()
        self._owner.went_down(self._last_reason)

    def _ended(self, pipes: ChildPipes, pid: int, how: str) -> None:
        self._files.remove(pid)
        self._pipes = None
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        doom, self._doom = self._doom, None
        self._last_reason = reason = doom or how
        self._output.note(f"{how}, pid {pid}")
        if self._ending:
            _log.info("plugin {name} {how}", name=self.name, how=how)
        elif self._started:
            self._begin()  # It was stopped and is wanted again.
        else:
            self._plan(reason, self._reactor.seconds() - pipes.since)
        if doom is None:
            self._owner.went_down(reason)
        self._settle()

    def _plan(self, reason: str, lived_s: float) -> None:
        """Start the child again, later the more often it has failed in a row."""
        self._crashes = 1 if lived_s >= STEADY_S else self._crashes + 1
        if self._crashes >= CRASHES_MAX:
            self._held = (
                f"was stopped after {self._crashes} failures in a row, the last: {reason}; "
                f"'dbx plugin start {self.name}' starts it again"
            )
            _log.error("plugin {name} {reason}", name=self.name, reason=self._held)
            return
        delay_s: float = min(DELAY_S_MAX, 2.0 ** (self._crashes - 1))
        self._again = self._reactor.callLater(delay_s, self._begin)
        _log.warn(
            "plugin {name} {reason}; it is started again in {delay} s",
            name=self.name,
            reason=reason,
            delay=int(delay_s),
        )

    def _settle(self) -> None:
        """Tell those who wait for the end that it has come."""
        if self._closed:
            self._output.close()
        for waiting in self._taken(self._gone):
            waiting.callback(None)
