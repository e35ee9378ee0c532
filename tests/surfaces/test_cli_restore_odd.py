"""``dbx restore`` of archives of the existing program with rows that it never writes."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from typing import Any

import rocksdict

from tests.services.reference_archives import EPOCH_MS, Store, config_of, event, packed
from tests.surfaces.command_line import CommandLineCase

Fill = Callable[[Store], None]


class OddArchives(CommandLineCase):
    """An archive with one sound aggregate, and one that is not."""

    def setUp(self) -> None:
        super().setUp()
        self.data, self.archive = self.home / "made", self.home / "old.tar.gz"

    def restore(self, *options: str) -> Any:
        """Restore the archive."""
        packed(self.data, self.archive, config_of(str(self.home / "restored")))
        return self.attempt("restore", "--input", str(self.archive), "--json", *options)

    def accepted(self, fill: Fill) -> list[str]:
        """Restore what is refused without a word; return the mismatches that are told of."""
        store = Store(self.data / "event_store")
        store.aggregate("order", "good", [event("made", 1_000, {"a": 1})])
        fill(store)
        store.close()
        refused = self.restore()
        self.assertEqual(refused.status, 1, refused)
        self.assertIn("does not fit its own hashes", refused.stderr)
        ended = self.restore("--accept-mismatches")
        self.assertEqual(ended.status, 0, ended.stderr)
        self.dbx("verify")
        self.dbx("aggregate", "get", "order", "good")
        mismatches: list[str] = ended.document["imported"]["mismatches"]
        return mismatches

    def ids(self, *options: str) -> list[str]:
        """Return which aggregates there are."""
        found = self.dbx("aggregate", "list", "--json", *options).document
        return [one["aggregate_id"] for one in found]

    def test_event_types(self) -> None:
        """An event type that would end early in a record of ours, or in JSON, ends its
        aggregate."""

        def fill(store: Store) -> None:
            for number, raw in enumerate(("a\0b", 'a","hash":"', 5)):
                store.aggregate("order", f"o-{number}", [event("made", 2_000, 1, raw=raw)])
            store.aggregate("order", "o-3", [event("made\0", 2_000, 1)])

        told = self.accepted(fill)
        self.assertEqual([one for one in told if "its event type can be none" in one], told)
        self.assertEqual(self.ids(), ["good"])

    def test_active_and_archived(self) -> None:
        """Of an aggregate that is both, the active one is taken, metadata or not."""

        def fill(store: Store) -> None:
            store.aggregate("order", "o-1", [event("made", 2_000, 1)])
            store.aggregate("order", "o-1", [event("made", 3_000, 2)], archived={"updated_at": 1})
            store.put(b"meta\x1forder\x1fo-1", b"{")
            store.aggregate("order", "o-2", [event("made", 4_000, 1)])
            store.aggregate("order", "o-2", [event("made", 5_000, 2)], archived={"updated_at": 1})
            store.drop(b"meta\x1forder\x1fo-2")

        told = self.accepted(fill)
        self.assertEqual(len([one for one in told if "active and archived at once" in one]), 2)
        self.assertEqual(self.ids(), ["good", "o-1", "o-2"])

    def test_archived_without_metadata(self) -> None:
        """An archived aggregate stays one when its metadata cannot be read, or are missing."""

        def fill(store: Store) -> None:
            for name in ("o-1", "o-2", "o-3"):
                times = {"archived_at": "2025-01-01T00:00:08Z", "archive_comment": 5}
                store.aggregate("order", name, [event("made", 2_000, 1)], archived=times)
            store.put(b"meta-arch\x1forder\x1fo-1", b"{")
            store.drop(b"meta-arch\x1forder\x1fo-2")

        self.accepted(fill)
        self.assertEqual(self.ids("--archived-only"), ["o-1", "o-2", "o-3"])

    def test_keys(self) -> None:
        """Rows that are nobody's are told of and left out."""

        def fill(store: Store) -> None:
            for key in (b"evt\x1forder", b"meta\x1forder", b"meta-arch\x1f\xff\x1fx",
                        b"snapshot\x1f\xff"):  # fmt: skip
                store.put(key, b"{}")

        told = self.accepted(fill)
        self.assertEqual(len(told), 4)

    def test_snapshots(self) -> None:
        """Snapshots that can be none, that come twice, or of versions that are not there, are
        told of."""

        def fill(store: Store) -> None:
            odd: tuple[dict[str, Any], ...] = (
                {"snapshot_id": 7}, {"snapshot_id": "7"}, {"snapshot_id": 1 << 64},
                {"snapshot_id": -1}, {"version": -1}, {"version": 1 << 70}, {"version": 9},
                {"comment": 5},
            )  # fmt: skip
            for number, more in enumerate(odd):
                record = {
                    "aggregate_type": "order", "aggregate_id": "good", "version": 1,
                    "state": {"a": "1"}, "merkle_root": "00", "comment": None,
                    "created_at": "2025-01-01T00:00:05.500Z", **more,
                }  # fmt: skip
                store.snapshot("order", "good", EPOCH_MS + number, record)

        self.assertEqual(len(self.accepted(fill)), 7)
        found = self.dbx("snapshots", "list", "--json").document
        self.assertEqual(len(found), 2)
        self.assertIn("7", [str(one["snapshot_id"]) for one in found])

    def test_another_key(self) -> None:
        """An archive of which nothing can be read does not replace anything."""
        store = Store(self.data / "event_store")
        store.aggregate("order", "good", [event("made", 1_000, {"a": 1})])
        store.close()
        config = config_of(str(self.home / "restored")) | {"data_encryption_key": "A" * 43 + "="}
        packed(self.data, self.archive, config)
        ended = self.attempt("restore", "--input", str(self.archive), "--accept-mismatches")
        self.assertEqual(ended.status, 1)
        self.assertIn("is its data encryption key the right one?", ended.stderr)
        self.assertFalse((self.home / "restored").exists())

    def test_layouts(self) -> None:
        """Of a domain in both layouts the later is taken; of one in two shards, none."""
        places = {"event_store": "first", "shards/shard-0001/tenants/default/event_store": "good",
                  "domains/no.name/event_store": "x"}  # fmt: skip
        for place, name in places.items():
            store = Store(self.data / place)
            store.aggregate("order", name, [event("made", 1_000, 1)])
            store.close()
        refused = self.restore()
        self.assertEqual(refused.status, 1)
        self.assertIn("event_store is left out: a later version has its domain", refused.stderr)
        self.assertIn("domains/no.name is left out", refused.stderr)
        ended = self.restore("--accept-mismatches")
        self.assertEqual(ended.document["imported"]["domains"], ["default"])
        self.assertEqual(self.ids(), ["good"])
        Store(self.data / "shards/shard-0002/tenants/default/event_store").close()
        refused = self.restore("--accept-mismatches", "--force")
        self.assertIn("holds two domains 'default': shards/shard-0002", refused.stderr)

    def test_tenants_and_programs(self) -> None:
        """Shards and quotas of tenants are taken over, and the programs of plugins."""
        store = Store(self.data / "shards" / "shard-0001" / "tenants" / "default" / "event_store")
        store.aggregate("order", "good", [event("made", 1_000, {"a": 1})])
        store.close()
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        tenants = rocksdict.Rdict(str(self.data / "tenant_meta"), options=options)
        tenants[b"people"] = json.dumps({"shard": "shard-0003", "storage_quota_mb": 5}).encode()
        tenants.close()
        folder = self.data / "plugins" / "p" / "1.0.0"
        folder.mkdir(parents=True)
        (folder / "program").write_text("#!/bin/sh\n")
        (folder / "program").chmod(0o755)
        ended = self.restore()
        self.assertEqual((ended.status, ended.document["imported"]["left_out"]), (0, []))
        found = json.loads((self.home / "restored" / "tenant_meta" / "tenants.json").read_text())
        self.assertEqual(found["tenants"], {"people": {"shard": "shard-0003",
                                                       "storage_quota_mb": 5}})  # fmt: skip
        program = self.home / "restored" / "plugins" / "p" / "1.0.0" / "program"
        self.assertTrue(program.stat().st_mode & stat.S_IXUSR)
