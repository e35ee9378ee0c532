"""A client on a real socket that sends recorded requests: no code of ours on its side.

Messages are those recorded, answers are read by pycapnp, encryption is that of noiseprotocol
(tests/wire/peers.py).
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from tests.wire import peers

TIMEOUT_S = 20.0
FIRST_GENERATION = "3.9.13"

TOKEN = b"<TOKEN>"
"""Every token in recorded bytes."""


def with_token(recorded: bytes, token: str) -> bytes:
    """Return a recorded message with the token in the place of the text that stands for it.

    Nothing else moves, so the layout stays that of the client that was recorded: the new text
    goes behind everything, and the pointer to the old one is turned to it.
    """
    words = [recorded[place : place + 8] for place in range(8, len(recorded), 8)]
    for place, word in enumerate(list(words)):
        (pointer,) = struct.unpack("<Q", word)
        if pointer & 3 != 1 or pointer >> 32 & 7 != 2:
            continue  # No pointer to a list of bytes.
        offset = (struct.unpack("<i", word[:4])[0] >> 2) + place + 1
        text = b"".join(words[offset:])[: pointer >> 35]
        if TOKEN not in text or offset <= place:
            continue
        text = text.replace(TOKEN, token.encode())
        turned = len(words) - place - 1
        words[place] = struct.pack("<Q", turned << 2 | 1 | 2 << 32 | len(text) << 35)
        padded = text + bytes(-len(text) % 8)
        words += [padded[start : start + 8] for start in range(0, len(padded), 8)]
    return struct.pack("<II", 0, len(words)) + b"".join(words)


def hello_fields(message: bytes, release: str) -> dict[str, Any]:
    """Return what a hello in the layout of a release says."""
    first = release == FIRST_GENERATION
    kind = peers.schema("generations").FirstHello if first else peers.schema("control").ControlHello
    with kind.from_bytes(message) as found:
        fields: dict[str, Any] = found.to_dict(verbose=True)
        return fields


def request_fields(message: bytes, release: str) -> tuple[int, str, dict[str, Any]]:
    """Return id, operation and fields of a request in the layout of a release."""
    with _request_kind(release).from_bytes(message) as found:
        ((operation, fields),) = found.payload.to_dict(verbose=True).items()
        return found.id, operation, fields


def request_message(identifier: int, operation: str, body: dict[str, Any], release: str) -> bytes:
    """Return a request built from its fields."""
    message = _request_kind(release).new_message(id=identifier, payload={operation: body})
    return bytes(message.to_bytes())


def _request_kind(release: str) -> Any:
    if release == FIRST_GENERATION:
        return peers.schema("generations").FirstRequest
    return peers.schema("control").ControlRequest


class Peer:
    """One connection to the control port; ``close`` it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._initiator: peers.Initiator | None = None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def greet(self, message: bytes, token: str) -> dict[str, Any]:
        """Send a hello, exchange keys if it is accepted, and return the answer's fields."""
        self._socket.sendall(message)
        head = self._exactly(8)
        segments, words = struct.unpack("<II", head)
        assert segments == 0, "an answer to a hello is one segment"
        with peers.schema("control").ControlHelloResponse.from_bytes(
            head + self._exactly(8 * words)
        ) as found:
            answer: dict[str, Any] = found.to_dict(verbose=True)
        if answer["accepted"] and not answer["noNoise"]:
            initiator = peers.Initiator(token.strip())
            self._socket.sendall(peers.frame(initiator.message))
            initiator.finish(self._frame())
            self._initiator = initiator
        return answer

    def ask(self, message: bytes) -> tuple[int, str, dict[str, Any]] | None:
        """Send a request; return id, operation and fields of the answer, None for a hang-up."""
        sealed = self._initiator.seal(message) if self._initiator else peers.frame(message)
        self._socket.sendall(sealed)
        try:
            data = self._frame()
        except EOFError:
            return None
        if self._initiator:
            (data,) = self._initiator.open(peers.frame(data))
        with peers.schema("control").ControlResponse.from_bytes(data) as found:
            ((operation, fields),) = found.payload.to_dict(verbose=True).items()
            return found.id, operation, fields

    def _frame(self) -> bytes:
        (size,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data
