"""The audit trail of a real server: what clients do is recorded, and nobody can write it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient, Write
from eventdbx.errors import AggregateNotFound, EventDBXError, InvalidSchema, Unauthorized
from eventdbx.services.auditspool import spool_action
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import Workspace

TAKEN_OVER_S = 20.0


class ServerTests(SynchronousTestCase):
    """A server of its own for each test."""

    def setUp(self) -> None:
        self.place = Workspace(Path(self.mktemp()).absolute())
        self.place.start()
        self.addCleanup(self.place.stop)

    def client(self, token: str | None = None) -> BlockingClient:
        """Return a session, by default the operator's."""
        client = BlockingClient("127.0.0.1", self.place.port, token or self.place.token)
        self.addCleanup(client.close)
        return client

    def token(self, user: str, *options: str) -> str:
        """Issue a token of the group ops."""
        text = self.place.run(
            "token", "generate", "--group", "ops", "--user", user, "--json", *options
        )
        issued: str = json.loads(text)["token"]
        return issued

    def administer(self, client: BlockingClient, token: str, **operation: Any) -> dict[str, Any]:
        """Carry out an administrative operation."""
        return client.call(Calls(token).administer(operation))

    def trail(self, **query: Any) -> list[dict[str, Any]]:
        """Return the trail, newest first."""
        found = self.administer(self.client(), self.place.token, do="audit", **query)
        items: list[dict[str, Any]] = found["items"]
        return items

    def test_who_did_what(self) -> None:
        """Actor, token and peer of each change; nothing that was refused or changed nothing."""
        token = self.token("ada", "--action", "plugin.*", "--action", "schema.*")
        client = self.client(token)
        config = {"type": "log", "path": str(self.place.folder / "x.ndjson")}
        client.plugins({"do": "configure", "entry": {"name": "x", "config": config}})
        client.plugins({"do": "pause", "name": "x"})
        client.plugins({"do": "pause", "name": "x"})
        client.plugins({"do": "list"})
        self.assertRaises(Unauthorized, client.plugins, {"do": "drop"})
        change = {"do": "create", "aggregate": "order", "events": ["placed"]}
        client.call(Calls(token).schema({"do": "change", "changes": [change]}))
        again = Calls(token).schema({"do": "change", "changes": [change]})
        self.assertRaises(EventDBXError, client.call, again)
        found = self.trail(actor="ops/ada")
        self.assertEqual(
            [(one["event"], one["resource"], one["way"]) for one in found],
            [
                ("schemas_changed", "order", "control schemas.change"),
                ("plugin_paused", "x", "control plugins.pause"),
                ("plugin_configured", "x", "control plugins.configure"),
            ],
        )
        for one in found:
            self.assertEqual(one["actor"], {"group": "ops", "user": "ada"})
            self.assertEqual(one["peer"], "127.0.0.1")
            self.assertTrue(one["jti"])
            self.assertNotIn(token[-40:], str(one))

    def test_closed_to_everybody(self) -> None:
        """A token for everything cannot write, archive, snapshot or see it; only ask for it."""
        spool_action(self.place.folder / ".dbx", "tokens", "token_issued", "t", "test")
        until = time.monotonic() + TAKEN_OVER_S
        while not self.trail(area="tokens", resource="t"):
            self.assertLess(time.monotonic(), until, "the server did not take the spool over")
        client, calls = self.client(), Calls(self.place.token)
        names = ("dbx_admin", "tokens")
        for write in (
            lambda: client.append(*names, "forged", {}),
            lambda: client.create(*names, "forged", {}),
            lambda: client.patch(*names, "forged", [{"op": "add", "path": "/a", "value": 1}]),
            lambda: client.archive(*names),
            lambda: client.commit_batch([Write("append", *names, "forged", "{}")]),
        ):
            self.assertRaises(Unauthorized, write)
        self.assertRaises((Unauthorized, AggregateNotFound), client.snapshot, *names)
        self.assertIsNone(client.get(*names))
        self.assertRaises(AggregateNotFound, client.events, *names)
        self.assertEqual(client.list().items, [])
        self.assertEqual(client.call(calls.scan_events(take=10)).items, [])
        self.assertEqual(client.call(calls.follow("start")).events, [])
        schema = calls.schema(
            {"do": "change", "changes": [{"do": "create", "aggregate": names[0], "events": ["x"]}]}
        )
        self.assertRaises(InvalidSchema, client.call, schema)
        found = client.call(calls.verify_store(aggregate_type=names[0], aggregate_id=names[1]))
        self.assertEqual((found["checked"], found["findings"]), (1, []))
        blind = self.token("bob", "--action", "aggregate.*")
        for do in ("audit", "audit_verify"):
            self.assertRaises(Unauthorized, self.administer, self.client(blind), blind, do=do)
        auditor = self.token("eve", "--action", "audit.read")
        report = self.administer(self.client(auditor), auditor, do="audit_verify")
        self.assertEqual(report["findings"], [])
        self.assertIn("tokens", [one["area"] for one in report["areas"]])

    def test_spooled_beside_the_server(self) -> None:
        """What a command does to files is in the trail of the running server soon after."""
        self.place.run("config", "--list-page-size", "7")
        until = time.monotonic() + TAKEN_OVER_S
        while "dbx config" not in {
            one["way"] for one in self.trail(area="config", resource="list_page_size")
        }:
            self.assertLess(time.monotonic(), until, "the server did not take the spool over")
        self.assertFalse((self.place.folder / ".dbx" / "audit.spool").exists())

    def test_killed(self) -> None:
        """Whatever was acknowledged is in the trail after a kill, once, and proved."""
        client = self.client()
        client.plugins({"do": "configure", "entry": {"name": "x", "config": {"type": "log"}}})
        for _round in range(3):
            client = self.client()
            client.plugins({"do": "pause", "name": "x"})
            client.plugins({"do": "resume", "name": "x"})
            self.place.stop(signal.SIGKILL)
            self.place.start()
        events = [one["event"] for one in self.trail(resource="x")]
        self.assertEqual(events, ["plugin_resumed", "plugin_paused"] * 3 + ["plugin_configured"])
        report = self.administer(self.client(), self.place.token, do="audit_verify")
        self.assertEqual(report["findings"], [])
        self.assertIn("verified", self.place.run("verify"))
