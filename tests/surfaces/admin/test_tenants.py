"""Tenants over HTTP: recorded, measured, looked at by whom they concern, and in the audit trail."""

from __future__ import annotations

import json
import os

from eventdbx.domain.tenants import default_shard
from eventdbx.errors import TenantQuota
from eventdbx.surfaces.control.blocking import BlockingClient
from tests.surfaces.admin.visiting import Visit


class TenantsTests(Visit):
    """A server of its own, for the trail is counted."""

    server = "tenants"

    def test_life(self) -> None:
        """A tenant is recorded before it is there, shown, changed and forgotten."""
        self.refused(404, "GET", "/tenants/acme")
        made = self.good(200, "PUT", "/tenants/Acme", {"shard": "3", "quota_mb": 5})
        self.assertEqual(
            made,
            {"tenant": "acme", "shard": "shard-0003", "assigned": True, "quota_mb": 5,
             "usage_bytes": None, "usage_mb": None},
        )  # fmt: skip
        self.assertEqual(self.good(200, "GET", "/tenants/acme"), made)
        self.assertIn(made, self.good(200, "GET", "/tenants"))
        changed = self.good(200, "PUT", "/tenants/acme", {"quota_mb": 6})
        self.assertEqual(
            (changed["shard"], changed["assigned"]), (default_shard("acme", 16), False)
        )
        self.assertEqual(changed["quota_mb"], 6)
        self.assertEqual(self.good(200, "PUT", "/tenants/acme/quota", {"max_mb": 7})["quota_mb"], 7)
        self.assertEqual(self.good(200, "POST", "/tenants/acme/usage")["usage_bytes"], 0)
        self.good(204, "DELETE", "/tenants/acme/quota")
        self.assertIsNone(self.good(200, "GET", "/tenants/acme")["quota_mb"])
        self.good(204, "DELETE", "/tenants/acme")
        self.refused(404, "DELETE", "/tenants/acme")
        self.refused(404, "GET", "/tenants/acme")
        self.refused(404, "POST", "/tenants/acme/usage")
        self.refused(404, "POST", "/tenants/acme/reload")
        self.assertFalse((self.place.workspace.folder / ".dbx" / "domains").exists())

    def test_refused(self) -> None:
        """What is no shard, quota or name is refused, and nothing is recorded."""
        before = self.good(200, "GET", "/tenants")
        self.refused(400, "PUT", "/tenants/acme", {"shard": "16"})
        self.refused(400, "PUT", "/tenants/a%20b", {"shard": "1"})
        for body in {"quota_mb": -1}, {"quota_mb": "5"}, {"shard": 3}, {"quota_mb": 1 << 65}:
            self.assertIn(self.call("PUT", "/tenants/acme", body).status, (400, 422))
        self.assertIn(self.call("PUT", "/tenants/acme/quota", {}).status, (400, 422))
        self.assertEqual([one["tenant"] for one in self.good(200, "GET", "/tenants")],
                         [one["tenant"] for one in before])  # fmt: skip

    def test_domain_without_a_record(self) -> None:
        """A domain is shown with what it stores, though nothing is recorded of it."""
        shown = self.good(200, "GET", "/tenants/default")
        self.assertEqual((shown["shard"], shown["assigned"]), ("shard-0001", False))
        self.assertGreater(shown["usage_bytes"], 0)
        self.assertTrue(self.good(200, "POST", "/tenants/default/reload")["reloaded"])

    def test_counts_at_once(self) -> None:
        """A quota that is set over HTTP holds in a session that is open already."""
        place = self.place.workspace
        with BlockingClient("127.0.0.1", place.port, self.token) as client:
            client.append("order", "o-1", "made", {})
            self.good(200, "PUT", "/tenants/default/quota", {"max_mb": 0})
            self.assertRaises(TenantQuota, client.append, "order", "o-1", "made", {})
            self.good(204, "DELETE", "/tenants/default/quota")
            client.append("order", "o-1", "made", {"text": os.urandom(10).hex()})

    def test_recorded(self) -> None:
        """Each change is in the trail, by who asked for it; what changed nothing is not."""
        self.good(200, "PUT", "/tenants/trailed", {"shard": "1", "quota_mb": 5})
        self.good(200, "PUT", "/tenants/trailed", {"shard": "shard-0001", "quota_mb": 5})
        self.good(200, "PUT", "/tenants/trailed/quota", {"max_mb": 5})
        self.good(204, "DELETE", "/tenants/trailed")
        found = [
            one
            for one in self.good(200, "GET", "/audit?area=tenants&limit=50")
            if one["resource"] == "trailed"
        ]
        self.assertEqual([one["event"] for one in found], ["tenant_removed", "tenant_stored"])
        self.assertEqual(found[1]["details"], {"shard": "shard-0001", "quota_mb": 5})

    def test_of_no_other_tenant(self) -> None:
        """A token of some tenants neither sees nor changes others."""
        self.good(200, "PUT", "/tenants/mine", {"quota_mb": 1})
        self.good(200, "PUT", "/tenants/theirs", {"quota_mb": 2})
        given = ("--action", "tenant.manage", "--tenant", "mine", "--tenant", "default", "--json")
        made = self.place.workspace.run("token", "generate", "--group", "ops", "--user", "kim",
                                        *given)  # fmt: skip
        token = json.loads(made)["token"]
        names = [one["tenant"] for one in self.good(200, "GET", "/tenants", token=token)]
        self.assertEqual(names, ["default", "mine"])
        self.good(200, "PUT", "/tenants/mine/quota", {"max_mb": 3}, token=token)
        for method, path, body in (
            ("GET", "/tenants/theirs", None), ("PUT", "/tenants/theirs", {}),
            ("DELETE", "/tenants/theirs", None), ("POST", "/tenants/theirs/usage", None),
        ):  # fmt: skip
            self.assertIn(self.call(method, path, body, token=token).status, (401, 403), path)
        self.assertEqual(self.good(200, "GET", "/tenants/theirs")["quota_mb"], 2)
