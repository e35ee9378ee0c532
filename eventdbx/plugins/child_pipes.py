"""One life of a child: its three pipes and its exit, as Twisted tells them.

Bounds what is read of it. What follows from an exit is decided in
:mod:`eventdbx.plugins.supervision`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from eventdbx import limits
from eventdbx.plugins.launching import end_group
from eventdbx.plugins.output import ChildLog

_EXIT_S = 1.0
"""Between the end of a pipe and the exit that explains it, and the other way round."""


@implementer(IPullProducer)
class ChildPipes(ProcessProtocol):
    """What is written to the child goes through here, and what it writes.

    ``answers`` takes the bytes of standard output where these are messages; as a producer of the
    child's input it learns when all is written.
    """

    def __init__(
        self,
        reactor: Any,
        output: ChildLog,
        *,
        answers: Callable[[bytes], None] | None,
        drained: Callable[[], None],
        broken: Callable[[str], None],
        ended: Callable[[ChildPipes, int, str], None],
    ) -> None:
        self.pid: int | None = None
        self.since: float = reactor.seconds()
        self.usable = False
        self._reactor = reactor
        self._output = output
        self._answers = answers
        self._drained = drained
        self._broken = broken
        self._ended = ended
        self._process: Any = None
        self._closing = False
        self._pid_was = 0
        self._how = ""
        self._timers: list[Any] = []
        self._window = 0.0
        self._read = 0

    # Our side

    def connectionMade(self) -> None:
        """Begin a life."""
        self._process = self.transport
        self.pid = self._pid_was = self._process.pid
        self.usable = True
        self._process.registerProducer(self, False)

    def write(self, data: bytes | bytearray) -> None:
        """Write to the child's standard input; never waits."""
        self._process.write(bytes(data))

    def close_input(self) -> None:
        """Let the child read what is written and then the end."""
        self._closing = True
        self.usable = False
        self._process.unregisterProducer()
        self._process.closeStdin()

    def resumeProducing(self) -> None:
        """All that was written is in the pipe."""
        if self.usable:
            self._drained()

    def stopProducing(self) -> None:
        """The input is gone; its loss is told elsewhere."""

    # The child's side

    def outReceived(self, data: bytes) -> None:
        """Take standard output."""
        self._count(len(data))
        if self._answers is None:
            self._output.received("stdout", data)
        else:
            self._answers(data)

    def errReceived(self, data: bytes) -> None:
        """Take standard error."""
        self._count(len(data))
        self._output.received("stderr", data)

    def _count(self, size: int) -> None:
        """Read no more than so much a second; a child that floods its outputs waits in its
        writes."""
        now = self._reactor.seconds()
        if now - self._window >= 1.0:
            self._window, self._read = now, 0
        self._read += size
        if self._read - size < limits.PLUGIN_OUTPUT_BYTES_PER_S <= self._read:
            self._process.pauseProducing()
            self._later(self._window + 1.0 - now, self._read_on)

    def _read_on(self) -> None:
        self._process.resumeProducing()

    def inConnectionLost(self) -> None:
        """The child has closed its input, or is gone."""
        self.usable = False
        if not self._closing:
            self._explain("closed its standard input")

    def outConnectionLost(self) -> None:
        """The child has closed its output, or is gone."""
        if self._answers is not None and not self._closing:
            self.usable = False
            self._explain("closed its standard output, where its acks belong")

    def _explain(self, reason: str) -> None:
        if self.pid is not None:
            self._later(_EXIT_S, self._broken, reason)

    def processExited(self, reason: Failure) -> None:
        """The child is gone and reaped; some of its output may still have to be read."""
        self.usable = False
        self.pid = None
        self._how = _exit_text(reason.value)
        end_group(self._pid_was)
        self._cancel()
        self._read_on()
        self._later(_EXIT_S, self._let_go)

    def _let_go(self) -> None:
        """Close pipes that something the child has left behind holds open."""
        for pipe in list(self._process.pipes.values()):
            pipe.connectionLost(Failure(ProcessDone(0)))

    def processEnded(self, reason: Failure) -> None:
        """The child is gone, and all it wrote is here."""
        self._cancel()
        self._output.ended()
        said = self._output.last_error_line
        self._output.last_error_line = ""
        how = f"{self._how} ({said})" if said and not self._closing else self._how
        self._ended(self, self._pid_was, how)

    def _later(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._reactor.callLater(delay_s, call, *arguments))

    def _cancel(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()


def _exit_text(exit_reason: BaseException | None) -> str:
    number = getattr(exit_reason, "signal", None)
    if number:
        try:
            return f"was ended by {signal.Signals(number).name}"
        except ValueError:
            return f"was ended by signal {number}"
    return f"exited with status {getattr(exit_reason, 'exitCode', 0) or 0}"
