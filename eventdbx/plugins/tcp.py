"""Delivery over sockets: what ``tcp`` and ``capnp`` share, and JSON lines for ``tcp``.

By default each delivery connects, sends and closes, for consumers read until the end. With
``persistent`` one connection is kept. A delivery is accepted when the kernel has taken all of it;
no answer is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, gatherResults
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from eventdbx.domain.delivery.entries import PluginEntry, SocketConfig
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.errors import ConfigError, StorageError
from eventdbx.plugins.addresses import CONNECT_TIMEOUT_S, Dialer, Rules, bare_host, explain
from eventdbx.plugins.attempts import Attempts, TooLate
from eventdbx.plugins.certificates import Certificates
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.plugins.wires import Wire, WireFactory

TIMEOUT_S = 5.0
CLOSE_S = 1.0
"""How long the other side may take to close before the connection is cut."""


@implementer(IDelivery)
class SocketDelivery:
    """What one plugin behind a host and a port gets. Kinds say how events become bytes."""

    def __init__(self, entry: PluginEntry, surroundings: Surroundings) -> None:
        config = entry.config
        assert isinstance(config, SocketConfig)
        self._config = config
        self._reactor = surroundings.reactor
        self._timeout_s = entry.timeout_s or TIMEOUT_S
        self._dialer: Dialer | None = None
        self._certificates: Certificates | None = None
        self._wires: set[Wire] = set()
        self._kept: Wire | None = None
        self._turn = DeferredLock()
        self._attempts = Attempts(self._reactor, self._as_failed)

    def encode(self, parts: Parts) -> bytes:
        """Return what is sent of one event."""
        raise NotImplementedError

    def message(self, items: Sequence[Item], attempt: int, purpose: Purpose) -> bytes:
        """Return what one delivery sends; asked once for each attempt."""
        return b"".join([item.content for item in items])

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Send events in one go; see the interface."""
        return self._attempts.run(
            self._send(self.message(items, attempt, purpose)), self._timeout_s
        )

    def check(self) -> Deferred[None]:
        """Connect, and with TLS shake hands; nothing is sent."""
        return self._attempts.run(self._try(), self._timeout_s)

    def close(self) -> Deferred[None]:
        """Close all connections; those that do not end in time are cut."""
        self._attempts.stop()
        self._kept = None
        ends = [self._end(wire) for wire in list(self._wires)]
        return gatherResults(ends).addCallback(lambda _: None)

    # Connections

    async def _send(self, data: bytes) -> None:
        if self._config.persistent:
            wire = await self._kept_wire()
        else:
            wire = await self._connect()
        try:
            await wire.send(data)
            if not self._config.persistent:
                await self._part(wire)
        except BaseException:
            # Some of it may have left: what comes next must not be taken for the rest of it.
            wire.cut()
            raise

    async def _try(self) -> None:
        if self._kept is None or not self._kept.is_open:
            self._end(await self._connect())

    async def _kept_wire(self) -> Wire:
        """Return the connection that is kept, a new one if it is gone."""
        await self._turn.acquire()
        try:
            if self._kept is None or not self._kept.is_open:
                self._kept = None
                self._kept = await self._connect()
            return self._kept
        finally:
            self._turn.release()

    async def _connect(self) -> Wire:
        """Return a new connection on which data can be sent."""
        factory = WireFactory(self._wires, secured=self._config.tls)
        connected: Any = await self._target().connect(factory)
        wire: Wire = connected
        try:
            await wire.ready()
        except BaseException:
            wire.cut()
            raise
        return wire

    def _target(self) -> IStreamClientEndpoint:
        """Return where to connect to; raises ConfigError for what cannot be used."""
        config = self._config
        if self._dialer is None:
            try:
                host = bare_host(config.host)
            except ValueError as error:
                raise ConfigError(str(error)) from None
            limit_s = min(self._timeout_s, CONNECT_TIMEOUT_S)
            # Rules are for webhooks, whose addresses others may give: this is a host and a port.
            rules = Rules(allow_link_local=True)
            self._dialer = Dialer(self._reactor, host, config.port, rules, timeout_s=limit_s)
            self._certificates = Certificates(
                host,
                ca_file=config.ca_file,
                client_cert=config.client_cert,
                client_key=config.client_key,
            )
        if not config.tls:
            return self._dialer
        assert self._certificates is not None
        secured: IStreamClientEndpoint = wrapClientTLS(self._certificates.options(), self._dialer)
        return secured

    async def _part(self, wire: Wire) -> None:
        """Close after sending. Without TLS the kernel has it all, and the delivery is over.

        With TLS the other side may still refuse our certificate: its end of the connection is
        awaited for a while.
        """
        gone = self._end(wire)
        if self._config.tls:
            reason = await gone
            if not isinstance(reason, (ConnectionDone, ConnectionAborted)):
                raise reason

    def _end(self, wire: Wire) -> Deferred[BaseException]:
        """Close a connection, and cut it when the other side does not follow in time."""
        timer = self._reactor.callLater(CLOSE_S, wire.cut)

        def over(reason: BaseException) -> BaseException:
            if timer.active():
                timer.cancel()
            return reason

        return wire.hang_up().addCallback(over)

    def _as_failed(self, error: BaseException | None) -> DeliveryFailed:
        if isinstance(error, ConfigError):
            # It is the plugin's fault, not the event's.
            return DeliveryFailed(str(error), unavailable=True)
        if isinstance(error, TooLate):
            text = f"{self._config.host}:{self._config.port} took nothing for {error.limit_s:g} s"
        elif error is None or isinstance(error, CancelledError):
            text = "the delivery was stopped"
        else:
            text = explain(error)
        return DeliveryFailed(StorageError.prefix + text, unavailable=True)


class TcpDelivery(SocketDelivery):
    """One line of JSON for each event."""

    def encode(self, parts: Parts) -> bytes:
        """Return the document of an event and a line feed; there is none within it."""
        return json_body(parts) + b"\n"
