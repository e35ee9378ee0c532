"""Hellos that name a token by its id, and the key exchange that proves it."""

from __future__ import annotations

import base64
import os

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import ConfigError
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.client_connection import (
    AnswerReceived,
    BadServer,
    ClientConnection,
    Established,
    Rejected,
)
from eventdbx.wire.codec_hello import decode_hello, encode_hello, token_id_of
from eventdbx.wire.connection import ProtocolError, ServerConnection
from eventdbx.wire.events import HelloReceived, Proven, RequestReceived, Unproven
from eventdbx.wire.noise import pre_shared_key
from eventdbx.wire.pointers import Message
from tests.wire import peers


def made(jti: object, secret: str = "secret") -> str:
    """Return what looks like a token."""
    claims = base64.urlsafe_b64encode(orjson.dumps({"jti": jti, "sub": "x" * 200})).rstrip(b"=")
    return f"head.{claims.decode()}.{secret}"


TOKEN = made("id-1")
KEY = pre_shared_key(TOKEN)


class Hello(SynchronousTestCase):
    """The first message, as pycapnp reads it and as we do."""

    def test_both_kinds(self) -> None:
        """A hello has the token or its id, and without the id the shape that old servers know."""
        for tenant in (None, "acme"):
            old = encode_hello(TOKEN, tenant, no_noise=True)
            root = Message(old).root()
            self.assertEqual((root.words, root.pointers), (1, 2))
            new = encode_hello(TOKEN, tenant, no_noise=False, token_id="id-1")
            self.assertNotIn(TOKEN.encode(), new)
            for data, text, name, plain in ((old, TOKEN, "", True), (new, "", "id-1", False)):
                with peers.schema("control").ControlHello.from_bytes(data) as read:
                    self.assertEqual((read.protocolVersion, read.noNoise), (1, plain))
                    self.assertEqual((read.token, read.tokenId), (text, name))
                    self.assertEqual(read.tenantId, tenant or "")
                hello = decode_hello(Message(data), framed=False)
                assert isinstance(hello, HelloReceived)
                self.assertEqual((hello.token, hello.token_id), (text, name or None))

    def test_ids(self) -> None:
        """The id is found in the token itself; what has none is no token for us."""
        self.assertEqual(token_id_of(TOKEN), "id-1")
        for wrong in ("", "a.b", "a.b.c", "a.é.c", "a.bnVsbA.c", made(1), made(""), made(None)):
            self.assertIsNone(token_id_of(wrong), wrong)
            self.assertRaises(ConfigError, ClientConnection, wrong)

    def test_unreadable_id(self) -> None:
        """An id that is no text is told, like a token that is none."""
        data = encode_hello("", None, no_noise=False, token_id="id-é").replace(b"\xc3", b"\xff")
        hello = decode_hello(Message(data), framed=False)
        assert isinstance(hello, HelloReceived) and hello.token_id_error is not None
        self.assertIn("invalid UTF-8 in control token id", hello.token_id_error)


class Proof(SynchronousTestCase):
    """Who holds the token gets a session, and nobody else anything."""

    def setUp(self) -> None:
        self.server = ServerConnection(plaintext_allowed=True)

    def greet(self, client: ClientConnection) -> None:
        """Bring the hello over and have it accepted."""
        sent = client.data_to_send()
        self.assertNotIn(b"secret", sent)
        (hello,) = self.server.receive_data(sent)
        assert isinstance(hello, HelloReceived)
        self.assertEqual((hello.token, hello.token_id), ("", "id-1"))
        self.server.accept_hello(key=KEY)

    def test_session(self) -> None:
        """Requests and answers go through, and no byte of the token in the clear."""
        client = ClientConnection(f" {TOKEN}\n")
        self.greet(client)
        self.assertEqual(client.receive_data(self.server.data_to_send()), [])
        self.assertEqual(self.server.receive_data(client.data_to_send()), [])
        self.assertEqual(client.receive_data(self.server.data_to_send()), [Established()])
        self.assertIsNone(client.closed())
        client.send_request(rq.GetAggregate(TOKEN, "a", "1"))
        sent = client.data_to_send()
        self.assertNotIn(b"secret", sent)
        proven, event = self.server.receive_data(sent)
        self.assertIsInstance(proven, Proven)
        assert isinstance(event, RequestReceived)
        self.server.send_response(event, rs.AggregateFound(b"{}"))
        (answer,) = client.receive_data(self.server.data_to_send())
        self.assertIsInstance(answer, AnswerReceived)

    def test_another_token_of_that_id(self) -> None:
        """A forged token with a known id proves nothing, and its holder is told so."""
        client = ClientConnection(made("id-1", "forged"))
        (hello,) = self.server.receive_data(client.data_to_send())
        self.assertIsInstance(hello, HelloReceived)
        self.server.accept_hello(key=KEY)
        client.receive_data(self.server.data_to_send())
        self.assertEqual(self.server.receive_data(client.data_to_send()), [Unproven()])
        self.assertEqual(self.server.data_to_send(), b"")
        self.assertEqual(self.server.receive_data(b"more"), [])
        self.assertEqual(client.closed(), Rejected("invalid control token"))

    def test_nothing_without_proof(self) -> None:
        """Requests in the clear are not served behind an id, whatever the configuration allows,
        and whatever the hello asked for."""
        request = peers.frame(peers.request("getAggregate", token="t", aggregateType="a"))
        for no_noise in (False, True):
            server = ServerConnection(plaintext_allowed=True)
            server.receive_data(encode_hello("", None, no_noise=no_noise, token_id="id-1"))
            self.assertEqual(server.accept_hello(key=KEY), [])
            with peers.schema("control").ControlHelloResponse.from_bytes(
                server.data_to_send()
            ) as reply:
                self.assertFalse(reply.noNoise)
            self.assertEqual(server.receive_data(request), [Unproven()])
            self.assertEqual(server.data_to_send(), b"")

    def test_repeated(self) -> None:
        """Who repeats a first message that was overheard gets no session to talk in."""
        client = ClientConnection(TOKEN)
        hello = client.data_to_send()
        self.server.receive_data(hello)
        self.server.accept_hello(key=KEY)
        client.receive_data(self.server.data_to_send())
        overheard = client.data_to_send()
        again = ServerConnection(plaintext_allowed=True)
        again.receive_data(hello)
        again.accept_hello(key=KEY)
        self.assertEqual(again.receive_data(overheard), [])
        self.assertRaises(ProtocolError, again.receive_data, peers.frame(os.urandom(64)))

    def test_server_that_wants_to_read(self) -> None:
        """A client that did not ask for plain text takes no server's word that it is so."""
        client = ClientConnection(TOKEN)
        plain = ServerConnection(plaintext_allowed=True)
        plain.receive_data(encode_hello("t", None, no_noise=True))
        plain.accept_hello()
        self.assertRaises(BadServer, client.receive_data, plain.data_to_send())

    def test_servers_that_do_not_know(self) -> None:
        """Servers of another ledger, and older ones, get no token; the refusal says what to do."""
        for words in ("unknown token id", "missing control token"):
            client = ClientConnection(TOKEN)
            server = ServerConnection(plaintext_allowed=False)
            server.receive_data(client.data_to_send())
            server.reject_hello(words)
            (event,) = client.receive_data(server.data_to_send())
            assert isinstance(event, Rejected)
            self.assertTrue(event.message.startswith(words))
            self.assertIn("--send-token", event.message)
            self.assertIsNone(client.closed())
        silent = ClientConnection(TOKEN).closed()
        assert silent is not None
        self.assertIn("send_token=True", silent.message)
        self.assertIsNone(ClientConnection(TOKEN, send_token=True).closed())

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=3)), max_size=4),
        st.integers(1, 120),
        st.binary(max_size=200),
    )
    def test_damaged(self, edits: list[tuple[int, bytes]], step: int, tail: bytes) -> None:
        """However a hello with an id, and what follows, are damaged and cut: no request comes out
        and nothing but our own errors."""
        data = bytearray(encode_hello("", "acme", no_noise=True, token_id="id-1"))
        for at, new in edits:
            data[at % len(data) : at % len(data) + len(new)] = new
        data += peers.frame(peers.request("getAggregate", token="t", aggregateType="a")) + tail
        server = ServerConnection(plaintext_allowed=True)
        try:
            for at in range(0, len(data), step):
                for event in server.receive_data(bytes(data[at : at + step])):
                    self.assertNotIsInstance(event, RequestReceived)
                    if isinstance(event, HelloReceived):
                        self.assertEqual(
                            [e for e in server.accept_hello(key=KEY) if type(e) is RequestReceived],
                            [],
                        )
        except ProtocolError:
            pass
