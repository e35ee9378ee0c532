"""Secrets of plugins: values that stand elsewhere, and the signatures made with them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventdbx.domain.delivery.webhooks import ed25519_seed, hmac_key, is_asymmetric
from eventdbx.errors import ConfigError
from eventdbx.plugins.surroundings import is_secret_file, is_secret_variable

FILE_BYTES_MAX = 65_536
"""A secret is short: what is larger is some other file."""


class Key(Protocol):
    """What signs."""

    def sign(self, id_: str, timestamp: int, body: Sequence[bytes]) -> str:
        """Return the signature of a delivery."""


class _Ed25519Key:
    """A private key; whoever receives knows the public one."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, id_: str, timestamp: int, body: Sequence[bytes]) -> str:
        """Return the signature of a body that lies in pieces."""
        message = b"".join((f"{id_}.{timestamp}.".encode(), *body))
        return "v1a," + b64encode(self._key.sign(message)).decode()


def key_of(secret: str) -> Key:
    """Return the key of a secret; raises ConfigError, which does not tell the secret."""
    if is_asymmetric(secret):
        return _Ed25519Key(ed25519_seed(secret))
    return hmac_key(secret)


class Values:
    """Reads ``env:NAME`` and ``file:PATH``; files are relative to ``folder``, the data root.

    Secrets of the server itself are not read: who may configure a plugin would get its root token.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder

    def resolve(self, value: str, what: str) -> str:
        """Return what a value stands for, itself in most cases; ``what`` names it in errors.

        Raises ConfigError. It is asked for each delivery: secrets change while the server runs.
        """
        if value.startswith("env:"):
            name = value[4:]
            if is_secret_variable(name):
                raise ConfigError(f"{what}: '{name}' is for the server alone")
            if name not in self._environ:
                raise ConfigError(f"{what}: the environment has no variable '{name}'")
            return self._environ[name]
        if not value.startswith("file:"):
            return value
        path = self._folder / Path(value[5:]).expanduser()
        try:
            if is_secret_file(path, self._folder):
                raise ConfigError(f"{what}: {path} is for the server alone")
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                raise ConfigError(f"{what}: {path} is larger than {FILE_BYTES_MAX} bytes")
            return content.decode().strip()
        except OSError as error:
            raise ConfigError(f"{what}: {path}: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{what}: {path} is not text") from None
