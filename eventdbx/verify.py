#!/usr/bin/env python3
"""Verify what EventDBX proves, without EventDBX: this file, Python 3.11 and `cryptography` are all.

    python verify.py FILE --key VKEY [--witness VKEY]... [--quorum N] [--event event.json] [--json]

FILE is a `.tlog-proof`, a proof in JSON or a bundle `*.dbx-audit` (docs/integrity.md). VKEY is the
key of the log, from whoever runs it, by a way that you trust: never from FILE. Exit code: 0 proven,
1 refuted, 2 not used as above. Nothing else of the project is imported, and nothing of the file is
believed: sizes, counts and nesting are bounded before anything is done with them.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import sys
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple, NoReturn

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.exit("verify.py needs the package cryptography: pip install cryptography")

FILE_MAX = 8 << 20  # a proof; bundles are read line by line and may be of any size
EVENT_MAX = 8 << 20  # an event as it is printed, with as much white space as its payload has signs
LINE_MAX = 1 << 20  # 256 KiB of payload and 64 KiB of metadata in base64, with room
NOTE_MAX = 256 << 10
SIGNATURES_MAX = 64
DEPTH_MAX = 80  # payloads nest 64 deep at most
HASHES_MAX = 63
HEADS_MAX = 256  # the bits of a name's hash
SIZE_MAX = (1 << 63) - 1
ERASED_RANGES_MAX = 1 << 18
SELECTED_MAX = 10_000
LOG_KEY, WITNESS_KEY = 1, 4  # C2SP signed-note: types of keys
Document = dict[str, Any]


class Refuted(Exception):
    """The file does not prove what it is there to prove."""


def refuse(why: str) -> NoReturn:
    raise Refuted(why)


def shown(text: str) -> str:
    """Return a text that no terminal obeys."""
    return "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text)


# -- reading: base64, numbers, JSON, strictly


def unbase64(text: object, what: str, size: int | None = None) -> bytes:
    if not isinstance(text, str):
        refuse(f"{what} is not a text")
    try:
        value = b64decode(text, validate=True)
    except ValueError:
        refuse(f"{what} is not base64")
    if b64encode(value).decode() != text:
        refuse(f"{what} is not base64 as it is written")
    if size is not None and len(value) != size:
        refuse(f"{what} has {len(value)} bytes, not {size}")
    return value


def hashes(texts: object, most: int, what: str) -> list[bytes]:
    if not isinstance(texts, list) or len(texts) > most:
        refuse(f"{what} are not an array of at most {most} hashes")
    return [unbase64(text, f"one of {what}", 32) for text in texts]


def decimal(text: str, what: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII) or int(text) > SIZE_MAX:
        refuse(f"{what} is not a number from 0 to 2^63-1")
    return int(text)


def number(value: object, what: str) -> int:
    return decimal(str(value), what) if type(value) is int else refuse(f"{what} is no number")


class Number(NamedTuple):
    """A number as it is written: 1 and 1.0 are two, and neither is ever rounded."""

    text: str


def read_json(raw: bytes, what: str, numbers: Callable[[str], Any] | None = None) -> Document:
    """Return a JSON object. Members are unique, texts Unicode, and nesting is counted first."""

    def members(pairs: list[tuple[str, Any]]) -> Document:
        found = dict(pairs)
        return found if len(found) == len(pairs) else refuse(f"{what} has a member twice")

    def no_number(text: str) -> Any:
        refuse(f"{what} has a number that is none: {text[:20]}")

    whole = numbers or (lambda text: decimal(text, f"a number in {what}"))
    depth = 0
    for part in re.finditer(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', raw, re.DOTALL):
        depth += {91: 1, 123: 1, 93: -1, 125: -1}.get(part[0][0], 0)
        if depth > DEPTH_MAX:
            refuse(f"{what} nests deeper than {DEPTH_MAX}")
    try:
        value = json.loads(
            raw.decode(), object_pairs_hook=members, parse_int=whole,
            parse_float=numbers or no_number, parse_constant=no_number,
        )  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
    except (ValueError, RecursionError):
        refuse(f"{what} is not JSON")
    return value if isinstance(value, dict) else refuse(f"{what} is not a JSON object")


def take(document: Document, *names: str, what: str) -> list[Any]:
    """Return the members of an object, which has these and no others."""
    if set(document) != set(names):
        refuse(f"{what} does not have the members {', '.join(names)}, and no others")
    return [document[name] for name in names]


def canonical(value: Any) -> str:
    """Return the text that a payload is stored as: compact, members sorted, numbers as written."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        members = [f"{canonical(name)}:{canonical(value[name])}" for name in sorted(value)]
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(canonical, value))}]"
    return json.dumps(value, ensure_ascii=False)


# -- trees: RFC 9162, and the map of heads


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def included(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that a proof of inclusion leads to (RFC 9162 §2.1.3.2)."""
    if index >= size:
        refuse(f"entry {index} is not in a tree of {size}")
    place, last, root = index, size - 1, leaf
    for sibling in path:
        if not last:
            refuse("the proof of inclusion is too long")
        if place & 1 or place == last:
            root = node_hash(sibling, root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        place, last = place >> 1, last >> 1
    return root if not last else refuse("the proof of inclusion is too short")


def check_consistent(
    size: int, root: bytes, later: int, later_root: bytes, path: list[bytes]
) -> None:
    """Check that a tree is the beginning of a later one (RFC 9162 §2.1.4.2)."""
    if not 0 < size <= later:
        refuse(f"a tree of {size} is not the beginning of a tree of {later}")
    if size == later:
        if path or root != later_root:
            refuse("two trees of one size are not one tree")
        return
    place, last = size - 1, later - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    path = path if place else [root, *path]
    if not path:
        refuse("the proof of consistency is too short")
    old = new = path[0]
    for sibling in path[1:]:
        if not last:
            refuse("the proof of consistency is too long")
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last or old != root or new != later_root:
        refuse("the proof of consistency does not lead to both roots")


class Growing:
    """The root over leaf hashes that come one by one, in memory of their logarithm."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf, size = node_hash(self.peaks.pop(), leaf), size >> 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def check_heads(checkpoint: Checkpoint, key: bytes, end: bytes, heads: object) -> None:
    """Check that a path of the map of heads, from its top along the bits of a key, has an end."""
    if checkpoint.heads is None:
        refuse("the checkpoint has no map of heads")
    path = hashes(heads, HEADS_MAX, "the hashes of the map of heads")
    for depth in reversed(range(len(path))):
        end = node_hash(path[depth], end) if bit(key, depth) else node_hash(end, path[depth])
    if end != checkpoint.heads[1]:
        refuse("the map of heads under the checkpoint does not say so of the aggregate")


def head_entry(name: tuple[str, str], size: int, root: bytes) -> tuple[bytes, bytes]:
    """Return the key of an aggregate in the map of heads, and the hash of its entry."""
    key = sha256(b"%b\0%b\0" % (name[0].encode(), name[1].encode())).digest()
    value = sha256(size.to_bytes(8, "big") + root).digest()
    return key, sha256(b"\0" + key + value).digest()


def bit(key: bytes, depth: int) -> int:
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


def map_root(entries: list[tuple[bytes, bytes]], depth: int = 0) -> bytes:
    """Return the root of the map over sorted entries; keys differ, so at most 256 levels deep."""
    if len(entries) < 2:
        return entries[0][1] if entries else bytes(32)
    sides: tuple[list[tuple[bytes, bytes]], ...] = ([], [])
    for entry in entries:
        sides[bit(entry[0], depth)].append(entry)
    return node_hash(*(map_root(side, depth + 1) for side in sides))


# -- signed notes and checkpoints: C2SP signed-note, tlog-checkpoint, tlog-cosignature


class Key(NamedTuple):
    name: str
    id: bytes
    kind: int
    public: bytes
    text: str


def parse_key(text: str, kind: int) -> Key:
    if re.search(r"\s", text):
        refuse("a key has no space in it; what 'dbx checkpoint --key' prints behind 'log: ' is one")
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = unbase64(encoded, "the key", 33)
    if not name or not name.isprintable():
        refuse("a key reads name+id+base64")
    if sha256(name.encode() + b"\n" + material).hexdigest()[:8] != key_id:
        refuse(f"the id in the key of {name} is not that of the key")
    if material[0] != kind:
        refuse(f"the key of {name} is of type {material[0]}, not {kind}")
    return Key(name, bytes.fromhex(key_id), kind, material[1:], text)


def signed_by(key: Key, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Trust(NamedTuple):
    """Whom the verifier believes."""

    logs: list[Key]
    witnesses: list[Key]
    quorum: int


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    heads: tuple[int, bytes] | None
    signers: list[str]

    def document(self) -> Document:
        return {"origin": self.origin, "size": self.size, "root": b64encode(self.root).decode(),
                "signers": self.signers}  # fmt: skip

    def sentence(self) -> str:
        root = b64encode(self.root).decode()
        signers = "; ".join(map(shown, self.signers))
        named = f"The checkpoint is of {shown(self.origin)} with {self.size} entries"
        heads = "" if self.heads is None else f"; its map of heads is of the first {self.heads[0]}"
        return f"{named}, root {root}, signed by {signers}{heads}."


def check_note(note: object, trust: Trust) -> Checkpoint:
    """Return the checkpoint in a note that the log and enough witnesses signed."""
    if not isinstance(note, str) or len(note) > NOTE_MAX:
        refuse(f"the checkpoint is not a text of at most {NOTE_MAX} characters")
    if re.search(r"[\x00-\x09\x0b-\x1f]", note):
        refuse("the checkpoint has control characters in it")
    body, blank, below = note.rpartition("\n\n")
    text, lines = body + "\n", below.split("\n")
    if not blank or lines.pop() != "" or not 0 < len(lines) <= SIGNATURES_MAX:
        refuse("the checkpoint has no signatures below a blank line")
    known = {(key.name, key.id): key for key in (*trust.logs, *trust.witnesses)}
    signers: dict[str, str] = {}
    cosigned: set[bytes] = set()
    for line in lines:
        found = re.fullmatch(r"— (\S+) (\S+)", line) or refuse("a signature is malformed")
        value = unbase64(found[2], "a signature")
        key = known.get((found[1], value[:4]))
        if key is None:
            continue  # of somebody that we were not told of
        if key.kind == LOG_KEY:
            signature, message, said = value[4:], text, key.name
        else:
            time, signature = int.from_bytes(value[4:12], "big"), value[12:]
            message = f"cosignature/v1\ntime {time}\n{text}"
            said = f"{key.name} (witness, {rfc3339(time * 10**9)})"
            cosigned.add(key.public)
        if len(signature) != 64 or not signed_by(key, signature, message.encode()):
            refuse(f"the signature of {key.name} below the checkpoint does not hold")
        signers[key.text] = said
    logs = {key.name for key in trust.logs if key.text in signers}
    if not logs:
        refuse("the checkpoint is not signed with the key of the log")
    if len(cosigned) < trust.quorum:
        refuse(f"{len(cosigned)} of the witnesses cosigned the checkpoint, not {trust.quorum}")
    return parse_checkpoint(text, logs, list(signers.values()))


def parse_checkpoint(text: str, logs: set[str], signers: list[str]) -> Checkpoint:
    origin, *lines = text[:-1].split("\n")
    if len(lines) < 2 or not all((origin, *lines)):
        refuse("a checkpoint has an origin, a size and a root, and no empty line")
    if origin not in logs:
        refuse("the checkpoint is of another log than the key")
    size, root = decimal(lines[0], "the size"), unbase64(lines[1], "the root", 32)
    heads = None
    for line in lines[2:]:
        if line.startswith("heads "):
            found = re.fullmatch(r"heads ([0-9]+) (\S+)", line, re.ASCII)
            if not found or heads or (position := decimal(found[1], "the position")) > size:
                refuse("the line of the checkpoint about the map of heads is malformed")
            heads = position, unbase64(found[2], "the root of the map", 32)
    return Checkpoint(origin, size, root, heads, signers)


# -- events: the leaf, and what it commits to (docs/storage-format.md, "The leaf")


def rfc3339(ns: int) -> str:
    """Return a time as events show it: the fewest of 0, 3, 6 or 9 digits that are exact."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // 10**9)
    except OverflowError:
        return f"{ns // 10**9} s after 1970"
    digits = re.sub(r"(000){1,3}$", "", f"{ns % 10**9:09}")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}Z"


class Leaf(NamedTuple):
    """All that is hashed of an event; of payload, metadata and note the salted digest."""

    version: int
    event_id: int
    created_at: int
    commitment: bytes
    aggregate_type: str
    aggregate_id: str
    event_type: str
    event_type_raw: str | None
    actor: Document | None
    schema: Document | None
    hash: bytes

    @property
    def name(self) -> tuple[str, str]:
        return self.aggregate_type, self.aggregate_id

    def document(self) -> Document:
        return {"aggregate_type": self.aggregate_type, "aggregate_id": self.aggregate_id,
                "version": self.version, "event_type": self.event_type,
                "event_id": str(self.event_id), "created_at": rfc3339(self.created_at),
                "issued_by": self.actor, "hash": self.hash.hex()}  # fmt: skip

    def words(self) -> str:
        by = f"{self.actor['group']}/{self.actor['user']}" if self.actor else "nobody named"
        return shown(
            f"Event {self.event_id} is version {self.version} of {'::'.join(self.name)}: "
            f"{self.event_type}, written {rfc3339(self.created_at)} by {by}"
        )


def parse_leaf(data: bytes) -> Leaf:
    try:
        if data[:1] != b"\1":
            refuse("the leaf is of another format")
        version, event_id, created_at = struct.unpack(">QQq", data[1:25])
        commitment, rest = data[25:57], data[57:]
        aggregate_type, aggregate_id, event_type, rest = rest.split(b"\0", 3)
        raw = actor = schema = None
        if (flag := rest[0]) == 1:
            raw, rest = rest[1:].split(b"\0", 1)
        else:
            rest = rest[1:]
        if (other := rest[0]) == 1:
            group, rest = counted(rest[1:])
            user, rest = counted(rest)
            actor = {"group": group.decode(), "user": user.decode()}
        else:
            rest = rest[1:]
        if rest[0] == 1 and len(rest) == 19:
            schema = {"digest": rest[1:17].hex(), "revision": int.from_bytes(rest[17:], "big")}
        elif rest != b"\0":
            refuse("the leaf is malformed")
        if flag > 1 or other > 1 or version < 1:
            refuse("the leaf is malformed")
        texts = (aggregate_type.decode(), aggregate_id.decode(), event_type.decode())
        said = None if raw is None else raw.decode()
    except (ValueError, IndexError, struct.error):
        refuse("the leaf is malformed")
    return Leaf(version, event_id, created_at, commitment, *texts, said, actor, schema,
                leaf_hash(data))  # fmt: skip


def counted(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end or end < 4:
        refuse("the leaf is malformed")
    return data[4:end], data[end:]


def commits(
    leaf: Leaf, salt: bytes, payload: bytes, extensions: bytes | None, note: bytes | None
) -> bool:
    """Say whether that is what a leaf commits to."""
    data = salt + len(payload).to_bytes(4, "big") + payload
    for value in (extensions, note):
        data += b"\0" if value is None else b"\1" + len(value).to_bytes(4, "big") + value
    return sha256(data).digest() == leaf.commitment


def check_event(raw: bytes, leaf: Leaf, salt: bytes, root: bytes | None) -> str:
    """Check that an event, as any surface shows it, is the one of a leaf; say what was compared."""
    shown_event = read_json(raw, "the event", Number)
    metadata = shown_event.pop("metadata", None)
    if not isinstance(metadata, dict):
        refuse("the event has no metadata")
    extensions = {name: value for name, value in metadata.items() if name.startswith("@")}
    said = {name: value for name, value in metadata.items() if name not in extensions}
    note, payload = said.pop("note", None), shown_event.pop("payload", None)
    merkle_root = shown_event.pop("merkle_root", None)
    erased, given = shown_event.pop("erased", False), shown_event.pop("extensions", None)
    actual = leaf.document()
    expected = {name: actual.pop(name) for name in ("event_id", "created_at", "issued_by")}
    actual["version"] = Number(str(leaf.version))
    for name in ("event_type_raw", "schema"):
        if name in shown_event:
            actual[name] = leaf._asdict()[name]
    if isinstance(shown_event.get("schema"), dict) and leaf.schema:
        actual["schema"] = {**leaf.schema, "revision": Number(str(leaf.schema["revision"]))}
    for found, wanted in ((shown_event, actual), (said, expected)):
        for name in sorted({*found, *wanted}):
            if name not in wanted:
                refuse(f"the event has a member {shown(name)}, which no proof covers")
            if name not in found or found[name] != wanted[name]:
                refuse(f"the event's {name} is not what was logged")
    if root is not None and merkle_root not in (None, root.hex()):
        refuse("the event's merkle_root is not the root of its aggregate")
    kept = "" if root is not None or merkle_root is None else " Its merkle_root is not compared."
    if erased is not False:
        if erased is not True or (payload, given, note, extensions) != (None, None, None, {}):
            refuse("the event says that it was erased, and has content")
        return "The event that was given says of itself that it was erased; no content to compare."
    if not any(salt):
        refuse("the content of the event cannot be compared: the salt was erased, or held back")
    if not (note is None or isinstance(note, str)) or (given is not None and extensions):
        refuse("the event's metadata are malformed")
    extras = canonical(extensions if given is None else given).encode()
    said_note = None if note is None else note.encode()
    for option in (extras, None) if extras == b"{}" else (extras,):
        if commits(leaf, salt, canonical(payload).encode(), option, said_note):
            return f"Payload, metadata and note of the event that was given are as logged.{kept}"
    refuse("the event's payload, metadata or note is not what was logged")


# -- what a file may be


class Asked(NamedTuple):
    """Whom to believe, the event to compare (its JSON and id), and where sentences go."""

    trust: Trust
    event: bytes | None
    say: Callable[[str], None]


def compare(asked: Asked, leaf: Leaf, salt: bytes, root: bytes | None = None) -> Document:
    """Return what was compared of the event that was given, if one was."""
    if asked.event is None:
        return {}
    said = check_event(asked.event, leaf, salt, root)
    asked.say(said)
    return {"compared": said}


def check_tlog_proof(raw: bytes, asked: Asked) -> Document:
    """Check a proof of one event in the log (C2SP tlog-proof)."""
    try:
        head, blank, note = raw.decode().partition("\n\n")
    except ValueError:
        refuse("the proof is not UTF-8")
    _, *lines = head.split("\n")
    if not blank or len(lines) < 2 or not lines[0].startswith("extra "):
        refuse("the proof has no extra line with the leaf of an event")
    if not lines[1].startswith("index "):
        refuse("the proof has no index line")
    extra = unbase64(lines[0][6:], "the extra data")
    if len(extra) < 17 or extra[0] != 1:
        refuse("the extra data of the proof are not the leaf of an event")
    index, path = decimal(lines[1][6:], "the index"), hashes(lines[2:], HASHES_MAX, "the hashes")
    leaf, salt = parse_leaf(extra[17:]), extra[1:17]
    checkpoint = check_note(note, asked.trust)
    if included(leaf.hash, index, checkpoint.size, path) != checkpoint.root:
        refuse(f"{leaf.words()}, is not entry {index} of the log")
    asked.say(f"{leaf.words()}, is entry {index} of the log.")
    asked.say(checkpoint.sentence())
    compared = compare(asked, leaf, salt)
    return {"kind": "log-event", "event": leaf.document(), "index": index,
            "checkpoint": checkpoint.document(), **compared}  # fmt: skip


AGGREGATE = ("aggregate_type", "aggregate_id", "size", "root", "heads", "checkpoint")


def check_json_proof(raw: bytes, asked: Asked) -> Document:
    document = read_json(raw, "the proof")
    if document.pop("format", None) != "eventdbx-proof/1":
        refuse("this is neither a .tlog-proof nor a proof or bundle of EventDBX")
    kind = document.pop("kind", None)
    if asked.event is not None and kind != "aggregate-event":
        refuse("the proof is of no single event, so none can be compared with it")
    if kind == "log-consistency":
        return check_log_consistency(document, asked)
    if not isinstance(kind, str) or kind not in KINDS:
        refuse("the proof is of no known kind")
    more, check_kind = KINDS[kind]
    values = take(document, *AGGREGATE, *more, what="the proof")
    name, size, root, checkpoint = anchored(values[:6], asked.trust)
    done = check_kind(asked, name, size, root, *values[6:])
    assert checkpoint.heads is not None
    asked.say(f"At position {checkpoint.heads[0]} of the log {label(name)} had {size} "
              f"events under the root {root.hex()}.")  # fmt: skip
    asked.say(checkpoint.sentence())
    return {"kind": kind, "aggregate_type": name[0], "aggregate_id": name[1], "size": size,
            "root": root.hex(), "position": checkpoint.heads[0],
            "checkpoint": checkpoint.document(), **done}  # fmt: skip


def anchored(members: list[Any], trust: Trust) -> tuple[tuple[str, str], int, bytes, Checkpoint]:
    """Return what a checkpoint says of an aggregate: its name, how many events, which root."""
    name, size = names(*members[:2]), number(members[2], "the size")
    root, heads = unbase64(members[3], "the root", 32), members[4]
    checkpoint = check_note(members[5], trust)
    check_heads(checkpoint, *head_entry(name, size, root), heads)
    return name, size, root, checkpoint


def names(aggregate_type: object, aggregate_id: object) -> tuple[str, str]:
    if not isinstance(aggregate_type, str) or not isinstance(aggregate_id, str):
        refuse("the name of the aggregate is malformed")
    if "\0" in aggregate_type + aggregate_id:
        refuse("the name of the aggregate is malformed")
    return aggregate_type, aggregate_id


def check_aggregate_event(
    asked: Asked, name: tuple[str, str], size: int, root: bytes, *given: object
) -> Document:
    version, data = number(given[0], "the version"), unbase64(given[1], "the leaf")
    salt, path = unbase64(given[2], "the salt", 16), hashes(given[3], HASHES_MAX, "the hashes")
    leaf = parse_leaf(data)
    if leaf.name != name or leaf.version != version:
        refuse(f"{leaf.words()}; it is not version {version} of {label(name)}")
    if included(leaf.hash, version - 1, size, path) != root:
        refuse(f"{leaf.words()}, is not in the tree of its aggregate")
    asked.say(f"{leaf.words()}, is in the tree of its aggregate.")
    compared = compare(asked, leaf, salt, root if version == size else None)
    return {"event": leaf.document(), **compared}


def check_complete(
    asked: Asked, name: tuple[str, str], size: int, root: bytes, events: object
) -> Document:
    leaves, tree = hashes(events, FILE_MAX // 47, "the events"), Growing()
    for leaf in leaves:
        tree.add(leaf)
    if (tree.size, tree.root()) != (size, root):
        refuse(f"these {tree.size} events are not all of {label(name)}, in order")
    asked.say(f"These {size} events are all of {label(name)}, in order.")
    return {}


def begun(tree: object, path: object, size: int, root: bytes) -> tuple[int, bytes]:
    """Return the earlier tree that a proof shows to be the beginning of another."""
    if not isinstance(tree, dict):
        refuse("an earlier tree is malformed")
    first, top = take(tree, "size", "root", what="an earlier tree")
    count, begin = number(first, "the earlier size"), unbase64(top, "the earlier root", 32)
    check_consistent(count, begin, size, root, hashes(path, 2 * HASHES_MAX, "the hashes"))
    return count, begin


def check_aggregate_consistency(
    asked: Asked, name: tuple[str, str], size: int, root: bytes, *trees: object
) -> Document:
    end = "it"
    if trees[2:]:
        size, root = begun(trees[2], trees[3], size, root)
        end = f"its first {size}, under the root {root.hex()}"
    count, begin = begun(trees[0], trees[1], size, root)
    asked.say(f"The first {count} events of {label(name)}, under the root "
              f"{begin.hex()}, are still the beginning of {end}.")  # fmt: skip
    return {one: {"size": count, "root": top.hex()}
            for one, count, top in (("first", count, begin), ("second", size, root))}  # fmt: skip


KINDS: dict[object, tuple[tuple[str, ...], Callable[..., Document]]] = {
    "aggregate-event": (("version", "leaf", "salt", "hashes"), check_aggregate_event),
    "aggregate-complete": (("events",), check_complete),
    "aggregate-consistency": (("first", "hashes"), check_aggregate_consistency),
    "aggregate-between": (("first", "hashes", "second", "onward"), check_aggregate_consistency),
}
"""What else is in a proof that begins with an aggregate, and what checks it."""


def check_log_consistency(document: Document, asked: Asked) -> Document:
    notes = take(document, "first", "second", "hashes", what="the proof")
    first, second = check_note(notes[0], asked.trust), check_note(notes[1], asked.trust)
    if first.origin != second.origin:
        refuse("the two checkpoints are of two logs")
    path = hashes(notes[2], 2 * HASHES_MAX, "the hashes")
    check_consistent(first.size, first.root, second.size, second.root, path)
    asked.say(f"The log with {first.size} entries is the beginning of that with {second.size}.")
    asked.say(first.sentence())
    asked.say(second.sentence())
    return {"kind": "log-consistency", "first": first.document(), "second": second.document()}


# -- bundles


class Bundle:
    """A bundle of evidence, checked line by line; what is kept is one aggregate's right edge."""

    def __init__(self, asked: Asked, header: Document) -> None:
        values = take(
            header, "format", "origin", "vkey", "scope", "checkpoint", what="the first line"
        )
        self.asked, self.checkpoint = asked, check_note(values[4], asked.trust)
        if values[0] != "eventdbx-audit/1":
            refuse("the bundle is of a format that is not known here")
        if values[1] != self.checkpoint.origin:
            refuse("the bundle is of another log than its checkpoint")
        if values[2] not in [key.text for key in asked.trust.logs]:
            refuse("the bundle names another key than the one that was given")
        self.whole = values[3] == "all"
        self.selected = None if values[3] in ("all", "some") else selectors(values[3])
        self.missing = {one for one in self.selected or () if one[1] is not None}
        self.wanted = wanted_id(asked.event)
        self.counts = {"aggregates": 0, "events": 0, "erased": 0, "withheld": 0, "incomplete": 0}
        self.compared: Document = {}
        self.entries: list[tuple[bytes, bytes]] = []
        self.name, self.size, self.root = ("", ""), 0, b""
        self.complete, self.begun, self.ended = False, False, False
        self.tree, self.index, self.gone = Growing(), -1, Ranges()

    def line(self, document: Document) -> None:
        if self.ended:
            refuse("lines follow the last one")
        if "leaf" in document:
            self.event(document)
            return
        self.finish_aggregate()
        if "aggregates" in document:
            self.end(document)
        else:
            self.aggregate(document)

    def aggregate(self, document: Document) -> None:
        kind, one, size, root, heads = take(document, *AGGREGATE[:5], what="an aggregate")
        before, self.name = (self.name if self.begun else None), names(kind, one)
        if before is not None and before >= self.name:
            refuse(f"{label(self.name)} stands twice or at the wrong place")
        if self.selected is not None and not {self.name, (kind, None)} & self.selected:
            refuse(f"{label(self.name)} is not what the first line says is in the bundle")
        self.missing.discard(self.name)
        self.size, self.root = number(size, "the size"), unbase64(root, "the root", 32)
        key, end = head_entry(self.name, self.size, self.root)
        self.complete = heads is not None
        if self.complete:
            check_heads(self.checkpoint, key, end, heads)
        if self.whole:
            self.entries.append((key, end))
        self.begun, self.tree, self.index, self.gone = True, Growing(), -1, Ranges()
        self.counts["aggregates"] += 1
        self.counts["incomplete"] += not self.complete

    def event(self, document: Document) -> None:
        flags = [one for one in ("erased", "withheld") if one in document]
        if len(flags) > 1 or any(document.pop(one) is not True for one in flags):
            refuse("an event is neither there, nor erased, nor withheld")
        bare = bool(flags)
        content = () if bare else ("salt", "payload", "extensions", "note")
        data, index, path, *rest = take(
            document, "leaf", "index", "path", *content, what="an event"
        )
        version = self.tree.size + 1
        where = f"{label(self.name)}, version {version}"
        try:
            leaf = parse_leaf(unbase64(data, "the leaf"))
        except Refuted as error:
            refuse(f"what stands for {where}: {error}")
        if not self.begun or leaf.name != self.name or leaf.version != version:
            refuse(f"{leaf.words()}; it stands where {where} should")
        try:
            self.logged(leaf, index, path)
            if not bare:
                self.content(leaf, *rest)
        except Refuted as error:
            refuse(f"{leaf.words()}: {error}")
        self.tree.add(leaf.hash)
        self.counts["events"] += 1
        for flag in flags:
            self.counts[flag] += 1
        if "erased" in flags:
            self.gone.add(version)
        if self.wanted == str(leaf.event_id):
            self.wanted = None
            self.asked.say(f"{leaf.words()}, is entry {self.index} of the log.")
            salt = bytes(16) if bare else unbase64(rest[0], "the salt", 16)
            self.compared = compare(self.asked, leaf, salt, self.tree.root())

    def logged(self, leaf: Leaf, index: object, path: object) -> None:
        before, self.index = self.index, number(index, "the index")
        siblings, size = hashes(path, HASHES_MAX, "the hashes"), self.checkpoint.size
        if included(leaf.hash, self.index, size, siblings) != self.checkpoint.root:
            refuse(f"it is not entry {self.index} of the log")
        if self.index <= before:
            refuse("it is earlier in the log than the version before it")
        heads = self.checkpoint.heads
        if self.complete and heads is not None and self.index >= heads[0]:
            refuse("it is later in the log than the map that counts it")

    def content(self, leaf: Leaf, salt: object, *rest: object) -> None:
        payload, extensions, note = (
            None if value is None else unbase64(value, "content of an event") for value in rest
        )
        if payload is None or not commits(
            leaf, unbase64(salt, "the salt", 16), payload, extensions, note
        ):
            refuse("its payload, metadata or note is not what was logged")
        if leaf.event_type == "dbx_erased":
            self.gone.strike(payload, leaf.version)

    def finish_aggregate(self) -> None:
        if not self.begun:
            return
        name = label(self.name)
        if (self.tree.size, self.tree.root()) != (self.size, self.root):
            refuse(f"the {self.tree.size} events of {name} are not the {self.size} that it has")
        if self.gone.firsts:
            refuse(f"version {self.gone.firsts[0]} of {name} is erased, and no dbx_erased says so")
        proven = "nothing proves that no later ones are left out"
        if self.complete and self.checkpoint.heads is not None:
            proven = f"all that it had at position {self.checkpoint.heads[0]} of the log"
        self.asked.say(f"{name}: {self.size} events, {proven}; root {self.root.hex()}.")

    def end(self, document: Document) -> None:
        counted_ = take(document, "aggregates", "events", what="the last line")
        said = [number(one, "how much there is") for one in counted_]
        if said != [self.counts["aggregates"], self.counts["events"]]:
            refuse("the bundle does not hold as much as its last line says")
        if self.missing:
            refuse(f"{label(min(self.missing, key=str))} is not in the bundle, which says it is")
        heads = self.checkpoint.heads
        if self.whole and (heads is None or map_root(sorted(self.entries)) != heads[1]):
            refuse("the bundle is said to be whole, and aggregates of the map are not in it")
        if self.whole:
            self.counts["incomplete"] = 0  # the map of all says how many events each has
        self.ended = True

    def document(self) -> Document:
        if not self.ended:
            refuse("the bundle has no last line: it is cut off")
        if self.wanted is not None:
            refuse("the event that was given is not in the bundle")
        say, counts = self.asked.say, self.counts
        say("{aggregates} aggregates with {events} events; the content of {erased} is erased, that "
            "of {withheld} is withheld.".format(**counts))  # fmt: skip
        if counts["incomplete"]:
            say("Of {incomplete} aggregates later events may have been left out.".format(**counts))
        say("These are all aggregates of the log." if self.whole
            else "Nothing is proven of aggregates that are not in the bundle.")  # fmt: skip
        say(self.checkpoint.sentence())
        return {"kind": "bundle", "whole": self.whole, **counts,
                "checkpoint": self.checkpoint.document(), **self.compared}  # fmt: skip


class Ranges:
    """The versions of an aggregate that are erased and not yet accounted for, as ranges."""

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.lasts: list[int] = []

    def add(self, version: int) -> None:
        if self.lasts and self.lasts[-1] == version - 1:
            self.lasts[-1] = version
            return
        self.firsts.append(version)
        self.lasts.append(version)
        if len(self.firsts) > ERASED_RANGES_MAX:
            refuse(f"an aggregate has more than {ERASED_RANGES_MAX} ranges of erased events")

    def strike(self, payload: bytes, version: int) -> None:
        """Account for the versions that a dbx_erased event names, all before itself."""
        named = read_json(payload, "a dbx_erased event", Number).get("events")
        for pair in named if isinstance(named, list) else refuse("a dbx_erased event names none"):
            if not isinstance(pair, list) or [type(one) for one in pair] != [Number, Number]:
                refuse("a dbx_erased event is malformed")
            first, last = (decimal(one.text, "a version") for one in pair)
            if not 0 < first <= last < version:
                refuse("a dbx_erased event names versions that are not before it")
            begin, end = bisect_left(self.lasts, first), bisect_right(self.firsts, last)
            kept = []
            if begin < end and self.firsts[begin] < first:
                kept.append((self.firsts[begin], first - 1))
            if begin < end and self.lasts[end - 1] > last:
                kept.append((last + 1, self.lasts[end - 1]))
            if begin < end:
                self.firsts[begin:end] = [one for one, _ in kept]
                self.lasts[begin:end] = [one for _, one in kept]


def label(name: tuple[str, str | None]) -> str:
    return shown("::".join(part for part in name if part is not None))


def selectors(scope: object) -> set[tuple[str, str | None]]:
    """Return which aggregates, or whole types (None), a bundle is said to be of."""
    found: set[tuple[str, str | None]] = set()
    for one in scope if isinstance(scope, list) else refuse("the scope is malformed"):
        if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
            refuse("the scope is malformed")
        if not isinstance(one[1], str | None) or len(found) >= SELECTED_MAX:
            refuse("the scope is malformed or too long")
        found.add((one[0], one[1]))
    return found


def wanted_id(event: bytes | None) -> str | None:
    if event is None:
        return None
    metadata = read_json(event, "the event", Number).get("metadata")
    found = metadata.get("event_id") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else refuse("the event has no event_id")


def check_bundle(first: bytes, file: BinaryIO, asked: Asked) -> Document:
    place, line, bundle = 1, first, None
    while line:
        try:
            if len(line) > LINE_MAX or line[-1:] != b"\n":
                refuse("it is too long or cut off")
            document = read_json(line, "it")
            if bundle is None:
                bundle = Bundle(asked, document)
            else:
                bundle.line(document)
        except Refuted as error:
            refuse(f"line {place}: {error}")
        place, line = place + 1, file.readline(LINE_MAX + 1)
    assert bundle is not None
    return bundle.document()


# -- the command


def check(file: BinaryIO, asked: Asked) -> Document:
    """Check a file of any kind; return what it proves, or raise Refuted."""
    first = file.readline(LINE_MAX + 1)
    if first.startswith(b'{"format":"eventdbx-audit/'):
        return check_bundle(first, file, asked)
    raw = first + file.read(FILE_MAX)
    if len(raw) > FILE_MAX:
        refuse(f"the proof exceeds {FILE_MAX} bytes")
    if first == b"c2sp.org/tlog-proof@v1\n":
        return check_tlog_proof(raw, asked)
    return check_json_proof(raw, asked)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command says; return its exit code."""
    options = argparse.ArgumentParser(description="Verify a proof or a bundle of EventDBX.")
    options.add_argument("file")
    options.add_argument("--key", action="append", required=True, help="key of the log")
    options.add_argument("--witness", action="append", default=[], help="key of a witness")
    options.add_argument("--quorum", type=int, help="how many witnesses [all that are given]")
    options.add_argument("--event", help="JSON of an event that should be the proven one")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    given = options.parse_args(arguments)
    quorum = len(given.witness) if given.quorum is None else given.quorum
    try:
        trust = Trust([parse_key(text, LOG_KEY) for text in given.key],
                      [parse_key(text, WITNESS_KEY) for text in given.witness], quorum)  # fmt: skip
        if not 0 <= quorum <= len({key.public for key in trust.witnesses}):
            refuse("so many different witnesses were not given")
    except Refuted as error:
        options.error(str(error))
    sentences: Callable[[str], Any] = (lambda text: None) if given.json else print
    try:
        event = None
        if given.event is not None:
            with open(given.event, "rb") as file:
                event = file.read(EVENT_MAX)
        with open(given.file, "rb") as file:
            proven = check(file, Asked(trust, event, sentences))
    except Refuted as error:
        if given.json:
            print(json.dumps({"proven": False, "reason": str(error)}))
        else:
            print(f"NOT PROVEN: {shown(str(error))}.")
        return 1
    except OSError as error:
        options.error(f"{error.filename}: {error.strerror}")
    print(json.dumps({"proven": True, **proven}) if given.json else "PROVEN.")
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
