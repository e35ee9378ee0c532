"""What schemas hide stays hidden: every request that returns data, each answer searched whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.domain.commands import Write
from eventdbx.errors import EventDBXError
from eventdbx.surfaces.control.calls import Call, Calls
from eventdbx.wire import requests as rq
from tests.daemon import Workspace

SECRET = "c0nf1dential"
"""In every value that is hidden, and nowhere else."""
HIDDEN_ID = "hidden-7"
"""The id of the aggregate whose type is hidden."""

SCHEMAS: dict[str, Any] = {
    "vault": {
        "hidden": True,
        "column_types": {"place": {"type": "reference"}},
        "events": {"met": {}},
    },
    "place": {"events": {"met": {}}},
    "remark": {"hidden_fields": ["_value"], "events": {"met": {}}},
    "person": {
        "hidden_fields": ["refuge", "ssn"],
        "column_types": {"refuge": {"type": "reference"}, "home": {"type": "reference"}},
        "events": {"met": {"upcast": [[{"op": "rename", "from": "/social", "to": "/ssn"}]]}},
    },
}
FIRST = {**SCHEMAS, "person": {"events": {"met": {}}}}
"""Before anything of persons was hidden, and their numbers had another name."""

ANSWER_FREE = {rq.Unreadable, rq.ReplaceSchemas, rq.SchemaOperation, *rq.SCHEMA_AND_TENANT}
"""Requests whose answers hold no aggregate, event or snapshot."""


def append(kind: str, identifier: str, payload: Any, **rest: Any) -> Write:
    """Return one append."""
    return Write("append", kind, identifier, "met", json.dumps(payload), **rest)


class HidingCase(SynchronousTestCase):
    """A server with a hidden type, and a type with hidden fields that had other names once."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).absolute())
        self.space.start()
        self.addCleanup(self.space.stop)
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)
        self.calls = Calls(self.space.token)
        self.snapshots: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self.client.schema({"do": "replace", "schemas": FIRST})
        self.put("place", "p-1", {"name": "Rome"})
        self.put("person", "k-1", {"social": SECRET, "name": "Kim"})
        self.snapshots["old"] = self.keep("person", "k-1")
        self.client.schema({"do": "replace", "schemas": SCHEMAS})
        self.put(
            "person", "k-1", {"ssn": SECRET + " 2", "home": "place#p-1", "refuge": "place#p-1"}
        )
        self.put("remark", "r-1", SECRET)
        self.snapshots["remark"] = self.keep("remark", "r-1")

    def put(self, kind: str, identifier: str, payload: Any) -> None:
        """Append an event, knowing its id without having been shown it."""
        write = append(kind, identifier, payload)
        (receipt,) = self.client.call(self.calls.commit_batch((write,), answer="receipts"))
        self.events[f"{kind} {receipt['version']}"] = int(receipt["event_id"])

    def keep(self, kind: str, identifier: str) -> int:
        """Take a snapshot and return its id."""
        return int(self.client.call(self.calls.snapshot(kind, identifier, None))["snapshot_id"])

    def answer(self, call: Call[Any]) -> bytes:
        """Return everything that is answered, errors too."""
        whole: Call[Any] = Call(call.request, lambda reply: reply)
        try:
            reply = self.client.call(whole)
        except EventDBXError as error:
            return f"{error.code}: {error}".encode()
        return b"\n".join(reply.texts)

    def reads(self, kind: str, identifier: str) -> list[Call[Any]]:
        """Return every read that can show an aggregate, in every form."""
        calls, names = self.calls, (kind, identifier)
        found: list[Call[Any]] = [
            calls.get(*names),
            Call(rq.GetAggregate(self.space.token, *names, resolve=True), lambda reply: reply),
            calls.select(*names, ("ssn", "social", "refuge", "_value", "name", "code", "place")),
            calls.events(*names),
            calls.events(*names, filter=f"payload.ssn LIKE '{SECRET}%'"),
            calls.verify(*names),
            calls.snapshots(*names, None),
            calls.snapshots(kind, None, None),
            calls.snapshots(None, None, None),
            calls.referrers(*names),
            calls.referrers("place", "p-1"),
            calls.scan_referrers(*names),
            calls.scan_referrers("place", "p-1"),
            calls.outbox(None, None),
            calls.status(),
            calls.plugins({"do": "list"}),
            calls.plugins({"do": "queue"}),
            calls.plugins({"do": "lag"}),
            calls.verify_store(),
            calls.verify_store(aggregate_type=kind, aggregate_id=identifier),
        ]
        found += [calls.snapshot_get(one) for one in self.snapshots.values()]
        for filter_text in (None, f"ssn LIKE '{SECRET}%'", f"code LIKE '{SECRET}%'"):
            for scope in ("active", "all"):
                found += [
                    calls.scan_aggregates(filter=filter_text, scope=scope, resolve=True),
                    calls.scan_aggregates(filter=filter_text, scope=scope, aggregate_type=kind),
                    calls.scan_aggregates(filter=filter_text, scope=scope, sort="updated_at:desc"),
                ]
            found += [
                calls.list(filter=filter_text),
                calls.list(filter=filter_text, sort="version:desc", include_archived=True),
                calls.list(filter=filter_text, resolve=True),
            ]
        one = {"aggregate_type": kind, "aggregate_id": identifier, "version": 1, "first": 1}
        proofs = ("event_proof", "aggregate_event_proof", "aggregate_proof")
        found += [calls.integrity({"do": do, **one}) for do in (*proofs, "aggregate_consistency")]
        found.append(calls.staging({"do": "list"}))
        asked = ("audit", "audit_verify", "configuration", "status")
        found += [calls.administer({"do": one}) for one in asked]
        for raw in (False, True):
            found += [calls.scan_events(event_id=one, raw=raw) for one in self.events.values()]
            found += [
                calls.follow("", raw=raw),
                calls.follow("", raw=raw, filter=f"payload.ssn LIKE '{SECRET}%'"),
                calls.follow("", raw=raw, aggregate_type=kind, aggregate_id=identifier),
                calls.scan_events(raw=raw),
                calls.scan_events(raw=raw, aggregate_type=kind),
                calls.scan_events(raw=raw, aggregate_type=kind, aggregate_id=identifier),
                calls.scan_events(raw=raw, sort="event_id:desc", scope="all"),
                calls.scan_events(raw=raw, filter=f"social LIKE '{SECRET}%'"),
                calls.scan_events(raw=raw, filter=f"payload.code LIKE '{SECRET}%'"),
                calls.aggregate_at(*names, raw=raw, include_events=True, resolve=True),
                calls.aggregate_at(*names, raw=raw, include_events=True, version=1),
            ]
        return found

    def writes(self, kind: str, identifier: str, payload: dict[str, Any]) -> list[Call[Any]]:
        """Return every write, each answered with as much as there is."""
        calls, one = self.calls, append(kind, identifier, payload, idempotency_key="k")
        patch = [{"op": "add", "path": "/ssn", "value": SECRET + " 3"}]
        staged = {"aggregate_type": kind, "aggregate_id": identifier, "event_type": "met"}
        wanted = [
            {**staged, "kind": "apply", "content_json": json.dumps(payload)},
            {**staged, "kind": "patch",
             "content_json": '[{"op":"add","path":"/ssn","value":"sent"}]'},
        ]  # fmt: skip
        return [
            calls.write(rq.AppendEvent, kind, identifier, "met", payload),
            calls.write(rq.PatchEvent, kind, identifier, "met", patch),
            calls.write(rq.CreateAggregate, kind, f"{identifier}-new", "met", payload),
            calls.write(rq.CreateAggregate, kind, identifier, "met", payload),
            calls.commit_batch((one,), answer="aggregates"),
            calls.commit_batch((one,), answer="aggregates"),
            calls.commit_batch((one,), answer="events"),
            calls.commit_batch((one,), answer="receipts"),
            calls.snapshot(kind, identifier, None),
            calls.set_archive(kind, identifier, True, None),
            calls.write(rq.AppendEvent, kind, identifier, "met", payload),
            calls.set_archive(kind, identifier, False, None),
            calls.staging({"do": "stage", "writes": wanted}),
            calls.staging({"do": "list"}),
            calls.staging({"do": "commit"}),
        ]


class FieldTests(HidingCase):
    """A type with hidden fields."""

    def test_nothing_leaks(self) -> None:
        """No answer holds the value of a hidden field, under whatever name, or finds by it."""
        calls = self.reads("person", "k-1")
        calls += self.writes("person", "k-1", {"ssn": SECRET, "social": "kept", "met": 1})
        calls += self.reads("person", "k-1") + self.reads("remark", "r-1")
        shown = 0
        for call in calls:
            found = self.answer(call)
            self.assertNotIn(SECRET.encode(), found, call.request)
            self.assertNotIn(b"refuge", found.replace(b'"refuge":null', b""), call.request)
            shown += b"Kim" in found
        self.assertGreater(shown, 20)
        asked = {type(call.request) for call in calls}
        self.assertEqual(set(get_args(rq.Request)) - ANSWER_FREE - asked, set())

    def test_the_rest_is_shown(self) -> None:
        """Other fields, versions and hashes are there as ever; filters find by other fields."""
        found = self.client.call(self.calls.get("person", "k-1"))
        assert found is not None
        self.assertEqual(found["state"], {"home": "default#place#p-1", "name": "Kim"})
        self.assertEqual(found["version"], 2)
        page = self.client.call(self.calls.scan_aggregates(filter="name = 'Kim'"))
        self.assertEqual([one["aggregate_id"] for one in page.items], ["k-1"])
        referrers = self.client.call(self.calls.referrers("place", "p-1"))
        self.assertEqual([one["path"] for one in referrers], ["home"])


class TypeTests(HidingCase):
    """A hidden type."""

    def setUp(self) -> None:
        super().setUp()
        self.put("vault", HIDDEN_ID, {"code": SECRET, "place": "place#p-1", "ssn": {"a": SECRET}})
        self.client.schema({"do": "change", "changes": [self.hide(False)]})
        self.snapshots["vault"] = self.keep("vault", HIDDEN_ID)
        self.client.schema({"do": "change", "changes": [self.hide(True)]})

    def hide(self, hidden: bool) -> dict[str, Any]:
        """Return the change that hides the type, or shows it."""
        return {"do": "hide_aggregate", "aggregate": "vault", "hidden": hidden}

    def test_reads(self) -> None:
        """No read knows that it is there."""
        for call in self.reads("vault", HIDDEN_ID):
            found = self.answer(call)
            # Errors repeat what was asked for.
            found = found.replace(f"vault::{HIDDEN_ID}".encode(), b"")
            self.assertNotIn(SECRET.encode(), found, call.request)
            self.assertNotIn(HIDDEN_ID.encode(), found, call.request)

    def test_writes(self) -> None:
        """Appends work, and are answered with nothing that the type held before."""
        answers = []
        for call in self.writes("vault", HIDDEN_ID, {"code": SECRET}):
            answers.append(self.answer(call))
            asked = call.request
            if isinstance(asked, rq.CreateAggregate) and asked.aggregate_id.endswith("-new"):
                # Whoever creates one is answered with what it sent, and nothing else is there.
                self.assertEqual(json.loads(answers[-1])["state"], {"code": SECRET})
            else:
                self.assertNotIn(SECRET.encode(), answers[-1], call.request)
        event = json.loads(answers[0])
        self.assertEqual((event["version"], event["payload"]), (2, {}))
        self.assertEqual(json.loads(answers[1])["payload"], {})
        self.assertEqual(json.loads(answers[4])[0]["state"], {})

    def test_same_as_missing(self) -> None:
        """Asking for one that is hidden is answered as asking for one that is not there."""
        for hidden, missing in zip(
            self.reads("vault", HIDDEN_ID), self.reads("vault", "none"), strict=True
        ):
            found = self.answer(hidden).replace(HIDDEN_ID.encode(), b"none")
            if not isinstance(hidden.request, rq.Status | rq.AdminOperation):
                self.assertEqual(found, self.answer(missing), hidden.request)

    def test_archiving_what_it_refers_to(self) -> None:
        """A refusal does not name what is hidden."""
        column = {"type": "reference", "reference": {"cascade": "restrict"}}
        vault = {**SCHEMAS["vault"], "column_types": {"place": column}}
        change = {"do": "put_schema", "aggregate": "vault", "schema": vault}
        self.client.schema({"do": "change", "changes": [change]})
        found = self.answer(self.calls.set_archive("place", "p-1", True, None))
        self.assertIn(b"cannot be archived", found)
        self.assertNotIn(HIDDEN_ID.encode(), found)
        self.assertNotIn(b"vault", found)


class CommandTests(HidingCase):
    """The command line, with and without a server."""

    READS = (
        ("aggregate", "list", "--json"),
        ("aggregate", "get", "person", "k-1", "--include-events", "--raw"),
        ("aggregate", "select", "person", "k-1", "ssn"),
        ("aggregate", "replay", "person", "k-1", "--json"),
        ("events", "--json"),
        ("events", "--json", "--raw"),
        ("snapshots", "list", "--json"),
    )

    def test_only_the_owner_sees(self) -> None:
        """Reads hide with and without a server; who owns the files can include what is hidden."""
        self.put("vault", HIDDEN_ID, {"code": SECRET})
        for arguments in self.READS:
            self.assertNotIn(SECRET, self.space.run(*arguments), arguments)
            refused = self.space.attempt(*arguments, "--include-hidden")
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("--include-hidden reads the store itself", refused.stderr)
            self.assertNotIn(SECRET, refused.stdout + refused.stderr)
        self.space.stop()
        for arguments in self.READS:
            self.assertNotIn(SECRET, self.space.run(*arguments), arguments)
            self.assertIn(SECRET, self.space.run(*arguments, "--include-hidden"), arguments)
        self.assertIn(HIDDEN_ID, self.space.run("aggregate", "list", "--include-hidden"))
        self.assertIn("3 aggregate(s)", self.space.run("verify"))
        self.assertIn("4 aggregate(s)", self.space.run("verify", "--include-hidden"))
