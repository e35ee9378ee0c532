"""The configuration changed while whoever changes it is killed."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
from pathlib import Path
from random import Random
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import CHECKOUT_DBX, Workspace, free_port

CYCLES = 8
SERVER_CYCLES = 3
KILL_AFTER_S = (0.005, 0.25)
FIRST = 1_001

COMMANDS = """
from eventdbx.surfaces.cli.main import main
import sys
for number in range(int(sys.argv[1]), 100_000):
    assert main(["config", f"--page-limit={number}", f"--list-page-size={number}"]) == 0
    print(number, flush=True)
"""
"""Changes two keys together, again and again, in one process: most of its time is saving."""


class Kill(SynchronousTestCase):
    """What holds after kill -9 in the middle of a change."""

    def setUp(self) -> None:
        self.random = Random(5)
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.path = self.space.folder / ".dbx" / "config.toml"
        self.path.write_text("# ours\n" + self.path.read_text())

    def number(self, *allowed: int) -> int:
        """Return the number that both keys have; the file is whole, private and valid."""
        text = self.path.read_text()
        self.assertTrue(text.startswith("# ours\n"))
        self.assertIn("is valid", self.space.run("config", "--check"))
        found = {
            int(value)
            for value in re.findall(r"^(?:page_limit|list_page_size) = (\d+)$", text, re.M)
        }
        self.assertEqual(len(found), 1, "a mixture")
        number = found.pop()
        self.assertIn(number, allowed)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        return number

    def left_behind(self) -> list[str]:
        return [one.name for one in self.path.parent.glob(".config.toml.*")]

    def test_commands(self) -> None:
        """After each kill the old values or the new ones are there, never a mixture or less."""
        number = FIRST
        program = (str(CHECKOUT_DBX[0]), "-c", COMMANDS)
        for _ in range(CYCLES):
            process = self.space.spawn(*program, str(number))
            assert process.stdout is not None
            acknowledged = int(process.stdout.readline())
            try:
                process.wait(self.random.uniform(*KILL_AFTER_S))
            except subprocess.TimeoutExpired:
                process.kill()
            output, errors = process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL, errors)
            acknowledged = int((output.split() or [str(acknowledged)])[-1])
            number = self.number(acknowledged, acknowledged + 1) + 1
        self.space.run("config", "--page-limit", "5000")
        self.assertEqual(self.left_behind(), [])

    def test_server(self) -> None:
        """So it is when the server is killed while it is asked to change them."""
        port, number = free_port(), FIRST
        bind = ("--admin-bind", "127.0.0.1", "--admin-port", str(port))
        pages = (f"--page-limit={number}", f"--list-page-size={number}")
        self.space.run("config", "--admin-enabled", "true", *bind, *pages)
        self.space.run("config", "--set", "admin.requests_per_second=100000")
        self.addCleanup(self.space.stop, signal.SIGKILL)
        for cycle in range(SERVER_CYCLES):
            self.space.start()
            self.space.wait_for_log("Starting admin API server", times=cycle + 1)
            changing = Changing(port, self.space.token, number)
            changing.change()
            changing.start()
            changing.join(self.random.uniform(*KILL_AFTER_S))
            self.space.stop(signal.SIGKILL)
            changing.join()
            self.assertIsNone(changing.failure)
            number = self.number(changing.acknowledged, changing.acknowledged + 1)


class Changing(Thread):
    """Changes both keys over the Admin API until the server is gone."""

    def __init__(self, port: int, token: str, number: int) -> None:
        super().__init__(daemon=True)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.acknowledged = number
        self.failure: Exception | None = None

    def change(self) -> None:
        """Change both keys to the next number."""
        number = self.acknowledged + 1
        body = json.dumps({"page_limit": number, "list_page_size": number})
        self._connection.request("PATCH", "/admin/config", body, self._headers)
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        assert answer.status == 200, document
        assert document["page_limit"] == document["list_page_size"] == number
        self.acknowledged = number

    def run(self) -> None:
        try:
            while True:
                self.change()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # The server was killed.
        except Exception as error:
            self.failure = error
        finally:
            self._connection.close()
