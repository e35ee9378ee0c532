"""What texts of the configuration must look like.

Each ``check_`` raises ValueError with words that go on from the name of the key: "must be …".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from hashlib import sha256

from eventdbx.errors import ConfigError

_LOG_KEY = 0x01
_WITNESS_KEY = 0x04


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``; raise ValueError if malformed."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("must be host:port")
    return match[1] or match[2], int(match[3])


def decode_data_key(text: str) -> bytes:
    """Return the 32 bytes of a base64 data key; raise ConfigError with the reason otherwise."""
    if not text.strip():
        raise ConfigError("data encryption key cannot be empty")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"invalid data encryption key: {error}") from None
    if len(key) != 32:
        raise ConfigError("data encryption key must decode to 32 bytes (256 bits)")
    return key


def check_address(text: str) -> None:
    """Check ``host:port``."""
    split_address(text)


def check_host(text: str) -> None:
    """Check a name or an address of a machine."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", text.strip()):
            raise ValueError(
                f"must be a host or an address, without a port (got {text!r})"
            ) from None


def check_endpoint(text: str) -> None:
    """Check what can be checked without Twisted; whether it can be had is seen at the start."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest or not re.fullmatch(r"[a-z][a-z0-9_+]*", kind):
        raise ValueError("must be an endpoint such as ssl:6364:privateKey=FILE:certKey=FILE")
    if kind not in ("tcp", "tcp6", "ssl"):
        return
    port, *options = re.split(r"(?<!\\):", rest)
    number = port.removeprefix("port=")
    if not re.fullmatch(r"[0-9]{1,5}", number) or int(number) > 65_535:
        raise ValueError(f"must name a port behind '{kind}:', 0 to 65535")
    if kind == "ssl" and not any(option.startswith("privateKey=") for option in options):
        raise ValueError("must name the server's key: ssl:PORT:privateKey=FILE:certKey=FILE")


def check_data_key(text: str) -> None:
    """Check a key for data at rest."""
    try:
        decode_data_key(text)
    except ConfigError as error:
        raise ValueError(f"is not usable: {error.detail}") from None


def check_signing_seed(text: str) -> None:
    """Check the seed of a key that signs checkpoints."""
    try:
        seed = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is not base64: {error}") from None
    if len(seed) != 32:
        raise ValueError("must decode to 32 bytes")


def check_origin(text: str) -> None:
    """Check what logs are named after; the name of a domain follows it behind a slash."""
    if not re.fullmatch(r"[A-Za-z0-9._~:/-]{1,120}", text):
        raise ValueError("must be 1 to 120 letters, digits or any of . _ ~ : / -")


def check_log_key(text: str) -> None:
    """Check the public key of a log (C2SP signed-note, "vkey")."""
    _check_note_key(text, _LOG_KEY)


def check_witness(text: str) -> None:
    """Check the public key of a witness and, behind a space, the URL where it is asked."""
    key, url = split_witness(text)
    _check_note_key(key, _WITNESS_KEY)
    if url is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise ValueError("must have an http or https URL without user and query behind the key")


def split_witness(text: str) -> tuple[str, str | None]:
    """Return the public key of a witness, and the URL below which it takes checkpoints or None."""
    key, _, url = text.strip().partition(" ")
    return key, url.strip().rstrip("/") or None


def _check_note_key(text: str, kind: int) -> None:
    found = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", text)
    if found is None:
        raise ValueError("must be a key such as name+0123abcd+BASE64")
    name, key_id, material = found[1], found[2], base64.b64decode(found[3])
    if material[0] != kind:
        raise ValueError(f"must be a key of type {kind}, not {material[0]}")
    if sha256(f"{name}\n".encode() + material).hexdigest()[:8] != key_id:
        raise ValueError("must be a whole key: what stands between the + does not fit the rest")


def one_of(*words: str) -> Callable[[str], None]:
    """Return the check that a text is one of some words."""

    def check(text: str) -> None:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")

    return check
