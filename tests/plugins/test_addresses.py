"""Tests of where deliveries may connect to, and how."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.plugins.addresses import Dialer, Refused, Rules, bare_host, explain
from tests.plugins.targets import LOOPBACK, NetworkCase

LINK_LOCAL = (
    "169.254.169.254 ::ffff:169.254.169.254 fe80::1 fe80::1%eth0 64:ff9b::a9fe:a9fe "
    "2002:a9fe:a9fe::1 ::a9fe:a9fe fd00:ec2::254"
).split()
PRIVATE = (
    "127.0.0.1 127.9.9.9 ::1 ::ffff:127.0.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 "
    "0.0.0.0 :: 100.64.0.1 fc00::1 fd12::1 224.0.0.1 255.255.255.255 64:ff9b::7f00:1"
).split()
PUBLIC = (
    "8.8.8.8 172.32.0.1 169.253.1.1 2001:4860:4860::8888 ::ffff:8.8.8.8 2002:808:808::1"
).split()


class Judged(SynchronousTestCase):
    """Which addresses are allowed."""

    def test_link_local_addresses_are_refused_unless_allowed(self) -> None:
        """Also where IPv6 carries one."""
        for address in LINK_LOCAL:
            self.assertIn("link-local", Rules().objection(address) or "", address)
            self.assertIsNone(Rules(allow_link_local=True).objection(address), address)

    def test_private_addresses_are_allowed_unless_refused(self) -> None:
        """Refusing them refuses link-local ones in any case."""
        strict = Rules(allow_private=False, allow_link_local=True)
        for address in PRIVATE:
            self.assertIsNone(Rules().objection(address), address)
            self.assertIn("private", strict.objection(address) or "", address)
        for address in LINK_LOCAL:
            self.assertIsNotNone(strict.objection(address), address)

    def test_public_addresses_are_always_allowed(self) -> None:
        """Neighbours of refused networks among them."""
        for address in PUBLIC:
            self.assertIsNone(Rules(allow_private=False).objection(address), address)

    def test_hosts_lose_their_brackets_and_become_ascii(self) -> None:
        """What sockets want."""
        self.assertEqual(bare_host("[::1]"), "::1")
        self.assertEqual(bare_host(" müller.example "), "xn--mller-kva.example")
        for bad in ("", "  ", "a b", "[]", "a\nb"):
            with self.assertRaises(ValueError):
                bare_host(bad)


def rows(*addresses: str) -> Any:
    """Return a lookup that finds these addresses."""

    def lookup(host: str, port: int, *rest: object) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return lookup


class Dialed(NetworkCase):
    """Connecting to names."""

    def dial(self, port: int, lookup: Any, rules: Rules | None = None, **options: Any) -> Any:
        dialer = Dialer(reactor, "some.name", port, rules or Rules(), lookup=lookup, **options)
        return dialer, Factory.forProtocol(Protocol)

    async def connected(self, dialer: Dialer, factory: Any) -> Any:
        made: Any = await dialer.connect(factory)
        self.addCleanup(made.transport.abortConnection)
        return made

    async def test_a_name_that_leads_to_a_refused_address_leads_nowhere(self) -> None:
        """The rules hold for what a name stands for, when it is connected to."""
        listener, port = self.listen()
        dialer, factory = self.dial(port, rows(LOOPBACK), Rules(allow_private=False))
        failure = self.assertFailure(dialer.connect(factory), Refused)
        error = await failure
        self.assertEqual(
            explain(error), "127.0.0.1 is a private address, which the configuration does not allow"
        )
        self.assertEqual(listener.peers, [])

    async def test_only_refused_addresses_of_a_name_are_left_out(self) -> None:
        """The others are connected to."""
        _, port = self.listen()
        dialer, factory = self.dial(port, rows("169.254.169.254", LOOPBACK))
        made = await self.connected(dialer, factory)
        self.assertEqual(made.transport.getPeer().host, LOOPBACK)

    async def test_the_next_address_is_tried(self) -> None:
        """And the good one comes first from then on."""
        _, port = self.listen()
        dialer, factory = self.dial(port, rows("127.0.0.2", LOOPBACK))
        for _ in range(2):
            made = await self.connected(dialer, factory)
            self.assertEqual(made.transport.getPeer().host, LOOPBACK)
        self.assertEqual(dialer._good, LOOPBACK)

    async def test_when_no_address_answers_the_first_reason_is_told(self) -> None:
        """One failure, not a list."""
        dialer, factory = self.dial(self.unused(), rows(LOOPBACK, "127.0.0.2"))
        await self.assertFailure(dialer.connect(factory), ConnectionRefusedError)

    async def test_a_lookup_that_hangs_costs_one_thread_and_nobody_waits_for_it(self) -> None:
        """All who connect meanwhile wait for the same one, each for as long as its limit."""
        _, port = self.listen()
        going, asked = threading.Event(), []
        self.addCleanup(going.set)

        def lookup(host: str, port: int, *rest: object) -> list[Any]:
            asked.append(host)
            going.wait(20)
            return [(0, 0, 0, "", (LOOPBACK, port))]

        dialer, factory = self.dial(port, lookup, timeout_s=0.1)
        waiting: list[Deferred[Any]] = [dialer.connect(factory) for _ in range(5)]
        for one in waiting:
            await self.assertFailure(one, ConnectError)
        self.assertEqual(asked, ["some.name"])
        going.set()
        await self.until(lambda: dialer._waiting is None)
        await self.connected(dialer, factory)

    async def test_a_name_that_is_not_found(self) -> None:
        """The lookup's own error; the next attempt asks again."""
        asked = []

        def lookup(host: str, port: int, *rest: object) -> list[Any]:
            asked.append(host)
            raise socket.gaierror(-2, "Name or service not known")

        dialer, factory = self.dial(1, lookup)
        for _ in range(2):
            error = await self.assertFailure(dialer.connect(factory), socket.gaierror)
            self.assertEqual(
                explain(error), "failed to lookup address information: Name or service not known"
            )
        self.assertEqual(len(asked), 2)
