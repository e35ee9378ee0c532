"""Deliveries of Cap'n Proto messages over sockets, read back through the schema."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventdbx.domain.delivery.entries import PluginEntry, SocketConfig
from eventdbx.plugins.capnp import CapnpDelivery
from tests.plugins.targets import LOOPBACK, Listener, NetworkCase, items, surroundings
from tests.wire.test_plugin_messages import read


class Capnp(NetworkCase):
    """What a reader of the published schema gets."""

    def delivery(self, port: int, **options: Any) -> Any:
        """Return the delivery to a port."""
        config = SocketConfig(kind="capnp", host=LOOPBACK, port=port, **options)
        entry = PluginEntry(enabled=True, config=config, name="wire")
        return self.opened(CapnpDelivery(entry, surroundings()))

    async def test_each_delivery_is_messages_on_its_own_connection(self) -> None:
        """Events alone, no introduction; sequences count on from one connection to the next."""
        listener, port = self.listen()
        delivery = self.delivery(port)
        for number, count in enumerate((1, 3)):
            await delivery.deliver(items(delivery, count), attempt=number + 1, purpose="live")
            await self.until(partial(self._ended, listener, number))
        first, second = (read(bytes(peer.received)) for peer in listener.peers)
        self.assertEqual([one["sequence"] for one in first + second], [1, 2, 3, 4])
        self.assertEqual([one["eventVersion"] for one in second], [1, 2, 3])
        self.assertEqual([one["delivery"]["more"] for one in second], [True, True, False])
        self.assertEqual([one["delivery"]["attempt"] for one in first + second], [1, 2, 2, 2])

    @staticmethod
    def _ended(listener: Listener, number: int) -> bool:
        return len(listener.peers) > number and listener.peers[number].ended

    async def test_a_persistent_connection_carries_message_after_message(self) -> None:
        """One connection, as many deliveries as there are."""
        listener, port = self.listen()
        delivery = self.delivery(port, persistent=True)
        size = 0
        for _ in range(5):
            sent = items(delivery, 2)
            size += sum(len(item.content) for item in sent)
            await delivery.deliver(sent, attempt=1, purpose="live")
        await self.until(lambda: len(listener.received) == size)
        self.assertEqual(len(listener.peers), 1)
        found = read(bytes(listener.received))
        self.assertEqual([one["sequence"] for one in found], list(range(1, 11)))
