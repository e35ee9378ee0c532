"""Texts that are kept encrypted with the data key: tokens, revocations, tokens of remotes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventdbx.config import decode_data_key
from eventdbx.errors import ConfigError, StorageError
from eventdbx.storage.keyslots import SET_KEY

SEALED = "ENCv1:"


def seal(text: str, data_key: str, nonce: bytes) -> str:
    """Return the text encrypted as ``ENCv1:`` text; ``nonce`` is 12 bytes never used before."""
    sealed = AESGCM(decode_data_key(data_key)).encrypt(nonce, text.encode(), None)
    return SEALED + base64.b64encode(nonce + sealed).decode()


def unseal(text: str, data_keys: Sequence[str], what: str = "revocations") -> str:
    """Return the text inside an ``ENCv1:`` text, or any other text as it is.

    Tries the base64 keys in turn. Raises ConfigError without a key, StorageError if none fits;
    ``what`` names the content in the former.
    """
    if not text.startswith(SEALED):
        return text
    if not data_keys:
        raise ConfigError(
            f"data encryption key must be configured to read encrypted {what}; {SET_KEY}"
        )
    try:
        sealed = base64.b64decode(text[len(SEALED) :].strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise StorageError(f"failed to decrypt payload: {error}") from None
    for key in data_keys:
        try:
            return AESGCM(decode_data_key(key)).decrypt(sealed[:12], sealed[12:], None).decode()
        except (InvalidTag, ValueError):
            continue
    raise StorageError(
        f"failed to decrypt payload: no configured data encryption key fits the {what}; configure "
        "the key that they were written with (data_encryption_key, data_encryption_keys)"
    )
