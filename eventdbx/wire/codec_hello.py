"""The first Cap'n Proto message of a connection: written, and read to tell what kind of peer it is.

Hellos and command lines are told apart by the shape of their root struct alone; whether a hello
is accepted is decided elsewhere.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from struct import Struct as Packing

import orjson

from eventdbx.errors import SerializationError
from eventdbx.wire.codec_frequent import lay_texts
from eventdbx.wire.events import CliRequestReceived, HelloReceived
from eventdbx.wire.pointers import MalformedMessage, Message, Struct

UNKNOWN_ID = "unknown token id"
"""What a server says that did not issue the token, or has no proof of it."""

_SHAPES = ((1, 1), (1, 2), (1, 3))
"""Hellos of the first generation, with a tenant, and with the id of a token."""

_HEAD = Packing("<IIQQ").pack


def encode_hello(
    token: str, tenant: str | None, *, no_noise: bool, token_id: str | None = None
) -> bytes:
    """Return the hello of a session. With a token id the token is not in it.

    Without one the message has the shape of older clients, which older servers know us by.
    """
    texts: tuple[str, ...] = (token, tenant or "")
    if token_id is not None:
        texts = ("", tenant or "", token_id)
    count = len(texts)
    pieces: list[bytes] = [b""]
    *pointers, end = lay_texts(texts, 2, 2 + count, pieces)
    pieces[0] = _HEAD(0, end, count << 48 | 1 << 32, 1 | no_noise << 16)
    pieces[0] += Packing(f"<{count}Q").pack(*pointers)
    return b"".join(pieces)


def token_id_of(token: str) -> str | None:
    """Return the id that a token carries, None for a text that is no JSON Web Token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    found = claims.get("jti") if isinstance(claims, dict) else None
    return found if isinstance(found, str) and found else None


def is_hello_less(message: Message) -> bool:
    """Return whether a first message is a control request of a client that sends no hello."""
    root = message.root()
    pointer = message.root_pointer()
    return (root.words, root.pointers) == (2, 1) and pointer is not None and pointer[1] == 0


def decode_hello(message: Message, *, framed: bool) -> HelloReceived | CliRequestReceived:
    """Return what the first message of a connection is, by the shape of its root.

    Raises MalformedMessage for a shape of no known peer.
    """
    root = message.root()
    shape = root.words, root.pointers
    if shape == (0, 1):
        return CliRequestReceived(_arguments(root))
    if shape not in _SHAPES:
        raise MalformedMessage("first message is neither hello nor command line")
    token, token_error = _hello_text(root, 0, "control token")
    tenant, tenant_error = _hello_text(root, 1, "control tenant id")
    token_id, token_id_error = _hello_text(root, 2, "control token id")
    word = root.word(0)
    return HelloReceived(
        word & 0xFFFF, token, token_error, tenant, tenant_error, word >> 16 & 1 != 0, framed,
        token_id or None, token_id_error,
    )  # fmt: skip


def decode_cli_request(message: Message) -> CliRequestReceived:
    """Return one more command line. Raises MalformedMessage when it is none."""
    return CliRequestReceived(_arguments(message.root()))


def _arguments(root: Struct) -> tuple[str, ...]:
    try:
        return root.text_list(0, "args")
    except SerializationError as error:
        raise MalformedMessage(str(error)) from None


def _hello_text(root: Struct, index: int, what: str) -> tuple[str | None, str | None]:
    """Return a text of a hello or None, and why it could not be read or None."""
    try:
        return root.text(index, what), None
    except SerializationError as error:
        return None, f"invalid UTF-8 in {what}: {error.detail.partition(': ')[2]}"
    except MalformedMessage as malformed:
        return None, f"failed to read {what}: {malformed}"
