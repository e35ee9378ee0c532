"""An Admin API of a test's own routes on a real socket, and the bytes to ask it with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from eventdbx.application.admission import Admission
from eventdbx.application.attempts import Attempts
from eventdbx.application.auditing import Action
from eventdbx.application.token_keys import PublicKey
from eventdbx.application.tokens import Verifier
from eventdbx.settings import Admin, Config
from eventdbx.surfaces.admin.admission import Door
from eventdbx.surfaces.admin.api import Api
from eventdbx.surfaces.admin.rates import Buckets
from eventdbx.surfaces.admin.table import Row
from eventdbx.surfaces.site import BoundedSite
from tests.surfaces.listener import KEY, NOW_S, token


class Answered(NamedTuple):
    """One answer, taken apart; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    phrase: str = ""

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Conversation(Protocol):
    """Sends some bytes, and keeps what comes back until the connection ends."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand it over."""
        self.ended.callback(self.received)


class Record(list[Action]):
    """A trail in memory."""

    def record(self, action: Action) -> Deferred[None]:
        """Keep the action."""
        self.append(action)
        return succeed(None)


class AdminSite:
    """Routes behind a listener; ``clock`` is that of rates and deadlines, not of the sockets."""

    def __init__(self, rows: Sequence[Row], schemas: Mapping[str, Any] | None = None) -> None:
        self.clock = Clock()
        self.trail = Record()
        self.config = Config()
        key = PublicKey("key-1", KEY.public)
        verifier = Verifier(
            [key], "eventdbx://self", "eventdbx-clients", 30, lambda: NOW_S, lambda _jti: False
        )
        admission = Admission(verifier, Attempts(self.clock.seconds, 10))
        rates = Buckets(
            self.clock.seconds,
            lambda: (self.config.admin.requests_per_second, self.config.admin.requests_burst),
        )
        self.api = Api(
            rows,
            schemas or {},
            door=Door(admission, rates),
            config=lambda: self.config,
            trail=self.trail,
            clock=self.clock,
        )
        self.site_clock = Clock()
        self.site = BoundedSite(self.api.resource, self.site_clock)
        self.client = ""
        self._port: IListeningPort | None = None

    def set(self, **admin: Any) -> None:
        """Change keys of ``[admin]``, as a reload would."""
        self.config = replace(self.config, admin=replace(self.config.admin or Admin(), **admin))

    async def start(self, endpoint: str = "tcp:0:interface=127.0.0.1") -> None:
        """Listen."""
        self._port = port = await serverFromString(reactor, endpoint).listen(self.site)
        host: Any = port.getHost()
        tcp = endpoint.startswith("tcp")
        self.client = f"tcp:127.0.0.1:{host.port}" if tcp else f"unix:{host.name.decode()}"

    async def stop(self) -> None:
        """Close everything."""
        assert self._port is not None
        await maybeDeferred(self._port.stopListening)
        self.site.abort()

    async def open(self) -> Conversation:
        """Connect, and say nothing yet."""
        endpoint = clientFromString(reactor, self.client)
        conversation: Conversation = await connectProtocol(endpoint, Conversation())
        return conversation

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str | None = None,
        **headers: str,
    ) -> Answered:
        """Ask once; header names are written with underscores. The root token unless told."""
        sent = {"host": "localhost", "connection": "close"}
        if bearer != "":
            sent["authorization"] = f"Bearer {bearer or token()}"
        content = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        if body is not None:
            sent |= {"content-type": "application/json", "content-length": str(len(content))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
        conversation = await self.open()
        assert conversation.transport is not None
        conversation.transport.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        return taken_apart(await conversation.ended)


def taken_apart(received: bytes) -> Answered:
    """Return the answer that some bytes are."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    _version, status, phrase = first.split(" ", 2)
    shown = {name.lower(): value for name, value in pairs}
    return Answered(int(status), shown, body, phrase)
