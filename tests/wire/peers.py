"""Peers that share no code with the wire room: messages by pycapnp, encryption by noiseprotocol."""

from __future__ import annotations

import struct
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import capnp as pycapnp
from noise.connection import NoiseConnection  # type: ignore[import-untyped]

capnp: Any = pycapnp
TOKEN = "head.body.signature"
NOISE = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"

_HERE = Path(__file__).resolve().parent
_SCHEMAS = _HERE.parent.parent / "capnp"


@cache
def schema(name: str) -> Any:
    """Return a published schema, or ``generations``: the layouts of older clients."""
    folder = _HERE if name == "generations" else _SCHEMAS
    return capnp.load(str(folder / f"{name}.capnp"), imports=[str(folder)])


def request(
    member: str,
    *,
    identifier: int = 1,
    kind: str = "ControlRequest",
    of: str = "control",
    segment_words: int | None = None,
    **fields: Any,
) -> bytes:
    """Return a request built by pycapnp; a small first segment makes it several segments."""
    message = getattr(schema(of), kind).new_message(num_first_segment_words=segment_words)
    message.id = identifier
    body = message.payload.init(member)
    for name, value in fields.items():
        setattr(body, name, value)
    return bytes(message.to_bytes())


def answer(data: bytes, *, kind: str = "ControlResponse", of: str = "control") -> tuple[int, Any]:
    """Return the id and the member {name: fields} of one response, read by pycapnp."""
    with getattr(schema(of), kind).from_bytes(data) as message:
        return message.id, message.payload.to_dict()


def hello(
    token: str = TOKEN, tenant: str | None = "", *, no_noise: bool = False, version: int = 1
) -> bytes:
    """Return a hello; without a tenant (None) that of the first generation."""
    if tenant is None:
        first = schema("generations").FirstHello.new_message(protocolVersion=version, token=token)
        return bytes(first.to_bytes())
    message = schema("control").ControlHello.new_message(
        protocolVersion=version, token=token, tenantId=tenant, noNoise=no_noise
    )
    return bytes(message.to_bytes())


def frame(payload: bytes) -> bytes:
    """Return a payload behind its length."""
    return struct.pack(">I", len(payload)) + payload


def frames(data: bytes) -> list[bytes]:
    """Return the payloads of whole frames."""
    found = []
    while data:
        (size,) = struct.unpack_from(">I", data)
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


class Initiator:
    """A client's end of the encryption."""

    def __init__(self, token: str = TOKEN, prologue: bytes = b"") -> None:
        self._noise: Any = NoiseConnection.from_name(NOISE)
        self._noise.set_as_initiator()
        self._noise.set_prologue(prologue)
        self._noise.set_psks(psk=sha256(token.encode()).digest())
        self._noise.start_handshake()
        self.message = bytes(self._noise.write_message(b""))

    def finish(self, message: bytes) -> None:
        """Take the responder's message."""
        self._noise.read_message(message)

    def seal(self, plaintext: bytes) -> bytes:
        """Return a frame that holds the plaintext encrypted."""
        return frame(bytes(self._noise.encrypt(plaintext)))

    def open(self, data: bytes) -> list[bytes]:
        """Return the plaintexts of whole frames."""
        return [bytes(self._noise.decrypt(payload)) for payload in frames(data)]


def scattered(
    identifier: int, member: int, words: tuple[int, ...], texts: tuple[bytes, ...]
) -> bytes:
    """Return a request as some runtimes write it: all in segments of their own, double-far."""
    pads: list[int] = []
    segments: list[bytes] = [b""]
    pad_segment = 3 + len(texts)

    def far(content: bytes, tag: int) -> int:
        """Put content into a new segment and return the double-far pointer to it."""
        segments.append(content)
        place = len(pads)
        pads.extend((2 | (len(segments) - 1) << 32, tag))
        return 2 | 4 | place << 3 | pad_segment << 32

    pointers = [
        far(text + bytes(8 - len(text) % 8), 1 | 2 << 32 | (len(text) + 1) << 35) for text in texts
    ]
    body = far(
        struct.pack(f"<{len(words) + len(pointers)}Q", *words, *pointers),
        len(words) << 32 | len(pointers) << 48,
    )
    root = far(struct.pack("<QQQ", identifier, member, body), 2 << 32 | 1 << 48)
    segments[0] = struct.pack("<Q", root)
    segments.append(struct.pack(f"<{len(pads)}Q", *pads))
    sizes = [len(segment) // 8 for segment in segments]
    table = struct.pack(f"<I{len(sizes)}I", len(sizes) - 1, *sizes)
    return table + bytes(-len(table) % 8) + b"".join(segments)
