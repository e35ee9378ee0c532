"""Tests of deliveries over sockets, against real listeners."""

from __future__ import annotations

from typing import Any

import orjson

from eventdbx.domain.delivery.entries import PluginEntry, SocketConfig
from eventdbx.plugins.tcp import TcpDelivery
from tests.plugins.targets import LOOPBACK, NetworkCase, SecuredCase, items, surroundings


class TcpCase(NetworkCase):
    """Makes tcp deliveries."""

    def delivery(self, port: int, *, timeout_s: float | None = None, **options: Any) -> Any:
        config = SocketConfig(kind="tcp", host=options.pop("host", LOOPBACK), port=port, **options)
        entry = PluginEntry(enabled=True, config=config, name="wire", timeout_s=timeout_s)
        return self.opened(TcpDelivery(entry, surroundings()))


class Lines(TcpCase):
    """Each event is a line."""

    async def test_each_delivery_has_a_connection_of_its_own_that_ends_behind_it(self) -> None:
        """Consumers that read until the end get a whole delivery."""
        listener, port = self.listen()
        delivery = self.delivery(port)
        for _ in range(2):
            await delivery.deliver(items(delivery, 3), attempt=1, purpose="live")
        await self.until(lambda: [peer.ended for peer in listener.peers] == [True, True])
        for peer in listener.peers:
            lines = peer.received.splitlines()
            self.assertEqual([orjson.loads(line)["event"]["version"] for line in lines], [1, 2, 3])

    async def test_a_persistent_connection_is_kept(self) -> None:
        """Line after line on one connection, also of deliveries at the same time."""
        listener, port = self.listen()
        delivery = self.delivery(port, persistent=True)
        both = [delivery.deliver(items(delivery), attempt=1, purpose="live") for _ in range(20)]
        for one in both:
            await one
        await self.until(lambda: listener.received.count(b"\n") == 20)
        self.assertEqual(len(listener.peers), 1)

    async def test_a_persistent_connection_is_made_anew_when_it_was_lost(self) -> None:
        """A consumer may be restarted."""
        listener, port = self.listen()
        delivery = self.delivery(port, persistent=True)
        await delivery.deliver(items(delivery), attempt=1, purpose="live")
        await self.until(lambda: listener.received)
        transport = listener.peers[0].socket
        transport.loseConnection()
        await self.until(lambda: listener.peers[0].ended)
        await self.until(lambda: not delivery._kept.is_open)
        await delivery.deliver(items(delivery), attempt=1, purpose="live")
        await self.until(lambda: len(listener.peers) == 2 and listener.peers[1].received)

    async def test_a_large_delivery_arrives_whole(self) -> None:
        """More than the buffers of the kernel hold."""
        listener, port = self.listen()
        delivery = self.delivery(port)
        sent = items(delivery)[0]
        sent = sent._replace(content=b"x" * 8_000_000 + b"\n")
        await delivery.deliver([sent], attempt=1, purpose="live")
        await self.until(lambda: listener.peers[0].ended)
        self.assertEqual(len(listener.received), 8_000_001)

    async def test_what_a_consumer_says_is_thrown_away(self) -> None:
        """Nobody reads answers."""
        listener, port = self.listen()
        listener.on_connect = lambda peer: peer.socket.write(b"hello\n" * 1000)
        delivery = self.delivery(port, persistent=True)
        for _ in range(3):
            await delivery.deliver(items(delivery), attempt=1, purpose="live")

    async def test_a_host_may_be_a_name_or_an_address_of_ipv6_in_brackets(self) -> None:
        """Both spellings of old files are understood."""
        listener, port = self.listen()
        delivery = self.delivery(port, host="localhost")
        await delivery.deliver(items(delivery), attempt=1, purpose="live")
        await self.until(lambda: listener.received)
        refused = self.delivery(self.unused(), host="[::1]")
        failed = await self.refusal(refused.check())
        self.assertRegex(failed.reason, r"^storage error: .* \(os error \d+\)$")


class Failures(TcpCase):
    """What is said when a delivery fails."""

    async def test_nobody_listens(self) -> None:
        """The text is that of earlier versions."""
        delivery = self.delivery(self.unused())
        failed = await self.refusal(delivery.deliver(items(delivery), attempt=1, purpose="live"))
        self.assertEqual(failed.reason, "storage error: Connection refused (os error 111)")
        self.assertTrue(failed.unavailable)

    async def test_a_consumer_that_does_not_read_is_given_up(self) -> None:
        """The time limit holds, and nothing of the connection is left."""
        listener, port = self.listen()
        listener.on_connect = lambda peer: peer.socket.pauseProducing()
        delivery = self.delivery(port, timeout_s=0.3)
        sent = items(delivery)[0]._replace(content=b"x" * 30_000_000)
        failed = await self.refusal(delivery.deliver([sent], attempt=1, purpose="live"))
        self.assertEqual(failed.reason, f"storage error: {LOOPBACK}:{port} took nothing for 0.3 s")
        self.assertTrue(failed.unavailable)
        await self.until(lambda: not delivery._wires)

    async def test_a_name_that_does_not_exist(self) -> None:
        """The lookup's own words."""
        delivery = self.delivery(1, host="no-such-host.invalid")
        failed = await self.refusal(delivery.check())
        self.assertIn("storage error: failed to lookup address information: ", failed.reason)

    async def test_a_host_that_is_none(self) -> None:
        """It fails at delivery, with the reason."""
        delivery = self.delivery(1, host="a b")
        failed = await self.refusal(delivery.check())
        self.assertEqual(failed.reason, "configuration error: 'a b' is not a host")

    async def test_closing_stops_what_is_on_its_way(self) -> None:
        """Whoever waits is told."""
        listener, port = self.listen()
        listener.on_connect = lambda peer: peer.socket.pauseProducing()
        delivery = self.delivery(port)
        sent = items(delivery)[0]._replace(content=b"x" * 30_000_000)
        waiting = delivery.deliver([sent], attempt=1, purpose="live")
        await self.until(lambda: listener.peers)
        await delivery.close()
        failed = await self.refusal(waiting)
        self.assertEqual(failed.reason, "storage error: the delivery was stopped")
        self.assertEqual(delivery._wires, set())


class Secured(TcpCase, SecuredCase):
    """TLS: both sides may be verified."""

    async def test_a_verified_consumer_gets_its_lines(self) -> None:
        """The authority may be one's own; one connection or many."""
        listeners = []
        for persistent in (False, True):
            listener, port = self.listen(self.server())
            listeners.append(listener)
            delivery = self.delivery(
                port, tls=True, ca_file=self.path("authority.pem"), persistent=persistent
            )
            await delivery.check()
            await delivery.deliver(items(delivery, 2), attempt=1, purpose="live")
            await self.until(lambda: listeners[-1].received.count(b"\n") == 2)

    async def test_a_consumer_of_another_authority_gets_nothing(self) -> None:
        """Verification is always on."""
        listener, port = self.listen(self.server())
        for authority in (self.path("other.pem"), None):
            delivery = self.delivery(port, tls=True, ca_file=authority)
            failed = await self.refusal(
                delivery.deliver(items(delivery), attempt=1, purpose="live")
            )
            self.assertRegex(failed.reason, "^storage error: TLS: .*certificate verify failed$")
        self.assertEqual(listener.received, b"")

    async def test_a_consumer_may_ask_for_our_certificate(self) -> None:
        """With it lines arrive; without it the delivery fails, though the bytes left."""
        listener, port = self.listen(self.server("authority.pem"))
        options: dict[str, Any] = {"tls": True, "ca_file": self.path("authority.pem")}
        shown = self.delivery(
            port,
            client_cert=self.path("client.pem"),
            client_key=self.path("client.key"),
            **options,
        )
        await shown.deliver(items(shown), attempt=1, purpose="live")
        await self.until(lambda: listener.received)
        bare = self.delivery(port, **options)
        failed = await self.refusal(bare.deliver(items(bare), attempt=1, purpose="live"))
        self.assertIn("certificate required", failed.reason)

    async def test_files_that_cannot_be_used_are_named(self) -> None:
        """Not a stack of errors of a library."""
        missing = self.delivery(1, tls=True, ca_file=self.path("none.pem"))
        failed = await self.refusal(missing.check())
        self.assertEqual(
            failed.reason,
            f"configuration error: {self.path('none.pem')}: No such file or directory",
        )
        empty = self.delivery(1, tls=True, ca_file=self.path("client.key"))
        failed = await self.refusal(empty.check())
        self.assertIn("client.key holds no certificate", failed.reason)
        wrong = self.delivery(
            1, tls=True, client_cert=self.path("client.pem"), client_key=self.path("other.key")
        )
        failed = await self.refusal(wrong.check())
        self.assertTrue(failed.reason.startswith("configuration error: "), failed.reason)
