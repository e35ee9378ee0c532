"""Listeners with a beginning that can fail loudly and an end that loses nothing.

Which addresses there are, as endpoints of Twisted, and who can read what goes over them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from eventdbx.config import Socket, split_address
from eventdbx.errors import ConfigError, IoError
from eventdbx.surfaces.control.factory import ControlFactory
from eventdbx.surfaces.control.transport import make_prompt


class Listener(NamedTuple):
    """Where to listen, how that is told to people, and what they should be warned of."""

    address: str
    endpoint: IStreamServerEndpoint
    warning: str | None = None


def endpoint_string(bind_addr: str) -> str:
    """Return the Twisted endpoint of a bind address; an endpoint string passes through."""
    try:
        host, port = split_address(bind_addr)
    except ValueError:
        return bind_addr
    kind = "tcp6" if ":" in host else "tcp"
    escaped = host.replace(":", "\\:")
    return f"{kind}:{port}:interface={escaped}:backlog=511"


def addresses(socket: Socket) -> tuple[str, ...]:
    """Return every address of the control listener, the first one first."""
    return (socket.bind_addr, *socket.endpoints)


def listener_on(reactor: Any, text: str) -> Listener:
    """Return the listener of a bind address or an endpoint string; raise ConfigError."""
    try:
        endpoint = serverFromString(reactor, endpoint_string(text))
    except Exception as error:  # Whatever the plugin of the endpoint, or its certificates, say.
        reason = str(error) or type(error).__name__
        raise ConfigError(f"cannot listen on '{shown(text)}': {reason}") from None
    return Listener(shown(text), endpoint, exposure(text))


def shown(text: str) -> str:
    """Return an address for people: of an endpoint string what comes before its options."""
    kind, colon, rest = text.partition(":")
    if not colon or "=" not in rest:
        return text
    return kind + ":" + rest.partition(":")[0]


def exposure(text: str) -> str | None:
    """Return what an operator should know of an address that others may reach, None for nothing.

    Endpoints of kinds that we do not know are left to who wrote them.
    """
    host = _plain_host(text)
    if host is None or _is_loopback(host):
        return None
    return (
        f"{shown(text)} takes connections from other machines without TLS: whoever can read the "
        "network learns the token of every client that sends it in its hello, as clients of other "
        "makers do, and with it what the token allows and all that those sessions say; clients of "
        "this version prove their token without sending it. Add an endpoint with TLS "
        '(socket.endpoints = ["ssl:6364:privateKey=…:certKey=…"]) and bind to 127.0.0.1'
    )


def _plain_host(text: str) -> str | None:
    """Return the interface of a TCP endpoint without TLS, "" for all of them."""
    kind, _colon, rest = endpoint_string(text).partition(":")
    if kind not in ("tcp", "tcp6"):
        return None
    interface = ""
    for place, part in enumerate(re.split(r"(?<!\\):", rest)):
        name, equals, value = part.partition("=")
        if name == "interface" or place == 1 and not equals:
            interface = value if equals else part
    return interface.replace("\\:", ":")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


class ControlService(Service):
    """The control listener on its endpoints.

    ``drain_s`` bounds, in seconds, how long stopping waits for what is in flight. ``listening``
    fires with the first port once all accept connections, and fails with IoError when an address
    cannot be had.
    """

    log = Logger()

    def __init__(
        self,
        listeners: Sequence[Listener],
        factory: ControlFactory,
        *,
        clock: IReactorTime,
        drain_s: float,
    ) -> None:
        self._listeners = listeners
        self._factory = factory
        self._clock = clock
        self.drain_s = drain_s
        self._ports: list[IListeningPort] = []
        self.listening: Deferred[IListeningPort] = Deferred()

    def startService(self) -> None:
        """Begin to listen; the outcome is told by ``listening``."""
        super().startService()  # type: ignore[no-untyped-call]
        Deferred.fromCoroutine(self._listen()).addCallbacks(
            self.listening.callback, self.listening.errback
        )

    async def _listen(self) -> IListeningPort:
        for address, endpoint, warning in self._listeners:
            try:
                port = await endpoint.listen(self._factory)
            except Exception as error:
                cause = getattr(error, "socketError", error)
                raise IoError(f"cannot listen on {address}: {cause}") from None
            self._ports.append(port)
            make_prompt(port)
            self.log.info("CLI Cap'n Proto server listening on {address}", address=address)
            if warning is not None:
                self.log.warn("{told}", told=warning)
        return self._ports[0]

    def stopService(self) -> Deferred[None]:
        """Stop listening; answer what is in flight, at most for ``drain_s``; cut the rest."""
        super().stopService()  # type: ignore[no-untyped-call]
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(closing, consumeErrors=True).addCallback(lambda _all: self._drain())

    def _drain(self) -> Deferred[None]:
        limit = self._clock.callLater(self.drain_s, self._factory.abort)

        def drained(_nothing: None) -> None:
            if limit.active():
                limit.cancel()

        return self._factory.drain().addCallback(drained)
