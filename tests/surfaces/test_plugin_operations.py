"""Operations on plugins, deliveries and the queue over the real socket of a real server."""

from __future__ import annotations

import atexit
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.client import BlockingClient, Client
from eventdbx.domain.canonical import JSON
from eventdbx.errors import (
    ConfigError,
    InvalidCursor,
    SerializationError,
    StorageError,
    Unauthorized,
)
from eventdbx.surfaces.control.calls import Call, Calls
from eventdbx.wire import requests as rq
from tests.daemon import Workspace, free_port
from tests.surfaces.listener import token
from tests.surfaces.test_control_protocol import ProtocolCase, Session


@cache
def space() -> Workspace:
    """Return one server for all tests of this module; it ends with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = Workspace(Path(folder.name) / "database")
    workspace.start()
    atexit.register(workspace.stop)
    return workspace


class Case(SynchronousTestCase):
    """A session with the server; plugins that a test configures go with it."""

    def setUp(self) -> None:
        self.client = BlockingClient("127.0.0.1", space().port, space().token)
        self.addCleanup(self.client.close)
        self.addCleanup(self.forget)
        self.made: list[str] = []

    def do(self, do: str, **members: Any) -> dict[str, Any]:
        """Carry out one operation."""
        return self.client.plugins({"do": do, **members})

    def forget(self) -> None:
        """Remove what is left."""
        for entry in self.do("list")["plugins"]:
            name = entry["name"] or entry["config"]["type"]
            self.do("remove", name=name, disable=True)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what the log plugin of a name has written."""
        path = space().folder / f"{name}.ndjson"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def log(self, name: str, **members: Any) -> dict[str, Any]:
        """Configure a plugin that writes lines to a file."""
        config = {"type": "log", "path": str(space().folder / f"{name}.ndjson")}
        return self.do("configure", entry={"name": name, "config": config, **members})

    def nowhere(self, name: str, **members: Any) -> dict[str, Any]:
        """Configure a plugin whose target is not there."""
        config = {"type": "tcp", "host": "127.0.0.1", "port": free_port()}
        return self.do("configure", entry={"name": name, "config": config, **members})

    def append(self, kind: str, number: int) -> str:
        """Append an event; return its id."""
        event = self.client.append(kind, "a-1", "made", {"n": number})
        assert event is not None
        identifier: str = event["metadata"]["event_id"]
        return identifier


class Entries(Case):
    """What is configured."""

    def test_life_of_an_entry(self) -> None:
        """Configured, changed, renamed, paused, disabled, removed."""
        made = self.log("first", payload_mode="event-only")
        self.assertTrue(made["created"])
        self.assertEqual(made["entry"]["payload_mode"], "event-only")
        self.assertFalse(self.log("first")["created"])
        self.assertRaises(ConfigError, self.nowhere, "first")
        found = self.do("options", name="first", set={"order": "strict"}, unset=["payload_mode"])
        self.assertEqual(found["entry"]["order"], "strict")
        self.assertEqual(found["entry"]["payload_mode"], "all")
        self.assertEqual(self.do("rename", name="first", to="second")["entry"]["name"], "second")
        self.assertEqual(self.do("pause", name="second"), {"changed": True})
        self.assertEqual(self.do("resume", name="second"), {"changed": True})
        self.assertEqual(self.do("resume", name="second"), {"changed": False})
        (entry,) = self.do("list")["plugins"]
        self.assertEqual((entry["label"], entry["unavailable"]), ("log (second)", None))
        self.assertRaises(ConfigError, self.do, "remove", name="second")
        self.assertEqual(self.do("disable", name="second"), {"changed": True})
        self.assertEqual(self.do("enable", name="second"), {"changed": True})
        self.assertEqual(self.do("enable", name="second"), {"changed": False})
        gone = self.do("remove", name="second", disable=True)
        self.assertEqual(gone, {"disabled": True, "dropped": 0})
        self.assertEqual(self.do("list"), {"plugins": []})

    def test_only_what_can_be_reached_is_enabled(self) -> None:
        """A target that is not there keeps its plugin disabled, unless nobody is to look."""
        self.nowhere("off", enabled=False)
        self.assertRaises(StorageError, self.do, "enable", name="off")
        self.assertFalse(self.do("list")["plugins"][0]["enabled"])
        self.assertEqual(self.do("enable", name="off", check=False), {"changed": True})
        (tested,) = self.do("test", names=["off"])["results"]
        self.assertEqual(tested["label"], "tcp (off)")
        self.assertIn("refused", tested["reason"])

    def test_an_unavailable_entry(self) -> None:
        """An entry that cannot be used is listed with its reason; the others work."""
        path = space().folder / ".dbx" / "plugins.json"
        path = path if path.exists() else next(space().folder.rglob("plugins.json"))
        self.log("good")
        known = json.loads(path.read_text())
        path.write_text(json.dumps([*known, {"name": "bad", "config": {"type": "csv"}}, 7]))
        listed = self.do("list")["plugins"]
        self.assertEqual([one["name"] for one in listed][:2], ["good", "bad"])
        self.assertIn("csv", listed[1]["unavailable"])
        self.assertEqual(listed[1]["config"]["type"], "csv")
        self.assertRaises(ConfigError, self.do, "enable", name="bad")
        path.write_text(json.dumps(known))

    def test_wrong_operations(self) -> None:
        """What is no operation, and members of another kind, are refused; the session goes on."""
        for members in (
            {"do": "dance"},
            {},
            {"do": "enable"},
            {"do": "enable", "name": "nobody"},
            {"do": "rename", "name": 1, "to": "x"},
            {"do": "queue", "limit": -1},
            {"do": "queue", "limit": 1.5},
            {"do": "drop", "ids": ["x"]},
            {"do": "configure", "entry": []},
            {"do": "configure", "entry": {"config": {"type": "csv"}}},
            {"do": "replay", "name": "nobody", "mode": "half"},
            {"do": "replay_progress", "job": "none"},
            {"do": "options", "name": "nobody", "set": [1]},
            {"do": "wait", "name": "nobody", "position": "end"},
        ):
            self.assertRaises(ConfigError, self.client.plugins, members)
        self.log("one")
        for to in ("yesterday", "0-x"):
            self.assertRaises(InvalidCursor, self.do, "seek", name="one", to=to)
        entry = {"name": "two", "config": {"type": "log"}}
        self.assertRaises(InvalidCursor, self.do, "configure", entry=entry, **{"from": "later"})
        self.assertEqual(len(self.do("list")["plugins"]), 1)
        for text in (b"[]", b"{", b"\xff"):
            call: Call[Any] = Call(rq.PluginOperation(space().token, text), lambda reply: reply)
            self.assertRaises(SerializationError, self.client.call, call)
        self.assertIn("plugins", self.do("list"))


class Deliveries(Case):
    """What becomes of events."""

    def test_read_your_writes(self) -> None:
        """Whoever waits for an event finds it delivered, by its id, a position, or the end."""
        self.log("view", aggregates=["viewed"])
        for number in range(3):
            identifier = self.append("viewed", number)
            self.assertEqual(self.client.wait_for("view", event_id=identifier)[0], "delivered")
            numbers = [line["event"]["payload"]["n"] for line in self.lines("view")]
            self.assertEqual(numbers, list(range(number + 1)))
        self.append("other", 1)
        self.assertEqual(self.client.wait_for("view")[0], "delivered")
        end = self.client.call(Calls(space().token).follow("end")).next
        self.assertEqual(self.client.wait_for("view", position=end)[0], "delivered")
        self.assertRaises(ConfigError, self.client.wait_for, "view", event_id=1)

    def test_waiting_in_vain(self) -> None:
        """With a target that is not there the time is over, or the event is dead: then it says
        why, and the queue shows, retries and drops it."""
        self.nowhere("gone", aggregates=["lost"])
        self.append("lost", 1)
        self.assertEqual(self.client.wait_for("gone", timeout_s=0.1)[0], "timeout")
        self.do("options", name="gone", set={"max_attempts": 1})
        outcome, reason = self.client.wait_for("gone", timeout_s=20)
        self.assertEqual(outcome, "dead")
        self.assertIn("refused", reason)
        found = self.do("queue", name="gone")
        self.assertEqual((found["dead"], len(found["jobs"]["dead"])), (1, 1))
        job = found["jobs"]["dead"][0]
        self.assertEqual((job["aggregate_type"], job["version"]), ("lost", 1))
        shown = self.do("job", id=job["id"], name="gone")
        self.assertIn('"n":1', json.dumps(shown["document"]).replace("\\", "").replace(" ", ""))
        self.assertEqual(self.do("job", id=1), {"id": None})
        (lag,) = self.do("lag", name="gone")["plugins"]
        self.assertEqual((lag["dead"], lag["name"]), (1, "gone"))
        self.assertEqual(self.do("retry", name="gone", wait_ms=10_000), {"retried": 1, "dead": 1})
        self.assertEqual(self.do("drop", ids=[1], name="gone"), {"dropped": 0})
        self.assertEqual(self.do("drop", ids=[job["id"]]), {"dropped": 1})
        self.assertEqual(self.do("queue", name="gone")["dead"], 0)

    def test_seek(self) -> None:
        """A plugin that goes back gets events again; one that begins at the start gets all."""
        ids = [self.append("sought", number) for number in range(3)]
        self.log("back", aggregates=["sought"])
        self.client.wait_for("back", event_id=ids[-1])
        self.assertEqual(self.lines("back"), [])
        self.assertEqual(self.do("seek", name="back", to="start"), {"position": ""})
        self.assertEqual(self.client.wait_for("back", event_id=ids[-1])[0], "delivered")
        self.assertEqual([line["event"]["payload"]["n"] for line in self.lines("back")], [0, 1, 2])
        config = {"type": "log", "path": str(space().folder / "whole.ndjson")}
        entry = {"name": "whole", "aggregates": ["sought"], "config": config}
        self.do("configure", entry=entry, **{"from": "start"})
        self.assertEqual(self.client.wait_for("whole")[0], "delivered")
        self.assertEqual(len(self.lines("whole")), 3)

    def test_switch(self) -> None:
        """A plugin that was filled beside another takes its name; that other one is gone."""
        self.log("old", aggregates=["switched"])
        self.log("new", aggregates=["switched"])
        self.assertEqual(self.do("switch", name="old", **{"with": "new"})["entry"]["name"], "old")
        (entry,) = self.do("list")["plugins"]
        self.assertTrue(entry["config"]["path"].endswith("new.ndjson"))
        identifier = self.append("switched", 1)
        self.assertEqual(self.client.wait_for("old", event_id=identifier)[0], "delivered")
        self.assertEqual((len(self.lines("new")), self.lines("old")), (1, []))

    def test_replay(self) -> None:
        """Stored events are delivered again, with progress to look at."""
        for number in range(5):
            self.append("replayed", number)
        self.log("again", aggregates=["replayed"])
        self.client.wait_for("again")
        job = self.do("replay", name="again", aggregate_type="replayed")["job"]
        found = self.do("replay_progress", job=job)
        while found["state"] == "running":
            found = self.do("replay_progress", job=job)
        self.assertEqual((found["state"], found["delivered"]), ("done", 5))
        self.assertEqual(len(self.lines("again")), 5)
        self.assertIn("cancelled", self.do("cancel_replay", job=job))

    def test_counts(self) -> None:
        """What was delivered is counted, and can be forgotten."""
        self.log("counted", aggregates=["counting"])
        self.client.wait_for("counted", event_id=self.append("counting", 1))
        self.assertEqual(self.do("queue", name="counted")["done"], 1)
        self.assertEqual(self.do("clear_done", only_count=True), {"cleared": 1})
        self.assertEqual(self.do("clear_done"), {"cleared": 1})
        self.assertEqual(self.do("queue", name="counted")["done"], 0)

    def test_no_process(self) -> None:
        """Only process plugins have processes."""
        self.log("plain")
        self.assertEqual(self.do("status"), {"processes": []})
        self.assertRaises(ConfigError, self.do, "start", name="plain")


class WaitingSessions(TestCase):
    """A session that waits for a plugin has other things to ask."""

    async def test_gives_way(self) -> None:
        """Other calls are answered while one waits, which goes on waiting until its event is
        delivered."""
        endpoint = HostnameEndpoint(reactor, b"127.0.0.1", space().port)
        client = await Client.connect(endpoint, space().token)
        self.addCleanup(client.close)
        config = {"type": "log", "path": str(space().folder / "held.ndjson")}
        await client.plugins({"do": "configure", "entry": {"name": "held", "config": config}})
        await client.plugins({"do": "pause", "name": "held"})
        event = await client.append("held", "h-1", "made", {"n": 1})
        assert event is not None
        waiting = client.wait_for("held", event_id=event["metadata"]["event_id"])
        for _ in range(5):
            await client.get("held", "h-1")
        self.assertNoResult(waiting)
        await client.plugins({"do": "resume", "name": "held"})
        self.assertEqual((await waiting)[0], "delivered")
        self.assertEqual((await client.wait_for("held"))[0], "delivered")
        await client.plugins({"do": "remove", "name": "held", "disable": True})


class Rights(ProtocolCase):
    """What a token needs."""

    def refused(self, session: Session, *operations: dict[str, Any]) -> None:
        """Check that operations are refused for the token of the calls."""
        for operation in operations:
            self.assertRaises(Unauthorized, session.call, self.calls.plugins(operation))

    def test_each_its_own(self) -> None:
        """Looking and changing, plugins and queue are four rights."""
        session = self.open()
        plugin, queue = {"do": "disable", "name": "x"}, {"do": "drop", "id": 1}
        looks, jobs = {"do": "list"}, {"do": "queue"}
        wait = {"do": "wait", "name": "x", "position": "end"}
        for action, allowed in (
            ("plugin.read", (looks, wait)),
            ("plugin.manage", (plugin,)),
            ("queue.read", (jobs, {"do": "clear_done", "only_count": True})),
            ("queue.manage", (queue, {"do": "clear_done"})),
            ("aggregate.append", (wait,)),
            ("aggregate.read", (wait,)),
        ):
            self.calls = Calls(token(actions=[action]))
            everything = (plugin, queue, looks, jobs, wait, {"do": "unknown"})
            closed = [one for one in everything if one not in allowed]
            if action == "plugin.manage":
                closed.remove({"do": "unknown"})
            self.refused(session, *closed)
            for operation in allowed:
                try:
                    session.call(self.calls.plugins(operation))
                except ConfigError:
                    pass  # There is no such plugin, and nothing is delivered here.

    def test_secrets(self) -> None:
        """Credentials are shown only to who may change them."""
        headers: dict[str, JSON] = {"Authorization": "s3cret"}
        config: JSON = {"type": "http", "endpoint": "http://h/", "headers": headers}
        self.domain.plugins.configure({"name": "hook", "config": config})
        session = self.open()
        (entry,) = session.call(self.calls.plugins({"do": "list"}))["plugins"]
        self.assertEqual(entry["config"]["headers"], {"Authorization": "s3cret"})
        self.calls = Calls(token(actions=["plugin.read"]))
        (entry,) = session.call(self.calls.plugins({"do": "list"}))["plugins"]
        self.assertEqual(entry["config"]["headers"], {"Authorization": "***"})
