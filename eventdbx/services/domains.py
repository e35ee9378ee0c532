"""The domains of an installation as folders: which there are, making, counting and removing them.

Also where versions of another layout keep theirs. What is in a domain is no matter here; a running
server opens and closes them itself (:mod:`eventdbx.services.stores`). Nothing here imports Twisted
before a store has to be opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eventdbx.domain.identifiers import check_domain_name
from eventdbx.errors import ConfigError, EventDBXError, IoError, StillInUse
from eventdbx.services.files import make_directory, sync_path
from eventdbx.services.pidfile import AlreadyRunning, PidFile
from eventdbx.services.settled import settle
from eventdbx.services.workspace import Opened, Workspace

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from eventdbx.application.counting import Counts
    from eventdbx.application.domains import Domain
    from eventdbx.settings import Config
    from eventdbx.storage.interfaces import IReadView

NOUN = "domain name"
"""What messages on the command line call it."""

_ASIDE = ".deleting"
_TAKE_OVER = (
    "make an archive of it with the version that wrote it (`dbx backup --output FILE`), and take "
    "that over with `dbx restore --input FILE`"
)


class OldDomain(NamedTuple):
    """The folder of a domain that a version with another layout has made."""

    name: str
    path: Path

    def message(self) -> str:
        """Say what it is, and what to do about it."""
        return (
            f"domain '{self.name}' has data of an earlier EventDBX in {self.path}, which cannot be "
            f"opened in place; {_TAKE_OVER}"
        )


def domain_name(text: str, *, noun: str = NOUN) -> str:
    """Return a domain's name as it is kept. Raises ConfigError without a prefix."""
    try:
        return check_domain_name(text, noun=noun)
    except ConfigError as error:
        raise _Plain(error.detail) from None


def exists(workspace: Workspace, name: str) -> bool:
    """Say whether a domain has a folder; ``default`` always has."""
    return workspace.domain_dir(name).is_dir()


def similar(workspace: Workspace, name: str) -> str | None:
    """Return a hint at a domain of a similar name, None if there is none."""
    from difflib import get_close_matches

    close = get_close_matches(name, workspace.domain_names(), 1, 0.6)
    return f"did you mean '{close[0]}'?" if close else None


def create(workspace: Workspace, name: str) -> bool:
    """Make the folder of a domain; return False if it is there. Raises IoError."""
    folder = workspace.domain_dir(name)
    if folder.is_dir():
        return False
    make_directory(folder)
    return True


def old_domains(workspace: Workspace) -> list[OldDomain]:
    """Return the domains that versions from 3.19 on have left in their layout of shards."""
    found: list[OldDomain] = []
    for path in sorted(workspace.data_dir.glob("shards/shard-*/tenants/*")):
        if (path / "event_store" / "CURRENT").is_file():
            found.append(OldDomain(path.name, path))
    return found


def check_layout(workspace: Workspace, name: str) -> None:
    """Raise ConfigError if a domain without a store of ours has one in an older layout.

    Nothing could be read of it, and a new store beside it would look like lost data.
    """
    if (workspace.store_path(name) / "CURRENT").is_file():
        return
    if not (workspace.data_dir / "shards").is_dir():
        return
    for one in old_domains(workspace):
        if one.name == name:
            raise ConfigError(one.message())


@contextmanager
def stopped(workspace: Workspace, name: str, *, doing: str) -> Iterator[None]:
    """Keep servers from starting while a command is at work; raises StillInUse, in the words
    scripts know, if one runs."""
    holding = PidFile(workspace.pid_path, doing=doing)
    try:
        holding.acquire(now_ns=time.time_ns())
    except AlreadyRunning as error:
        raise _Running(
            error.detail
            if error.doing
            else f"EventDBX server appears to be running for domain '{name}' (pid {error.pid}); "
            "stop it before merging"
        ) from None
    try:
        yield
    finally:
        holding.release()


class _Running(StillInUse):
    """The message has no prefix: it is shown as it is."""

    prefix = ""


class _Plain(ConfigError):
    """The same."""

    prefix = ""


def delete(workspace: Workspace, name: str) -> None:
    """Remove a domain with all its data and data keys; for who keeps servers from running.

    It is moved aside first: whatever interrupts the removal, no half of a domain is taken for a
    whole one. Raises IoError, and StoreLocked while a command writes to it.
    """
    import shutil

    from eventdbx.storage.keyfiles import wipe
    from eventdbx.storage.keyslots import FILE_NAME

    folder = workspace.domain_dir(name)
    assert folder != workspace.data_dir, "the default domain is the data directory"
    aside = folder.parent / _ASIDE
    try:
        with _unused(workspace.store_path(name)):
            make_directory(aside)
            moved = aside / f"{name}.{os.getpid()}.{time.time_ns()}"
            os.replace(folder, moved)
            sync_path(folder.parent)
        for left in sorted(aside.iterdir()):
            keys = left / FILE_NAME
            if keys.is_file() and not left.is_symlink():
                descriptor = os.open(keys, os.O_RDWR | os.O_CLOEXEC)
                try:
                    wipe(descriptor)
                finally:
                    os.close(descriptor)
            left.unlink() if left.is_symlink() else shutil.rmtree(left)
        aside.rmdir()
    except OSError as error:
        raise IoError(f"cannot remove {error.filename or folder}: {error.strerror}") from None


@contextmanager
def _unused(store: Path) -> Iterator[None]:
    """Keep a store, if there is one, from being opened to be written. Raises StoreLocked."""
    if not store.is_dir():
        yield
        return
    from eventdbx.storage.lock import ProcessLock
    from eventdbx.storage.rocks import LOCK_NAME

    lock = ProcessLock(str(store / LOCK_NAME))
    try:
        yield
    finally:
        lock.release()


def counted(place: Opened, name: str) -> Counts:
    """Count a domain that no process has open, without a lock and without changing anything.

    Raises StorageError and ConfigError, as opening it does.
    """
    from eventdbx.application.counting import Counts, count

    workspace, config = place
    path = workspace.store_path(name)
    settle(path.parent)
    if not (path / "CURRENT").is_file():
        return Counts()

    from eventdbx.services.stores import open_configured

    store = open_configured(path, config, read_only=True)
    try:
        return count(store.view())
    finally:
        store.close()


class Listing:
    """The domains of a running server, with what is in each.

    ``opened`` are those that the server works on; the others are looked at as they lie there.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: Callable[[], Config],
        *,
        opened: Callable[[], Iterable[Domain]],
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._opened = opened
        self._run_slowly = run_slowly

    def documents(self) -> Deferred[list[dict[str, Any]]]:
        """Return the domains by name. One that cannot be opened has a ``problem``."""
        config = self._config()
        views = {domain.name: domain.store.view() for domain in self._opened()}
        return self._run_slowly(lambda: self._count(config, views))

    def _count(self, config: Config, views: dict[str, IReadView]) -> list[dict[str, Any]]:
        from eventdbx.application.counting import Counts, count, domain_document

        place = Opened(self._workspace, config)
        found: list[dict[str, Any]] = []
        for name in sorted({config.domain, *self._workspace.domain_names()}):
            problem: dict[str, Any] = {}
            try:
                counts = count(views[name]) if name in views else counted(place, name)
            except EventDBXError as error:
                counts, problem = Counts(), {"problem": str(error)}
            shown = domain_document(name, active=name == config.domain, counts=counts)
            found.append({**shown, **problem})
        return found
