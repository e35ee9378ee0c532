"""Noise_NNpsk0_25519_ChaChaPoly_SHA256: the key exchange and the two ciphers after it.

Only this one pattern, with empty payloads in the handshake, as every peer of the protocol uses it.
How messages become frames is in :mod:`eventdbx.wire.framing`. The names of steps are those of the
Noise specification (revision 34).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from hmac import digest as hmac_digest
from struct import Struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

HANDSHAKE_BYTES = 48
"""Either handshake message: an ephemeral public key and the tag of an empty payload."""

PROLOGUES = (b"", b"eventdbx-control")
"""What peers bind the handshake to: most of them nothing, some the name of the protocol."""

_KEY_BYTES = 32
_PROTOCOL = sha256(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256").digest()
_nonce = Struct("<IQ").pack

Entropy = Callable[[int], bytes]
"""Returns that many random bytes."""


class NoiseError(Exception):
    """A message is not what the holder of the same key would have sent."""


class Transport:
    """The session's two ciphers. Messages must be opened in the order they were sealed."""

    __slots__ = ("_open", "_opened", "_seal", "_sealed")

    def __init__(self, receiving: bytes, sending: bytes) -> None:
        self._open = ChaCha20Poly1305(receiving).decrypt
        self._seal = ChaCha20Poly1305(sending).encrypt
        self._opened = 0
        self._sealed = 0

    def seal(self, plaintext: bytes) -> bytes:
        """Return the ciphertext, 16 bytes longer than the plaintext."""
        number = self._sealed
        self._sealed = number + 1
        return self._seal(_nonce(0, number), plaintext, None)

    def open(self, ciphertext: bytes) -> bytes:
        """Return the plaintext. Raises NoiseError when it was not sealed by the peer."""
        number = self._opened
        try:
            plaintext = self._open(_nonce(0, number), ciphertext, None)
        except InvalidTag:
            raise NoiseError("frame does not decrypt") from None
        self._opened = number + 1
        return plaintext


class _Symmetric:
    """The chaining key and the running hash that both sides keep in step."""

    def __init__(self, psk: bytes, prologue: bytes) -> None:
        self._chaining = _PROTOCOL
        self._hash = sha256(_PROTOCOL + prologue).digest()
        self._key = b""
        chaining, mixed, self._key = self._derive(psk, 3)
        self._chaining = chaining
        self.mix_hash(mixed)

    def _derive(self, material: bytes, count: int) -> list[bytes]:
        """Return HKDF outputs of the chaining key and new material."""
        secret = hmac_digest(self._chaining, material, "sha256")
        outputs: list[bytes] = []
        last = b""
        for number in range(1, count + 1):
            last = hmac_digest(secret, last + bytes((number,)), "sha256")
            outputs.append(last)
        return outputs

    def mix_hash(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining, self._key = self._derive(material, 2)

    def mix_ephemeral(self, public: bytes) -> None:
        """Patterns with a pre-shared key mix each ephemeral key in both ways."""
        self.mix_hash(public)
        self.mix_key(public)

    def tag(self) -> bytes:
        """Return the encryption of an empty payload; each key is used once, so the nonce is 0."""
        sealed = ChaCha20Poly1305(self._key).encrypt(bytes(12), b"", self._hash)
        self.mix_hash(sealed)
        return sealed

    def check_tag(self, sealed: bytes) -> None:
        try:
            ChaCha20Poly1305(self._key).decrypt(bytes(12), sealed, self._hash)
        except InvalidTag:
            raise NoiseError("handshake message does not authenticate") from None
        self.mix_hash(sealed)

    def split(self) -> tuple[bytes, bytes]:
        """Return the keys from initiator to responder and back."""
        first, second = self._derive(b"", 2)
        return first, second


def pre_shared_key(token: str) -> bytes:
    """Return the key that a token stands for."""
    return sha256(token.encode()).digest()


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise NoiseError("ephemeral key is a point of small order") from None


class Answered(NamedTuple):
    """What a responder sends back, and the session that begins with it."""

    message: bytes
    transport: Transport


def respond(message: bytes, tokens: Iterable[str], entropy: Entropy) -> Answered:
    """Like :func:`respond_keyed`, for the keys of tokens."""
    return respond_keyed(message, map(pre_shared_key, dict.fromkeys(tokens)), entropy)


def respond_keyed(message: bytes, keys: Iterable[bytes], entropy: Entropy) -> Answered:
    """Return the answer to an initiator's message of 48 bytes.

    The initiator may have any of the keys and use any of the prologues: the tag of its
    message tells. A failed attempt spoils its state, so each candidate starts afresh. Raises
    NoiseError when none fits.
    """
    public, sealed = message[:_KEY_BYTES], message[_KEY_BYTES:]
    for psk in keys:
        for prologue in PROLOGUES:
            symmetric = _Symmetric(psk, prologue)
            symmetric.mix_ephemeral(public)
            try:
                symmetric.check_tag(sealed)
            except NoiseError:
                continue
            return _answer(symmetric, public, entropy)
    raise NoiseError("handshake message does not authenticate")


def _answer(symmetric: _Symmetric, peer: bytes, entropy: Entropy) -> Answered:
    private = X25519PrivateKey.from_private_bytes(entropy(_KEY_BYTES))
    public = private.public_key().public_bytes_raw()
    symmetric.mix_ephemeral(public)
    symmetric.mix_key(_exchange(private, peer))
    message = public + symmetric.tag()
    receiving, sending = symmetric.split()
    return Answered(message, Transport(receiving, sending))


class Initiator:
    """The client's side of one handshake."""

    def __init__(self, token: str, entropy: Entropy, *, prologue: bytes = b"") -> None:
        self._symmetric = _Symmetric(pre_shared_key(token), prologue)
        self._private = X25519PrivateKey.from_private_bytes(entropy(_KEY_BYTES))
        public = self._private.public_key().public_bytes_raw()
        self._symmetric.mix_ephemeral(public)
        self.message = public + self._symmetric.tag()

    def finish(self, message: bytes) -> Transport:
        """Return the session after the responder's message. Raises NoiseError."""
        if len(message) != HANDSHAKE_BYTES:
            raise NoiseError("handshake message has the wrong length")
        public, sealed = message[:_KEY_BYTES], message[_KEY_BYTES:]
        self._symmetric.mix_ephemeral(public)
        self._symmetric.mix_key(_exchange(self._private, public))
        self._symmetric.check_tag(sealed)
        sending, receiving = self._symmetric.split()
        return Transport(receiving, sending)
