"""One process with the server in it: log, PID file, reactor, signals, exit status.

The parts of the server meet in :mod:`eventdbx.services.tree`; becoming a daemon is
:mod:`eventdbx.services.detaching`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.config import Config
from eventdbx.errors import EventDBXError
from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.logfile import LOG_NAME, LogFile
from eventdbx.services.logs import start_logging, terminal_colour, write_to_terminal
from eventdbx.services.pidfile import PidFile
from eventdbx.services.readiness import Readiness
from eventdbx.services.reloading import LiveConfiguration, at_once
from eventdbx.services.workspace import Opened, Workspace, exposed_secrets


class Tree(Protocol):
    """What is run: ``ready`` tells how the start went, ``failed`` that the store ended later."""

    ready: Deferred[None]
    failed: Deferred[Failure]

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


class Run:
    """The life of a tree in a reactor.

    The first signal stops the tree in its order, a second one ends the process at once.
    ``status`` is the exit status: 0 after a signal, 1 if the start or the store failed.
    """

    log = Logger()

    def __init__(
        self,
        tree: Tree,
        reactor: Any,
        *,
        on_ready: Callable[[str | None], None],
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._tree = tree
        self._on_stop = on_stop
        self._reactor = reactor
        self._on_ready: Callable[[str | None], None] | None = on_ready
        self._stopping = False
        self.status = 0

    def start(self) -> None:
        """Start the tree; call it when the reactor runs."""
        self._tree.ready.addCallbacks(self._is_ready, self._not_ready)
        self._tree.failed.addBoth(lambda _reason: self.stop(1))
        maybeDeferred(self._tree.startService).addErrback(self._not_ready)

    def _is_ready(self, _nothing: None) -> None:
        self._tell(None)

    def _not_ready(self, failure: Failure) -> None:
        reason = str(failure.value) or type(failure.value).__name__
        if isinstance(failure.value, EventDBXError):
            self.log.error("EventDBX server failed to start: {reason}", reason=reason)
        else:
            self.log.failure("EventDBX server failed to start", failure=failure)
        self._tell(reason)
        self.stop(1)

    def _tell(self, reason: str | None) -> None:
        told, self._on_ready = self._on_ready, None
        if told is not None:
            told(reason)

    def stop(self, status: int = 0) -> None:
        """Stop the tree, then the reactor; ``status`` counts if it is the first to be bad."""
        self.status = self.status or status
        if self._stopping:
            return
        self._stopping = True
        self._on_stop()
        stopping = maybeDeferred(self._tree.stopService)
        stopping.addErrback(self._stop_failed).addBoth(lambda _result: self._reactor.stop())

    def _stop_failed(self, failure: Failure) -> None:
        self.log.failure("EventDBX server did not stop cleanly", failure=failure)
        self.status = self.status or 1

    def signalled(self, number: int) -> bool:
        """Take note of a signal to stop; tell whether it is the first."""
        first = not self._stopping
        if first:
            self.log.info("stopping on {name}", name=signal.Signals(number).name)
            self.stop()
        return first


def run(
    config: Config,
    workspace: Workspace,
    *,
    foreground: bool,
    on_ready: Callable[[str | None], None],
) -> int:
    """Run the server in this process until it is stopped; return the exit status.

    ``on_ready`` is called once: with None when the listeners answer, with the reason when they
    never will. In the foreground the log goes to the error stream, else to the log file.
    """
    log_file, set_level = _begin_log(config, workspace, foreground=foreground)
    pid_file = PidFile(workspace.pid_path)
    try:
        pid_file.acquire(now_ns=time.time_ns())
    except EventDBXError as error:
        on_ready(str(error))
        return 1
    try:
        return _run_tree(config, workspace, pid_file, log_file, set_level, on_ready)
    finally:
        pid_file.release()


def _begin_log(
    config: Config, workspace: Workspace, *, foreground: bool
) -> tuple[LogFile | None, Callable[[str], None]]:
    path = workspace.log_dir / LOG_NAME
    file = None if foreground else LogFile(path, keep=config.log.keep)
    set_level = start_logging(
        write_to_terminal(sys.stderr) if file is None else file.write,
        level=config.log.level,
        style=config.log.format,
        colour=file is None and terminal_colour(),
    )
    log = Logger()
    for warning in config.warnings:
        log.warn("{warning}", warning=warning)
    if exposed_secrets(workspace.config_path):
        log.warn("{path} holds secrets and others may read it", path=workspace.config_path)
    return file, set_level


def _run_tree(
    config: Config,
    workspace: Workspace,
    pid_file: PidFile,
    log_file: LogFile | None,
    set_level: Callable[[str], None],
    on_ready: Callable[[str | None], None],
) -> int:
    from twisted.internet import reactor as the_reactor

    from eventdbx.services.tree import make_tree

    reactor: Any = the_reactor
    log = Logger()
    try:
        tree = make_tree(config, reactor=reactor, workspace=workspace)
    except EventDBXError as error:
        log.error("EventDBX server failed to start: {reason}", reason=str(error))
        on_ready(str(error))
        return 1
    readiness = Readiness(os.environ, reactor)

    def take_up(new: Config) -> None:
        set_level(new.log.level)
        if log_file is not None:
            log_file.keep = new.log.keep

    def started(reason: str | None) -> None:
        if reason is None:
            readiness.ready()
        on_ready(reason)

    tree.live.parts.append(at_once(take_up))
    running = Run(tree, reactor, on_ready=started, on_stop=readiness.stopping)
    log.info(
        "Starting EventDBX server on {address} (restrict={restrict})",
        address=config.socket.bind_addr,
        restrict=config.restrict,
    )

    def end(number: int) -> None:
        if not running.signalled(number):
            log.warn("second signal, ending at once")
            pid_file.release()
            os._exit(1)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # Signal handlers run between any two instructions: everything else is the reactor's.
        reactor.callFromThread(end, number)

    def reopen(_number: int, _frame: FrameType | None) -> None:
        if log_file is not None:
            reactor.callFromThread(log_file.reopen)

    def reload(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(reload_told)

    def reload_told() -> None:
        readiness.reloading()
        reload_logged(tree.live).addBoth(lambda _done: readiness.ready())

    def begin() -> None:
        # After the reactor has put in its own, which would stop it without stopping the tree.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        signal.signal(signal.SIGUSR1, reopen)
        signal.signal(signal.SIGHUP, reload)
        running.start()

    reactor.callWhenRunning(begin)
    reactor.run()
    return running.status


def reload_logged(live: LiveConfiguration) -> Deferred[Any]:
    """Read the configuration again because of a signal; what goes wrong is only logged."""
    return live.reload_on_signal().addErrback(
        lambda failure: Logger().error(
            "the configuration was not reloaded: {reason}", reason=failure.getErrorMessage()
        )
    )


class TwistdService(Service):
    """The server under ``twistd``, which brings reactor, log and signals of its own.

    The tree is made when the service starts, after twistd has become a daemon: threads and locks
    do not survive a fork.
    """

    def __init__(self, opened: Opened, reactor: Any) -> None:
        self.setName("eventdbx")  # type: ignore[no-untyped-call]
        self._opened = opened
        self._reactor = reactor
        self._pid_file = PidFile(opened.workspace.pid_path)
        self._tree: Tree | None = None
        self._readiness = Readiness(os.environ, reactor)

    def startService(self) -> None:
        """Start the tree; end the process with one clear line if that is impossible."""
        from eventdbx.services.tree import make_tree

        super().startService()  # type: ignore[no-untyped-call]
        workspace, config = self._opened
        try:
            self._pid_file.acquire(now_ns=time.time_ns())
            ensure_cli_token(self._opened)
            tree = make_tree(config, reactor=self._reactor, workspace=workspace)
        except EventDBXError as error:
            sys.exit(f"Error: {error}")
        self._tree = tree
        with suppress(ValueError):  # Signals belong to the main thread; twistd's reactor is there.
            signal.signal(
                signal.SIGHUP,
                lambda _number, _frame: self._reactor.callFromThread(reload_logged, tree.live),
            )
        tree.ready.addCallbacks(lambda _ports: self._readiness.ready(), self._failed)
        tree.failed.addBoth(self._failed)
        tree.startService()

    def _failed(self, failure: Failure) -> None:
        Logger().error("EventDBX server failed: {reason}", reason=str(failure.value))
        # twistd has no way to say "stop, and exit with 1": the interpreter's end is the place.
        atexit.register(os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[None]:
        """Stop the tree in its order, then remove the PID file."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._readiness.stopping()
        stopping = succeed(None) if self._tree is None else self._tree.stopService()
        return stopping.addBoth(self._released)

    def _released(self, result: Any) -> Any:
        self._pid_file.release()
        return result


def twistd_service(opened: Opened, reactor: Any) -> TwistdService:
    """Return the service that the twistd plugin runs for a workspace."""
    return TwistdService(opened, reactor)
