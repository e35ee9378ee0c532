"""Signed notes (C2SP signed-note): a text and the lines of those who signed it.

Keys that sign and check are not known here: the caller hands in functions that do. Whatever is
accepted is written in the one way that we would write it ourselves, so that a note that was read
and written again has not changed by a byte.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from eventdbx import limits
from eventdbx.domain.identifiers import WHITE_SPACE

Sign = Callable[[bytes], bytes]
"""``sign(message)``: the 64 bytes of an Ed25519 signature."""

Verify = Callable[[bytes, bytes, bytes], bool]
"""``verify(public, signature, message)``: whether a key of Ed25519 made that signature."""

ED25519 = 0x01
"""Signatures over the text of a note."""

COSIGNATURE = 0x04
"""Signatures over a checkpoint and a time (C2SP tlog-cosignature)."""

KINDS = (ED25519, COSIGNATURE)
KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_DASH = "— "
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_NO_NAME = re.compile(rf"[\x00-\x1f+{WHITE_SPACE}]")


class NoteError(Exception):
    """A note or key is malformed, or the signatures of a note do not hold."""


@dataclass(frozen=True, slots=True)
class NoteKey:
    """The public half of a key of Ed25519, its name, and what it signs (one of ``KINDS``)."""

    name: str
    public: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.name.encode()) > limits.KEY_NAME_BYTES_MAX:
            raise NoteError(f"the name of a key exceeds {limits.KEY_NAME_BYTES_MAX} bytes")
        if self.kind not in KINDS:
            raise NoteError(f"keys of type 0x{self.kind:02x} are not known here")
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise NoteError(f"a public key has {PUBLIC_KEY_BYTES} bytes, not {len(self.public)}")

    @property
    def id(self) -> bytes:
        """The four bytes that tell keys of one name apart."""
        named = self.name.encode() + b"\n"
        return sha256(named + bytes((self.kind,)) + self.public).digest()[:KEY_ID_BYTES]

    def vkey(self) -> str:
        """Return the text in which the key is handed to those who verify."""
        material = to_base64(bytes((self.kind,)) + self.public)
        return f"{self.name}+{self.id.hex()}+{material}"


def parse_vkey(text: str) -> NoteKey:
    """Return the key that a verifier's text names. Raises NoteError."""
    if len(text) > limits.VKEY_CHARACTERS_MAX:
        raise NoteError(f"the key exceeds {limits.VKEY_CHARACTERS_MAX} characters")
    parts = text.split("+", 2)  # base64 may hold a plus, names may not
    if len(parts) != 3:
        raise NoteError("a key reads name+id+base64")
    name, key_id, encoded = parts
    if not _KEY_ID.fullmatch(key_id):
        raise NoteError("the id of a key is eight lowercase hexadecimal digits")
    material = from_base64(encoded, "the key")
    if not material:
        raise NoteError("the key has no type")
    key = NoteKey(name, material[1:], material[0])
    if key.id.hex() != key_id:
        raise NoteError(f"the id of the key is {key.id.hex()}, not {key_id}")
    return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note. ``value`` is the signature proper, without the id of the key."""

    name: str
    key_id: bytes
    value: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.key_id) != KEY_ID_BYTES or not self.value:
            raise NoteError("a signature has four bytes for its key and at least one more")

    def line(self) -> str:
        """Return the line, its newline included."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and at least one signature. Nothing is verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n"):
            raise NoteError("the text of a note ends in a newline")
        check_characters(self.text)
        if not self.signatures:
            raise NoteError("the note is not signed")
        if len(self.signatures) > limits.NOTE_SIGNATURES_MAX:
            raise NoteError(f"a note has at most {limits.NOTE_SIGNATURES_MAX} signatures")
        if len(self.encode()) > limits.NOTE_BYTES_MAX:
            raise NoteError(f"the note exceeds {limits.NOTE_BYTES_MAX} bytes")

    def encode(self) -> bytes:
        """Return the note as it is stored and sent."""
        lines = "".join(signature.line() for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    def signed_by(self, *signatures: Signature) -> Note:
        """Return the note with more signatures; a key's older one gives way to its new one."""
        lines = {(one.name, one.key_id): one for one in signatures}
        kept = [one for one in self.signatures if (one.name, one.key_id) not in lines]
        return Note(self.text, (*kept, *lines.values()))


def parse_note(raw: bytes) -> Note:
    """Return a note, its signatures not verified. Raises NoteError."""
    text = decode(raw, limits.NOTE_BYTES_MAX, "the note")
    end = text.rfind("\n\n")
    if end < 0:
        raise NoteError("no blank line stands between the text and the signatures")
    return Note(text[: end + 1], _signatures(text[end + 2 :]))


def parse_signatures(raw: bytes) -> tuple[Signature, ...]:
    """Return the signatures of lines that stand alone: what a witness answers. Raises NoteError."""
    return _signatures(decode(raw, limits.NOTE_BYTES_MAX, "the signatures"))


def _signatures(lines: str) -> tuple[Signature, ...]:
    if not lines.endswith("\n"):
        raise NoteError("the last line has no signature or does not end in a newline")
    if lines.count("\n") > limits.NOTE_SIGNATURES_MAX:
        raise NoteError(f"a note has at most {limits.NOTE_SIGNATURES_MAX} signatures")
    return tuple(_signature(line) for line in lines[:-1].split("\n"))


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteError("a signature reads — name base64")
    value = from_base64(encoded, "the signature")
    return Signature(name, value[:KEY_ID_BYTES], value[KEY_ID_BYTES:])


def sign_note(text: str, key: NoteKey, sign: Sign) -> Note:
    """Return a text signed with a key of type ``ED25519``."""
    if key.kind != ED25519:
        raise NoteError(f"keys of type 0x{key.kind:02x} do not sign the text of a note")
    check_characters(text)
    return Note(text, (Signature(key.name, key.id, made(sign, text.encode())),))


def made(sign: Sign, message: bytes) -> bytes:
    """Return the signature that ``sign`` makes, if it has the length of one."""
    value = sign(message)
    if len(value) != SIGNATURE_BYTES:
        raise NoteError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(value)}")
    return value


def check_note(note: Note, keys: Iterable[NoteKey], verify: Verify) -> tuple[NoteKey, ...]:
    """Return which of the known keys signed a note.

    Lines of other keys are not looked at. Raises NoteError if no known key signed the note, and
    if a line is in the name of a known key and its signature does not hold.
    """
    signers: dict[NoteKey, None] = {}
    message = note.text.encode()
    for key, signature in known_signatures(note, keys):
        if key.kind != ED25519:
            raise NoteError(f"keys of type 0x{key.kind:02x} do not sign the text of a note")
        if len(signature.value) != SIGNATURE_BYTES or not verify(
            key.public, signature.value, message
        ):
            raise NoteError(f"the signature of {key.name} does not hold")
        signers[key] = None
    if not signers:
        raise NoteError("no known key signed the note")
    return tuple(signers)


def known_signatures(note: Note, keys: Iterable[NoteKey]) -> Iterator[tuple[NoteKey, Signature]]:
    """Yield the signatures that are in the name of one of the keys, in the order of the note.

    A line that stands there again is yielded once: to check a signature takes 0.1 ms, and whoever
    has a signed note can repeat its lines.
    """
    known: dict[tuple[str, bytes], NoteKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise NoteError(f"two keys of {key.name} have the id {key.id.hex()}")
    for signature in dict.fromkeys(note.signatures):
        found = known.get((signature.name, signature.key_id))
        if found is not None:
            yield found, signature


def check_key_name(name: str) -> None:
    """Raise NoteError unless a key may have the name: no white space, no plus, not empty."""
    if not name or _NO_NAME.search(name):
        raise NoteError("the name of a key is empty, or has white space or a plus in it")
    check_characters(name)


def check_characters(text: str) -> None:
    """Raise NoteError for what no note may hold: control characters and lone surrogates."""
    if _CONTROLS.search(text):
        raise NoteError("the note has control characters in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NoteError("the note is not Unicode text") from None


def decode(raw: bytes, bytes_max: int, what: str) -> str:
    """Return the text of bytes that may not be longer. Raises NoteError."""
    if len(raw) > bytes_max:
        raise NoteError(f"{what} exceeds {bytes_max} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NoteError(f"{what} is not UTF-8") from None


def to_base64(value: bytes) -> str:
    """Return bytes as base64 (RFC 4648 §4)."""
    return b64encode(value).decode()


def from_base64(text: str, what: str) -> bytes:
    """Return the bytes of base64 that is written as ``to_base64`` writes. Raises NoteError."""
    try:
        value = b64decode(text, validate=True)
    except ValueError:
        raise NoteError(f"{what} is not base64") from None
    if to_base64(value) != text:  # bits after the end, which every decoder drops
        raise NoteError(f"{what} is not base64 as it is written")
    return value


def parse_decimal(text: str, value_max: int, what: str) -> int:
    """Return a number without sign or leading zeros. Raises NoteError."""
    if not text.isascii() or not text.isdecimal() or (text[0] == "0" and text != "0"):
        raise NoteError(f"{what} is not a decimal number")
    if len(text) > len(str(value_max)) or int(text) > value_max:
        raise NoteError(f"{what} exceeds {value_max}")
    return int(text)
