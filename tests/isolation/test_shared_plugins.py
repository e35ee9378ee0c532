"""Installations whose domains share one file of plugins: it is not for tokens of some domains."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import Unauthorized
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.blocking import BlockingClient
from tests.daemon import Workspace, free_port

NOTE = {"type": "log", "level": "info"}


class SharedPlugins(SynchronousTestCase):
    """A server with ``tenants.multi_tenant`` on, and two domains."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).absolute())
        self.admin_port = free_port()
        opened = open_workspace(
            str(self.space.folder / ".dbx" / "config.toml"),
            environ={"HOME": str(self.space.folder)},
        )
        opened.workspace.save(
            {"tenants.multi_tenant": True, "admin.enabled": True, "admin.port": self.admin_port}
        )
        self.space.run("checkout", "-c", "north")
        self.space.run("checkout", "-c", "south")
        self.space.start()
        self.addCleanup(self.space.stop)
        for name, domains in (("everywhere", None), ("southern", ["south"]), ("far", ["north"])):
            entry: dict[str, Any] = {"name": name, "config": NOTE}
            if domains:
                entry["domains"] = domains
            self.plugins(self.space.token, "south", {"do": "configure", "entry": entry})
        self.token = orjson.loads(
            self.space.run(
                "token", "generate", "-g", "ops", "-u", "ann", "--action", "*.*",
                "--tenant", "south", "--json",
            )
        )["token"]  # fmt: skip

    def plugins(self, token: str, tenant: str, document: dict[str, Any]) -> Any:
        """Carry out an operation on plugins."""
        with BlockingClient("127.0.0.1", self.space.port, token, tenant=tenant) as session:
            return session.plugins(document)

    def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask the Admin API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = None if body is None else orjson.dumps(body)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, orjson.loads(text or b"null")

    def test_seen(self) -> None:
        """The token sees the plugins that get events of its domain."""
        found = self.plugins(self.token, "south", {"do": "list"})
        names = sorted(one["name"] for one in found["plugins"])
        self.assertEqual(names, ["everywhere", "southern"])
        shown = self.admin("GET", "/admin/plugins?domain=south")[1]
        self.assertEqual(sorted(one["name"] for one in shown), names)
        self.assertEqual(self.admin("GET", "/admin/plugins/far?domain=south")[0], 404)
        self.assertEqual(self.admin("GET", "/admin/plugins/none?domain=south")[0], 404)

    def test_changed(self) -> None:
        """It changes none: each could be sent the events of every domain."""
        for document in (
            {"do": "configure", "entry": {"name": "spy", "config": NOTE}},
            {"do": "disable", "name": "far"},
            {"do": "remove", "name": "southern", "disable": True},
        ):
            self.assertRaises(Unauthorized, self.plugins, self.token, "south", document)
        path = "/admin/plugins/spy?domain=south"
        self.assertEqual(self.admin("PUT", path, {"config": NOTE})[0], 403)
        found = self.plugins(self.space.token, "north", {"do": "list"})
        self.assertEqual(len(found["plugins"]), 3)
