"""The server's side of one connection, without a transport: bytes in, events out, bytes out.

First message, hello, key exchange, session: docs/protocol.md numbers the steps. Every bound of
what a peer may make this object hold is a constant of :mod:`eventdbx.limits`. The twin for
clients is :mod:`eventdbx.wire.client_connection`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from eventdbx import limits
from eventdbx.wire.codec_extensions import Fragment
from eventdbx.wire.codec_hello import decode_cli_request, decode_hello, is_hello_less
from eventdbx.wire.codec_requests import decode_request
from eventdbx.wire.codec_responses import (
    encode_cli_response,
    encode_hello_response,
    encode_response,
)
from eventdbx.wire.events import (
    CliRequestReceived,
    Closed,
    Event,
    HelloReceived,
    Proven,
    RequestReceived,
    Unproven,
)
from eventdbx.wire.framing import FramingError, Inbox, framed
from eventdbx.wire.noise import (
    HANDSHAKE_BYTES,
    Answered,
    NoiseError,
    Transport,
    respond,
    respond_keyed,
)
from eventdbx.wire.pointers import MalformedMessage, Message
from eventdbx.wire.responses import Failed, Response

PLAINTEXT_DISABLED = "configuration error: plaintext control channel is disabled"


class ProtocolError(Exception):
    """The peer broke the protocol: send what is queued, close, and feed nothing more."""


class ServerConnection:
    """One peer of the listener.

    ``plaintext_allowed`` is the configuration's word on sessions without encryption;
    ``hello_less`` serves the clients of the oldest generation, which greet nobody.
    """

    def __init__(
        self,
        *,
        plaintext_allowed: bool,
        entropy: Callable[[int], bytes] = os.urandom,
        hello_less: bool = False,
    ) -> None:
        self._plaintext_allowed = plaintext_allowed
        self._entropy = entropy
        self._hello_less = hello_less
        self._inbox = Inbox()
        self._outbox: list[bytes] = []
        self._next: Callable[[], Event | None] = self._first_message
        self._hello: HelloReceived | None = None
        self._key: bytes | None = None
        self._transport: Transport | None = None
        self._framed = True
        self._fragments: tuple[int, bytearray] | None = None

    def receive_data(self, data: bytes) -> list[Event]:
        """Return what the peer said with these bytes and what was left of those before.

        Nothing follows a hello until it is accepted or rejected. Raises ProtocolError when the
        connection must be closed.
        """
        self._inbox.feed(data)
        if len(self._inbox) > limits.HELLO_BYTES_MAX and self._hello_pending:
            raise ProtocolError("too much before the hello was answered")
        return self._advance()

    def _advance(self) -> list[Event]:
        events: list[Event] = []
        try:
            while (event := self._next()) is not None:
                events.append(event)
        except (FramingError, MalformedMessage, NoiseError) as error:
            if not events:
                raise ProtocolError(str(error)) from None
            # What came before the fault still counts.
            self._next = _nothing
            events.append(Closed(str(error)))
        return events

    @property
    def _hello_pending(self) -> bool:
        return self._next == _nothing and self._transport is None

    @property
    def inside_frame(self) -> bool:
        """True when the last bytes ended inside a message: the peer may wait to be acknowledged."""
        return len(self._inbox) > 0

    def data_to_send(self) -> bytes:
        """Return what is queued, once."""
        if not self._outbox:
            return b""
        data = b"".join(self._outbox)
        self._outbox.clear()
        return data

    # The first message.

    def _first_message(self) -> Event | None:
        cut = self._inbox.hello()
        if cut is None:
            return None
        raw, is_framed = cut
        message = Message(raw)
        if is_hello_less(message):
            if not self._hello_less or is_framed:
                raise MalformedMessage("a request without a hello")
            self._framed = False
            self._next = self._raw_request
            return self._request(raw)
        greeting = decode_hello(message, framed=is_framed)
        if isinstance(greeting, CliRequestReceived):
            self._next = self._cli_request
            return greeting
        self._hello = greeting
        self._next = _nothing
        return greeting

    def _cli_request(self) -> Event | None:
        raw = self._inbox.raw_message(limits.HELLO_BYTES_MAX)
        return None if raw is None else decode_cli_request(Message(raw))

    def _raw_request(self) -> Event | None:
        raw = self._inbox.raw_message(limits.REQUEST_BYTES_MAX)
        return None if raw is None else self._request(raw)

    def accept_hello(self, message: str = "ok", *, key: bytes | None = None) -> list[Event]:
        """Answer the hello; return what the peer has sent behind it already.

        ``key`` is the pre-shared key of the token whose id the hello named. Nothing is served to
        its sender before it has proven that it holds the key, and nothing without encryption.
        """
        self._key = key
        hello = self._answer_hello(accepted=True, message=message)
        if key is not None:
            self._next = self._proof
        else:
            plain = hello.no_noise and self._plaintext_allowed
            self._next = self._plain_request if plain else self._handshake
        return self._advance()

    def reject_hello(self, message: str) -> None:
        """Answer the hello; the connection is to be closed after that."""
        self._answer_hello(accepted=False, message=message)

    def _answer_hello(self, *, accepted: bool, message: str) -> HelloReceived:
        hello = self._hello
        assert hello is not None, "there is no hello to answer"
        no_noise = hello.no_noise and self._plaintext_allowed and self._key is None
        reply = encode_hello_response(accepted=accepted, message=message, no_noise=no_noise)
        self._outbox.append(framed(reply) if hello.framed else reply)
        return hello

    # The key exchange.

    def _proof(self) -> Event | None:
        frame = self._inbox.frame()
        if frame is None:
            return None
        assert self._key is not None
        try:
            if len(frame) != HANDSHAKE_BYTES:
                raise NoiseError("no handshake message")
            answered = respond_keyed(frame, (self._key,), self._entropy)
        except NoiseError:
            self._next = _nothing
            return Unproven()
        self._exchanged(answered)
        self._next = self._first_sealed
        return self._first_sealed()

    def _handshake(self) -> Event | None:
        frame = self._inbox.frame()
        if frame is None:
            return None
        if len(frame) == HANDSHAKE_BYTES:
            token = self._hello.token if self._hello is not None else None
            assert token is not None
            try:
                answered = respond(frame, (token, token.strip()), self._entropy)
            except NoiseError:
                return self._unencrypted(frame)
            self._exchanged(answered)
            return self._sealed_request()
        return self._unencrypted(frame)

    def _exchanged(self, answered: Answered) -> None:
        self._outbox.append(framed(answered.message))
        self._transport = answered.transport
        self._next = self._sealed_request

    def _first_sealed(self) -> Event | None:
        """Only who holds the key can seal anything for this session."""
        frame = self._inbox.frame()
        if frame is None:
            return None
        assert self._transport is not None
        raw = self._transport.open(frame)

        def opened() -> Event | None:
            self._next = self._sealed_request
            return self._request(raw) or self._sealed_request()

        self._next = opened
        return Proven()

    def _unencrypted(self, frame: bytes) -> Event | None:
        """A peer that was told to encrypt and does not: serve it only if that is allowed."""
        identifier, _request, _reply = decode_request(frame)
        if self._plaintext_allowed:
            self._next = self._plain_request
            return self._request(frame)
        for part in encode_response(identifier, Failed("config", PLAINTEXT_DISABLED), None):
            self._outbox.append(framed(part))
        self._next = _nothing
        return Closed("plaintext is disabled")

    # The session.

    def _sealed_request(self) -> Event | None:
        while (frame := self._inbox.frame()) is not None:
            assert self._transport is not None
            event = self._request(self._transport.open(frame))
            if event is not None:
                return event
        return None

    def _plain_request(self) -> Event | None:
        while (frame := self._inbox.frame()) is not None:
            event = self._request(frame)
            if event is not None:
                return event
        return None

    def _request(self, raw: bytes) -> Event | None:
        identifier, request, reply = decode_request(raw, hello_less=not self._framed)
        if type(request) is Fragment:
            return self._fragment(identifier, request)
        assert not isinstance(request, Fragment)
        if self._fragments is not None:
            raise MalformedMessage("a request among the fragments of another")
        return RequestReceived(identifier, request, reply)

    def _fragment(self, identifier: int, fragment: Fragment) -> Event | None:
        """Join the fragments of a large request; the last one makes it a request."""
        known, joined = self._fragments or (identifier, bytearray())
        if known != identifier or not fragment.part:
            raise MalformedMessage("fragments of two requests are mixed")
        if len(joined) + len(fragment.part) > limits.REQUEST_BYTES_MAX:
            raise MalformedMessage("request in fragments is too large")
        joined += fragment.part
        if fragment.more:
            self._fragments = (identifier, joined)
            return None
        self._fragments = None
        # Not through _request: fragments in fragments would be a recursion that a peer controls.
        whole, request, reply = decode_request(bytes(joined))
        if whole != identifier or isinstance(request, Fragment):
            raise MalformedMessage("fragments do not make up their request")
        return RequestReceived(identifier, request, reply)

    def send_response(self, received: RequestReceived, response: Response) -> None:
        """Queue the answer to a request. Raises FrameTooLarge, and queues nothing then."""
        parts = encode_response(received.id, response, received.reply, hello_less=not self._framed)
        transport = self._transport
        for part in parts:
            if transport is not None:
                part = transport.seal(part)
            if self._framed:
                self._outbox.append(len(part).to_bytes(4, "big"))
            self._outbox.append(part)

    def send_cli_response(self, exit_code: int, stdout: str, stderr: str) -> None:
        """Queue the answer to a command line."""
        self._outbox.append(encode_cli_response(exit_code, stdout, stderr))


def _nothing() -> Event | None:
    """The state in which nothing is understood: a hello is being judged, or all is over."""
    return None
