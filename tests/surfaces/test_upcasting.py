"""Events of earlier revisions through the socket and the command line, and after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.domain.commands import Write
from eventdbx.surfaces.control.calls import Calls
from eventdbx.wire import requests as rq
from tests.daemon import Workspace

REVISIONS: list[list[dict[str, Any]]] = [
    [
        {"op": "rename", "from": "/name", "to": "/full_name"},
        {"op": "move", "from": "/zip", "to": "/address/zip"},
    ],
    [
        {"op": "default", "path": "/currency", "value": "EUR"},
        {
            "op": "map",
            "path": "/status",
            "values": {"0": "open", "1": "paid"},
            "otherwise": "unknown",
        },
    ],
]
OLD = {"name": "Kim", "zip": "9", "status": 1}
NEW = {"full_name": "Kim", "address": {"zip": "9"}, "status": "paid", "currency": "EUR"}


def schemas(*upcast: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schemas of orders whose payloads have some revisions."""
    return {"order": {"events": {"order_placed": {"upcast": list(upcast)}, "order_noted": {}}}}


class UpcastingTests(SynchronousTestCase):
    """A server on which the payload of an event changes twice."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).absolute())
        self.start()
        self.addCleanup(lambda: self.space.stop())
        self.calls = Calls(self.space.token)

    def start(self) -> None:
        """Start the server and connect."""
        self.space.start()
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)

    def put(self, identifier: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Append an order."""
        write = Write("append", "order", identifier, "order_placed", json.dumps(payload))
        (event,) = self.client.call(self.calls.commit_batch((write,), answer="events"))
        assert isinstance(event, dict)
        return event

    def replace(self, *upcast: list[dict[str, Any]]) -> None:
        """Put other revisions in force."""
        self.client.schema({"do": "replace", "schemas": schemas(*upcast)})

    def state(self, identifier: str) -> Any:
        """Return the state that a client gets, texts read as what they say."""
        found = self.client.call(self.calls.get("order", identifier))
        assert found is not None
        return {key: _read(text) for key, text in found["state"].items()}

    def payloads(self, **options: Any) -> list[Any]:
        """Return the payloads of a scan."""
        page = self.client.call(self.calls.scan_events(**options))
        return [one["payload"] for one in page.items]

    def check_reads(self) -> None:
        """Every read shows the newest revision; hashes are those of what was written."""
        call, calls = self.client.call, self.calls
        for identifier in ("o-1", "o-2", "o-3", "o-4"):
            self.assertEqual(self.state(identifier), NEW, identifier)
            (event,) = call(calls.events("order", identifier)).items
            self.assertEqual(event["payload"], NEW)
            self.assertEqual(event["hash"], self.written[identifier]["hash"])
            self.assertEqual(call(calls.verify("order", identifier)), event["merkle_root"])
        self.assertEqual(self.payloads(), [NEW] * 4)
        self.assertEqual(self.payloads(filter="payload.full_name = 'Kim'"), [NEW] * 4)
        self.assertEqual(self.payloads(filter="payload.name = 'Kim'"), [])
        outbox = call(calls.outbox(None, None))
        self.assertEqual([one["payload"] for one in outbox.items], [NEW] * 4)
        self.assertEqual(len(call(calls.list(filter="currency = 'EUR'")).items), 4)
        self.assertEqual(len(call(calls.list(filter="name = 'Kim'")).items), 0)
        chosen = call(calls.select("order", "o-1", ("address.zip", "name", "status")))
        self.assertEqual(chosen, {"address.zip": "9", "name": None, "status": "paid"})
        for options in ({"version": 1}, {}):
            found = call(calls.aggregate_at("order", "o-1", include_events=True, **options))
            self.assertEqual(found["events"][0]["payload"], NEW)
            self.assertEqual(found["aggregate"]["state"]["full_name"], "Kim")
        report = call(calls.verify_store())
        self.assertEqual((report["checked"], report["findings"]), (4, []))

    def check_raw(self) -> None:
        """What was written is there on request, with the schema that accepted it."""
        found = self.client.call(self.calls.scan_events(raw=True)).items
        expected = (OLD, OLD, {**OLD_2}, NEW)
        for event, payload, revision in zip(found, expected, (None, 1, 2, 3), strict=True):
            self.assertEqual(event["payload"], payload)
            if revision is None:
                self.assertIsNone(event["schema"])
            else:
                self.assertEqual(event["schema"]["revision"], revision)
                self.assertEqual(len(event["schema"]["digest"]), 32)
        (raw,) = self.payloads(raw=True, filter="payload.name = 'Kim'", take=1)
        self.assertEqual(raw, OLD)

    def test_whole_life(self) -> None:
        """Old events read as new ones everywhere, at once and after a restart."""
        self.written = {"o-1": self.put("o-1", OLD)}
        self.replace()
        self.written["o-2"] = self.put("o-2", OLD)
        self.replace(REVISIONS[0])
        self.written["o-3"] = self.put("o-3", OLD_2)
        self.replace(*REVISIONS)
        self.written["o-4"] = self.put("o-4", NEW)
        self.check_reads()
        self.check_raw()
        self.client.close()
        self.assertEqual(self.space.stop(), 0)
        shown = self.space.run("events", "--json", "--raw")
        self.assertEqual([one["payload"] for one in json.loads(shown)][:2], [OLD, OLD])
        self.start()
        self.check_reads()
        self.check_raw()
        self.check_commands()
        self.check_writes()

    def check_commands(self) -> None:
        """The command line shows both, too."""
        identifier = self.written["o-2"]["metadata"]["event_id"]
        shown = json.loads(self.space.run("events", identifier, "--json"))
        self.assertEqual(shown["payload"], NEW)
        self.assertNotIn("schema", shown)
        shown = json.loads(self.space.run("events", identifier, "--json", "--raw"))
        self.assertEqual((shown["payload"], shown["schema"]["revision"]), (OLD, 1))
        self.assertIn("revision=1", self.space.run("events", identifier, "--raw"))
        self.space.run("verify")

    def check_writes(self) -> None:
        """A patch finds the new names, and what it writes is of the newest revision."""
        patch = [{"op": "replace", "path": "/address/zip", "value": "10"}]
        self.client.call(self.calls.write(rq.PatchEvent, "order", "o-1", "order_placed", patch))
        self.assertEqual(self.state("o-1"), {**NEW, "address": {"zip": "10"}})
        self.client.call(self.calls.snapshot("order", "o-2", None))
        (snapshot,) = self.client.call(self.calls.snapshots("order", "o-2", None))
        self.assertEqual(snapshot["state"]["full_name"], "Kim")
        self.assertEqual(self.client.call(self.calls.verify_store())["findings"], [])


OLD_2 = {"full_name": "Kim", "address": {"zip": "9"}, "status": 1}
"""What is written at the second revision."""


def _read(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text
