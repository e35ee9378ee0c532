"""The reference of the command line is the one that the commands make."""

from __future__ import annotations

import shutil
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests import cli_reference
from tests.examples.tree import commands

AGAIN = "run: PYTHONPATH=. python -m tests.cli_reference"


class Reference(SynchronousTestCase):
    """Both forms of it."""

    def test_page(self) -> None:
        """The page says what the commands say."""
        self.assertTrue(cli_reference.PAGE.read_text("utf-8") == cli_reference.page(), AGAIN)

    def test_manual(self) -> None:
        """So does the manual page."""
        self.assertTrue(cli_reference.MANUAL.read_text("utf-8") == cli_reference.manual(), AGAIN)

    def test_whole(self) -> None:
        """Every command and every visible option is in both, under the name that calls it."""
        page, manual = cli_reference.page(), cli_reference.manual()
        for path, command in commands():
            if path:
                self.assertIn(
                    f"\n## dbx {path}\n" if " " not in path else f"\n### dbx {path}\n", page
                )
                self.assertIn(f"\n.SS dbx {path}\n".replace("-", "\\-"), manual)
            for one in command.params:
                if one.opts[0].startswith("-") and not getattr(one, "hidden", False):
                    self.assertIn(one.opts[0], page)

    def test_manual_is_formatted(self) -> None:
        """groff has nothing to say against the manual page, where there is one."""
        if shutil.which("groff") is None:
            return
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", cli_reference.MANUAL],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("dbx aggregate get", done.stdout)
