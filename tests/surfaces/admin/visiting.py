"""A server with an Admin API, and a visitor who calls it over its real listener."""

from __future__ import annotations

import atexit
import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Workspace, free_port


class Place(NamedTuple):
    """A running server and the port of its Admin API."""

    workspace: Workspace
    port: int


@cache
def administered(_name: str) -> Place:
    """Return the server of a name, one for all tests of a process; it ends with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = Workspace(Path(folder.name) / "database")
    port = free_port()
    bind = ("--admin-bind", "127.0.0.1", "--admin-port", str(port))
    workspace.run("config", "--admin-enabled", "true", *bind)
    # Tests ask more often than any operator.
    limits = ("admin.requests_per_second=10000", "admin.requests_burst=10000")
    workspace.run("config", *(part for one in limits for part in ("--set", one)))
    workspace.start(port)
    atexit.register(workspace.stop)
    return Place(workspace, port)


class Response(NamedTuple):
    """What came back; ``document`` is None without a body."""

    status: int
    headers: Mapping[str, str]
    document: Any


class Visit(SynchronousTestCase):
    """Requests with the root token, or with another one.

    Tests that count what there is have a ``server`` of their own.
    """

    server = ""

    def setUp(self) -> None:
        self.place = administered(self.server)
        self.token = self.place.workspace.token

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> Response:
        """Send one request below ``/admin``; ``If_Match`` is sent as ``If-Match``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.place.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token if token is None else token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None
        if body is not None:
            content = json.dumps(body)
            sent["Content-Type"] = "application/json"
        # Closed at once: the server takes 64 connections, and a test may ask more often.
        with closing(connection):
            connection.request(method, "/admin" + path, content, sent)
            answer = connection.getresponse()
            raw = answer.read()
        shown = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, shown, json.loads(raw) if raw else None)

    def good(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request that must have a status; return the document."""
        answer = self.call(method, path, body, **headers)
        self.assertEqual(answer.status, status, answer.document)
        return answer.document

    def refused(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> str:
        """Send a request that must be refused with a status; return the message."""
        document = self.good(status, method, path, body, **headers)
        self.assertEqual(document["status"], status)
        message: str = document["message"]
        return message

    def token_for(self, *actions: str) -> str:
        """Return a token with some actions on everything."""
        given = [part for action in actions for part in ("--action", action)]
        made = self.place.workspace.run(
            "token", "generate", "--group", "ops", "--user", "kim", *given, "--resource", "*",
            "--json",
        )  # fmt: skip
        token: str = json.loads(made)["token"]
        return token
