"""Several administrators at once, and what the audit trail tells about them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eventdbx.services.files import locked_directory
from tests.surfaces.admin.test_plugins import LOG, PluginVisit
from tests.surfaces.admin.visiting import Response

PROGRAM = "#!/bin/sh\nexec cat > /dev/null\n"
AT_ONCE = 8


class Races(PluginVisit):
    """Requests that are sent at the same time."""

    def together(self, method: str, path: str, bodies: list[Any], **headers: str) -> list[int]:
        """Send requests at once; return their statuses, sorted."""

        def send(body: Any) -> Response:
            return self.call(method, path, body, **headers)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sorted(answer.status for answer in pool.map(send, bodies))

    def test_one_change_of_a_schema_wins(self) -> None:
        """Of those who saw the same version of a schema, one changes it."""
        self.good(201, "PUT", "/schemas/race", {"events": {"made": {}}})
        for round_ in range(5):
            seen = self.call("GET", "/schemas/race").headers["etag"]
            bodies = [{"events": [f"e{round_}_{number}"]} for number in range(AT_ONCE)]
            found = self.together("POST", "/schemas/race/events", bodies, If_Match=seen)
            self.assertEqual(found, [200] + [412] * (AT_ONCE - 1))
        self.assertEqual(len(self.good(200, "GET", "/schemas/race")["events"]), 6)

    def test_no_change_of_a_schema_is_lost(self) -> None:
        """Without a condition, all changes are there in the end."""
        self.good(201, "PUT", "/schemas/sum", {"events": {"made": {}}})
        bodies = [{"events": [f"e{number}"]} for number in range(AT_ONCE * 3)]
        self.assertEqual(
            self.together("POST", "/schemas/sum/events", bodies), [200] * (AT_ONCE * 3)
        )
        self.assertEqual(len(self.good(200, "GET", "/schemas/sum")["events"]), AT_ONCE * 3 + 1)

    def test_one_creates(self) -> None:
        """Of those who declare the same schema, or configure the same plugin, one is first."""
        body = {"aggregate": "once", "events": ["made"]}
        found = self.together("POST", "/schemas", [body] * AT_ONCE)
        self.assertEqual(found, [201] + [409] * (AT_ONCE - 1))
        found = self.together("PUT", "/plugins/once", [LOG] * AT_ONCE, If_None_Match="*")
        self.assertEqual(found, [201] + [412] * (AT_ONCE - 1))
        self.assertEqual(self.names(), ["once"])

    def test_one_change_of_a_plugin_wins(self) -> None:
        """Of those who saw the same definition, one changes it."""
        seen = self.call("PUT", "/plugins/p", LOG).headers["etag"]
        bodies = [{"max_attempts": number + 1} for number in range(AT_ONCE)]
        found = self.together("PATCH", "/plugins/p", bodies, If_Match=seen)
        self.assertEqual(found.count(200), 1, found)
        self.assertLessEqual(set(found), {200, 409, 412})

    def test_a_command_that_stands_still(self) -> None:
        """While somebody holds the lock of the ledger, whoever needs it waits, and nobody else."""
        body = {"group": "g", "user": "u", "actions": ["aggregate.read"]}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            with locked_directory(self.place.workspace.folder / ".dbx"):
                waiting = [pool.submit(self.call, "POST", "/tokens", body) for _ in range(AT_ONCE)]
                for _ in range(20):  # Until all of them have come, and beyond.
                    self.good(200, "GET", "/schemas")
                    self.good(200, "GET", "/audit")
                self.assertFalse(any(one.done() for one in waiting))
            self.assertEqual({one.result().status for one in waiting}, {201})


class Audit(PluginVisit):
    """What was done is told, and by whom."""

    def actions(self, area: str, resource: str) -> list[Any]:
        """Return the actions on something, oldest first."""
        found = self.good(200, "GET", f"/audit?area={area}&resource={resource}")
        return sorted(found, key=lambda one: int(one["event_id"]))

    def test_schemas(self) -> None:
        """Each change of a schema is an action; the digests of one lead to the next."""
        self.good(201, "POST", "/schemas", {"aggregate": "told", "events": ["made"]})
        self.good(200, "PATCH", "/schemas/told", {"locked": True})
        self.good(422, "PATCH", "/schemas/told", {"locked": 1})
        self.good(204, "DELETE", "/schemas/told")
        made, patched, gone = self.actions("schemas", "told")
        self.assertEqual(made["way"], "POST /admin/schemas")
        self.assertEqual(patched["details"]["changes"], ["update"])
        self.assertEqual(made["before"], None)
        self.assertEqual(patched["before"], made["after"])
        self.assertEqual((gone["before"], gone["after"]), (patched["after"], None))
        self.assertEqual({one["event"] for one in (made, patched, gone)}, {"schemas_changed"})
        self.assertEqual({one["peer"] for one in (made, patched, gone)}, {"127.0.0.1"})
        checked = self.good(200, "GET", "/audit/schemas/verify")
        self.assertEqual(checked["area"], "schemas")

    def test_plugins(self) -> None:
        """So is each change of a plugin; nothing secret is told."""
        config = {"type": "http", "endpoint": "http://127.0.0.1:9/", "secret": "c2VjcmV0"}
        self.good(201, "PUT", "/plugins/told", {"config": config, "enabled": False})
        self.refused(502, "POST", "/plugins/told/enable")
        self.good(200, "POST", "/plugins/told/pause")
        self.good(204, "DELETE", "/plugins/told")
        found = self.actions("plugins", "told")
        self.assertEqual(
            [one["event"] for one in found],
            ["plugin_configured", "plugin_paused", "plugin_removed"],
        )
        self.assertEqual(found[1]["before"], found[0]["after"])
        self.assertNotIn("c2VjcmV0", json.dumps(found))

    def test_nothing(self) -> None:
        """What changed nothing after all is no action."""

        def told() -> list[str]:
            return [one["event_id"] for one in self.good(200, "GET", "/audit")]

        self.good(201, "PUT", "/plugins/idle", {**LOG, "enabled": False})
        before = told()
        self.good(200, "POST", "/plugins/idle/disable")
        self.good(200, "POST", "/queue/retry", {})
        self.good(200, "DELETE", "/queue/jobs?status=dead")
        self.good(200, "PATCH", "/config", {})
        self.good(200, "POST", "/config/reload")
        self.assertEqual(told(), before)

    def test_domain(self) -> None:
        """What is done in another domain is told in the trail of the active one, with its name."""
        workspace = self.place.workspace
        (workspace.folder / ".dbx" / "domains" / "other" / "event_store").mkdir(parents=True)
        path = "/schemas/elsewhere"
        made = self.call("PUT", path + "?domain=other", {"events": {"made": {}}})
        self.assertEqual(made.status, 201, made.document)
        self.refused(404, "GET", path)
        (found,) = self.actions("schemas", "elsewhere")
        self.assertEqual(found["details"]["domain"], "other")


class Processes(PluginVisit):
    """A process plugin over the Admin API."""

    def test_life_of_a_process(self) -> None:
        """An installed program is configured, runs, is stopped and started."""
        workspace = self.place.workspace
        (workspace.folder / "worker.sh").write_text(PROGRAM)
        workspace.run("plugin", "install", "worker", "1.0.0", "--source", "worker.sh")
        config = {"type": "process", "name": "worker", "version": "1.0.0", "env": {"A_KEY": "k"}}
        made = self.good(201, "PUT", "/plugins/w", {"config": config, "enabled": True})
        self.assertEqual(made["config"]["env"], {"A_KEY": "***"})
        found = self.good(200, "POST", "/plugins/w/process/start")
        self.assertTrue(found["running"])
        self.assertEqual(self.good(200, "GET", "/plugins/w/process")["pid"], found["pid"])
        self.assertFalse(self.good(200, "POST", "/plugins/w/process/stop")["running"])
        newer = {**config, "version": "2.0.0"}
        message = self.refused(400, "PATCH", "/plugins/w", {"config": newer})
        self.assertIn("plugin worker@2.0.0 is not installed", message)
        self.assertEqual(self.good(200, "GET", "/plugins/w")["config"]["version"], "1.0.0")
