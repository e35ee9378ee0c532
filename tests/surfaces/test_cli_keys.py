"""``dbx keys``: status, rotation, and the backup of data keys, with a server and without."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError
from tests.daemon import Workspace


class KeysTests(SynchronousTestCase):
    """An installation with two encrypted domains."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.folder = self.space.folder / ".dbx"
        self.add("o-1")

    def add(self, identifier: str) -> None:
        made = ("--event", "made", "--field", "text=secret")
        self.space.run("aggregate", "create", "order", identifier, *made)

    def other_domain(self) -> None:
        """Make a second domain with an event in it."""
        self.space.run("config", "--set", "domain=other")
        self.add("o-2")
        self.space.run("config", "--set", "domain=default")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.space.run("keys", "status", "--json"))
        return found

    def failed(self, *arguments: str, **environment: str) -> str:
        ended = self.space.attempt(*arguments, **environment)
        self.assertEqual(ended.returncode, 1, ended.stdout)
        return ended.stderr

    def key(self) -> str:
        return self.space.run("config", "data_encryption_key", "--show-secrets").strip()

    def test_rotated_without_a_server(self) -> None:
        """All domains, tokens and remotes have the new key; the older one can go."""
        self.other_domain()
        self.space.run("token", "generate", "-g", "a", "-u", "b", "--action", "x")
        self.space.run("remote", "add", "far", "127.0.0.1:1", "--token", "a.b.c")
        old = self.key()
        document = json.loads(self.space.run("keys", "rotate", "--json"))
        self.assertNotEqual(self.key(), old)
        self.assertEqual([one["wrapped_by"] for one in document["domains"]], ["present"] * 2)
        self.assertEqual({one["wrapped_by"] for one in document["files"]}, {"present"})
        self.assertIn("remotes.far.token", [one["file"] for one in document["files"]])
        self.assertFalse(document["older_keys_needed"])
        self.assertIn("not needed any more", self.space.run("keys", "status"))
        self.space.run("config", "--unset", "data_encryption_keys")
        for domain, identifier in (("default", "o-1"), ("other", "o-2")):
            self.space.run("config", "--set", f"domain={domain}")
            self.assertIn("secret", self.space.run("aggregate", "get", "order", identifier))
        self.assertIn("far", self.space.run("remote", "ls"))
        self.assertIn("verified", self.space.run("verify"))

    def test_rotated_beside_a_server(self) -> None:
        """The server goes on with open sessions, and after its next start."""
        self.space.start()
        with BlockingClient("127.0.0.1", self.space.port, self.space.token) as client:
            document = json.loads(self.space.run("keys", "rotate", "--json"))
            self.assertFalse(document["older_keys_needed"])
            client.append("order", "o-1", "made", {"text": "later"})
            made = self.space.run("token", "generate", "-g", "a", "-u", "b", "--action", "*.*",
                                  "--json")  # fmt: skip
            token = json.loads(made)["token"]
            BlockingClient("127.0.0.1", self.space.port, token).close()
            self.space.run("token", "revoke", token)
            self.assertRaises(EventDBXError, BlockingClient, "127.0.0.1", self.space.port, token)
            self.space.run("config", "--unset", "data_encryption_keys")
            self.assertEqual(len(client.events("order", "o-1").items), 2)
        self.space.stop()
        self.space.start()
        self.assertIn("later", self.space.run("events", "order", "o-1", "--json"))
        self.assertIn("data_key_rotated", self.space.run("audit", "log", "--json"))

    def test_key_in_use(self) -> None:
        """A key that something still needs cannot be taken away, by command or from a server."""
        another = base64.b64encode(os.urandom(32)).decode()
        self.space.run("config", "--dek", another)
        self.assertEqual(self.status()["domains"][0]["wrapped_by"], "older")
        told = self.failed("config", "--unset", "data_encryption_keys")
        self.assertIn("is still needed to read", told)
        self.assertIn("data_keys", told)
        self.assertIn("older key", self.space.run("doctor"))
        self.add("o-2")  # Opened to write: wrapped anew at once.
        self.assertEqual(self.status()["domains"][0]["wrapped_by"], "present")

    def test_key_of_the_environment(self) -> None:
        """It is changed where it comes from, and the stores follow at the next start."""
        old, new = self.key(), base64.b64encode(os.urandom(32)).decode()
        told = self.failed("keys", "rotate", EVENTDBX_DATA_ENCRYPTION_KEY=old)
        self.assertIn("the data key comes from EVENTDBX_DATA_ENCRYPTION_KEY", told)
        self.space.run("config", "--set", f"data_encryption_keys={old}")
        self.space._environment["EVENTDBX_DATA_ENCRYPTION_KEY"] = new
        self.space.start()
        self.space.wait_for_log("the data keys are wrapped by the present key")
        self.assertEqual(self.space.run("keys", "status").splitlines()[0],
                         "present key: from EVENTDBX_DATA_ENCRYPTION_KEY")  # fmt: skip
        self.space.stop()
        self.assertIn("secret", self.space.run("aggregate", "get", "order", "o-1"))

    def test_backup(self) -> None:
        """The files of all domains come back, unless they are newer, or hold destroyed keys."""
        self.other_domain()
        copy = self.space.folder / "keys.tar"
        self.assertIn("other: ", self.space.run("keys", "backup", "--out", str(copy)))
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        own, others = self.folder / "data_keys", self.folder / "domains" / "other" / "data_keys"
        contents = own.read_bytes(), others.read_bytes()
        own.unlink()
        others.unlink()
        self.failed("aggregate", "get", "order", "o-1")
        self.space.run("keys", "restore", "--from", str(copy))
        self.assertEqual((own.read_bytes(), others.read_bytes()), contents)
        self.assertEqual(own.stat().st_mode & 0o777, 0o600)
        self.assertIn("secret", self.space.run("aggregate", "get", "order", "o-1"))
        self.add("o-3")
        newer = own.read_bytes()
        self.assertIn("newer key(s) would be lost",
                      self.failed("keys", "restore", "--from", str(copy)))  # fmt: skip
        self.assertEqual(own.read_bytes(), newer)
        os.unlink(copy)
        self.space.run("keys", "backup", "--out", str(copy))
        self.space.run("erase", "aggregate", "order", "o-3", "--reason", "asked", "--yes")
        told = self.failed("keys", "restore", "--from", str(copy))
        self.assertIn("destroyed key(s) would come back", told)
        self.space.run("keys", "restore", "--from", str(copy), "--force")
        self.assertLess(len(own.read_bytes()), 1 << 20)

    def test_restore_beside_a_server(self) -> None:
        """Nothing is put under a server that has the store open."""
        copy = self.space.folder / "keys.tar"
        self.space.run("keys", "backup", "--out", str(copy))
        self.space.start()
        self.assertIn("while the server runs", self.failed("keys", "restore", "--from", str(copy)))
        self.space.run("keys", "backup", "--out", str(copy))
        damaged = bytearray(copy.read_bytes())
        damaged[1_000] ^= 1
        copy.write_bytes(damaged)
        self.space.stop()
        before = (self.folder / "data_keys").read_bytes()
        self.failed("keys", "restore", "--from", str(copy), "--force")
        self.assertEqual((self.folder / "data_keys").read_bytes(), before)

    def test_seal_without_a_server(self) -> None:
        """What was written plain is sealed, and plain values are refused from then on."""
        self.space.run("config", "--set", "encryption=false")
        self.add("o-4")
        self.assertGreater(self.status()["domains"][0]["plain"], 0)
        self.assertIn("encryption is off", self.failed("keys", "seal"))
        self.space.run("config", "--set", "encryption=true")
        self.assertIn("are not encrypted", self.space.run("doctor"))
        self.space.run("keys", "seal")
        self.assertEqual(self.status()["domains"][0]["plain"], 0)
        self.assertIn("secret", self.space.run("aggregate", "get", "order", "o-4"))
        self.assertIn("verified", self.space.run("verify"))

    def test_a_payload_that_looks_encrypted(self) -> None:
        """What a client sends is data, whatever it looks like: it comes back as it was sent."""
        key = bytes(range(32))
        self.space.run("config", "--dek", base64.b64encode(key).decode())
        sealed = "ENCv1:AAECAwQFBgcICQoLPCC3Of/Uv/leDUorNT/XZP722B+wgyY="
        payloads = [{"__eventdbx_encrypted": sealed}, {"__eventdbx_encrypted": "ENCv1:none"}]
        self.space.start()
        with BlockingClient("127.0.0.1", self.space.port, self.space.token) as client:
            for payload in payloads:
                client.append("order", "o-5", "made", payload, metadata={"@x": sealed})
            found = client.events("order", "o-5").items
            self.assertEqual([one["payload"] for one in found], payloads)
            self.assertEqual(client.list(take=10).items[-1]["state"], payloads[1])
