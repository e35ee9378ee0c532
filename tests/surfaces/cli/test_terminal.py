"""What a person sees on a terminal, and what a pipe gets: real processes on both."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from threading import Thread
from typing import NamedTuple

from tests.daemon import CHECKOUT_DBX, ROOT, outside
from tests.surfaces.command_line import CommandLineCase

ROWS, COLUMNS = 24, 100


class Shown(NamedTuple):
    """What a process wrote to its terminal: results, and the rest."""

    out: str
    err: str


class TerminalCase(CommandLineCase):
    """A home of its own, and the program on a terminal of 24 lines of 100 characters."""

    def setUp(self) -> None:
        super().setUp()
        self.environment = {
            **outside(), "HOME": str(self.home), "PYTHONPATH": str(ROOT), "TERM": "xterm",
            "PAGER": "cat",
        }  # fmt: skip
        self.environment.pop("NO_COLOR", None)

    def show(self, *words: str, **environment: str) -> Shown:
        """Run one command line with stdout and stderr on terminals of their own."""
        texts: list[bytes] = [b"", b""]
        theirs, readers = [], []
        for place in (0, 1):
            ours, other = pty.openpty()
            fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            theirs.append(other)
            readers.append(Thread(target=_read, args=(ours, texts, place)))
        for one in readers:
            one.start()
        try:
            subprocess.run(
                [*CHECKOUT_DBX, *words],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=theirs[0],
                stderr=theirs[1],
                check=False,
                timeout=60,
            )
        finally:
            for terminal in theirs:
                os.close(terminal)
            for reader in readers:
                reader.join()
        out, err = (text.decode().replace("\r\n", "\n") for text in texts)
        return Shown(out, err)

    def pipe(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command line in a pipe."""
        return subprocess.run(
            [*CHECKOUT_DBX, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def _read(file: int, texts: list[bytes], place: int) -> None:
    try:
        while piece := os.read(file, 65_536):
            texts[place] += piece
    except OSError:
        pass  # The other end is closed: that is how a terminal ends.
    os.close(file)


class OnATerminal(TerminalCase):
    """Tables, notes, colours, the pager."""

    def test_table(self) -> None:
        """A list is a table, the heading in bold; no line is wider than the terminal."""
        self.create("order", "o-1", "--field", f"note={'long ' * 50}")
        shown = self.show("aggregate", "list").out
        heading, row = shown.splitlines()
        self.assertTrue(heading.startswith("\x1b[1mAGGREGATE_TYPE"), heading)
        self.assertTrue(row.startswith("order"))
        self.assertLessEqual(len(row), COLUMNS)
        self.assertIn("…", row)
        self.assertIn(
            "aggregate_type=order aggregate_id=o-1", self.pipe("aggregate", "list").stdout
        )

    def test_export(self) -> None:
        """Stored texts do not command the terminal; a pipe and a file have them as they are."""
        self.create("order", "o-1", "--field", "note=\x1b[2Ja")
        words = ("aggregate", "export", "order", "--output", "-")
        self.assertIn("o-1,\\u001b[2Ja\n", self.show(*words).out)
        self.assertIn("o-1,\x1b[2Ja\n", self.pipe(*words).stdout)

    def test_colours(self) -> None:
        """NO_COLOR and --color never leave colours out; --color always sends them into a pipe."""
        self.create("order", "o-1")
        for words, environment in ((("--color", "never"), {}), ((), {"NO_COLOR": "1"})):
            self.assertNotIn("\x1b", self.show("aggregate", "list", *words, **environment).out)
        piped = self.pipe("aggregate", "list", "-o", "table", "--color", "always").stdout
        self.assertTrue(piped.startswith("\x1b[1m"))
        self.assertNotIn("\x1b", self.pipe("aggregate", "list", "-o", "table").stdout)

    def test_empty(self) -> None:
        """A list without anything says what was looked for and what to try, not on stdout."""
        shown = self.show("aggregate", "list", "order")
        self.assertEqual(shown.out, "")
        self.assertEqual(
            shown.err,
            "no active aggregates of type order; "
            "try `dbx aggregate list order --include-archived`\n",
        )
        shown = self.show("events", "order", "o-1", "-o", "json")
        self.assertEqual(shown.out, "[]\n")
        self.assertIn("no events of order o-1; try `dbx events order o-1", shown.err)
        self.assertEqual(self.show("events", "--quiet"), Shown("", ""))
        piped = self.pipe("events")
        self.assertEqual((piped.stdout, piped.stderr), ("no events\n", ""))

    def test_more(self) -> None:
        """A page that is full says how to go on."""
        self.create("order", "o-1")
        self.create("order", "o-2")
        self.assertIn(
            "more: --cursor a:order:o-1, or --all",
            self.show("aggregate", "list", "--take", "1").err,
        )

    def test_controls(self) -> None:
        """Control characters of stored texts reach the terminal in no format."""
        self.create("order", "o-1", "--field", "note=\x1b[2J\x9b1m\u202e\rx")
        for form in ((), ("-o", "table"), ("-o", "csv"), ("-o", "json"), ("-o", "yaml"),
                     ("-o", "ndjson")):  # fmt: skip
            shown = self.show("events", "--color", "never", *form).out
            for one in ("\x1b", "\x9b", "\u202e", "\rx"):
                self.assertNotIn(one, shown, form)
        read = json.loads(self.show("events", "-o", "ndjson").out)
        self.assertEqual(read["payload"]["note"], "\x1b[2J\x9b1m\u202e\rx")

    def test_pager(self) -> None:
        """What is longer than the screen goes through the pager; what is shorter does not."""
        pager = self.home / "pager"
        pager.write_text(f"#!/bin/sh\necho paged >> {self.home}/times\nexec cat\n")
        pager.chmod(0o755)
        times = self.home / "times"
        for number in range(ROWS + 2):
            self.create("order", f"o-{number:02}")
        shown = self.show("aggregate", "list", "--take", "5", PAGER=str(pager)).out
        self.assertEqual((len(shown.splitlines()), times.exists()), (6, False))
        shown = self.show("aggregate", "list", "--all", PAGER=str(pager)).out
        self.assertEqual(len(shown.splitlines()), ROWS + 3)
        self.assertEqual(times.read_text(), "paged\n")
        self.show("aggregate", "list", "--all", "--no-pager", PAGER=str(pager))
        self.show("aggregate", "list", "--all", PAGER=str(self.home / "none"))
        self.pipe("aggregate", "list", "--all")
        self.assertEqual(times.read_text(), "paged\n")
        left = self.show("aggregate", "list", "--all", PAGER="true")
        self.assertEqual(left.err, "", "a reader who leaves the pager is no failure")


class InAPipe(TerminalCase):
    """Long lists."""

    def test_head(self) -> None:
        """A reader who has seen enough ends the command quietly."""
        for number in range(3):
            self.create("order", f"o-{number}", "--field", f"text={'x' * 60_000}")
        for form in ((), ("-o", "json"), ("-o", "yaml"), ("-o", "csv"), ("-o", "table"),
                     ("-o", "ndjson")):  # fmt: skip
            command = subprocess.Popen(
                [*CHECKOUT_DBX, "aggregate", "list", *form],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert command.stdout is not None
            command.stdout.read(10)
            command.stdout.close()
            _, said = command.communicate(timeout=60)
            self.assertEqual((command.returncode, said), (0, b""), form)

    def test_memory(self) -> None:
        """Ten times as many events take no ten times the memory, whatever the format."""
        lines = self.home / "events.ndjson"
        with lines.open("w") as file:
            for number in range(5_000):
                names = {"aggregate_type": "order", "aggregate_id": f"o-{number}"}
                event = {**names, "event_type": "made", "payload": {"text": "x" * 1_000}}
                file.write(json.dumps(event) + "\n")
        self.assertEqual(self.pipe("import", str(lines)).returncode, 0)
        for form in ("json", "csv", "table"):
            page = self.peak_mib("events", "--take", "500", "-o", form)
            self.assertLess(self.peak_mib("events", "--all", "-o", form), page + 30, form)

    def peak_mib(self, *words: str) -> int:
        """Return the most memory that a command had resident; it must print something."""
        with (self.home / "out").open("wb") as out:
            command = subprocess.Popen(
                [*CHECKOUT_DBX, *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(command.returncode, 0)
        self.assertGreater((self.home / "out").stat().st_size, 100_000)
        return used.ru_maxrss // 1024
