"""Remotes over the Admin API of a running server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.surfaces.admin.visiting import Visit

TOKEN = "eyJhbGciOiJub25lIn0.e30.c2ln"


class Remotes(Visit):
    """``/admin/remotes``."""

    def tearDown(self) -> None:
        for name in self.good(200, "GET", "/remotes"):
            self.good(204, "DELETE", f"/remotes/{name}")

    def test_life(self) -> None:
        """A remote is stored, replaced, shown and removed; its token never comes out."""
        self.assertEqual(self.good(200, "GET", "/remotes"), {})
        body = {"endpoint": "10.0.0.2", "token": TOKEN, "name": "standby"}
        made = self.good(201, "PUT", "/remotes/standby", body)
        self.assertEqual(made["endpoint"], "tcp://10.0.0.2:6363")
        self.assertTrue(made["token"].startswith("ENCv1:"))
        self.assertEqual(self.good(200, "GET", "/remotes/standby"), made)
        body = {"endpoint": "[::1]:7", "token_env": "STANDBY"}
        again = self.good(200, "POST", "/remotes/standby", body)
        self.assertEqual((again["endpoint"], again["token_env"]), ("tcp://[::1]:7", "STANDBY"))
        self.assertEqual(self.good(200, "GET", "/remotes"), {"standby": again})
        self.assertIsNone(self.good(204, "DELETE", "/remotes/standby"))
        for method in ("GET", "DELETE"):
            said = self.refused(404, method, "/remotes/standby")
            self.assertIn("no remote named 'standby' is configured", said)

    def test_refused(self) -> None:
        """Wrong remotes are refused with the reason; a bad token is not repeated."""
        for name, body, status, said in (
            ("%20", {"endpoint": "h", "token": TOKEN}, 400, "remote name cannot be empty"),
            ("e", {"endpoint": " ", "token": TOKEN}, 400, "remote endpoint cannot be empty"),
            ("e", {"endpoint": "h", "token": "hush"}, 400, "must be a JWT with three segments"),
            ("e", {"endpoint": "udp://h", "token": TOKEN}, 400, "scheme must be 'tcp'"),
            ("e", {"endpoint": "h", "token": TOKEN, "name": "f"}, 400, "does not match path"),
            ("e", {"endpoint": "h"}, 422, "Failed to deserialize"),
            ("e", {"token": TOKEN}, 422, "Failed to deserialize"),
            ("e", {"endpoint": 5, "token": TOKEN}, 422, "Failed to deserialize"),
        ):
            text = self.refused(status, "PUT", f"/remotes/{name}", body)
            self.assertIn(said, text)
            self.assertNotIn("hush", text)
        self.assertEqual(self.good(200, "GET", "/remotes"), {})

    def test_names_are_data(self) -> None:
        """What looks like an option is a name."""
        self.refused(404, "DELETE", "/remotes/--help")
        self.good(201, "PUT", "/remotes/--help", {"endpoint": "h", "token": TOKEN})
        self.good(204, "DELETE", "/remotes/--help")

    def test_conditions(self) -> None:
        """``If-None-Match: *`` only creates; ``If-Match`` only changes what one has seen."""
        body = {"endpoint": "h", "token": TOKEN}
        made = self.call("PUT", "/remotes/a", body, If_None_Match="*")
        self.assertEqual(made.status, 201)
        self.refused(412, "PUT", "/remotes/a", body, If_None_Match="*")
        self.refused(412, "DELETE", "/remotes/a", If_Match='"other"')
        self.good(204, "DELETE", "/remotes/a", If_Match=made.headers["etag"])

    def test_one_change_wins(self) -> None:
        """Of those who saw the same remote, one changes it."""
        made = self.call("PUT", "/remotes/a", {"endpoint": "h", "token": TOKEN})

        def put(number: int) -> int:
            body = {"endpoint": f"h{number}", "token": TOKEN}
            return self.call("PUT", "/remotes/a", body, If_Match=made.headers["etag"]).status

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(sorted(pool.map(put, range(8))), [200] + [412] * 7)

    def test_rights(self) -> None:
        """Reading asks for ``remote.read``, changing for ``remote.manage``."""
        reads = self.token_for("remote.read")
        self.assertEqual(self.call("GET", "/remotes", token=reads).status, 200)
        body = {"endpoint": "h", "token": TOKEN}
        self.assertEqual(self.call("PUT", "/remotes/a", body, token=reads).status, 401)
        self.assertEqual(self.call("DELETE", "/remotes/a", token=reads).status, 401)
