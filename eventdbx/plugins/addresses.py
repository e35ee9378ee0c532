"""Where deliveries connect to: names looked up, addresses that are not allowed, connecting.

Addresses are judged after the lookup and connected to as they were judged, so a name cannot lead
past the rules. What is sent on the connection is not here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost, TimeoutError, UserError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

CONNECT_TIMEOUT_S = 5.0
"""All attempts to connect together, the lookup included."""

ADDRESSES_MAX = 8
"""Addresses of one name that are tried."""

_LINK_LOCAL = tuple(map(ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32")))
"""Where clouds tell secrets to whoever asks from inside the machine; the last one is not link-local
by its number but for the same purpose."""

_PRIVATE = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 "
            "192.168.0.0/16 198.18.0.0/15 224.0.0.0/3 ::/127 fc00::/7 fec0::/10 ff00::/8"
        ).split(),
    )
)

_IPV4_INSIDE = tuple(
    (ip_network(net), shift)
    for net, shift in (("::/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80))
)
"""Networks of IPv6 that carry an address of IPv4, and how far from the right end it stands."""


class Refused(Exception):
    """An address that the configuration does not allow; the text says which and why."""


class Rules(NamedTuple):
    """Which addresses a target may have."""

    allow_private: bool = True
    allow_link_local: bool = False

    def objection(self, address: str) -> str | None:
        """Return why an address is not allowed, None if it is."""
        for one in _readings(address):
            if any(one in net for net in _LINK_LOCAL):
                if not (self.allow_link_local and self.allow_private):
                    return f"{address} is a link-local address"
            elif not self.allow_private and any(one in net for net in _PRIVATE):
                return f"{address} is a private address"
        return None


def _readings(address: str) -> list[IPv4Address | IPv6Address]:
    """Return an address and, where it carries one of IPv4, that one too."""
    one = ip_address(address.split("%")[0])
    if isinstance(one, IPv4Address):
        return [one]
    if one.ipv4_mapped is not None:
        return [one.ipv4_mapped]
    inner = [
        IPv4Address(int(one) >> shift & 0xFFFFFFFF) for net, shift in _IPV4_INSIDE if one in net
    ]
    return [one, *inner]


def bare_host(host: str) -> str:
    """Return a host as sockets want it: without brackets, in ASCII; raises ValueError."""
    text = host.strip().removeprefix("[").removesuffix("]")
    if not text.isascii():
        text = text.encode("idna").decode("ascii")
    if not text or any(character <= " " for character in text):
        raise ValueError(f"'{host}' is not a host")
    return text


@implementer(IStreamClientEndpoint)
class Dialer:
    """An endpoint of one host and port that keeps to the rules.

    The addresses of the name are tried one after the other, the last good one first; each gets its
    share of the time. Lookups run on a thread that nothing can stop: at most one at a time, and
    whoever connects meanwhile waits for the same one.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        rules: Rules,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
        lookup: Callable[..., Any] = socket.getaddrinfo,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._rules = rules
        self._timeout_s = timeout_s
        self._lookup = lookup
        self._waiting: list[Deferred[list[str]]] | None = None
        self._good: str | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Return the connected protocol; fails with a ConnectError, an OSError or Refused."""
        attempt: Deferred[IProtocol] = Deferred.fromCoroutine(self._connect(factory))
        return attempt.addTimeout(self._timeout_s, self._reactor, _late)

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        deadline = self._reactor.seconds() + self._timeout_s
        addresses = self._allowed(await self._resolve())
        if self._good in addresses:
            addresses.sort(key=lambda address: address != self._good)
        failed: ConnectError | None = None
        for number, address in enumerate(addresses):
            share = (deadline - self._reactor.seconds()) / (len(addresses) - number)
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            try:
                # Whole seconds are what sockets are given in logs; never none at all.
                connected = await kind(
                    self._reactor, address, self._port, timeout=max(share, 0.05)
                ).connect(factory)
            except ConnectError as error:
                failed = failed or error
            else:
                self._good = address
                return connected
        assert failed is not None, "there is at least one address"
        raise failed

    def _allowed(self, found: list[str]) -> list[str]:
        objections = [self._rules.objection(address) for address in found]
        allowed = [one for one, objection in zip(found, objections, strict=True) if not objection]
        if not allowed:
            raise Refused(next(filter(None, objections)))
        return allowed

    async def _resolve(self) -> list[str]:
        try:
            ip_address(self._host.split("%")[0])
        except ValueError:
            return await self._shared_lookup()
        return [self._host]

    def _shared_lookup(self) -> Deferred[list[str]]:
        waiter: Deferred[list[str]] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waiter)
            return waiter
        self._waiting = [waiter]
        pool = self._reactor.getThreadPool()
        found = deferToThreadPool(
            self._reactor, pool, self._lookup, self._host, self._port, 0, socket.SOCK_STREAM
        )
        found.addCallbacks(self._looked_up, self._not_found)
        return waiter

    def _looked_up(self, rows: list[Any]) -> None:
        # Each row ends with a socket address, which begins with the host.
        addresses = list(dict.fromkeys(row[4][0] for row in rows))[:ADDRESSES_MAX]
        if not addresses:
            self._not_found(OSError(f"no address for {self._host}"))
            return
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(list(addresses))

    def _not_found(self, reason: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            if not waiter.called:
                waiter.errback(reason)


def _late(result: object, limit_s: float) -> NoReturn:
    raise TimeoutError(string=f"no connection within {limit_s:g} s")


def explain(error: BaseException) -> str:
    """Return in words why a connection was not made or did not last."""
    if isinstance(error, Refused):
        return f"{error}, which the configuration does not allow"
    if isinstance(error, socket.gaierror):
        return f"failed to lookup address information: {error.strerror}"
    if isinstance(error, (TimeoutError, UserError, CancelledError)):
        return "connection timed out"
    number = error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    if isinstance(number, int):
        return f"{os.strerror(number)} (os error {number})"
    if isinstance(error, ConnectionLost):
        return "the connection was lost"
    return _in_words(error)


def _in_words(error: BaseException) -> str:
    """Return the text of an error; those of OpenSSL are lists of (library, function, reason)."""
    if type(error).__module__.startswith("service_identity"):
        return "TLS: the certificate is for another name"
    match error.args:
        case [[*_, (_, _, str(reason))]]:
            return f"TLS: {reason}"
    return str(error) or type(error).__name__
