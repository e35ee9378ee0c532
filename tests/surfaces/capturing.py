"""A wire tap: a relay on a port of its own that keeps every byte that passes, either way."""

from __future__ import annotations

import socket
import threading

_READ_BYTES = 65_536


class Tap:
    """Relays connections to ``port`` of this machine; ``captured`` is what an eavesdropper has."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._pieces: list[bytes] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._sockets: list[socket.socket] = [self._server]
        self._threads[0].start()

    @property
    def captured(self) -> bytes:
        """Everything that passed so far, each direction as it came."""
        return b"".join(self._pieces)

    def _accept(self) -> None:
        while True:
            try:
                near, _address = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += near, far
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._relay, args=(source, sink), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_READ_BYTES):
                self._pieces.append(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Cut every connection and wait for the threads."""
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self._threads:
            thread.join(5)


def longest_part(secret: bytes, captured: bytes, size: int = 16) -> bytes:
    """Return some part of that many bytes of the secret that was captured, or nothing."""
    for at in range(len(secret) - size + 1):
        if secret[at : at + size] in captured:
            return secret[at : at + size]
    return b""
