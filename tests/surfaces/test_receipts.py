"""Receipts: what a write is answered with beside the usual, over the socket of a running server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.application.checkpoint_keys import signer_of, verify
from eventdbx.client import BlockingClient, Client
from eventdbx.domain.checkpoints import Trust
from eventdbx.domain.commands import Write
from eventdbx.domain.proofdocuments import NO_SALT, Proven, check_file
from eventdbx.errors import AggregateNotFound, ConfigError, SchemaViolation
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.calls import Call
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_client import Reply
from tests.daemon import Workspace, running


def trust_of(space: Workspace) -> Trust:
    """Return what believes the log of a server."""
    config = str(space.folder / ".dbx" / "config.toml")
    opened = open_workspace(config, environ={"HOME": os.fspath(space.folder)})
    key = signer_of(opened.config.integrity).log_key("default")
    return Trust(key.name, (key,))


def names() -> Iterator[str]:
    """Yield new ids of aggregates."""
    while True:
        yield f"r-{uuid.uuid4()}"


class ReceiptCase(SynchronousTestCase):
    """A client of a server."""

    def setUp(self) -> None:
        self.space = running()
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)
        self.trust = trust_of(self.space)
        self.names = names()

    def check(self, document: dict[str, Any]) -> Proven:
        """Check the receipt in an answer with nothing but the key of the log."""
        return check_file(document["receipt"].encode(), self.trust, verify)

    def ask(self, request: Any) -> dict[str, Any]:
        """Send a request as clients of the published protocol do; return the document."""
        call: Call[Any] = Call(request, lambda reply: reply)
        reply: Reply = self.client.call(call)
        found: dict[str, Any] = orjson.loads(reply.texts[0])
        return found


class Receipts(ReceiptCase):
    """Each kind of write."""

    def test_single_writes(self) -> None:
        """The answer is the usual one, and the proof of that event."""
        name = next(self.names)
        created = self.client.create("order", name, "made", {"n": 1}, receipt=True)
        appended = self.client.append("order", name, "paid", {"n": 2}, receipt=True)
        applied = self.client.apply("order", name, "paid", {"n": 3}, receipt=True)
        patch = [{"op": "add", "path": "/m", "value": 4}]
        patched = self.client.patch("order", name, "changed", patch, receipt=True)
        answers = [created, appended, applied, patched]
        for version, answer in enumerate(answers, 1):
            assert answer is not None
            proven = self.check(answer)
            assert proven.leaf is not None
            self.assertEqual(answer["version"], version)
            self.assertEqual((proven.leaf.aggregate_id, proven.leaf.version), (name, version))
            self.assertNotEqual(proven.salt, NO_SALT)
        assert patched is not None
        events = self.client.events("order", name).items
        self.assertEqual(
            events[3], {key: value for key, value in patched.items() if key != "receipt"}
        )

    def test_published_requests(self) -> None:
        """Clients that set the option in a published request find the receipt in its document."""
        name, token = next(self.names), self.space.token
        made = self.ask(rq.CreateAggregate(token, "order", name, "made", '{"n":1}', receipt=True))
        self.assertEqual(made["version"], 1)
        self.check(made)
        event = self.ask(rq.AppendEvent(token, "order", name, "paid", '{"n":2}', receipt=True))
        self.assertEqual(event["payload"], {"n": 2})
        proven = self.check(event)
        assert proven.leaf is not None
        self.assertEqual(proven.leaf.hash.hex(), event["hash"])

    def test_no_room(self) -> None:
        """An answer that fills its frame says that the receipt does not fit; it was written."""
        name, token = next(self.names), self.space.token
        content = orjson.dumps({"t": "x" * 64_600}).decode()
        event = self.ask(rq.AppendEvent(token, "order", name, "made", content, receipt=True))
        self.assertEqual(event["receipt"], None)
        self.assertIn("no room", event["receipt_problem"])
        self.assertEqual(event["version"], 1)
        larger = self.client.append("order", name, "made", {"t": "y" * 100_000}, receipt=True)
        assert larger is not None
        self.check(larger)

    def test_without(self) -> None:
        """Whoever does not ask for one gets the answer as ever."""
        name = next(self.names)
        event = self.client.append("order", name, "made", {"n": 1})
        assert event is not None
        self.assertNotIn("receipt", event)
        batch = (Write("append", "order", name, "paid", "{}"),)
        self.assertEqual(
            set(self.client.commit_batch(batch)[0]), {"version", "event_id", "merkle_root"}
        )

    def test_batch_of_proofs(self) -> None:
        """A batch may be answered with the proofs of all its events, under one checkpoint."""
        name = next(self.names)
        writes = [Write("append", "order", name, "made", f'{{"n":{n}}}') for n in range(25)]
        answers = self.client.commit_batch(writes, answer="proofs")
        proven = [self.check(answer) for answer in answers]
        self.assertEqual([one.leaf and one.leaf.version for one in proven], list(range(1, 26)))
        self.assertEqual(len({one.checkpoint.size for one in proven}), 1)
        self.assertEqual(
            [one.leaf and str(one.leaf.event_id) for one in proven],
            [answer["event_id"] for answer in answers],
        )

    def test_some_of_a_batch(self) -> None:
        """Single writes of a batch may ask for theirs, whatever the batch is answered with."""
        name = next(self.names)
        writes = [
            Write("append", "order", name, "made", "{}", receipt=number == 1) for number in range(3)
        ]
        for answer in ("events", "aggregates", "receipts"):
            found = self.client.commit_batch(writes, answer=answer)
            self.assertEqual(
                [one.get("receipt") is not None for one in found], [False, True, False]
            )
            self.check(found[1])

    def test_retry(self) -> None:
        """A retry with the same key gets the receipt of the event that was written first."""
        name = next(self.names)
        options = {"idempotency_key": "once", "receipt": True}
        first = self.client.append("order", name, "made", {"n": 1}, **options)
        self.client.append("order", name, "paid", {"n": 2})
        again = self.client.append("order", name, "made", {"n": 1}, **options)
        plain = self.client.append("order", name, "made", {"n": 1}, idempotency_key="once")
        assert first is not None and again is not None and plain is not None
        self.assertEqual((first["hash"], again["hash"]), (plain["hash"], plain["hash"]))
        proven = self.check(again)
        assert proven.leaf is not None
        self.assertEqual(proven.leaf.version, 1)

    def test_refused_writes(self) -> None:
        """A refused write is refused as without a receipt, and writes nothing."""
        name = next(self.names)
        self.assertRaises(
            AggregateNotFound, self.client.apply, "order", name, "made", {}, receipt=True
        )
        self.client.append("order", name, "made", {})
        self.assertRaises(
            SchemaViolation, self.client.append, "order", name, "made", {},
            expected_version=5, receipt=True,
        )  # fmt: skip
        self.assertEqual(len(self.client.events("order", name).items), 1)

    def test_hidden(self) -> None:
        """The writer of what schemas hide gets a receipt without the salt that would tell it."""
        kind = f"vault{uuid.uuid4().hex}"
        schema = {"aggregate": kind, "hidden_fields": ["code"], "events": {"made": {"fields": []}}}
        change = {"do": "put_schema", "aggregate": kind, "schema": schema}
        self.client.schema({"do": "change", "changes": [change]})
        first = self.client.append(kind, "v-1", "made", {"code": 7}, receipt=True)
        second = self.client.append(kind, "v-1", "made", {"name": "x"}, receipt=True)
        assert first is not None and second is not None
        self.assertEqual(first["payload"], {})
        self.assertEqual(self.check(first).salt, NO_SALT)
        self.assertNotEqual(self.check(second).salt, NO_SALT)
        asked = {"do": "event_proof", "aggregate_type": kind, "aggregate_id": "v-1", "version": 1}
        proof = self.client.integrity(asked)
        self.assertEqual(check_file(proof["proof"].encode(), self.trust, verify).salt, NO_SALT)
        hidden = {"do": "put_schema", "aggregate": kind, "schema": {**schema, "hidden": True}}
        self.client.schema({"do": "change", "changes": [hidden]})
        third = self.client.append(kind, "v-1", "made", {"name": "y"}, receipt=True)
        assert third is not None
        self.assertEqual(self.check(third).salt, NO_SALT)
        for do in ("event_proof", "aggregate_event_proof", "aggregate_proof"):
            self.assertRaises(AggregateNotFound, self.client.integrity, {**asked, "do": do})
        by_id = {"do": "event_proof", "event_id": int(first["metadata"]["event_id"])}
        error = self.assertRaises(ConfigError, self.client.integrity, by_id)
        self.assertIn("there is no event", str(error))


class TwistedReceipts(TestCase):
    """The client for Twisted."""

    async def test_many_at_once(self) -> None:
        """Receipts that are asked for at the same time share checkpoints."""
        space = running()
        trust = trust_of(space)
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", space.port)
        client = await Client.connect(endpoint, space.token)
        try:
            name = next(names())
            asked = [
                client.append("order", name, "made", {"n": number}, receipt=True)
                for number in range(40)
            ]
            answers = [await one for one in asked]
        finally:
            await client.close()
        sizes = set()
        for version, answer in enumerate(answers, 1):
            assert answer is not None
            proven = check_file(answer["receipt"].encode(), trust, verify)
            assert proven.leaf is not None
            self.assertEqual(proven.leaf.version, version)
            sizes.add(proven.checkpoint.size)
        self.assertLess(len(sizes), 40)
