"""The peers of the fuzzer: each breaks the protocol, or the connection, in a way of its own.

A peer raises Unanswered when it did nothing wrong and got no answer; everything else that the
daemon does to it is allowed, as long as the daemon itself stays well.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import AnswerReceived, BadServer, ClientConnection, Established
from eventdbx.wire.codec_client import encode_request, fragment_message
from eventdbx.wire.codec_hello import encode_hello, token_id_of
from eventdbx.wire.framing import framed
from eventdbx.wire.noise import Initiator, NoiseError, Transport

READ_S = 5.0
HANDSHAKE_FRAME = 52
LENGTHS = (0, 1, 7, 15, 16, 47, 48, 49, 65_519, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
HOSTILE_TEXTS = (
    "", " ", "\x00", "a" * 129, "A-Ä", "../../etc", "💣" * 40, "{" * 500, "[" * 70_000 + "]",
    '{"a":1e999}', '{"a":' * 200 + "1" + "}" * 200, "((" * 200, "NOT " * 300 + "a = 1",
    "version = 'x' AND", "a LIKE '" + "%_" * 300 + "'", "ts:created_at:asc:x", "a:b:c:d:e:f",
    "-1", "99999999999999999999",
)  # fmt: skip


class Unanswered(Exception):
    """A correct peer was not answered."""


class Recorded:
    """Valid bytes of the protocol, to be mutated: hellos, and one request of each kind."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.hello = encode_hello(token, None, no_noise=False)
        self.plain_hello = encode_hello(token, None, no_noise=True)
        self.requests = [encode_request(number, each) for number, each in enumerate(valid(token))]


def valid(token: str, text: str = "abc") -> Sequence[rq.Request]:
    """Return one request of many kinds; ``text`` stands where a peer may write anything."""
    return (
        rq.GetAggregate(token, "fuzz", text),
        rq.AppendEvent(token, "fuzz", text, "changed", '{"a":1}', "note", '{"@b":2}'),
        rq.AppendEvent(token, "fuzz", "keyed", "changed", '{"a":1}', expected_version=3,
                       idempotency_key=text),
        rq.AppendEvent(token, "fuzz", "any", "changed", text),
        rq.CreateAggregate(token, text, "fuzz", "created", '{"a":{"b":[1,2,3]}}'),
        rq.PatchEvent(token, "fuzz", "any", "changed", text),
        rq.ListAggregates(token, cursor=text, take=3),
        rq.ListAggregates(token, take=5, filter=text),
        rq.ListAggregates(token, take=5, sort=text),
        rq.ListEvents(token, "fuzz", "any", cursor=text, take=2, filter=text),
        rq.SelectAggregate(token, "fuzz", "any", ("a", text, "a.b.c")),
        rq.VerifyAggregate("fuzz", text),
        rq.SetAggregateArchive(token, "fuzz", "archived", True, text),
        rq.CreateSnapshot(token, "fuzz", "any", text),
        rq.ListReferrers(token, "fuzz", text),
        rq.ReadOutbox(token, 1, 2),
        rq.ScanAggregates(token, filter=text, take=2),
        rq.ScanEvents(token, aggregate_type=text, take=2, sort=text),
        rq.Verify(token, after=text, budget=1),
        rq.Status(text),
    )  # fmt: skip


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return the bytes with a few of them changed, lost, doubled or replaced by odd words."""
    found = bytearray(data)
    for _change in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(found)) if found else 0
        match rng.randrange(6):
            case 0 if found:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at : at + rng.choice((1, 8, 64))]
            case 2:
                found[at:at] = found[at : at + rng.choice((1, 8, 64))]
            case 3:
                found[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
            case 4:
                word = at & ~7
                found[word : word + 8] = rng.choice(
                    (bytes(8), b"\xff" * 8, rng.randbytes(8), struct.pack("<Q", 2**33 + 1))
                )
            case _:
                word = at & ~7
                # An odd pointer: any kind, offset and size.
                found[word : word + 8] = struct.pack(
                    "<iI", rng.randrange(-64, 64) * 4 + rng.randrange(4), rng.getrandbits(32)
                )
    return bytes(found)


class Peer:
    """One connection with an unreliable character."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.rng = rng

    @classmethod
    async def connect(cls, port: int, rng: random.Random, address: str) -> Peer:
        """Connect from one of the loopback addresses."""
        opening = asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        reader, writer = await asyncio.wait_for(opening, READ_S)
        return cls(reader, writer, rng)

    def send(self, data: bytes) -> None:
        """Send bytes, sometimes in pieces."""
        if len(data) > 2 and self.rng.random() < 0.2:
            cut = self.rng.randrange(1, len(data))
            self._writer.write(data[:cut])
            data = data[cut:]
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until most of it is sent."""
        await asyncio.wait_for(self._writer.drain(), READ_S)

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        return await asyncio.wait_for(self._reader.readexactly(size), READ_S)

    async def read_some(self, seconds: float = READ_S) -> bytes:
        """Read what is there; empty when the daemon has closed."""
        return await asyncio.wait_for(self._reader.read(262_144), seconds)

    async def frame(self) -> bytes:
        """Read one frame."""
        return await self.read(int.from_bytes(await self.read(4), "big"))

    async def closed_within(self, seconds: float) -> bool:
        """Return whether the daemon closes the connection in time."""
        try:
            while await self.read_some(seconds):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    async def raw_message(self) -> bytes:
        """Read one stream message of one segment."""
        head = await self.read(8)
        return head + await self.read(8 * int.from_bytes(head[4:8], "little"))

    async def encrypted(self, recorded: Recorded) -> Transport:
        """Do everything right up to an encrypted session."""
        self.send(recorded.hello)
        await self.raw_message()
        initiator = Initiator(recorded.token, os.urandom)
        self.send(framed(initiator.message))
        return initiator.finish(await self.frame())

    async def plain(self, recorded: Recorded) -> None:
        """Do everything right up to a session without encryption."""
        self.send(recorded.plain_hello)
        await self.raw_message()

    def close(self) -> None:
        """Go away: politely, or with a reset."""
        transport = self._writer.transport
        if self.rng.random() < 0.6:
            found = transport.get_extra_info("socket")
            if found is not None:
                try:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            transport.abort()
        else:
            transport.close()


async def noise(peer: Peer, _recorded: Recorded) -> None:
    """Random bytes."""
    peer.send(peer.rng.randbytes(peer.rng.choice((1, 3, 4, 8, 16, 100, 5_000, 70_000))))
    await peer.drain()
    await _perhaps_read(peer)


async def odd_lengths(peer: Peer, _recorded: Recorded) -> None:
    """A length that promises far more than comes, in either framing, or a huge segment table."""
    rng = peer.rng
    length = rng.choice(LENGTHS)
    pair = struct.pack("<II", length, rng.choice(LENGTHS))
    table = struct.pack("<II", 510, 8) + bytes(100)
    peer.send(rng.choice((struct.pack(">I", length), pair, table)))
    peer.send(rng.randbytes(rng.choice((0, 10, 3_000))))
    await peer.drain()
    await _perhaps_read(peer)


async def cut_hello(peer: Peer, recorded: Recorded) -> None:
    """Part of a hello, then the end."""
    peer.send(recorded.hello[: peer.rng.randrange(len(recorded.hello))])
    await peer.drain()
    await asyncio.sleep(peer.rng.choice((0, 0, 0.01, 0.05)))


async def mutated_hello(peer: Peer, recorded: Recorded) -> None:
    """A hello with a few bytes wrong, raw or framed, and a handshake behind it."""
    data = mutated(peer.rng, peer.rng.choice((recorded.hello, recorded.plain_hello)))
    peer.send(framed(data) if peer.rng.random() < 0.5 else data)
    peer.send(framed(peer.rng.randbytes(48)))
    await peer.drain()
    await _perhaps_read(peer)


async def wrong_token(peer: Peer, recorded: Recorded) -> None:
    """A good hello with a token that is not; it must be told so."""
    token = mutated(peer.rng, recorded.token.encode()).decode("latin-1")
    if token == recorded.token:
        return
    peer.send(encode_hello(token, peer.rng.choice((None, "", "nowhere")), no_noise=False))
    await peer.raw_message()


async def bad_handshake(peer: Peer, recorded: Recorded) -> None:
    """A good hello and a handshake that does not authenticate or is no handshake."""
    rng = peer.rng
    peer.send(recorded.hello)
    await peer.raw_message()
    message = Initiator(rng.choice(("other", recorded.token)), os.urandom).message
    wrong = (rng.randbytes(48), bytes(48), mutated(rng, message), message[:40], message * 3)
    peer.send(framed(rng.choice(wrong)))
    await peer.drain()
    await _perhaps_read(peer)


async def bad_proof(peer: Peer, recorded: Recorded) -> None:
    """A hello that names a token by its id, known or not, and no proof, or that of another."""
    rng = peer.rng
    known = token_id_of(recorded.token)
    assert known is not None
    named = rng.choice((known, mutated(rng, known.encode()).decode("latin-1"), "x" * 9_000))
    data = encode_hello("", None, no_noise=rng.random() < 0.5, token_id=named)
    peer.send(data if rng.random() < 0.7 else mutated(rng, data))
    message = Initiator(rng.choice(("other", recorded.token)), os.urandom).message
    wrong = (rng.randbytes(48), mutated(rng, message), message[:40], rng.choice(recorded.requests))
    peer.send(framed(rng.choice(wrong)))
    await peer.drain()
    await _perhaps_read(peer)


async def bad_ciphertext(peer: Peer, recorded: Recorded) -> None:
    """An encrypted session whose next frame is not of it."""
    rng = peer.rng
    transport = await peer.encrypted(recorded)
    sealed = transport.seal(rng.choice(recorded.requests))
    wrong = (framed(mutated(rng, sealed)), framed(rng.randbytes(100)), framed(b""),
             struct.pack(">I", rng.choice(LENGTHS)) + sealed[:10], framed(sealed) * 2,
             framed(sealed)[: rng.randrange(1, len(sealed))])  # fmt: skip
    peer.send(rng.choice(wrong))
    await peer.drain()
    await _perhaps_read(peer)


async def bad_messages(peer: Peer, recorded: Recorded) -> None:
    """Sessions whose frames hold mutated requests."""
    rng = peer.rng
    if rng.random() < 0.3:
        transport = await peer.encrypted(recorded)
        seal: Callable[[bytes], bytes] = transport.seal
    else:
        await peer.plain(recorded)
        seal = bytes
    for _request in range(rng.choice((1, 2, 8))):
        data = mutated(rng, rng.choice(recorded.requests))
        if rng.random() < 0.1:
            data = rng.randbytes(len(data) & ~7)
        peer.send(framed(seal(data)))
    await peer.drain()
    await _perhaps_read(peer)


async def hostile_values(peer: Peer, recorded: Recorded) -> None:
    """Well-formed requests with hostile values; each must be answered."""
    rng = peer.rng
    await peer.plain(recorded)
    sent = 0
    for _request in range(rng.choice((1, 4, 10))):
        request = rng.choice(valid(recorded.token, rng.choice(HOSTILE_TEXTS)))
        data = encode_request(sent, request)
        if len(data) > 65_519:
            continue
        peer.send(framed(data))
        sent += 1
    await peer.drain()
    try:
        for _answer in range(sent):
            await peer.frame()
    except (OSError, EOFError, TimeoutError) as error:
        raise Unanswered(f"a well-formed request was not answered: {error!r}") from None


async def never_reading(peer: Peer, recorded: Recorded) -> None:
    """Very many requests, no look at the answers, then a sudden end."""
    await peer.plain(recorded)
    peer.send(b"".join(framed(each) for each in recorded.requests) * peer.rng.choice((1, 10)))
    await asyncio.sleep(peer.rng.choice((0, 0.01)))


async def endless_fragments(peer: Peer, recorded: Recorded) -> None:
    """Parts of a request that never ends, or parts of several at once."""
    rng = peer.rng
    await peer.plain(recorded)
    part = bytes(rng.choice((8, 1_000, 60_000)))
    for number in range(rng.choice((2, 24))):
        identifier = 7 if rng.random() < 0.9 else number
        peer.send(framed(fragment_message(identifier, part, more=rng.random() < 0.95)))
    await peer.drain()
    await _perhaps_read(peer)


async def byte_by_byte(peer: Peer, recorded: Recorded) -> None:
    """A correct session whose bytes come in crumbs; it must be answered."""
    wire = ClientConnection(recorded.token, no_noise=peer.rng.random() < 0.5)
    asked = False
    try:
        while True:
            data = wire.data_to_send()
            size = peer.rng.choice((1, 3, 50))
            for start in range(0, len(data), size):
                peer._writer.write(data[start : start + size])
                if peer.rng.random() < 0.1:
                    await peer.drain()
                    await asyncio.sleep(0)
            received = await peer.read_some()
            if not received:
                raise Unanswered("a correct peer was sent away")
            for event in wire.receive_data(received):
                if isinstance(event, Established):
                    wire.send_request(rq.GetAggregate(recorded.token, "fuzz", "health"))
                    asked = True
                elif isinstance(event, AnswerReceived):
                    return
    except (OSError, TimeoutError, BadServer) as error:
        raise Unanswered(f"a correct peer failed (asked: {asked}): {error!r}") from None


async def come_and_go(peer: Peer, _recorded: Recorded) -> None:
    """Nothing at all."""
    if peer.rng.random() < 0.5:
        peer._writer.write_eof()
        await peer.read_some()


async def _perhaps_read(peer: Peer) -> None:
    """Wait for an answer or the end, a little while, or not at all."""
    if peer.rng.random() < 0.5:
        try:
            await peer.read_some(peer.rng.choice((0.01, 0.05)))
        except TimeoutError:
            return


Behaviour = Callable[[Peer, Recorded], Awaitable[None]]

PEERS: tuple[Behaviour, ...] = (
    noise, odd_lengths, cut_hello, mutated_hello, wrong_token, bad_handshake, bad_proof,
    bad_ciphertext, bad_messages, bad_messages, hostile_values, never_reading, endless_fragments,
    byte_by_byte, come_and_go,
)  # fmt: skip

__all__ = ["PEERS", "NoiseError", "Peer", "Recorded", "Unanswered"]
