"""Whatever a peer sends, only ProtocolError comes out, and little is kept."""

from __future__ import annotations

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import SerializationError
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_client import encode_request
from eventdbx.wire.connection import ProtocolError, ServerConnection
from eventdbx.wire.events import HelloReceived
from eventdbx.wire.pointers import MalformedMessage, control_message
from tests.wire import peers
from tests.wire.test_client import REQUESTS

TEXTS = (b"token", b"order", b"o-1", b"paid", b"{}", b"n", b"x")
SEEDS = (
    peers.hello("a.b.c", "acme"),
    peers.frame(peers.hello("a.b.c", "acme")),
    peers.hello("a.b.c", None),
    peers.request("selectAggregate", token="t", aggregateType="a", fields=["x", "y"]),
    peers.scattered(1, 3, (1,), TEXTS),
    encode_request(1, rq.Status("t")),
)
OPERATIONS = (
    encode_request(1, rq.PluginOperation("t", b'{"do":"list"}')),
    encode_request(1, rq.AdminOperation("t", b'{"do":"reload"}')),
    encode_request(1, rq.IntegrityOperation("t", b'{"do":"event_proof","event_id":1}')),
    encode_request(1, rq.StagingOperation("t", b'{"do":"list"}')),
    encode_request(1, rq.PluginOperation("t", b'{"do":"wait","name":"p","position":"0-1"}')),
    encode_request(1, rq.Follow("t", "0-41", "order", "o-1", "version > 1", 500, 30_000, True)),
    encode_request(1, rq.SchemaOperation("t", b'{"do":"list"}')),
    encode_request(1, rq.SchemaOperation("t", b'{"do":"replace","schemas":{}}')),
    peers.request("listSchemas", token="t"),
    peers.request("replaceSchemas", token="t", schemasJson="{}"),
    peers.request("tenantReload", token="t", tenantId="default"),
    peers.request("tenantSchemaPublish", token="t", tenantId="default", labels=["a", "b"]),
)
EDIT = st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=9))


def edited(data: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    """Return data with some bytes written over."""
    changed = bytearray(data)
    for place, new in edits:
        at = place % len(changed)
        changed[at : at + len(new)] = new[: len(changed) - at]
    return bytes(changed)


class Fuzz(SynchronousTestCase):
    """Hostile bytes."""

    def feed(self, server: ServerConnection, data: bytes, step: int) -> None:
        """Feed bytes in pieces and answer hellos; stop when the connection would be closed."""
        try:
            for at in range(0, len(data), step):
                for event in server.receive_data(data[at : at + step]):
                    if isinstance(event, HelloReceived) and event.token is not None:
                        server.accept_hello()
        except ProtocolError:
            pass

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=300), st.integers(1, 300), st.booleans(), st.booleans())
    def test_noise(self, data: bytes, step: int, allowed: bool, hello_less: bool) -> None:
        """Random bytes."""
        server = ServerConnection(plaintext_allowed=allowed, hello_less=hello_less)
        self.feed(server, data, step)

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(SEEDS), st.lists(EDIT, max_size=4), st.integers(1, 400), st.booleans())
    def test_damaged_first_messages(
        self, seed: bytes, edits: list[tuple[int, bytes]], step: int, hello_less: bool
    ) -> None:
        """Hellos, and requests in their place, with some bytes changed."""
        server = ServerConnection(plaintext_allowed=True, hello_less=hello_less)
        self.feed(server, edited(seed, edits) + peers.frame(seed), step)

    @settings(deadline=None, max_examples=200)
    @given(
        REQUESTS.map(lambda request: encode_request(1, request))
        | st.just(peers.scattered(1, 3, (1,), TEXTS))
        | st.sampled_from(OPERATIONS),
        st.lists(EDIT, max_size=5),
    )
    @example(encode_request(1, rq.Status("t")), [])
    def test_damaged_requests(self, message: bytes, edits: list[tuple[int, bytes]]) -> None:
        """Requests with some bytes changed, on a session in the clear."""
        server = ServerConnection(plaintext_allowed=True)
        self.feed(server, peers.hello(no_noise=True), 1 << 16)
        self.feed(server, peers.frame(edited(message, edits)), 1 << 16)

    def test_agrees_with_pycapnp_on_what_is_broken(self) -> None:
        """A flipped bit never makes us read a text that pycapnp would not."""
        for bit in range(10 * 64):
            self.flip(bit)

    def flip(self, bit: int) -> None:
        """Compare what both make of a request with one bit changed."""
        message = bytearray(peers.request("getAggregate", token="t", aggregateType="a"))
        message[8 + bit // 8] ^= 1 << bit % 8
        try:
            _identifier, member, body = control_message(bytes(message))
            mine = body.texts(("type", "id", "token"))
        except (MalformedMessage, SerializationError):
            return
        if member != 1:
            return
        with peers.schema("control").ControlRequest.from_bytes(bytes(message)) as read:
            theirs = read.payload.getAggregate
            self.assertEqual(mine, [theirs.aggregateType, theirs.aggregateId, theirs.token])


class Bombs(SynchronousTestCase):
    """Small messages that claim much."""

    def refused(self, message: bytes) -> None:
        """Check that a plain session ends at this message."""
        server = ServerConnection(plaintext_allowed=True)
        server.receive_data(peers.hello(no_noise=True))
        server.accept_hello()
        self.assertRaises(ProtocolError, server.receive_data, peers.frame(message))

    def test_one_text_many_times(self) -> None:
        """Thousands of list entries that point to one text are not copied out."""
        count, size = 4_000, 20_000
        head = (2 << 32 | 1 << 48, 1, 6, 4 << 48)
        fields = (0, 0, 1 << 2 | 1 | 6 << 32 | count << 35, 0)
        pointers = [
            (count - index - 1) << 2 | 1 | 2 << 32 | (size + 1) << 35 for index in range(count)
        ]
        words = (*head, *fields, *pointers)
        blob = b"x" * size + bytes(8 - size % 8)
        table = struct.pack("<II", 0, len(words) + len(blob) // 8)
        data = table + struct.pack(f"<{len(words)}Q", *words) + blob
        with peers.schema("control").ControlRequest.from_bytes(data) as read:
            self.assertEqual(len(read.payload.selectAggregate.fields[count - 1]), size)
        self.assertLess(len(data), limits.FRAME_PLAINTEXT_BYTES_MAX)
        self.refused(data)

    def test_structs_of_nothing(self) -> None:
        """A list of half a billion empty structs is refused, not built."""
        message = peers.schema("control").ControlRequest.new_message(id=1)
        body = message.payload.init("appendEvent")
        body.hasPublishTargets = True
        body.init("publishTargets", 1)
        data = bytearray(message.to_bytes())
        tag = (1 << 2 | 1 << 32 | 3 << 48).to_bytes(8, "little")
        at = data.index(tag)
        data[at : at + 8] = (0xFFFFFFFC).to_bytes(8, "little")
        self.refused(bytes(data))

    def test_segments_in_plenty(self) -> None:
        """A table of more segments than anyone needs is refused."""
        count = 600
        self.refused((count - 1).to_bytes(4, "little") + bytes(4 * count) + bytes(4 + 800))

    def test_pointers_in_a_circle(self) -> None:
        """Far pointers that lead to each other, or to themselves, are refused."""
        for far in (2 | 0 << 32, 2 | 4 | 0 << 32, 2 | 1 << 3 | 0 << 32):
            table = bytes(4) + (4).to_bytes(4, "little")
            self.refused(table + far.to_bytes(8, "little") * 4)
