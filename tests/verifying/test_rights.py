"""What a reader may not see is not in the evidence that they export, whatever they ask for."""

from __future__ import annotations

import atexit
import json
from base64 import b64decode
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from tests.daemon import Workspace

NUMBER = "078-05-1120"


@cache
def hidden() -> tuple[Workspace, str]:
    """Return a server with a hidden type and a hidden field, and the key of its log."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    space = Workspace(Path(folder.name) / "database")
    space.start()
    atexit.register(space.stop)
    space.run("schema", "create", "person", "-e", "person_seen", "-e", "person_left")
    space.run("schema", "create", "secret", "-e", "secret_kept")
    with BlockingClient("127.0.0.1", space.port, space.token) as client:
        client.append("order", "o-1", "order_placed", {"n": 1})
        client.append("order", "o-2", "order_placed", {"n": 2})
        client.append("person", "p-1", "person_seen", {"name": "Ada", "ssn": NUMBER})
        client.append("person", "p-1", "person_left", {"name": "Ada"})
        client.append("secret", "s-1", "secret_kept", {"what": NUMBER})
    space.run("schema", "hide", "--aggregate", "person", "--field", "ssn")
    space.run("schema", "hide", "--aggregate", "secret", "--whole-type")
    return space, json.loads(space.run("checkpoint", "--json"))["key"]


class Rights(SynchronousTestCase):
    """Exports of tokens that see some of a store."""

    def setUp(self) -> None:
        self.space, self.key = hidden()

    def exported(self, *words: str) -> tuple[bytes, dict[str, Any]]:
        """Return a bundle, and what the verifier says of it."""
        path = self.space.folder / "some.dbx-audit"
        self.space.run("audit", "export", *words, "--out", path.name)
        said = self.space.run("audit", "check", path.name, "--key", self.key, "--json")
        raw = path.read_bytes()
        path.unlink()
        return raw, json.loads(said)

    def contents(self, raw: bytes) -> bytes:
        """Return all that is in a bundle, base64 decoded too."""
        parts = [raw]
        for line in raw.splitlines():
            for value in json.loads(line).values():
                if isinstance(value, str) and value.isascii() and len(value) % 4 == 0:
                    try:
                        parts.append(b64decode(value, validate=True))
                    except ValueError:
                        continue
        return b"\n".join(parts)

    def test_hidden(self) -> None:
        """Hidden types are left out, content with a hidden field is withheld; all of it holds."""
        raw, found = self.exported()
        self.assertEqual((found["aggregates"], found["events"]), (3, 4))
        self.assertEqual((found["withheld"], found["whole"]), (1, False))
        everything = self.contents(raw)
        self.assertNotIn(NUMBER.encode(), everything)
        self.assertNotIn(b"s-1", everything)
        self.assertIn(b'"name":"Ada"', everything)
        for words in (("secret", "s-1"), ("secret",)):
            done = self.space.attempt("audit", "export", *words, "--out", "none.dbx-audit")
            self.assertEqual((done.returncode, (self.space.folder / "none.dbx-audit").exists()),
                             (1, False))  # fmt: skip

    def test_resources(self) -> None:
        """A token for some aggregates exports these alone, named or not."""
        made = self.space.run(
            "token", "generate", "--group", "g", "--user", "u", "--action", "aggregate.read",
            "--resource", "aggregate:order:o-1", "--json",
        )  # fmt: skip
        token = json.loads(made)["token"]
        for words in ((), ("order",)):
            raw, found = self.exported(*words, "--token", token)
            self.assertEqual((found["aggregates"], found["events"], found["whole"]), (1, 1, False))
            self.assertNotIn(b"o-2", self.contents(raw))
        done = self.space.attempt(
            "audit", "export", "order", "o-2", "--out", "none.dbx-audit", "--token", token
        )
        self.assertEqual(done.returncode, 1)

    def test_the_owner_of_the_files(self) -> None:
        """Who works on the store itself may ask for what schemas hide, and has all of it."""
        self.space.stop()
        try:
            raw, found = self.exported("--include-hidden")
        finally:
            self.space.start()
        self.assertEqual((found["events"], found["withheld"], found["whole"]), (5, 0, True))
        self.assertIn(NUMBER.encode(), self.contents(raw))
