"""Plugins over the Admin API of a running server."""

from __future__ import annotations

import json
from typing import Any

from tests.daemon import free_port
from tests.surfaces.admin.visiting import Visit
from tests.surfaces.sinks import HttpSink

LOG = {"config": {"type": "log"}}


class PluginVisit(Visit):
    """Plugins that a test configures go with it."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Remove what is left."""
        for one in self.good(200, "GET", "/plugins"):
            self.good(204, "DELETE", f"/plugins/{one['name']}?disable=true")

    def names(self, query: str = "") -> list[str]:
        """Return the names of the plugins that are listed."""
        return [one["name"] for one in self.good(200, "GET", f"/plugins{query}")]


class Definitions(PluginVisit):
    """What is configured."""

    def test_life(self) -> None:
        """A plugin is configured, replaced, listed, disabled, and removed when it is off."""
        answer = self.call("PUT", "/plugins/logger", {"config": {"type": "log", "level": "debug"}})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["location"], "/admin/plugins/logger")
        self.assertEqual(answer.document["enabled"], True)
        self.assertEqual(answer.document["config"]["level"], "debug")
        found = self.good(200, "PUT", "/plugins/logger", {"config": {"type": "log"}})
        self.assertEqual(found["config"]["level"], "info")
        self.assertEqual(self.good(200, "GET", "/plugins/logger"), found)
        self.assertEqual(self.good(200, "GET", "/plugins"), [found])
        self.assertEqual(
            self.refused(409, "DELETE", "/plugins/logger"),
            "disable plugin 'logger' before removing it "
            "(use plugin disable logger or pass --disable)",
        )
        found = self.good(200, "POST", "/plugins/logger/disable")
        self.assertFalse(found["enabled"])
        self.assertTrue(self.good(200, "POST", "/plugins/logger/enable")["enabled"])
        self.good(200, "POST", "/plugins/logger/disable")
        self.good(204, "DELETE", "/plugins/logger")
        message = self.refused(404, "GET", "/plugins/logger")
        self.assertEqual(message, "no plugin named 'logger' is configured")

    def test_unknown(self) -> None:
        """Whatever is to be done with a plugin that is not there: 404."""
        for method, rest, body in (
            ("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None),
            ("POST", "/enable", None), ("POST", "/disable", None), ("POST", "/pause", None),
            ("POST", "/resume", None), ("POST", "/rename", {"to": "x"}),
            ("POST", "/switch", {"with": "x"}), ("GET", "/lag", None),
            ("POST", "/seek", {"to": "end"}), ("POST", "/test", None), ("POST", "/replays", {}),
            ("GET", "/replays/x", None), ("GET", "/process", None),
            ("POST", "/process/start", None),
        ):  # fmt: skip
            message = self.refused(404, method, f"/plugins/nope{rest}", body)
            self.assertEqual(message, "no plugin named 'nope' is configured")

    def test_names(self) -> None:
        """Names are trimmed; one in the body must be that of the path; a kind keeps its name."""
        self.good(201, "PUT", "/plugins/%20spaces%20", LOG)
        self.good(200, "PUT", "/plugins/spaces", {**LOG, "name": " "})
        self.assertEqual(self.names(), ["spaces"])
        self.assertEqual(
            self.refused(400, "PUT", "/plugins/a", {**LOG, "name": "b"}),
            "configuration error: plugin name 'b' does not match path parameter 'a'",
        )
        self.assertEqual(
            self.refused(400, "PUT", "/plugins/%20", LOG),
            "configuration error: plugin name cannot be empty",
        )
        tcp = {"type": "tcp", "host": "127.0.0.1", "port": 9}
        self.assertEqual(
            self.refused(409, "PUT", "/plugins/spaces", {"config": tcp}),
            "plugin name 'spaces' is already used by log",
        )

    def test_tested_before_stored(self) -> None:
        """``enabled: true`` tries the target; what cannot be reached or used is not stored."""
        port = free_port()
        tcp = {"type": "tcp", "host": "127.0.0.1", "port": port}
        document = self.good(502, "PUT", "/plugins/t", {"enabled": True, "config": tcp})
        self.assertEqual(document["message"], "failed to establish connection for 't'")
        self.assertIn("refused", document["errors"][0]["message"])
        loud = {"type": "log", "level": "loud"}
        self.assertEqual(
            self.refused(400, "PUT", "/plugins/l", {"enabled": True, "config": loud}),
            "configuration error: unsupported log level 'loud'",
        )
        program = {"type": "process", "name": "nothing", "version": "1.0.0"}
        self.assertIn(
            "plugin nothing@1.0.0 is not installed",
            self.refused(400, "PUT", "/plugins/p", {"config": program}),
        )
        self.assertEqual(self.names(), [])
        self.good(201, "PUT", "/plugins/t", {"config": tcp})
        self.good(200, "POST", "/plugins/t/disable")
        self.refused(502, "POST", "/plugins/t/enable")
        self.refused(502, "PATCH", "/plugins/t", {"enabled": True, "concurrency": 4})
        found = self.good(200, "GET", "/plugins/t")
        self.assertEqual((found["enabled"], found.get("concurrency")), (False, None))

    def test_reached(self) -> None:
        """A target that is there lets the plugin be enabled, one that is ill does not."""
        sink = HttpSink()
        self.addCleanup(sink.close)
        body = {"enabled": True, "config": {"type": "http", "endpoint": sink.url}}
        self.assertTrue(self.good(201, "PUT", "/plugins/hook", body)["enabled"])
        self.assertTrue(self.good(200, "POST", "/plugins/hook/enable")["enabled"])
        sink.status = 500
        self.refused(502, "PUT", "/plugins/hook", body)

    def test_wrong_shapes(self) -> None:
        """A definition of another shape is refused before anything is done."""
        bodies: list[Any] = [
            [], {}, {"config": "log"}, {"config": {}}, {"config": {"type": "grpc"}},
            {"config": {"type": "http"}}, {"config": {"type": "tcp", "host": "h"}},
            {"config": {"type": "tcp", "host": "h", "port": 70_000}},
            {"config": {"type": "tcp", "host": "h", "port": "9"}},
            {"config": {"type": "http", "endpoint": "x", "headers": ["a"]}},
            {"config": {"type": "log", "level": 3}}, {**LOG, "enabled": "yes"},
        ]  # fmt: skip
        for body in bodies:
            self.refused(422, "PUT", "/plugins/p", body)
        self.assertIn(
            "concurrency", self.refused(400, "PUT", "/plugins/p", {**LOG, "concurrency": 1_000})
        )
        self.assertEqual(self.names(), [])

    def test_filters(self) -> None:
        """The list can be narrowed to a kind, and to what is enabled; it has pages."""
        self.good(201, "PUT", "/plugins/a", LOG)
        self.good(201, "PUT", "/plugins/b", {**LOG, "enabled": False})
        tcp = {"type": "tcp", "host": "127.0.0.1", "port": 9}
        self.good(201, "PUT", "/plugins/c", {"config": tcp, "enabled": False})
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.assertEqual(self.names("?enabled=true"), ["a"])
        self.assertEqual(self.names("?enabled=false&type=log"), ["b"])
        self.assertEqual(self.names("?type=tcp"), ["c"])
        self.refused(400, "GET", "/plugins?enabled=maybe")
        page = self.call("GET", "/plugins?limit=2")
        self.assertEqual([one["name"] for one in page.document], ["a", "b"])
        self.assertEqual(self.names(f"?limit=2&cursor={page.headers['x-next-cursor']}"), ["c"])

    def test_options(self) -> None:
        """Options are stored; unknown members are passed over."""
        body = {**LOG, "payload_mode": "event-only", "emit_events": False, "colour": 1}
        body["config"] = {"type": "log", "colour": 1}
        found = self.good(201, "PUT", "/plugins/modes", body)
        self.assertEqual((found["payload_mode"], found["emit_events"]), ("event-only", False))
        self.assertNotIn("colour", found)
        self.assertNotIn("colour", found["config"])
        found = self.good(200, "PUT", "/plugins/modes", LOG)
        self.assertEqual(found["payload_mode"], "event-only")

    def test_patch(self) -> None:
        """Some options change, the others stay; null brings a default back."""
        self.good(201, "PUT", "/plugins/p", {**LOG, "order": "strict", "max_attempts": 3})
        found = self.good(
            200, "PATCH", "/plugins/p",
            {"order": None, "payload_mode": "event-only", "config": {"level": "warn"}},
        )  # fmt: skip
        self.assertNotIn("order", found)
        self.assertEqual((found["max_attempts"], found["payload_mode"]), (3, "event-only"))
        self.assertEqual(found["config"]["level"], "warn")
        self.refused(400, "PATCH", "/plugins/p", {"config": {"type": "tcp"}})
        self.refused(400, "PATCH", "/plugins/p", {"max_attempts": 100_000})
        self.assertEqual(self.good(200, "GET", "/plugins/p"), found)

    def test_unavailable(self) -> None:
        """An entry of the file that cannot be used is listed with the reason, and can go."""
        path = self.place.workspace.folder / ".dbx" / "plugins.json"
        entry = {"enabled": True, "name": "old", "config": {"type": "grpc", "secret": "s3cret"}}
        path.write_text(json.dumps([entry]))
        self.good(201, "PUT", "/plugins/new", LOG)
        listed = self.good(200, "GET", "/plugins")
        self.assertEqual([one["name"] for one in listed], ["old", "new"])
        self.assertFalse(listed[0]["enabled"])
        self.assertIn("was removed", listed[0]["unavailable"])
        self.assertEqual(listed[0]["config"], {"type": "grpc", "secret": "***"})
        self.refused(400, "POST", "/plugins/old/enable")
        self.good(204, "DELETE", "/plugins/old")


class Secrets(PluginVisit):
    """Credentials of plugins."""

    def stored(self) -> Any:
        """Return the config of the one entry as it is in the file."""
        path = self.place.workspace.folder / ".dbx" / "plugins.json"
        (entry,) = json.loads(path.read_text())
        return entry["config"]

    def test_masked_and_kept(self) -> None:
        """Credentials are never answered; a mask that is sent back keeps what is stored."""
        config = {
            "type": "http",
            "endpoint": "http://127.0.0.1:9/",
            "headers": {"Authorization": "Bearer abc", "X-Plain": "p"},
            "secret": "whsec_MDEyMzQ1Njc4OQ==",
        }
        answer = self.call("PUT", "/plugins/hook", {"config": config, "enabled": False})
        self.assertEqual(answer.status, 201)
        shown = answer.document["config"]
        self.assertEqual(shown["headers"], {"Authorization": "***", "X-Plain": "p"})
        self.assertEqual(shown["secret"], "***")
        for path in ("/plugins", "/plugins/hook"):
            text = json.dumps(self.good(200, "GET", path))
            self.assertNotIn("abc", text)
            self.assertNotIn("whsec", text)
        shown["headers"]["X-More"] = "m"
        self.good(200, "PUT", "/plugins/hook", {"config": shown, "enabled": False})
        self.assertEqual(
            self.stored()["headers"],
            {"Authorization": "Bearer abc", "X-Plain": "p", "X-More": "m"},
        )
        self.assertEqual(self.stored()["secret"], config["secret"])
        changes = {"headers": {"X-Plain": None, "Authorization": "***", "X-New": "n"}}
        self.good(200, "PATCH", "/plugins/hook", {"config": changes})
        self.assertEqual(
            self.stored()["headers"],
            {"Authorization": "Bearer abc", "X-More": "m", "X-New": "n"},
        )
        message = self.refused(
            400, "PATCH", "/plugins/hook", {"config": {"headers": {"X-Key": "***"}}}
        )
        self.assertIn("nothing is stored there", message)


class Conditions(PluginVisit):
    """Changes of what one has seen, and of nothing else."""

    def test_if_match(self) -> None:
        """Whoever saw an older definition changes nothing."""
        seen = self.call("PUT", "/plugins/p", LOG, If_None_Match="*").headers["etag"]
        self.refused(412, "PUT", "/plugins/p", LOG, If_None_Match="*")
        self.assertEqual(self.call("GET", "/plugins/p").headers["etag"], seen)
        changed = self.call("PATCH", "/plugins/p", {"order": "none"}, If_Match=seen)
        self.assertEqual(changed.status, 200)
        for method, rest, body in (
            ("PUT", "", LOG), ("PATCH", "", {"order": "strict"}), ("DELETE", "", None),
            ("POST", "/disable", None), ("POST", "/enable", None), ("POST", "/pause", None),
            ("POST", "/resume", None), ("POST", "/rename", {"to": "q"}),
        ):  # fmt: skip
            self.refused(412, method, "/plugins/p" + rest, body, If_Match=seen)
        self.assertEqual(self.good(200, "GET", "/plugins/p"), changed.document)
        now = changed.headers["etag"]
        self.good(200, "POST", "/plugins/p/disable", If_Match=now)


class Rights(PluginVisit):
    """Who may do what."""

    def test_reading_is_not_managing(self) -> None:
        """``plugin.read`` looks and changes nothing; the queue's rights do neither."""
        self.good(201, "PUT", "/plugins/p", LOG)
        reader, queue = self.token_for("plugin.read"), self.token_for("queue.*")
        self.assertEqual(self.call("GET", "/plugins/p", token=reader).status, 200)
        self.assertEqual(self.call("GET", "/queue", token=queue).status, 200)
        for method, path, token in (
            ("POST", "/plugins/p/disable", reader),
            ("DELETE", "/plugins/p", reader),
            ("GET", "/plugins/p", queue),
            ("GET", "/queue", reader),
        ):
            self.assertIn(self.call(method, path, token=token).status, (401, 403))
        self.assertTrue(self.good(200, "GET", "/plugins/p")["enabled"])
