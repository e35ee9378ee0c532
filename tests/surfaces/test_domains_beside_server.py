"""Domains on the command line while a server runs."""

from __future__ import annotations

import atexit
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Workspace


@cache
def running() -> Workspace:
    """Return one server for all tests of a process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    space = Workspace(Path(folder.name) / "database")
    space.run("aggregate", "create", "item", "i-1", "--event", "item_made")
    space.start()
    atexit.register(space.stop)
    return space


class BesideServer(SynchronousTestCase):
    """One server; each test has domains of its own."""

    def setUp(self) -> None:
        self.space = running()

    def listed(self) -> dict[str, Any]:
        """Return the domains by name."""
        found = json.loads(self.space.run("list", "--json"))
        return {one["domain"]: one for one in found}

    def create(self, domain: str, identifier: str) -> None:
        """Create an aggregate in a domain."""
        command = ("aggregate", "create", "order", identifier, "--event", "order_made")
        self.space.run(*command, "--domain", domain)

    def test_counted_by_the_server(self) -> None:
        """Open domains and others are counted; what was just written is among it."""
        self.space.run("checkout", "--create", "shop")
        self.addCleanup(self.space.run, "checkout", "default")
        self.assertEqual(self.listed()["shop"]["events"], 0)
        self.create("shop", "o-1")
        self.create("shop", "o-2")
        self.space.run("aggregate", "archive", "order", "o-2")
        found = self.listed()
        self.assertEqual(
            found["shop"],
            {
                "domain": "shop", "active": True, "active_aggregates": 1,
                "archived_aggregates": 1, "total_aggregates": 2, "events": 2,
            },
        )  # fmt: skip
        self.assertEqual(found["default"]["total_aggregates"], 1)
        self.assertFalse(found["default"]["active"])

    def test_a_new_domain_is_served(self) -> None:
        """Without a restart, to whoever names it; what the server has as its own is said."""
        done = self.space.attempt("checkout", "-c", "fresh")
        self.addCleanup(self.space.run, "checkout", "default")
        self.assertIn("Created domain 'fresh'", done.stdout)
        self.assertIn("dbx restart", done.stderr)
        self.space.run("aggregate", "create", "order", "o-1", "--event", "order_made")
        self.assertIn("o-1", self.space.run("aggregate", "list"))
        self.assertNotIn("o-1", self.space.run("aggregate", "list", "--domain", "default"))
        self.assertIn("verified 1 aggregate(s)", self.space.run("verify"))

    def test_a_domain_that_is_not_there(self) -> None:
        """--domain does not make one, nor does the server."""
        done = self.space.attempt("aggregate", "list", "--domain", "typo")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("domain 'typo' does not exist", done.stderr)
        address = f"127.0.0.1:{self.space.port}"
        done = self.space.attempt("--socket", address, "--domain", "typo", "aggregate", "list")
        self.assertIn("domain 'typo' does not exist", done.stderr)
        self.assertNotIn("typo", self.listed())

    def test_what_needs_a_stopped_server(self) -> None:
        """Merging and deleting are refused, and nothing is changed."""
        self.space.run("checkout", "-c", "kept")
        self.create("kept", "o-1")
        self.space.run("checkout", "default")
        before = self.listed()
        said = f"(pid {self.space.process_id}); stop it before merging"
        for command in (
            ("merge", "--from", "kept"),
            ("checkout", "--delete", "kept", "--force"),
        ):
            done = self.space.attempt(*command)
            self.assertEqual(done.returncode, 1)
            self.assertIn("server appears to be running for domain 'kept'", done.stderr)
            self.assertIn(said, done.stderr)
        self.assertEqual(self.listed(), before)
