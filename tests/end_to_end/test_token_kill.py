"""Tokens refreshed and keys rotated while whoever does it is killed."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import EventDBXError
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import CHECKOUT_DBX, POLL_S, Workspace, free_port

CYCLES = 8
SERVER_CYCLES = 4
KILL_AFTER_S = (0.005, 0.2)
SETTLED_AFTER_S = 10
GRANTS = ("-g", "ops", "-u", "ann", "--action", "aggregate.read", "--ttl", "0", "--json")

COMMANDS = """
import contextlib, io, json, sys
from eventdbx.surfaces.cli.main import main
token = sys.argv[1]
for number in range(100_000):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["token", "refresh", "--token", token, "--json"]) == 0
        if number % 4 == 3:
            assert main(["token", "rotate"]) == 0
    token = json.loads(output.getvalue().split("signing with")[0])["token"]
    print(token, flush=True)
"""
"""Takes one token for another, again and again, and the key now and then, in one process."""


class Kill(SynchronousTestCase):
    """What holds after kill -9 in the middle of a change."""

    def setUp(self) -> None:
        self.random = Random(7)
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.folder = self.space.folder / ".dbx"
        self.addCleanup(self.space.stop, signal.SIGKILL)

    def generate(self) -> str:
        """Issue a token as a command of its own."""
        token: str = json.loads(self.space.run("token", "generate", *GRANTS))["token"]
        return token

    def good(self, token: str) -> bool:
        """Tell whether the server lets a client in that shows the whole token."""
        try:
            with closing(
                BlockingClient("127.0.0.1", self.space.port, token, send_token=True)
            ) as client:
                client.call(Calls(token).snapshots(None, None, None))
        except EventDBXError:
            return False
        return True

    def check(self, token: str) -> None:
        """The last token that was handed out counts, or one that has taken its place.

        The server agrees, and the files are whole and private.
        """
        jti = json.loads(self.space.run("token", "show", token, "--json"))["jti"]
        listed = json.loads(self.space.run("token", "list", "--json"))
        active = [one["jti"] for one in listed if (one["user"], one["status"]) == ("ann", "active")]
        self.assertEqual(len(active), 1, "neither the old token nor the new one, or both")
        waited = 0.0
        while self.good(token) != (active == [jti]):
            self.assertLess(waited, SETTLED_AFTER_S, "the server does not agree with the list")
            # Once a second it finishes what was left half done.
            time.sleep(POLL_S)
            waited += POLL_S
        self.space.run("token", "revoke", active[0])
        for name in ("tokens.json", "jwt_revocations.json", "config.toml", "cli.token"):
            self.assertEqual((self.folder / name).stat().st_mode & 0o777, 0o600, name)
        self.assertEqual(list(self.folder.glob(".tokens.json.*")), [])
        self.assertFalse((self.folder / "tokens.journal").exists())

    def test_commands(self) -> None:
        """A command that is killed beside a server leaves the old token or the new one."""
        self.space.start()
        program = (str(CHECKOUT_DBX[0]), "-c", COMMANDS)
        for _ in range(CYCLES):
            process = self.space.spawn(*program, self.generate())
            assert process.stdout is not None
            token = process.stdout.readline().strip()
            try:
                process.wait(self.random.uniform(*KILL_AFTER_S))
            except subprocess.TimeoutExpired:
                process.kill()
            output, errors = process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL, errors)
            self.check((output.split() or [token])[-1])

    def test_server(self) -> None:
        """So does a server that is killed while it is asked for tokens over HTTP."""
        port = free_port()
        bind = ("--admin-bind", "127.0.0.1", "--admin-port", str(port))
        self.space.run("config", "--admin-enabled", "true", *bind)
        self.space.run("config", "--set", "admin.requests_per_second=100000")
        for cycle in range(SERVER_CYCLES):
            self.space.start()
            self.space.wait_for_log("Starting admin API server", times=2 * cycle + 1)
            refreshing = Refreshing(port, self.space.token, self.generate())
            refreshing.refresh()
            refreshing.start()
            refreshing.join(self.random.uniform(*KILL_AFTER_S))
            self.space.stop(signal.SIGKILL)
            refreshing.join()
            self.assertIsNone(refreshing.failure)
            self.space.start()
            self.check(refreshing.token)
            self.space.stop()


class Refreshing(Thread):
    """Takes one token for another over the Admin API until the server is gone."""

    def __init__(self, port: int, operator: str, token: str) -> None:
        super().__init__(daemon=True)
        self._headers = {
            "Authorization": f"Bearer {operator}",
            "Content-Type": "application/json",
        }
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.token = token
        self.failure: Exception | None = None

    def _post(self, path: str, body: Any) -> Any:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        assert answer.status == 200, document
        return document

    def refresh(self) -> None:
        """Take another token, and another key with it."""
        self.token = self._post("/admin/tokens/refresh", {"token": self.token})["token"]
        self._post("/admin/keys/rotate", {})

    def run(self) -> None:
        try:
            while True:
                self.refresh()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # The server was killed.
        except Exception as error:
            self.failure = error
        finally:
            self._connection.close()
