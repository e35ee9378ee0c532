"""The clients that programs import, against a running daemon."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.client import BlockingClient, Client, Write
from eventdbx.errors import (
    AggregateNotFound,
    ConfigError,
    ContractViolation,
    EventDBXError,
    InvalidCursor,
    IoError,
    SchemaViolation,
    SerializationError,
)
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import ROOT, free_port, running
from tests.surfaces.test_transport import CountingSocket


class Blocking(SynchronousTestCase):
    """The client that waits."""

    def setUp(self) -> None:
        """Open a session."""
        space = running()
        self.client = BlockingClient("127.0.0.1", space.port, space.token)
        self.addCleanup(self.client.close)

    def test_refused_write(self) -> None:
        """The error of a batch tells which write was refused, whether it is read or held."""
        good = Write("append", "batch", "b-1", "made", "{}")
        for bad in (
            good._replace(content="{"),
            good._replace(expected_version=9),
        ):
            with self.assertRaises(EventDBXError) as caught:
                self.client.commit_batch([good, good, bad, bad])
            self.assertEqual(caught.exception.write, 2)
        with self.assertRaises(EventDBXError) as caught:
            self.client.append("batch", "b-1", "made", "{")
        self.assertIsNone(caught.exception.write)
        self.assertIsNone(self.client.get("batch", "b-1"))

    def test_sent_ahead(self) -> None:
        """A call may be sent some time before its answer is asked for."""
        call = Calls(running().token).commit_batch(
            [Write("append", "ahead", "a-1", "made", "{}")], answer="receipts"
        )
        number = self.client.start(call)
        self.assertEqual([one["version"] for one in self.client.finish(call, number)], [1])
        found = self.client.get("ahead", "a-1")
        assert found is not None
        self.assertEqual(found["version"], 1)

    def test_every_violation(self) -> None:
        """An event that a schema refuses is refused with everything that is wrong with it."""
        columns = {"mail": {"type": "text", "format": "email"}, "a/b": "integer"}
        schema = {"column_types": columns, "events": {"visited": {"fields": []}}}
        put = {"do": "put_schema", "aggregate": "visitor", "schema": schema}
        self.client.schema({"do": "change", "changes": [put]})
        with self.assertRaises(ContractViolation) as caught:
            self.client.append("visitor", "v-1", "visited", {"mail": "x", "a/b": "y"})
        error = caught.exception
        self.assertEqual(str(error), "schema violation: field a/b must be an integer")
        self.assertEqual(
            [(one["pointer"], one["rule"], one["message"]) for one in error.violations],
            [
                ("/a~1b", "type", "field a/b must be an integer"),
                ("/mail", "format", "field mail must be a valid email address"),
            ],
        )
        long = {"x" * 200_000: 1}
        listed = {"events": {"visited": {"fields": ["mail"]}}}
        put = {"do": "put_schema", "aggregate": "visitor", "schema": listed}
        self.client.schema({"do": "change", "changes": [put]})
        with self.assertRaises(SchemaViolation):
            self.client.append("visitor", "v-1", "visited", {"mail": 1, **long})

    def test_operations_that_are_no_json(self) -> None:
        """What JSON cannot say is refused before it is sent, and the session goes on."""
        for wrong in ("\ud800", 2**64, object()):
            with self.assertRaises(SerializationError):
                self.client.schema({"do": "validate", "payload": wrong})
        self.assertIn("digest", self.client.schema({"do": "list"}))

    def test_without_twisted(self) -> None:
        """A program that waits does not load Twisted."""
        check = "import sys, eventdbx.client; raise SystemExit('twisted' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False)
        self.assertEqual(done.returncode, 0)

    def test_life_of_an_aggregate(self) -> None:
        """Created, appended to, patched, read, selected, verified, archived and restored."""
        client, name = self.client, ("order", "life")
        created = client.create(*name, "order_created", {"total": 1, "tags": ["a"]})
        assert created is not None
        self.assertEqual(created["version"], 1)
        appended = client.append(*name, "order.paid", {"paid": True}, note="n")
        assert appended is not None
        self.assertEqual(appended["metadata"]["note"], "n")
        client.patch(*name, "order_tagged", [{"op": "add", "path": "/tags/-", "value": "b"}])
        client.apply(*name, "order_sent", {"sent": True}, expected_version=3)
        found = client.get(*name)
        assert found is not None
        self.assertEqual(
            found["state"], {"paid": "true", "sent": "true", "tags": '["a","b"]', "total": "1"}
        )
        self.assertEqual(client.select(*name, "tags.1", "no"), {"no": None, "tags.1": "b"})
        page = client.events(*name, take=3)
        self.assertEqual([event["version"] for event in page.items], [1, 2, 3])
        rest = client.events(*name, cursor=page.next_cursor)
        self.assertEqual([event["version"] for event in rest.items], [4])
        self.assertEqual(client.verify(*name), found["merkle_root"])
        archived = client.archive(*name, "old")
        assert archived is not None
        self.assertTrue(archived["archived"])
        self.assertNotIn("archived", client.restore(*name) or {})

    def test_snapshots_and_history(self) -> None:
        """Snapshots are kept and found; history shows the state at a version."""
        client, name = self.client, ("order", "past")
        client.create(*name, "order_created", {"n": 1})
        kept = client.snapshot(*name, "first")
        client.append(*name, "order_counted", {"n": 2})
        self.assertEqual(client.snapshots(*name), [kept])
        self.assertEqual(client.snapshot_get(int(kept["snapshot_id"])), kept)
        self.assertIsNone(client.snapshot_get(1))
        self.assertEqual(client.referrers(*name), [])
        past = client.aggregate_at(*name, version=1, include_events=True)
        self.assertEqual(past["aggregate"]["state"], {"n": "1"})
        self.assertEqual(len(past["events"]), 1)

    def test_batch(self) -> None:
        """A batch is written as a whole; repeated under its key it is not written again."""
        writes = [Write("append", "batch", str(n), "batch_made", "{}") for n in range(3)]
        first = self.client.commit_batch(writes, idempotency_key="once")
        self.assertEqual([receipt["version"] for receipt in first], [1, 1, 1])
        self.assertEqual(self.client.commit_batch(writes, idempotency_key="once"), first)
        events = self.client.commit_batch(writes, answer="events")
        self.assertEqual([event["version"] for event in events], [2, 2, 2])
        listed = self.client.scan_aggregates(aggregate_type="batch", take=2)
        self.assertEqual(len(listed.items), 2)
        rest = self.client.scan_aggregates(aggregate_type="batch", cursor=listed.next_cursor)
        self.assertEqual(len(rest.items), 1)
        self.assertEqual(len(self.client.scan_events(aggregate_type="batch").items), 6)

    def test_large(self) -> None:
        """Payloads beyond a frame go out and come back."""
        text = "x" * 200_000
        event = self.client.append("order", "large", "order_filled", {"text": text})
        assert event is not None
        self.assertEqual(event["payload"], {"text": text})
        whole = self.client.aggregate_at("order", "large")
        self.assertEqual(whole["aggregate"]["state"], {"text": text})

    def test_the_rest(self) -> None:
        """Lists, the outbox, verification of the store, status."""
        self.client.append("order", "rest", "order_made", {})
        self.assertTrue(self.client.list(take=1).items)
        self.assertTrue(self.client.outbox(take=1).items)
        self.assertEqual(self.client.verify_store()["findings"], [])
        self.assertEqual(self.client.status()["domain"], "default")

    def test_errors(self) -> None:
        """Each error code comes back as its class, with the server's words."""
        client = self.client
        client.append("order", "error", "order_made", {})
        for kind, call in (
            (SchemaViolation, lambda: client.create("order", "error", "order_made", {})),
            (SchemaViolation, lambda: client.append("order", "error", "order_made", {},
                                                    expected_version=7)),
            (AggregateNotFound, lambda: client.apply("order", "nobody", "order_made", {})),
            (InvalidCursor, lambda: client.list(cursor="x")),
            (SerializationError, lambda: client.get("order", "\ud800")),
        ):  # fmt: skip
            self.assertRaises(kind, call)
        self.assertIsNone(client.get("order", "nobody"))

    def test_unreachable(self) -> None:
        """No server, a refused token: each is one clear error."""
        port = free_port()
        error = self.assertRaises(IoError, BlockingClient, "127.0.0.1", port, "t")
        self.assertIn(f"cannot connect to 127.0.0.1:{port}", str(error))
        refused = self.assertRaises(ConfigError, BlockingClient, "127.0.0.1", running().port, "t")
        self.assertIn("invalid control token", str(refused))


class Pipelining(TestCase):
    """The client for Twisted."""

    async def connect(self, token: str | None = None) -> Client:
        """Open a session."""
        space = running()
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", space.port)
        return await Client.connect(endpoint, token or space.token)

    async def test_many_in_flight(self) -> None:
        """Calls that do not wait for each other are answered in order, errors in their place."""
        client = await self.connect()
        calls = [client.append("order", "many", "order_made", {"n": n}) for n in range(100)]
        bad = client.create("order", "many", "order_made", {})
        reading = client.get("order", "many")
        versions = [event["version"] for event in await gatherResults(calls) if event]
        self.assertEqual(versions, list(range(1, 101)))
        await self.assertFailure(bad, SchemaViolation)
        found: dict[str, Any] | None = await reading
        assert found is not None
        self.assertEqual(found["version"], 100)
        await self.assertFailure(client.get("order", "\ud800"), SerializationError)
        await client.close()
        await self.assertFailure(client.get("order", "many"), IoError)

    async def test_few_writes(self) -> None:
        """A call leaves at once; those made behind it, or when answers come, leave together."""
        client = await self.connect()
        self.addCleanup(client.close)
        await deferLater(reactor, 0)  # Until now we were called by what received an answer.
        transport: Any = client._protocol.transport
        transport.socket = watched = CountingSocket(transport.socket)

        def again(_answer: object) -> Deferred[Any]:
            return client.get("order", "nobody")

        calls = [client.get("order", "nobody")]
        self.assertEqual(watched.calls, ["send"])
        calls += [client.get("order", "nobody").addCallback(again) for _call in range(50)]
        await gatherResults(calls)
        # One for the fifty; after that one for each time that answers came.
        came = watched.calls.count("recv")
        self.assertLessEqual(watched.calls.count("send"), 2 + came)
        self.assertLess(came, 50)

    async def test_refused(self) -> None:
        """A refused token is one clear error."""
        try:
            await self.connect("t")
        except ConfigError as error:
            self.assertIn("invalid control token", str(error))
        else:
            self.fail("the token was accepted")
