"""Addresses of remotes, as people write them and as they are kept."""

from __future__ import annotations

import re

from eventdbx.errors import ConfigError

DEFAULT_PORT = 6363


def remote_endpoint(text: str) -> str:
    """Return ``tcp://host:port`` for an address with or without scheme and port.

    Brackets of IPv6 addresses are kept. Raises ConfigError for anything else.
    """
    text = text.strip()
    if not text:
        raise ConfigError("remote endpoint cannot be empty")
    scheme, found, rest = text.partition("://")
    if not found:
        rest = text
    elif scheme.lower() != "tcp":
        raise ConfigError(f"remote endpoint scheme must be 'tcp', found '{scheme[:32]}'")
    host, port = _bracketed(rest) if rest.startswith("[") else _plain(rest)
    if not host or host == "[]" or re.search(r"[\s/@]", host):
        raise ConfigError("remote endpoint host cannot be empty" if len(host) < 3 else _BAD_HOST)
    return f"tcp://{host}:{port}"


_BAD_HOST = "remote endpoint host holds characters that no host has"


def _bracketed(text: str) -> tuple[str, int]:
    inner, closed, tail = text.partition("]")
    if not closed:
        raise ConfigError("remote endpoint has invalid IPv6 host")
    if tail and not tail.startswith(":"):
        raise ConfigError("remote endpoint IPv6 port must follow ']'")
    if tail == ":":
        raise ConfigError("remote endpoint port is invalid: cannot parse integer from empty string")
    if inner != "[" and not re.fullmatch(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?", inner):
        raise ConfigError("remote endpoint has invalid IPv6 host")
    return inner + "]", _port(tail[1:]) if tail else DEFAULT_PORT


def _plain(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, DEFAULT_PORT
    if not port:
        raise ConfigError("remote endpoint port cannot be empty")
    if ":" in host:
        raise ConfigError("remote endpoint has invalid IPv6 host")
    return host, _port(port)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ConfigError("remote endpoint port is invalid: invalid digit found in string")
    number = int(text[:20])
    if number > 65_535:
        raise ConfigError("remote endpoint port is invalid: number too large to fit in target type")
    if number == 0:
        raise ConfigError("remote endpoint port must be greater than zero")
    return number
