"""From responses to the stream messages that carry them, none larger than a frame.

What a response holds is laid out in :mod:`eventdbx.wire.responses`, how bytes are made of that in
:mod:`eventdbx.wire.messages`.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventdbx import limits
from eventdbx.errors import FrameTooLarge
from eventdbx.wire.messages import control_message, data_message, raw_message
from eventdbx.wire.responses import (
    EXTENSION_DISCRIMINANT,
    Extension,
    Failed,
    Response,
    layout,
)

_HELLO_LESS_ERROR = 5
"""Where the generation without hello has the error in its union."""

_PART_BYTES = (limits.FRAME_PLAINTEXT_BYTES_MAX - 56) & ~7
"""JSON in one part of an extension answer: the rest of the frame is the message around it."""


def encode_response(
    identifier: int, response: Response, reply: int | None, *, hello_less: bool = False
) -> list[bytes]:
    """Return the messages of a response: one, or the parts of an extension answer.

    ``reply`` is the union member that the peer expects where it differs from ours. Raises
    FrameTooLarge when the response does not fit.
    """
    if type(response) is Extension:
        return list(_parts(identifier, response.json))
    discriminant, words, texts = layout(response)
    if type(response) is Failed:
        if hello_less:
            discriminant = _HELLO_LESS_ERROR
    elif reply is not None:
        discriminant = reply
    encoded = control_message(identifier, discriminant, words, texts)
    if len(encoded) > limits.FRAME_PLAINTEXT_BYTES_MAX:
        raise FrameTooLarge()
    return [encoded]


def _parts(identifier: int, json: bytes) -> Iterator[bytes]:
    if len(json) > limits.RESPONSE_BYTES_MAX:
        raise FrameTooLarge()
    for start in range(0, len(json) or 1, _PART_BYTES):
        part = json[start : start + _PART_BYTES]
        more = start + _PART_BYTES < len(json)
        yield data_message(identifier, EXTENSION_DISCRIMINANT, (more,), part)


def encode_hello_response(*, accepted: bool, message: str, no_noise: bool) -> bytes:
    """Return the answer to a hello."""
    return raw_message((accepted | no_noise << 1,), (message.encode("utf-8", "replace"),))


def encode_cli_response(exit_code: int, stdout: str, stderr: str) -> bytes:
    """Return the answer to a command line."""
    texts = (stdout.encode("utf-8", "replace"), stderr.encode("utf-8", "replace"))
    return raw_message((exit_code & 0xFFFFFFFF,), texts)
