"""The configuration over the Admin API of a running server."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eventdbx.client import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import Workspace, free_port
from tests.surfaces.admin.visiting import Place, Visit


class Configuration(Visit):
    """``/admin/config``."""

    @property
    def path(self) -> Path:
        return self.place.workspace.folder / ".dbx" / "config.toml"

    def shown(self) -> Any:
        return self.good(200, "GET", "/config")

    def tearDown(self) -> None:
        self.place.workspace.run("config", "--set", "list_page_size=10", "--port", "0")
        self.place.workspace.run("config", "--set", "admin.require_if_match=false")

    def test_shown(self) -> None:
        """Every key is there with its value, but no secret."""
        shown = self.shown()
        self.assertEqual(shown["limits"]["drain_timeout_secs"], 10)
        self.assertEqual(shown["data_dir"], str(self.place.workspace.folder / ".dbx"))
        for secret in (shown["data_encryption_key"], shown["auth"]["private_key"]):
            self.assertEqual(secret, "<hidden>")
        self.assertEqual(shown["restart_required"], [])

    def test_changed(self) -> None:
        """A live key counts from the next request on; another is saved and named."""
        body = {"list_page_size": 3, "port": 7099, "log": {"level": "debug"}}
        changed = self.good(200, "PATCH", "/config", body)
        self.assertEqual((changed["list_page_size"], changed["log"]["level"]), (3, "debug"))
        self.assertEqual((changed["port"], changed["restart_required"]), (0, ["port"]))
        self.assertIn("port = 7099\n", self.path.read_text())
        changed = self.good(200, "PATCH", "/config", {"list_page_size": None, "port": 0})
        self.assertEqual((changed["list_page_size"], changed["restart_required"]), (10, []))

    def test_sent_back(self) -> None:
        """The document as it was shown changes nothing when it is sent back."""
        before = self.shown()
        after = self.good(200, "PATCH", "/config", before)
        self.assertEqual({**after, "updated_at": ""}, {**before, "updated_at": ""})

    def test_refused(self) -> None:
        """What is wrong, unknown or not changed over the network is refused, all of it unsaved."""
        text = self.path.read_text()
        for body, said in (
            ({"list_page_size": 5, "page_limits": 7}, "did you mean 'page_limit'?"),
            ({"list_page_size": 5000}, "list_page_size must not exceed page_limit"),
            ({"snowflake_worker_id": 5000}, "must be between 0 and 1023"),
            ({"auth": {"private_key": "mine"}}, "auth.private_key cannot be changed in this way"),
            ({"auth": {"previous_keys": [{}]}}, "cannot be changed in this way"),
            ({"data_encryption_key": None}, "cannot be changed in this way"),
            ({"data_dir": "/elsewhere"}, "cannot be changed in this way"),
            ({"remotes": {"a": {"endpoint": "tcp://h:1"}}}, "cannot be changed in this way"),
            ({"socket": {"bind_addr": "nowhere"}}, "socket.bind_addr must be host:port"),
        ):
            self.assertIn(said, self.refused(400, "PATCH", "/config", body))
        self.refused(422, "PATCH", "/config", {"list_page_size": "ten"})
        self.refused(422, "PATCH", "/config", {"admin": {"enabled": 1}})
        self.assertEqual(self.path.read_text(), text)

    def test_conditions(self) -> None:
        """A change of what has changed meanwhile is refused, where a condition says so."""
        tag = self.call("GET", "/config").headers["etag"]
        self.assertEqual(self.call("GET", "/config", If_None_Match=tag).status, 304)
        self.good(200, "PATCH", "/config", {"list_page_size": 6}, If_Match=tag)
        self.refused(412, "PATCH", "/config", {"list_page_size": 7}, If_Match=tag)
        tag = self.call("GET", "/config").headers["etag"]

        def change(size: int) -> int:
            return self.call("PATCH", "/config", {"list_page_size": size}, If_Match=tag).status

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(sorted(pool.map(change, range(11, 19))), [200] + [412] * 7)
        self.good(200, "PATCH", "/config", {"admin": {"require_if_match": True}})
        self.refused(428, "PATCH", "/config", {"list_page_size": 7})

    def test_reloaded(self) -> None:
        """What was edited by hand counts once it is asked for."""
        text = self.path.read_text()
        self.path.write_text(text.replace("page_limit = 1000\n", "page_limit = 900\n"))
        answer = self.good(200, "POST", "/config/reload")
        self.assertEqual(answer, {"changed": ["page_limit"], "restart_required": []})
        self.path.write_text(text.replace("page_limit = 1000\n", "page_limit = x\n"))
        self.assertIn("TOML parse error", self.refused(500, "POST", "/config/reload"))
        self.assertEqual(self.shown()["page_limit"], 900)
        self.path.write_text(text)
        self.good(200, "POST", "/config/reload")

    def test_rights(self) -> None:
        """Reading asks for ``config.read``, changing for ``config.write``."""
        reads = self.token_for("config.read")
        self.assertEqual(self.call("GET", "/config", token=reads).status, 200)
        self.assertEqual(self.call("PATCH", "/config", {}, token=reads).status, 401)
        self.assertEqual(self.call("POST", "/config/reload", token=reads).status, 401)


class Switching(Visit):
    """The Admin API goes and comes without a restart."""

    def setUp(self) -> None:
        space = Workspace(Path(self.mktemp()).absolute())
        self.place = Place(space, free_port())
        space.start()
        self.addCleanup(space.stop)
        self.token = space.token

    def on(self, port: int) -> tuple[str, ...]:
        return ("config", "--admin-enabled", "true", "--admin-port", str(port))

    def test_on_and_off(self) -> None:
        """Switched on it answers at the place that is configured then; switched off no more."""
        space, port = self.place.workspace, self.place.port
        for place in (port, free_port()):
            self.place = self.place._replace(port=place)
            with self.assertRaises(OSError):
                self.call("GET", "/config")
            self.assertEqual(space.attempt(*self.on(place)).stderr, "")
            self.assertEqual(self.good(200, "GET", "/config")["admin"]["port"], place)
            said = space.attempt("config", "--admin-port", str(port)).stderr
            moved = "" if place == port else "restart required for: admin.port\n"
            self.assertEqual(said, moved)
            self.assertEqual(space.attempt("config", "--admin-enabled", "false").stderr, "")

    def test_place_that_is_taken(self) -> None:
        """A place that cannot be had refuses the whole change, and says so; the server goes on."""
        space = self.place.workspace
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            ended = space.attempt(*self.on(port), "--page-limit", "77")
            self.assertEqual(ended.returncode, 1)
            self.assertIn("saved, but the running server refuses it", ended.stderr)
            self.assertIn(f"127.0.0.1:{port}", ended.stderr)
            with BlockingClient("127.0.0.1", space.port, space.token) as client:
                shown = client.call(Calls(self.token).administer({"do": "configuration"}))
                self.assertEqual((shown["page_limit"], shown["admin"]["enabled"]), (1000, False))
        self.assertEqual(space.run(*self.on(self.place.port), "--reload")[:13], "in force now:")
        self.assertEqual(self.good(200, "GET", "/config")["page_limit"], 77)
