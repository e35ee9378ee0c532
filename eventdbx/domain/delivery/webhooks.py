"""What goes into the headers of a webhook: ids, signatures, and when to try again.

Ids and signatures follow Standard Webhooks; docs/webhooks.md shows how to verify them.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from hmac import HMAC
from http import HTTPStatus

from eventdbx.errors import ConfigError

RETRY_AFTER_S_MAX = 3_600.0
"""A target may ask for this much patience."""

ANSWER_CHARACTERS = 256
"""What is shown of the body of an answer."""

_SYMMETRIC, _ASYMMETRIC = "whsec_", "whsk_"
_KEY_BYTES = range(24, 65)
_OTHER = re.compile(r"[^A-Za-z0-9-]")
_PHRASES = {
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
}
"""Where the name of a status in messages is not the one that Python gives it."""


def delivery_id(
    plugin: str, domain: str, event_ids: Sequence[int], *, batched: bool = False
) -> str:
    """Return the id of a delivery, the same on every attempt.

    A batch of several has a digest of all its events: after a failure or a crash another batch may
    begin with the same event and be as long, and who has seen the one must not drop the other.
    """
    name = f"{_OTHER.sub('_', plugin)}_{_OTHER.sub('_', domain)}_{event_ids[0]}"
    if not batched:
        return name
    if len(event_ids) == 1:
        return f"{name}_1"
    told = b",".join([b"%d" % event_id for event_id in event_ids])
    return f"{name}_{len(event_ids)}_{blake2b(told, digest_size=8).hexdigest()}"


class HmacKey:
    """A shared secret: 24 to 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self._begun = HMAC(key, digestmod="sha256")

    def sign(self, id_: str, timestamp: int, body: Sequence[bytes]) -> str:
        """Return the signature of a body that lies in pieces."""
        digest = self._begun.copy()
        digest.update(f"{id_}.{timestamp}.".encode())
        for piece in body:
            digest.update(piece)
        return "v1," + b64encode(digest.digest()).decode()


def is_asymmetric(secret: str) -> bool:
    """Say whether a secret is a key of Ed25519 (``whsk_``)."""
    return secret.startswith(_ASYMMETRIC)


def hmac_key(secret: str) -> HmacKey:
    """Return the key of a secret, ``whsec_`` and base64; raises ConfigError, without telling it."""
    key = _decoded(secret.removeprefix(_SYMMETRIC))
    if len(key) not in _KEY_BYTES:
        raise ConfigError(
            f"a webhook secret is whsec_ and the base64 of 24 to 64 bytes, not of {len(key)}"
        )
    return HmacKey(key)


def ed25519_seed(secret: str) -> bytes:
    """Return the 32 bytes of a private key, ``whsk_`` and base64; raises ConfigError."""
    key = _decoded(secret.removeprefix(_ASYMMETRIC))
    if len(key) not in (32, 64):
        raise ConfigError("a webhook key is whsk_ and the base64 of the 32 bytes of an Ed25519 key")
    return key[:32]


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ConfigError("a webhook secret is not base64") from None


def status_text(code: int) -> str:
    """Return a status as messages show it: ``503 Service Unavailable``."""
    try:
        phrase = _PHRASES.get(code) or HTTPStatus(code).phrase
    except ValueError:
        phrase = "<unknown status code>"
    return f"{code} {phrase}"


def excerpt(body: bytes) -> str:
    """Return the begin of an answer's body for messages, empty if there is none."""
    text = body.decode("utf-8", "replace").strip()
    return text if len(text) <= ANSWER_CHARACTERS else text[:ANSWER_CHARACTERS] + "…"


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Return the seconds of a ``Retry-After``, given as seconds or as a date, at most an hour.

    None for a header that is missing, cannot be read, or lies in the past.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return None
    return min(seconds, RETRY_AFTER_S_MAX) if seconds > 0 else None
