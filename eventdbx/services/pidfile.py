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
    """What the file says. ``pid`` 0 and ``started_at`` (ns) None if it does not say.

    ``doing`` is the command that keeps servers from starting, None for a server.
    """

    pid: int
    started_at: int | None
    alive: bool
    doing: str | None = None

    @property
    def serves(self) -> bool:
        """Whether it is of a server that runs."""
        return self.alive and self.doing is None


class AlreadyRunning(ConfigError):
    """Another server holds the file, or a command that must have the data to itself.

    The message has no prefix, it is shown as it is.
    """

    prefix = ""

    def __init__(self, pid: int, doing: str | None = None) -> None:
        self.pid = pid
        self.doing = doing
        super().__init__(
            f"EventDBX server already running (pid {pid})"
            if doing is None
            else f"`{doing}` is at work on the data (pid {pid}); wait until it has ended"
        )


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
            pid, started_at, doing = _parse(os.pread(descriptor, 4096, 0), path)
            if pid or not alive:
                return ServerRecord(pid, started_at, alive, doing) if pid or alive else None
            time.sleep(_PAUSE_S)  # A server that has just taken the lock is about to write.
        return ServerRecord(0, None, True)
    finally:
        os.close(descriptor)


def _parse(content: bytes, path: Path) -> tuple[int, int | None, str | None]:
    text = content.decode("utf-8", "replace").strip()
    if not text:
        return 0, None, None
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            since, doing = value.get("started_at"), value.get("doing")
            started_at = None if since is None else parse_ns(since)
            return int(value["pid"]), started_at, None if doing is None else str(doing)
        return int(value), None, None
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
    """The file as the server itself holds it, from :meth:`acquire` to :meth:`release`.

    ``doing`` is the command that holds it in place of a server.
    """

    def __init__(self, path: Path, *, doing: str | None = None) -> None:
        self._path = path
        self._doing = doing
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
                raise AlreadyRunning(record.pid, record.doing)
            time.sleep(_PAUSE_S)  # Somebody only looked, or just removed the file.
        else:
            raise IoError(f"cannot lock {self._path}")
        os.ftruncate(descriptor, 0)
        content = {"pid": os.getpid(), "started_at": format_ns(now_ns // 1000 * 1000)}
        if self._doing is not None:
            content["doing"] = self._doing
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
