"""The records of tenants: on disk, those that version 3.19 left, and in force at a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rocksdict
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.domains import Domain
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.tenants import TenantRecord
from eventdbx.errors import EventDBXError, IoError, SerializationError, StorageError, UnknownName
from eventdbx.services.tenantfiles import TenantFile, assigned, limited, measured
from eventdbx.services.tenants import TenantDesk
from eventdbx.services.workspace import open_workspace
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous


class Records(SynchronousTestCase):
    """A folder of records of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "tenant_meta"
        self.file = TenantFile(self.folder)

    @property
    def path(self) -> Path:
        return self.folder / "tenants.json"

    def test_life(self) -> None:
        """A record is made, changed and read by whoever comes next; an empty one is gone."""
        self.assertEqual(self.file.load(), {})
        changed, _all = self.file.change("acme", assigned("shard-0003"))
        self.assertTrue(changed.changed)
        changed, _all = self.file.change("acme", assigned("shard-0003"))
        self.assertFalse(changed.changed)
        self.file.change("acme", limited(5))
        changed, records = self.file.change("acme", measured(2048))
        self.assertFalse(changed.changed, "what is measured changes neither shard nor quota")
        self.assertEqual(records, {"acme": TenantRecord("shard-0003", 5, 2048)})
        self.assertEqual(TenantFile(self.folder).load(), records)
        self.file.change("beta", limited(0))
        for change in assigned(None), limited(None):
            self.file.change("acme", change)
        self.assertEqual(self.file.load()["acme"], TenantRecord(None, None, 2048))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_place(self) -> None:
        """The records are in the data directory, or where the configuration says."""
        home = Path(self.mktemp()).absolute()
        home.mkdir()
        opened = open_workspace(environ={"HOME": str(home)}, cwd=home)
        TenantFile.of(*opened).change("acme", limited(1))
        self.assertTrue((opened.workspace.data_dir / "tenant_meta" / "tenants.json").is_file())
        opened.workspace.save({"tenants.shard_map_path": str(home / "elsewhere")})
        opened = open_workspace(environ={"HOME": str(home)}, cwd=home)
        self.assertEqual(TenantFile.of(*opened).load(), {})
        TenantFile.of(*opened).change("acme", limited(1))
        self.assertTrue((home / "elsewhere" / "tenants.json").is_file())

    def test_damaged(self) -> None:
        """A file that is damaged is refused by its name, and not written over."""
        self.folder.mkdir(parents=True)
        for text in (
            "{", "[]", '{"format": 1}', '{"format": 9, "tenants": {}}',
            '{"format": 1, "tenants": {"a": 1}}',
            '{"format": 1, "tenants": {"a": {"storage_quota_mb": "5"}}}',
            '{"format": 1, "tenants": {"a": {"storage_quota_mb": true}}}',
            '{"format": 1, "tenants": {"a": {"storage_usage_bytes": -1}}}',
            '{"format": 1, "tenants": {"a": {"shard": 3}}}',
        ):  # fmt: skip
            self.path.write_text(text)
            error = self.assertRaises(SerializationError, self.file.load)
            self.assertIn(str(self.path), str(error))
            self.assertRaises(EventDBXError, self.file.change, "acme", limited(1))
            self.assertEqual(self.path.read_text(), text)

    def test_of_version_3_19(self) -> None:
        """The records of version 3.19 are read from its RocksDB, which stays as it is."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        self.folder.mkdir(parents=True)
        database = rocksdict.Rdict(str(self.folder), options=options)
        record = {"shard": "shard-0003", "storage_quota_mb": 5, "storage_usage_bytes": 2048}
        database[b"acme"] = json.dumps(record).encode()
        database[b"beta"] = b'{"shard":null,"storage_quota_mb":7,"storage_usage_bytes":null}'
        database[b"elder"] = b" shard-0001\n"
        database[b"nobody"] = b"{}"
        database.close()
        (self.folder / "rocksdict-config.json").unlink()
        files = sorted(one.name for one in self.folder.iterdir())
        expected = {
            "acme": TenantRecord("shard-0003", 5, 2048),
            "beta": TenantRecord(None, 7, None),
            "elder": TenantRecord("shard-0001", None, None),
        }
        self.assertEqual(self.file.load(), expected)
        self.assertEqual(sorted(one.name for one in self.folder.iterdir()), files)
        _changed, records = self.file.change("beta", limited(None))
        self.assertEqual(records, {"acme": expected["acme"], "elder": expected["elder"]})
        self.assertEqual(self.file.load(), records, "the file counts from now on")

    def test_of_version_3_19_damaged(self) -> None:
        """A RocksDB that cannot be read is told of, not taken for empty."""
        self.folder.mkdir(parents=True)
        (self.folder / "CURRENT").write_text("MANIFEST-000001\n")
        error = self.assertRaises(StorageError, self.file.load)
        self.assertIn(str(self.folder), str(error))


class Desk(SynchronousTestCase):
    """The tenants of a server, whose files are changed on another thread, when the test says."""

    def setUp(self) -> None:
        self.file = TenantFile(Path(self.mktemp()).absolute())
        self.file.change("default", limited(9))
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.store = Store(MemoryStore(), hop=synchronous())
        schemas = Catalogue(self.store, clock_ns=lambda: 1)
        writer = Writer(self.store, clock_ns=lambda: 1, entropy=bytes, rules=schemas.rules)
        self.domain = Domain("default", self.store, writer, schemas)
        self.desk = TenantDesk(
            self.file,
            shard_count=16,
            opened=lambda: [self.domain],
            open_domain=self.opened,
            run_on_files=self.later,
        )
        self.desk.watch(self.domain)

    def opened(self, name: str) -> Domain:
        if name != "default":
            raise UnknownName(f"domain '{name}' does not exist")
        return self.domain

    def later(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def work(self) -> int:
        """Let the thread do what waits; return how much that was."""
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            done.callback(work())
        return len(waiting)

    def quota(self) -> int | None:
        """Return the quota that is in force."""
        quota = self.domain.writer.quota
        return None if quota is None else quota.quota_mib

    def test_at_the_start(self) -> None:
        """What is recorded counts as soon as the domain is open."""
        self.assertEqual(self.quota(), 9)

    def test_in_order(self) -> None:
        """One change is made after the other, in the order in which they were asked for."""
        asked = [self.desk.set_quota("default", one) for one in (0, 0, None, 3)]
        self.assertEqual(self.quota(), 9, "not before it is on disk")
        seen = []
        while self.work():
            seen.append(self.quota())
        self.assertEqual(seen, [0, 0, None, 3])
        changed = [self.successResultOf(one).changed for one in asked]
        self.assertEqual(changed, [True, False, True, True])
        self.assertEqual(self.file.load()["default"].quota_mib, 3)

    def test_goes_on_after_a_failure(self) -> None:
        """A change that cannot be written fails alone; what was in force stays so."""
        asked = self.desk.set_quota("default", 5), self.desk.set_quota("default", 6)
        _work, done = self.waiting.pop()
        done.errback(IoError("the disk is full"))
        self.failureResultOf(asked[0], IoError)
        self.assertEqual(self.quota(), 9)
        self.work()
        self.assertTrue(self.successResultOf(asked[1]).changed)
        self.assertEqual(self.quota(), 6)

    def test_same_quota(self) -> None:
        """A quota that stays what it is keeps what it has counted."""
        quota = self.domain.writer.quota
        self.desk.assign("default", "3")
        self.work()
        self.assertIs(self.domain.writer.quota, quota)

    def test_measured(self) -> None:
        """What is measured is recorded; without a domain that is nothing, and makes none."""
        for tenant, at_least in ("default", 1), ("nobody", 0):
            self.store.transact(lambda one: one.put(b"k", b"v"))
            measuring = self.desk.measure(tenant)
            self.work()
            usage = self.successResultOf(measuring)
            self.assertGreaterEqual(usage, at_least)
            self.assertEqual(self.file.load()[tenant].usage_bytes, usage)
        self.assertEqual(self.file.load()["nobody"].usage_bytes, 0)

    def test_edited(self) -> None:
        """What was changed in the file by others counts when it is read again."""
        self.file.change("default", limited(1))
        reloading = self.desk.reload()
        self.work()
        self.successResultOf(reloading)
        self.assertEqual(self.quota(), 1)
        self.assertEqual(self.desk.records()["default"].quota_mib, 1)
