"""The server's log file: put aside at midnight and when it is large, compressed, then deleted.

A log that cannot be written never stops the server. Servers of several workspaces may share the
file: each holds a lock on what it writes to, and what is locked is not compressed yet.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import shutil
import time
from calendar import timegm
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TextIO

from eventdbx import limits

LOG_NAME = "eventdbx.log"
LOG_MODE = 0o640

_LOOK_S = 1.0
"""How often it is looked whether the file still has its name."""

_BEGUN = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")
_AT_FIRST = 256


def in_a_thread(work: Callable[[], None]) -> None:
    """Run what may take seconds beside everything else; the process need not wait for it."""
    Thread(target=work, name="log", daemon=True).start()


class LogFile:
    """The log file. ``keep`` old ones stay, as ``eventdbx_<when it began>.log.gz``.

    ``now`` is the time (Unix seconds); days are those of the local zone.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep: int = 14,
        bytes_max: int = limits.SERVER_LOG_BYTES_MAX,
        now: Callable[[], float] = time.time,
        beside: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._path = path
        self.keep = keep
        self._bytes_max = bytes_max
        self._now = now
        self._beside = beside
        self._open: TextIO | None = None
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self._looked_at = 0.0
        self._midnight = 0.0
        self.reopen()

    def reopen(self) -> None:
        """Open the file by its name, putting one of an earlier day aside; without one the log
        goes nowhere."""
        self._close()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._is_of_an_earlier_day():
                self._put_aside()
            self._open_by_name()
        except OSError:
            pass
        self._beside(self._tidy)

    def write(self, line: str) -> None:
        """Append the line; a full disk loses it."""
        now = self._now()
        try:
            if now >= self._midnight or now - self._looked_at >= _LOOK_S:
                self._look(now)
            if self._size >= self._bytes_max:
                self._rotate()
            if self._open is not None:
                self._open.write(line)
                self._open.flush()
                self._size += len(line)
        except (OSError, ValueError):
            pass

    def _look(self, now: float) -> None:
        """Follow the name when somebody else moved the file; begin a new one at midnight."""
        self._looked_at = now
        if self._open is None or self._identity != _identity(self._path):
            self.reopen()
        elif now >= self._midnight:
            self._rotate()

    def _rotate(self) -> None:
        self._close()
        self._put_aside()
        self._open_by_name()
        self._beside(self._tidy)

    def _close(self) -> None:
        if self._open is not None:
            try:
                self._open.close()
            except OSError:
                pass
            self._open = None

    def _open_by_name(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, LOG_MODE)
        self._open = os.fdopen(descriptor, "a", encoding="utf-8")
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        self._identity, self._size = (found.st_dev, found.st_ino), found.st_size
        self._looked_at = self._now()
        self._midnight = next_midnight(self._looked_at)

    def _is_of_an_earlier_day(self) -> bool:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return found.st_size > 0 and next_midnight(found.st_mtime) <= self._now()

    def _put_aside(self) -> None:
        """Give the file the name of the time at which it began."""
        stem, count = time.strftime("eventdbx_%Y-%m-%d_%H-%M-%S", self._began()), 0
        target = self._path.with_name(f"{stem}.log")
        while target.exists() or target.with_name(target.name + ".gz").exists():
            count += 1
            target = self._path.with_name(f"{stem}-{count}.log")
        os.rename(self._path, target)

    def _began(self) -> time.struct_time:
        with self._path.open("rb") as file:
            found = _BEGUN.search(file.read(_AT_FIRST))
        if found is None:
            return time.localtime(self._path.stat().st_mtime)
        return time.localtime(timegm(time.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%S")))

    def _tidy(self) -> None:
        """Compress what was put aside, and delete what is too old; on a thread."""
        try:
            for part in self._path.parent.glob("eventdbx_*.log.gz.part"):
                if self._now() - part.stat().st_mtime > 3600:  # Of a process that has ended.
                    part.unlink()
            for old in self._path.parent.glob("eventdbx_*.log"):
                compress(old)
            olds = [*self._path.parent.glob("eventdbx_*.log"), *self._path.parent.glob("*.log.gz")]
            olds = [one for one in olds if one.name.startswith("eventdbx_")]
            olds.sort(key=lambda one: one.stat().st_mtime, reverse=True)
            for one in olds[self.keep :]:
                one.unlink(missing_ok=True)
        except OSError:
            pass  # Another server of the folder does the same.


def compress(path: Path) -> None:
    """Put a compressed file in place of one, unless somebody still writes to it."""
    with path.open("rb") as source:
        try:
            fcntl.flock(source.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        found = os.fstat(source.fileno())
        part = path.with_name(path.name + ".gz.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, LOG_MODE)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(path.name, "wb", fileobj=raw, mtime=int(found.st_mtime)) as target:
                shutil.copyfileobj(source, target)
        os.utime(part, (found.st_atime, found.st_mtime))
        os.replace(part, path.with_name(path.name + ".gz"))
        path.unlink()


def next_midnight(seconds: float) -> float:
    """Return when the local day of a time ends."""
    day = time.localtime(seconds)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
