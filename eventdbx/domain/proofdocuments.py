"""What proofs say in files: made of their parts, and checked by who has the key of the log.

An event in the log is a C2SP tlog-proof, whose extra data lead to the leaf; everything else is a
JSON document (docs/integrity.md, "Proofs in JSON"). Who trusts nothing of ours checks both with
``verify.py``, which shares no line with this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from eventdbx import limits
from eventdbx.domain import merkle
from eventdbx.domain.canonical import parse
from eventdbx.domain.checkpoints import Checkpoint, Trust, check_checkpoint, parse_checkpoint
from eventdbx.domain.events import LEAF_FORMAT, MARK_BYTES, SALT_BYTES, Actor, Event
from eventdbx.domain.headmap import HeadProof, check_head, heads_of
from eventdbx.domain.notes import Note, NoteError, Verify, from_base64, parse_note, to_base64
from eventdbx.domain.proofs import ProofError, check_consistency, check_inclusion
from eventdbx.domain.timestamps import format_ns
from eventdbx.domain.tlogproofs import check_tlog_proof, parse_tlog_proof

FORMAT = "eventdbx-proof/1"
EXTRA_FORMAT = b"\x01"
"""What the extra data of a proof begin with: then come the salt and the leaf data."""

NO_SALT = bytes(SALT_BYTES)
"""In the place of a salt that is gone, or that would let somebody guess what is hidden."""

_LEAF = Struct(">QQq32s")
_HEAD = len(EXTRA_FORMAT) + SALT_BYTES
_HASHES_MAX = 2 * limits.PROOF_HASHES_MAX
_AGGREGATE = ("aggregate_type", "aggregate_id", "size", "root", "heads", "checkpoint")


class Anchor(NamedTuple):
    """How an aggregate stood when a checkpoint was signed, by the checkpoint's head map."""

    aggregate_type: str
    aggregate_id: str
    head: HeadProof
    note: Note

    def document(self, kind: str, **more: Any) -> dict[str, Any]:
        """Return a document about the aggregate."""
        return {
            "format": FORMAT,
            "kind": kind,
            "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id,
            "size": self.head.version,
            "root": to_base64(self.head.root),
            "heads": texts(self.head.siblings[::-1]),
            "checkpoint": self.note.encode().decode(),
            **more,
        }


def texts(hashes: Sequence[bytes]) -> list[str]:
    """Return hashes as documents have them."""
    return [to_base64(one) for one in hashes]


def salt_of(event: Event, salted: bool) -> bytes:
    """Return the salt that a proof shows: none of an erased event, nor if it is held back."""
    return (event.salt if salted else b"") or NO_SALT


def extra_data(event: Event, *, salted: bool = True) -> bytes:
    """Return the extra data of the proof of an event: who reads them computes its leaf hash."""
    return EXTRA_FORMAT + salt_of(event, salted) + event.leaf


def event_document(
    anchor: Anchor, event: Event, hashes: Sequence[bytes], *, salted: bool = True
) -> dict[str, Any]:
    """Return the proof that an event is in the timeline of its aggregate."""
    return anchor.document(
        "aggregate-event",
        version=event.version,
        leaf=to_base64(event.leaf),
        salt=to_base64(salt_of(event, salted)),
        hashes=texts(hashes),
    )


def timeline_document(anchor: Anchor, leaves: Sequence[bytes]) -> dict[str, Any]:
    """Return the proof that these events, by their leaf hashes, are all of an aggregate."""
    return anchor.document("aggregate-complete", events=texts(leaves))


def growth_document(
    anchor: Anchor, size: int, root: bytes, hashes: Sequence[bytes]
) -> dict[str, Any]:
    """Return the proof that a timeline began with that of an earlier size and root."""
    first = {"size": size, "root": to_base64(root)}
    return anchor.document("aggregate-consistency", first=first, hashes=texts(hashes))


def between_document(
    anchor: Anchor,
    first: tuple[int, bytes],
    hashes: Sequence[bytes],
    second: tuple[int, bytes],
    onward: Sequence[bytes],
) -> dict[str, Any]:
    """Return the proof that a timeline at one size began with that at another, and begins that of
    the checkpoint: sizes with their roots, and the hashes from the one to the next."""
    trees = {
        name: {"size": size, "root": to_base64(root)}
        for name, (size, root) in (("first", first), ("second", second))
    }
    return anchor.document("aggregate-between", **trees, hashes=texts(hashes), onward=texts(onward))


def log_document(first: Note, second: Note, hashes: Sequence[bytes]) -> dict[str, Any]:
    """Return the proof that the log of one checkpoint is the beginning of that of another."""
    return {
        "format": FORMAT,
        "kind": "log-consistency",
        "first": first.encode().decode(),
        "second": second.encode().decode(),
        "hashes": texts(hashes),
    }


class Leaf(NamedTuple):
    """What the leaf of an event says in the clear, and its digest of payload, metadata, note."""

    version: int
    event_id: int
    created_at: int
    committed: bytes
    aggregate_type: str
    aggregate_id: str
    event_type: str
    issued_by: Actor | None
    hash: bytes

    @property
    def words(self) -> str:
        """The event in words."""
        return (
            f"event {self.event_id} (v{self.version} of {self.aggregate_type}::"
            f"{self.aggregate_id}, {self.event_type}, {format_ns(self.created_at)})"
        )


def read_leaf(data: bytes) -> Leaf:
    """Return what leaf data say. Raises ProofError."""
    try:
        if data[:1] != LEAF_FORMAT:
            raise ProofError("the leaf of the event is of an unknown format")
        numbers = version, _id, _at, _committed = _LEAF.unpack_from(data, 1)
        *names, rest = data[1 + _LEAF.size :].split(b"\x00", 3)
        rest = rest[1:].split(b"\x00", 1)[1] if rest[0] else rest[1:]  # The type as it was sent.
        actor, rest = _actor(rest)
        if version < 1 or (rest != b"\x00" and (rest[0] != 1 or len(rest) != 1 + MARK_BYTES)):
            raise ProofError("the leaf of the event is malformed")
        texts = [name.decode() for name in names]
        return Leaf(*numbers, *texts, actor, merkle.leaf_hash(data))  # type: ignore[call-arg]
    except (ValueError, IndexError, StructError):
        raise ProofError("the leaf of the event is malformed") from None


def _actor(rest: bytes) -> tuple[Actor | None, bytes]:
    """Return who issued an event, and what of the leaf is behind that."""
    if not rest[0]:
        return None, rest[1:]
    group, rest = _counted(rest[1:])
    user, rest = _counted(rest)
    return Actor(group, user), rest


def _counted(data: bytes) -> tuple[str, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    if end > len(data):
        raise ProofError("the leaf of the event is malformed")
    return data[4:end].decode(), data[end:]


class Proven(NamedTuple):
    """What a file proves: its kind, in words, and the checkpoint under which it is so.

    ``leaf`` is that of the one event that it is about, if it is about one; ``salt`` goes with it.
    """

    kind: str
    words: str
    checkpoint: Checkpoint
    leaf: Leaf | None = None
    salt: bytes = NO_SALT


def check_file(raw: bytes, trust: Trust, verify: Verify) -> Proven:
    """Return what a proof of any kind proves under what is trusted. Raises ProofError."""
    if raw.startswith(b"c2sp.org/tlog-proof@"):
        return _check_event_in_log(raw, trust, verify)
    try:
        document = parse(raw)
    except ValueError as error:
        raise ProofError(f"the file is no proof: {error}") from None
    if type(document) is not dict or document.pop("format", None) != FORMAT:
        raise ProofError(f"the file is neither a tlog-proof nor a document of {FORMAT}")
    kind = document.pop("kind", None)
    check = _KINDS.get(kind) if type(kind) is str else None
    if check is None:
        raise ProofError("the proof is of an unknown kind")
    try:
        return check(document, trust, verify)
    except NoteError as error:
        raise ProofError(str(error)) from None


def _check_event_in_log(raw: bytes, trust: Trust, verify: Verify) -> Proven:
    proof = parse_tlog_proof(raw)
    if proof.extra[:1] != EXTRA_FORMAT or len(proof.extra) < _HEAD:
        raise ProofError("the extra data of the proof are not the leaf of an event")
    salt, leaf = proof.extra[1:_HEAD], read_leaf(proof.extra[_HEAD:])
    checkpoint = check_tlog_proof(proof, leaf.hash, trust, verify).checkpoint
    return Proven(
        "log-event", f"{leaf.words} is entry {proof.index} of the log", checkpoint, leaf, salt
    )


def _check_growth_of_log(document: Any, trust: Trust, verify: Verify) -> Proven:
    first, second, listed = _take(document, "first", "second", "hashes")
    begun, later = (_checkpoint(one, trust, verify) for one in (first, second))
    hashes = _hashes(listed, _HASHES_MAX)
    check_consistency(begun.size, begun.root, later.size, later.root, hashes)
    words = f"the first {begun.size} entries of the log are still its beginning"
    return Proven("log-consistency", words, later)


def _check_event(document: Any, trust: Trust, verify: Verify) -> Proven:
    *parts, version, data, salt, listed = _take(
        document, *_AGGREGATE, "version", "leaf", "salt", "hashes"
    )
    name, size, root, checkpoint = _anchored(parts, trust, verify)
    leaf = read_leaf(from_base64(_text(data, "the leaf"), "the leaf"))
    if (leaf.aggregate_type, leaf.aggregate_id, leaf.version) != (*name, _count(version)):
        raise ProofError("the leaf is that of another event")
    hashes = _hashes(listed, limits.PROOF_HASHES_MAX)
    check_inclusion(leaf.hash, leaf.version - 1, size, hashes, root)
    kept = from_base64(_text(salt, "the salt"), "the salt")
    if len(kept) != SALT_BYTES:
        raise ProofError(f"a salt has {SALT_BYTES} bytes")
    words = f"{leaf.words} is in the timeline of its aggregate, which had {size} events"
    return Proven("aggregate-event", words, checkpoint, leaf, kept)


def _check_timeline(document: Any, trust: Trust, verify: Verify) -> Proven:
    *parts, listed = _take(document, *_AGGREGATE, "events")
    name, size, root, checkpoint = _anchored(parts, trust, verify)
    if merkle.root_of(_hashes(listed, size)) != root or len(listed) != size:
        raise ProofError("these events are not all of the aggregate, in order")
    words = f"these {size} events are all that {name[0]}::{name[1]} had"
    return Proven("aggregate-complete", words, checkpoint)


def _check_growth(document: Any, trust: Trust, verify: Verify) -> Proven:
    *parts, first, listed = _take(document, *_AGGREGATE, "first", "hashes")
    name, size, root, checkpoint = _anchored(parts, trust, verify)
    count = _beginning(first, listed, size, root)[0]
    words = f"the first {count} events of {name[0]}::{name[1]} are still its beginning"
    return Proven("aggregate-consistency", f"{words}; it had {size} events", checkpoint)


def _check_between(document: Any, trust: Trust, verify: Verify) -> Proven:
    *parts, first, listed, second, onward = _take(
        document, *_AGGREGATE, "first", "hashes", "second", "onward"
    )
    name, size, root, checkpoint = _anchored(parts, trust, verify)
    later = _beginning(second, onward, size, root)
    count = _beginning(first, listed, *later)[0]
    words = f"the first {count} events of {name[0]}::{name[1]} are the beginning of its first"
    return Proven("aggregate-between", f"{words} {later[0]}; it had {size} events", checkpoint)


def _beginning(tree: Any, listed: Any, size: int, root: bytes) -> tuple[int, bytes]:
    """Return the earlier tree that hashes show to be the beginning of another."""
    count, top = _take(tree, "size", "root")
    begun, begun_root = _count(count), _hash(top)
    if not begun:
        raise ProofError("a timeline begins with one event at least")
    check_consistency(begun, begun_root, size, root, _hashes(listed, _HASHES_MAX))
    return begun, begun_root


_KINDS = {
    "log-consistency": _check_growth_of_log,
    "aggregate-event": _check_event,
    "aggregate-complete": _check_timeline,
    "aggregate-consistency": _check_growth,
    "aggregate-between": _check_between,
}


def _anchored(
    parts: Sequence[Any], trust: Trust, verify: Verify
) -> tuple[tuple[str, str], int, bytes, Checkpoint]:
    """Return name, size and root of an aggregate that the head map of a checkpoint vouches for."""
    aggregate_type, aggregate_id = (_text(one, "the name of the aggregate") for one in parts[:2])
    size, root, path = _count(parts[2]), _hash(parts[3]), _hashes(parts[4], 256)
    checkpoint = _checkpoint(parts[5], trust, verify)
    heads = heads_of(checkpoint)
    if heads is None:
        raise ProofError("the checkpoint has no head map")
    if not size:
        raise ProofError("the aggregate has no events")
    head = HeadProof(heads[0], size, root, tuple(reversed(path)))
    check_head(aggregate_type, aggregate_id, head, *heads)
    return (aggregate_type, aggregate_id), size, root, checkpoint


def _checkpoint(text: Any, trust: Trust, verify: Verify) -> Checkpoint:
    note = parse_note(_text(text, "the checkpoint").encode())
    parse_checkpoint(note.text)
    return check_checkpoint(note, trust, verify).checkpoint


def _take(document: Any, *names: str) -> list[Any]:
    if type(document) is not dict or set(document) != set(names):
        raise ProofError(f"the proof must have exactly the members {', '.join(names)}")
    return [document[name] for name in names]


def _text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise ProofError(f"{what} must be a text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= limits.TREE_SIZE_MAX:
        raise ProofError("a size must be a whole number")
    return value


def _hash(value: Any) -> bytes:
    found = from_base64(_text(value, "a hash"), "a hash")
    if len(found) != 32:
        raise ProofError("a hash has 32 bytes")
    return found


def _hashes(values: Any, most: int) -> list[bytes]:
    if type(values) is not list or len(values) > most:
        raise ProofError(f"the proof has no list of up to {most} hashes where there must be one")
    return [_hash(one) for one in values]
