"""Keys of tokens: the signing pair in all its encodings, and those that verify.

What is signed with them is in :mod:`eventdbx.application.tokens`.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventdbx.config import Auth, Config
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import ConfigError

_NEVER = float("inf")

_SEED_BYTES = 32
_V1 = bytes.fromhex("302e020100300506032b657004220420")
_V2 = bytes.fromhex("3051020101300506032b657004220420")
_V2_OLD = bytes.fromhex("3053020101300506032b657004220420")
_V2_PUBLIC = bytes.fromhex("812100")
_V2_OLD_PUBLIC = bytes.fromhex("a123032100")


class SigningKey:
    """The Ed25519 pair of an installation.

    ``key_id`` goes into the header of every token signed with it and tells pairs apart after a
    rotation; None leaves the header without it.
    """

    def __init__(self, seed: bytes, key_id: str | None = None) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = key_id

    @classmethod
    def read(
        cls, private_key: str, public_key: str | None = None, key_id: str | None = None
    ) -> SigningKey:
        """Read base64 of PKCS#8 version 2, its older form, version 1, or the bare seed.

        A blank public key is derived; one that does not belong to the private key is refused.
        Raises ConfigError.
        """
        if not private_key.strip():
            raise ConfigError("jwt private key must contain data")
        try:
            encoded = base64.b64decode(private_key.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"invalid jwt private key: {error}") from None
        seed, inside = _seed_and_public(encoded)
        key = cls(seed, key_id)
        if inside is not None and inside != key.public:
            raise ConfigError("invalid jwt private key: InconsistentComponents")
        if public_key is not None and public_key.strip():
            if read_public_key(public_key) != key.public:
                raise ConfigError("jwt public key does not match private key")
        return key

    @property
    def private_text(self) -> str:
        """The pair as base64 of PKCS#8 version 2, the only form that older programs read."""
        return base64.b64encode(_V2 + self._seed + _V2_PUBLIC + self.public).decode()

    @property
    def public_text(self) -> str:
        """The public half as base64 of its 32 bytes."""
        return base64.b64encode(self.public).decode()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._private.sign(message)


def read_public_key(text: str) -> bytes:
    """Return the 32 bytes of a base64 public key; raise ConfigError."""
    try:
        public = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"invalid jwt public key: {error}") from None
    if len(public) != 32:
        raise ConfigError(f"jwt public key must decode to 32 bytes (got {len(public)})")
    return public


def _seed_and_public(encoded: bytes) -> tuple[bytes, bytes | None]:
    """Take the DER apart by its fixed layout; the library reads only version 1."""
    if len(encoded) == _SEED_BYTES:
        return encoded, None
    head, seed, tail = encoded[:16], encoded[16:48], encoded[48:]
    if head == _V1 and not tail:
        return seed, None
    for prefix, mark in ((_V2, _V2_PUBLIC), (_V2_OLD, _V2_OLD_PUBLIC)):
        if head == prefix and tail.startswith(mark) and len(tail) == len(mark) + 32:
            return seed, tail[len(mark) :]
    raise ConfigError("invalid jwt private key: InvalidEncoding")


class PublicKey(NamedTuple):
    """A key that verifies; a retired one has the second after which it no longer does."""

    key_id: str | None
    public: bytes
    not_after: int | None = None

    @property
    def mark(self) -> str:
        """What records say of the key that signed; unlike its id nobody can change it."""
        return mark_of(self.public)

    @property
    def until(self) -> float:
        """Until when the key verifies, in seconds."""
        return _NEVER if self.not_after is None else float(self.not_after)


def mark_of(public: bytes) -> str:
    """Return the mark of a public key."""
    return public[:8].hex()


def signing_key(auth: Auth) -> SigningKey:
    """Return the configured pair; raise ConfigError saying what is wrong with it."""
    if auth.private_key is None:
        raise ConfigError("jwt private key not configured")
    return SigningKey.read(auth.private_key, auth.public_key, auth.key_id)


def verification_keys(config: Config) -> list[PublicKey]:
    """Return the keys whose tokens are accepted: the present one, then the retired ones.

    A public key alone is enough for a server that only verifies. Raises ConfigError.
    """
    auth = config.auth
    if auth.private_key is None and auth.public_key is not None:
        keys = [PublicKey(auth.key_id, read_public_key(auth.public_key))]
    else:
        present = signing_key(auth)
        keys = [PublicKey(present.key_id, present.public)]
    for retired in auth.previous_keys:
        try:
            until = None if retired.not_after is None else parse_ns(retired.not_after) // 10**9
        except ValueError as error:
            raise ConfigError(f"auth.previous_keys.not_after is not a time: {error}") from None
        keys.append(PublicKey(retired.key_id, read_public_key(retired.public_key), until))
    return keys
