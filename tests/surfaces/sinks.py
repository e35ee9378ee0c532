"""Targets of plugins for tests of the command line: they listen in threads of this process."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

LOCAL = "127.0.0.1"


class Received(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON document in it."""
        return json.loads(self.body)


class HttpSink:
    """Answers every request with ``status`` and ``{}``; keeps what was POSTed."""

    def __init__(self, port: int = 0, *, status: int = 200) -> None:
        self.status = status
        self.received: list[Received] = []
        sink = self

        class Answering(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                sink.received.append(Received(self.path, headers, body))
                self._answer()

            def do_HEAD(self) -> None:
                self._answer()

            def _answer(self) -> None:
                self.send_response(sink.status)
                self.send_header("content-length", "2")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(b"{}")

            def log_message(self, *_words: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer((LOCAL, port), Answering)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{LOCAL}:{self.port}/in"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class LineSink:
    """Accepts connections and reads; keeps the lines."""

    def __init__(self, port: int = 0) -> None:
        self.lines: list[bytes] = []
        sink = self

        class Reading(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                sink.lines += list(self.rfile)

        self._server = socketserver.ThreadingTCPServer((LOCAL, port), Reading)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
