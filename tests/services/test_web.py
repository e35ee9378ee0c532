"""The HTTP listeners: which there are, that they follow the configuration, and how they end."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from eventdbx.errors import ConfigError
from eventdbx.services.web import WebService, wanted_listeners
from eventdbx.settings import Config, Http
from eventdbx.surfaces.admin.table import Answer, Row
from tests.daemon import free_port
from tests.plugins.targets import write_certificate
from tests.surfaces.admin.site import AdminSite, Answered, Conversation, taken_apart
from tests.surfaces.listener import token


def configured(main: int = 0, **admin: Any) -> Config:
    """Return a configuration with a main port, and the Admin API on unless ``enabled`` is False."""
    base = Config()
    return replace(base, port=main, admin=replace(base.admin, **{"enabled": True, **admin}))


class Health(Resource):
    """Stands for what the main port serves."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Say so."""
        return b"main"


class WantedTests(SynchronousTestCase):
    """From the configuration to listeners."""

    def places(self, config: Config) -> list[tuple[str, str]]:
        """Return address and purpose of each listener."""
        return [(one.address, one.serves) for one in wanted_listeners(config, main=True)]

    def test_where(self) -> None:
        """The Admin API has its own port, or shares the main one; both may be off."""
        for wanted, config in (
            ([("127.0.0.1:7070", "main")], Config()),
            ([], replace(Config(), port=0)),
            ([("127.0.0.1:7070", "main"), ("127.0.0.1:7171", "admin")], configured(7070)),
            ([("127.0.0.1:7070", "main")], configured(7070, port=0)),
            ([("127.0.0.1:7070", "main")], configured(7070, port=7070)),
            ([("[::1]:7171", "admin"), ("unix:a", "admin")],
             configured(bind_addr="[::1]", endpoints=("unix:a:mode=660",))),
        ):  # fmt: skip
            self.assertEqual(self.places(config), wanted)

    def test_nowhere(self) -> None:
        """An Admin API without a place, or at a host's name, is a mistake."""
        for config, message in (
            (configured(port=0), "configuration error: admin.port = 0 serves"),
            (configured(bind_addr="localhost"), "invalid admin bind address localhost:7171"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                wanted_listeners(config, main=True)


class ServiceTests(TestCase):
    """The service on real sockets."""

    def setUp(self) -> None:
        self.said: list[str] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: Any) -> None:
        """Keep what is logged."""
        if "log_format" in event and event["log_format"]:
            self.said.append(event["log_format"].format(**event))

    def service(self, config: Config) -> WebService:
        """Return the service with one route, and something on the main port."""
        row = Row(
            method="GET",
            path="/admin/who",
            operation="who",
            summary="Who",
            action="token.read",
            handle=lambda call: Answer(document=call.grant.subject),
            answers={200: "Who"},
            tag="who",
        )
        self.site = AdminSite([row])
        service = WebService(reactor, config, self.site.api, Health())
        self.addCleanup(lambda: service.stopService() if service.running else None)
        return service

    async def get(self, port: int, path: str) -> Answered:
        """Ask at a port of this machine."""
        return await self.asked(HostnameEndpoint(reactor, "127.0.0.1", port), path)

    async def asked(self, endpoint: Any, path: str) -> Answered:
        """Ask at an endpoint."""
        conversation: Conversation = await connectProtocol(endpoint, Conversation())
        assert conversation.transport is not None
        head = f"GET {path} HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer {token()}\r\n"
        conversation.transport.write(f"{head}\r\n".encode())
        return taken_apart(await conversation.ended)

    async def change(self, service: WebService, config: Config) -> None:
        """Take another configuration up, as a reload does."""
        (await service.take_up(Config(), config)).commit()

    async def test_switched_on_and_off(self) -> None:
        """The Admin API comes and goes on the main port without touching what else is there."""
        port = free_port()
        off = configured(port, enabled=False)
        service = self.service(off)
        service.startService()
        await service.listening
        self.assertEqual((await self.get(port, "/admin/who")).body, b"main")
        await self.change(service, configured(port, port=0))
        self.assertEqual((await self.get(port, "/admin/who")).document, "ops:kim")
        self.assertEqual((await self.get(port, "/health")).body, b"main")
        await self.change(service, off)
        self.assertEqual((await self.get(port, "/admin/who")).body, b"main")

    async def test_switched_off_for_those_who_stay(self) -> None:
        """A connection that is kept open does not outlive the listener that it came through."""
        port = free_port()
        service = self.service(configured(port=port))
        service.startService()
        await service.listening
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
        conversation: Conversation = await connectProtocol(endpoint, Conversation())
        assert conversation.transport is not None
        asking = f"GET /admin/who HTTP/1.1\r\nAuthorization: Bearer {token()}\r\n\r\n".encode()
        conversation.transport.write(asking)
        while not conversation.received:
            await deferLater(reactor, 0.01)
        await self.change(service, configured(enabled=False))
        conversation.transport.write(asking)
        self.assertEqual((await conversation.ended).count(b"HTTP/1.1 200"), 1)

    async def test_another_port(self) -> None:
        """It moves to a port of its own; one that is taken leaves everything as it was."""
        first, second = free_port(), free_port()
        service = self.service(configured(port=first))
        service.startService()
        await service.listening
        self.assertEqual((await self.get(first, "/admin/who")).status, 200)
        self.assertEqual((await self.get(first, "/health")).status, 404)
        moved = configured(port=second)
        await self.change(service, moved)
        self.assertEqual(service.addresses, {"admin": [f"127.0.0.1:{second}"]})
        endpoint = f"tcp:{second}:interface=127.0.0.1"
        taken = configured(port=second, endpoints=(endpoint,))
        with self.assertRaisesRegex(ConfigError, "failed to bind admin API listener on tcp:"):
            await service.take_up(moved, taken)
        self.assertEqual((await self.get(second, "/admin/who")).status, 200)

    async def test_other_endpoints(self) -> None:
        """A socket in the file system that is for us alone, and TLS where others can listen."""
        folder = Path(self.mktemp())
        folder.mkdir()
        write_certificate(folder, "server")
        port, path = free_port(), folder / "admin.sock"
        tls = f"ssl:{port}:privateKey={folder}/server.key:certKey={folder}/server.pem"
        endpoints = (f"unix:{path}", tls + ":interface=127.0.0.1")
        service = self.service(configured(port=free_port(), endpoints=endpoints))
        service.startService()
        await service.listening
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        authority = twisted_ssl.Certificate.loadPEM((folder / "server.pem").read_bytes())
        options = twisted_ssl.optionsForClientTLS("127.0.0.1", trustRoot=authority)
        endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", port))
        self.assertEqual((await self.asked(endpoint, "/admin/who")).document, "ops:kim")
        self.assertFalse([line for line in self.said if "not encrypted" in line])

    async def test_an_open_address_is_warned_of(self) -> None:
        """Listening beyond this machine without TLS says what an eavesdropper gains."""
        service = self.service(configured(port=free_port(), bind_addr="0.0.0.0"))
        service.startService()
        await service.listening
        (line,) = [line for line in self.said if "not encrypted" in line]
        self.assertIn("reads the tokens that are sent and issued there", line)

    async def test_an_open_main_port_is_warned_of(self) -> None:
        """The same holds when the Admin API joins a main listener that is there already."""
        port, interface = free_port(), Http(bind_addr="0.0.0.0")
        off = replace(configured(port, enabled=False), http=interface)
        service = self.service(off)
        service.startService()
        await service.listening
        self.assertFalse([line for line in self.said if "not encrypted" in line])
        await self.change(service, replace(configured(port, port=0), http=interface))
        begun = f"Starting admin API server on 0.0.0.0:{port}"
        told = [line for line in self.said if "not encrypted" in line or line == begun]
        self.assertEqual((len(told), told[0]), (2, begun))
        self.assertNotIn("admin API server stopped", self.said)
        await self.change(service, off)
        self.assertEqual(self.said[-1], "admin API server stopped")

    async def test_a_port_that_is_taken(self) -> None:
        """The start fails with one clear line."""
        held = self.service(configured(free_port(), enabled=False))
        held.startService()
        await held.listening
        (address,) = held.addresses["main"]
        port = int(address.rpartition(":")[2])
        second = self.service(configured(port=port))
        second.startService()
        message = f"failed to bind admin API listener on 127.0.0.1:{port}: "
        with self.assertRaisesRegex(ConfigError, message):
            await second.listening

    async def test_the_end_waits_for_answers(self) -> None:
        """A request under way is answered before the listener is gone; idle ones are closed."""
        port, waiting = free_port(), Deferred[Answer]()
        row = Row(
            method="GET", path="/admin/slow", operation="slow", summary="Slow", action="token.read",
            handle=lambda _call: waiting, answers={200: "Slow"}, tag="slow",
        )  # fmt: skip
        service = WebService(reactor, configured(port=port), AdminSite([row]).api, None)
        service.startService()
        await service.listening
        asking = Deferred.fromCoroutine(self.get(port, "/admin/slow"))
        while not service.busy:
            await self.get(port, "/nope")
        stopping = service.stopService()
        self.assertFalse(stopping.called)
        waiting.callback(Answer(document="late"))
        self.assertEqual((await asking).document, "late")
        await stopping
