"""What a connection understood from the bytes it was fed."""

from __future__ import annotations

from typing import NamedTuple

from eventdbx.wire.requests import Request


class HelloReceived(NamedTuple):
    """The first message of a control session; nothing more comes until it is answered.

    A text that cannot be read is None and has a message in its ``_error``. ``framed`` tells in
    which of the two framings the hello came; the answer goes out in the same. ``token_id``
    stands in for a token that the peer does not send: what proves it is the key exchange.
    """

    protocol_version: int
    token: str | None
    token_error: str | None
    tenant: str | None
    tenant_error: str | None
    no_noise: bool
    framed: bool
    token_id: str | None = None
    token_id_error: str | None = None


class CliRequestReceived(NamedTuple):
    """A peer asks to run a command line."""

    args: tuple[str, ...]


class RequestReceived(NamedTuple):
    """One request. ``reply`` belongs to the wire: it tells how the answer must be shaped."""

    id: int
    request: Request
    reply: int | None


class Proven(NamedTuple):
    """The peer has shown that it holds the token that its hello named: what it sealed, it sealed
    for this session. A key exchange alone may be one that was overheard, and repeated."""


class Unproven(NamedTuple):
    """The peer does not hold the token that its hello named; close."""


class Closed(NamedTuple):
    """Nothing more will be understood; send what is queued and close."""

    reason: str


Event = HelloReceived | CliRequestReceived | RequestReceived | Proven | Unproven | Closed
