"""The keys that sign checkpoints and cosignatures, made from the one seed of the installation.

What is signed is in :mod:`eventdbx.domain.checkpoints`; what the lines look like in ``notes``.
"""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from eventdbx.domain.notes import COSIGNATURE, ED25519, NoteKey
from eventdbx.errors import ConfigError
from eventdbx.settings import Integrity
from eventdbx.storage.eventlog import AUDIT_PARTITION

_WITNESS = b"eventdbx witness key v1"


class Signer:
    """What the installation signs with, and the names of its keys."""

    def __init__(self, origin: str, seed: bytes) -> None:
        self.origin = origin
        self._log = Ed25519PrivateKey.from_private_bytes(seed)
        derived = HKDF(SHA256(), 32, salt=None, info=_WITNESS).derive(seed)
        self._witness = Ed25519PrivateKey.from_private_bytes(derived)

    def log_key(self, domain: str, partition: int = 0) -> NoteKey:
        """Return the public key of a domain's log, or of its audit trail's."""
        name = log_name(self.origin, domain, partition)
        return NoteKey(name, self._log.public_key().public_bytes_raw(), ED25519)

    @property
    def witness_key(self) -> NoteKey:
        """The public key of the installation as a witness of others' logs."""
        public = self._witness.public_key().public_bytes_raw()
        return NoteKey(f"{self.origin}/witness", public, COSIGNATURE)

    def sign(self, message: bytes) -> bytes:
        """Sign for a log."""
        return self._log.sign(message)

    def sign_as_witness(self, message: bytes) -> bytes:
        """Sign as a witness. One key for both could be made to say the one by asking for the
        other."""
        return self._witness.sign(message)


def log_name(origin: str, domain: str, partition: int = 0) -> str:
    """Return the origin line of a log: that of a domain's events, or of its audit trail."""
    return f"{origin}/{domain}" + ("/audit" if partition == AUDIT_PARTITION else "")


def signer_of(integrity: Integrity) -> Signer:
    """Return what signs under a configuration. Raises ConfigError where a key is missing."""
    if integrity.origin is None or integrity.signing_key is None:
        raise ConfigError("checkpoints need integrity.origin and integrity.signing_key")
    return Signer(integrity.origin, base64.b64decode(integrity.signing_key.strip()))


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a key of Ed25519 made a signature."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
