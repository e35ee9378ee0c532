"""After a real erasure: old proofs hold, and bundles are proven without what is gone."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from tests.daemon import Workspace

SECRET = "Zaphod Beeblebrox"


class Erasing(SynchronousTestCase):
    """A server on which somebody asks to be forgotten."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.space = Workspace(Path(folder.name) / "database")
        self.space.start()
        self.addCleanup(self.space.stop)
        with BlockingClient("127.0.0.1", self.space.port, self.space.token) as client:
            for number in range(3):
                client.append("person", "p-1", "person_seen", {"name": SECRET, "n": number})
                client.append("order", "o-1", "order_changed", {"n": number})
        self.key = json.loads(self.space.run("checkpoint", "--json"))["key"]

    def check(self, name: str, *options: str) -> dict[str, Any]:
        """Return what the verifier says of a file."""
        words = ("audit", "check", name, "--key", self.key, "--json", *options)
        found: dict[str, Any] = json.loads(self.space.attempt(*words).stdout)
        return found

    def test_forgotten(self) -> None:
        """Nothing of the content is exported, all is proven, and what was shown before still is."""
        run, folder = self.space.run, self.space.folder
        run("proof", "event", "person", "p-1", "2", "--out", "before.tlog-proof")
        run("audit", "export", "--out", "before.dbx-audit")
        identifier = self.check("before.tlog-proof")["event"]["event_id"]
        (folder / "before.json").write_text(run("events", identifier, "--json"))
        run("erase", "aggregate", "person", "p-1", "--reason", "asked for", "--yes")
        run("audit", "export", "--out", "after.dbx-audit")
        run("proof", "event", "person", "p-1", "2", "--out", "after.tlog-proof")
        for name, erased, events in (("before.dbx-audit", 0, 6), ("after.dbx-audit", 3, 7)):
            found = self.check(name)
            self.assertEqual((found["erased"], found["events"], found["whole"]),
                             (erased, events, True))  # fmt: skip
        self.assertIn(
            "are as logged", self.check("before.tlog-proof", "--event", "before.json")["compared"]
        )
        after = self.check("after.tlog-proof", "--event", "before.json")
        self.assertFalse(after["proven"])
        self.assertIn("the salt was erased", after["reason"])
        (folder / "after.json").write_text(run("events", identifier, "--json"))
        self.assertNotIn(SECRET, (folder / "after.json").read_text())
        for name in ("after.tlog-proof", "after.dbx-audit"):
            said = self.check(name, "--event", "after.json")
            self.assertIn("no content to compare", said["compared"])

    def test_denied(self) -> None:
        """Who takes the erasure out of the bundle, too, is told that it is missing."""
        self.space.run("erase", "aggregate", "person", "p-1", "--reason", "asked for", "--yes")
        self.space.run("audit", "export", "person", "p-1", "--out", "p.dbx-audit")
        path = self.space.folder / "p.dbx-audit"
        lines = path.read_bytes().splitlines(keepends=True)
        last = lines[-1].replace(b'"events":4', b'"events":3')
        path.write_bytes(b"".join([*lines[:-2], last]))
        self.assertIn("the 3 events of person::p-1 are not the 4", self.check(path.name)["reason"])
