"""Backups over HTTP: archives in the server's folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.surfaces.admin.visiting import Visit


class BackupsTests(Visit):
    """A server whose data lies in a folder of its own."""

    server = "backups"

    def test_made_and_listed(self) -> None:
        """An archive is made beside the data; it is whole, listed, recorded, and verifies."""
        workspace = self.place.workspace
        workspace.attempt("aggregate", "create", "order", "o-1", "--event", "order_made")
        made = self.good(201, "POST", "/backups", {"name": "nightly"})
        path = Path(made["path"])
        self.assertEqual(path.name, "nightly.tar.gz")
        self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), made["sha256"])
        self.assertEqual(path.stat().st_size, made["bytes"])
        listed = self.good(200, "GET", "/backups")
        self.assertIn(("nightly.tar.gz", made["bytes"]), [(a["name"], a["bytes"]) for a in listed])
        self.assertIn("nothing is wrong", workspace.run("backup", "verify", str(path)))
        trail = json.loads(workspace.run("audit", "log", "--json"))
        self.assertIn("backup_created", json.dumps(trail))
        self.assertEqual(list(path.parent.parent.glob("*/.backup-*")), [])

    def test_taken(self) -> None:
        """A name that is taken is told so, and the archive stays."""
        made = self.good(201, "POST", "/backups", {"name": "once", "keys": False})
        self.assertFalse(made["keys"])
        self.good(409, "POST", "/backups", {"name": "once"})
        self.assertEqual(Path(made["path"]).stat().st_size, made["bytes"])

    def test_wrong_names(self) -> None:
        """No name leads out of the folder."""
        for name in ("../evil", "a/b", ".hidden", ""):
            self.good(422, "POST", "/backups", {"name": name})

    def test_repeated(self) -> None:
        """With an idempotency key the same request makes one archive."""
        first = self.good(201, "POST", "/backups", {}, Idempotency_Key="night-1")
        again = self.good(201, "POST", "/backups", {}, Idempotency_Key="night-1")
        self.assertEqual(first["path"], again["path"])
