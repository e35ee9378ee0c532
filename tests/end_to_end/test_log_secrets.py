"""The log on its chattiest level: what everybody did, and nothing that anybody could use."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError
from tests.daemon import Workspace, free_port

PART = 16
"""Characters of a secret in a row that would give it away."""


class LogSecretsTests(SynchronousTestCase):
    """A server that logs everything."""

    def test_no_part_of_a_secret(self) -> None:
        """Tokens, good and wrong ones, keys, payloads and credentials of plugins stay out."""
        place = Workspace(Path(self.mktemp()).absolute())
        admin = free_port()
        place.run("config", "--set", "log.level=trace", "--set", "log.format=json")
        place.run("config", "--admin-enabled", "true", "--admin-port", str(admin))
        place.start()
        self.addCleanup(place.stop)
        issued = json.loads(
            place.run(
                "token", "generate", "--group", "g", "--user", "u", "--action", "*.*", "--json"
            )
        )["token"]
        header, claims, _signature = issued.split(".")
        forged = ".".join((header, claims, "Zm9yZ2VkLXNpZ25hdHVyZS1vZi1ub2JvZHktYXQtYWxs" * 2))
        payload, credential = (
            "payload-that-nobody-logs-0123456789",
            "Bearer credential-0123456789-abcdef",
        )
        with BlockingClient("127.0.0.1", place.port, place.token) as client:
            client.append("person", "p-1", "made", {"text": payload})
            config = {"type": "http", "endpoint": f"http://127.0.0.1:{free_port()}/",
                      "headers": {"Authorization": credential}}  # fmt: skip
            client.plugins({"do": "configure", "entry": {"name": "hook", "config": config}})
            client.append("person", "p-1", "made", {"text": payload})
        for token in (forged, issued):
            for send in (True, False):
                try:
                    BlockingClient("127.0.0.1", place.port, token, send_token=send).close()
                except EventDBXError:
                    pass
        for token in (place.token, forged, issued):
            asking = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
            self.addCleanup(asking.close)
            for path in ("/admin/tokens", f"/admin/tokens/{token}", f"/admin/none?token={token}"):
                asking.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                self.assertLess(len(asking.getresponse().read()), 1 << 20)
        configuration = (place.folder / ".dbx" / "config.toml").read_text()
        keys = [
            line.split('"')[1]
            for line in configuration.splitlines()
            if line.startswith(("private_key", "data_encryption_key"))
        ]
        self.assertEqual(len(keys), 2)
        operator = place.token
        place.stop()
        self.assertIn("handshake", place.log)
        log = place.log
        for secret in (operator, issued, forged, payload, credential, *keys):
            # What all tokens begin with says nothing.
            for start in range(len(header) + 1 if secret.startswith(header) else 0, len(secret)):
                part = secret[start : start + PART]
                if len(part) == PART:
                    self.assertNotIn(part, log)
