"""What the configuration of a webhook means: its URL and its headers, checked."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from eventdbx.domain.delivery.entries import HttpConfig
from eventdbx.errors import ConfigError
from eventdbx.plugins.addresses import bare_host

PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile("https?://", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KEPT = "%/:=&?~!$,;'@()*+[]-._"
_OURS = frozenset(("connection", "content-length", "transfer-encoding", "upgrade", "expect", "te"))
"""Headers that say how a message travels; two of them would contradict each other."""


class Url(NamedTuple):
    """Where a webhook is. ``shown`` is for messages: without user, password and query."""

    scheme: str
    host: str
    port: int
    raw: bytes
    shown: str
    authorization: str | None


def url_of(config: HttpConfig) -> Url:
    """Return the URL of an endpoint, whose scheme may be left out; raises ConfigError."""
    text = config.endpoint.strip()
    if not _SCHEME.match(text):
        text = f"{'https' if config.https else 'http'}://{text}"
    try:
        split = urlsplit(text)
        host = bare_host(split.hostname or "")
        port = PORTS[split.scheme] if split.port is None else split.port
    except (ValueError, UnicodeError):
        raise ConfigError(f"'{config.endpoint.strip()}' is not a URL") from None
    place = f"[{host}]" if ":" in host else host
    if port != PORTS[split.scheme]:
        place += f":{port}"
    path = quote(split.path or "/", safe=_KEPT)
    query = f"?{quote(split.query, safe=_KEPT)}" if split.query else ""
    raw = f"{split.scheme}://{place}{path}{query}"
    shown = f"{split.scheme}://{place}{path}{'?…' if query else ''}"
    authorization = None
    if split.username or split.password:
        user = f"{unquote(split.username or '')}:{unquote(split.password or '')}"
        authorization = "Basic " + b64encode(user.encode()).decode()
    return Url(split.scheme, host, port, raw.encode("ascii"), shown, authorization)


def check_header(name: str, value: str) -> None:
    """Raise ConfigError for a header that cannot be sent; its value is not told."""
    if not _TOKEN.fullmatch(name):
        raise ConfigError(f"'{name}' is not the name of a header")
    if name.lower() in _OURS:
        raise ConfigError(f"header '{name}' cannot be configured")
    if any(character < " " and character != "\t" or character == "\x7f" for character in value):
        raise ConfigError(f"the value of header '{name}' holds control characters")
