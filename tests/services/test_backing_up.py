"""Copies that a server makes for backups: of one moment, and gone when nobody needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.config import decode_data_key
from eventdbx.domain.grants import Grant
from eventdbx.errors import StorageError, Unauthorized, UnknownName
from eventdbx.services import backups
from eventdbx.services.backing_up import FIRST_S, LOOK_S, BackupService
from eventdbx.services.backup_copies import Checkpoint, copy_all
from eventdbx.services.stores import StoreService
from eventdbx.services.workspace import open_workspace
from eventdbx.storage.hops import synchronous
from eventdbx.storage.keyslots import KeySlots

ROOT = Grant("j", "root", actions=("*.*",), resources=("*",))
ELSEWHERE = ROOT._replace(tenants=("people",))


def at_once(work: Callable[[], Any]) -> Deferred[Any]:
    """Run what a server runs on a thread."""
    return succeed(work())


class Installed(SynchronousTestCase):
    """The stores of an installation, open as a server has them."""

    def setUp(self) -> None:
        home = Path(self.mktemp()).resolve()
        home.mkdir()
        self.workspace, self.config = open_workspace(environ={"HOME": str(home)}, cwd=home)
        self.clock = Clock()
        self.stores = StoreService(
            self.config,
            store_path=self.workspace.store_path,
            plugins_path=self.workspace.plugins_path,
            make_hop=synchronous,
            clock=self.clock,
            on_failure=lambda failure: None,
        )
        self.stores.startService()
        self.addCleanup(lambda: self.successResultOf(self.stores.stopService()))
        self.service = BackupService(
            self.workspace,
            self.stores,
            config=lambda: self.config,
            run_slowly=at_once,
            clock=self.clock,
        )
        self.service.startService()

    def begun(self) -> tuple[str, Path]:
        """Return the id and the folder of a copy."""
        found = self.successResultOf(self.service.begin(ROOT, with_keys=True))
        return found["id"], Path(found["path"])

    def pass_time(self, seconds: float) -> None:
        """Let the service look so long."""
        for _ in range(int(seconds / LOOK_S) + 1):
            self.clock.advance(LOOK_S)


class Copies(Installed):
    """What becomes of a copy."""

    def test_ended(self) -> None:
        """A copy is gone when its end is told, and unknown then."""
        identity, folder = self.begun()
        self.assertTrue((folder / "data" / "event_store" / "CURRENT").exists())
        self.assertTrue((folder / "data" / "data_keys").exists())
        self.successResultOf(self.service.end(identity))
        self.assertFalse(folder.exists())
        self.failureResultOf(self.service.end(identity), UnknownName)

    def test_vanished(self) -> None:
        """A copy stays while somebody holds it, and goes soon after nobody does."""
        _identity, folder = self.begun()
        with backups.held(folder):
            self.pass_time(FIRST_S * 2)
            self.assertTrue(folder.exists())
        self.pass_time(LOOK_S)
        self.assertFalse(folder.exists())

    def test_never_held(self) -> None:
        """A copy that nobody takes goes after a while."""
        _identity, folder = self.begun()
        self.pass_time(FIRST_S / 2)
        self.assertTrue(folder.exists())
        self.pass_time(FIRST_S)
        self.assertFalse(folder.exists())

    def test_stopped(self) -> None:
        """A server that stops leaves no copy behind, nor one that starts after a crash."""
        _identity, folder = self.begun()
        self.successResultOf(self.service.stopService())
        self.assertFalse(folder.exists())
        left = folder.with_name(".backup-0123")
        left.mkdir()
        self.service.startService()
        self.assertFalse(left.exists())

    def test_of_another_tenant(self) -> None:
        """A token that is not good for every domain copies none."""
        self.failureResultOf(self.service.begin(ELSEWHERE, with_keys=True), Unauthorized)
        self.failureResultOf(self.service.make(ELSEWHERE, name=None, with_keys=True), Unauthorized)
        self.assertEqual(list(self.workspace.data_dir.glob(".backup-*")), [])


class Keys(Installed):
    """Data keys that change while the store is copied."""

    def setUp(self) -> None:
        super().setUp()
        path = str(self.workspace.data_dir / "data_keys")
        key = self.config.data_encryption_key
        assert key is not None
        self.slots = KeySlots.open(path, [decode_data_key(key)])
        self.addCleanup(self.slots.close)

    def copy(self, meanwhile: Callable[[int], None]) -> Path:
        """Copy everything; ``meanwhile`` is called with how often the store was copied."""
        times = 0

        def checkpoint(path: str) -> None:
            nonlocal times
            times += 1
            self.stores.domain(None).store.checkpoint(path)
            meanwhile(times)

        made: Checkpoint = checkpoint
        folder = self.workspace.data_dir / ".backup-00"
        copy_all(self.workspace, folder, [("default", made)], with_keys=True)
        return folder

    def test_destroyed(self) -> None:
        """Store and keys are copied once more when a key was destroyed in between."""
        slot = self.slots.take()

        def destroy(times: int) -> None:
            if times == 1:
                self.slots.destroy([slot])

        folder = self.copy(destroy)
        kept = (folder / "data_keys").read_bytes()
        self.assertEqual(kept, (self.workspace.data_dir / "data_keys").read_bytes())

    def test_made(self) -> None:
        """A key that is made in between is in the copy, and nothing is done twice."""
        seen: list[int] = []

        def make(times: int) -> None:
            seen.append(times)
            self.slots.take_alone()

        self.copy(make)
        self.assertEqual(seen, [1])

    def test_never_at_rest(self) -> None:
        """Keys that are destroyed all the time make no copy."""

        def destroy(_times: int) -> None:
            self.slots.destroy([self.slots.take()])

        self.assertRaises(StorageError, self.copy, destroy)
