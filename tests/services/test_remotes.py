"""The remotes of an installation, in the configuration and in the folders of domains."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.sealing import unseal
from eventdbx.domain.endpoints import remote_endpoint
from eventdbx.errors import ConfigError
from eventdbx.services.remotes import Remotes
from eventdbx.services.workspace import Workspace, open_workspace

TOKEN = "eyJhbGciOiJub25lIn0.e30.c2ln"


class Place(SynchronousTestCase):
    """A workspace of its own."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.place = self.opened()
        self.remotes = Remotes(self.place)

    def opened(self) -> Workspace:
        return open_workspace(environ={"HOME": str(self.home)}, cwd=self.home).workspace

    def text(self) -> str:
        return self.place.config_path.read_text()


class InConfiguration(Place):
    """``[remotes.NAME]``."""

    def test_life(self) -> None:
        """A remote is added, replaced, listed and removed; its token is sealed in the file."""
        self.assertEqual(self.remotes.documents(), {})
        created, document = self.remotes.put(" standby ", " 10.0.0.2 ", f" {TOKEN} ")
        self.assertTrue(created)
        self.assertEqual(list(document), ["endpoint", "token", "locator", "remote_domain"])
        self.assertEqual(document["endpoint"], "tcp://10.0.0.2:6363")
        self.assertEqual(unseal(document["token"], self.place.data_keys), TOKEN)
        self.assertNotIn(TOKEN, self.text())
        created, document = self.remotes.put("standby", "tcp://h:1", None, "STANDBY_TOKEN")
        self.assertFalse(created)
        self.assertEqual(self.remotes.documents(), {"standby": document})
        self.assertNotIn("token", document)
        self.assertTrue(self.remotes.delete("standby"))
        self.assertFalse(self.remotes.delete("standby"))
        self.assertEqual(self.remotes.documents(), {})

    def test_any_name(self) -> None:
        """A name is data: dots, quotes, brackets and dashes are kept as they are."""
        names = ["a.b", 'say "hi"', "--help", "[x]", "Ünïcode name", "a'b\\c"]
        for name in names:
            self.remotes.put(name, "h", TOKEN)
        self.assertEqual(sorted(self.remotes.documents()), sorted(names))
        for name in names:
            self.assertTrue(self.remotes.delete(name))

    def test_rest_of_the_file_stays(self) -> None:
        """Comments, and remotes beside the one that changes, survive."""
        more = "# ours\n[remotes.b]\nendpoint = 'tcp://b:1' # there\nlocator = 'u@h:o/d.dbx'\n"
        self.place.config_path.write_text(self.text() + more)
        self.remotes.put("a", "h", TOKEN)
        self.remotes.delete("a")
        self.assertIn(more, self.text())
        self.assertEqual(self.remotes.documents()["b"]["locator"], "u@h:o/d.dbx")

    def test_plain_token_is_never_shown(self) -> None:
        """A token that an old version wrote in clear is not given to anybody."""
        more = f"[remotes.b]\nendpoint = 'tcp://b:1'\ntoken = '{TOKEN}'\n"
        self.place.config_path.write_text(self.text() + more)
        self.assertEqual(self.remotes.documents()["b"]["token"], "<redacted>")

    def test_refused(self) -> None:
        """What cannot be a remote is refused in words, the token not among them."""
        for name, endpoint, token, variable, said in (
            (" ", "h", TOKEN, None, "remote name cannot be empty"),
            ("schema", "h", TOKEN, None, "cannot be named 'schema'"),
            ("x\ny", "h", TOKEN, None, "can be printed"),
            ("e", " ", "", None, "remote endpoint cannot be empty"),
            ("e", "h:0", " ", None, "remote token cannot be empty"),
            ("e", "h", "secret", None, "must be a JWT with three segments"),
            ("e", "h", TOKEN, "X", "exclude each other"),
            ("e", "h", None, "a-b", "must be the name of a variable"),
            ("e", "h:0", TOKEN, None, "port must be greater than zero"),
        ):
            error = self.assertRaises(
                ConfigError, self.remotes.put, name, endpoint, token, variable
            )
            self.assertIn(said, str(error))
            self.assertNotIn("secret", str(error))
        self.assertEqual(self.remotes.documents(), {})


class OfDomains(Place):
    """``remote.json``, which version 3.19 writes."""

    def file_of(self, domain: str) -> Path:
        path = self.place.domain_dir(domain) / "remote.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def test_shown(self) -> None:
        """The remote of a domain has the domain's name; its token is not shown."""
        document = {"connect_addr": "h:7", "token": TOKEN, "tenant": "t"}
        self.file_of("north").write_text(json.dumps(document))
        self.file_of("south").write_text("{")
        self.assertEqual(
            self.remotes.documents(),
            {
                "north": {
                    "endpoint": "tcp://h:7",
                    "token": "<redacted>",
                    "locator": None,
                    "remote_domain": None,
                    "tenant": "t",
                }
            },
        )

    def test_written_to_both(self) -> None:
        """A remote that a domain has is changed in both places, sealed in each."""
        path = self.file_of("north")
        path.write_text(json.dumps({"connect_addr": "h:7", "tenant": "t"}))
        created, document = self.remotes.put("north", "other:8", TOKEN)
        self.assertEqual((created, document["tenant"]), (False, "t"))
        self.assertNotIn(TOKEN, path.read_text())
        sealed = json.loads(path.read_text())["__eventdbx_encrypted"]
        self.assertEqual(
            json.loads(unseal(sealed, self.place.data_keys)),
            {"connect_addr": "other:8", "token": TOKEN, "tenant": "t"},
        )
        self.assertEqual(self.remotes.documents(), {"north": document})
        self.assertTrue(self.remotes.delete("north"))
        self.assertFalse(path.exists())
        self.assertEqual(self.remotes.documents(), {})

    def test_sealed_anew(self) -> None:
        """Also what has no address yet, as `dbx checkout --token` leaves it; a damaged one stays
        in nobody's way."""
        self.file_of("east").write_text("{")
        self.file_of("north")
        self.remotes.change_of_domain("north", {"token": TOKEN})
        self.place.take_up_keys([base64.b64encode(bytes(32)).decode(), *self.place.data_keys])
        self.remotes.seal_anew()
        self.place.take_up_keys(self.place.data_keys[:1])
        sealed = json.loads(self.file_of("north").read_text())["__eventdbx_encrypted"]
        self.assertEqual(json.loads(unseal(sealed, self.place.data_keys)), {"token": TOKEN})


class Endpoints(SynchronousTestCase):
    """Addresses as people write them."""

    def test_accepted(self) -> None:
        """Scheme and port may be left out; IPv6 keeps its brackets."""
        for text, kept in (
            ("h", "tcp://h:6363"),
            ("TCP://db.example:7004", "tcp://db.example:7004"),
            ("tcp://0.0.0.0:6363", "tcp://0.0.0.0:6363"),
            ("[::1]", "tcp://[::1]:6363"),
            ("tcp://[fe80::1]:7", "tcp://[fe80::1]:7"),
        ):
            self.assertEqual(remote_endpoint(text), kept)
            self.assertEqual(remote_endpoint(kept), kept)

    def test_refused(self) -> None:
        """The reason is said."""
        for text, said in (
            ("udp://h", "scheme must be 'tcp', found 'udp'"),
            ("tcp://", "host cannot be empty"),
            (":1", "host cannot be empty"),
            ("[]:1", "host cannot be empty"),
            ("h:", "port cannot be empty"),
            ("h:x", "invalid digit"),
            ("h:-1", "invalid digit"),
            ("h:70000", "number too large"),
            ("h:" + "9" * 5000, "number too large"),
            ("[::1", "invalid IPv6 host"),
            ("[x]:1", "invalid IPv6 host"),
            ("::1", "invalid IPv6 host"),
            ("[::1]x", "IPv6 port must follow ']'"),
            ("[::1]:", "cannot parse integer from empty string"),
            ("user@host:1", "characters that no host has"),
            ("host/path", "characters that no host has"),
        ):
            self.assertIn(said, str(self.assertRaises(ConfigError, remote_endpoint, text)), text)
