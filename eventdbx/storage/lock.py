"""The exclusive lock of a store folder, and who holds it.

RocksDB has a lock of its own, but its message does not say which process to stop.
"""

from __future__ import annotations

import fcntl
import os

from eventdbx.errors import StorageError, StoreLocked

_PID_BYTES_MAX = 32
_TRIES = 5


class ProcessLock:
    """An operating system lock on one file, held until released or until the process dies.

    The file holds the number of the process and is never deleted: deleting a lock file lets
    two processes hold "the" lock at once.
    """

    def __init__(self, path: str) -> None:
        """Take the lock at ``path``; raises :class:`StoreLocked` if another process has it, or
        this one already."""
        self.path = path
        for _ in range(_TRIES):
            self._take(path)
            if self._is_at(path):
                return
            # A restore has put another folder in the place of the one whose file this is.
            self.release()
        raise StoreLocked(f"the folder of {path} is being replaced; retry when that is over")

    def _is_at(self, path: str) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(path))
        except FileNotFoundError:
            return False

    def _take(self, path: str) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot open the lock file {path}: {error.strerror}") from error
        try:
            # flock and not POSIX locks: those vanish when any descriptor of the file closes.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._file, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StoreLocked(
                f"event store lock at {path} is held by process {holder or 'unknown'}; "
                "stop the running dbx instance and retry"
            ) from error
        except OSError as error:
            os.close(self._file)
            raise StorageError(f"cannot lock {path}: {error.strerror}") from error

    def release(self) -> None:
        """Give the lock up. Releasing twice is no error."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
