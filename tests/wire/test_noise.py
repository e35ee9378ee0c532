"""The key exchange against an independent implementation, and the ciphers after it."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.wire.noise import PROLOGUES, Initiator, NoiseError, Transport, respond
from tests.wire import peers

SPACED = f" {peers.TOKEN}\n"


class Responding(SynchronousTestCase):
    """A server faces clients that disagree about key and prologue."""

    def exchange(self, token: str, prologue: bytes) -> None:
        """Let an independent client with these choices talk with our server."""
        client = peers.Initiator(token, prologue)
        answered = respond(client.message, (SPACED, peers.TOKEN), os.urandom)
        self.assertEqual(len(client.message), 48)
        self.assertEqual(len(answered.message), 48)
        client.finish(answered.message)
        for text in (b"", b"one", bytes(65_519)):
            (sealed,) = peers.frames(client.seal(text))
            self.assertEqual(answered.transport.open(sealed), text)
            self.assertEqual(client.open(peers.frame(answered.transport.seal(text))), [text])

    def test_every_key_and_prologue(self) -> None:
        """Token as sent or trimmed, with or without prologue: each pair finds its session."""
        for token in (SPACED, peers.TOKEN):
            for prologue in PROLOGUES:
                self.exchange(token, prologue)

    def test_other_token(self) -> None:
        """Who holds another token does not get a session."""
        client = peers.Initiator("another token")
        self.assertRaises(NoiseError, respond, client.message, (peers.TOKEN,), os.urandom)

    def test_other_prologue(self) -> None:
        """Who binds the exchange to another protocol does not get a session."""
        client = peers.Initiator(prologue=b"another protocol")
        self.assertRaises(NoiseError, respond, client.message, (peers.TOKEN,), os.urandom)

    def test_every_changed_bit_is_noticed(self) -> None:
        """A first message with any bit flipped on the way is refused."""
        message = peers.Initiator().message
        for bit in range(8 * len(message)):
            changed = bytearray(message)
            changed[bit // 8] ^= 1 << bit % 8
            self.assertRaises(NoiseError, respond, bytes(changed), (peers.TOKEN,), os.urandom)

    def test_key_without_secret(self) -> None:
        """An ephemeral key that would make the session's keys known to all is refused."""
        client = Initiator(peers.TOKEN, os.urandom)
        self.assertRaises(NoiseError, client.finish, bytes(48))


class Ciphers(SynchronousTestCase):
    """The session after the exchange."""

    def setUp(self) -> None:
        """Make both ends."""
        client = Initiator(peers.TOKEN, os.urandom)
        answered = respond(client.message, (peers.TOKEN,), os.urandom)
        self.server, self.client = answered.transport, client.finish(answered.message)

    def refuses(self, sealed: bytes) -> None:
        """Check that the server does not open this."""
        self.assertRaises(NoiseError, self.server.open, sealed)

    def test_order(self) -> None:
        """Messages open in the order in which they were sealed, in no other and only once."""
        one, two = self.client.seal(b"one"), self.client.seal(b"two")
        self.refuses(two)
        self.assertEqual(self.server.open(one), b"one")
        self.refuses(one)
        self.assertEqual(self.server.open(two), b"two")

    def test_changed(self) -> None:
        """A changed, shortened or empty ciphertext does not open."""
        sealed = self.client.seal(b"text")
        self.refuses(sealed[:-1])
        self.refuses(sealed[:15])
        self.refuses(b"")
        self.refuses(bytes((sealed[0] ^ 1,)) + sealed[1:])

    def test_directions(self) -> None:
        """What the server sealed does not open as if the client had."""
        self.refuses(self.server.seal(b"text"))

    def test_sessions_differ(self) -> None:
        """Two sessions of one token share no keys."""
        client = Initiator(peers.TOKEN, os.urandom)
        other: Transport = respond(client.message, (peers.TOKEN,), os.urandom).transport
        self.assertRaises(NoiseError, other.open, self.client.seal(b"text"))
