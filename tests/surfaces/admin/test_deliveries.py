"""Deliveries of plugins and their queue over the Admin API of a running server."""

from __future__ import annotations

import json
from typing import Any

from eventdbx.client import BlockingClient
from tests.surfaces.admin.test_plugins import LOG, PluginVisit
from tests.surfaces.sinks import HttpSink


class DeliveryVisit(PluginVisit):
    """Events of a type of its own for each test, and a web hook that answers as it is told."""

    def setUp(self) -> None:
        super().setUp()
        workspace = self.place.workspace
        self.client = BlockingClient("127.0.0.1", workspace.port, self.token)
        self.addCleanup(self.client.close)
        self.sink = HttpSink()
        self.addCleanup(self.sink.close)
        self.kind = "d_" + self.id().rpartition(".")[2].removeprefix("test_")

    def hook(self, name: str = "hook", **options: Any) -> None:
        """Configure the web hook."""
        config = {"type": "http", "endpoint": self.sink.url}
        options = {"aggregates": [self.kind], "payload_mode": "event-only", **options}
        self.good(201, "PUT", f"/plugins/{name}", {"config": config, **options})

    def append(self, number: int, identifier: str = "a-1") -> str:
        """Append an event; return its id."""
        event = self.client.append(self.kind, identifier, "made", {"n": number})
        assert event is not None
        found: str = event["metadata"]["event_id"]
        return found

    def settled(self, event_id: str, name: str = "hook") -> str:
        """Wait until an event is delivered or dead; return which."""
        outcome: str = self.client.plugins(
            {"do": "wait", "name": name, "event_id": int(event_id), "timeout_ms": 20_000}
        )["outcome"]
        return outcome

    def payloads(self) -> list[Any]:
        """Return what has arrived."""
        return [one.document["event"]["payload"]["n"] for one in self.sink.received]

    def dead(self, count: int) -> list[str]:
        """Have some dead jobs, each of an aggregate of its own; return their ids."""
        self.sink.status = 400
        self.hook(max_attempts=1)
        ids = [self.append(number, f"a-{number}") for number in range(count)]
        for event_id in ids:
            self.assertEqual(self.settled(event_id), "dead")
        return ids


class Deliveries(DeliveryVisit):
    """Where a plugin stands, trying it, replays."""

    def test_pause_and_resume(self) -> None:
        """A paused plugin gets everything later."""
        self.hook()
        self.assertTrue(self.good(200, "POST", "/plugins/hook/pause")["paused"])
        last = self.append(1)
        lag = self.good(200, "GET", "/plugins/hook/lag")
        self.assertEqual((lag["name"], lag["dead"]), ("hook", 0))
        self.assertGreaterEqual(lag["lag"], 1)
        self.assertIsNotNone(lag["paused"])
        self.assertIn(lag["name"], [one["name"] for one in self.good(200, "GET", "/queue/lag")])
        self.assertNotIn("paused", self.good(200, "POST", "/plugins/hook/resume"))
        self.assertEqual(self.settled(last), "delivered")
        self.assertEqual(self.payloads(), [1])

    def test_seek(self) -> None:
        """A plugin that is moved back gets events again."""
        self.hook()
        first = self.append(1)
        self.assertEqual(self.settled(first), "delivered")
        before = self.good(200, "GET", "/plugins/hook/lag")["position"]
        self.good(200, "POST", "/plugins/hook/seek", {"to": "start"})
        self.assertEqual(self.settled(self.append(2)), "delivered")
        self.assertEqual(self.payloads(), [1, 1, 2])
        found = self.good(200, "POST", "/plugins/hook/seek", {"to": before})
        self.assertEqual(found["position"], before)
        self.refused(400, "POST", "/plugins/hook/seek", {"to": "yesterday"})

    def test_test(self) -> None:
        """The sample event is delivered, or the reason is told."""
        self.hook()
        found = self.good(200, "POST", "/plugins/hook/test")
        self.assertEqual(
            (found["ok"], found["reason"], found["label"]), (True, None, "http (hook)")
        )
        self.assertEqual(len(self.sink.received), 1)
        self.sink.status = 500
        self.assertFalse(self.good(200, "POST", "/plugins/hook/test")["ok"])
        self.good(200, "POST", "/plugins/hook/disable")
        self.refused(400, "POST", "/plugins/hook/test")

    def test_replay(self) -> None:
        """Events of an aggregate are delivered again beside live delivery."""
        self.hook()
        self.assertEqual(self.settled([self.append(n) for n in (1, 2, 3)][-1]), "delivered")
        body = {"aggregate_type": self.kind, "aggregate_id": "a-1", "from_version": 2}
        answer = self.call("POST", "/plugins/hook/replays", body)
        self.assertEqual(answer.status, 202)
        path = f"/plugins/hook/replays/{answer.document['job']}"
        self.assertEqual(answer.headers["location"], "/admin" + path)
        for _ in range(10_000):
            if self.good(200, "GET", path)["state"] != "running":
                break
        self.assertEqual(self.good(200, "GET", path)["state"], "done")
        self.assertEqual(self.payloads(), [1, 2, 3, 2, 3])
        self.good(204, "DELETE", path)
        self.refused(404, "GET", "/plugins/hook/replays/nope")
        self.refused(404, "DELETE", "/plugins/hook/replays/nope")
        self.refused(400, "POST", "/plugins/hook/replays", {"from_time": "yesterday"})
        self.refused(422, "POST", "/plugins/hook/replays", {"payload_mode": "none"})

    def test_rename_and_switch(self) -> None:
        """A plugin keeps its place under another name, and can give it to another one."""
        self.hook()
        answer = self.call("POST", "/plugins/hook/rename", {"to": "renamed"})
        self.assertEqual((answer.status, answer.document["name"]), (200, "renamed"))
        self.refused(404, "GET", "/plugins/hook")
        self.good(201, "PUT", "/plugins/better", {**LOG, "aggregates": [self.kind]})
        self.refused(409, "POST", "/plugins/better/rename", {"to": "renamed"})
        found = self.good(200, "POST", "/plugins/renamed/switch", {"with": "better"})
        self.assertEqual((found["name"], found["config"]["type"]), ("renamed", "log"))
        self.assertEqual(self.names(), ["renamed"])

    def test_process_of_another_kind(self) -> None:
        """Only process plugins have a process."""
        self.hook()
        for method, rest in (("GET", ""), ("POST", "/start"), ("POST", "/stop")):
            message = self.refused(404, method, "/plugins/hook/process" + rest)
            self.assertEqual(message, "no process plugin named 'hook' is configured")


class Queue(DeliveryVisit):
    """What waits and what is dead."""

    def test_counts_and_jobs(self) -> None:
        """Dead jobs are counted, listed in pages, and shown with what would be sent."""
        ids = self.dead(3)
        counts = self.good(200, "GET", "/queue?plugin=hook")
        self.assertEqual((counts["dead"], counts["processing"]), (3, 0))
        jobs = self.good(200, "GET", "/queue/jobs?status=dead&plugin=hook")
        self.assertEqual(sorted(job["id"] for job in jobs), sorted(ids))
        self.assertEqual({job["status"] for job in jobs}, {"dead"})
        self.assertEqual(self.good(200, "GET", "/queue/jobs?status=pending&plugin=hook"), [])
        page = self.call("GET", "/queue/jobs?status=dead&plugin=hook&limit=2")
        self.assertEqual(page.document, jobs[:2])
        self.assertIn("x-next-cursor", page.headers)
        job = self.good(200, "GET", f"/queue/jobs/{ids[0]}")
        self.assertEqual(job["attempts"], 1)
        self.assertEqual(json.loads(job["document"])["event"]["payload"], {"n": 0})
        for path in ("/queue/jobs/1", "/queue/jobs/x", "/queue/jobs/" + "9" * 30,
                     "/queue?plugin=nope", "/queue/jobs?plugin=nope"):  # fmt: skip
            self.refused(404, "GET", path)
        self.refused(400, "GET", "/queue/jobs?status=lost")

    def test_retry(self) -> None:
        """A dead job is tried again, one or all."""
        ids = self.dead(2)
        done = self.good(200, "POST", "/queue/retry", {"id": ids[0], "wait_ms": 20_000})
        self.assertEqual(done, {"retried": 1, "dead": 1})
        self.sink.status = 200
        done = self.good(200, "POST", "/queue/retry", {"plugin": "hook", "wait_ms": 20_000})
        self.assertEqual(done, {"retried": 2, "dead": 0})
        self.assertEqual(self.good(200, "GET", "/queue?plugin=hook")["dead"], 0)
        self.assertEqual(self.good(200, "POST", "/queue/retry")["retried"], 0)
        self.refused(422, "POST", "/queue/retry", {"wait_ms": 60_000})
        self.refused(404, "POST", "/queue/retry", {"plugin": "nope"})

    def test_drop(self) -> None:
        """Dead jobs are given up one by one, or all of them; done ones are forgotten."""
        ids = self.dead(3)
        self.refused(400, "DELETE", "/queue/jobs")
        self.refused(400, "DELETE", "/queue/jobs?status=pending")
        self.assertEqual(self.good(200, "DELETE", f"/queue/jobs/{ids[0]}"), {"dropped": 1})
        self.refused(404, "DELETE", f"/queue/jobs/{ids[0]}")
        done = self.good(200, "DELETE", "/queue/jobs?status=dead&plugin=hook")
        self.assertEqual(done, {"dropped": 2})
        self.assertEqual(self.good(200, "GET", "/queue?plugin=hook")["dead"], 0)
        self.sink.status = 200
        self.assertEqual(self.settled(self.append(9, "a-9")), "delivered")
        counted = self.good(200, "GET", "/queue")["done"]
        self.assertGreaterEqual(counted, 1)
        done = self.good(200, "DELETE", "/queue/jobs?status=done&older_than_hours=1")
        self.assertEqual(done, {"dropped": 0})
        done = self.good(200, "DELETE", "/queue/jobs?status=done")
        self.assertEqual(done, {"dropped": counted})
        self.refused(400, "DELETE", "/queue/jobs?status=done&plugin=hook")
