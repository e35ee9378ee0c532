"""The records of tenants on disk: written by us, and those that version 3.19 left."""

from __future__ import annotations

import json
from pathlib import Path

import rocksdict
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.tenants import TenantRecord
from eventdbx.errors import EventDBXError, SerializationError, StorageError
from eventdbx.services.tenantfiles import TenantFile, assigned, limited, measured
from eventdbx.services.workspace import open_workspace


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
