"""From an entry to the object that delivers to it. What a kind needs is imported with the first."""

from __future__ import annotations

from typing import Any

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.plugins.surroundings import Surroundings


def make_delivery(entry: PluginEntry, surroundings: Surroundings) -> Any:
    """Return the delivery object (IDelivery) of an entry; raises an EventDBXError."""
    if entry.kind == "http":
        from eventdbx.plugins.http import HttpDelivery

        return HttpDelivery(entry, surroundings)
    if entry.kind == "tcp":
        from eventdbx.plugins.tcp import TcpDelivery

        return TcpDelivery(entry, surroundings)
    if entry.kind == "capnp":
        from eventdbx.plugins.capnp import CapnpDelivery

        return CapnpDelivery(entry, surroundings)
    if entry.kind == "log":
        from eventdbx.plugins.log import LogDelivery

        return LogDelivery(entry, surroundings)
    from eventdbx.plugins.process import ProcessDelivery

    return ProcessDelivery(entry, surroundings)
