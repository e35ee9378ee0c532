"""Delivery of Cap'n Proto messages to a host and port; connections are those of ``tcp``."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.plugins.interfaces import IDelivery
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.plugins.tcp import SocketDelivery
from eventdbx.wire.plugin_messages import encode_event, numbered


@implementer(IDelivery)
class CapnpDelivery(SocketDelivery):
    """What one ``capnp`` plugin gets: events, nothing before them, nothing is read.

    Sequences count from 1 through all connections, so that a reader of many sees their order.
    """

    def __init__(self, entry: PluginEntry, surroundings: Surroundings) -> None:
        super().__init__(entry, surroundings)
        self._next = 1

    def encode(self, parts: Parts) -> bytes:
        """Return the message of an event, its sequence still open."""
        return encode_event(parts)

    def message(self, items: Sequence[Item], attempt: int, purpose: Purpose) -> bytes:
        """Return the messages of one delivery, numbered on."""
        first = self._next
        self._next += len(items)
        contents = [item.content for item in items]
        return bytes(numbered(contents, first, purpose=purpose, attempt=attempt))
