"""The data key changed while whoever changes it is killed: everything stays readable."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from random import Random
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.control.blocking import BlockingClient
from tests.daemon import CHECKOUT_DBX, Workspace

CYCLES = 8
SERVER_CYCLES = 4
AGGREGATES = 700
KILL_AFTER_S = (0.0, 0.15)

ROTATIONS = """
from eventdbx.surfaces.cli.main import main
print("ready", flush=True)
while True:
    assert main(["keys", "rotate", "--json"]) == 0
    assert main(["config", "--unset", "data_encryption_keys"]) == 0
"""
"""Rotates and forgets the older key, again and again, in one process."""


class Kill(SynchronousTestCase):
    """What holds after kill -9 in the middle of a rotation."""

    def setUp(self) -> None:
        self.random = Random(7)
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.space.start()
        with BlockingClient("127.0.0.1", self.space.port, self.space.token) as client:
            for number in range(AGGREGATES):
                client.append("order", f"o-{number}", "order_made", {"secret": number})

    def check(self) -> None:
        """Everything can be read, and the configured keys are all that is needed."""
        found = json.loads(self.space.run("aggregate", "list", "--take", "1000", "--json"))
        self.assertEqual(len(found["items"]), AGGREGATES)
        report = json.loads(self.space.run("keys", "status", "--json"))
        self.assertIsNone(report["trouble"])
        self.assertEqual([one["trouble"] for one in report["domains"]], [None])
        self.assertIn("verified", self.space.run("verify"))

    def test_commands(self) -> None:
        """Whichever key the file of keys has after a kill, it is configured; the next one ends."""
        self.space.stop()
        program = (str(CHECKOUT_DBX[0]), "-c", ROTATIONS)
        for _ in range(CYCLES):
            process = self.space.spawn(*program)
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(self.random.uniform(*KILL_AFTER_S) + 0.1)
            except subprocess.TimeoutExpired:
                process.kill()
            _output, errors = process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL, errors)
            self.check()
        self.end()

    def test_server(self) -> None:
        """So it is when the server is killed; its next start goes on by itself."""
        for cycle in range(SERVER_CYCLES):
            rotating = Thread(target=self.space.attempt, args=("keys", "rotate"))
            rotating.start()
            self.space.wait_for_log("in force now: data_encryption_key", times=cycle + 1)
            rotating.join(self.random.uniform(*KILL_AFTER_S))
            self.space.stop(signal.SIGKILL)
            rotating.join()
            self.check()
            self.space.start()
        self.space.run("keys", "rotate")
        self.check()
        self.space.stop()
        self.end()

    def end(self) -> None:
        """A rotation that nobody kills needs no older key, and leaves nothing behind."""
        self.space.run("keys", "rotate")
        report = json.loads(self.space.run("keys", "status", "--json"))
        self.assertFalse(report["older_keys_needed"])
        self.space.run("config", "--unset", "data_encryption_keys")
        self.check()
        names = {one.name for one in (self.space.folder / ".dbx").iterdir()}
        self.assertIn("data_keys", names)
        self.assertFalse([name for name in names if name.startswith("data_keys.")])
