"""The walk of the product's home page, command by command, on a fresh home with a real server.

Only the ports are chosen by the test: several may run on one machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import CHECKOUT_DBX, ROOT, free_port, outside

START_S = 60.0
SWITCH_ON = "dbx config --admin-enabled true --admin-bind 127.0.0.1 --admin-port 7070"
START = "dbx start --foreground"
MINT = "dbx token generate --group ops --user admin --action '*.*' --resource '*' --json"
BOOTSTRAP_TOKEN = "cat ~/.eventdbx/cli.token"

# What stands in for the parameters of paths, and bodies for the routes that need one.
NAMES = {"aggregate": "order", "name": "logger", "type": "order", "id": "o-1", "area": "tokens",
         "tenant": "default"}  # fmt: skip


class Said(NamedTuple):
    """A status and a document."""

    status: int
    document: Any


class WalkTests(SynchronousTestCase):
    """From nothing to a token that was replaced."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.port = free_port()
        kept = {name: value for name, value in outside().items() if "EVENTDBX" not in name}
        self.environment = kept | {
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "DBX_NO_UPGRADE_CHECK": "1",
            "EVENTDBX_SOCKET_BIND_ADDR": f"127.0.0.1:{free_port()}",
            "EVENTDBX_PORT": str(self.port),
        }
        program = self.home / "bin" / "dbx"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.join(CHECKOUT_DBX)} "$@"\n')
        program.chmod(0o755)
        self.environment["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def shell(self, command: str) -> str:
        """Run a command line as it is written, but for the port; return what it prints."""
        done = subprocess.run(
            ["/bin/sh", "-c", command.replace("7070", str(self.port))],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> None:
        """Start the server, and wait for the line that says the Admin API is there."""
        server = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {START}"],
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

        def stop() -> None:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=START_S)

        self.addCleanup(stop)
        assert server.stderr is not None
        for line in server.stderr:
            if "listening on 127.0.0.1:" + str(self.port) in line:
                return
        self.fail("the server ended before it listened")

    def ask(self, token: str, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """Ask what curl would: ``Authorization: Bearer <token>``, JSON in and out."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        sent = {"Authorization": f"Bearer {token}", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return Said(answer.status, json.loads(text) if text else None)

    def test_the_walk(self) -> None:
        """Switched on, started, used with the token of the file and with one made for it."""
        self.shell(SWITCH_ON)
        self.start()
        bootstrap = self.shell(BOOTSTRAP_TOKEN).strip()
        self.assertEqual(self.ask("", "GET", "/admin/tokens").status, 401)
        self._sequence(bootstrap)
        minted = json.loads(self.shell(MINT))["token"]
        self._every_route(minted)
        self._replace(minted)

    def _sequence(self, token: str) -> None:
        """Go through the sequence that the first version of the Admin API was tested with."""
        order = {"aggregate": "admin-created", "events": ["created", "updated"]}
        log = {"config": {"type": "log", "level": "debug"}}
        remote = {"endpoint": "tcp://0.0.0.0:6363", "token": token}
        schema = "/admin/schemas/admin-created"
        for method, path, body, wanted in (
            ("POST", "/admin/schemas", order, 201),
            ("GET", schema, None, 200),
            ("PATCH", schema, {"snapshot_threshold": 25}, 200),
            ("PATCH", schema, {"locked": True}, 200),
            ("PATCH", schema, {"field_lock": {"field": "secret", "lock": True}}, 200),
            ("PATCH", schema, {"add_fields": {"updated": ["status"]}}, 200),
            ("DELETE", schema + "/events/created", None, 200),
            ("PUT", "/admin/remotes/standby", remote, 201),
            ("PUT", "/admin/remotes/standby", remote, 200),
            ("GET", "/admin/remotes", None, 200),
            ("DELETE", "/admin/remotes/standby", None, 204),
            ("DELETE", "/admin/remotes/standby", None, 404),
            ("PUT", "/admin/plugins/logger", log, 201),
            ("POST", "/admin/plugins/logger/disable", None, 200),
            ("POST", "/admin/plugins/logger/enable", None, 200),
            ("GET", "/admin/plugins", None, 200),
            ("POST", "/admin/plugins/logger/disable", None, 200),
            ("DELETE", "/admin/plugins/logger", None, 204),
        ):
            said = self.ask(token, method, path, body)
            self.assertEqual(said.status, wanted, f"{method} {path} {said.document}")

    def _every_route(self, token: str) -> None:
        """Call each route that the document shows: none refuses the token, none fails."""
        document = self.ask(token, "GET", "/admin/openapi.json").document
        for method, path, operation in _operations(document["paths"]):
            body: Any = {} if "requestBody" in operation else None
            found = re.sub(r"\{(\w+)\}", lambda name: NAMES.get(name[1], "x"), path)
            said = self.ask(token, method, found, body)
            self.assertIn(str(said.status), operation["responses"], f"{method} {path}")
            self.assertNotIn(said.status, (401, 403, 405), f"{method} {path}")
            self.assertLess(said.status, 500, f"{method} {path} {said.document}")
            if method == "GET" and "{" not in path:
                asks = any(
                    one.get("required") and one.get("in") == "query"
                    for one in operation.get("parameters", ())
                )
                self.assertEqual(said.status, 400 if asks else 200, path)

    def _replace(self, token: str) -> None:
        """Refresh the token and revoke the new one; both are refused from then on."""
        said = self.ask(token, "POST", "/admin/tokens/refresh", {"token": token})
        self.assertEqual(said.status, 200)
        self.assertEqual(self.ask(token, "GET", "/admin/tokens").status, 401)
        fresh = said.document["token"]
        self.assertEqual(self.ask(fresh, "GET", "/admin/tokens").status, 200)
        self.assertEqual(
            self.ask(fresh, "POST", "/admin/tokens/revoke", {"token": fresh}).status, 204
        )
        self.assertEqual(self.ask(fresh, "GET", "/admin/tokens").status, 401)


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and operation, what rotates keys last."""
    found = [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    yield from sorted(found, key=lambda one: one[1].endswith("/rotate"))
