"""What stored texts can do to a terminal: nothing."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli.output import without_controls
from tests.daemon import CHECKOUT_DBX, ROOT, outside


class Controls(SynchronousTestCase):
    """Control characters in what is printed."""

    def test_written_out(self) -> None:
        """They are written out; tabs, line ends and other texts stay."""
        self.assertEqual(without_controls("a\tb\nc é"), "a\tb\nc é")
        self.assertEqual(without_controls("\x1b[31mred\x9b\x7f\r"), "\\x1b[31mred\\x9b\\x7f\\x0d")

    def test_on_a_terminal(self) -> None:
        """A name with an escape sequence in it does not reach the terminal; a pipe gets it raw."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        environment = {**outside(), "HOME": str(folder), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        name = "a\x1b[31mb"

        def dbx(*words: str, stdout: int = subprocess.PIPE) -> bytes:
            done = subprocess.run(
                [*CHECKOUT_DBX, *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                check=True,
            )
            return done.stdout or b""

        dbx("init")
        dbx("schema", "create", name, "--events", "made")
        self.assertIn(name.encode(), dbx("schema", "list"))
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        dbx("schema", "list", stdout=theirs)
        os.close(theirs)
        shown = os.read(ours, 4_096)
        self.assertIn(b"a\\x1b[31mb ", shown)
        self.assertNotIn(b"\x1b", shown)


class Visible(SynchronousTestCase):
    """Tokens that others on the machine could read."""

    def test_warning_on_a_terminal(self) -> None:
        """A person is told of a token on the command line; an id, a file or a pipe says nothing."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "token").write_text("a.b.c")
        environment = {**outside(), "HOME": str(folder), "PYTHONPATH": str(ROOT)}

        def said(*words: str) -> bytes:
            ours, theirs = pty.openpty()
            self.addCleanup(os.close, ours)
            subprocess.run(
                [*CHECKOUT_DBX, "token", "show", *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=theirs,
                check=False,
            )
            os.close(theirs)
            return os.read(ours, 4_096)

        self.assertIn(b"others on this machine can read", said("a.b.c"))
        for silent in (("3f1c2f0e",), ("--token-file", "token")):
            shown = said(*silent)
            self.assertIn(b"Error: token not found", shown)
            self.assertNotIn(b"others on this machine", shown)
