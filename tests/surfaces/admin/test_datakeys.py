"""Data keys over HTTP: who sees what of them, and a new one while requests go on."""

from __future__ import annotations

import json

from tests.surfaces.admin.visiting import Visit


class DataKeysTests(Visit):
    """A server with an encrypted domain, and a second domain on its disk."""

    server = "data keys"

    def test_rotated(self) -> None:
        """The key is changed, the stores follow, and everything is read as before."""
        workspace = self.place.workspace
        workspace.attempt("aggregate", "create", "order", "o-1", "--event", "order_made")
        before = self.good(200, "GET", "/data-keys")
        changed = self.good(200, "POST", "/data-keys/rotate")["changed"]
        self.assertIn("data_encryption_key", changed)
        workspace.run("keys", "seal")  # Returns when nothing is under way.
        found = self.good(200, "GET", "/data-keys")
        self.assertEqual(found["older_keys"], before["older_keys"] + 1)
        self.assertFalse(found["older_keys_needed"])
        self.assertEqual(found["domains"][0]["wrapped_by"], "present")
        self.assertEqual(found["domains"][0]["plain"], 0)
        self.assertTrue(self.good(200, "GET", "/aggregates/order/o-1")["aggregate_id"])

    def test_of_no_other_domain(self) -> None:
        """A token that is for one domain does not learn that there are others."""
        workspace = self.place.workspace
        folder = workspace.folder / ".dbx" / "domains" / "hidden-one" / "event_store"
        folder.mkdir(parents=True, exist_ok=True)
        names = [one["domain"] for one in self.good(200, "GET", "/data-keys")["domains"]]
        self.assertIn("hidden-one", names)
        given = ("--action", "config.read", "--resource", "*", "--tenant", "default", "--json")
        made = workspace.run("token", "generate", "--group", "ops", "--user", "kim", *given)
        token = json.loads(made)["token"]
        shown = self.good(200, "GET", "/data-keys", token=token)
        self.assertEqual([one["domain"] for one in shown["domains"]], ["default"])
