"""The published client ``eventdbx`` 0.1.8 from PyPI, unmodified, against a running daemon.

Call by call, as the server is set up by default; the other ways are in
test_official_client_modes.py. One daemon for all tests, each of which uses aggregates of its own.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.python_client import VERSION, Refused, client, running


class OfficialClient(SynchronousTestCase):
    """What a user of the published client sees."""

    def setUp(self) -> None:
        """Open a session as the client does by default: framed hello, Noise with a prologue."""
        self.workspace, self.call = running("defaults", type(self).__name__), client()
        self.open()

    def open(self, **changes: Any) -> str:
        """Open a session, with other arguments than usual where given."""
        usual = {
            "host": "127.0.0.1",
            "port": self.workspace.port,
            "token": self.workspace.token,
            "tenant_id": "default",
        }
        version: str = self.call("open", **{**usual, **changes})
        return version

    def create(self, aggregate_id: str, **state: Any) -> dict[str, Any]:
        """Create an order and return its document."""
        document: dict[str, Any] = json.loads(
            self.call(
                "create",
                aggregate_type="order",
                aggregate_id=aggregate_id,
                event_type="order_created",
                payload_json=json.dumps(state),
            )
        )
        return document

    def refused(self, method: str, **arguments: Any) -> tuple[str, str]:
        """Return (code, message) of a call that must be refused by the server."""
        error = self.assertRaises(Refused, self.call, method, **arguments)
        self.assertEqual(error.kind, "EventDBXAPIError", error.message)
        return error.code, error.message

    def test_is_the_published_one(self) -> None:
        """The client under test is the release from PyPI, not our own package."""
        self.assertEqual(self.open(), VERSION)

    def test_create(self) -> None:
        """Create answers with the aggregate: version 1, its state as strings, its root."""
        document = self.create("c-1", total=12, who="kim", gone=None, tags=[1, 2])
        self.assertEqual(document["version"], 1)
        self.assertEqual(
            document["state"], {"gone": "", "tags": "[1,2]", "total": "12", "who": "kim"}
        )
        self.assertEqual(len(document["merkle_root"]), 64)
        self.assertNotIn("archived", document)

    def test_create_twice(self) -> None:
        """A second create of the same aggregate is a schema violation and changes nothing."""
        self.create("c-2", total=1)
        refused = self.refused(
            "create_aggregate",
            aggregate_type="order",
            aggregate_id="c-2",
            event_type="order_created",
            payload_json="{}",
        )
        self.assertEqual(
            refused,
            ("schema_violation", "schema violation: aggregate order::c-2 already exists"),
        )
        found = self.call("get", aggregate_type="order", aggregate_id="c-2")
        self.assertEqual(json.loads(found["aggregate_json"])["version"], 1)

    def test_apply(self) -> None:
        """Apply answers with the event: actor, note, metadata as extensions, next version."""
        self.create("a-1", total=1)
        event = json.loads(
            self.call(
                "apply",
                aggregate_type="order",
                aggregate_id="a-1",
                event_type="order.paid",
                payload_json='{"paid": true}',
                note="by card",
                metadata_json='{"@source": "web"}',
            )
        )
        self.assertEqual(event["version"], 2)
        self.assertEqual(
            (event["event_type"], event["event_type_raw"]), ("order_paid", "order.paid")
        )
        self.assertEqual(event["payload"], {"paid": True})
        self.assertEqual(event["extensions"], {"@source": "web"})
        self.assertEqual(event["metadata"]["note"], "by card")
        self.assertEqual(event["metadata"]["issued_by"], {"group": "cli", "user": "root"})
        self.assertTrue(event["metadata"]["event_id"].isdigit())

    def test_apply_creates(self) -> None:
        """Apply with create=True creates; send_event to a new name creates without asking."""
        document = json.loads(
            self.call(
                "apply",
                aggregate_type="order",
                aggregate_id="a-2",
                event_type="order_created",
                payload_json="{}",
                create=True,
            )
        )
        self.assertEqual(document["version"], 1)
        event = json.loads(
            self.call(
                "send_event",
                aggregate_type="order",
                aggregate_id="a-3",
                event_type="order_created",
                payload_json="7",
            )
        )
        self.assertEqual((event["version"], event["payload"]), (1, 7))

    def test_large_payload(self) -> None:
        """A payload of 40 kB, several segments on the wire, is stored and read back whole."""
        text = "x" * 40_000
        self.create("big", text=text)
        found = self.call("get_aggregate", aggregate_type="order", aggregate_id="big")
        self.assertEqual(json.loads(found["aggregate_json"])["state"]["text"], text)

    def test_patch(self) -> None:
        """A patch is stored as the full new value of each key it touched."""
        self.create("p-1", address={"city": "Rome", "zip": "9"}, total=1)
        event = json.loads(
            self.call(
                "patch",
                aggregate_type="order",
                aggregate_id="p-1",
                event_type="order_changed",
                patches=[{"op": "replace", "path": "/address/zip", "value": "10"}],
            )
        )
        self.assertEqual(event["payload"], {"address": {"city": "Rome", "zip": "10"}})
        code, message = self.refused(
            "patch_event",
            aggregate_type="order",
            aggregate_id="p-1",
            event_type="order_changed",
            patches=[{"op": "move", "path": "/a", "from": "/b"}],
        )
        self.assertEqual(
            (code, message),
            ("invalid_schema", "invalid schema: unsupported patch operation 'move'"),
        )

    def test_get(self) -> None:
        """Get finds an aggregate, and says so when there is none."""
        self.create("g-1", total=1)
        found = self.call("get", aggregate_type="order", aggregate_id="g-1")
        self.assertTrue(found["found"])
        missing = self.call("get", aggregate_type="order", aggregate_id="g-9")
        self.assertEqual(missing, {"found": False, "aggregate_json": None})

    def test_select(self) -> None:
        """Select reads paths of the state with their true types; a missing path is null."""
        self.create("s-1", who="kim", age=30, address={"city": "Rome"}, tags=["a", "b"])
        fields = ["who", "age", "address.city", "tags.1", "nothing"]
        for method in ("select", "select_aggregate"):
            selected = self.call(method, aggregate_type="order", aggregate_id="s-1", fields=fields)
            self.assertEqual(
                json.loads(selected["selection_json"]),
                {"address.city": "Rome", "age": 30, "nothing": None, "tags.1": "b", "who": "kim"},
            )
        missing = self.call("select", aggregate_type="order", aggregate_id="s-9", fields=["who"])
        self.assertEqual(missing, {"found": False, "selection_json": None})

    def test_list_in_pages(self) -> None:
        """Following the cursor shows each aggregate of a filter once, in order of its id."""
        names = [f"l-{number:02}" for number in range(25)]
        for name in names:
            self.create(name, batch="pages")
        seen: list[str] = []
        cursor = None
        while True:
            page = self.call(
                "list", take=10, cursor=cursor, filter_expr='batch = "pages"', sort=None
            )
            seen += [item["aggregate_id"] for item in json.loads(page["aggregates_json"])]
            cursor = page["next_cursor"]
            self.assertEqual(page["has_next_cursor"], cursor is not None)
            if cursor is None:
                break
        self.assertEqual(seen, names)

    def test_list_sorted(self) -> None:
        """A list can be sorted by the options of the client or by text."""
        for name in ("t-1", "t-2", "t-3"):
            self.create(name, batch="sorted")
        wanted = ["t-3", "t-2", "t-1"]
        for sort in ([["aggregate_id", True]], "aggregate_id:desc", [["created_at", True]]):
            page = self.call("list_aggregates", filter_expr='batch = "sorted"', sort=sort)
            listed = [item["aggregate_id"] for item in json.loads(page["aggregates_json"])]
            self.assertEqual(listed, wanted, sort)

    def test_events_in_pages(self) -> None:
        """The timeline comes oldest first, and the cursor continues after the last event."""
        self.create("e-1", step=1)
        self.create("e-10", step=1)
        for step in range(2, 8):
            self.call(
                "send_event",
                aggregate_type="order",
                aggregate_id="e-1",
                event_type="order_moved",
                payload_json=json.dumps({"step": step}),
            )
        versions: list[int] = []
        cursor = None
        while True:
            page = self.call(
                "events", aggregate_type="order", aggregate_id="e-1", take=3, cursor=cursor
            )
            versions += [event["version"] for event in json.loads(page["events_json"])]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        self.assertEqual(versions, [1, 2, 3, 4, 5, 6, 7])
        page = self.call(
            "list_events", aggregate_type="order", aggregate_id="e-1", filter_expr="version > 5"
        )
        self.assertEqual([event["version"] for event in json.loads(page["events_json"])], [6, 7])

    def test_archive_and_restore(self) -> None:
        """An archived aggregate takes no events and is left out of lists until it is restored."""
        self.create("x-1", batch="archived")
        name = {"aggregate_type": "order", "aggregate_id": "x-1"}
        self.assertTrue(json.loads(self.call("archive", **name, note="done"))["archived"])
        refused = self.refused("send_event", **name, event_type="order_paid", payload_json="{}")
        self.assertEqual(refused[0], "aggregate_archived")

        def listed(**scope: bool) -> list[str]:
            page = self.call("list", filter_expr='batch = "archived"', **scope)
            return [item["aggregate_id"] for item in json.loads(page["aggregates_json"])]

        self.assertEqual(listed(), [])
        self.assertEqual(listed(archived_only=True), ["x-1"])
        self.assertEqual(listed(include_archived=True), ["x-1"])
        restored = self.call("set_aggregate_archive", **name, archived=False, comment="again")
        self.assertNotIn("archived", json.loads(restored))
        self.assertNotIn("archived", json.loads(self.call("restore", **name)))
        self.assertEqual(listed(), ["x-1"])

    def test_verify(self) -> None:
        """Verify answers with the root that get shows; an unknown aggregate is not found."""
        document = self.create("v-1", total=1)
        for method in ("verify", "verify_aggregate"):
            root = self.call(method, aggregate_type="order", aggregate_id="v-1")
            self.assertEqual(root, document["merkle_root"])
        refused = self.refused("verify", aggregate_type="order", aggregate_id="v-9")
        self.assertEqual(refused, ("aggregate_not_found", "aggregate not found"))

    def test_snapshots(self) -> None:
        """A snapshot is made, listed by aggregate and version, and fetched by its id."""
        self.create("n-1", total=1)
        name = {"aggregate_type": "order", "aggregate_id": "n-1"}
        made = json.loads(self.call("create_snapshot", **name, comment="before the audit"))
        self.assertEqual((made["version"], made["comment"]), (1, "before the audit"))
        for scope in (name, {**name, "version": 1}):
            listed = json.loads(self.call("list_snapshots", **scope)["snapshots_json"])
            self.assertEqual(listed, [made])
        none = self.call("list_snapshots", **name, version=2)
        self.assertEqual(json.loads(none["snapshots_json"]), [])
        found = self.call("get_snapshot", snapshot_id=int(made["snapshot_id"]))
        self.assertEqual(json.loads(found["snapshot_json"]), made)
        self.assertFalse(self.call("get_snapshot", snapshot_id=1)["found"])

    def test_tenants(self) -> None:
        """A tenant gets a shard and a quota, which count at once, and loses them again."""
        tenant = {"tenant_id": "default"}
        shard = {**tenant, "shard_id": "shard-0001"}
        for changed in (True, False):
            answer = {"changed": changed, "shard_id": "shard-0001"}
            self.assertEqual(self.call("tenant_assign", **shard), answer)
        for changed in (True, False):
            self.assertEqual(self.call("tenant_unassign", **tenant), changed)
        nothing = {"changed": True, "quota_mb": 0, "has_quota": True}
        self.assertEqual(self.call("tenant_quota_set", **tenant, max_storage_mb=0), nothing)
        code, message = self.refused(
            "create", aggregate_type="order", aggregate_id="q-1", event_type="order_created",
            payload_json="{}",
        )  # fmt: skip
        self.assertEqual(code, "tenant_quota")
        self.assertIn("tenant 'default' reached storage quota (0 MB)", message)
        self.assertEqual(self.call("tenant_quota_clear", **tenant), True)
        self.assertEqual(self.create("q-1", total=1)["version"], 1)
        self.assertGreater(self.call("tenant_quota_recalc", **tenant), 0)

    def test_bad_input(self) -> None:
        """Each mistake has its own message, and none of them ends the session."""
        usual = {
            "aggregate_type": "order",
            "aggregate_id": "b-1",
            "event_type": "order_created",
            "payload_json": "{}",
        }
        cases: list[tuple[dict[str, Any], str]] = [
            ({"aggregate_type": "Order"}, "aggregate_type must be lowercase snake_case"),
            (
                {"event_type": "order-created"},
                "event_type must be lowercase snake_case; dots may be used as separators",
            ),
            (
                {"aggregate_id": "b 1"},
                "aggregate_id may only contain letters, numbers, underscores, or hyphens",
            ),
            ({"metadata_json": "[]"}, "metadata must be a JSON object"),
            ({"note": "n" * 129}, "event note cannot exceed 128 characters"),
            (
                {"publish_targets": [{"plugin": "p", "mode": "x"}]},
                "invalid publish mode 'x'",
            ),
        ]
        for change, text in cases:
            refused = self.refused("send_event", **{**usual, **change})
            self.assertEqual(refused, ("invalid_schema", f"invalid schema: {text}"))
        code, message = self.refused("send_event", **{**usual, "payload_json": "{"})
        self.assertEqual(code, "invalid_schema")
        self.assertTrue(message.startswith("invalid schema: invalid payload_json: "), message)
        missing = self.call("get", aggregate_type="order", aggregate_id="b-1")
        self.assertFalse(missing["found"])

    def test_brief_answers(self) -> None:
        """With verbose=False the client acknowledges writes with True."""
        self.open(verbose=False)
        done = self.call(
            "create",
            aggregate_type="order",
            aggregate_id="brief",
            event_type="order_created",
            payload_json="{}",
        )
        self.assertIs(done, True)

    def test_wrong_token(self) -> None:
        """A token that we did not sign is refused in the hello, without any detail."""
        header, _claims, _signature = self.workspace.token.split(".")
        error = self.assertRaises(Refused, self.open, token=f"{header}.e30.AAAA")
        self.assertEqual(
            (error.kind, error.message), ("EventDBXHandshakeError", "invalid control token")
        )

    def test_wrong_protocol_version(self) -> None:
        """A protocol version that we do not speak is refused by number."""
        error = self.assertRaises(Refused, self.open, protocol_version=2)
        self.assertEqual(error.message, "unsupported control protocol version 2")

    def test_plaintext(self) -> None:
        """Without encryption the first request is refused with the reason, never served."""
        self.open(use_noise=False)
        refused = self.refused("list")
        self.assertEqual(refused[0], "config")
        self.assertIn("plaintext control channel is disabled", refused[1])
