"""Addresses of the control listener: what they are, and what their operators are told."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from eventdbx.config import parse_config
from eventdbx.errors import ConfigError, IoError
from eventdbx.services.listening import (
    ControlService,
    Listener,
    addresses,
    exposure,
    listener_on,
)
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from tests.surfaces.listener import listener


class Exposure(SynchronousTestCase):
    """Who can overhear a listener."""

    def test_warned_of(self) -> None:
        """Addresses that other machines reach without TLS, however they are written."""
        for text in ("0.0.0.0:6363", "[::]:6363", "10.1.2.3:1", "tcp:6363", "tcp:1:10.1.2.3",
                     "tcp6:1:interface=fe80\\:\\:1", "db.example:6363"):  # fmt: skip
            warning = exposure(text)
            assert warning is not None, text
            for words in ("learns the token of every client that sends it", "socket.endpoints"):
                self.assertIn(words, warning)

    def test_not_warned_of(self) -> None:
        """This machine, TLS, and what never leaves the machine."""
        for text in ("127.0.0.1:6363", "127.9.9.9:1", "[::1]:6363", "localhost:6363",
                     "tcp:1:127.0.0.1", "tcp6:1:interface=\\:\\:1", "unix:/run/dbx",
                     "ssl:6364:privateKey=k:certKey=c"):  # fmt: skip
            self.assertIsNone(exposure(text), text)


class Configured(SynchronousTestCase):
    """Endpoints in the configuration."""

    def read(self, *endpoints: str) -> tuple[str, ...]:
        """Return every address of a configuration with these endpoints."""
        listed = ", ".join(f"'{one}'" for one in endpoints)
        text = f"[socket]\nendpoints = [{listed}]\n"
        return addresses(parse_config(text, origin="config.toml", environ={}).socket)

    def test_accepted(self) -> None:
        """The first address stays; the others come in their order."""
        given = ("ssl:6364:privateKey=k.pem:certKey=c.pem", "unix:/run/dbx", "tcp:port=7")
        self.assertEqual(self.read(*given), ("127.0.0.1:6363", *given))

    def test_refused(self) -> None:
        """What cannot be an endpoint is refused with the key's name and what is missing."""
        for text, reason in (
            ("6364", "must be an endpoint such as ssl:6364"),
            ("ssl:", "must be an endpoint such as ssl:6364"),
            ("ssl:6364", "must name the server's key"),
            ("tcp:99999", "must name a port behind 'tcp:', 0 to 65535"),
            ("tcp:interface=::1", "must name a port"),
        ):
            error = self.assertRaises(ConfigError, self.read, text)
            self.assertIn("socket.endpoints", error.detail)
            self.assertIn(reason, error.detail)

    def test_unusable(self) -> None:
        """What only Twisted can know is told at the start, without the places of keys."""
        for text in ("nothing:1:x=2", "ssl:1:privateKey=/no/key.pem:certKey=/no/cert.pem"):
            error = self.assertRaises(ConfigError, listener_on, reactor, text)
            self.assertIn(f"cannot listen on '{text[:5]}", error.detail)


class Service(TestCase):
    """Several listeners of one server."""

    def service(self, *listeners: Listener) -> ControlService:
        """Return a service that is stopped at the end."""
        factory, _domain = listener(MemoryStore(), synchronous(), reactor)
        service = ControlService(listeners, factory, clock=reactor, drain_s=0.0)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def test_warnings_are_logged(self) -> None:
        """At each start the log says what an address gives away."""
        loopback = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        warned = Listener("somewhere", loopback, exposure("0.0.0.0:6363"))
        with capturedLogs() as lines:
            await self.service(Listener("here", loopback), warned).listening
        warnings = [line["told"] for line in lines if "told" in line]
        self.assertEqual(warnings, [exposure("0.0.0.0:6363")])

    async def test_one_that_cannot_be_had(self) -> None:
        """When one address is taken the start fails, and the others are given back."""
        taken = listener_on(reactor, "127.0.0.1:0")
        port = await taken.endpoint.listen(listener(MemoryStore(), synchronous(), reactor)[0])
        self.addCleanup(port.stopListening)
        number = port.getHost().port  # type: ignore[attr-defined]
        service = self.service(taken, listener_on(reactor, f"127.0.0.1:{number}"))
        with self.assertRaises(IoError) as caught:
            await service.listening
        self.assertIn(f"cannot listen on 127.0.0.1:{number}", str(caught.exception))
