"""Backups of a running server: copies for commands to pack, and archives of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from eventdbx import limits
from eventdbx.config import Config
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, Unauthorized, UnknownName
from eventdbx.services import backup_copies, backups
from eventdbx.services.backups import Archive, Copied
from eventdbx.services.stores import StoreService
from eventdbx.services.workspace import Workspace
from eventdbx.surfaces.control.routes import RunSlowly

LOOK_S = 5.0
"""How often is looked whether a copy is still being packed."""

FIRST_S = 30.0
"""How long a command may take to get hold of the copy that was made for it."""


class BackupService(Service):
    """Makes copies of all domains, one at a time, and takes them away again.

    ``run_slowly`` runs on a thread what reads and writes files.
    """

    log = Logger()

    def __init__(
        self,
        workspace: Workspace,
        stores: StoreService,
        *,
        config: Callable[[], Config],
        run_slowly: RunSlowly,
        clock: IReactorTime,
    ) -> None:
        self._workspace = workspace
        self._stores = stores
        self._config = config
        self._run_slowly = run_slowly
        self._clock = clock
        self._turns = DeferredLock()
        self._copies: dict[str, tuple[Path, float]] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def startService(self) -> None:
        """Remove what an earlier server left behind."""
        super().startService()  # type: ignore[no-untyped-call]
        backup_copies.sweep(self._workspace.data_dir)

    async def _stop(self) -> None:
        await self._turns.acquire()
        if self._looking.running:
            self._looking.stop()
        for folder, _since in self._copies.values():
            await self._run_slowly(partial(backup_copies.remove, folder))
        self._copies.clear()

    def stopService(self) -> Deferred[None]:
        """Wait for what is being copied or packed, and remove all copies."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def begin(self, by: Grant, *, with_keys: bool) -> Deferred[dict[str, Any]]:
        """Copy everything for a command; fires with the copy's id, its path and the domains.

        Who packs it holds it (:func:`eventdbx.services.backups.held`); it is gone once it is not
        held any more.
        """

        async def begin() -> dict[str, Any]:
            if len(self._copies) >= limits.BACKUP_COPIES_MAX:
                raise ConfigError("too many backups are being made just now; try again later")
            copied = await self._copied(by, with_keys)
            identity = copied.folder.name.removeprefix(backup_copies.PREFIX)
            self._copies[identity] = copied.folder, self._clock.seconds()
            if not self._looking.running:
                self._looking.start(LOOK_S, now=False)
            return {"id": identity, "path": str(copied.folder), "domains": list(copied.domains)}

        return self._in_turn(begin)

    def end(self, identity: str) -> Deferred[dict[str, Any]]:
        """Take a copy away; fires when it is gone. Fails with UnknownName for an unknown id."""

        async def end() -> dict[str, Any]:
            found = self._copies.pop(identity, None)
            if found is None:
                raise UnknownName(f"there is no backup copy '{identity[:64]}'")
            await self._run_slowly(partial(backup_copies.remove, found[0]))
            return {"ended": True}

        return Deferred.fromCoroutine(end())

    def make(self, by: Grant, *, name: str | None, with_keys: bool) -> Deferred[dict[str, Any]]:
        """Make an archive in the configured folder; fires with what is said of it."""

        async def make() -> dict[str, Any]:
            config = self._config()
            folder = backups.backup_dir(self._workspace, config)
            target = await self._run_slowly(
                partial(self._target, folder, name, self._workspace.data_dir)
            )
            copied = await self._copied(by, with_keys)
            try:
                archive: Archive = await self._run_slowly(
                    partial(
                        backups.archive_of,
                        copied,
                        self._workspace,
                        config,
                        target,
                        force=False,
                        with_keys=with_keys,
                    )
                )
            finally:
                await self._run_slowly(partial(backup_copies.remove, copied.folder))
            return {"name": target.name, **backups.document_of(archive)}

        return self._in_turn(make)

    def _target(self, folder: Path, name: str | None, data_dir: Path) -> Path:
        target = backups.named(folder, name, time.time_ns())
        return backups.checked_target(target, data_dir, force=False)

    def listed(self) -> Deferred[list[dict[str, Any]]]:
        """Fires with the archives in the configured folder, by name."""
        folder = backups.backup_dir(self._workspace, self._config())
        return self._run_slowly(partial(backups.kept, folder))

    async def _copied(self, by: Grant, with_keys: bool) -> Copied:
        domains: list[tuple[str, backup_copies.Checkpoint | None]] = []
        names = await self._run_slowly(self._workspace.domain_names)
        if not all(by.allows_tenant(name) for name in names):
            raise Unauthorized
        for name in names:
            path = self._workspace.store_path(name)
            checkpoint = None
            if backups.has_store(path):
                checkpoint = self._stores.domain(name).store.checkpoint
            domains.append((name, checkpoint))
        copy = backups.copying(self._workspace, domains, with_keys=with_keys)
        copied: Copied = await self._run_slowly(copy)
        return copied

    def _in_turn(self, work: Callable[[], Any]) -> Deferred[Any]:
        return self._turns.run(lambda: Deferred.fromCoroutine(work()))

    def _look(self) -> Any:
        """Take away the copies that nobody holds: whoever asked for them is done, or dead."""
        return Deferred.fromCoroutine(self._sweep()).addErrback(
            lambda failure: self.log.failure("cannot take backup copies away", failure=failure)
        )

    async def _sweep(self) -> None:
        latest = self._clock.seconds() - FIRST_S
        for identity, (folder, since) in list(self._copies.items()):
            if since <= latest and not backups.is_held(folder):
                self.log.info("a backup was given up: its copy {path} is gone", path=str(folder))
                self._copies.pop(identity, None)
                await self._run_slowly(partial(backup_copies.remove, folder))
        if not self._copies and self._looking.running:
            self._looking.stop()
