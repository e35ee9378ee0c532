"""Commands whose stdin, stdout or stderr is closed, full, or left by its reader."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import CHECKOUT_DBX, ROOT, outside

SHELL_TIMEOUT_S = 60.0


class Streams(SynchronousTestCase):
    """Lines for a shell, in which $DBX is the command."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        (self.folder / "e.ndjson").write_text(
            '{"aggregate_type":"order","aggregate_id":"o-1","event_type":"made","payload":{}}\n'
        )
        script = self.folder / "dbx"
        program, flag, code = CHECKOUT_DBX
        script.write_text(f"#!/bin/sh\nexec {program} {flag} '{code}' \"$@\"\n")
        script.chmod(0o700)

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line; return how it ended and what it said."""
        environment = {**outside(), "HOME": str(self.folder), "PYTHONPATH": str(ROOT),
                       "DBX": str(self.folder / "dbx")}  # fmt: skip
        return subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=SHELL_TIMEOUT_S, check=False,
        )  # fmt: skip

    def test_closed_stderr(self) -> None:
        """What is said there is lost, nothing else."""
        done = self.shell("$DBX import e.ndjson 2>&-")
        self.assertEqual((done.returncode, done.stdout), (0, "Imported 1 event(s) from e.ndjson\n"))
        self.assertEqual(self.shell("$DBX import none 2>&-").returncode, 1)
        self.assertEqual(self.shell("$DBX import --none 2>&-").returncode, 2)

    def test_closed_stdout(self) -> None:
        """Nobody wants the results."""
        done = self.shell("$DBX import e.ndjson >&-; $DBX --version >&-")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('"made"', self.shell("$DBX events --json").stdout)

    def test_closed_stdin(self) -> None:
        """It is an empty one."""
        done = self.shell("$DBX import - <&-")
        self.assertEqual((done.returncode, done.stdout), (0, "Imported 0 event(s) from stdin\n"))

    def test_failures_whom_nobody_hears(self) -> None:
        """The status stays when whoever reads stderr has gone, or its disk is full."""
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        for words, status in ((["import", "none"], 1), (["--none"], 2)):
            done = subprocess.run(
                [str(self.folder / "dbx"), *words], cwd=self.folder, stderr=writing, check=False,
                env={**outside(), "HOME": str(self.folder), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=SHELL_TIMEOUT_S,
            )  # fmt: skip
            self.assertEqual(done.returncode, status)
        self.assertEqual(self.shell("$DBX import none 2>/dev/full").returncode, 1)

    def test_full_stdout(self) -> None:
        """Results that did not arrive are a failure, in one line."""
        for words in ("--version", "list", "list --json"):
            with self.subTest(words):
                done = self.shell(f"$DBX {words} >/dev/full")
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr, "Error: No space left on device\n")

    def test_reader_of_stdout_leaves(self) -> None:
        """Who has seen enough ends a command, and that is no failure."""
        done = self.shell("set -o pipefail; $DBX events --help | true")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_other_locale(self) -> None:
        """Texts are UTF-8, where the locale has another encoding, too."""
        self.shell(
            'echo \'{"city":"Zürich"}\' | PYTHONIOENCODING=latin-1 '
            "$DBX aggregate create order o-2 --event made --payload -"
        )
        told = self.shell("PYTHONIOENCODING=latin-1 $DBX aggregate get order o-2 --json").stdout
        self.assertEqual(json.loads(told)["state"], {"city": "Zürich"})
