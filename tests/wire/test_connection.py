"""The server's side of a connection: hello, key exchange, session, and how each may go wrong."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import FrameTooLarge
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.connection import ProtocolError, ServerConnection
from eventdbx.wire.events import (
    CliRequestReceived,
    Closed,
    Event,
    HelloReceived,
    RequestReceived,
)
from tests.wire import peers

GET = peers.request("getAggregate", token="t", aggregateType="order", aggregateId="o-1")
GOT = rq.GetAggregate("t", "order", "o-1")


class Case(SynchronousTestCase):
    """Opens connections."""

    def setUp(self) -> None:
        """Make a server that serves nothing unencrypted."""
        self.server = ServerConnection(plaintext_allowed=False)

    def greet(self, hello: bytes) -> HelloReceived:
        """Send a hello and return what the server makes of it."""
        (event,) = self.server.receive_data(hello)
        assert isinstance(event, HelloReceived)
        return event

    def verdict(self) -> dict[str, object]:
        """Return the server's answer to a raw hello."""
        read = peers.schema("control").ControlHelloResponse.from_bytes(self.server.data_to_send())
        with read as response:
            fields: dict[str, object] = response.to_dict()
            return fields

    def established(self, token: str = peers.TOKEN, prologue: bytes = b"") -> peers.Initiator:
        """Open an encrypted session and return the client's end."""
        self.greet(peers.hello(token))
        self.assertEqual(self.server.accept_hello(), [])
        self.server.data_to_send()
        client = peers.Initiator(token.strip(), prologue)
        self.assertEqual(self.server.receive_data(peers.frame(client.message)), [])
        client.finish(peers.frames(self.server.data_to_send())[0])
        return client

    def closes(self, *data: bytes) -> None:
        """Check that the server refuses these bytes without an answer."""
        for piece in data[:-1]:
            self.server.receive_data(piece)
        self.assertRaises(ProtocolError, self.server.receive_data, data[-1])
        self.assertEqual(self.server.data_to_send(), b"")


class Hello(Case):
    """The first message."""

    def test_raw(self) -> None:
        """A raw hello is answered raw."""
        hello = self.greet(peers.hello("a.b.c", "acme"))
        self.assertEqual(hello, HelloReceived(1, "a.b.c", None, "acme", None, False, False))
        self.server.accept_hello()
        self.assertEqual(self.verdict(), {"accepted": True, "message": "ok", "noNoise": False})

    def test_framed(self) -> None:
        """A framed hello is answered framed."""
        hello = self.greet(peers.frame(peers.hello("a.b.c", "acme")))
        self.assertTrue(hello.framed)
        self.server.reject_hello("invalid control token")
        (reply,) = peers.frames(self.server.data_to_send())
        with peers.schema("control").ControlHelloResponse.from_bytes(reply) as response:
            self.assertEqual(response.message, "invalid control token")
            self.assertFalse(response.accepted)

    def test_several_segments(self) -> None:
        """A hello of several segments is a hello."""
        message = peers.schema("control").ControlHello.new_message(num_first_segment_words=1)
        message.protocolVersion, message.token, message.tenantId = 1, "x" * 2000, "acme"
        data = message.to_bytes()
        self.assertGreater(data[0], 0)
        self.assertEqual(self.greet(bytes(data)).tenant, "acme")

    def test_no_tenant(self) -> None:
        """A hello of the first generation names no tenant, other versions are told."""
        hello = self.greet(peers.hello(tenant=None, version=7))
        self.assertEqual((hello.tenant, hello.protocol_version), ("", 7))

    def test_null_token(self) -> None:
        """A hello whose token was never set is a hello without token, not a command line."""
        message = peers.schema("control").ControlHello.new_message(protocolVersion=1)
        self.assertEqual(self.greet(bytes(message.to_bytes())).token, "")

    def test_unreadable_texts(self) -> None:
        """A token or tenant that is no text comes with the reason."""
        data = (
            peers.hello("TOKEN", "TENANT").replace(b"TO", b"\xff\xff").replace(b"TE", b"\xff\xff")
        )
        hello = self.greet(data)
        self.assertIsNone(hello.token)
        self.assertIsNone(hello.tenant)
        assert hello.token_error is not None and hello.tenant_error is not None
        self.assertTrue(hello.token_error.startswith("invalid UTF-8 in control token: "))
        self.assertTrue(hello.tenant_error.startswith("invalid UTF-8 in control tenant id: "))

    def test_token_of_another_kind(self) -> None:
        """A token that is no text at all cannot be read, and the hello can still be refused."""
        data = bytearray(peers.hello("TOKEN"))
        data[28] = data[28] & 0xF8 | 6
        hello = self.greet(bytes(data))
        assert hello.token_error is not None
        self.assertTrue(hello.token_error.startswith("failed to read control token: "))

    def test_no_noise_in_the_reply(self) -> None:
        """A session without encryption is announced only if the server allows it."""
        for allowed in (True, False):
            self.server = ServerConnection(plaintext_allowed=allowed)
            self.greet(peers.hello(no_noise=True))
            self.server.accept_hello()
            self.assertEqual(self.verdict()["noNoise"], allowed)

    def test_other_peers(self) -> None:
        """First bytes of no known peer close the connection without a word."""
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            bytes.fromhex("00000178") + bytes(8) + b"\xff" * 368,
            bytes.fromhex("00000179"),
            bytes.fromhex("00000008"),
            bytes.fromhex("00020000"),
            bytes.fromhex("01000100"),
            b"\xff\x01\x00\x00",
            bytes(8),
            bytes.fromhex("0000000001000000 0000000000000000"),
            bytes.fromhex("0000000001000000 0100000016000000"),
        ):
            self.server = ServerConnection(plaintext_allowed=True)
            self.closes(data)

    def test_too_large(self) -> None:
        """A hello that claims more than the bound is refused before its bytes are taken."""
        words = limits.HELLO_BYTES_MAX // 8
        self.closes(bytes(4) + words.to_bytes(4, "little"))

    def test_nothing_follows_before_the_verdict(self) -> None:
        """What a client sends behind its hello waits for the answer to the hello."""
        client = peers.Initiator()
        (event,) = self.server.receive_data(peers.hello() + peers.frame(client.message))
        self.assertIsInstance(event, HelloReceived)
        self.assertEqual(self.server.receive_data(b"\0"), [])
        self.assertEqual(self.server.data_to_send(), b"")
        self.assertEqual(self.server.accept_hello(), [])
        client.finish(self.server.data_to_send()[-48:])

    def test_flood_before_the_verdict(self) -> None:
        """A client cannot make the server hold much while its hello is judged."""
        self.greet(peers.hello())
        self.closes(bytes(limits.HELLO_BYTES_MAX + 1))

    def test_command_lines(self) -> None:
        """Command lines come raw, one after the other, and are answered raw."""
        message = peers.schema("cli").CliRequest.new_message(args=["a", "b"])
        data = bytes(message.to_bytes())
        for _again in range(2):
            self.assertEqual(self.server.receive_data(data), [CliRequestReceived(("a", "b"))])
            self.server.send_cli_response(-1, "", "CLI proxy is disabled")
            with peers.schema("cli").CliResponse.from_bytes(self.server.data_to_send()) as read:
                self.assertEqual((read.exitCode, read.stderr), (-1, "CLI proxy is disabled"))


class Sealed(Case):
    """An encrypted session."""

    def test_every_client(self) -> None:
        """Both framings of the hello go with every prologue."""
        for framed in (True, False):
            for prologue in (b"", b"eventdbx-control"):
                self.server = ServerConnection(plaintext_allowed=False)
                hello = peers.hello(f" {peers.TOKEN} ")
                self.greet(peers.frame(hello) if framed else hello)
                self.server.accept_hello()
                self.server.data_to_send()
                client = peers.Initiator(peers.TOKEN, prologue)
                self.server.receive_data(peers.frame(client.message))
                client.finish(peers.frames(self.server.data_to_send())[0])
                events = self.server.receive_data(client.seal(GET))
                self.assertEqual(events, [RequestReceived(1, GOT, None)])

    def test_answer(self) -> None:
        """An answer goes out encrypted, in one frame, under the id of its request."""
        client = self.established()
        (event,) = self.server.receive_data(client.seal(GET))
        assert isinstance(event, RequestReceived)
        self.server.send_response(event, rs.AggregateFound(b"{}"))
        (answer,) = client.open(self.server.data_to_send())
        identifier, fields = peers.answer(answer)
        self.assertEqual((identifier, fields["getAggregate"]["aggregateJson"]), (1, "{}"))

    def test_too_large_an_answer(self) -> None:
        """An answer that does not fit leaves nothing behind; an error can take its place."""
        client = self.established()
        (event,) = self.server.receive_data(client.seal(GET))
        assert isinstance(event, RequestReceived)
        huge = rs.AggregateFound(bytes(limits.FRAME_PAYLOAD_BYTES_MAX))
        self.assertRaises(FrameTooLarge, self.server.send_response, event, huge)
        self.assertEqual(self.server.data_to_send(), b"")
        self.server.send_response(event, rs.Failed("serialization", str(FrameTooLarge())))
        (answer,) = client.open(self.server.data_to_send())
        self.assertIn("error", peers.answer(answer)[1])

    def test_pipelined(self) -> None:
        """Many requests in one read come out in order."""
        client = self.established()
        data = b"".join(
            client.seal(peers.request("listSchemas", identifier=n, token="t")) for n in range(50)
        )
        events = self.server.receive_data(data)
        self.assertEqual(events, [RequestReceived(n, rq.ListSchemas("t"), None) for n in range(50)])

    def test_faults(self) -> None:
        """Frames that are empty, too long, not encrypted for us or no request end the session."""
        for fault in ("empty", "long", "plain", "again", "garbage", "hello"):
            self.server = ServerConnection(plaintext_allowed=True)
            client = self.established()
            sealed = client.seal(GET)
            if fault == "again":
                self.server.receive_data(sealed)
            data = {
                "empty": peers.frame(b""),
                "long": (limits.FRAME_PAYLOAD_BYTES_MAX + 1).to_bytes(4, "big"),
                "plain": peers.frame(GET),
                "again": sealed,
                "garbage": client.seal(b"\xff" * 8),
                "hello": client.seal(peers.hello()),
            }[fault]
            if fault in ("garbage", "hello"):
                self.server.receive_data(sealed)
            self.closes(data)

    def test_what_came_before_a_fault_counts(self) -> None:
        """A request in front of a broken frame is still understood; then all is over."""
        client = self.established()
        events = self.server.receive_data(client.seal(GET) + peers.frame(b"x" * 20))
        self.assertEqual([type(event) for event in events], [RequestReceived, Closed])
        self.assertEqual(self.server.receive_data(client.seal(GET)), [])

    def test_unknown_request(self) -> None:
        """A request of the future is reported with its id; the session goes on."""
        client = self.established()
        future = peers.request("listSchemas", identifier=5, token="t")
        future = future[:24] + b"\x63" + future[25:]
        (first, second) = self.server.receive_data(client.seal(future) + client.seal(GET))
        assert isinstance(first, RequestReceived) and isinstance(second, RequestReceived)
        self.assertEqual(first.id, 5)
        self.assertIsInstance(first.request, rq.Unreadable)
        self.assertEqual(second.request, GOT)


class Plain(Case):
    """Peers that do not encrypt."""

    def test_allowed(self) -> None:
        """With the configuration's consent a session goes on in the clear."""
        for no_noise in (True, False):
            self.server = ServerConnection(plaintext_allowed=True)
            self.greet(peers.hello(no_noise=no_noise))
            self.server.accept_hello()
            self.server.data_to_send()
            (event,) = self.server.receive_data(peers.frame(GET))
            self.assertEqual(event, RequestReceived(1, GOT, None))
            assert isinstance(event, RequestReceived)
            self.server.send_response(event, rs.AggregateFound(None))
            (answer,) = peers.frames(self.server.data_to_send())
            self.assertFalse(peers.answer(answer)[1]["getAggregate"]["found"])

    def test_encryption_where_plaintext_is_allowed(self) -> None:
        """A client that encrypts is served encrypted where it need not."""
        self.server = ServerConnection(plaintext_allowed=True)
        client = self.established()
        self.assertEqual(
            self.server.receive_data(client.seal(GET)), [RequestReceived(1, GOT, None)]
        )

    def refused(self, data: bytes, identifier: int) -> None:
        """Check that a plain request is answered with the error and nothing follows."""
        self.greet(peers.hello(no_noise=True))
        self.server.accept_hello()
        self.server.data_to_send()
        events: Sequence[Event] = self.server.receive_data(peers.frame(data) * 2)
        self.assertEqual([type(event) for event in events], [Closed])
        (answer,) = peers.frames(self.server.data_to_send())
        self.assertEqual(
            peers.answer(answer),
            (
                identifier,
                {
                    "error": {
                        "code": "config",
                        "message": "configuration error: plaintext control channel is disabled",
                    }
                },
            ),
        )

    def test_forbidden(self) -> None:
        """Without consent the request is refused under its own id and the session ends."""
        self.refused(peers.request("getAggregate", identifier=77, token="t"), 77)

    def test_forbidden_in_segments(self) -> None:
        """So is a large one, which comes in several segments."""
        data = peers.request(
            "appendEvent", identifier=78, segment_words=1, token="t", payloadJson="1" * 20_000
        )
        self.assertGreater(data[0], 0)
        self.refused(data, 78)

    def test_a_request_of_the_length_of_a_key(self) -> None:
        """A plain request that has the length of a handshake message is still a plain request."""
        data = peers.request("getSnapshot", identifier=79)
        self.assertEqual(len(data), 56)
        data = peers.request("replaceSchemas", identifier=79)
        data = peers.request("listSchemas", identifier=79)
        self.assertEqual(len(data), 48)
        self.refused(data, 79)

    def test_neither_key_nor_request(self) -> None:
        """A first frame that is neither closes the connection without a word."""
        for payload in (bytes(48), b"\xff" * 48, b"x" * 100, peers.Initiator("other").message):
            self.server = ServerConnection(plaintext_allowed=True)
            self.greet(peers.hello())
            self.server.accept_hello()
            self.server.data_to_send()
            self.closes(peers.frame(payload))


class HelloLess(Case):
    """The generation that greets nobody."""

    def request(self) -> bytes:
        """Return one of its requests."""
        return peers.request(
            "getAggregate", identifier=3, kind="HelloLessRequest", of="generations",
            aggregateType="order", aggregateId="o-1",
        )  # fmt: skip

    def test_off(self) -> None:
        """Unless it is switched on, such a peer is refused."""
        self.closes(self.request())

    def test_on(self) -> None:
        """Switched on, requests and answers travel raw."""
        self.server = ServerConnection(plaintext_allowed=False, hello_less=True)
        events = self.server.receive_data(self.request() * 2)
        expected = RequestReceived(3, rq.GetAggregate("", "order", "o-1"), None)
        self.assertEqual(events, [expected, expected])
        self.server.send_response(expected, rs.Failed("storage", "m"))
        self.assertEqual(
            peers.answer(self.server.data_to_send(), kind="HelloLessResponse", of="generations"),
            (3, {"error": {"code": "storage", "message": "m"}}),
        )

    def test_others_while_on(self) -> None:
        """Everybody else is served as ever, and a framed request is no hello."""
        self.server = ServerConnection(plaintext_allowed=False, hello_less=True)
        client = self.established()
        self.assertEqual(
            self.server.receive_data(client.seal(GET)), [RequestReceived(1, GOT, None)]
        )
        self.server = ServerConnection(plaintext_allowed=False, hello_less=True)
        self.closes(peers.frame(self.request()))


class Fragments(Case):
    """Requests larger than a frame."""

    def fragment(self, part: bytes, more: bool, identifier: int = 8) -> bytes:
        """Return one fragment as a message."""
        message = peers.schema("control").ControlRequest.new_message(id=identifier)
        fragment = message.payload.init("extension").init("fragment")
        fragment.part, fragment.more = part, more
        return bytes(message.to_bytes())

    def test_joined(self) -> None:
        """The parts of a request become the request, whatever their sizes."""
        payload = '"' + "x" * 200_000 + '"'
        whole = peers.request("appendEvent", identifier=8, token="t", payloadJson=payload)
        for size in (60_000, 31_337):
            self.server = ServerConnection(plaintext_allowed=False)
            client = self.established()
            events: list[Event] = []
            for start in range(0, len(whole), size):
                part = whole[start : start + size]
                more = start + size < len(whole)
                events += self.server.receive_data(client.seal(self.fragment(part, more)))
            (event,) = events
            assert isinstance(event, RequestReceived)
            self.assertEqual(event.id, 8)
            assert isinstance(event.request, rq.AppendEvent)
            self.assertEqual(event.request.content, payload)

    def test_faults(self) -> None:
        """Parts that are mixed, empty, nested, interrupted or no request end the session."""
        whole = peers.request("listSchemas", identifier=8, token="t")
        begun = self.fragment(whole[:16], True)
        nested = self.fragment(self.fragment(whole, False), False)
        for messages in (
            (begun, self.fragment(whole[16:], False, 9)),
            (begun, GET),
            (self.fragment(b"", True),),
            (self.fragment(whole[:-8], False),),
            (self.fragment(whole, False, 9),),
            (nested,),
        ):
            self.server = ServerConnection(plaintext_allowed=False)
            client = self.established()
            self.closes(*(client.seal(message) for message in messages))

    def test_bound(self) -> None:
        """A request in parts cannot grow beyond the bound."""
        client = self.established()
        part = self.fragment(bytes(60_000), True)
        count = limits.REQUEST_BYTES_MAX // 60_000
        self.closes(*(client.seal(part) for _n in range(count + 1)))


class Splits(Case):
    """Bytes arrive in any pieces."""

    def test_every_split_point(self) -> None:
        """A session cut in two at any byte comes out the same; so does one byte at a time."""
        for framed in (True, False):
            hello = peers.frame(peers.hello()) if framed else peers.hello()
            client = self.established()
            tail = client.seal(GET) + client.seal(peers.request("listSchemas", token="t"))
            for cut in range(1, len(hello)):
                server = ServerConnection(plaintext_allowed=False)
                self.assertEqual(server.receive_data(hello[:cut]), [])
                self.assertTrue(server.inside_frame)
                self.assertEqual(len(server.receive_data(hello[cut:])), 1)
                self.assertFalse(server.inside_frame)
            self.tail_in_pieces(tail)
            self.server = ServerConnection(plaintext_allowed=False)

    def tail_in_pieces(self, tail: bytes) -> None:
        """Feed the rest of a session one byte at a time."""
        events: list[Event] = []
        for at in range(len(tail)):
            events += self.server.receive_data(tail[at : at + 1])
            whole = at + 1 in (len(tail), 4 + int.from_bytes(tail[:4], "big"))
            self.assertEqual(self.server.inside_frame, not whole)
        self.assertEqual(
            events,
            [RequestReceived(1, GOT, None), RequestReceived(1, rq.ListSchemas("t"), None)],
        )

    def test_handshake_cut_anywhere(self) -> None:
        """The first message of the key exchange may come in two pieces."""
        for cut in range(1, 52):
            self.server = ServerConnection(plaintext_allowed=False)
            self.greet(peers.hello())
            self.server.accept_hello()
            self.server.data_to_send()
            client = peers.Initiator()
            message = peers.frame(client.message)
            self.server.receive_data(message[:cut])
            self.assertEqual(self.server.data_to_send(), b"")
            self.server.receive_data(message[cut:])
            client.finish(peers.frames(self.server.data_to_send())[0])
