"""The spool of the audit trail: what commands did to files, until whoever has the store takes it.

A file of lines beside the data, readable by its owner alone. A line is on the disk when
:meth:`Spool.append` returns; the store takes each once, by the action's key. Nothing here imports
Twisted.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from eventdbx.domain.actions import Action, action_line, parse_action
from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Actor
from eventdbx.errors import IoError
from eventdbx.services.files import PRIVATE, sync_path

SPOOL_NAME = "audit.spool"


def operator(environ: Mapping[str, str]) -> Actor:
    """Return who runs a command, as far as the environment says."""
    return Actor("cli", environ.get("USER") or environ.get("USERNAME") or "local")


def spool_action(
    data_dir: Path,
    area: str,
    event: str,
    resource: str,
    way: str,
    *,
    before: str | None = None,
    after: str | None = None,
    details: Mapping[str, JSON] | None = None,
) -> None:
    """Note what a command has just done to files (``way``: ``dbx token revoke``).

    Raises IoError when it cannot be kept; the action has happened all the same.
    """
    Spool(data_dir).append(
        Action(
            area,
            event,
            resource,
            way,
            operator(os.environ),
            before=before,
            after=after,
            details=details,
            key=str(uuid.uuid4()),
        )
    )


class Taken(NamedTuple):
    """What was taken out of a spool: actions, and how many lines were none."""

    actions: list[Action]
    damaged: int


class Spool:
    """The spool of a data directory. Any number of processes append; one at a time takes: the
    one that has the store open for writing."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / SPOOL_NAME
        self._taken_path = data_dir / f"{SPOOL_NAME}.taken"

    def append(self, action: Action) -> None:
        """Add an action, which has a key; raise IoError when it cannot be kept."""
        assert action.key, "the spool may be read twice: an action in it needs a key"
        try:
            with self._locked() as descriptor:
                size = os.fstat(descriptor).st_size
                # A line that was cut off by a crash must not swallow this one.
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                line = b"\n" + action_line(action) if torn else action_line(action)
                os.write(descriptor, line)
                os.fsync(descriptor)
            if size == 0:
                sync_path(self._path.parent)
        except OSError as error:
            raise IoError(f"cannot write {self._path}: {error.strerror}") from None

    @property
    def holds_something(self) -> bool:
        """Tell whether there is anything to take; two looks at names, no more."""
        return os.path.exists(self._path) or os.path.exists(self._taken_path)

    @property
    def written_at(self) -> float:
        """When something was put in last, in Unix seconds; 0 for an empty spool."""
        try:
            return self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def take(self) -> Taken | None:
        """Return what is there, oldest first. It stays until :meth:`forget`; what is appended
        meanwhile is for the next time. None while somebody is appending: whoever takes does not
        wait for the disk of others. Raises IoError."""
        try:
            if not self._taken_path.exists():
                if not self._path.exists():
                    return Taken([], 0)
                with self._locked(wait=False):
                    os.rename(self._path, self._taken_path)
            lines = self._taken_path.read_bytes().splitlines()
        except BlockingIOError:
            return None
        except OSError as error:
            raise IoError(f"cannot read {self._path}: {error.strerror}") from None
        actions: list[Action] = []
        damaged = 0
        for line in lines:
            try:
                actions.append(parse_action(line))
            except ValueError:
                damaged += bool(line.strip())
        return Taken(actions, damaged)

    def forget(self) -> None:
        """Let go of what was taken: it is in the trail. Raises IoError."""
        try:
            self._taken_path.unlink(missing_ok=True)
        except OSError as error:
            raise IoError(f"cannot remove {self._taken_path}: {error.strerror}") from None

    @contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[int]:
        """Open and lock the file that has the name now; it may be taken away until it is ours.

        Raises BlockingIOError for a file that others have locked, unless it is to wait.
        """
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, PRIVATE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                ours, named = os.fstat(descriptor), _identity(self._path)
                if (ours.st_dev, ours.st_ino) == named:
                    os.fchmod(descriptor, PRIVATE)
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
