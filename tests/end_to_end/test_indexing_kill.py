"""A large type whose references come to be indexed: appends go on, and kill -9 loses nothing."""

from __future__ import annotations

import json
import re
import signal
from itertools import count
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.domain.commands import Write
from eventdbx.errors import SchemaViolation
from tests.daemon import Workspace

FARMS = 20_000
BATCH = 500
OWNED = {
    "farm": {
        "column_types": {
            "owner": {
                "type": "text",
                "format": "reference",
                "reference": {"integrity": "weak", "cascade": "restrict"},
            }
        },
        "events": {"met": {"fields": []}},
    }
}


class IndexingKill(SynchronousTestCase):
    """Farms from before their schema, of one owner."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.space.start()
        client = self.connect()
        client.append("person", "p-1", "met", {})
        for first in range(0, FARMS, BATCH):
            client.commit_batch(
                [
                    Write("append", "farm", f"f-{number}", "met", '{"owner":"person#p-1"}')
                    for number in range(first, first + BATCH)
                ]
            )

    def connect(self) -> BlockingClient:
        """Return a new client."""
        client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(client.close)
        return client

    def progress(self, client: BlockingClient) -> int | None:
        """Return how many farms are indexed, None once all are: who refers is told then."""
        try:
            client.scan_referrers("person", "p-1", take=1)
        except SchemaViolation as error:
            found = re.search(r"references of farm .* \((\d+) aggregates so far\)", error.detail)
            assert found is not None, error.detail
            return int(found[1])
        return None

    def all_referrers(self, client: BlockingClient) -> list[dict[str, Any]]:
        """Return all that refer to the owner."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = client.scan_referrers("person", "p-1", cursor, 1_000)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def test_appends_go_on(self) -> None:
        """Appends of another connection are acknowledged before the index is whole; archiving
        waits for it."""
        client, other = self.connect(), self.connect()
        client.schema({"do": "replace", "schemas": OWNED})
        between = 0
        for number in count():
            other.append("farm", f"g-{number}", "met", {"owner": "person#p-1"})
            if self.progress(client) is None:
                break
            between += 1
            if number == 0:
                error = self.assertRaises(SchemaViolation, client.archive, "person", "p-1")
                self.assertIn("cannot be archived", error.detail)
        self.assertGreater(between, 5)
        self.assertEqual(len(self.all_referrers(client)), FARMS + number + 1)
        self.check()

    def test_kill(self) -> None:
        """What is left after each kill is done by the next server."""
        self.connect().schema({"do": "replace", "schemas": OWNED})
        kills, reached = 0, 0
        while True:
            client = self.connect()
            now = self.progress(client)
            if now is None:
                break
            self.assertGreaterEqual(now, reached)
            reached = now
            if kills < 3:
                self.space.stop(signal.SIGKILL)
                self.space.start()
                kills += 1
        self.assertGreater(kills, 0)
        self.assertEqual(len(self.all_referrers(client)), FARMS)
        self.check()

    def test_command_without_a_server(self) -> None:
        """A command that opens the store itself does what is left, before its own work."""
        self.connect().schema({"do": "replace", "schemas": OWNED})
        self.space.stop(signal.SIGKILL)
        self.space.run("aggregate", "create", "person", "p-2", "--event", "met")
        printed = json.loads(self.space.run("aggregate", "referrers", "person", "p-1", "--json"))
        self.assertEqual(len(printed), FARMS)
        self.check()

    def check(self) -> None:
        """Index and states agree."""
        self.space.stop()
        self.space.run("verify")
