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
        rest = unsent(self, data)
        if rest:
            super().write(rest)  # type: ignore[no-untyped-call]


def unsent(connection: tcp.Connection, data: bytes) -> bytes:
    """Send now what the socket takes unless something waits to be sent; return the rest."""
    if (
        connection._tempDataBuffer
        or connection.dataBuffer
        or connection.disconnecting
        or connection._writeDisconnected
        or not connection.connected
    ):
        return data
    try:
        sent = connection.socket.send(data)
    except OSError:
        return data  # Full, or broken; the queue finds out which.
    return b"" if sent == len(data) else data[sent:]


def make_prompt(port: IListeningPort) -> None:
    """Let a TCP port give its connections this transport; other kinds of port stay as they are."""
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = PromptServer
