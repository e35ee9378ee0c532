"""The client's side of one connection, without a transport: the twin of the server's.

Hello, key exchange, requests and their answers. Several requests may be on their way; answers
come in the order of the requests. Sockets are in :mod:`eventdbx.surfaces.control.client`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import Struct
from struct import error as PackingError
from typing import NamedTuple

from eventdbx import limits
from eventdbx.errors import ConfigError, SerializationError
from eventdbx.wire.codec_client import (
    Reply,
    decode_hello_reply,
    decode_reply,
    encode_request,
    fragment_message,
)
from eventdbx.wire.codec_hello import UNKNOWN_ID, encode_hello, token_id_of
from eventdbx.wire.framing import FramingError, Inbox, framed
from eventdbx.wire.noise import Initiator, NoiseError, Transport
from eventdbx.wire.pointers import MalformedMessage
from eventdbx.wire.requests import Request

_LENGTH = Struct(">I").unpack_from
_FRAGMENT_BYTES = limits.FRAME_PLAINTEXT_BYTES_MAX - 256


class Established(NamedTuple):
    """The session is open: requests may be sent."""


class Rejected(NamedTuple):
    """The server refuses the session; it closes the connection."""

    message: str


class AnswerReceived(NamedTuple):
    """A whole answer; the parts of an extension answer are joined."""

    reply: Reply


Event = Established | Rejected | AnswerReceived


class BadServer(Exception):
    """The other side does not speak the protocol, or does not hold the token's key."""


_TELLS_NOTHING = "missing control token"
"""What a server says that does not know of token ids."""

SEND_IT = (
    "a token that the server did not issue itself has to be sent in the hello, readable on the way "
    "without TLS: --send-token, EVENTDBX_SEND_TOKEN=1, send_token=True"
)


class ClientConnection:
    """One session with a server; the token opens it and keys its encryption.

    The hello names the token by its id, and the key exchange proves it. ``send_token`` puts the
    token itself into the hello, for servers that did not issue it; so does ``no_noise``, for
    without a key exchange there is no proof. Raises ConfigError for a token without an id.
    """

    def __init__(
        self,
        token: str,
        *,
        tenant: str | None = None,
        no_noise: bool = False,
        send_token: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._token = token
        token_id = None
        if not send_token and not no_noise:
            self._token = token = token.strip()
            token_id = token_id_of(token)
            if token_id is None:
                raise ConfigError("control handshake rejected: invalid control token")
        self._by_id = token_id is not None
        self._no_noise = no_noise
        self._entropy = entropy
        self._inbox = Inbox()
        self._outbox: list[bytes] = [
            encode_hello(token, tenant, no_noise=no_noise, token_id=token_id)
        ]
        self._next: Callable[[], Event | None] = self._hello_reply
        self._initiator: Initiator | None = None
        self._transport: Transport | None = None
        self._open = False
        self._last_id = 0
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def receive_data(self, data: bytes) -> list[Event]:
        """Return what these bytes say. Raises BadServer."""
        events: list[Event] = []
        try:
            if self._open and not self._parts and not self._inbox and _is_one_frame(data):
                # One whole answer, as nearly always: no need to keep its bytes.
                event = self._answer_in(data[4:])
                return [] if event is None else [event]
            self._inbox.feed(data)
            while (event := self._next()) is not None:
                events.append(event)
        except (FramingError, MalformedMessage, NoiseError) as error:
            raise BadServer(f"the server answered something else: {error}") from None
        return events

    def closed(self) -> Rejected | None:
        """Return what it means that the server has closed the connection now, None for nothing."""
        if not self._by_id or self._open or self._next == _nothing:
            return None
        if self._initiator is not None:
            return Rejected("invalid control token")
        return Rejected(f"the server closed at the token's id; {SEND_IT}")

    def data_to_send(self) -> bytes:
        """Return what is queued, once."""
        outbox = self._outbox
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        return data

    def send_request(self, request: Request) -> int:
        """Queue a request and return its id. Only after the session is established.

        Raises SerializationError for a request that cannot be sent: larger than a server
        accepts, or with a text that is not Unicode or a number that does not fit.
        """
        try:
            message = encode_request(self._last_id + 1, request)
        except UnicodeEncodeError as error:
            raise SerializationError(f"text cannot be encoded: {error}") from None
        except PackingError as error:
            raise SerializationError(f"number cannot be encoded: {error}") from None
        if len(message) > limits.REQUEST_BYTES_MAX:
            raise SerializationError(f"request exceeds {limits.REQUEST_BYTES_MAX} bytes")
        self._last_id += 1
        if len(message) <= limits.FRAME_PLAINTEXT_BYTES_MAX:
            self._send(message)
            return self._last_id
        for start in range(0, len(message), _FRAGMENT_BYTES):
            part = message[start : start + _FRAGMENT_BYTES]
            more = start + _FRAGMENT_BYTES < len(message)
            self._send(fragment_message(self._last_id, part, more=more))
        return self._last_id

    def _send(self, message: bytes) -> None:
        payload = message if self._transport is None else self._transport.seal(message)
        self._outbox.append(len(payload).to_bytes(4, "big") + payload)

    def _hello_reply(self) -> Event | None:
        raw = self._inbox.raw_message(limits.HELLO_BYTES_MAX)
        if raw is None:
            return None
        reply = decode_hello_reply(raw)
        if not reply.accepted:
            self._next = _nothing
            if self._by_id and reply.message in (UNKNOWN_ID, _TELLS_NOTHING):
                return Rejected(f"{reply.message}; {SEND_IT}")
            return Rejected(reply.message)
        if reply.no_noise and self._by_id:
            # Nobody asked for that; whoever answers wants to read what comes next.
            raise MalformedMessage("a session without encryption")
        if reply.no_noise:
            self._next = self._answer
            self._open = True
            return Established()
        if self._no_noise:
            self._next = _nothing
            return Rejected("--no-noise requested but the server refused plaintext")
        self._initiator = Initiator(self._token, self._entropy)
        self._outbox.append(framed(self._initiator.message))
        self._next = self._handshake
        return None

    def _handshake(self) -> Event | None:
        frame = self._inbox.frame()
        if frame is None:
            return None
        assert self._initiator is not None
        self._transport = self._initiator.finish(frame)
        self._initiator = None
        self._next = self._answer
        self._open = True
        return Established()

    def _answer(self) -> Event | None:
        while (frame := self._inbox.frame()) is not None:
            event = self._answer_in(frame)
            if event is not None:
                return event
        return None

    def _answer_in(self, frame: bytes) -> Event | None:
        """Return the answer that ends with this frame, None while parts of it are to come."""
        raw = frame if self._transport is None else self._transport.open(frame)
        reply = decode_reply(raw)
        if not reply.more and not self._parts:
            return AnswerReceived(reply)
        self._parts.append(reply.texts[0])
        self._parts_bytes += len(reply.texts[0])
        if self._parts_bytes > limits.RESPONSE_BYTES_MAX:
            raise MalformedMessage("answer is too large")
        if reply.more:
            return None
        whole = b"".join(self._parts)
        self._parts, self._parts_bytes = [], 0
        return AnswerReceived(reply._replace(texts=(whole,)))


def _is_one_frame(data: bytes) -> bool:
    """Whether these bytes are exactly one frame of a size that is allowed."""
    size = len(data) - 4
    return 0 < size <= limits.FRAME_PAYLOAD_BYTES_MAX and _LENGTH(data)[0] == size


def _nothing() -> Event | None:
    return None
