"""The PID file: a lock that a running server holds, with a note of who holds it.

The lock decides, never the number: after a crash the number may belong to a stranger, and a
stranger must neither be killed by ``stop`` nor keep a server from starting.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from eventdbx.domain.timestamps import format_ns, parse_ns
from eventdbx.errors import ConfigError, IoError

_ATTEMPTS = 20
_PAUSE_S = 0.05


class ServerRecord(NamedTuple):
    """What the file says. ``pid`` 0 and ``started_at`` (ns) None if it does not say."""

    pid: int
    started_at: int | None
    alive: bool


class AlreadyRunning(ConfigError):
    """Another server holds the file; the message has no prefix, it is shown as it is."""

    prefix = ""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"EventDBX server already running (pid {pid})")


def read_record(path: Path) -> ServerRecord | None:
    """Return what stands in the file and whether its writer still runs; None without a file.

    Raises ConfigError if the content is not ours, IoError if it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IoError(f"cannot read {path}: {error.strerror}") from None
    try:
        for _ in range(_ATTEMPTS):
            alive = not _try_lock(descriptor, fcntl.LOCK_SH)
            pid, started_at = _parse(os.pread(descriptor, 4096, 0), path)
            if pid or not alive:
                return ServerRecord(pid, started_at, alive) if pid or alive else None
            time.sleep(_PAUSE_S)  # A server that has just taken the lock is about to write.
        return ServerRecord(0, None, True)
    finally:
        os.close(descriptor)


def _parse(content: bytes, path: Path) -> tuple[int, int | None]:
    text = content.decode("utf-8", "replace").strip()
    if not text:
        return 0, None
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            since = value.get("started_at")
            return int(value["pid"]), None if since is None else parse_ns(since)
        return int(value), None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"invalid pid file at {path}") from None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_stale(path: Path) -> bool:
    """Delete the file unless a server holds it; tell whether one was deleted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _try_lock(descriptor, fcntl.LOCK_EX):
            return False
        return _is_at(descriptor, path) and _unlink(path)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class PidFile:
    """The file as the server itself holds it, from :meth:`acquire` to :meth:`release`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, now_ns: int) -> None:
        """Take the lock and write who we are, started at ``now_ns``.

        Raises AlreadyRunning if another server holds it, IoError if the file cannot be written.
        """
        for _ in range(_ATTEMPTS):
            descriptor = self._open()
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, self._path):
                break
            os.close(descriptor)
            record = read_record(self._path)
            if record is not None and record.alive:
                raise AlreadyRunning(record.pid)
            time.sleep(_PAUSE_S)  # Somebody only looked, or just removed the file.
        else:
            raise IoError(f"cannot lock {self._path}")
        os.ftruncate(descriptor, 0)
        content = {"pid": os.getpid(), "started_at": format_ns(now_ns // 1000 * 1000)}
        os.pwrite(descriptor, json.dumps(content, separators=(",", ":")).encode(), 0)
        self._descriptor = descriptor

    def _open(self) -> int:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            raise IoError(f"cannot write {self._path}: {error.strerror}") from None

    def release(self) -> None:
        """Remove the file, then give up the lock; nothing if it is not held.

        A file that has taken its place with another directory (a restore) is not ours.
        """
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        if _is_at(descriptor, self._path):
            self._path.unlink(missing_ok=True)
        os.close(descriptor)
