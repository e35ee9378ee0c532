"""``dbx restore`` of archives that the existing program made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.services.reference_archives import Store, config_of, event, packed, sealed
from tests.surfaces.command_line import CommandLineCase

KIM = {"group": "sales", "user": "kim"}


class ForeignArchives(CommandLineCase):
    """An archive with a default domain of some aggregates."""

    def setUp(self) -> None:
        super().setUp()
        self.data = self.home / "made"
        self.archive = self.home / "old.tar.gz"

    def pack(self) -> None:
        """Make the archive."""
        packed(self.data, self.archive, config_of(str(self.home / "restored")))

    def restore(self, *options: str) -> Any:
        """Restore it; return what was said as a document."""
        return self.attempt("restore", "--input", str(self.archive), "--json", *options)

    def fill(self, store: Store) -> None:
        """Write aggregates that are sound."""
        store.aggregate(
            "order",
            "o-1",
            [
                event("order_created", 5_000, {"total": 12, "who": "kim", "open": True},
                      by=KIM, note="first", extensions={"@traceId": "t"}),
                event("order_paid", 7_000, {"__eventdbx_encrypted": 1}, raw="order.paid"),
                event("order_noted", 9_000, None),
            ],
        )  # fmt: skip
        store.aggregate(
            "order",
            "o-10",
            [event("order_created", 6_000, {"total": 1.5e-7, "text": "ü\u2028"})],
            archived={"archived_at": "2025-01-01T00:00:08.000Z", "archive_comment": "old",
                      "updated_at": "2025-01-01T00:00:08.000Z"},
        )  # fmt: skip
        store.snapshot("order", "o-1", 1_735_689_605_500, {
            "aggregate_type": "order", "aggregate_id": "o-1", "version": 1,
            "state": {"total": "12", "who": "kim", "open": "true"}, "merkle_root": "00",
            "created_at": "2025-01-01T00:00:05.500Z", "comment": "auto snapshot v1",
        })  # fmt: skip

    def check_filled(self) -> None:
        """What :meth:`fill` wrote is there."""
        events = self.dbx("events", "--json", "--include-archived", "--take", "10").document
        told = {(one["aggregate_id"], one["version"]): one for one in events}
        first = told["o-1", 1]
        self.assertEqual(first["metadata"]["event_id"], str(5_000 << 22))
        self.assertEqual(first["metadata"]["created_at"], "2025-01-01T00:00:05Z")
        self.assertEqual(first["metadata"]["issued_by"], KIM)
        self.assertEqual(first["metadata"]["note"], "first")
        self.assertEqual(first["payload"], {"total": 12, "who": "kim", "open": True})
        self.assertIn("@traceId", json.dumps(first))
        self.assertEqual(told["o-1", 2]["payload"], {"__eventdbx_encrypted": 1})
        self.assertEqual(told["o-10", 1]["payload"], {"total": 1.5e-7, "text": "ü\u2028"})
        found = self.dbx("aggregate", "list", "--json", "--archived-only").document
        self.assertEqual([one["aggregate_id"] for one in found], ["o-10"])
        snapshots = self.dbx("snapshots", "list", "--json").document
        self.assertEqual([(one["version"], one["created_at"]) for one in snapshots],
                         [(1, "2025-01-01T00:00:05.500Z")])  # fmt: skip
        self.dbx("verify")

    def test_first_layout(self) -> None:
        """An archive of 3.9.13: events with ids, times and authors, archived ones, domains."""
        store = Store(self.data / "event_store")
        self.fill(store)
        store.close()
        other = Store(self.data / "domains" / "people" / "event_store", encrypted=False)
        other.aggregate("person", "p-1", [event("person_added", 1_000, {"name": "Ann"})])
        other.close()
        (self.data / "schemas.json").write_text(
            json.dumps({"order": {"aggregate": "order", "snapshot_threshold": None,
                                  "locked": False, "field_locks": [], "hidden": False,
                                  "hidden_fields": [], "column_types": {},
                                  "events": {"order_created": {"fields": []},
                                             "order_paid": {"fields": []},
                                             "order_noted": {"fields": []}},
                                  "created_at": "2025-01-01T00:00:00Z",
                                  "updated_at": "2025-01-01T00:00:00Z"}})
        )  # fmt: skip
        (self.data / "tokens.json").write_text(sealed("[]"))
        (self.data / "cli.token").write_text("aa.bb.cc\n")
        (self.data / "plugin_queue.db").mkdir()
        self.pack()
        ended = self.restore()
        self.assertEqual(ended.status, 0, ended.stderr)
        self.assertIn("plugin_queue.db", ended.stderr)
        imported = ended.document["imported"]
        self.assertEqual((imported["aggregates"], imported["events"]), (3, 5))
        self.assertEqual((imported["domains"], imported["mismatches"]), (["default", "people"], []))
        self.check_filled()
        self.assertFalse((self.home / "restored" / "cli.token").exists())
        self.assertIn("order_paid", self.dbx("schema", "order").stdout)
        self.dbx("aggregate", "apply", "order", "o-1", "order_noted", "--field", "a=1")
        self.dbx("checkout", "people")
        found = self.dbx("aggregate", "get", "person", "p-1").document
        self.assertEqual(found["state"], {"name": "Ann"})
        self.assertIn("standby1", self.dbx("remote", "ls").stdout)

    def test_second_layout(self) -> None:
        """An archive of 3.19.4: every domain is below a shard."""
        shards = self.data / "shards"
        store = Store(shards / "shard-0001" / "tenants" / "default" / "event_store")
        self.fill(store)
        store.close()
        other = Store(shards / "shard-0011" / "tenants" / "people" / "event_store")
        other.aggregate("person", "p-1", [event("person_added", 1_000, {"name": "Ann"})])
        other.close()
        (self.data / "plugins.json").write_text("[]")
        self.pack()
        ended = self.restore()
        self.assertEqual(ended.status, 0, ended.stderr)
        self.assertEqual(ended.document["imported"]["domains"], ["default", "people"])
        self.check_filled()

    def test_mismatches(self) -> None:
        """Whatever does not fit is listed, and nothing is restored unless that is accepted."""
        store = Store(self.data / "event_store")
        self.fill(store)
        store.aggregate("bad", "b-1", [event("made", 1_000, {"a": 1}, hash="0" * 64)])
        store.aggregate("bad", "b-2", [event("made", 2_000, 1)], version=7)
        three = [event("made", 3_000 + number, {"n": number}) for number in range(3)]
        store.aggregate("bad", "b-3", three, forget=2)
        store.aggregate("bad", "b-4", [event("made", 9_500, 1), event("made", 8_500, 2)])
        store.put(b"evt\x1fbad\x1fb-5\x1f" + (1).to_bytes(8, "big"), b"no JSON")
        store.close()
        self.pack()
        report = self.home / "report"
        ended = self.restore("--report", str(report))
        self.assertEqual(ended.status, 1)
        self.assertEqual(len(report.read_text().splitlines()), 5)
        for part in ("bad::b-1 v1: its hash is", "bad::b-2: its metadata is of version 7",
                     "bad::b-3 v2 is missing", "bad::b-4 v2: its event id",
                     "bad::b-5 v1 cannot be read", "--accept-mismatches"):  # fmt: skip
            self.assertIn(part, ended.stderr)
        self.assertFalse((self.home / "restored").exists())
        ended = self.restore("--accept-mismatches")
        self.assertEqual(ended.status, 0, ended.stderr)
        self.check_filled()
        found = self.dbx("events", "bad", "--json").document
        named = [(one["aggregate_id"], one["version"], one["payload"]) for one in found]
        self.assertEqual(
            named, [("b-1", 1, {"a": 1}), ("b-2", 1, 1), ("b-3", 1, {"n": 0}), ("b-4", 1, 1),
                    ("b-4", 2, 2)]
        )  # fmt: skip

    def test_wrong_key(self) -> None:
        """Without the key that sealed it, an archive is refused."""
        store = Store(self.data / "event_store")
        self.fill(store)
        store.close()
        config = config_of(str(self.home / "restored"))
        config["data_encryption_key"] = "A" * 43 + "="
        packed(self.data, self.archive, config)
        ended = self.restore()
        self.assertEqual(ended.status, 1)
        self.assertIn("failed to decrypt payload", ended.stderr)
        self.assertFalse((self.home / "restored").exists())

    def test_verify(self) -> None:
        """Such an archive can be verified without being restored."""
        store = Store(self.data / "event_store")
        self.fill(store)
        store.close()
        self.pack()
        shutil.rmtree(self.data)
        before = sorted(one for one in Path(self.home).iterdir())
        self.assertIn("nothing is wrong", self.dbx("backup", "verify", str(self.archive)).stdout)
        self.assertEqual(sorted(one for one in Path(self.home).iterdir()), before)
