"""For tests of deliveries over the network: events, surroundings, and listening sockets."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from eventdbx.domain.delivery.entries import PayloadMode
from eventdbx.domain.delivery.envelopes import sample_parts
from eventdbx.domain.delivery.parts import Item
from eventdbx.errors import ConfigError
from eventdbx.plugins.interfaces import DeliveryFailed
from eventdbx.plugins.surroundings import Installation, Surroundings
from tests.daemon import free_port

LOOPBACK = "127.0.0.1"


def surroundings(environ: dict[str, str] | None = None, used: Any = reactor) -> Surroundings:
    """Return surroundings of a delivery that needs no files."""

    def no_installation(name: str, version: str) -> Installation:
        raise ConfigError(f"plugin {name}@{version} is not installed")

    nowhere = Path("nowhere")
    return Surroundings(
        used, "default", nowhere, nowhere, nowhere, "127.0.0.1:6363", environ or {}, no_installation
    )


def items(delivery: Any, count: int = 1, mode: PayloadMode = "all") -> list[Item]:
    """Return events of one aggregate as a delivery encodes them, versions from 1."""
    found = []
    for version in range(1, count + 1):
        parts = sample_parts(mode)
        if parts.record is not None:
            parts = parts._replace(record=parts.record._replace(version=version))
        parts = parts._replace(version=version, event_id=1000 + version, position=f"0-{version}")
        found.append(Item(parts, delivery.encode(parts)))
    return found


class Peer(Protocol):
    """What a listener keeps of one connection."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.received = b""
        self.ended = False

    @property
    def socket(self) -> Any:
        """The transport."""
        return self.transport

    def connectionMade(self) -> None:
        self.listener.peers.append(self)
        self.listener.on_connect(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.listener.on_data(self)

    def connectionLost(self, reason: object = None) -> None:
        self.ended = True


class Listener(Factory):
    """Keeps what comes; ``on_connect`` and ``on_data`` say what it does about it."""

    noisy = False

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.on_connect: Callable[[Peer], None] = lambda peer: None
        self.on_data: Callable[[Peer], None] = lambda peer: None

    def buildProtocol(self, addr: IAddress | None) -> Peer:
        return Peer(self)

    @property
    def received(self) -> bytes:
        """Everything, connection after connection."""
        return b"".join(peer.received for peer in self.peers)


class NetworkCase(TestCase):
    """Opens listening sockets and makes sure that nothing of a delivery is left."""

    timeout = 30

    def listen(self, tls: Any = None) -> tuple[Listener, int]:
        """Return a listener of 127.0.0.1 and its port."""
        listener = Listener()
        used: Any = reactor
        if tls is None:
            port = used.listenTCP(0, listener, interface=LOOPBACK)
        else:
            port = used.listenSSL(0, listener, tls, interface=LOOPBACK)

        def stop() -> Any:
            for peer in listener.peers:
                if not peer.ended:
                    peer.socket.abortConnection()
            return port.stopListening()

        self.addCleanup(stop)
        address: IPv4Address = port.getHost()
        return listener, address.port

    def unused(self) -> int:
        """Return a port on which nobody listens."""
        return free_port()

    def opened(self, delivery: Any) -> Any:
        """Return the delivery, which the end of the test closes."""
        self.addCleanup(delivery.close)
        return delivery

    async def refusal(self, delivered: Deferred[None]) -> DeliveryFailed:
        """Return why a delivery failed."""
        try:
            await delivered
        except DeliveryFailed as failed:
            return failed
        raise self.failureException("the delivery was accepted")

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the reactor turn until something holds; the time limit of the test ends it."""
        while not holds():
            await deferLater(reactor, 0.002)


class SecuredCase(NetworkCase):
    """Has an authority, and certificates of it for a server and a client; and one of another."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        authority = write_certificate(self.folder, "authority")
        write_certificate(self.folder, "server", authority)
        write_certificate(self.folder, "client", authority)
        write_certificate(self.folder, "other")

    def path(self, name: str) -> str:
        """Return the path of a file of certificates or keys."""
        return str(self.folder / name)

    def server(self, *authorities: str) -> Any:
        """Return what a listener is secured with; authorities are those of its clients."""
        pem = (self.folder / "server.pem").read_bytes() + (self.folder / "server.key").read_bytes()
        trusted = [Certificate.loadPEM((self.folder / name).read_bytes()) for name in authorities]
        return PrivateCertificate.loadPEM(pem).options(*trusted)


def write_certificate(folder: Path, name: str, issuer: tuple[Any, Any] | None = None) -> Any:
    """Write ``<name>.pem`` and ``<name>.key`` for 127.0.0.1; return the certificate and its key.

    Without an issuer it is an authority, signed by itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    above, signer = (subject, key) if issuer is None else (issuer[0].subject, issuer[1])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False
        )
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made, key
