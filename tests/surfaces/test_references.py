"""References through a running server: both directions, other domains, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.domain.commands import Write
from eventdbx.errors import (
    AggregateNotFound,
    InvalidCursor,
    SchemaViolation,
    SerializationError,
    Unauthorized,
)
from eventdbx.surfaces.control.calls import Call, Calls
from eventdbx.wire import requests as rq
from tests.daemon import Workspace

REFERENCE = {"type": "text", "format": "reference", "reference": {"integrity": "weak"}}
SCHEMAS: dict[str, Any] = {
    "farm": {
        "column_types": {"owner": REFERENCE, "next": REFERENCE},
        "events": {"met": {"fields": []}},
    },
    "person": {
        "column_types": {
            "home": {**REFERENCE, "reference": {"integrity": "weak", "cascade": "restrict"}}
        },
        "events": {"met": {"fields": []}},
    },
}


class ReferencesCase(SynchronousTestCase):
    """A server with schemas for farms and persons."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).absolute())
        self.prepare()
        self.space.start()
        self.addCleanup(self.space.stop)
        self.client = self.connect(self.space.token)
        self.client.call(Calls(self.space.token).schema({"do": "replace", "schemas": SCHEMAS}))

    def prepare(self) -> None:
        """Do what must be done before the server starts."""

    def connect(self, token: str) -> BlockingClient:
        """Return a client with a token."""
        client = BlockingClient("127.0.0.1", self.space.port, token)
        self.addCleanup(client.close)
        return client

    def token(self, *options: str) -> str:
        """Return a new token."""
        printed = self.space.run(
            "token", "generate", "--group", "ops", "--user", "kim", "--json", *options
        )
        return str(json.loads(printed)["token"])

    def append(self, kind: str, identifier: str, payload: Any) -> None:
        """Write one event."""
        write = Write("append", kind, identifier, "met", json.dumps(payload))
        self.client.call(Calls(self.space.token).commit_batch((write,), answer="receipts"))

    def resolved(self, token: str, identifier: str, depth: int | None = None) -> Any:
        """Return the resolved form of a farm, as getAggregate answers it."""
        client = self.connect(token)
        request = rq.GetAggregate(token, "farm", identifier, True, depth)
        call: Call[Any] = Call(request, lambda reply: json.loads(reply.texts[1]))
        return client.call(call)

    def statuses(self, form: Any) -> Any:
        """Return the tree of statuses."""
        return {
            one["path"]: self.statuses(one["resolved"]) if one["status"] == "ok" else one["status"]
            for one in form.get("references", [])
        }


class OverSocket(ReferencesCase):
    """What clients are told, and commands print."""

    def test_depth_and_rights(self) -> None:
        """The configured depth is the default; what the token may not read is forbidden."""
        for number in range(8):
            self.append("farm", f"f-{number}", {"next": f"#f-{number + 1}", "owner": "person#p-1"})
        self.append("person", "p-1", {})
        farms = self.token("--action", "aggregate.read", "--resource", "aggregate:farm:*")
        self.assertEqual(
            self.statuses(self.resolved(farms, "f-0")),
            {
                "owner": "forbidden",
                "next": {
                    "owner": "forbidden",
                    "next": {"owner": "depth_exceeded", "next": "depth_exceeded"},
                },
            },
        )
        deepest, levels = self.statuses(self.resolved(farms, "f-0", 99)), 0
        while isinstance(deepest, dict):
            deepest, levels = deepest["next"], levels + 1
        self.assertEqual(levels, 6)

    def test_lists(self) -> None:
        """Lists carry the resolved forms of their items, in order."""
        self.append("person", "p-1", {"name": "Ann"})
        self.append("farm", "f-1", {"owner": "person#p-1"})
        self.append("farm", "f-2", {"owner": "person#p-2"})
        request = rq.ListAggregates(
            self.space.token, filter='aggregate_type = "farm"', resolve=True
        )
        call: Call[Any] = Call(request, lambda reply: json.loads(reply.texts[2]))
        forms = self.client.call(call)
        self.assertEqual(
            [(one["aggregate"]["aggregate_id"], self.statuses(one)) for one in forms],
            [("f-1", {"owner": {}}), ("f-2", {"owner": "not_found"})],
        )

    def test_referrers(self) -> None:
        """Who refers to an aggregate is told to who may read it, without what he may not read."""
        self.append("person", "p-1", {})
        self.append("farm", "f-1", {"owner": "person#p-1", "next": "person#p-1"})
        self.append("person", "p-2", {"home": "person#p-1"})
        farm = {"aggregate_type": "farm", "aggregate_id": "f-1"}
        person = {"aggregate_type": "person", "aggregate_id": "p-2", "path": "home"}
        everybody = [{**farm, "path": "next"}, {**farm, "path": "owner"}, person]
        self.assertEqual(self.client.referrers("person", "p-1"), everybody)
        some = self.connect(
            self.token(
                "--action", "aggregate.read", "--resource", "aggregate:person:p-1",
                "--resource", "aggregate:farm:*",
            )
        )  # fmt: skip
        self.assertEqual(some.referrers("person", "p-1"), everybody[:2])
        self.assertRaises(Unauthorized, some.referrers, "person", "p-2")
        self.assertRaises(AggregateNotFound, self.client.referrers, "person", "p-9")
        hidden = {**SCHEMAS, "farm": {**SCHEMAS["farm"], "hidden": True}}
        self.client.call(Calls(self.space.token).schema({"do": "replace", "schemas": hidden}))
        self.assertEqual(self.client.referrers("person", "p-1"), [person])
        self.assertRaises(AggregateNotFound, some.referrers, "farm", "f-1")

    def test_pages_of_referrers(self) -> None:
        """However many refer to an aggregate, they are told page by page, and none is lost."""
        self.append("person", "p-1", {})
        farms = [f"f-{number:04}-{'x' * 40}" for number in range(600)]
        payload = json.dumps({"owner": "person#p-1", "next": "person#p-1"})
        writes = tuple(Write("append", "farm", farm, "met", payload) for farm in farms)
        self.client.call(Calls(self.space.token).commit_batch(writes, answer="receipts"))
        self.assertRaises(SerializationError, self.client.referrers, "person", "p-1")
        found: list[dict[str, Any]] = []
        cursor, sizes = None, []
        while True:
            page = self.client.scan_referrers("person", "p-1", cursor, 1_000 - len(found) // 2)
            found += page.items
            sizes.append(len(page.items))
            cursor = page.next_cursor
            if cursor is None:
                break
        self.assertEqual(sizes, [1_000, 200])
        wanted = [(farm, path) for farm in farms for path in ("next", "owner")]
        self.assertEqual([(one["aggregate_id"], one["path"]) for one in found], wanted)
        printed = json.loads(self.space.run("aggregate", "referrers", "person", "p-1", "--json"))
        self.assertEqual(printed, found)
        self.assertRaises(InvalidCursor, self.client.scan_referrers, "person", "p-1", "farm")
        self.assertRaises(AggregateNotFound, self.client.scan_referrers, "person", "p-9")

    def test_archive(self) -> None:
        """A reference that restricts keeps its target; the command line says so likewise."""
        self.append("person", "p-1", {})
        self.append("person", "p-2", {"home": "person#p-1"})
        words = "aggregate person:p-1 cannot be archived; referenced by default:person:p-2 (home)"
        error = self.assertRaises(SchemaViolation, self.client.archive, "person", "p-1")
        self.assertEqual(error.detail, words)
        done = self.space.attempt("aggregate", "archive", "person", "p-1")
        self.assertEqual((done.returncode, done.stderr), (1, f"Error: {words}\n"))
        done = self.space.attempt("aggregate", "remove", "person", "p-1")
        self.assertEqual(done.stderr, f"Error: {words.replace('archived', 'removed')}\n")

    def test_large_forms(self) -> None:
        """Where both forms do not fit a frame the aggregate comes alone; commands have no frame."""
        self.append("person", "p-1", {"text": "x" * 50_000})
        self.append("farm", "f-1", {"owner": "person#p-1", "text": "y" * 20_000})
        request = rq.GetAggregate(self.space.token, "farm", "f-1", True, None)
        call: Call[Any] = Call(request, lambda reply: (reply.texts[1], json.loads(reply.texts[0])))
        resolved, aggregate = self.client.call(call)
        self.assertEqual(resolved, b"")
        self.assertEqual(len(aggregate["state"]["text"]), 20_000)
        printed = json.loads(self.space.run("aggregate", "get", "farm", "f-1", "--resolve"))
        self.assertEqual(self.statuses(printed["resolved"]), {"owner": {}})

    def test_commands_beside_and_without_a_server(self) -> None:
        """Referrers and resolved forms print the same whether a server runs or not."""
        self.append("person", "p-1", {})
        self.append("farm", "f-1", {"owner": "person#p-1"})
        commands = (
            ("aggregate", "referrers", "person", "p-1"),
            ("aggregate", "referrers", "person", "p-1", "--json"),
            ("aggregate", "referrers", "farm", "f-1"),
            ("aggregate", "get", "farm", "f-1", "--resolve", "--resolve-depth", "1"),
            ("aggregate", "list", "--resolve", "--json"),
        )
        beside = [self.space.run(*one) for one in commands]
        self.assertEqual(beside[0], "aggregate_type=farm aggregate_id=f-1 path=owner\n")
        self.assertEqual(beside[2], "no referrers found\n")
        self.space.stop()
        self.assertEqual([self.space.run(*one) for one in commands], beside)


class OtherDomains(ReferencesCase):
    """A server with another domain, ``geo``."""

    def prepare(self) -> None:
        """Make the other domain."""
        for arguments in (
            ("schema", "create", "farm", "--events", "met"),
            ("schema", "field", "farm", "next", "--type", "reference"),
            ("aggregate", "create", "farm", "g-1", "--event", "met"),
            ("aggregate", "apply", "farm", "g-1", "met", "--field", "next=#g-1"),
        ):
            self.space.run(*arguments, EVENTDBX_DOMAIN="geo")

    def test_other_domains(self) -> None:
        """A domain that exists is followed by tokens that are good for it, and never made."""
        self.append("farm", "f-1", {"owner": "geo#farm#g-1", "next": "nowhere#farm#x"})
        self.assertEqual(
            self.statuses(self.resolved(self.space.token, "f-1")),
            {"owner": {"next": "cycle"}, "next": "forbidden"},
        )
        bound = self.token("--action", "aggregate.read", "--tenant", "default")
        self.assertEqual(
            self.statuses(self.resolved(bound, "f-1")),
            {"owner": "forbidden", "next": "forbidden"},
        )
        self.assertEqual(list(self.space.folder.rglob("*nowhere*")), [])
