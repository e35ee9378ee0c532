"""A TCP transport that sends at once what the socket takes, instead of in the next turn.

Twisted's own transport queues every write and asks the reactor to be told when the socket is
ready, which it nearly always is: two changes of the poll set and one more turn for each answer.
"""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort


class PromptServer(tcp.Server):
    """Twisted's server transport with a shorter way for a write while nothing is queued."""

    def write(self, data: bytes) -> None:
        """Send now what the socket takes; queue the rest, or all of it behind what waits."""
        if self.connected and not (
            self._tempDataBuffer or self.dataBuffer or self.disconnecting or self._writeDisconnected
        ):
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # Full, or broken; the queue finds out which.
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)  # type: ignore[no-untyped-call]


def make_prompt(port: IListeningPort) -> None:
    """Let a TCP port give its connections this transport; other kinds of port stay as they are."""
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = PromptServer
