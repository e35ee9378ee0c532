"""A running server as its monitoring sees it: health, numbers, plugins, traces."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError
from tests.daemon import Workspace, free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
WITHIN_S = 20.0
PROGRAM = "#!/bin/sh\nwhile read -r line; do :; done\n"
"""A program that reads what it is sent and never answers."""


class Observed(SynchronousTestCase):
    """One server with its main port open."""

    environment: dict[str, str] = {}

    def setUp(self) -> None:
        self.server = Workspace(Path(self.mktemp()).absolute())
        self.server._environment |= self.environment
        self.port = free_port()
        self.server.run("config", "--port", str(self.port))
        self.addCleanup(self.server.stop)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Return status and body of a request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def shown(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Scrape; return numbers by name of sample and label values."""
        _status, body = self.get("/metrics")
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                key = tuple(sample.labels.values())
                found.setdefault(sample.name, {})[key] = sample.value
        return found

    def wait_for(self, name: str, key: tuple[str, ...], value: float) -> None:
        """Scrape until a number has come to a value."""
        until = time.monotonic() + WITHIN_S
        while (shown := self.shown()).get(name, {}).get(key) != value:
            if time.monotonic() > until:
                raise AssertionError(f"{name}{key} is {shown.get(name)}\n{self.server.log}")
            time.sleep(0.1)

    def append(self, number: int, **options: Any) -> None:
        """Write an event through the server."""
        with BlockingClient("127.0.0.1", self.server.port, self.server.token) as client:
            client.append("order", f"o-{number}", "paid", {"n": number}, **options)


class Numbers(Observed):
    """What is scraped after a little work."""

    def test_writes_and_plugins_show(self) -> None:
        """Requests, events, commits, jobs and the process of a plugin are counted."""
        program = self.server.folder / "mute"
        program.write_text(PROGRAM)
        program.chmod(0o700)
        self.server.run("plugin", "install", "mute", "1.0.0", "--source", "mute")
        self.server.run("plugin", "config", "process", "mute")
        self.server.run("plugin", "config", "log", "--name", "lines", "--level", "debug")
        self.server.run("plugin", "config", "http", "--name", "gone", "--endpoint",
                        f"http://127.0.0.1:{free_port()}/in")  # fmt: skip
        self.server.start()
        for number in range(3):
            self.append(number)
        self.wait_for("eventdbx_plugin_jobs_completed_total", ("log (lines)",), 3)
        self.wait_for("eventdbx_plugin_breaker_open", ("http (gone)",), 1)
        self.wait_for("eventdbx_plugin_process_up", ("process (mute)",), 1)
        shown = self.shown()
        requests = shown["eventdbx_capnp_control_requests_total"]
        self.assertEqual(requests["append_event", "ok"], 3)
        self.assertEqual(requests["hello", "accepted"], 3)
        self.assertEqual(shown["eventdbx_events_appended_total"], {("default",): 3})
        self.assertGreaterEqual(shown["eventdbx_commit_seconds_count"][()], 3)
        self.assertEqual(shown["eventdbx_plugin_jobs_enqueued_total"]["log (lines)",], 3)
        self.assertEqual(shown["eventdbx_outbox_lag"]["http (gone)",], 3)
        self.assertGreater(shown["eventdbx_plugin_lag_seconds"]["http (gone)",], 0)
        self.assertEqual(shown["eventdbx_plugin_process_restarts_total"]["process (mute)",], 0)
        self.assertEqual(shown["eventdbx_plugin_paused"]["log (lines)",], 0)
        self.assertGreaterEqual(shown["eventdbx_plugin_queue_jobs"]["pending",], 1)
        self.assertEqual(shown["eventdbx_tokens"]["active",], 1)
        outcomes = shown["eventdbx_plugin_delivery_duration_seconds_count"]
        self.assertGreater(outcomes["http (gone)", "unavailable"], 0)
        self.assertNotIn(self.server.token.encode(), self.get("/metrics")[1])

    def test_failed_authentication_shows(self) -> None:
        """Wrong tokens are counted by where they were tried and why they were refused."""
        self.server.run("config", "--admin-enabled", "true", "--admin-port", str(self.port))
        self.server.start()
        self.get("/admin/tokens")
        self.get("/admin/tokens", Authorization="Bearer a.b.c")
        good = f"Bearer {self.server.token}"
        self.assertEqual(self.get("/admin/tokens", Authorization=good)[0], 200)
        self.get(f"/admin/{self.server.token}", Authorization=good)
        with self.assertRaises(EventDBXError):
            BlockingClient("127.0.0.1", self.server.port, "a.b.c", send_token=True)
        shown = self.shown()
        self.assertEqual(
            shown["eventdbx_auth_failures_total"],
            {("admin", "missing"): 1, ("admin", "invalid_token"): 1,
             ("control", "invalid_token"): 1},
        )  # fmt: skip
        requests = shown["eventdbx_http_requests_total"]
        self.assertEqual(requests["GET", "/admin/tokens", "401"], 2)
        self.assertEqual(requests["GET", "unmatched", "404"], 1)
        self.assertNotIn(self.server.token.encode(), self.get("/metrics")[1])

    def test_health_of_a_running_server(self) -> None:
        """A server that serves is ready; the metrics may want a token, health never does."""
        self.server.run("config", "--set", "http.metrics_token=scrape-me")
        self.server.start()
        status, body = self.get("/health/ready")
        self.assertEqual((status, orjson.loads(body)["status"]), (200, "ok"), body)
        self.assertEqual(self.get("/metrics")[0], 401)
        self.assertEqual(self.get("/metrics", Authorization="Bearer scrape-me")[0], 200)
        self.server.run("config", "--set", "http.metrics_token=another")
        self.assertEqual(self.get("/metrics", Authorization="Bearer scrape-me")[0], 401)
        self.assertEqual(self.get("/metrics", Authorization="Bearer another")[0], 200)
        self.assertNotIn("scrape-me", self.server.log)


class Traced(Observed):
    """A server that traces to its terminal."""

    environment = {"OTEL_TRACES_EXPORTER": "console"}

    def test_a_trace_goes_through(self) -> None:
        """A write and its delivery are spans of the trace that the event carries."""
        self.server.run("plugin", "config", "log", "--name", "lines", "--level", "debug")
        self.server.start()
        parent = f"00-{TRACE}-b7ad6b7169203331-01"
        self.append(1, metadata={"@trace": {"traceparent": parent}})
        self.append(2)
        self.wait_for("eventdbx_plugin_jobs_completed_total", ("log (lines)",), 2)
        self.server.stop()
        spans = [line for line in self.server.log.splitlines() if '"name": "eventdbx ' in line]
        self.assertEqual(
            sorted(line.strip() for line in spans),
            ['"name": "eventdbx append_event",', '"name": "eventdbx deliver",'],
        )
        self.assertEqual(self.server.log.count(f'"trace_id": "0x{TRACE}"'), 2)
