"""The server's log file: when it is put aside, and what stays of it."""

from __future__ import annotations

import gzip
import os
import stat
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.services.logfile import LogFile, next_midnight

NOON = 1_767_614_400.0
"""2026-01-05T12:00:00Z."""


class LogFileTests(SynchronousTestCase):
    """A log file whose time the test moves."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.path = self.folder / "eventdbx.log"
        self.now = NOON

    def log(self, *, keep: int = 14, bytes_max: int = 1_000_000) -> LogFile:
        """Open the file; what is done beside is done at once."""
        return LogFile(
            self.path, keep=keep, bytes_max=bytes_max, now=lambda: self.now, beside=lambda do: do()
        )

    def line(self, text: str) -> str:
        """Return a line of the present time."""
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(self.now))}.000000Z {text}\n"

    def olds(self) -> list[str]:
        """Return the names of what was put aside."""
        return sorted(path.name for path in self.folder.iterdir() if path != self.path)

    def content(self, name: str) -> str:
        """Return what a compressed file holds."""
        with gzip.open(self.folder / name, "rt") as file:
            return file.read()

    def local(self, seconds: float) -> str:
        """Return a time as the names of files have it."""
        return time.strftime("eventdbx_%Y-%m-%d_%H-%M-%S", time.localtime(seconds))

    def test_followed_by_name(self) -> None:
        """Whoever moves the file away gets a new one; on a signal at once, else a second later."""
        log = self.log()
        log.write("one\n")
        self.path.rename(self.folder / "moved.1")
        log.reopen()
        log.write("two\n")
        self.path.rename(self.folder / "moved.2")
        self.now += 1.0
        log.write("three\n")
        self.assertEqual(self.path.read_text(), "three\n")
        self.assertEqual((self.folder / "moved.1").read_text(), "one\n")
        self.assertEqual((self.folder / "moved.2").read_text(), "two\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o137, 0)

    def test_nowhere(self) -> None:
        """A file that cannot be written stops nothing, and is found when it can be."""
        self.folder.mkdir()
        blocker = self.folder / "file"
        blocker.write_text("")
        self.path = blocker / "below" / "eventdbx.log"
        log = self.log()
        log.write("nowhere\n")
        blocker.unlink()
        self.now += 1.0
        log.write("here\n")
        self.assertEqual(self.path.read_text(), "here\n")

    def test_midnight(self) -> None:
        """The first line of a new day goes into a new file; the old one is compressed, under the
        time of its first line."""
        log = self.log()
        log.write(self.line("today"))
        self.now = next_midnight(NOON) - 1
        log.write(self.line("still today"))
        self.assertEqual(self.olds(), [])
        self.now += 1
        log.write(self.line("tomorrow"))
        name = self.local(NOON) + ".log.gz"
        self.assertEqual(self.olds(), [name])
        self.assertIn("still today", self.content(name))
        self.assertEqual(self.path.read_text(), self.line("tomorrow"))

    def test_yesterdays_file_at_the_start(self) -> None:
        """A server that starts on another day begins with a new file."""
        self.log().write(self.line("old"))
        os.utime(self.path, (NOON, NOON))
        self.log().write(self.line("same day"))
        self.assertEqual(self.olds(), [])
        os.utime(self.path, (NOON, NOON))
        self.now += 86_400
        self.log().write(self.line("next day"))
        self.assertEqual(self.olds(), [self.local(NOON) + ".log.gz"])
        self.assertEqual(self.path.read_text(), self.line("next day"))

    def test_size(self) -> None:
        """A file that is too large is put aside; files that began in one second have numbers."""
        log = self.log(bytes_max=100)
        for _ in range(9):
            log.write(self.line("x" * 20))
        stem = self.local(NOON)
        self.assertEqual(self.olds(), [f"{stem}-1.log.gz", f"{stem}.log.gz"])
        whole = "".join(self.content(name) for name in self.olds()) + self.path.read_text()
        self.assertEqual(whole.count("x" * 20), 9)

    def test_kept(self) -> None:
        """Only so many old files stay, the newest; none when none are to be kept."""
        log = self.log(keep=2, bytes_max=10)
        for number in range(6):
            log.write(self.line(f"line {number}"))
            os.utime(self.path, (self.now, self.now))
            self.now += 10
        self.assertEqual(len(self.olds()), 2)
        self.assertIn("line 4", self.content(self.olds()[-1]))
        log.keep = 0
        log.write(self.line("last"))
        self.assertEqual(self.olds(), [])

    def test_shared(self) -> None:
        """Servers that share a file lose no line, and what one writes to is not compressed yet."""
        first, second = self.log(), self.log()
        first.write(self.line("first"))
        second.write(self.line("second"))
        self.now = next_midnight(NOON)
        first.write(self.line("first tomorrow"))
        self.assertEqual(self.olds(), [self.local(NOON) + ".log"])
        second.write(self.line("second tomorrow"))
        self.assertEqual(self.olds(), [self.local(NOON) + ".log.gz"])
        self.assertEqual(
            self.path.read_text(), self.line("first tomorrow") + self.line("second tomorrow")
        )
        self.assertEqual(self.content(self.olds()[0]).count("\n"), 2)
