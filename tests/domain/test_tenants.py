"""Shards and the lists of tenants."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.tenants import (
    TenantRecord,
    check_shard,
    default_shard,
    mib,
    shard_counts,
    tenant_rows,
)
from eventdbx.errors import ConfigError


class Shards(SynchronousTestCase):
    """The names of shards, and whose is whose."""

    def test_default(self) -> None:
        """Who is assigned to no shard has the one that version 3.19 would give it."""
        for tenant, shard in (
            ("default", "shard-0001"), ("people", "shard-0011"), ("payments", "shard-0012"),
        ):  # fmt: skip
            self.assertEqual(default_shard(tenant, 16), shard)
        self.assertEqual(default_shard("anything", 1), "shard-0000")

    def test_names(self) -> None:
        """A shard is named by label or number, whatever the number of zeros."""
        for text in "3", "03", " shard-0003 ", "shard-3":
            self.assertEqual(check_shard(text, 16), "shard-0003")
        self.assertEqual(check_shard("15", 16), "shard-0015")
        for text, said in (
            ("16", "shard '16' exceeds configured shard-count (16)"),
            ("shard-0099", "shard 'shard-0099' exceeds configured shard-count (16)"),
            ("x", "invalid shard id 'x'"),
            ("", "invalid shard id ''"),
            ("-1", "invalid shard id '-1'"),
            ("\u0663", "invalid shard id '\u0663'"),
            ("9" * 99, f"invalid shard id '{'9' * 64}'"),
        ):
            error = self.assertRaises(ConfigError, check_shard, text, 16)
            self.assertEqual(error.detail, said)

    def test_rows(self) -> None:
        """A list leaves out who has neither shard nor quota, and numbers those of a shard."""
        records = {
            "c": TenantRecord("shard-0001", None, None),
            "a": TenantRecord("shard-0001", 5, 2048),
            "b": TenantRecord(None, 0, None),
            "d": TenantRecord(None, None, 7),
            "e": TenantRecord("shard-0002", None, 1_048_577),
        }
        rows = [
            {"tenant": "a", "shard": "shard-0001", "quota_mb": 5, "usage_mb": 1, "shard_count": 1},
            {"tenant": "b", "quota_mb": 0},
            {"tenant": "c", "shard": "shard-0001", "shard_count": 2},
            {"tenant": "e", "shard": "shard-0002", "usage_mb": 2, "shard_count": 1},
        ]
        self.assertEqual(tenant_rows(records.items()), rows)
        self.assertEqual(tenant_rows(records.items(), "shard-0001"), [rows[0], rows[2]])
        self.assertEqual(shard_counts(records.items()), {"shard-0001": 2, "shard-0002": 1})

    def test_mib(self) -> None:
        """Sizes are rounded up."""
        self.assertEqual([mib(one) for one in (0, 1, 1 << 20, (1 << 20) + 1)], [0, 1, 1, 2])
