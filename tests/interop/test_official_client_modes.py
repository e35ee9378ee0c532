"""The published client ``eventdbx`` 0.1.8 against servers that are set up in different ways.

The same tests for each: every public method, lists through several pages, eight calls at once on
one client, the errors a user meets, an aggregate of 60 kB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.python_client import Refused, client, running
from tests.interop.servers import reader_token

LARGE_BYTES = 60_000
AT_ONCE = 8
ROUNDS = 10

TENANTS: list[tuple[str, dict[str, Any]]] = [
    ("tenant_assign", {"shard_id": "shard-0001"}),
    ("tenant_unassign", {}),
    ("tenant_quota_set", {"max_storage_mb": 5_000}),
    ("tenant_quota_recalc", {}),
    ("tenant_quota_clear", {}),
]
"""Operations on tenants, each of which has something to do after those before it."""

if TYPE_CHECKING:
    Base = SynchronousTestCase
else:
    Base = object


class EveryMode(Base):
    """The tests; a subclass says which server and which client."""

    mode: str
    arguments: dict[str, Any] = {}
    written: object = None
    """What the client makes of the answer to a write: None for the document itself."""

    def setUp(self) -> None:
        """Open a session, and remember which of the client's names are used."""
        self.workspace, self._client = running(self.mode, type(self).__name__), client()
        self._used: set[str] = set()
        self.open()

    def open(self, **changes: Any) -> None:
        """Open a session in place of the one before."""
        usual = {
            "host": "127.0.0.1",
            "port": self.workspace.port,
            "token": self.workspace.token,
            "tenant_id": "default",
        }
        self._client("open", **{**usual, **self.arguments, **changes})

    def call(self, name: str, **arguments: Any) -> Any:
        """Call a method of the client or read a property."""
        self._used.add(name)
        return self._client(name, **arguments)

    def write(self, method: str, aggregate_id: str, **arguments: Any) -> dict[str, Any]:
        """Make a write; return its document, or that of the aggregate where there is none."""
        name = {"aggregate_type": "order", "aggregate_id": aggregate_id}
        answer = self.call(method, **name, **arguments)
        if self.written is not None:
            self.assertEqual(answer, self.written, method)
            return self.document(aggregate_id)
        document: dict[str, Any] = json.loads(answer)
        return document

    def document(self, aggregate_id: str) -> dict[str, Any]:
        """Return the document of an order that is there."""
        found = self.call("get", aggregate_type="order", aggregate_id=aggregate_id)
        self.assertTrue(found["found"], aggregate_id)
        document: dict[str, Any] = json.loads(found["aggregate_json"])
        return document

    def refused(self, method: str, **arguments: Any) -> tuple[str, str]:
        """Return (code, message) of a call that the server must refuse."""
        error = self.assertRaises(Refused, self.call, method, **arguments)
        self.assertEqual(error.kind, "EventDBXAPIError", error.message)
        return error.code, error.message

    def test_every_method(self) -> None:
        """No public name of the client is left out, and each does what it says."""
        self._writes()
        self._reads()
        self._snapshots()
        self._archive()
        self._schemas()
        for method, arguments in TENANTS:
            answer = self.call(method, tenant_id="default", **arguments)
            self.assertTrue(answer["changed"] if isinstance(answer, dict) else answer, method)
        self.assertTrue(self.call("connected"))
        self.call("close")
        self.assertFalse(self.call("connected"))
        error = self.assertRaises(Refused, self.call, "list")
        self.assertEqual(error.message, "Transport is not available")
        self.assertEqual(sorted(self._used), sorted(self._client("public")))

    def _schemas(self) -> None:
        text = json.dumps({"tour_stop": {"events": {"stop_made": {"fields": ["at"]}}}})
        self.assertEqual(self.call("replace_schemas", schemas_json=text), 1)
        listed = json.loads(self.call("list_schemas"))
        self.assertEqual(listed["tour_stop"]["events"], {"stop_made": {"fields": ["at"]}})
        publish = {"tenant_id": "default", "labels": ["one"], "activate": True, "force": True}
        published = self.call("tenant_schema_publish", **publish)
        self.assertEqual((published["activated"], published["skipped"]), (True, False))
        self.assertTrue(self.call("tenant_reload", tenant_id="default"))
        self.assertEqual(self.call("replace_schemas", schemas_json="{}"), 0)

    def _writes(self) -> None:
        event = {"event_type": "order_changed", "note": "n", "metadata_json": '{"@source": "web"}'}
        targets = [{"plugin": "search", "mode": "event-only", "priority": "high"}]
        change = [{"op": "replace", "path": "/n", "value": 4}]
        for method, identifier, version, arguments in (
            ("create", "tour-1", 1, {"payload_json": '{"n": 1}', "publish_targets": targets}),
            ("create_aggregate", "tour-2", 1, {"payload_json": "{}"}),
            ("apply", "tour-1", 2, {"payload_json": '{"n": 2}', "publish_targets": targets}),
            ("send_event", "tour-1", 3, {"payload_json": '{"n": 3}'}),
            ("patch", "tour-1", 4, {"patches": change}),
            ("patch_event", "tour-1", 5, {"patches": change, "publish_targets": targets}),
        ):
            answer = self.write(method, identifier, **event, **arguments)
            self.assertEqual(answer["version"], version, method)

    def _reads(self) -> None:
        name = {"aggregate_type": "order", "aggregate_id": "tour-1"}
        for get in ("get", "get_aggregate"):
            document = json.loads(self.call(get, **name)["aggregate_json"])
            self.assertEqual((document["version"], document["state"]), (5, {"n": "4"}), get)
        for verify in ("verify", "verify_aggregate"):
            self.assertEqual(self.call(verify, **name), document["merkle_root"], verify)
        for select in ("select", "select_aggregate"):
            selected = self.call(select, **name, fields=["n"])["selection_json"]
            self.assertEqual(json.loads(selected), {"n": 4}, select)
        for events in ("events", "list_events"):
            page = json.loads(self.call(events, **name)["events_json"])
            self.assertEqual([event["version"] for event in page], [1, 2, 3, 4, 5], events)
            self.assertEqual({event["metadata"]["note"] for event in page}, {"n"}, events)
        for aggregates in ("list", "list_aggregates"):
            answer = self.call(aggregates, filter_expr='aggregate_id LIKE "tour-%"')
            found = [item["aggregate_id"] for item in json.loads(answer["aggregates_json"])]
            self.assertEqual(found, ["tour-1", "tour-2"], aggregates)

    def _snapshots(self) -> None:
        name = {"aggregate_type": "order", "aggregate_id": "tour-1"}
        answer = self.call("create_snapshot", **name, comment="now")
        made = json.loads(self.call("list_snapshots", **name)["snapshots_json"])
        # The server answers this one with a document in every mode; a brief client drops it.
        if self.written is True:
            self.assertIs(answer, True)
        else:
            self.assertEqual(json.loads(answer), made[0])
        self.assertEqual([(one["version"], one["comment"]) for one in made], [(5, "now")])
        found = self.call("get_snapshot", snapshot_id=int(made[0]["snapshot_id"]))
        self.assertEqual(json.loads(found["snapshot_json"]), made[0])

    def _archive(self) -> None:
        self.assertTrue(self.write("archive", "tour-2", note="done")["archived"])
        self.assertNotIn("archived", self.write("restore", "tour-2"))
        self.assertTrue(self.write("set_aggregate_archive", "tour-2", archived=True)["archived"])

    def test_lists_in_pages(self) -> None:
        """Following the cursors shows each aggregate and each event once, in order."""
        names = [f"page-{number:02}" for number in range(25)]
        for each in names:
            self.write("create", each, event_type="made", payload_json='{"batch": "pages"}')
        for sort in (None, "created_at:desc"):
            pages = self._pages("list", "aggregates_json", "aggregate_id", 10, sort=sort,
                                filter_expr='batch = "pages"')  # fmt: skip
            self.assertEqual([len(page) for page in pages], [10, 10, 5], sort)
            listed = [one for page in pages for one in page]
            # By time: those that were made in one millisecond may come in either order.
            self.assertEqual(sorted(listed) if sort else listed, names)
        for _event in range(6):
            self.write("send_event", "page-00", event_type="moved", payload_json="{}")
        name = {"aggregate_type": "order", "aggregate_id": "page-00"}
        pages = self._pages("events", "events_json", "version", 3, **name)
        self.assertEqual([one for page in pages for one in page], [1, 2, 3, 4, 5, 6, 7])

    def _pages(
        self, method: str, member: str, field: str, take: int, **arguments: Any
    ) -> list[list[Any]]:
        pages: list[list[Any]] = []
        cursor = None
        while True:
            page = self.call(method, take=take, cursor=cursor, **arguments)
            pages.append([item[field] for item in json.loads(page[member])])
            cursor = page["next_cursor"]
            self.assertEqual(page["has_next_cursor"], cursor is not None)
            if cursor is None:
                return pages

    def test_eight_at_once(self) -> None:
        """Eight threads that take turns on one client each get the answers to their own calls."""
        name = {"aggregate_type": "order", "aggregate_id": "shared"}
        self.write("create", "shared", event_type="made", payload_json='{"n": 1}')
        append = {**name, "event_type": "moved", "payload_json": '{"n": 2}'}
        missing = {**name, "aggregate_id": "absent"}
        calls: list[list[Any]] = [["send_event", append]] * 4
        calls += [["get", name], ["get", missing], ["select", {**name, "fields": ["n"]}]]
        calls += [["verify", missing]]
        answers = self._client("at_once", calls=calls, rounds=ROUNDS, locked=True)
        self.assertEqual([len(each) for each in answers], [ROUNDS] * AT_ONCE)
        for each in answers[:4]:
            self.assertFalse([answer for answer in each if "ok" not in answer])
        for got, absent, selected, verified in zip(*answers[4:], strict=True):
            self.assertEqual(json.loads(got["ok"]["aggregate_json"])["aggregate_id"], "shared")
            self.assertFalse(absent["ok"]["found"])
            self.assertIn(json.loads(selected["ok"]["selection_json"])["n"], (1, 2))
            self.assertEqual(verified["error"][1], "aggregate_not_found")
        self.assertEqual(self.document("shared")["version"], 1 + 4 * ROUNDS)

    def test_missing_and_bad_input(self) -> None:
        """What is not there and what is not right is named, and the session goes on."""
        name = {"aggregate_type": "order", "aggregate_id": "nothing"}
        event = {**name, "event_type": "made"}
        self.assertEqual(self.call("get", **name), {"found": False, "aggregate_json": None})
        missing = ("aggregate_not_found", "aggregate not found")
        add = [{"op": "add", "path": "/a", "value": 1}]
        self.assertEqual(self.refused("verify", **name), missing)
        self.assertEqual(self.refused("patch", **event, patches=add), missing)
        self.assertEqual(self.refused("archive", **name), missing)
        self.assertEqual(self.refused("create_snapshot", **name), missing)
        for method in ("send_event", "create"):
            code, message = self.refused(method, **event, payload_json="{")
            self.assertEqual(code, "invalid_schema")
            self.assertTrue(message.startswith("invalid schema: invalid payload_json: "), message)
        self.assertEqual(self.refused("list", cursor="nonsense")[0], "invalid_cursor")
        self.assertEqual(json.loads(self.call("events", **name)["events_json"]), [])

    def test_forbidden(self) -> None:
        """A token that may read orders writes nothing and sees nothing else."""
        self.write("create", "seen", event_type="made", payload_json='{"batch": "seen"}')
        invoice = {"aggregate_type": "invoice", "aggregate_id": "unseen"}
        made = {"event_type": "made", "payload_json": '{"batch": "seen"}'}
        self.call("send_event", **invoice, **made)
        self.open(token=reader_token(self.workspace))
        forbidden = ("unauthorized", "unauthorized")
        order = {"aggregate_type": "order", "aggregate_id": "seen"}
        self.assertEqual(self.refused("send_event", **order, **made), forbidden)
        self.assertEqual(self.refused("archive", **order), forbidden)
        for method in ("get", "events", "verify"):
            self.assertEqual(self.refused(method, **invoice), forbidden, method)
        listed = json.loads(self.call("list", filter_expr='batch = "seen"')["aggregates_json"])
        self.assertEqual([item["aggregate_type"] for item in listed], ["order"])
        self.assertEqual(self.document("seen")["version"], 1)

    def test_wrong_token(self) -> None:
        """A token that the server did not sign opens no session."""
        header, claims, _signature = self.workspace.token.split(".")
        error = self.assertRaises(Refused, self.open, token=f"{header}.{claims}.AAAA")
        self.assertEqual(
            (error.kind, error.message), ("EventDBXHandshakeError", "invalid control token")
        )

    def test_large_aggregate(self) -> None:
        """A state of 60 kB is written at once or grown by events, and read back whole."""
        text = "".join(f"{number:07} " for number in range(LARGE_BYTES // 8))
        self.write("create", "large", event_type="made", payload_json=json.dumps({"text": text}))
        self.assertEqual(self.document("large")["state"], {"text": text})
        name = {"aggregate_type": "order", "aggregate_id": "large"}
        page = json.loads(self.call("events", **name)["events_json"])
        self.assertEqual(page[0]["payload"], {"text": text})
        parts = {f"part_{number}": text[number * 10_000 :][:10_000] for number in range(6)}
        for key, part in parts.items():
            body = json.dumps({key: part})
            self.write("send_event", "grown", event_type="grown", payload_json=body)
        self.assertEqual(self.document("grown")["state"], parts)


class Defaults(EveryMode, SynchronousTestCase):
    """A server as ``dbx init`` leaves it."""

    mode = "defaults"

    def test_threads_without_turns(self) -> None:
        """Threads that do not take turns spoil their own session, and nothing of the server.

        The client numbers, encrypts and reads without a lock, so answers get lost on its side.
        Every write that it saw acknowledged is there all the same, and the next session works.
        """
        self.open(read_timeout=0.5)
        name = {"aggregate_type": "order", "aggregate_id": "unlocked"}
        calls = [["send_event", {**name, "event_type": "made", "payload_json": "{}"}]] * AT_ONCE
        answers = self._client("at_once", calls=calls, rounds=1, locked=False)
        seen = [json.loads(one["ok"])["version"] for each in answers for one in each if "ok" in one]
        self.open()
        events = json.loads(self.call("events", **name, take=100)["events_json"])
        versions = [event["version"] for event in events]
        self.assertEqual(versions, list(range(1, len(versions) + 1)))
        self.assertLessEqual(len(versions), AT_ONCE)
        self.assertEqual(sorted(set(seen) - set(versions)), [])

    def test_restarted_server(self) -> None:
        """A session ends with the server; a client that may try again opens a new one."""
        self.write("create", "lasting", event_type="made", payload_json="{}")
        self.open(retry={"attempts": 3})
        self.assertEqual(self.document("lasting")["version"], 1)
        self.workspace.stop()
        self.workspace.start()
        self.assertEqual(self.document("lasting")["version"], 1)


class BriefServer(EveryMode, SynchronousTestCase):
    """``verbose_responses = false``: the client hands out the empty text of the server."""

    mode = "brief"
    written = ""


class BriefOnBothSides(EveryMode, SynchronousTestCase):
    """``verbose_responses = false`` and a client with ``verbose=False``: writes are True."""

    mode = "brief"
    arguments = {"verbose": False}
    written = True


class Plain(EveryMode, SynchronousTestCase):
    """``no_noise = true`` and a client that does not encrypt."""

    mode = "plain"
    arguments = {"use_noise": False}

    def test_encrypted_as_well(self) -> None:
        """Where plaintext is allowed, those that encrypt are served as everywhere."""
        self.open(use_noise=True)
        self.write("create", "encrypted", event_type="made", payload_json='{"n": 1}')
        self.assertEqual(self.document("encrypted")["state"], {"n": "1"})
