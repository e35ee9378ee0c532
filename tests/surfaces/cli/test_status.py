"""``dbx status``: for scripts that wait for a server, and for people who watch one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess

from tests.daemon import CHECKOUT_DBX, ROOT
from tests.surfaces.cli.test_completion import read_until
from tests.surfaces.command_line import CommandLineCase


class Status(CommandLineCase):
    """Without a server."""

    def begin(self, *words: str, out: int) -> subprocess.Popen[bytes]:
        """Begin to watch."""
        watching = subprocess.Popen(
            [*CHECKOUT_DBX, "status", "--watch", "1", *words], cwd=self.home, stdout=out,
            stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.addCleanup(watching.wait)
        self.addCleanup(watching.kill)
        return watching

    def test_check(self) -> None:
        """With --check the exit status says that no server runs; without it, it does not."""
        self.assertEqual(self.attempt("status").status, 0)
        ended = self.attempt("status", "--check")
        self.assertEqual((ended.status, ended.stderr), (3, ""))
        self.assertIn("cannot be used with", self.misused("status", "--check", "--watch"))

    def test_watch_documents(self) -> None:
        """Documents come one after the other, until it is interrupted."""
        watching = self.begin("--json", out=subprocess.PIPE)
        assert watching.stdout is not None
        for _time in range(2):
            text = ""
            while not text.endswith("\n}\n"):
                text += watching.stdout.readline().decode()
            self.assertFalse(json.loads(text)["running"])
        watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.wait(30), 130)
        watching.stdout.close()

    def test_watch_terminal(self) -> None:
        """On a terminal each status takes the place of the last one."""
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        self.begin(out=follower)
        os.close(follower)
        for _time in range(2):
            shown = read_until(leader, "Active domain: default")
            self.assertIn("\x1b[H\x1b[J", shown)
