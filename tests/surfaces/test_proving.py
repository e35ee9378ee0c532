"""What passes between our own clients and a running server: never a token, whoever listens."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.client import BlockingClient, Client
from eventdbx.errors import ConfigError, IoError
from eventdbx.services.workspace import open_workspace
from tests.daemon import Workspace, free_port, running
from tests.plugins.targets import write_certificate
from tests.surfaces.capturing import Tap, longest_part


class Overheard(TestCase):
    """A passive listener on the line."""

    def setUp(self) -> None:
        self.space = running()
        self.tap = Tap(self.space.port)
        self.addCleanup(self.tap.close)

    def assertSecret(self, token: str) -> None:
        """Check that something was overheard and no part of the token is in it."""
        captured = self.tap.captured
        self.assertGreater(len(captured), 500)
        self.assertEqual(longest_part(token.encode(), captured), b"")

    def test_waiting_client(self) -> None:
        """The client that waits, and its followers."""
        token = self.space.token
        with BlockingClient("127.0.0.1", self.tap.port, token) as client:
            client.append("line", "l-1", "said", {"n": 1})
            client.verify("line", "l-1")
            follower = client.follow("start")
            self.addCleanup(follower.close)
            next(follower)
        self.assertSecret(token)

    async def test_twisted_client(self) -> None:
        """The client for Twisted."""
        token = self.space.token
        client = await Client.connect(HostnameEndpoint(reactor, "127.0.0.1", self.tap.port), token)
        await client.append("line", "l-2", "said", {"n": 1})
        await client.close()
        self.assertSecret(token)

    def test_commands(self) -> None:
        """The command line."""
        address = f"127.0.0.1:{self.tap.port}"
        self.space.run(
            "--socket", address, "aggregate", "create", "line", "by-command", "--event", "said"
        )
        self.assertSecret(self.space.token)

    def test_the_tap_hears(self) -> None:
        """The same test finds a token that is sent."""
        token = self.space.token
        BlockingClient("127.0.0.1", self.tap.port, token, send_token=True).close()
        self.assertNotEqual(longest_part(token.encode(), self.tap.captured), b"")


class Refusals(SynchronousTestCase):
    """Tokens that do not open a session."""

    def refused(self, token: str, **options: Any) -> str:
        """Return why the server refuses a token."""
        error = self.assertRaises(
            ConfigError, BlockingClient, "127.0.0.1", running().port, token, **options
        )
        return str(error.detail).removeprefix("control handshake rejected: ")

    def test_wrong_and_revoked(self) -> None:
        """A changed signature, and a token that was revoked since."""
        self.assertEqual(self.refused(running().token[:-8] + "AAAAAAAA"), "invalid control token")
        shown = running().run(
            "token", "generate", "--group", "ops", "--user", "kim", "--action", "*.*", "--json"
        )
        token: str = json.loads(shown)["token"]
        session = BlockingClient("127.0.0.1", running().port, token)
        self.addCleanup(session.close)
        session.append("line", "l-3", "said", {})
        running().run("token", "revoke", token)
        self.assertEqual(self.refused(token), "invalid control token")
        # Nobody asks: the server itself ends the session, within a second.
        session._socket.settimeout(5.0)
        self.assertEqual(session._socket.recv(1), b"")

    def test_another_server(self) -> None:
        """A token of another installation is not sent there unless that is asked for."""
        with other() as place:
            self.assertIn("unknown token id; ", self.refused(place.token))
            self.assertEqual(self.refused(place.token, send_token=True), "invalid control token")


class OlderLedgers(SynchronousTestCase):
    """Tokens that were recorded without what proves them."""

    def test_commands_add_what_is_missing(self) -> None:
        """A command that may write the ledger makes its token known, and then needs not send it."""
        with other() as place:
            token = place.token
            config = str(place.folder / ".dbx" / "config.toml")
            with open_workspace(config).workspace.token_files(self.fail).change() as ledger:
                for record in ledger.records:
                    ledger.add(record._replace(digest=None))
            place.start()
            self.addCleanup(place.stop)
            error = self.assertRaises(ConfigError, BlockingClient, "127.0.0.1", place.port, token)
            self.assertIn("unknown token id; ", error.detail)
            tap = Tap(place.port)
            self.addCleanup(tap.close)
            place.run("--socket", f"127.0.0.1:{tap.port}", "aggregate", "list")
            self.assertEqual(longest_part(token.encode(), tap.captured), b"")
            BlockingClient("127.0.0.1", place.port, token).close()


@contextmanager
def other() -> Iterator[Workspace]:
    """Make a database that is not running."""
    with TemporaryDirectory() as folder:
        place = Workspace(Path(folder) / "database")
        place.run("token", "bootstrap")
        yield place


class Encrypted(TestCase):
    """A listener with TLS beside the plain one."""

    def setUp(self) -> None:
        """Start a server with a certificate for its address."""
        making = TemporaryDirectory()
        self.addCleanup(making.cleanup)
        folder = Path(making.name)
        write_certificate(folder, "server")
        self.authority = str(folder / "server.pem")
        self.place = Workspace(folder / "database")
        self.port = free_port()
        config = self.place.folder / ".dbx" / "config.toml"
        endpoint = f"ssl:{self.port}:privateKey={folder}/server.key:certKey={self.authority}"
        endpoint += ":interface=127.0.0.1"
        text = config.read_text()
        assert "[socket]\n" in text
        config.write_text(text.replace("[socket]\n", f'[socket]\nendpoints = ["{endpoint}"]\n'))
        self.place.start()
        self.addCleanup(self.place.stop)

    async def test_every_client(self) -> None:
        """Both clients and the command line, with the token proven or sent, over TLS."""
        await deferToThread(self.blocking)
        options = twisted_ssl.optionsForClientTLS(
            "127.0.0.1",
            trustRoot=twisted_ssl.Certificate.loadPEM(Path(self.authority).read_bytes()),
        )
        endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", self.port))
        client = await Client.connect(endpoint, self.place.token)
        found = await client.get("line", "l-1")
        assert found is not None
        self.assertEqual(found["version"], 2)
        await client.close()
        address = f"tls://127.0.0.1:{self.port}"
        shown = self.place.run(
            "--socket", address, "--tls-ca", self.authority, "aggregate", "get", "line", "l-1"
        )
        self.assertIn("l-1", shown)
        done = self.place.attempt("--socket", address, "aggregate", "get", "line", "l-1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("certificate", done.stderr)

    def blocking(self) -> None:
        """Write through the client that waits, and listen on the line."""
        tap = Tap(self.port)
        self.addCleanup(tap.close)
        context = ssl.create_default_context(cafile=self.authority)
        for send in (False, True):
            with BlockingClient(
                "127.0.0.1", tap.port, self.place.token, tls=context, send_token=send
            ) as client:
                client.append("line", "l-1", "said", {"n": 1})
        self.assertEqual(longest_part(self.place.token.encode(), tap.captured), b"")
        strict = ssl.create_default_context()
        self.assertRaises(
            IoError, BlockingClient, "127.0.0.1", self.port, self.place.token, tls=strict
        )
